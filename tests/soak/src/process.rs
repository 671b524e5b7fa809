//! The server, as a process of its own.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::prometheus::Reading;

/// How to start a server.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Flags beyond those that say where to listen.
    pub flags: Vec<String>,
    /// Most descriptors that it may have; `None`: as many as this process.
    pub descriptors: Option<usize>,
}

/// A running server with a listener of each kind; dropping it ends it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    listeners: BTreeMap<String, SocketAddr>,
    admin: SocketAddr,
    /// For clients that trust its certificate and no other.
    pub(crate) tls: Arc<ClientConfig>,
    _folder: TempDir,
}

const SCHEMES: [&str; 5] = ["tcp", "tls", "ws", "wss", "auto"];

/// Longest time for an answer of the server about itself, or for its end.
const PATIENCE: Duration = Duration::from_secs(60);

impl Process {
    /// Starts the server and waits until it listens.
    ///
    /// # Errors
    ///
    /// It does not start, or says something other than where it listens.
    pub fn start(launch: &Launch) -> Result<Self> {
        let folder = TempDir::new()?;
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        fs::write(&cert, certified.cert.pem())?;
        fs::write(&key, certified.signing_key.serialize_pem())?;
        let mut roots = RootCertStore::empty();
        roots.add(certified.cert.der().clone())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();

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
        command.arg("--cert").arg(&cert).arg("--key").arg(&key).args(&launch.flags);
        let program = launch.program.display();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut this = Self {
            child,
            listeners: BTreeMap::new(),
            admin: unknown,
            tls: Arc::new(tls),
            _folder: folder,
        };
        let stdout = this.child.stdout.take().context("its output is piped")?;
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            if let Some(address) = line.strip_prefix("admin on http://") {
                this.admin = address.parse()?;
                ensure!(
                    this.listeners.len() == SCHEMES.len(),
                    "{program} does not listen everywhere"
                );
                return Ok(this);
            }
            let url = line.strip_prefix("listening on ").context("not a listener's line")?;
            let (scheme, address) = url.split_once("://").context("not a URL")?;
            this.listeners.insert(scheme.to_owned(), address.parse()?);
        }
        bail!("{program} ended before it listened")
    }

    /// Returns where a scheme is spoken.
    pub(crate) fn address(&self, scheme: &str) -> SocketAddr {
        *self.listeners.get(scheme).expect("there is a listener of each kind")
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
        let (head, body) = text.split_once("\r\n\r\n").context("/metrics is cut short")?;
        ensure!(head.starts_with("HTTP/1.0 200 "), "/metrics answers {head:?}");
        Reading::parse(body)
    }

    /// Returns the resident memory, in bytes.
    ///
    /// # Errors
    ///
    /// The process is gone.
    pub fn resident(&self) -> Result<u64> {
        let status = fs::read_to_string(self.proc("status")).context("the server is gone")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no VmRSS")?;
        Ok(kib.parse::<u64>()? * 1024)
    }

    /// Returns the number of open descriptors.
    ///
    /// # Errors
    ///
    /// The process is gone.
    pub fn descriptors(&self) -> Result<usize> {
        Ok(fs::read_dir(self.proc("fd")).context("the server is gone")?.count())
    }

    /// Tells it to shut down, and waits until it has; it has to say that all is well.
    ///
    /// # Errors
    ///
    /// It does not end, or not in order.
    pub async fn terminate(mut self) -> Result<()> {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-TERM", &pid]).status().context("no kill")?;
        ensure!(status.success(), "cannot signal the server");
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "the server ended with {status}");
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
        bail!("the server does not end")
    }

    fn proc(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.child.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
