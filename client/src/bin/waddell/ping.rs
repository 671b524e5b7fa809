//! The `waddell ping` command, and the answers of `waddell listen`.
//!
//! Topic 65534 is reserved for pings between these commands. The body of a ping is the 13 bytes
//! `waddell ping `, a little-endian number of 8 bytes, and padding. The answer goes to the sender
//! on the same topic, and has the same body with `pong` in place of `ping`.

use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use clap::Args;
use futures_util::StreamExt;
use tokio::signal::ctrl_c;
use tokio::time::{Instant, sleep_until, timeout};
use waddell_client::{
    DropReason, MAX_BODY_LEN, Notice, Notices, PeerId, PeerState, Topic, TopicId,
};

use crate::output::{Failure, Output};
use crate::server::{Server, parse_peer};

/// Measures round trips through the server to a peer that runs `waddell listen`.
///
/// Ends at once when the server tells that no peer has this id.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Ping {
    #[command(flatten)]
    server: Server,

    /// Id of the peer, as printed by its `waddell listen`
    #[arg(value_parser = parse_peer)]
    peer: PeerId,

    /// How many pings to send
    #[arg(long, value_name = "N", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,

    /// Time between two pings; 0: send the next as soon as the answer arrives
    #[arg(long, value_name = "SECONDS", default_value = "0.2", value_parser = parse_seconds)]
    interval: Duration,

    /// How long to wait for each answer
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = parse_seconds)]
    timeout: Duration,

    /// Bytes in each ping, from 21 to 65517
    #[arg(long, value_name = "BYTES", default_value_t = 64,
          value_parser = clap::value_parser!(u32).range(MIN_SIZE as i64..=MAX_BODY_LEN as i64))]
    size: u32,
}

impl Ping {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let output = self.server.output();
        let client = self.server.connect(0, |config| config).await?;
        let mut topic = client.topic(TOPIC);
        let mut times = Vec::new();
        let mut sent = 0;
        let mut is_gone = false;
        let mut gone = pin!(gone(client.notices(), self.peer));
        while sent < self.count {
            let next = Instant::now() + self.interval;
            tokio::select! {
                () = &mut gone => {
                    // The ping to which this is the answer.
                    sent += 1;
                    is_gone = true;
                    break;
                }
                result = self.ping_once(&mut topic, sent) => {
                    sent += 1;
                    if let Some(time) = result? {
                        print_time(output, self.peer, self.size, sent, time)?;
                        times.push(time);
                    }
                }
                _ = ctrl_c() => break,
            }
            if sent < self.count {
                tokio::select! {
                    () = sleep_until(next) => {}
                    () = &mut gone => {
                        is_gone = true;
                        break;
                    }
                    _ = ctrl_c() => break,
                }
            }
        }
        // The answers have told all there is to tell.
        let _ = client.close().await;
        let received = times.len();
        print_summary(output, sent, times)?;
        match received {
            _ if is_gone => Err(Failure::Failed(format!("no peer has the id {}", self.peer))),
            0 => {
                let text = "no answer: check that the peer runs waddell listen and has this id";
                Err(Failure::Failed(text.to_owned()))
            }
            _answered => Ok(()),
        }
    }

    /// Sends a ping and waits for its answer. Returns the round-trip time, or `None` after the
    /// timeout.
    async fn ping_once(&self, topic: &mut Topic, number: u64) -> Result<Option<Duration>, Failure> {
        let start = Instant::now();
        let body = encode(PING, number, self.size as usize);
        let answer = async {
            topic.send_to(self.peer, body).await?;
            loop {
                let message = topic.recv().await?;
                if message.from == self.peer && decode(PONG, &message.body) == Some(number) {
                    return Ok(start.elapsed());
                }
            }
        };
        timeout(self.timeout, answer).await.ok().transpose()
    }
}

/// Completes when the server tells that no peer has this id. A server without the extension of the
/// protocol never does.
async fn gone(mut notices: Notices, peer: PeerId) {
    while let Some(notice) = notices.next().await {
        match notice {
            Notice::Undelivered(dropped)
                if dropped.recipient == peer && dropped.reason == DropReason::UnknownRecipient =>
            {
                return;
            }
            Notice::Peer(told) if told.id == peer && told.state == PeerState::Gone => return,
            _other => {}
        }
    }
    pending::<()>().await;
}

/// Answers pings until the client is closed.
pub(crate) async fn answer(mut topic: Topic) {
    while let Ok(message) = topic.recv().await {
        if let Some(number) = decode(PING, &message.body) {
            let pong = encode(PONG, number, message.body.len());
            // Fails only when the client is closed, which ends the loop.
            let _ = topic.send_to(message.from, pong).await;
        }
    }
}

fn print_time(
    output: Output,
    peer: PeerId,
    size: u32,
    number: u64,
    time: Duration,
) -> Result<(), Failure> {
    let millis = millis(time);
    output.line(
        format_args!("{size} bytes from {peer}: ping {number} took {millis:.3} ms"),
        [
            ("event", "pong".into()),
            ("from", peer.to_string().into()),
            ("number", number.into()),
            ("size", size.into()),
            ("ms", millis.into()),
        ],
    )
}

fn print_summary(output: Output, sent: u64, mut times: Vec<Duration>) -> Result<(), Failure> {
    times.sort_unstable();
    let received = times.len();
    let figure = |percent| percentile(&times, percent).map(millis);
    let (min, median, p99) = (figure(0), figure(50), figure(99));
    let text = match (min, median, p99) {
        (Some(min), Some(median), Some(p99)) => format!(
            "{sent} sent, {received} answered; min {min:.3} ms, median {median:.3} ms, \
             p99 {p99:.3} ms"
        ),
        _none => format!("{sent} sent, none answered"),
    };
    output.line(
        text,
        [
            ("event", "summary".into()),
            ("sent", sent.into()),
            ("received", received.into()),
            ("min_ms", min.into()),
            ("median_ms", median.into()),
            ("p99_ms", p99.into()),
        ],
    )
}

/// Returns the given percentile of sorted times, by nearest rank.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn encode(kind: &[u8; KIND_LEN], number: u64, size: usize) -> Bytes {
    let mut body = BytesMut::with_capacity(size);
    body.put_slice(kind);
    body.put_u64_le(number);
    body.resize(size.max(MIN_SIZE), 0);
    body.freeze()
}

fn decode(kind: &[u8; KIND_LEN], body: &[u8]) -> Option<u64> {
    let number = body.strip_prefix(kind)?.first_chunk()?;
    Some(u64::from_le_bytes(*number))
}

pub(crate) fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected seconds, such as 0.5".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if time <= MAX_SECONDS => Ok(time),
        Ok(_) | Err(_) => Err("expected seconds from 0 to 86400".to_owned()),
    }
}

/// Topic that is reserved for pings.
pub(crate) const TOPIC: TopicId = TopicId(0xfffe);

const KIND_LEN: usize = 13;
const PING: &[u8; KIND_LEN] = b"waddell ping ";
const PONG: &[u8; KIND_LEN] = b"waddell pong ";

/// Shortest body of a ping, in bytes: kind and number.
const MIN_SIZE: usize = KIND_LEN + size_of::<u64>();

/// Longest interval and timeout: a day.
const MAX_SECONDS: Duration = Duration::from_secs(86_400);

const EXAMPLES: &str = "\
Examples:
  waddell ping tcp://127.0.0.1:62443 3f2c8a52-41d7-4f6b-9f0e-0c2f6d7d1b11
  waddell ping ws://127.0.0.1 3f2c8a52-41d7-4f6b-9f0e-0c2f6d7d1b11 --count 1000 --interval 0

With --json, each answer is
{\"event\":\"pong\",\"from\":ID,\"number\":N,\"size\":BYTES,\"ms\":MILLISECONDS}
and the last line is
{\"event\":\"summary\",\"sent\":N,\"received\":N,\"min_ms\":M,\"median_ms\":M,\"p99_ms\":M}.
Pings are sent on topic 65534, which is reserved for them. A ping is the 13 bytes
\"waddell ping \", a little-endian number of 8 bytes, and padding. The answer has \"pong\" in
place of \"ping\". The exit code is 1 if no ping was answered, or if the peer has left.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let times: Vec<_> = (1..=100).map(Duration::from_millis).collect();
        let millis = |percent| percentile(&times, percent).unwrap().as_millis();
        assert_eq!((millis(0), millis(50), millis(99), millis(100)), (1, 50, 99, 100));
        assert_eq!(percentile(&times[..1], 99), Some(times[0]));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn pings_keep_their_number_and_size() {
        for size in [MIN_SIZE, 64, MAX_BODY_LEN] {
            let body = encode(PING, 0x0102_0304_0506_0708, size);
            assert_eq!(body.len(), size);
            assert_eq!(decode(PING, &body), Some(0x0102_0304_0506_0708));
            assert_eq!(decode(PONG, &body), None);
        }
        assert_eq!(decode(PING, b"waddell ping 1234567"), None);
    }

    #[test]
    fn seconds_are_checked() {
        assert_eq!(parse_seconds("0.25"), Ok(Duration::from_millis(250)));
        for wrong in ["", "x", "-1", "nan", "inf", "1e9"] {
            parse_seconds(wrong).unwrap_err();
        }
    }
}
