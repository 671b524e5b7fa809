//! Level and format of the log.

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueEnum};
use tracing_subscriber::filter::LevelFilter;
use waddell_server::ServerConfig;

use super::values::on_off;

/// Level and format of the log.
#[derive(Debug, Args)]
#[command(next_help_heading = "Logs")]
pub(crate) struct Logging {
    /// Least severe messages that are logged: off, error, warn, info, debug or trace.
    #[arg(long = "log", value_name = "LEVEL", default_value = "info", env = "WADDELL_LOG")]
    pub(crate) level: LevelFilter,
    /// Format of log lines on standard error.
    #[arg(
        long = "log-format",
        value_name = "FORMAT",
        default_value = "text",
        env = "WADDELL_LOG_FORMAT"
    )]
    pub(crate) format: LogFormat,
    /// Log the addresses of clients: on or off.
    #[arg(
        long = "log-addresses",
        value_name = "on|off",
        default_value = on_off(ServerConfig::default().log_addresses),
        hide_possible_values = true,
        action = ArgAction::Set,
        env = "WADDELL_LOG_ADDRESSES",
        value_parser = BoolishValueParser::new()
    )]
    pub(super) addresses: bool,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}
