//! A server, its clients and a bad network in virtual time, all drawn from one seed.
//!
//! The clients are the core's [`Client`]s under a driver that keeps the contract. The server has
//! the core's [`ServerConnection`]s and [`FrameDecoder`]s, and the real writing side of its
//! connections: outbox, flush at the end of the turn, wake-ups of the owner, stall, and memory
//! budget. The registry, the list of outboxes to flush, and the time of the looks at deadlines are
//! modelled: the server's need a runtime. A broken promise panics at once.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::Duration;

use waddell_core::{
    Client, ClientConfig, ClientEvent, ClientState, CloseCode, CloseReason, ConnectionConfig,
    Credentials, Decision, DisconnectReason, FrameDecoder, HEADER_LEN, Instant, Liveness,
    MAX_BODY_LEN, MessageIn, MessageOut, Output, PREFIX_LEN, PeerId, ServerConnection, Session,
    Ticket, TopicId,
};
use waddell_server::internals::{Link, Worker};
use waddell_tests::rng::Rng;

use self::bystander::Bystander;
use self::extension::{Hold, InTime};
use self::ledger::{Fate, Ledger, Told};
use self::pipe::{Arrival, Pipe, PipeEnd};

mod application;
mod bystander;
mod driver;
mod extension;
mod ledger;
mod network;
mod numbers;
mod pipe;
mod promises;
mod server;

/// End of the time with faults.
const FAULTS_UNTIL: Instant = Instant::since_epoch(Duration::from_secs(90));
/// End of the time to recover.
const SETTLED_AT: Instant = Instant::since_epoch(Duration::from_secs(180));
const END: Instant = Instant::since_epoch(Duration::from_secs(190));

/// A peer that takes no byte for this long is disconnected, as by the server.
const STALL_LIMIT: Duration = Duration::from_secs(10);

/// Counts of a run, which show that faults occurred and that runs replay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    counts: BTreeMap<&'static str, u64>,
    /// Hash of every output of every client and its time.
    fingerprint: u64,
}

impl Report {
    /// Adds another run's counts to this one's.
    pub(crate) fn add(&mut self, other: &Self) {
        for (what, count) in &other.counts {
            *self.counts.entry(what).or_default() += count;
        }
        self.fingerprint ^= other.fingerprint;
    }

    /// Returns how often an event occurred.
    pub(crate) fn of(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }
}

/// Runs the world of `seed` from its beginning to its end.
///
/// With `trace`, it prints every step on standard error.
///
/// # Panics
///
/// If a promise is broken.
pub(crate) fn run(seed: u64, trace: bool) -> Report {
    let mut world = World::new(seed, trace);
    world.populate(Cast::Mixed);
    world.run_to_the_end();
    world.report
}

/// What each client of 2015 is sent on each of its connections, and how much the bystander is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Streams {
    pub(crate) of_clients: BTreeMap<usize, Vec<u8>>,
    pub(crate) of_bystander: usize,
}

/// Runs the world of `seed` with clients of 2015 and one bystander that asks for the extension.
/// `extension` is whether the server has it.
///
/// # Panics
///
/// If a promise is broken.
pub(crate) fn run_legacy(seed: u64, extension: bool) -> Streams {
    let mut world = World::new(seed, false);
    world.extension = extension;
    // All outboxes share a budget and spare buffers, so with a limit on that the bystander's would
    // make a difference.
    world.worker = Worker::new(100_000, 0);
    world.add_bystander(seed);
    world.populate(Cast::Legacy);
    world.run_to_the_end();
    Streams { of_clients: world.streams, of_bystander: world.bystander_read }
}

/// Who takes part in a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cast {
    /// Clients with and without the extension.
    Mixed,
    /// Clients of 2015 alone.
    Legacy,
}

impl World {
    fn run_to_the_end(&mut self) {
        self.run_until(SETTLED_AT);
        self.check_settled();
        self.send_all_to_all();
        self.run_until(END);
        self.check_all_arrived();
    }
}

/// Rates of faults in one world, each in percent of the events that its field names.
#[derive(Debug)]
struct Faults {
    /// Dials that are refused.
    refuse: usize,
    /// Dials that are never answered.
    unanswered: usize,
    /// Application steps that cut a connection.
    cut: usize,
    /// Application steps that stop a client's reading for some time.
    pause: usize,
    /// Frames that a broken server shortens.
    short_frame: usize,
    /// Application steps that send invalid bytes past the client.
    rubbish: usize,
    /// Wake-ups of drivers that are late.
    late: usize,
}

struct World {
    rng: Rng,
    now: Instant,
    calendar: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    events: u64,
    events_planned: u64,
    faults: Faults,
    latency_ms: usize,
    idle_timeout: Option<Duration>,
    clients: Vec<Peer>,
    connections: Vec<Connection>,
    worker: Worker,
    registry: HashMap<PeerId, usize>,
    /// Whether the server speaks the extension.
    extension: bool,
    /// Peers that are away, with their sessions.
    away: HashMap<PeerId, Option<Session>>,
    /// The generation of the latest resume token of each id.
    generations: HashMap<PeerId, u32>,
    ledger: Ledger,
    bystander: Option<Bystander>,
    /// Number of bytes that the bystander has read.
    bystander_read: usize,
    /// What arrived on each connection of a client without HELLO.
    streams: BTreeMap<usize, Vec<u8>>,
    /// Messages of each client that has asked what becomes of them, and is not told yet.
    tickets: HashMap<(usize, Ticket), Tag>,
    /// Connections whose outbox was filled in this turn.
    to_flush: Vec<usize>,
    /// Connections whose owner was woken.
    woken: Arc<Mutex<Vec<usize>>>,
    ids_seen: HashSet<PeerId>,
    sent: HashMap<Tag, Sent>,
    /// Number of the last message that arrived, by ids of sender and recipient.
    last_arrived: HashMap<(PeerId, PeerId), u32>,
    report: Report,
    trace: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The application of this client does something.
    Application(usize),
    /// The driver of this client wakes up, if this is the alarm that it set last.
    Alarm(usize, u64),
    /// The network answers this connection's dial.
    Dialed(usize),
    /// Bytes arrive at the server on this connection.
    ToServer(usize),
    /// Bytes arrive at the client on this connection.
    ToClient(usize),
    /// The owner of this connection was woken.
    ServerOwner(usize),
    /// The connection that waits gets its id, if it has not got it before.
    HandOver(usize, InTime),
    /// The bystander does something.
    Bystander,
    /// The peer with that id and generation is gone, if it is away since.
    AwayEnds(u128, u32),
    /// The server looks whether this connection has stalled or is idle.
    ServerCheck(usize),
}

/// A client, its driver and its application.
struct Peer {
    client: Client,
    /// The transport of the latest dial, until the client hangs up or it is reported as lost.
    connection: Option<usize>,
    alarm: u64,
    alarms_at_once: (Instant, u32),
    /// Every id of the client, the latest last.
    ids: Vec<PeerId>,
    number: u32,
    expected_end: Option<CloseReason>,
}

/// Both ends of a transport, and the pipes between them.
struct Connection {
    owner: usize,
    up: Pipe,
    down: Rc<RefCell<Pipe>>,
    server: Option<ServerEnd>,
    /// What the client was told since its HELLO; `None` if it has not said that.
    told: Option<Told>,
    /// What arrives at the client, read once more.
    tap: FrameDecoder,
}

struct ServerEnd {
    connection: ServerConnection,
    /// Its id in the registry.
    listed: PeerId,
    /// How many frames it has sent.
    frames: u64,
    /// Number of the next frame, if the client has said HELLO.
    next_number: Option<u64>,
    /// Set while it waits for another connection to hand over.
    hold: Option<Hold>,
    decoder: FrameDecoder,
    link: Link<PipeEnd>,
    owner: Waker,
    /// Since when the pipe had no room, when the owner looked last.
    stalled_since: Option<Instant>,
}

/// Identity of a message, which its body carries.
type Tag = (u32, u32);

struct Sent {
    from: PeerId,
    to: PeerId,
    topic: TopicId,
    len: usize,
    arrived: bool,
    /// Its number, if the client numbers its frames.
    number: Option<u64>,
}

impl World {
    fn new(seed: u64, trace: bool) -> Self {
        let mut rng = Rng::new(seed);
        // Each fault is off in some worlds, so that none hides the effect of another.
        let mut percent = |most| if rng.chance(60) { rng.between(1..=most) } else { 0 };
        let faults = Faults {
            refuse: percent(60),
            unanswered: percent(30),
            cut: percent(15),
            pause: percent(15),
            short_frame: percent(5),
            rubbish: percent(20),
            late: percent(30),
        };
        let outbox_limit = [70_000, 200_000, 1 << 20][rng.between(0..=2)];
        let extension = rng.chance(75);
        let total_limit = [0, 4 * outbox_limit, 16 * outbox_limit][rng.between(0..=2)];
        Self {
            now: Instant::default(),
            calendar: BinaryHeap::new(),
            events: 0,
            events_planned: 0,
            faults,
            latency_ms: [0, 5, 100, 800][rng.between(0..=3)],
            idle_timeout: rng.chance(50).then_some(Duration::from_secs(60)),
            clients: Vec::new(),
            connections: Vec::new(),
            worker: Worker::new(outbox_limit, total_limit),
            registry: HashMap::new(),
            extension,
            away: HashMap::new(),
            generations: HashMap::new(),
            ledger: Ledger::default(),
            bystander: None,
            bystander_read: 0,
            streams: BTreeMap::new(),
            tickets: HashMap::new(),
            to_flush: Vec::new(),
            woken: Arc::default(),
            ids_seen: HashSet::new(),
            sent: HashMap::new(),
            last_arrived: HashMap::new(),
            report: Report::default(),
            trace,
            rng,
        }
    }

    fn populate(&mut self, cast: Cast) {
        let count = if self.rng.chance(5) { 40 } else { self.rng.between(2..=8) };
        for index in 0..count {
            self.add_client(index, cast);
        }
    }

    fn add_client(&mut self, index: usize, cast: Cast) {
        let extended = cast == Cast::Mixed && index.is_multiple_of(2);
        let config = ClientConfig {
            reconnect_attempts: if self.rng.chance(10) { 5 } else { u32::MAX },
            connect_timeout: Some(Duration::from_secs(self.rng.between(3..=10) as u64)),
            // A server with an idle timeout disconnects clients without keep-alives; they return.
            keep_alive_interval: self.rng.chance(70).then_some(Duration::from_secs(25)),
            silence_timeout: self.rng.chance(50).then_some(Duration::from_secs(60)),
            // A server that does not speak it must not be disturbed by HELLO.
            extension: extended,
            resume: extended && (index.is_multiple_of(4) || index == 2),
            ice: false,
            credentials: Credentials::None,
            addresses: 1,
            jitter_seed: self.rng.next_u64(),
        };
        self.clients.push(Peer {
            client: Client::new(config, self.now),
            connection: None,
            alarm: 0,
            alarms_at_once: (self.now, 0),
            ids: Vec::new(),
            number: 0,
            expected_end: None,
        });
        self.drain(index);
        let first_step = self.rng.up_to_ms(3_000);
        self.plan(first_step, Event::Application(index));
    }

    fn run_until(&mut self, end: Instant) {
        while let Some(Reverse((at, _, _))) = self.calendar.peek() {
            if *at > end {
                break;
            }
            let Some(Reverse((at, _, event))) = self.calendar.pop() else { break };
            assert!(at >= self.now, "time goes forwards");
            self.now = at;
            self.worker.set_now(at);
            self.events += 1;
            assert!(self.events < 1_000_000, "the world does not come to rest");
            match event {
                Event::Application(peer) => self.application_step(peer),
                Event::Alarm(peer, alarm) => self.alarm(peer, alarm),
                Event::Dialed(connection) => self.dialed(connection),
                Event::ToServer(connection) => self.arrive_at_server(connection),
                Event::ToClient(connection) => self.arrive_at_client(connection),
                Event::ServerOwner(connection) => self.serve_owner(connection),
                Event::ServerCheck(connection) => self.server_check(connection),
                Event::HandOver(connection, in_time) => self.hand_over(connection, in_time),
                Event::Bystander => self.bystander_step(),
                Event::AwayEnds(id, generation) => {
                    self.away_ends(PeerId::from_bytes(id.to_le_bytes()), generation);
                }
            }
            self.end_turn();
        }
        self.now = end;
    }

    fn plan(&mut self, delay: Duration, event: Event) {
        self.events_planned += 1;
        self.calendar.push(Reverse((self.now + delay, self.events_planned, event)));
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("[{:>11.6}] {}", self.now.elapsed_since_epoch().as_secs_f64(), what());
        }
    }

    fn faulty(&self) -> bool {
        self.now < FAULTS_UNTIL
    }

    /// Decides at random whether a fault occurs.
    fn fault(&mut self, percent: usize) -> bool {
        self.faulty() && self.rng.chance(percent)
    }
}

/// Returns the body of a tag: the tag itself, then bytes that follow from it.
fn body(tag: Tag, len: usize) -> Vec<u8> {
    let filler = Rng::new(u64::from(tag.0) << 32 | u64::from(tag.1)).bytes();
    let mut body = filler.repeat(len / filler.len() + 1);
    body[..4].copy_from_slice(&tag.0.to_le_bytes());
    body[4..8].copy_from_slice(&tag.1.to_le_bytes());
    body.truncate(len);
    body
}

fn tag_of(body: &[u8]) -> Option<Tag> {
    let (sender, rest) = body.split_first_chunk()?;
    let (number, _) = rest.split_first_chunk()?;
    Some((u32::from_le_bytes(*sender), u32::from_le_bytes(*number)))
}

fn brief(output: &Output) -> String {
    match output {
        Output::Transmit(bytes) => format!("Transmit {} bytes", bytes.len()),
        Output::Event(ClientEvent::Message(message)) => {
            format!("Message from {}, {} bytes", message.from, message.body.len())
        }
        Output::Dial | Output::HangUp | Output::Event(_) => format!("{output:?}"),
    }
}
