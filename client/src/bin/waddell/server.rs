//! Arguments that all commands share.

use std::fs;
use std::time::Duration;

use clap::Args;
use tokio::sync::watch;
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

/// Some NATs forget an idle connection after about 30 s.
const KEEP_ALIVE: Duration = Duration::from_secs(25);
