//! The `waddell listen` command.

use std::fmt::Write;
use std::pin::pin;

use clap::Args;
use tokio::signal::ctrl_c;
use tokio::sync::mpsc;
use waddell_client::{MessageIn, PeerId, Topic, TopicId};

use crate::output::{self, Failure, Output, printable, warn};
use crate::ping;
use crate::server::Server;

/// Prints this peer's id, then every message that arrives for a topic.
///
/// The first line is this peer's id. After each reconnect a line with the id follows: a new one, or
/// with --resume the same if the server can. Also answers the pings of `waddell ping`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Listen {
    #[command(flatten)]
    server: Server,

    /// Topic to listen to, from 0 to 65535
    #[arg(long, value_name = "N", default_value_t = 1)]
    topic: u16,

    /// Exit after this many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Keep the id over lost connections, if the server can
    #[arg(long)]
    resume: bool,

    /// Reconnect attempts before giving up, at the start and after each lost connection
    #[arg(long, value_name = "N", default_value_t = 10)]
    reconnect_attempts: u32,
}

impl Listen {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        if TopicId(self.topic) == ping::TOPIC {
            let text = format!("topic {} is reserved for waddell ping; choose another", self.topic);
            return Err(Failure::Usage(text));
        }
        let output = self.server.output();
        let (new_id, mut ids) = mpsc::unbounded_channel();
        let connecting = self.server.connect(self.reconnect_attempts, |config| {
            config.resume(self.resume).on_id(move |id| {
                // Fails only when the command ends.
                let _ = new_id.send(id);
            })
        });
        let client = connecting.await?;
        tokio::spawn(ping::answer(client.topic(ping::TOPIC)));
        let mut topic = client.topic(TopicId(self.topic));
        let mut received = 0;
        let mut lost = 0;
        // Both are looked at first: messages may come without a break.
        let mut interrupted = pin!(ctrl_c());
        let mut unread = pin!(output::closed());
        while self.count.is_none_or(|count| received < count) {
            tokio::select! {
                biased;
                _ = &mut interrupted => break,
                () = &mut unread => break,
                Some(id) = ids.recv() => print_id(output, id)?,
                message = topic.recv() => {
                    print_message(output, &message?)?;
                    received += 1;
                    warn_of_lost_messages(&topic, &mut lost);
                }
            }
        }
        // The last messages are answers to pings.
        let _ = client.close().await;
        Ok(())
    }
}

fn print_id(output: Output, id: PeerId) -> Result<(), Failure> {
    output.line(format_args!("id {id}"), [("event", "id".into()), ("id", id.to_string().into())])
}

fn print_message(output: Output, message: &MessageIn) -> Result<(), Failure> {
    let MessageIn { from, topic, body } = message;
    let size = body.len();
    let (name, content) = match str::from_utf8(body) {
        Ok(text) => ("text", text.to_owned()),
        Err(_) => ("hex", hex(body)),
    };
    let printable = match name {
        "text" => printable(&content),
        _hex => format!("0x{content}"),
    };
    output.line(
        format_args!("from {from} topic {topic} size {size}: {printable}"),
        [
            ("event", "message".into()),
            ("from", from.to_string().into()),
            ("topic", topic.0.into()),
            ("size", size.into()),
            (name, content.into()),
        ],
    )
}

fn warn_of_lost_messages(topic: &Topic, reported: &mut u64) {
    let lost = topic.lost();
    if lost > *reported {
        let dropped = lost - *reported;
        warn(format_args!("dropped {dropped} messages that came faster than they were printed"));
        *reported = lost;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

const EXAMPLES: &str = "\
Examples:
  waddell listen tcp://127.0.0.1:62443 --topic 1
  waddell listen wss://server.example --cert server.pem --json
  waddell listen ws://127.0.0.1 --count 1 --json | tail -n 1

Output lines, and the same with --json:
  id ID                               {\"event\":\"id\",\"id\":ID}
  from ID topic N size BYTES: BODY    {\"event\":\"message\",\"from\":ID,\"topic\":N,\"size\":BYTES,
                                       \"text\":BODY}
A body that is not UTF-8 is printed in hexadecimal, after 0x or as \"hex\".";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_two_digits_each() {
        assert_eq!(hex(&[0, 255, 16]), "00ff10");
    }
}
