//! What the operator says: flags, then `WADDELL_…` in the environment, then the file.
//!
//! There is one table of options, [`Options`]. A file's keys are the flags' names; its values
//! become the defaults of the flags, so all three are read, checked and reported alike.

mod effective;
mod explain;
mod file;
mod limits;
mod listening;
mod logging;
#[cfg(test)]
mod tests;
mod values;

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches, Parser};
use waddell_server::{ListenUrl, ServerConfig};

pub(crate) use explain::explain;
pub(crate) use logging::{LogFormat, Logging};

use explain::one_line;
use file::with_file;
use limits::Limits;
use listening::Listening;

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
    #[arg(long, env = "WADDELL_CHECK", value_parser = BoolishValueParser::new())]
    pub(crate) check: bool,
    /// Check the whole configuration, print it as a TOML file that says the same, and exit.
    #[arg(long, env = "WADDELL_PRINT_CONFIG", value_parser = BoolishValueParser::new())]
    print_config: bool,
}

const EXAMPLES: &str = "\
Examples:
  waddell-server
  waddell-server --listen auto://0.0.0.0:443 --cert chain.pem --key key.pem
  waddell-server --listen tls://127.0.0.1:62443 --self-signed localhost
  WADDELL_LISTEN=tcp://:62443,ws://:62480 waddell-server --config waddell.toml

Every option is also a variable (WADDELL_LISTEN) and, but for --config, --check and --print-config,
a key of the file (listen = [\"tcp://0.0.0.0:62443\"]). Flags win over variables, variables over the
file, also where two options say the same (--addr and --listen; --self-signed, --cert and
--certfile). Times are 10s, 500ms or 2m; sizes are 65536, 64KiB or 1MiB.

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
        let (mut options, matches) = match &first.config {
            None => (first, matches),
            Some(file) => parse(with_file(command, file)?, &arguments)
                .map_err(|error| OptionsError(one_line(&error)))?,
        };
        options.listening.settle(&matches);
        if options.print_config {
            return Ok(Self::Print(effective::to_toml(&options, &matches)?));
        }
        Ok(Self::Run(Box::new(options)))
    }
}

/// Returns how the log is to look even if not all that the operator says can be used.
pub(crate) fn log_format() -> LogFormat {
    let arguments: Vec<_> = env::args_os().map(with_two_dashes).collect();
    let lenient = |command: Command| command.ignore_errors(true).try_get_matches_from(&arguments);
    let Ok(matches) = lenient(Options::command()) else { return LogFormat::Text };
    let file = matches.try_get_one::<PathBuf>("config").ok().flatten();
    let with_file = file.and_then(|file| lenient(with_file(Options::command(), file).ok()?).ok());
    let format = with_file.as_ref().unwrap_or(&matches).try_get_one("format");
    format.ok().flatten().copied().unwrap_or(LogFormat::Text)
}

impl Options {
    /// Returns the name for which a certificate was made, if one was.
    pub(crate) fn self_signed(&self) -> Option<&str> {
        self.listening.self_signed.as_deref()
    }

    /// Checks what clap cannot, and makes a configuration of it.
    pub(crate) fn to_config(&self) -> Result<ServerConfig, OptionsError> {
        let Self { listening, limits, logging, .. } = self;
        // A check leaves nothing behind.
        let identity = listening.identity(!self.check && !self.print_config)?;
        let secured = identity.is_some() || listening.self_signed.is_some();
        let listen = listening.urls(secured, &self.passed)?;
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
        limits.check()?;
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
            frame_timeout: limits.frame_timeout,
            rate_limit: limits.rate_limit(),
            max_connections: limits.max_connections,
            max_connections_per_address: limits.max_connections_per_address,
            accept_rate: limits.accept_rate,
            trusted_proxies: limits.trusted_proxies.clone(),
            proxy_protocol: limits.proxy_protocol,
            origins: listening.origin.clone(),
            www: listening.www()?,
            admin: listening.admin,
            admin_debug: listening.admin_debug,
            log_addresses: logging.addresses,
            drain_delay: limits.drain_delay,
            drain_timeout: limits.drain_timeout,
        })
    }
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
