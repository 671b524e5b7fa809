//! What the operator says: flags, then `WADDELL_…` in the environment, then the file.
//!
//! There is one table of options, [`Options`]. A file's keys are the flags' names; its values
//! become the defaults of the flags, so all three are read, checked and reported alike.

use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Arg, Args, Command, CommandFactory, FromArgMatches, Parser, ValueEnum};
use tracing_subscriber::filter::LevelFilter;
use waddell_server::{
    BindError, Identity, ListenUrl, RateLimit, Scheme, ServerConfig, TlsError, Www, self_signed,
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

    /// Read further options from a TOML file; its keys are the names of these flags.
    #[arg(long, value_name = "FILE", env = "WADDELL_CONFIG")]
    config: Option<PathBuf>,
    /// Check the whole configuration, and exit: 0 if it can be used, 2 if not.
    #[arg(long, env = "WADDELL_CHECK")]
    pub(crate) check: bool,
    /// Least severe messages that are logged: off, error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "WADDELL_LOG")]
    pub(crate) log: LevelFilter,
    /// How log lines look on standard error.
    #[arg(long, value_name = "FORMAT", default_value = "text", env = "WADDELL_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
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
    /// PEM file with the certificate chain. Read again on SIGHUP.
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
    /// Longest time that a shutdown takes.
    #[arg(long, value_name = "TIME", default_value = "10s", env = "WADDELL_DRAIN_TIMEOUT", value_parser = time)]
    drain_timeout: Duration,
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
and the file again (the limits on connections, the origins and --www change at once; a line in the
log names what needs a restart).";

/// What the command line asks for.
pub(crate) enum Request {
    Run(Box<Options>),
    /// Help or version.
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
        let first = match parse(command.clone(), &arguments) {
            Ok(options) => options,
            Err(error) if !error.use_stderr() => {
                return Ok(Self::Print(error.render().to_string()));
            }
            Err(error) => return Err(OptionsError(one_line(&error))),
        };
        let Some(file) = first.config else { return Ok(Self::Run(Box::new(first))) };
        let command = with_file(command, &file)?;
        let options = parse(command, &arguments).map_err(|error| OptionsError(one_line(&error)))?;
        Ok(Self::Run(Box::new(options)))
    }
}

impl Options {
    /// Checks what clap cannot, and makes a configuration of it.
    pub(crate) fn to_config(&self) -> Result<ServerConfig, OptionsError> {
        let Self { listening, limits, .. } = self;
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
            write_timeout: limits.write_timeout,
            handshake_timeout: limits.handshake_timeout,
            auto_silence: limits.auto_silence,
            ping_interval: limits.ping_interval,
            pong_timeout: limits.pong_timeout,
            max_frame_len: limits.max_frame,
            idle_timeout: limits.idle_timeout,
            rate_limit: limits.rate_limit(),
            max_connections: limits.max_connections,
            max_connections_per_address: limits.max_connections_per_address,
            origins: listening.origin.clone(),
            www,
            admin: listening.admin,
            drain_timeout: limits.drain_timeout,
        })
    }

    fn identity(&self) -> Result<Option<Identity>, OptionsError> {
        let Listening { cert, key, certfile, pkfile, self_signed: name, .. } = &self.listening;
        let cert = cert.as_ref().or(certfile.as_ref());
        let key = key.as_ref().or(pkfile.as_ref());
        let refuse = |why: &str| Err(OptionsError(why.to_owned()));
        let identity = match (cert, key, name) {
            (None, None, None) => return Ok(None),
            (Some(cert), Some(key), None) => Identity { cert: cert.clone(), key: key.clone() },
            // A check leaves nothing behind.
            (None, None, Some(_)) if self.check => return Ok(None),
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
        if urls.is_empty() {
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

fn parse(command: Command, arguments: &[OsString]) -> Result<Options, clap::Error> {
    let matches = command.try_get_matches_from(arguments)?;
    Options::from_arg_matches(&matches)
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

/// Makes the values in a file the defaults of the flags.
fn with_file(mut command: Command, file: &Path) -> Result<Command, OptionsError> {
    let place = format!("--config {}", file.display());
    let text =
        fs::read_to_string(file).map_err(|error| OptionsError(format!("{place}: {error}")))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(0, |span| text[..span.start].matches('\n').count()) + 1;
        OptionsError(format!("{place}, line {line}: {}", error.message()))
    })?;
    for (key, value) in table {
        let names = || command.get_arguments().filter_map(Arg::get_long);
        let known = names().any(|name| name == key)
            && !matches!(key.as_str(), "config" | "help" | "version");
        if !known {
            let hint = closest(&key, names())
                .map_or(String::new(), |name| format!("; did you mean {name:?}?"));
            return Err(OptionsError(format!("{place}: there is no option {key:?}{hint}")));
        }
        let values = values(&value).ok_or_else(|| {
            OptionsError(format!(
                "{place}: {key}: expected text, a number, true, false or a list of them"
            ))
        })?;
        let id = key.replace('-', "_");
        command = command.mut_arg(id, |arg| arg.default_values(values));
    }
    Ok(command)
}

fn values(value: &toml::Value) -> Option<Vec<String>> {
    let one = |value: &toml::Value| match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        toml::Value::Float(_)
        | toml::Value::Datetime(_)
        | toml::Value::Array(_)
        | toml::Value::Table(_) => None,
    };
    match value {
        toml::Value::Array(list) => list.iter().map(one).collect(),
        other => Some(vec![one(other)?]),
    }
}

/// Returns the name that shares the most letters at its beginning with what was written.
fn closest<'a>(written: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.replace('_', "-");
    let shared = |name: &str| name.chars().zip(written.chars()).take_while(|(a, b)| a == b).count();
    names.max_by_key(|name| shared(name)).filter(|name| shared(name) >= 3)
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

fn time(text: &str) -> Result<Duration, String> {
    let time = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => humantime::parse_duration(text)
            .map_err(|_| "expected a time such as 10s, 500ms or 2m".to_owned())?,
    };
    if time < Duration::from_millis(1) || time > Duration::from_secs(86_400 * 365) {
        return Err("expected a time from 1ms to 365d".to_owned());
    }
    Ok(time)
}

fn bytes(text: &str) -> Result<usize, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("expected a size such as 65536, 64KiB or 1MiB".to_owned()),
    };
    number
        .parse::<usize>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .filter(|bytes| *bytes <= 1 << 30)
        .ok_or_else(|| "expected a size of at most 1GiB, such as 65536, 64KiB or 1MiB".to_owned())
}

fn rate(text: &str) -> Result<NonZeroU32, String> {
    let rate = u32::try_from(bytes(text)?).ok().and_then(NonZeroU32::new);
    rate.ok_or_else(|| "expected at least 1 byte a second".to_owned())
}

fn workers(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| *count <= 1024)
        .ok_or_else(|| "expected a number from 0 to 1024".to_owned())
}

/// An origin as browsers write it: scheme, host and perhaps port, nothing after.
fn origin(text: &str) -> Result<String, String> {
    let host = text.split_once("://").map(|(_, host)| host);
    match host {
        Some(host) if !host.is_empty() && !host.contains(['/', '?', '#']) => Ok(text.to_owned()),
        Some(_) | None => {
            Err("expected an origin such as https://example.org, without a path".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &[&str]) -> Result<Box<Options>, String> {
        let arguments = std::iter::once("waddell-server").chain(arguments.iter().copied());
        match Request::from_arguments(arguments.map(OsString::from)) {
            Ok(Request::Run(options)) => Ok(options),
            Ok(Request::Print(text)) => Err(text),
            Err(error) => Err(error.to_string()),
        }
    }

    fn config(arguments: &[&str]) -> Result<ServerConfig, String> {
        options(arguments)?.to_config().map_err(|error| error.to_string())
    }

    fn urls(arguments: &[&str]) -> Vec<String> {
        config(arguments).unwrap().listen.iter().map(ToString::to_string).collect()
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn the_table_of_options_is_consistent() {
        Options::command().debug_assert();
        for argument in Options::command().get_arguments() {
            let Some(long) = argument.get_long() else { continue };
            if !matches!(long, "help" | "version") {
                let variable = format!("WADDELL_{}", long.to_uppercase().replace('-', "_"));
                assert_eq!(argument.get_env(), Some(variable.as_ref()), "--{long}");
            }
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let (ours, library) = (config(&[]).unwrap(), ServerConfig::default());
        assert_eq!(format!("{ours:?}"), format!("{library:?}"));
    }

    #[test]
    fn addresses_add_up() {
        assert_eq!(urls(&[]), ["tcp://0.0.0.0:62443", "ws://0.0.0.0:62480"]);
        assert_eq!(
            urls(&["--self-signed", "localhost", "--check"]),
            ["tls://0.0.0.0:62443", "wss://0.0.0.0:62480"]
        );
        assert_eq!(urls(&["-addr", ":62443"]), ["tcp://0.0.0.0:62443"]);
        assert_eq!(urls(&["-addr=127.0.0.1:1"]), ["tcp://127.0.0.1:1"]);
        assert_eq!(
            urls(&["--listen", "ws://127.0.0.1:1", "--listen", "auto://127.0.0.1:2"]),
            ["ws://127.0.0.1:1", "auto://127.0.0.1:2"]
        );
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = file(
            "listen = [\"tcp://127.0.0.1:1\", \"ws://127.0.0.1:2\"]\n\
             outbox = \"2MiB\"\nworkers = 3\nwrite-timeout = \"5s\"\nidle-timeout = 60\n",
        );
        let path = file.path().to_str().unwrap();
        let config = config(&["--config", path, "--write-timeout", "7s"]).unwrap();
        assert_eq!(config.listen.len(), 2);
        assert_eq!(config.outbox_bytes, 2 << 20);
        assert_eq!(config.workers, 3);
        assert_eq!(config.write_timeout, Duration::from_secs(7));
        assert_eq!(config.idle_timeout, Some(Duration::from_secs(60)));
        assert_eq!(
            urls(&["--config", path, "--listen", "tcp://127.0.0.1:9"]),
            ["tcp://127.0.0.1:9"]
        );
    }

    #[test]
    fn every_option_can_stand_in_the_file() {
        for argument in Options::command().get_arguments() {
            let Some(long) = argument.get_long() else { continue };
            if matches!(long, "help" | "version" | "config") {
                continue;
            }
            let value = match long {
                "check" => "true".to_owned(),
                "log" => "\"debug\"".to_owned(),
                "log-format" => "\"json\"".to_owned(),
                "listen" => "[\"tcp://127.0.0.1:1\"]".to_owned(),
                "origin" => "[\"https://example.org\"]".to_owned(),
                "workers"
                | "max-connections"
                | "max-connections-per-address"
                | "max-frame"
                | "rate-frames"
                | "rate-bytes" => "99".to_owned(),
                "outbox" => "\"64KiB\"".to_owned(),
                "admin" => "\"127.0.0.1:1\"".to_owned(),
                name if name.ends_with("timeout")
                    || name.ends_with("interval")
                    || name.ends_with("silence")
                    || name == "rate-burst" =>
                {
                    "\"3s\"".to_owned()
                }
                _ => "\"x\"".to_owned(),
            };
            let file = file(&format!("{long} = {value}\n"));
            let with = options(&["--config", file.path().to_str().unwrap()]).unwrap();
            let without = options(&[]).unwrap();
            let shown = |options: &Options| {
                format!(
                    "{:?}{:?}{:?}{:?}{:?}",
                    options.listening,
                    options.limits,
                    options.check,
                    options.log,
                    options.log_format
                )
            };
            assert_ne!(shown(&with), shown(&without), "{long} has no effect");
        }
    }

    #[test]
    fn what_is_wrong_is_one_line_that_names_the_option() {
        let folder = tempfile::tempdir().unwrap();
        let unknown = file("listn = \"tcp://127.0.0.1:1\"\n");
        let broken = file("outbox = \n");
        let nested = file("[outbox]\nbytes = 1\n");
        let bad_value = file("outbox = \"lots\"\n");
        let text = |file: &tempfile::NamedTempFile| file.path().to_str().unwrap().to_owned();
        let absent = folder.path().join("absent.pem").to_str().unwrap().to_owned();
        for (arguments, expected) in [
            (
                &["--listen", "foo://127.0.0.1:1"][..],
                &["--listen", "foo://127.0.0.1:1", "scheme"][..],
            ),
            (&["--listen", "tls://127.0.0.1:1"], &["--listen tls://127.0.0.1:1", "--cert"]),
            (&["--cert", &absent], &["--cert", "--key"]),
            (&["--cert", &absent, "--key", &absent], &["--cert", "absent.pem"]),
            (&["--self-signed", "a", "--cert", "b", "--key", "c"], &["--self-signed", "--cert"]),
            (&["--outbox", "1KiB"], &["--outbox", "--max-frame"]),
            (&["--outbox", "many"], &["--outbox", "1MiB"]),
            (&["--max-frame", "17"], &["--max-frame"]),
            (&["--write-timeout", "soon"], &["--write-timeout", "500ms"]),
            (&["--www", &absent], &["--www", "no such folder"]),
            (&["--origin", "https://example.org/page"], &["--origin", "without a path"]),
            (&["--workers", "-1"], &["--workers"]),
            (&["--addr", "nowhere"], &["--addr", "port is missing"]),
            (&["--log", "loud"], &["--log"]),
            (&["--config", &absent], &["--config", "absent.pem"]),
            (&["--config", &text(&unknown)], &["listn", "did you mean \"listen\""]),
            (&["--config", &text(&broken)], &["--config", "line 1"]),
            (&["--config", &text(&nested)], &["outbox", "expected text"]),
            (&["--config", &text(&bad_value)], &["--outbox", "lots"]),
            (&["--nonsense"], &["--nonsense"]),
            (&["--listne", "tcp://127.0.0.1:1"], &["--listne", "--listen"]),
        ] {
            let error = config(arguments).expect_err(&format!("{arguments:?}"));
            assert_eq!(error.lines().count(), 1, "{error}");
            for part in expected {
                assert!(error.contains(part), "{arguments:?}: {error}");
            }
        }
    }
}
