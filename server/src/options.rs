//! What the operator says: flags, then `WADDELL_…` in the environment, then the file.
//!
//! There is one table of options, [`Options`]. A file's keys are the flags' names; its values
//! become the defaults of the flags, so all three are read, checked and reported alike.

mod effective;
mod file;
#[cfg(test)]
mod tests;
mod values;

use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{
    ArgAction, ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser, ValueEnum,
};
use file::with_file;
use tracing_subscriber::filter::LevelFilter;
use values::{bytes, delay, memory, network, origin, rate, tcp_time, time, workers};
use waddell_server::{
    BindError, Identity, IpNet, ListenUrl, RateLimit, Scheme, ServerConfig, TlsError, Www,
    self_signed,
};

/// Relays small messages between programs that cannot reach each other yet: waddell's protocol
/// over TCP, TLS and WebSocket.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, allow_negative_numbers = true, after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(flatten)]
    listening: Listening,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    pub(crate) logging: Logging,

    /// Read further options from a TOML file; its keys are the names of these flags.
    #[arg(long, value_name = "FILE", env = "WADDELL_CONFIG")]
    config: Option<PathBuf>,
    /// What the sockets are for that whoever started the process has passed.
    #[arg(skip)]
    pub(crate) passed: Vec<ListenUrl>,
    /// Check the whole configuration, and exit: 0 if it can be used, 2 if not.
    #[arg(long, env = "WADDELL_CHECK")]
    pub(crate) check: bool,
    /// Check the whole configuration, print it as a TOML file that says the same, and exit.
    #[arg(long, env = "WADDELL_PRINT_CONFIG")]
    print_config: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Listening")]
struct Listening {
    /// Where to listen: tcp://HOST:PORT, tls://, ws://, wss:// or auto:// (all four on one port).
    /// Repeatable; port 0 picks a free one.
    /// [default: tcp://0.0.0.0:62443 and ws://0.0.0.0:62480; tls and wss with a certificate]
    #[arg(long, value_name = "URL", env = "WADDELL_LISTEN", value_delimiter = ',')]
    listen: Vec<ListenUrl>,
    /// Listen here as the original did: tcp://, or tls:// with a certificate.
    #[arg(long, value_name = "HOST:PORT", env = "WADDELL_ADDR")]
    addr: Option<String>,
    /// PEM file with the certificate chain. Read again when the files change, and on SIGHUP.
    #[arg(long, value_name = "PEM", env = "WADDELL_CERT")]
    cert: Option<PathBuf>,
    /// PEM file with the certificate's key: PKCS#8, PKCS#1 or SEC1.
    #[arg(long, value_name = "PEM", env = "WADDELL_KEY")]
    key: Option<PathBuf>,
    /// The original's name for --cert.
    #[arg(long, value_name = "PEM", env = "WADDELL_CERTFILE")]
    certfile: Option<PathBuf>,
    /// The original's name for --key.
    #[arg(long, value_name = "PEM", env = "WADDELL_PKFILE")]
    pkfile: Option<PathBuf>,
    /// Make a certificate for this host name, for development, and say where it is.
    #[arg(long, value_name = "NAME", env = "WADDELL_SELF_SIGNED")]
    self_signed: Option<String>,
    /// Serve this folder at / in the demo page's place; `off` serves none.
    #[arg(long, value_name = "DIR", env = "WADDELL_WWW")]
    www: Option<PathBuf>,
    /// Pages of these origins alone may open a WebSocket, such as https://example.org.
    /// Repeatable. [default: any]
    #[arg(long, value_name = "ORIGIN", env = "WADDELL_ORIGIN", value_delimiter = ',', value_parser = origin)]
    origin: Vec<String>,
    /// Serve /metrics, /healthz and /readyz over plain HTTP here, for operators: an address of this
    /// machine or of a private network, such as 127.0.0.1:62490. [default: nowhere]
    #[arg(long, value_name = "IP:PORT", env = "WADDELL_ADMIN")]
    admin: Option<SocketAddr>,
    /// Serve /debug/peers there too: what each peer's connection is doing, without bodies and whole
    /// ids.
    #[arg(long, env = "WADDELL_ADMIN_DEBUG")]
    admin_debug: bool,
    /// Threads that serve connections; 0: one for each processor.
    #[arg(long, value_name = "N", default_value = "0", env = "WADDELL_WORKERS", value_parser = workers)]
    workers: usize,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
struct Limits {
    /// Most bytes that wait for one peer; a frame that does not fit is dropped and counted.
    #[arg(long, value_name = "BYTES", default_value = "1MiB", env = "WADDELL_OUTBOX", value_parser = bytes)]
    outbox: usize,
    /// Most memory for what waits for all peers together, at least 16 times --outbox; the fullest
    /// outboxes are refused more first. 0: no limit.
    #[arg(long, value_name = "BYTES", default_value = "256MiB", env = "WADDELL_OUTBOX_TOTAL", value_parser = memory)]
    outbox_total: usize,
    /// Longest frame, in bytes; a longer one hangs up.
    #[arg(long, value_name = "BYTES", default_value = "65535", env = "WADDELL_MAX_FRAME", value_parser = clap::value_parser!(u16).range(18..))]
    max_frame: u16,
    /// Most connections at a time; 0: no limit.
    #[arg(long, value_name = "N", default_value = "65536", env = "WADDELL_MAX_CONNECTIONS")]
    max_connections: usize,
    /// Most connections at a time from one address (IPv6: one /64); 0: no limit.
    #[arg(
        long,
        value_name = "N",
        default_value = "16384",
        env = "WADDELL_MAX_CONNECTIONS_PER_ADDRESS"
    )]
    max_connections_per_address: usize,
    /// Most connections accepted a second, on all listeners together; further ones wait.
    /// [default: no limit]
    #[arg(long, value_name = "N", env = "WADDELL_ACCEPT_RATE")]
    accept_rate: Option<NonZeroU32>,
    /// Networks of proxies whose word on a client's address is taken (X-Forwarded-For, or see
    /// --proxy-protocol), such as 10.0.0.0/8 or 192.0.2.1. Repeatable. [default: none]
    #[arg(long, value_name = "CIDR", env = "WADDELL_TRUSTED_PROXIES", value_delimiter = ',', value_parser = network)]
    trusted_proxies: Vec<IpNet>,
    /// Connections from --trusted-proxies begin with a header of the PROXY protocol, version 1 or
    /// 2, on every listener.
    #[arg(long, env = "WADDELL_PROXY_PROTOCOL")]
    proxy_protocol: bool,
    /// Hang up on a peer that takes no byte for this long though some wait for it.
    #[arg(long, value_name = "TIME", default_value = "10s", env = "WADDELL_WRITE_TIMEOUT", value_parser = time)]
    write_timeout: Duration,
    /// Longest time for the TLS and HTTP handshakes, each.
    #[arg(long, value_name = "TIME", default_value = "10s", env = "WADDELL_HANDSHAKE_TIMEOUT", value_parser = time)]
    handshake_timeout: Duration,
    /// On auto:// listeners, a client silent for this long waits for waddell's greeting.
    #[arg(long, value_name = "TIME", default_value = "200ms", env = "WADDELL_AUTO_SILENCE", value_parser = time)]
    auto_silence: Duration,
    /// How often a WebSocket peer is pinged.
    #[arg(long, value_name = "TIME", default_value = "25s", env = "WADDELL_PING_INTERVAL", value_parser = time)]
    ping_interval: Duration,
    /// Longest time from a ping to any sign of life.
    #[arg(long, value_name = "TIME", default_value = "10s", env = "WADDELL_PONG_TIMEOUT", value_parser = time)]
    pong_timeout: Duration,
    /// Have TCP ask a peer from which nothing has come for this long whether it is still there, up
    /// to four times at distances of a quarter of this.
    #[arg(long, value_name = "TIME", default_value = "60s", env = "WADDELL_TCP_KEEPALIVE", value_parser = tcp_time)]
    tcp_keepalive: Duration,
    /// A peer whose machine has not confirmed for this long what was sent to it is gone.
    #[arg(long, value_name = "TIME", default_value = "30s", env = "WADDELL_TCP_USER_TIMEOUT", value_parser = tcp_time)]
    tcp_user_timeout: Duration,
    /// Hang up on a peer that sends no frame, not even a keep-alive, for this long.
    /// [default: never]
    #[arg(long, value_name = "TIME", env = "WADDELL_IDLE_TIMEOUT", value_parser = time)]
    idle_timeout: Option<Duration>,
    /// Most frames a second from one peer; a faster one is read from more slowly, and loses
    /// nothing. [default: no limit]
    #[arg(long, value_name = "N", env = "WADDELL_RATE_FRAMES")]
    rate_frames: Option<NonZeroU32>,
    /// Most bytes a second from one peer, in the same way. [default: no limit]
    #[arg(long, value_name = "BYTES", env = "WADDELL_RATE_BYTES", value_parser = rate)]
    rate_bytes: Option<NonZeroU32>,
    /// What a peer has not used of its rate is saved up for this long, and may come at once.
    #[arg(long, value_name = "TIME", default_value = "1s", env = "WADDELL_RATE_BURST", value_parser = time)]
    rate_burst: Duration,
    /// On shutdown, go on accepting for this long while /readyz says 503: the time that a load
    /// balancer needs to notice.
    #[arg(long, value_name = "TIME", default_value = "0s", env = "WADDELL_DRAIN_DELAY", value_parser = delay)]
    drain_delay: Duration,
    /// Longest time that the rest of a shutdown takes. Peers are hung up 2,000 a second, or as fast
    /// as four fifths of this time demand.
    #[arg(long, value_name = "TIME", default_value = "10s", env = "WADDELL_DRAIN_TIMEOUT", value_parser = time)]
    drain_timeout: Duration,
}

/// What is logged, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Logs")]
pub(crate) struct Logging {
    /// Least severe messages that are logged: off, error, warn, info, debug or trace.
    #[arg(long = "log", value_name = "LEVEL", default_value = "info", env = "WADDELL_LOG")]
    pub(crate) level: LevelFilter,
    /// How log lines look on standard error.
    #[arg(
        long = "log-format",
        value_name = "FORMAT",
        default_value = "text",
        env = "WADDELL_LOG_FORMAT"
    )]
    pub(crate) format: LogFormat,
    /// Whether the log says from which addresses connections come: on or off.
    #[arg(long = "log-addresses", value_name = "on|off", default_value = "on", action = ArgAction::Set, env = "WADDELL_LOG_ADDRESSES", value_parser = BoolishValueParser::new())]
    addresses: bool,
}

impl Listening {
    fn cert(&self) -> Option<&PathBuf> {
        self.cert.as_ref().or(self.certfile.as_ref())
    }

    fn key(&self) -> Option<&PathBuf> {
        self.key.as_ref().or(self.pkfile.as_ref())
    }
}

impl Limits {
    fn rate_limit(&self) -> Option<RateLimit> {
        let Self { rate_frames, rate_bytes, rate_burst, .. } = *self;
        (rate_frames.is_some() || rate_bytes.is_some()).then_some(RateLimit {
            frames_per_second: rate_frames,
            bytes_per_second: rate_bytes,
            burst: rate_burst,
        })
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

const EXAMPLES: &str = "\
Examples:
  waddell-server
  waddell-server --listen auto://0.0.0.0:443 --cert chain.pem --key key.pem
  waddell-server --listen tls://127.0.0.1:62443 --self-signed localhost
  WADDELL_LISTEN=tcp://:62443,ws://:62480 waddell-server --config waddell.toml

Every option is also a key of the file (listen = [\"tcp://0.0.0.0:62443\"]) and a variable
(WADDELL_LISTEN). Flags win over variables, variables over the file. Times are 10s, 500ms or
2m; sizes are 65536, 64KiB or 1MiB.

Signals: SIGTERM or SIGINT shuts down in order, a second one at once; SIGHUP reads the certificate
and the file again: most of it takes effect at once, and a line in the log names what does not.";

/// What the command line asks for.
pub(crate) enum Request {
    Run(Box<Options>),
    /// Help, version, or the configuration.
    Print(String),
}

/// What the operator said cannot be used; one line, naming the option.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct OptionsError(String);

impl Request {
    /// Reads the process's arguments and environment, and the file that they name.
    pub(crate) fn from_environment() -> Result<Self, OptionsError> {
        Self::from_arguments(env::args_os())
    }

    fn from_arguments(arguments: impl Iterator<Item = OsString>) -> Result<Self, OptionsError> {
        let arguments: Vec<_> = arguments.map(with_two_dashes).collect();
        let command = Options::command();
        let (first, matches) = match parse(command.clone(), &arguments) {
            Ok(parsed) => parsed,
            Err(error) if !error.use_stderr() => {
                return Ok(Self::Print(error.render().to_string()));
            }
            Err(error) => return Err(OptionsError(one_line(&error))),
        };
        let (options, matches) = match &first.config {
            None => (first, matches),
            Some(file) => parse(with_file(command, file)?, &arguments)
                .map_err(|error| OptionsError(one_line(&error)))?,
        };
        if options.print_config {
            return Ok(Self::Print(effective::to_toml(&options, &matches)?));
        }
        Ok(Self::Run(Box::new(options)))
    }
}

impl Options {
    /// Checks what clap cannot, and makes a configuration of it.
    pub(crate) fn to_config(&self) -> Result<ServerConfig, OptionsError> {
        let Self { listening, limits, logging, .. } = self;
        let identity = self.identity()?;
        let secured = identity.is_some() || listening.self_signed.is_some();
        let listen = self.listen_urls(secured)?;
        if let Some(url) = listen.iter().find(|url| url.scheme.requires_certificate())
            && !secured
        {
            return Err(OptionsError(format!(
                "--listen {url}: needs --cert and --key, or --self-signed"
            )));
        }
        for url in &listen {
            url.resolve().map_err(|error| OptionsError(format!("--listen {url}: {error}")))?;
        }
        let largest_frame = usize::from(limits.max_frame) + waddell_core::PREFIX_LEN;
        if limits.outbox < largest_frame {
            return Err(OptionsError(format!(
                "--outbox {}: no room for the largest frame, {largest_frame} bytes; \
                 raise it or lower --max-frame",
                limits.outbox
            )));
        }
        if limits.outbox_total != 0 && limits.outbox_total / 16 < limits.outbox {
            return Err(OptionsError(format!(
                "--outbox-total {}: less than 16 times --outbox, {} bytes; raise it or lower --outbox",
                limits.outbox_total, limits.outbox
            )));
        }
        if limits.proxy_protocol && limits.trusted_proxies.is_empty() {
            return Err(OptionsError(
                "--proxy-protocol: list the networks of the proxies with --trusted-proxies"
                    .to_owned(),
            ));
        }
        let www = match &listening.www {
            None => Www::Demo,
            Some(folder) if folder == Path::new("off") => Www::Off,
            Some(folder) if folder.is_dir() => Www::Folder(folder.clone()),
            Some(folder) => {
                let folder = folder.display();
                return Err(OptionsError(format!("--www {folder}: there is no such folder")));
            }
        };
        Ok(ServerConfig {
            listen,
            identity,
            workers: listening.workers,
            outbox_bytes: limits.outbox,
            outbox_total_bytes: limits.outbox_total,
            write_timeout: limits.write_timeout,
            handshake_timeout: limits.handshake_timeout,
            auto_silence: limits.auto_silence,
            ping_interval: limits.ping_interval,
            pong_timeout: limits.pong_timeout,
            tcp_keepalive: limits.tcp_keepalive,
            tcp_user_timeout: limits.tcp_user_timeout,
            max_frame_len: limits.max_frame,
            idle_timeout: limits.idle_timeout,
            rate_limit: limits.rate_limit(),
            max_connections: limits.max_connections,
            max_connections_per_address: limits.max_connections_per_address,
            accept_rate: limits.accept_rate,
            trusted_proxies: limits.trusted_proxies.clone(),
            proxy_protocol: limits.proxy_protocol,
            origins: listening.origin.clone(),
            www,
            admin: listening.admin,
            admin_debug: listening.admin_debug,
            log_addresses: logging.addresses,
            drain_delay: limits.drain_delay,
            drain_timeout: limits.drain_timeout,
        })
    }

    fn identity(&self) -> Result<Option<Identity>, OptionsError> {
        let (cert, key) = (self.listening.cert(), self.listening.key());
        let name = &self.listening.self_signed;
        let refuse = |why: &str| Err(OptionsError(why.to_owned()));
        let identity = match (cert, key, name) {
            (None, None, None) => return Ok(None),
            (Some(cert), Some(key), None) => Identity { cert: cert.clone(), key: key.clone() },
            // A check leaves nothing behind.
            (None, None, Some(_)) if self.check || self.print_config => return Ok(None),
            (None, None, Some(name)) => {
                let identity = self_signed(name, &state_folder())
                    .map_err(|error| OptionsError(format!("--self-signed {name}: {error}")))?;
                eprintln!("self-signed certificate for {name}: {}", identity.cert.display());
                identity
            }
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

    fn listen_urls(&self, secured: bool) -> Result<Vec<ListenUrl>, OptionsError> {
        let Listening { listen, addr, .. } = &self.listening;
        let mut urls = listen.clone();
        if let Some(addr) = addr {
            let scheme = if secured { Scheme::Tls } else { Scheme::Tcp };
            let url = ListenUrl::new(scheme, addr)
                .map_err(|error| OptionsError(format!("--addr {error}")))?;
            urls.push(url);
        }
        if urls.is_empty() && !self.passed.is_empty() {
            urls.clone_from(&self.passed);
        } else if urls.is_empty() {
            urls = ServerConfig::default().listen;
            if secured {
                urls.iter_mut().for_each(|url| url.scheme = url.scheme.secured());
            }
        }
        Ok(urls)
    }
}

/// Says in the operator's words why a server cannot start.
pub(crate) fn explain(error: &BindError) -> String {
    match error {
        BindError::NoListener => "--listen: at least one address is needed".to_owned(),
        BindError::NoCertificate { url } => format!("--listen {url}: needs --cert and --key"),
        BindError::Tls(error) => explain_tls(error),
        BindError::Listen { url, source } => format!("--listen {url}: {source}"),
        BindError::Inherited { address, scheme } => {
            let scheme = scheme.unwrap_or(Scheme::Tcp).as_str();
            format!(
                "--listen: {error}; add --listen {scheme}://{address}, or take it out of the socket unit"
            )
        }
        BindError::Admin { address, source } => format!("--admin {address}: {source}"),
        other => other.to_string(),
    }
}

fn explain_tls(error: &TlsError) -> String {
    let option = match error {
        TlsError::Read { what, .. }
        | TlsError::Pem { what, .. }
        | TlsError::Missing { what, .. }
            if *what == "private key" =>
        {
            "--key"
        }
        _ => "--cert",
    };
    format!("{option}: {error}")
}

fn parse(command: Command, arguments: &[OsString]) -> Result<(Options, ArgMatches), clap::Error> {
    let matches = command.try_get_matches_from(arguments)?;
    Ok((Options::from_arg_matches(&matches)?, matches))
}

/// The original's flags have one dash: `-addr`, `-pkfile`, `-certfile`.
fn with_two_dashes(argument: OsString) -> OsString {
    let Some(text) = argument.to_str() else { return argument };
    let name = text.split('=').next().unwrap_or(text);
    match name {
        "-addr" | "-pkfile" | "-certfile" => format!("-{text}").into(),
        _ => argument,
    }
}

/// clap explains itself over several lines; the first says what is wrong, a tip may follow.
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let mut line = String::new();
    for part in text.lines().map(str::trim) {
        if part.starts_with("Usage:") || part.starts_with("For more information") {
            break;
        }
        if !part.is_empty() {
            let part = part.strip_prefix("error: ").unwrap_or(part);
            let separator = if line.is_empty() { "" } else { "; " };
            write!(line, "{separator}{part}").expect("strings can be written to");
        }
    }
    line
}

/// Where a certificate for development is kept between runs.
fn state_folder() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_STATE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/state")))
        .unwrap_or_else(env::temp_dir)
        .join("waddell")
}
