//! STUN and TURN servers that clients are told of.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use waddell_server::{IceOptions, IceServers, IceUrl};

use super::error::OptionsError;
use super::values::{time, time_text};

#[derive(Debug, Args)]
#[command(next_help_heading = "STUN and TURN")]
pub(super) struct IceArgs {
    /// STUN server that clients are told of, such as stun:stun.example.org. Repeatable.
    /// [default: none]
    #[arg(long, value_name = "URL", env = "WADDELL_ICE_STUN", value_delimiter = ',')]
    ice_stun: Vec<IceUrl>,
    /// TURN server that clients are told of, with credentials, such as
    /// turn:turn.example.org?transport=udp. Repeatable. [default: none]
    #[arg(long, value_name = "URL", env = "WADDELL_ICE_TURN", value_delimiter = ',')]
    ice_turn: Vec<IceUrl>,
    /// File with the secret from which the credentials are made: coturn's static-auth-secret.
    #[arg(long, value_name = "FILE", env = "WADDELL_ICE_TURN_SECRET")]
    ice_turn_secret: Option<PathBuf>,
    /// How long the credentials are valid, from 5m to 24h.
    #[arg(
        long,
        value_name = "TIME",
        default_value = time_text(IceOptions::default().turn_ttl),
        env = "WADDELL_ICE_TURN_TTL",
        value_parser = time
    )]
    ice_turn_ttl: Duration,
}

impl IceArgs {
    /// Checks the options and the secret, and returns the options.
    pub(super) fn to_options(&self) -> Result<IceOptions, OptionsError> {
        let options = IceOptions {
            stun: self.ice_stun.clone(),
            turn: self.ice_turn.clone(),
            turn_secret: self.ice_turn_secret.clone(),
            turn_ttl: self.ice_turn_ttl,
        };
        IceServers::load(&options).map_err(|error| OptionsError(format!("--{error}")))?;
        Ok(options)
    }
}
