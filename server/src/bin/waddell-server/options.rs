//! The operator's options: flags, then `WADDELL_…` in the environment, then the file.
//!
//! There is one table of options, [`Options`]. The keys of a file are the names of the flags, and
//! its values become the defaults of the flags. So all three are read, checked and reported alike.

mod access;
mod admin;
mod effective;
mod error;
mod explain;
mod extension;
mod file;
mod http;
mod ice;
mod limits;
mod listening;
mod logging;
mod proxies;
mod tcp;
#[cfg(test)]
mod tests;
mod timeouts;
mod values;
pub(crate) mod warnings;

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches, Parser};
use waddell_server::{ListenUrl, ResumeKeys, ServerConfig};

pub(crate) use explain::explain;
pub(crate) use logging::{LogFormat, Logging};

use access::AccessArgs;
use admin::AdminArgs;
use error::OptionsError;
use explain::one_line;
use extension::ExtensionArgs;
use file::with_file;
use http::HttpArgs;
use ice::IceArgs;
use limits::LimitArgs;
use listening::Listening;
use proxies::ProxyArgs;
use tcp::TcpArgs;
use timeouts::TimeoutArgs;

/// A signaling server: forwards small messages between programs that have no direct connection yet.
/// It speaks waddell's protocol over TCP, TLS and WebSocket.
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
    extension: ExtensionArgs,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    ice: IceArgs,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    pub(crate) logging: Logging,

    /// Read options from a TOML file. Its keys are the names of these flags.
    #[arg(long, value_name = "FILE", help_heading = CONFIGURATION, env = "WADDELL_CONFIG")]
    config: Option<PathBuf>,
    /// URLs of the sockets inherited from the service manager.
    #[arg(skip)]
    pub(crate) inherited: Vec<ListenUrl>,
    /// Check the whole configuration, and exit with code 0 if it can be used, or 2 if not.
    #[arg(
        long,
        help_heading = CONFIGURATION,
        env = "WADDELL_CHECK",
        value_parser = BoolishValueParser::new()
    )]
    pub(crate) check: bool,
    /// Check the whole configuration, print it as a TOML file with the same meaning, and exit.
    #[arg(
        long,
        help_heading = CONFIGURATION,
        env = "WADDELL_PRINT_CONFIG",
        value_parser = BoolishValueParser::new()
    )]
    print_config: bool,
    /// Print a new key for the file of --resume-key, and exit.
    #[arg(
        long,
        help_heading = CONFIGURATION,
        env = "WADDELL_NEW_KEY",
        value_parser = BoolishValueParser::new()
    )]
    new_key: bool,
}

const EXAMPLES: &str = "\
Examples:
  waddell-server
  waddell-server --listen auto://0.0.0.0:443 --cert chain.pem --key key.pem
  waddell-server --listen tls://127.0.0.1:62443 --self-signed localhost
  WADDELL_LISTEN=tcp://:62443,ws://:62480 waddell-server --config waddell.toml

Variables and the file:
  Every option is also an environment variable, such as WADDELL_LISTEN. Every option except
  --config, --check, --print-config and --new-key is also a key of the file, such as
  listen = [\"tcp://0.0.0.0:62443\"]. A path in the file is relative to the folder of the file.
  Flags win over variables, and variables win over the file. This also holds for options with the
  same meaning: --addr and --listen, --certfile and --cert, --self-signed and a certificate.
  Times are written 10s, 500ms or 2m. Sizes are written 65536, 64KiB or 1MiB.

Signals:
  SIGTERM or SIGINT shuts the server down. A second one ends the program at once.
  SIGHUP reads the file and the certificate again. No connection is closed.
  - New values take effect at once, except for the options named below.
  - Open connections keep their --rate-*, --idle-timeout and --max-frame. New connections get the
    new values.
  - These options need a restart: --listen, --addr, --workers, --outbox-total, --tcp-keepalive,
    --tcp-user-timeout, --admin, --log-format. So does adding or removing a certificate, and an
    --outbox of more than a sixteenth of the --outbox-total in use. A log line names those that
    have changed.
  - If a new value cannot be used, all old values stay, and an error in the log gives the reason.";

/// Heading of the options about the configuration as a whole.
const CONFIGURATION: &str = "Configuration";

/// What the command line asks for: a server or a text.
pub(crate) enum Request {
    Run(Box<Options>),
    /// The help, the version, the configuration or a new key, to be printed.
    Print(String),
}

impl Request {
    /// Reads the arguments and the environment of the process, and the file named there.
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
        if first.new_key {
            return Ok(Self::Print(ResumeKeys::generate_line() + "\n"));
        }
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

/// Returns the format of the log, even if other options cannot be used.
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
    /// Returns the host name for `--self-signed`.
    pub(crate) fn self_signed(&self) -> Option<&str> {
        self.listening.self_signed.as_deref()
    }

    /// Checks what clap cannot check, and returns the server's configuration.
    pub(crate) fn to_config(&self) -> Result<ServerConfig, OptionsError> {
        let Self { listening, http, limits, timeouts, tcp, proxies, .. } = self;
        let Self { extension, access, ice, admin, logging, .. } = self;
        // A check creates no files.
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
        let extension = extension.to_options()?;
        let access = access.to_options(&extension)?;
        Ok(ServerConfig {
            listen,
            identity,
            workers: listening.workers,
            limits: limits.to_limits()?,
            timeouts: timeouts.to_timeouts(),
            tcp: tcp.to_options(),
            proxies: proxies.to_proxies()?,
            http: http.to_options()?,
            extension,
            access,
            ice: ice.to_options()?,
            admin: admin.to_options(),
            log_addresses: logging.addresses,
        })
    }
}

fn parse(command: Command, arguments: &[OsString]) -> Result<(Options, ArgMatches), clap::Error> {
    let matches = command.try_get_matches_from(arguments)?;
    Ok((Options::from_arg_matches(&matches)?, matches))
}

/// Adds a second dash to flags of the original waddell: `-addr`, `-pkfile` and `-certfile`.
fn with_two_dashes(argument: OsString) -> OsString {
    let Some(text) = argument.to_str() else { return argument };
    let name = text.split('=').next().unwrap_or(text);
    match name {
        "-addr" | "-pkfile" | "-certfile" => format!("-{text}").into(),
        _ => argument,
    }
}
