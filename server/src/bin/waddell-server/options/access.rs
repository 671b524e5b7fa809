//! Who may connect.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueEnum};
use waddell_server::{AccessOptions, AllowLegacy, AuthFailure, ExtensionOptions, Uri};

use super::error::OptionsError;
use super::values::{network, on_off, time, time_text};

#[derive(Debug, Args)]
#[command(next_help_heading = "Authentication")]
pub(super) struct AccessArgs {
    /// Admit clients with a token from this file. Its lines are a label, a space, and a token of
    /// 16 bytes or more.
    #[arg(long, value_name = "FILE", env = "WADDELL_AUTH_TOKENS")]
    auth_tokens: Option<PathBuf>,
    /// Admit clients with a JSON Web Token that is signed with the secret in this file, by HS256.
    /// It has 32 bytes or more.
    #[arg(long, value_name = "FILE", env = "WADDELL_AUTH_SECRET")]
    auth_secret: Option<PathBuf>,
    /// Admit clients with a JSON Web Token that is signed with a key whose public part is in this
    /// file, by EdDSA (Ed25519) or ES256. It is a JSON Web Key Set, or PEM.
    #[arg(long, value_name = "FILE", env = "WADDELL_AUTH_KEYS")]
    auth_keys: Option<PathBuf>,
    /// Audience that a JSON Web Token must have. Repeatable: one of them. [default: it must have
    /// none]
    #[arg(long, value_name = "TEXT", env = "WADDELL_AUTH_AUDIENCE", value_delimiter = ',')]
    auth_audience: Vec<String>,
    /// Issuer that a JSON Web Token must have. Repeatable: one of them. [default: any]
    #[arg(long, value_name = "TEXT", env = "WADDELL_AUTH_ISSUER", value_delimiter = ',')]
    auth_issuer: Vec<String>,
    /// Ask this service about clients, by POST with JSON over http:// or https://.
    #[arg(long, value_name = "URL", env = "WADDELL_AUTH_URL")]
    auth_url: Option<Uri>,
    /// Longest time for an answer of --auth-url.
    #[arg(
        long,
        value_name = "TIME",
        default_value = time_text(AccessOptions::default().timeout),
        env = "WADDELL_AUTH_TIMEOUT",
        value_parser = time
    )]
    auth_timeout: Duration,
    /// What happens to a client if --auth-url does not decide: closed tells it to come back later,
    /// open admits it.
    #[arg(
        long,
        value_name = "closed|open",
        default_value = "closed",
        hide_possible_values = true,
        env = "WADDELL_AUTH_FAILURE"
    )]
    auth_failure: Failure,
    /// Admit clients without credentials, as those of 2015 are: off, on, or those from a network
    /// such as 10.0.0.0/8. Repeatable.
    #[arg(
        long,
        value_name = "off|on|CIDR",
        default_value = "off",
        env = "WADDELL_ALLOW_LEGACY",
        value_delimiter = ','
    )]
    allow_legacy: Vec<String>,
    /// Most connections at a time of one subject, which credentials name; 0: no limit.
    #[arg(
        long,
        value_name = "N",
        default_value_t = AccessOptions::default().max_connections_per_subject,
        env = "WADDELL_MAX_CONNECTIONS_PER_SUBJECT"
    )]
    max_connections_per_subject: usize,
    /// Log the subjects of clients: on or off.
    #[arg(
        long,
        value_name = "on|off",
        default_value = on_off(AccessOptions::default().log_subjects),
        hide_possible_values = true,
        action = ArgAction::Set,
        env = "WADDELL_LOG_SUBJECTS",
        value_parser = BoolishValueParser::new()
    )]
    log_subjects: bool,
}

/// What happens to a client if the service does not decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Failure {
    Closed,
    Open,
}

impl AccessArgs {
    /// Checks the options and their files, and returns the options.
    pub(super) fn to_options(
        &self,
        extension: &ExtensionOptions,
    ) -> Result<AccessOptions, OptionsError> {
        let options = AccessOptions {
            tokens: self.auth_tokens.clone(),
            secret: self.auth_secret.clone(),
            keys: self.auth_keys.clone(),
            audience: self.auth_audience.clone(),
            issuer: self.auth_issuer.clone(),
            url: self.auth_url.clone(),
            timeout: self.auth_timeout,
            failure: match self.auth_failure {
                Failure::Closed => AuthFailure::Closed,
                Failure::Open => AuthFailure::Open,
            },
            allow_legacy: legacy(&self.allow_legacy)?,
            max_connections_per_subject: self.max_connections_per_subject,
            log_subjects: self.log_subjects,
        };
        options.check().map_err(|error| OptionsError(format!("--{error}")))?;
        if options.has_mode() && !extension.enabled {
            let error = "--extension off: clients show their credentials in the extension; \
                 turn it on, or remove the options --auth-...";
            return Err(OptionsError(error.to_owned()));
        }
        Ok(options)
    }
}

/// Returns which clients need no credentials.
fn legacy(values: &[String]) -> Result<AllowLegacy, OptionsError> {
    let words: Vec<_> = values.iter().map(String::as_str).collect();
    match *words {
        ["off" | "false"] => return Ok(AllowLegacy::Off),
        ["on" | "true"] => return Ok(AllowLegacy::On),
        _ => {}
    }
    let networks: Result<Vec<_>, _> = words.iter().map(|word| network(word)).collect();
    networks.map(AllowLegacy::Networks).map_err(|_| {
        let text = values.join(",");
        OptionsError(format!(
            "--allow-legacy {text}: expected off, on, or networks such as 10.0.0.0/8"
        ))
    })
}
