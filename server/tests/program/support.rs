//! A server as a separate process, and helpers.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use waddell_tests::certificate::Certificate;
use waddell_tests::process::ServerProcess;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_waddell-server");

/// Far longer than any step takes, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// A running server; dropping it kills it.
pub(crate) struct Running(ServerProcess);

impl Running {
    /// Starts a server with a listener for each URL.
    pub(crate) fn start(arguments: &[&str], listeners: usize) -> Self {
        Self::start_command(Command::new(PROGRAM).args(arguments), listeners)
    }

    pub(crate) fn start_command(command: &mut Command, listeners: usize) -> Self {
        let server = ServerProcess::start(command.stderr(Stdio::piped()), listeners);
        Self(server.expect("the server listens"))
    }

    pub(crate) fn urls(&self) -> &[String] {
        self.0.urls()
    }

    /// Returns the host and port of a listener.
    pub(crate) fn address(&self, index: usize) -> &str {
        let (_, address) = self.urls()[index].split_once("://").expect("it is a URL");
        address
    }

    pub(crate) fn connect(&self, index: usize) -> TcpStream {
        let stream = TcpStream::connect(self.address(index)).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
        stream
    }

    /// Returns the address of `--admin`. To be called once.
    pub(crate) fn admin(&mut self) -> SocketAddr {
        self.0.read_admin().expect("the server has --admin")
    }

    /// Returns the lines of the log. To be called once.
    pub(crate) fn log(&mut self) -> Lines<BufReader<ChildStderr>> {
        BufReader::new(self.0.process.stderr().expect("it is piped")).lines()
    }

    pub(crate) fn signal(&self, name: &str) {
        self.0.process.signal(name).expect("the process can be signalled");
    }

    /// Waits for the end of the program. Returns its exit code and the rest of its log.
    pub(crate) fn ended(&mut self) -> (Option<i32>, String) {
        let code = self.exit_code();
        let mut log = String::new();
        let mut stderr = self.0.process.stderr().expect("it is piped");
        stderr.read_to_string(&mut log).expect("it is text");
        (code, log)
    }

    /// Waits for the end of the program. Returns its exit code.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        let mut code = None;
        until(|| {
            code = self.exited();
            code.is_some()
        });
        code.and_then(|status| status.code())
    }

    /// Returns how the program ended; `None` while it runs.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.0.process.try_wait().expect("it is our child")
    }

    pub(crate) fn descriptors(&self) -> usize {
        self.0.process.usage().descriptors().expect("the server runs")
    }

    /// Returns the resident memory, in KiB.
    pub(crate) fn resident(&self) -> u64 {
        self.0.process.usage().resident().expect("the server runs") / 1024
    }
}

#[track_caller]
pub(crate) fn until(mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "the condition stays false");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Reads a counter from `/metrics`.
pub(crate) fn metric(admin: SocketAddr, name: &str) -> u64 {
    let mut stream = TcpStream::connect(admin).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("the connection is open");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("the server answers");
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.expect("the counter exists").parse().expect("it is a number")
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().expect("the program exists")
}

/// Checks that the program fails with `code` and one line that contains `text`.
#[track_caller]
pub(crate) fn fails(command: &mut Command, code: i32, text: &str) {
    let output = command.output().expect("the program exists");
    let stderr = String::from_utf8(output.stderr).expect("it is text");
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");
    assert!(stderr.contains(text), "{text:?} is missing: {stderr}");
    assert_eq!(output.stdout, b"", "nothing is on standard output");
}

/// Reads the greeting; returns the id of the peer.
pub(crate) fn greeting(stream: &mut TcpStream) -> [u8; 16] {
    let mut greeting = [0; 20];
    stream.read_exact(&mut greeting).expect("the greeting arrives");
    assert_eq!((&greeting[..2], &greeting[18..]), (&[18, 0][..], &[0, 0][..]));
    *greeting[2..].first_chunk().expect("it is long enough")
}

pub(crate) fn message(to: [u8; 16], body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(18 + body.len()).expect("it fits");
    [&len.to_le_bytes()[..], &to, &[1, 0], body].concat()
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("it is text")
}

/// Runs `openssl` in a folder.
#[track_caller]
pub(crate) fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(folder)
        .output()
        .expect("openssl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Makes `cert.pem` and `key.pem` for localhost.
pub(crate) fn certificate(folder: &Path) -> (PathBuf, PathBuf) {
    let Certificate { cert, key } = Certificate::make(folder).expect("the disk has room");
    (cert, key)
}
