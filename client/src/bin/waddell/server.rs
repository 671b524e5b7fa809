//! Arguments that all commands share.

use std::env;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Args;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use waddell_client::{Client, ClientConfig, PeerId, ServerUrl, State};

use crate::output::{Failure, Output, warn};

/// Arguments for the connection and for the output.
#[derive(Args)]
pub(crate) struct Server {
    /// Address of the server, such as tcp://127.0.0.1:62443 or wss://server.example/ws
    url: ServerUrl,

    /// Trust only the server with this certificate, instead of the system's roots
    #[arg(long, value_name = "PEM", value_parser = read_certificate)]
    cert: Option<String>,

    /// Token for a server that asks for credentials. Other users of this machine can see it: prefer
    /// the environment variable WADDELL_TOKEN, or --token-command
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_command")]
    token: Option<String>,

    /// Shell command that prints such a token. It runs before each dial and when the token expires
    #[arg(long, value_name = "COMMAND")]
    token_command: Option<String>,

    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

impl Server {
    pub(crate) fn output(&self) -> Output {
        Output { json: self.json }
    }

    /// Connects, with so many reconnect attempts.
    pub(crate) async fn connect(
        &self,
        attempts: u32,
        configure: impl FnOnce(ClientConfig) -> ClientConfig,
    ) -> Result<Client, Failure> {
        let mut config = ClientConfig::from(self.url.clone())
            .reconnect_attempts(attempts)
            .keep_alive_interval(KEEP_ALIVE);
        if let Some(pem) = &self.cert {
            config = config.server_cert(pem).map_err(|error| Failure::Usage(error.to_string()))?;
        }
        if let Some(command) = self.token_command.clone() {
            config = config.token_from(move || run(command.clone()));
        } else if let Some(token) = self.token.clone().or_else(token_variable) {
            config = config.token(token);
        }
        let client = Client::connect(configure(config)).await?;
        tokio::spawn(warn_of_lost_connections(client.watch()));
        Ok(client)
    }
}

/// Prints a warning for each lost connection and each failed dial.
async fn warn_of_lost_connections(mut states: watch::Receiver<State>) {
    while states.changed().await.is_ok() {
        let state = states.borrow_and_update().clone();
        if let State::Waiting { reason, .. } = state {
            warn(format_args!("{reason}; reconnecting"));
        }
    }
}

/// Returns the token in the environment, if there is one.
fn token_variable() -> Option<String> {
    env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty())
}

/// Runs a shell command, and returns what it prints, without white space around it.
async fn run(command: String) -> Result<String, String> {
    let (shell, flag) = if cfg!(windows) { ("cmd", "/C") } else { ("sh", "-c") };
    let run = move || {
        let mut shell = Command::new(shell);
        shell.args([flag, &command]).stdin(Stdio::null()).stderr(Stdio::inherit()).output()
    };
    let output = spawn_blocking(run).await.map_err(|error| error.to_string())?;
    let output = output.map_err(|error| format!("--token-command: {error}"))?;
    if !output.status.success() {
        return Err(format!("--token-command failed: {}", output.status));
    }
    let token = String::from_utf8(output.stdout).map_err(|_| "--token-command: not UTF-8")?;
    Ok(token.trim().to_owned())
}

fn read_certificate(path: &str) -> Result<String, String> {
    let pem = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let any = ClientConfig::new("tls://any").map_err(|error| error.to_string())?;
    any.server_cert(&pem).map_err(|error| error.to_string())?;
    Ok(pem)
}

/// Parses the id of a peer. Rejects the nil id.
pub(crate) fn parse_peer(text: &str) -> Result<PeerId, String> {
    match text.parse() {
        Ok(PeerId::NIL) => {
            Err("no peer has the nil id; use the id that waddell listen prints".to_owned())
        }
        Ok(peer) => Ok(peer),
        Err(error) => Err(error.to_string()),
    }
}

/// Environment variable with a token.
const TOKEN_VARIABLE: &str = "WADDELL_TOKEN";

/// Some NATs forget an idle connection after about 30 s.
const KEEP_ALIVE: Duration = Duration::from_secs(25);
