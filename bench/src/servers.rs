//! The servers that a suite compares: started by it, or running already.

use std::env;
use std::fs;
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use waddell_tests::certificate::Certificate;
use waddell_tests::process::{Process, ServerProcess};

use crate::target::Target;

/// A server to compare.
#[derive(Clone, Debug)]
pub(crate) enum Server {
    /// `waddell-server`: the path of the program.
    Waddell(PathBuf),
    /// `nats-server`: the path of the program.
    Nats(PathBuf),
    /// Any other server.
    Other(Other),
}

/// A server given by the user. `NAME=URL`: it runs already. `NAME=URL,PID`: it runs on this machine
/// as that process. `NAME=URL COMMAND`: it is started for each run.
#[derive(Clone, Debug)]
pub(crate) struct Other {
    name: String,
    target: Target,
    pid: Option<u32>,
    command: Vec<String>,
}

/// A server that is listening.
pub(crate) struct Listening {
    /// Scheme and URL of each listener.
    urls: Vec<(String, String)>,
    pub(crate) pid: Option<u32>,
    /// The process, if it was started for this run.
    _process: Option<Process>,
}

impl Server {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Waddell(_) => "waddell-server",
            Self::Nats(_) => "nats-server",
            Self::Other(other) => &other.name,
        }
    }

    /// Returns whether the server speaks a scheme (`tcp`, `tls`, `ws`, `wss`).
    pub(crate) fn speaks(&self, scheme: &str) -> bool {
        match self {
            Self::Waddell(_) => true,
            Self::Nats(_) => scheme == "tcp",
            Self::Other(other) => other.target.url.starts_with(&format!("{scheme}://")),
        }
    }

    /// Starts the server, on the processors of `pin` if any, and waits until it listens.
    pub(crate) fn start(
        &self,
        pin: Option<&str>,
        certificate: &Certificate,
        dir: &Path,
    ) -> Result<Listening> {
        match self {
            Self::Waddell(program) => start_waddell(program, pin, certificate),
            Self::Nats(program) => start_nats(program, pin, dir),
            Self::Other(other) => start_other(other, pin),
        }
    }
}

impl Listening {
    pub(crate) fn url(&self, scheme: &str) -> Option<&str> {
        self.urls.iter().find(|(known, _)| known == scheme).map(|(_, url)| &**url)
    }
}

fn start_waddell(
    program: &Path,
    pin: Option<&str>,
    certificate: &Certificate,
) -> Result<Listening> {
    let schemes = ["tcp", "ws", "tls", "wss"];
    let mut command = pinned(program, pin);
    for scheme in schemes {
        command.args(["--listen", &format!("{scheme}://127.0.0.1:0")]);
    }
    command.arg("--cert").arg(&certificate.cert).arg("--key").arg(&certificate.key);
    // The whole load comes from one address.
    command.args(["--max-connections-per-address", "0", "--log", "error"]);
    let server = ServerProcess::start(command.stdin(Stdio::null()), schemes.len())?;
    let urls = server.urls().iter().map(|url| (scheme_of(url), url.clone())).collect();
    let process = server.process;
    Ok(Listening { urls, pid: Some(process.id()), _process: Some(process) })
}

fn start_nats(program: &Path, pin: Option<&str>, dir: &Path) -> Result<Listening> {
    let mut command = pinned(program, pin);
    command.args(["--addr", "127.0.0.1", "--port", "-1", "--ports_file_dir"]).arg(dir);
    let process = spawn_silent(&mut command)?;
    let pid = process.id();
    let file = dir.join(format!("nats-server_{pid}.ports"));
    let began = Instant::now();
    while began.elapsed() < START_TIMEOUT {
        if let Ok(text) = fs::read_to_string(&file)
            && let Ok(ports) = serde_json::from_str::<serde_json::Value>(&text)
            && let Some(url) = ports["nats"][0].as_str()
            && TcpStream::connect(url.trim_start_matches("nats://")).is_ok()
        {
            let urls = vec![("tcp".to_owned(), url.to_owned())];
            return Ok(Listening { urls, pid: Some(pid), _process: Some(process) });
        }
        sleep(Duration::from_millis(20));
    }
    bail!("{} does not write its file of ports", program.display())
}

fn start_other(other: &Other, pin: Option<&str>) -> Result<Listening> {
    let Other { target, pid, command, .. } = other;
    let urls = vec![(scheme_of(&target.url), target.url.clone())];
    let Some((program, args)) = command.split_first() else {
        return Ok(Listening { urls, pid: *pid, _process: None });
    };
    if TcpStream::connect(target.address).is_ok() {
        bail!("{}: another server listens there already", target.url);
    }
    let mut command = pinned(Path::new(program), pin);
    let process = spawn_silent(command.args(args))?;
    let began = Instant::now();
    while began.elapsed() < START_TIMEOUT {
        if TcpStream::connect(target.address).is_ok() {
            return Ok(Listening { urls, pid: Some(process.id()), _process: Some(process) });
        }
        sleep(Duration::from_millis(20));
    }
    bail!("{program} does not listen on {}", target.url)
}

fn spawn_silent(command: &mut Command) -> io::Result<Process> {
    Process::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))
}

fn scheme_of(url: &str) -> String {
    url.split(':').next().unwrap_or_default().to_owned()
}

/// Prepares the command of a program, on the processors of `pin` if any.
pub(crate) fn pinned(program: &Path, pin: Option<&str>) -> Command {
    match pin {
        Some(processors) => {
            let mut command = Command::new("taskset");
            command.args(["-c", processors]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// Finds a program on the `PATH`, or where Debian installs servers.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")]);
    dirs.map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Makes a certificate with an RSA key of 2048 bits.
pub(crate) fn make_rsa_certificate(folder: &Path) -> Result<Certificate> {
    let files = Certificate::in_folder(folder);
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]);
    command.args(["-subj", "/CN=localhost", "-out"]).arg(&files.cert);
    let output = command.arg("-keyout").arg(&files.key).output();
    let output = output.context("--rsa needs the openssl command")?;
    if !output.status.success() {
        bail!("openssl failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(files)
}

impl FromStr for Other {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let usage = "expected NAME=URL, NAME=URL,PID or NAME=URL COMMAND";
        let (name, rest) = text.split_once('=').ok_or(usage)?;
        let mut words = rest.split_ascii_whitespace().map(str::to_owned);
        let first = words.next().ok_or(usage)?;
        let command: Vec<_> = words.collect();
        let (url, pid) = match first.split_once(',') {
            Some((url, pid)) if command.is_empty() => {
                let pid = pid.parse().map_err(|_| format!("{pid:?} is not a process id"))?;
                (url, Some(pid))
            }
            Some(_) => return Err(usage.to_owned()),
            None => (&*first, None),
        };
        Ok(Self { name: name.to_owned(), target: url.parse()?, pid, command })
    }
}

const START_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_servers_run_already_or_are_started() {
        let other = |text: &str| text.parse::<Other>();
        let running = other("old=tcp://127.0.0.1:1,42").unwrap();
        assert_eq!((&*running.name, running.pid, running.command.len()), ("old", Some(42), 0));
        let started = other("old=tcp://127.0.0.1:1 relay -addr :1").unwrap();
        assert_eq!(
            (started.pid, &started.command[..]),
            (None, &["relay", "-addr", ":1"].map(str::to_owned)[..])
        );
        for wrong in [
            "tcp://127.0.0.1:1",
            "old=",
            "old=tcp://127.0.0.1:1,x",
            "old=tcp://127.0.0.1:1,2 relay",
        ] {
            other(wrong).unwrap_err();
        }
    }
}
