//! Listeners, their certificate, and the threads that serve them.

use std::env;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args};
use waddell_server::{Identity, ListenUrl, Scheme, ServerConfig, self_signed};

use super::error::OptionsError;
use super::explain::explain_tls;
use super::values::workers;

#[derive(Debug, Args)]
#[command(next_help_heading = "Listening")]
pub(super) struct Listening {
    /// URL to listen on: tcp://HOST:PORT, tls://, ws://, wss://, or auto:// for all four on one
    /// port. Repeatable. Port 0 picks a free port. [default: tcp://0.0.0.0:62443 and
    /// ws://0.0.0.0:62480; with a certificate, tls and wss instead]
    #[arg(long, value_name = "URL", env = "WADDELL_LISTEN", value_delimiter = ',')]
    pub(super) listen: Vec<ListenUrl>,
    /// Listen as the original waddell did: same as --listen tcp://HOST:PORT, or tls:// with a
    /// certificate.
    #[arg(long, value_name = "HOST:PORT", env = "WADDELL_ADDR")]
    pub(super) addr: Option<String>,
    /// PEM file with the certificate chain. It and --key are read again when they change, and on
    /// SIGHUP.
    #[arg(long, value_name = "PEM", env = "WADDELL_CERT")]
    pub(super) cert: Option<PathBuf>,
    /// PEM file with the certificate's private key, as PKCS#8, PKCS#1 or SEC1.
    #[arg(long, value_name = "PEM", env = "WADDELL_KEY")]
    pub(super) key: Option<PathBuf>,
    /// The original waddell's name for --cert.
    #[arg(long, value_name = "PEM", env = "WADDELL_CERTFILE")]
    pub(super) certfile: Option<PathBuf>,
    /// The original waddell's name for --key.
    #[arg(long, value_name = "PEM", env = "WADDELL_PKFILE")]
    pub(super) pkfile: Option<PathBuf>,
    /// For development: make a certificate for this host name, and print where its file is.
    #[arg(long, value_name = "NAME", env = "WADDELL_SELF_SIGNED")]
    pub(super) self_signed: Option<String>,
    /// Number of threads that serve connections; 0: one for each processor.
    #[arg(
        long,
        value_name = "N",
        default_value_t = ServerConfig::default().workers,
        env = "WADDELL_WORKERS",
        value_parser = workers
    )]
    pub(super) workers: usize,
}

impl Listening {
    /// Applies precedence among options with the same meaning, such as --addr and --listen: a flag
    /// wins over a variable, and a variable over the file.
    pub(super) fn apply_precedence(&mut self, matches: &ArgMatches) {
        // To clap, values of the file are defaults. `None`, for no value, is the lowest.
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
        // Certificate and key may come from two places, such as a flag and the file.
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

    /// Returns the certificate. Makes one for `--self-signed` if `make` allows it.
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
                    "--self-signed: replaces --cert and --key; use either it or these two",
                );
            }
        };
        identity.check().map_err(|error| OptionsError(explain_tls(&error)))?;
        Ok(Some(identity))
    }

    /// Returns the URLs to listen on. Without any, they are those of the inherited sockets, or else
    /// the library's default.
    pub(super) fn urls(
        &self,
        secured: bool,
        inherited: &[ListenUrl],
    ) -> Result<Vec<ListenUrl>, OptionsError> {
        let Self { listen, addr, .. } = self;
        let mut urls = listen.clone();
        if let Some(addr) = addr {
            let scheme = if secured { Scheme::Tls } else { Scheme::Tcp };
            let url = ListenUrl::new(scheme, addr)
                .map_err(|error| OptionsError(format!("--addr {error}")))?;
            urls.push(url);
        }
        if urls.is_empty() && !inherited.is_empty() {
            urls = inherited.to_vec();
        } else if urls.is_empty() {
            urls = ServerConfig::default().listen;
            if secured {
                urls.iter_mut().for_each(|url| url.scheme = url.scheme.secured());
            }
        }
        Ok(urls)
    }
}

/// Returns the folder that keeps self-signed certificates between runs.
fn state_folder() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_STATE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/state")))
        .unwrap_or_else(env::temp_dir)
        .join("waddell")
}
