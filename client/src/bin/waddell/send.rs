//! The `waddell send` command.

use std::io::{Read, stdin};
use std::time::Duration;

use clap::Args;
use tokio::time::timeout;
use waddell_client::{
    CheckedSendError, Delivery, MAX_BODY_LEN, PeerId, Topic, TopicId, Undelivered,
};

use crate::output::Failure;
use crate::server::{Server, parse_peer};

/// Sends one message to a peer.
///
/// Success means that the server has put the message into the peer's outbox, and failure that it
/// has not, for the reason that is printed. A server that gives no verdicts only says that it has
/// handled the message; the output tells the two apart.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Send {
    #[command(flatten)]
    server: Server,

    /// Id of the recipient, as printed by its `waddell listen`
    #[arg(value_parser = parse_peer)]
    peer: PeerId,

    /// Text to send, at most 65517 bytes; - reads it from standard input
    text: String,

    /// Topic to send on, from 0 to 65535
    #[arg(long, value_name = "N", default_value_t = 1)]
    topic: u16,

    /// Do not ask what became of the message. Success means that the server closed the connection
    /// in order after it
    #[arg(long)]
    no_check: bool,
}

impl Send {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let body = match self.text.as_str() {
            "-" => read_stdin()?,
            text => text.as_bytes().to_vec(),
        };
        let size = body.len();
        if size > MAX_BODY_LEN {
            let text =
                format!("the text is longer than {MAX_BODY_LEN} bytes, the most in a message");
            return Err(Failure::Failed(text));
        }
        let client = self.server.connect(0, |config| config).await?;
        let topic = client.topic(TopicId(self.topic));
        let id = client.id();
        let (outcome, text) = if self.no_check {
            topic.send_to(self.peer, body).await?;
            client.close().await?;
            ("unchecked", "")
        } else {
            let checked = self.send_checked(&topic, body).await;
            // The verdict has told all there is to tell.
            let _ = client.close().await;
            match checked? {
                Delivery::Forwarded => ("forwarded", ": forwarded"),
                Delivery::Sent => ("sent", ""),
            }
        };
        let (peer, topic) = (self.peer, self.topic);
        self.server.output().line(
            format_args!("sent {size} bytes to {peer} on topic {topic}{text}"),
            [
                ("event", "sent".into()),
                ("outcome", outcome.into()),
                ("to", peer.to_string().into()),
                ("topic", topic.into()),
                ("size", size.into()),
                ("from", id.map(|id| id.to_string()).into()),
            ],
        )
    }

    async fn send_checked(&self, topic: &Topic, body: Vec<u8>) -> Result<Delivery, Failure> {
        match timeout(CHECK_TIMEOUT, topic.send_checked(self.peer, body)).await {
            Ok(Ok(delivery)) => Ok(delivery),
            Ok(Err(CheckedSendError::Undelivered(undelivered))) => Err(self.failure(undelivered)),
            Ok(Err(error)) => Err(Failure::Failed(error.to_string())),
            Err(_) => Err(Failure::Failed(format!(
                "it is not known whether the server took the message: it did not say within {} s",
                CHECK_TIMEOUT.as_secs()
            ))),
        }
    }

    fn failure(&self, undelivered: Undelivered) -> Failure {
        Failure::Failed(format!("not delivered to {}: {undelivered}", self.peer))
    }
}

/// Longest time to wait for the outcome.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads standard input, but at most one byte more than a message can carry.
fn read_stdin() -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    let mut input = stdin().lock().take(MAX_BODY_LEN as u64 + 1);
    input
        .read_to_end(&mut body)
        .map_err(|error| Failure::Failed(format!("cannot read standard input: {error}")))?;
    Ok(body)
}

const EXAMPLES: &str = "\
Examples:
  waddell send tcp://127.0.0.1:62443 3f2c8a52-41d7-4f6b-9f0e-0c2f6d7d1b11 hello
  waddell send ws://127.0.0.1 3f2c8a52-41d7-4f6b-9f0e-0c2f6d7d1b11 --topic 7 - < offer.json

The output ends with \"forwarded\" if the server says that it has put the message into the peer's
outbox.
With --json: {\"event\":\"sent\",\"outcome\":OUTCOME,\"to\":ID,\"topic\":N,\"size\":BYTES,
\"from\":ID}, in which OUTCOME is \"forwarded\", \"sent\" or, with --no-check, \"unchecked\".";
