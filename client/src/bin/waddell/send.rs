//! The `waddell send` command.

use std::io::{Read, stdin};
use std::time::Duration;

use clap::Args;
use tokio::time::sleep;
use waddell_client::{Client, CloseError, MAX_BODY_LEN, PeerId, State, TopicId};

use crate::output::Failure;
use crate::server::{Server, parse_peer};

/// Sends one message to a peer.
///
/// Success means that the server took the message: it closed the connection in order after it. It
/// does not mean that the message arrived. The server does not report whether a peer has that id.
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
        topic.send_to(self.peer, body).await?;
        let handled = match id {
            Some(id) => handled(&client, id).await,
            None => Handled::ConnectionLost,
        };
        let closed = client.close().await;
        match handled {
            Handled::Yes | Handled::NotTold => closed?,
            Handled::ConnectionLost => {
                // The close may be that of another connection, which came after it.
                let why = match closed {
                    Err(CloseError::Lost(lost)) => format!(": {lost}"),
                    Ok(()) | Err(_) => " when the connection was lost".to_owned(),
                };
                let text = format!("it is not known whether the server took the message{why}");
                return Err(Failure::Failed(text));
            }
        }
        let (peer, topic) = (self.peer, self.topic);
        self.server.output().line(
            format_args!("sent {size} bytes to {peer} on topic {topic}"),
            [
                ("event", "sent".into()),
                ("to", peer.to_string().into()),
                ("topic", topic.into()),
                ("size", size.into()),
                ("from", id.map(|id| id.to_string()).into()),
            ],
        )
    }
}

/// Waits until the server has handled the frames that were sent so far, or has ended the
/// connection.
///
/// It handles frames in their order. So a message to this client itself comes back after it has
/// handled those before. Without this, the close would cross with the server's refusal of a frame,
/// and over TCP the two would look the same.
async fn handled(client: &Client, id: PeerId) -> Handled {
    let mut topic = client.topic(ECHO_TOPIC);
    let mut states = client.watch();
    let echo = async {
        // No frame is shorter, so a server that takes any frame takes this one.
        topic.send_to(id, "").await.ok()?;
        while topic.recv().await.ok()?.from != id {}
        Some(())
    };
    let is_other = |state: &State| !matches!(state, State::Ready { id: now } if *now == id);
    tokio::select! {
        biased;
        Some(()) = echo => Handled::Yes,
        _lost = states.wait_for(is_other) => Handled::ConnectionLost,
        // A server that does not bring it back may still close in order.
        () = sleep(ECHO_TIMEOUT) => Handled::NotTold,
    }
}

/// Whether the server has handled the frames that were sent so far.
enum Handled {
    Yes,
    /// The connection on which they were sent is no more.
    ConnectionLost,
    /// The server does not say.
    NotTold,
}

/// Topic of the message to this client itself, which is known by its sender.
const ECHO_TOPIC: TopicId = TopicId(0);

/// Longest time to wait for that message.
const ECHO_TIMEOUT: Duration = Duration::from_secs(5);

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

With --json: {\"event\":\"sent\",\"to\":ID,\"topic\":N,\"size\":BYTES,\"from\":ID}";
