//! Where the server listens, and what it shows there.

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::builder::BoolishValueParser;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args};
use waddell_server::{Identity, ListenUrl, Scheme, ServerConfig, Www, self_signed};

use super::OptionsError;
use super::explain::explain_tls;
use super::values::{origin, workers};

#[derive(Debug, Args)]
#[command(next_help_heading = "Listening")]
pub(super) struct Listening {
    /// Where to listen: tcp://HOST:PORT, tls://, ws://, wss:// or auto:// (all four on one port).
    /// Repeatable; port 0 picks a free one.
    /// [default: tcp://0.0.0.0:62443 and ws://0.0.0.0:62480; tls and wss with a certificate]
    #[arg(long, value_name = "URL", env = "WADDELL_LISTEN", value_delimiter = ',')]
    pub(super) listen: Vec<ListenUrl>,
    /// Listen here as the original did: tcp://, or tls:// with a certificate.
    #[arg(long, value_name = "HOST:PORT", env = "WADDELL_ADDR")]
    pub(super) addr: Option<String>,
    /// PEM file with the certificate chain. Read again when the files change, and on SIGHUP.
    #[arg(long, value_name = "PEM", env = "WADDELL_CERT")]
    pub(super) cert: Option<PathBuf>,
    /// PEM file with the certificate's key: PKCS#8, PKCS#1 or SEC1.
    #[arg(long, value_name = "PEM", env = "WADDELL_KEY")]
    pub(super) key: Option<PathBuf>,
    /// The original's name for --cert.
    #[arg(long, value_name = "PEM", env = "WADDELL_CERTFILE")]
    pub(super) certfile: Option<PathBuf>,
    /// The original's name for --key.
    #[arg(long, value_name = "PEM", env = "WADDELL_PKFILE")]
    pub(super) pkfile: Option<PathBuf>,
    /// Make a certificate for this host name, for development, and say where it is.
    #[arg(long, value_name = "NAME", env = "WADDELL_SELF_SIGNED")]
    pub(super) self_signed: Option<String>,
    /// Serve this folder at / in the demo page's place; `off` serves none.
    #[arg(long, value_name = "DIR", env = "WADDELL_WWW")]
    pub(super) www: Option<PathBuf>,
    /// Pages of these origins alone may open a WebSocket, such as https://example.org.
    /// Repeatable. [default: any]
    #[arg(long, value_name = "ORIGIN", env = "WADDELL_ORIGIN", value_delimiter = ',', value_parser = origin)]
    pub(super) origin: Vec<String>,
    /// Serve /metrics, /healthz and /readyz over plain HTTP here, for operators: an address of this
    /// machine or of a private network, such as 127.0.0.1:62490. [default: nowhere]
    #[arg(long, value_name = "IP:PORT", env = "WADDELL_ADMIN")]
    pub(super) admin: Option<SocketAddr>,
    /// Serve /debug/peers there too: what each peer's connection is doing, without bodies and whole
    /// ids.
    #[arg(long, env = "WADDELL_ADMIN_DEBUG", value_parser = BoolishValueParser::new())]
    pub(super) admin_debug: bool,
    /// Threads that serve connections; 0: one for each processor.
    #[arg(long, value_name = "N", default_value = "0", env = "WADDELL_WORKERS", value_parser = workers)]
    pub(super) workers: usize,
}

impl Listening {
    /// Has flags win over variables, and those over the file, among options that stand for the same
    /// as well: of each such group, what was said at a lower place is forgotten.
    pub(super) fn settle(&mut self, matches: &ArgMatches) {
        // A file's values are the defaults of options that have no other. `None` is the lowest.
        let place = |option: &str| -> Option<ValueSource> { matches.value_source(option) };
        let (listen, addr) = (place("listen"), place("addr"));
        if listen < addr {
            self.listen.clear();
        } else if addr < listen {
            self.addr = None;
        }
        let (cert, certfile) = (place("cert"), place("certfile"));
        if cert < certfile {
            self.cert = None;
        }
        let (key, pkfile) = (place("key"), place("pkfile"));
        if key < pkfile {
            self.key = None;
        }
        // A pair may be put together: the certificate of a flag, the key of the file.
        let pair = cert.max(certfile).max(key).max(pkfile);
        let self_signed = place("self_signed");
        if pair < self_signed {
            (self.cert, self.certfile, self.key, self.pkfile) = (None, None, None, None);
        } else if self_signed < pair {
            self.self_signed = None;
        }
    }

    pub(super) fn cert(&self) -> Option<&PathBuf> {
        self.cert.as_ref().or(self.certfile.as_ref())
    }

    pub(super) fn key(&self) -> Option<&PathBuf> {
        self.key.as_ref().or(self.pkfile.as_ref())
    }

    /// Returns the certificate, made for development if that is what is asked for and allowed.
    pub(super) fn identity(&self, make: bool) -> Result<Option<Identity>, OptionsError> {
        let (cert, key) = (self.cert(), self.key());
        let name = &self.self_signed;
        let refuse = |why: &str| Err(OptionsError(why.to_owned()));
        let identity = match (cert, key, name) {
            (None, None, None) => return Ok(None),
            (Some(cert), Some(key), None) => Identity { cert: cert.clone(), key: key.clone() },
            (None, None, Some(_)) if !make => return Ok(None),
            (None, None, Some(name)) => self_signed(name, &state_folder())
                .map_err(|error| OptionsError(format!("--self-signed {name}: {error}")))?,
            (Some(_), None, None) => return refuse("--cert: needs --key as well"),
            (None, Some(_), None) => return refuse("--key: needs --cert as well"),
            (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
                return refuse(
                    "--self-signed: makes a certificate in the place of --cert and --key; leave out one or the other",
                );
            }
        };
        identity.check().map_err(|error| OptionsError(explain_tls(&error)))?;
        Ok(Some(identity))
    }

    /// Returns where to listen; by default at the sockets that were passed, or where the library
    /// does.
    pub(super) fn urls(
        &self,
        secured: bool,
        passed: &[ListenUrl],
    ) -> Result<Vec<ListenUrl>, OptionsError> {
        let Self { listen, addr, .. } = self;
        let mut urls = listen.clone();
        if let Some(addr) = addr {
            let scheme = if secured { Scheme::Tls } else { Scheme::Tcp };
            let url = ListenUrl::new(scheme, addr)
                .map_err(|error| OptionsError(format!("--addr {error}")))?;
            urls.push(url);
        }
        if urls.is_empty() && !passed.is_empty() {
            urls = passed.to_vec();
        } else if urls.is_empty() {
            urls = ServerConfig::default().listen;
            if secured {
                urls.iter_mut().for_each(|url| url.scheme = url.scheme.secured());
            }
        }
        Ok(urls)
    }

    /// Returns what to serve at `/`.
    pub(super) fn www(&self) -> Result<Www, OptionsError> {
        match &self.www {
            None => Ok(Www::Demo),
            Some(folder) if folder == Path::new("off") => Ok(Www::Off),
            Some(folder) if folder.is_dir() => Ok(Www::Folder(folder.clone())),
            Some(folder) => {
                let folder = folder.display();
                Err(OptionsError(format!("--www {folder}: there is no such folder")))
            }
        }
    }
}

/// Where a certificate for development is kept between runs.
fn state_folder() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_STATE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/state")))
        .unwrap_or_else(env::temp_dir)
        .join("waddell")
}
