//! A server as a process of its own.

use std::fs;
use std::io::{self, BufRead, BufReader, Lines};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use crate::usage::Usage;

/// A child process; dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts the program of a command.
    ///
    /// # Errors
    ///
    /// The program cannot be started; the text names it.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        let child = command.spawn().map_err(|error| {
            let program = command.get_program().to_string_lossy();
            io::Error::new(error.kind(), format!("cannot start {program}: {error}"))
        })?;
        Ok(Self { child })
    }

    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns what measures the process.
    pub fn usage(&self) -> Usage {
        Usage::of(self.id())
    }

    /// Takes the reading end of standard error, if it is piped and was not taken before.
    pub fn stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Sends a signal: `TERM`, `INT`, `HUP`, `STOP` or `CONT`. Returns after `STOP` when the
    /// process stands still, as far as the system tells.
    ///
    /// # Errors
    ///
    /// The process has ended, or the name is another.
    pub fn signal(&self, name: &str) -> io::Result<()> {
        let signal = match name {
            "TERM" => Signal::TERM,
            "INT" => Signal::INT,
            "HUP" => Signal::HUP,
            "STOP" => Signal::STOP,
            "CONT" => Signal::CONT,
            other => return Err(io::Error::other(format!("no signal is called {other}"))),
        };
        let id = i32::try_from(self.id()).ok().and_then(Pid::from_raw);
        kill_process(id.ok_or(io::ErrorKind::NotFound)?, signal)?;
        // The state is the first letter after the name, which is in parentheses.
        let stat = format!("/proc/{}/stat", self.id());
        while name == "STOP"
            && let Ok(stat) = fs::read_to_string(&stat)
            && !stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('T'))
        {
            thread::yield_now();
        }
        Ok(())
    }

    /// Returns how the process ended; `None` while it runs.
    ///
    /// # Errors
    ///
    /// The system does not tell.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail if the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running `waddell-server`; dropping it kills it.
#[derive(Debug)]
pub struct ServerProcess {
    /// The process.
    pub process: Process,
    urls: Vec<String>,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl ServerProcess {
    /// Starts a server with that number of listeners, and waits until all of them listen.
    ///
    /// # Errors
    ///
    /// The server cannot be started, ends before it listens, or prints an unexpected line.
    pub fn start(command: &mut Command, listeners: usize) -> io::Result<Self> {
        let mut process = Process::spawn(command.stdout(Stdio::piped()))?;
        let stdout = process.child.stdout.take().expect("standard output is piped");
        let stdout = BufReader::new(stdout).lines();
        let mut server = Self { process, urls: Vec::new(), stdout };
        for _ in 0..listeners {
            let url = server.next_line("listening on ")?;
            server.urls.push(url);
        }
        Ok(server)
    }

    /// Returns the URLs of the listeners, in the order of the command line.
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Returns the address of the first listener of a scheme.
    ///
    /// # Panics
    ///
    /// If there is no such listener.
    pub fn address(&self, scheme: &str) -> SocketAddr {
        let addresses = self.urls.iter().filter_map(|url| url.split_once("://"));
        let mut addresses = addresses.filter(|(known, _)| *known == scheme);
        let (_, address) = addresses.next().expect("there is a listener of that scheme");
        address.parse().expect("the server prints addresses")
    }

    /// Reads the address of `--admin`, which the server prints after its listeners. To be called
    /// once.
    ///
    /// # Errors
    ///
    /// The server was started without `--admin`, or has ended.
    pub fn read_admin(&mut self) -> io::Result<SocketAddr> {
        let address = self.next_line("admin on http://")?;
        address.parse().map_err(io::Error::other)
    }

    /// Reads the next line of standard output, and returns what follows `prefix` in it.
    fn next_line(&mut self, prefix: &str) -> io::Result<String> {
        let line = self.stdout.next().ok_or_else(|| {
            io::Error::other(format!("the server ended before it printed {prefix:?}"))
        })??;
        let rest = line.strip_prefix(prefix).map(str::to_owned);
        rest.ok_or_else(|| io::Error::other(format!("expected {prefix:?}, not {line:?}")))
    }
}
