//! The server, as a process of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustls::ClientConfig;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use waddell_tests::certificate::{Certificate, trust};
use waddell_tests::process::ServerProcess;
use waddell_tests::usage::Usage;

use crate::prometheus::Reading;

/// How to start a server.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Flags, without those of the listeners.
    pub flags: Vec<String>,
    /// Limit on descriptors; `None`: that of this process.
    pub descriptors: Option<usize>,
}

/// A running server with a listener of each kind; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Server {
    inner: ServerProcess,
    admin: SocketAddr,
    /// Settings of clients that trust its certificate and no other.
    pub(crate) tls: Arc<ClientConfig>,
    _folder: TempDir,
}

const SCHEMES: [&str; 5] = ["tcp", "tls", "ws", "wss", "auto"];

/// Longest time for `/metrics`, or for the end of the server.
const PATIENCE: Duration = Duration::from_secs(60);

impl Server {
    /// Starts the server and waits until it listens.
    ///
    /// # Errors
    ///
    /// The server does not start, or prints an unexpected line.
    pub(crate) fn start(launch: &Launch) -> Result<Self> {
        let folder = TempDir::new()?;
        let certificate = Certificate::make(folder.path())?;
        let tls = trust(&certificate.cert)?;

        let mut command = match launch.descriptors {
            None => Command::new(&launch.program),
            Some(descriptors) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"")]);
                shell.arg(&launch.program);
                shell
            }
        };
        for scheme in SCHEMES {
            command.args(["--listen", &format!("{scheme}://127.0.0.1:0")]);
        }
        command.args(["--admin", "127.0.0.1:0", "--log", "error"]);
        command.arg("--cert").arg(&certificate.cert).arg("--key").arg(&certificate.key);
        command.args(&launch.flags);
        let mut inner = ServerProcess::start(command.stdin(Stdio::null()), SCHEMES.len())?;
        let admin = inner.read_admin()?;
        Ok(Self { inner, admin, tls: Arc::new(tls), _folder: folder })
    }

    /// Returns the address of the listener of a scheme.
    pub(crate) fn address(&self, scheme: &str) -> SocketAddr {
        self.inner.address(scheme)
    }

    /// Reads `/metrics`.
    pub(crate) async fn metrics(&self) -> Result<Reading> {
        let get = async {
            let mut stream = TcpStream::connect(self.admin).await?;
            stream.write_all(b"GET /metrics HTTP/1.0\r\nhost: localhost\r\n\r\n").await?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await?;
            Ok::<_, std::io::Error>(text)
        };
        let text = timeout(PATIENCE, get).await.context("/metrics takes too long")??;
        let (head, body) = text.split_once("\r\n\r\n").context("/metrics is incomplete")?;
        ensure!(head.starts_with("HTTP/1.0 200 "), "/metrics answers {head:?}");
        Reading::parse(body)
    }

    /// Returns what measures the server's memory and descriptors.
    pub(crate) fn usage(&self) -> Usage {
        self.inner.process.usage()
    }

    /// Tells the server to shut down, and waits for an end with success.
    ///
    /// # Errors
    ///
    /// The server does not end, or ends with an error.
    pub(crate) async fn terminate(mut self) -> Result<()> {
        self.inner.process.signal("TERM")?;
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if let Some(status) = self.inner.process.try_wait()? {
                ensure!(status.success(), "the server ended with {status}");
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
        bail!("the server does not end")
    }
}
