//! The operator's options: flags, then `WADDELL_…` in the environment, then the file.
//!
//! There is one table of options, [`Options`]. The keys of a file are the names of the flags, and
//! its values become the defaults of the flags. So all three are read, checked and reported alike.

mod admin;
mod effective;
mod error;
mod explain;
mod file;
mod http;
mod limits;
mod listening;
mod logging;
mod proxies;
mod tcp;
#[cfg(test)]
mod tests;
mod timeouts;
mod values;

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches, Parser};
use waddell_server::{ListenUrl, ServerConfig};

pub(crate) use explain::explain;
pub(crate) use logging::{LogFormat, Logging};

use admin::AdminArgs;
use error::OptionsError;
use explain::one_line;
use file::with_file;
use http::HttpArgs;
use limits::LimitArgs;
use listening::Listening;
use proxies::ProxyArgs;
use tcp::TcpArgs;
use timeouts::TimeoutArgs;

/// A signaling server: forwards small messages between programs that cannot reach each other yet,
/// by waddell's protocol over TCP, TLS and WebSocket.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, allow_negative_numbers = true, after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(flatten)]
    listening: Listening,
    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    timeouts: TimeoutArgs,
    #[command(flatten)]
    tcp: TcpArgs,
    #[command(flatten)]
    proxies: ProxyArgs,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    pub(crate) logging: Logging,

    /// Read further options from a TOML file; its keys are the names of these flags.
    #[arg(long, value_name = "FILE", env = "WADDELL_CONFIG")]
    config: Option<PathBuf>,
    /// URLs of the sockets inherited from the service manager.
    #[arg(skip)]
    pub(crate) inherited: Vec<ListenUrl>,
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

/// What the command line asks for: a server, or a text.
pub(crate) enum Request {
    Run(Box<Options>),
    /// Help, version, or the configuration.
    Print(String),
}

impl Request {
    /// Reads the arguments and the environment of the process, and the file that they name.
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
        options.listening.apply_precedence(&matches);
        if options.print_config {
            return Ok(Self::Print(effective::to_toml(&options, &matches)?));
        }
        Ok(Self::Run(Box::new(options)))
    }
}

/// Returns the form of the log, even if some of the other options cannot be used.
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
    /// Returns the host name of the self-signed certificate, if one was asked for.
    pub(crate) fn self_signed(&self) -> Option<&str> {
        self.listening.self_signed.as_deref()
    }

    /// Checks what clap cannot check, and returns the server's configuration.
    pub(crate) fn to_config(&self) -> Result<ServerConfig, OptionsError> {
        let Self { listening, http, limits, timeouts, tcp, proxies, admin, logging, .. } = self;
        // A check leaves no files behind.
        let identity = listening.identity(!self.check && !self.print_config)?;
        let secured = identity.is_some() || listening.self_signed.is_some();
        let listen = listening.urls(secured, &self.inherited)?;
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
        Ok(ServerConfig {
            listen,
            identity,
            workers: listening.workers,
            limits: limits.to_limits()?,
            timeouts: timeouts.to_timeouts(),
            tcp: tcp.to_options(),
            proxies: proxies.to_proxies()?,
            http: http.to_options()?,
            admin: admin.to_options(),
            log_addresses: logging.addresses,
        })
    }
}

fn parse(command: Command, arguments: &[OsString]) -> Result<(Options, ArgMatches), clap::Error> {
    let matches = command.try_get_matches_from(arguments)?;
    Ok((Options::from_arg_matches(&matches)?, matches))
}

/// Adds the second dash to the original's flags, which have one: `-addr`, `-pkfile`, `-certfile`.
fn with_two_dashes(argument: OsString) -> OsString {
    let Some(text) = argument.to_str() else { return argument };
    let name = text.split('=').next().unwrap_or(text);
    match name {
        "-addr" | "-pkfile" | "-certfile" => format!("-{text}").into(),
        _ => argument,
    }
}
