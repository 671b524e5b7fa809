//! `waddell bench`

use std::collections::VecDeque;
use std::io::{IsTerminal, Write, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use clap::Args;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::signal::ctrl_c;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};
use waddell_client::{Client, InboxConfig, MAX_BODY_LEN, MessageIn, PeerId, Topic, TopicId};

use crate::output::{Failure, Output, warn};
use crate::ping::{millis, parse_seconds, percentile};
use crate::server::Server;

/// Measures what a server carries: connects pairs of peers that write to one another.
///
/// First each pair has one message on its way, to and fro, then each first peer has --window
/// messages on their way to the second. Every message is checked. The machine that runs this, and
/// the network, are measured along with the server.
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

    /// Messages on their way for each pair, in the second part
    #[arg(long, value_name = "N", default_value_t = 16,
          value_parser = clap::value_parser!(u16).range(1..))]
    window: u16,

    /// How long each of the two parts takes
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
                // Fails where there are no signals, and then nobody can send one.
                if ctrl_c().await.is_ok() {
                    stop.store(true, Ordering::Relaxed);
                }
            }
        });

        let pairs = self.connect(output).await?;
        let body = body(self.size as usize);
        let part = |name| Part::new(name, self.duration, &stop, body.clone());
        let round_trips = part("round trips");
        let (pairs, found) = run_part(&round_trips, pairs, Pair::exchange).await?;
        let mut total = found.count;
        print_round_trips(output, found)?;
        let stream = part("messages");
        let window = usize::from(self.window);
        let push = move |pair: Pair, part: Arc<Part>| pair.push(part, window);
        let (pairs, found) = run_part(&stream, pairs, push).await?;
        total += found.count;
        self.print_throughput(output, &found)?;
        print_checks(output, total)?;
        for pair in pairs {
            tokio::join!(pair.one.client.close(), pair.other.client.close());
        }
        total.verdict()
    }

    async fn connect(&self, output: Output) -> Result<Vec<Pair>, Failure> {
        let peers = 2 * usize::from(self.pairs);
        // Room for all that is on its way, so that nothing is dropped on this side.
        let on_their_way = usize::from(self.window) + 1;
        let room = on_their_way * (self.size as usize + InboxConfig::MESSAGE_COST);
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
        while let (Some(one), Some(other)) = (all.pop_front(), all.pop_front()) {
            pairs.push(Pair { one, other });
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

    fn print_throughput(&self, output: Output, found: &Found) -> Result<(), Failure> {
        let per_second = found.per_second();
        let megabytes = per_second * f64::from(self.size) / 1e6;
        let window = self.window;
        output.line(
            format_args!(
                "throughput   {per_second:.0} messages a second, {megabytes:.1} MB/s; \
                 {window} on their way for each pair"
            ),
            [
                ("event", "throughput".into()),
                ("messages_per_second", per_second.into()),
                ("megabytes_per_second", megabytes.into()),
                ("size", self.size.into()),
                ("window", window.into()),
            ],
        )
    }
}

/// One of the two parts, as all pairs see it.
struct Part {
    name: &'static str,
    began: Instant,
    duration: Duration,
    stop: Arc<AtomicBool>,
    body: Bytes,
    /// For the progress display.
    delivered: AtomicU64,
}

impl Part {
    fn new(
        name: &'static str,
        duration: Duration,
        stop: &Arc<AtomicBool>,
        body: Bytes,
    ) -> Arc<Self> {
        let (stop, delivered) = (Arc::clone(stop), AtomicU64::new(0));
        Arc::new(Self { name, began: Instant::now(), duration, stop, body, delivered })
    }

    fn is_over(&self) -> bool {
        self.began.elapsed() >= self.duration || self.stop.load(Ordering::Relaxed)
    }

    /// Shows how far it is, until it is dropped.
    async fn show(&self) {
        let mut ticks = interval(Duration::from_millis(250));
        loop {
            ticks.tick().await;
            let (time, of) = (self.began.elapsed().as_secs(), self.duration.as_secs_f64());
            let (name, count) = (self.name, self.delivered.load(Ordering::Relaxed));
            show_progress(format_args!("{name}: {count} in {time} of {of} s"));
        }
    }
}

/// Lets every pair do its part, and adds up what they find.
async fn run_part<F>(
    part: &Arc<Part>,
    pairs: Vec<Pair>,
    task: impl Fn(Pair, Arc<Part>) -> F,
) -> Result<(Vec<Pair>, Found), Failure>
where
    F: Future<Output = Result<(Pair, Found), Failure>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for pair in pairs {
        tasks.spawn(task(pair, Arc::clone(part)));
    }
    let all = async {
        let mut pairs = Vec::new();
        let mut sum = Found::default();
        while let Some(done) = tasks.join_next().await {
            let (pair, found) = done.expect("no pair panics")?;
            pairs.push(pair);
            sum.add(found);
        }
        Ok((pairs, sum))
    };
    let result = tokio::select! {
        result = all => result,
        () = part.show() => unreachable!("it goes on until it is dropped"),
    };
    clear_progress();
    result
}

/// Two peers.
struct Pair {
    one: Peer,
    other: Peer,
}

struct Peer {
    client: Client,
    id: PeerId,
    topic: Topic,
    /// Number of the next message from this peer.
    next: u64,
}

impl Peer {
    fn new(client: Client) -> Result<Self, Failure> {
        let lost = || Failure::Failed("the connection was lost at once".to_owned());
        let id = client.id().ok_or_else(lost)?;
        let topic = client.topic(TOPIC);
        Ok(Self { client, id, topic, next: 0 })
    }

    /// Fails if the connection was lost: it is made anew, but under another id.
    fn check_connection(&self) -> Result<(), Failure> {
        if self.client.id() == Some(self.id) {
            return Ok(());
        }
        Err(Failure::Failed("the connection of a peer was lost".to_owned()))
    }

    async fn send(&mut self, to: PeerId, body: &Bytes) -> Result<(), Failure> {
        self.check_connection()?;
        let number = self.next.to_le_bytes();
        self.next += 1;
        Ok(self.topic.send_parts(to, &[&number, &body[MIN_SIZE..]]).await?)
    }
}

impl Pair {
    /// Sends one message to and fro until the part is over.
    async fn exchange(mut self, part: Arc<Part>) -> Result<(Self, Found), Failure> {
        let mut found = Found::default();
        let mut to = Direction::new(&self.one);
        let mut fro = Direction::new(&self.other);
        while !part.is_over() {
            let start = Instant::now();
            self.one.send(self.other.id, &part.body).await?;
            found.count.sent += 1;
            if !to.receive(&mut self.other, &part, &mut found.count).await? {
                continue;
            }
            self.other.send(self.one.id, &part.body).await?;
            found.count.sent += 1;
            if fro.receive(&mut self.one, &part, &mut found.count).await? {
                found.times.push(start.elapsed());
            }
        }
        found.elapsed = part.began.elapsed();
        found.delivered = found.times.len() as u64;
        Ok((self, found))
    }

    /// Keeps messages on their way in one direction until the part is over.
    async fn push(mut self, part: Arc<Part>, window: usize) -> Result<(Self, Found), Failure> {
        let mut found = Found::default();
        let mut to = Direction::new(&self.one);
        let mut on_their_way = 0;
        loop {
            let over = part.is_over();
            if over && found.elapsed.is_zero() {
                found.elapsed = part.began.elapsed();
                found.delivered = found.count.intact;
            }
            while !over && on_their_way < window {
                self.one.send(self.other.id, &part.body).await?;
                found.count.sent += 1;
                on_their_way += 1;
            }
            if on_their_way == 0 {
                return Ok((self, found));
            }
            if to.receive(&mut self.other, &part, &mut found.count).await? {
                on_their_way -= 1;
            } else {
                on_their_way = 0;
            }
        }
    }
}

/// What is expected next from one peer.
struct Direction {
    from: PeerId,
    next: u64,
}

impl Direction {
    fn new(from: &Peer) -> Self {
        Self { from: from.id, next: from.next }
    }

    /// Receives and checks one message; `false` if none comes any more.
    async fn receive(
        &mut self,
        at: &mut Peer,
        part: &Part,
        count: &mut Count,
    ) -> Result<bool, Failure> {
        let Ok(message) = timeout(LOST_AFTER, at.topic.recv()).await else {
            at.check_connection()?;
            return Ok(false);
        };
        let message = message?;
        match number(&message, &part.body) {
            Some(number) if message.from == self.from && number >= self.next => {
                self.next = number + 1;
                count.intact += 1;
            }
            Some(number) if message.from == self.from && number < self.next => {
                count.misordered += 1;
            }
            Some(_) | None => count.damaged += 1,
        }
        part.delivered.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }
}

/// What became of messages.
#[derive(Clone, Copy, Default)]
struct Count {
    sent: u64,
    intact: u64,
    misordered: u64,
    damaged: u64,
}

impl Count {
    fn lost(self) -> u64 {
        self.sent.saturating_sub(self.intact + self.misordered + self.damaged)
    }

    /// Judges whether the server did what it promises; losing is allowed to it.
    fn verdict(self) -> Result<(), Failure> {
        if self.intact == 0 {
            return Err(Failure::Failed("no message was delivered".to_owned()));
        }
        if self.misordered + self.damaged > 0 {
            let text = "messages arrived changed or out of order, which a server must not do";
            return Err(Failure::Failed(text.to_owned()));
        }
        if self.lost() > 0 {
            warn("messages were lost: the server drops what its outbox has no room for");
        }
        Ok(())
    }
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.intact += other.intact;
        self.misordered += other.misordered;
        self.damaged += other.damaged;
    }
}

/// What pairs found in one part.
#[derive(Default)]
struct Found {
    count: Count,
    /// Round trips or deliveries, in the time that counts.
    delivered: u64,
    elapsed: Duration,
    times: Vec<Duration>,
}

impl Found {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.delivered += other.delivered;
        self.elapsed = self.elapsed.max(other.elapsed);
        self.times.extend(other.times);
    }

    fn per_second(&self) -> f64 {
        self.delivered as f64 / self.elapsed.as_secs_f64()
    }
}

fn print_round_trips(output: Output, mut found: Found) -> Result<(), Failure> {
    found.times.sort_unstable();
    let per_second = found.per_second();
    let figure = |percent| percentile(&found.times, percent).map(millis);
    let (min, median, p99) = (figure(0), figure(50), figure(99));
    let text = match (min, median, p99) {
        (Some(min), Some(median), Some(p99)) => format!(
            "round trips  {per_second:.0} a second; min {min:.3} ms, median {median:.3} ms, \
             p99 {p99:.3} ms"
        ),
        _none => "round trips  none".to_owned(),
    };
    output.line(
        text,
        [
            ("event", "round_trips".into()),
            ("per_second", per_second.into()),
            ("min_ms", min.into()),
            ("median_ms", median.into()),
            ("p99_ms", p99.into()),
        ],
    )
}

fn print_checks(output: Output, count: Count) -> Result<(), Failure> {
    let Count { sent, misordered, damaged, .. } = count;
    let lost = count.lost();
    output.line(
        format_args!(
            "checked      {sent} sent; {lost} lost, {misordered} misordered, {damaged} damaged"
        ),
        [
            ("event", "checked".into()),
            ("sent", sent.into()),
            ("lost", lost.into()),
            ("misordered", misordered.into()),
            ("damaged", damaged.into()),
        ],
    )
}

/// Makes a body: room for a number, then bytes that are known.
fn body(size: usize) -> Bytes {
    let mut body = BytesMut::with_capacity(size);
    body.put_bytes(0, MIN_SIZE);
    body.extend((MIN_SIZE..size).map(|index| (index * 31 + 7) as u8));
    body.freeze()
}

/// Returns the number of a message that arrived undamaged.
fn number(message: &MessageIn, body: &Bytes) -> Option<u64> {
    let (number, rest) = message.body.split_first_chunk()?;
    (rest == &body[MIN_SIZE..]).then(|| u64::from_le_bytes(*number))
}

/// Shows a line that the next one overwrites, where somebody is watching.
fn show_progress(text: impl std::fmt::Display) {
    if stderr().is_terminal() {
        // With standard error closed there is nobody left to tell.
        let _ = write!(stderr(), "\r\x1b[K{text}");
    }
}

fn clear_progress() {
    show_progress("");
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    match parse_seconds(text)? {
        time if (SHORTEST..=LONGEST).contains(&time) => Ok(time),
        _outside => Err("expected seconds from 0.1 to 600".to_owned()),
    }
}

const TOPIC: TopicId = TopicId(1);

/// The number.
const MIN_SIZE: usize = size_of::<u64>();

/// Fewer than the accept queue of most servers.
const MOST_CONNECTING: usize = 32;

/// What has not come by then is lost.
const LOST_AFTER: Duration = Duration::from_secs(2);

const SHORTEST: Duration = Duration::from_millis(100);

/// Every round trip's time is kept, 16 bytes each.
const LONGEST: Duration = Duration::from_secs(600);

const EXAMPLES: &str = "\
Examples:
  waddell bench tcp://127.0.0.1:62443
  waddell bench wss://relay.example --pairs 100 --size 1024 --window 4 --duration 20

With --json, one line for each of: {\"event\":\"connected\",\"peers\":N,\"per_second\":R},
{\"event\":\"round_trips\",\"per_second\":R,\"min_ms\":M,\"median_ms\":M,\"p99_ms\":M},
{\"event\":\"throughput\",\"messages_per_second\":R,\"megabytes_per_second\":R,\"size\":BYTES,\"window\":N},
{\"event\":\"checked\",\"sent\":N,\"lost\":N,\"misordered\":N,\"damaged\":N}.
Lost messages are no failure, but a server that is to carry this load should have an outbox with
room for --window messages. Exit code 1 if any was changed or out of order, or none arrived.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_bodies_have_no_number() {
        let body = body(20);
        let message = |body: &[u8]| MessageIn {
            from: PeerId::NIL,
            topic: TOPIC,
            body: Bytes::copy_from_slice(body),
        };
        assert_eq!(number(&message(&body), &body), Some(0));
        let mut changed = body.to_vec();
        changed[19] ^= 1;
        assert_eq!(number(&message(&changed), &body), None);
        assert_eq!(number(&message(&body[..19]), &body), None);
        assert_eq!(number(&message(b"short"), &body), None);
    }

    #[test]
    fn servers_that_change_or_reorder_fail() {
        let good = Count { sent: 10, intact: 9, ..Count::default() };
        assert_eq!(good.lost(), 1);
        good.verdict().unwrap();
        Count { damaged: 1, ..good }.verdict().unwrap_err();
        Count { misordered: 1, ..good }.verdict().unwrap_err();
        Count { sent: 10, ..Count::default() }.verdict().unwrap_err();
    }
}
