//! The extension of the protocol, and how peers get their id back.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};
use waddell_server::{ExtensionOptions, ResumeKeys};

use super::error::OptionsError;
use super::values::{delay, on_off, time_text};

#[derive(Debug, Args)]
#[command(next_help_heading = "Extension")]
pub(super) struct ExtensionArgs {
    /// Answer clients that ask for the extension of the protocol: on or off.
    #[arg(
        long,
        value_name = "on|off",
        default_value = on_off(ExtensionOptions::default().enabled),
        hide_possible_values = true,
        action = ArgAction::Set,
        env = "WADDELL_EXTENSION",
        value_parser = BoolishValueParser::new()
    )]
    extension: bool,
    /// File with the keys of resume tokens: 1 to 8 lines from --new-key, newest first. With it a
    /// peer gets its id back after a restart too, and on other servers with these keys.
    /// [default: a random key]
    #[arg(long, value_name = "FILE", env = "WADDELL_RESUME_KEY")]
    resume_key: Option<PathBuf>,
    /// How long a peer that has lost its connection can get its id back, at least.
    #[arg(
        long,
        value_name = "TIME",
        default_value = time_text(ExtensionOptions::default().resume_window),
        env = "WADDELL_RESUME_WINDOW",
        value_parser = window
    )]
    resume_window: Duration,
    /// How long other peers are told that such a peer is away, and not gone.
    #[arg(
        long,
        value_name = "TIME",
        default_value = time_text(ExtensionOptions::default().away_time),
        env = "WADDELL_AWAY_TIME",
        value_parser = up_to_an_hour
    )]
    away_time: Duration,
    /// At a shutdown, tell peers to wait for this long before they connect again.
    #[arg(
        long,
        value_name = "TIME",
        default_value = time_text(ExtensionOptions::default().restart_wait),
        env = "WADDELL_RESTART_WAIT",
        value_parser = up_to_an_hour
    )]
    restart_wait: Duration,
    /// At a shutdown, tell peers to spread their new connections over this time.
    #[arg(
        long,
        value_name = "TIME",
        default_value = time_text(ExtensionOptions::default().restart_spread),
        env = "WADDELL_RESTART_SPREAD",
        value_parser = up_to_an_hour
    )]
    restart_spread: Duration,
    /// At a shutdown, tell peers to try the next server that they know first: on or off.
    #[arg(
        long,
        value_name = "on|off",
        default_value = on_off(ExtensionOptions::default().restart_elsewhere),
        hide_possible_values = true,
        action = ArgAction::Set,
        env = "WADDELL_RESTART_ELSEWHERE",
        value_parser = BoolishValueParser::new()
    )]
    restart_elsewhere: bool,
}

impl ExtensionArgs {
    /// Checks the keys, and returns the options.
    pub(super) fn to_options(&self) -> Result<ExtensionOptions, OptionsError> {
        if let Some(path) = &self.resume_key {
            ResumeKeys::read(path).map_err(|error| {
                OptionsError(format!("--resume-key {}: {error}", path.display()))
            })?;
        }
        Ok(ExtensionOptions {
            enabled: self.extension,
            resume_key: self.resume_key.clone(),
            resume_window: self.resume_window,
            away_time: self.away_time,
            restart_wait: self.restart_wait,
            restart_spread: self.restart_spread,
            restart_elsewhere: self.restart_elsewhere,
        })
    }
}

/// Parses the time for which tokens are valid. They are sent anew that often.
fn window(text: &str) -> Result<Duration, String> {
    let range = Duration::from_secs(10)..=Duration::from_secs(24 * 3_600);
    delay(text)
        .ok()
        .filter(|time| range.contains(time))
        .ok_or_else(|| "expected a time from 10s to 24h".to_owned())
}

fn up_to_an_hour(text: &str) -> Result<Duration, String> {
    delay(text)
        .ok()
        .filter(|time| *time <= Duration::from_secs(3_600))
        .ok_or_else(|| "expected a time from 0s to 1h".to_owned())
}
