//! `waddell bench`: the arguments, and the two phases of a run.

mod load;
mod report;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::signal::ctrl_c;
use tokio::time::Instant;
use waddell_client::{InboxConfig, MAX_BODY_LEN};

use self::load::{MIN_SIZE, Pair, Peer, Phase, body, run_phase};
use self::report::{
    clear_progress, print_checks, print_round_trips, print_throughput, show_progress,
};
use crate::output::{Failure, Output};
use crate::ping::parse_seconds;
use crate::server::Server;

/// Measures the throughput of a server with pairs of peers that write to one another.
///
/// In the first phase each pair sends one message to and fro. In the second phase the first peer of
/// each pair keeps --window messages in flight to the second. Every message is checked. The figures
/// include the network and the machine that runs this command.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Bench {
    #[command(flatten)]
    server: Server,

    /// How many pairs of peers to connect
    #[arg(long, value_name = "N", default_value_t = 10,
          value_parser = clap::value_parser!(u16).range(1..))]
    pairs: u16,

    /// Bytes in each message, from 8 to 65517
    #[arg(long, value_name = "BYTES", default_value_t = 64,
          value_parser = clap::value_parser!(u32).range(MIN_SIZE as i64..=MAX_BODY_LEN as i64))]
    size: u32,

    /// Messages in flight for each pair, in the second phase
    #[arg(long, value_name = "N", default_value_t = 16,
          value_parser = clap::value_parser!(u16).range(1..))]
    window: u16,

    /// Length of each of the two phases
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse_duration)]
    duration: Duration,
}

impl Bench {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let output = self.server.output();
        let stop = Arc::new(AtomicBool::new(false));
        tokio::spawn({
            let stop = Arc::clone(&stop);
            async move {
                // Fails where there are no signals, and then there is none to wait for.
                if ctrl_c().await.is_ok() {
                    stop.store(true, Ordering::Relaxed);
                }
            }
        });

        let pairs = self.connect(output).await?;
        let body = body(self.size as usize);
        let phase = |name| Phase::new(name, self.duration, &stop, body.clone());
        let round_trips = phase("round trips");
        let (pairs, figures) = run_phase(&round_trips, pairs, Pair::ping_pong).await?;
        let mut total = figures.count;
        print_round_trips(output, figures)?;
        let stream = phase("messages");
        let window = usize::from(self.window);
        let send_stream = move |pair: Pair, phase: Arc<Phase>| pair.stream(phase, window);
        let (pairs, figures) = run_phase(&stream, pairs, send_stream).await?;
        total += figures.count;
        print_throughput(output, &figures, self.size, self.window)?;
        print_checks(output, total)?;
        for pair in pairs {
            // All that was measured has arrived.
            let _ = tokio::join!(pair.first.client.close(), pair.second.client.close());
        }
        total.verdict()
    }

    async fn connect(&self, output: Output) -> Result<Vec<Pair>, Failure> {
        let peers = 2 * usize::from(self.pairs);
        // Room for all messages in flight, so that this side drops none.
        let in_flight = usize::from(self.window) + 1;
        let room = in_flight * (self.size as usize + InboxConfig::MESSAGE_COST);
        let inbox = InboxConfig::default();
        let inbox = InboxConfig { topic_capacity: inbox.topic_capacity.max(room), ..inbox };
        let connected = AtomicU64::new(0);
        let began = Instant::now();
        let connecting = stream::iter(0..peers).map(|_| async {
            let client = self.server.connect(0, |config| config.inbox(inbox)).await?;
            let count = connected.fetch_add(1, Ordering::Relaxed) + 1;
            show_progress(format_args!("{count} of {peers} peers connected"));
            Peer::new(client)
        });
        let connecting = connecting.buffered(MOST_CONNECTING).try_collect::<VecDeque<_>>();
        let result = connecting.await;
        clear_progress();
        let mut all = result?;
        let per_second = peers as f64 / began.elapsed().as_secs_f64();
        let mut pairs = Vec::new();
        while let (Some(first), Some(second)) = (all.pop_front(), all.pop_front()) {
            pairs.push(Pair { first, second });
        }
        output.line(
            format_args!("connected    {peers} peers, {per_second:.0} a second"),
            [
                ("event", "connected".into()),
                ("peers", peers.into()),
                ("per_second", per_second.into()),
            ],
        )?;
        Ok(pairs)
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    match parse_seconds(text)? {
        time if (SHORTEST..=LONGEST).contains(&time) => Ok(time),
        _outside => Err("expected seconds from 0.1 to 600".to_owned()),
    }
}

/// Fewer than the accept queue of most servers.
const MOST_CONNECTING: usize = 32;

const SHORTEST: Duration = Duration::from_millis(100);

/// The time of every round trip is kept, 16 bytes each.
const LONGEST: Duration = Duration::from_secs(600);

const EXAMPLES: &str = "\
Examples:
  waddell bench tcp://127.0.0.1:62443
  waddell bench wss://server.example --pairs 100 --size 1024 --window 4 --duration 20

With --json, one line for each of: {\"event\":\"connected\",\"peers\":N,\"per_second\":R},
{\"event\":\"round_trips\",\"per_second\":R,\"min_ms\":M,\"median_ms\":M,\"p99_ms\":M},
{\"event\":\"throughput\",\"messages_per_second\":R,\"megabytes_per_second\":R,
 \"size\":BYTES,\"window\":N},
{\"event\":\"checked\",\"sent\":N,\"lost\":N,\"misordered\":N,\"damaged\":N}.
Lost messages are no failure: to carry this load the server needs outboxes with room for --window
messages. Exit code 1 if a message was changed or out of order, or if none arrived.";
