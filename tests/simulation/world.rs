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
    Client, ClientConfig, ClientEvent, ClientState, CloseReason, ConnectionConfig, Credentials,
    Decision, DisconnectReason, FrameDecoder, Instant, Liveness, MAX_BODY_LEN, MessageIn,
    MessageOut, Output, PeerId, ServerConnection, TopicId,
};
use waddell_server::internals::{Link, Worker};
use waddell_tests::rng::Rng;

use self::pipe::{Arrival, Pipe, PipeEnd};

mod driver;
mod network;
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
    world.run_until(SETTLED_AT);
    world.check_settled();
    world.send_all_to_all();
    world.run_until(END);
    world.check_all_arrived();
    world.report
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
}

struct ServerEnd {
    connection: ServerConnection,
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
        let total_limit = [0, 4 * outbox_limit, 16 * outbox_limit][rng.between(0..=2)];
        let mut world = Self {
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
            to_flush: Vec::new(),
            woken: Arc::default(),
            ids_seen: HashSet::new(),
            sent: HashMap::new(),
            last_arrived: HashMap::new(),
            report: Report::default(),
            trace,
            rng,
        };
        let count = if world.rng.chance(5) { 40 } else { world.rng.between(2..=8) };
        for index in 0..count {
            world.add_client(index);
        }
        world
    }

    fn add_client(&mut self, index: usize) {
        let config = ClientConfig {
            reconnect_attempts: if self.rng.chance(10) { 5 } else { u32::MAX },
            connect_timeout: Some(Duration::from_secs(self.rng.between(3..=10) as u64)),
            // A server with an idle timeout disconnects clients without keep-alives; they return.
            keep_alive_interval: self.rng.chance(70).then_some(Duration::from_secs(25)),
            silence_timeout: self.rng.chance(50).then_some(Duration::from_secs(60)),
            // This server does not speak it, and must not be disturbed by HELLO.
            extension: index.is_multiple_of(2),
            resume: index.is_multiple_of(4),
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

    fn application_step(&mut self, index: usize) {
        if !self.faulty() {
            // An application without a keep-alive interval sends keep-alives itself.
            let _ = self.clients[index].client.send_keep_alive();
            self.drain(index);
            self.plan(Duration::from_secs(20), Event::Application(index));
            return;
        }
        match self.rng.between(0..=99) {
            0..=69 => {
                for _ in 0..self.rng.between(1..=4) {
                    self.send_something(index);
                }
                if self.rng.chance(2) {
                    self.send_burst(index);
                }
            }
            70..=79 => {
                // The client decides whether it can be sent; the driver checks the result.
                let _ = self.clients[index].client.send_keep_alive();
            }
            80..=89 => self.clients[index].client.retry_now(self.now),
            // A wake-up without need must do no harm.
            90..=98 => self.clients[index].client.handle_timeout(self.now),
            _ => {
                if self.clients[index].client.state() != ClientState::Closed {
                    self.clients[index].expected_end = Some(CloseReason::ByApplication);
                }
                self.clients[index].client.close();
            }
        }
        self.drain(index);
        if let Some(connection) = self.clients[index].connection {
            if self.connections[connection].server.is_some() && self.fault(self.faults.cut) {
                self.cut(connection);
            }
            if self.fault(self.faults.pause) {
                let until = self.now + self.rng.up_to_ms(15_000);
                self.connections[connection].down.borrow_mut().paused_until = until;
                self.tell(|| format!("client {index} reads nothing until {until:?}"));
            }
            if self.fault(self.faults.rubbish) && self.clients[index].client.id().is_some() {
                let rubbish = self.rubbish();
                self.connections[connection].up.write(&rubbish);
                self.schedule_up(connection);
            }
        }
        let pause = self.rng.up_to_ms(4_000);
        self.plan(pause, Event::Application(index));
    }

    /// Returns a whole frame that no client sends, or that has no recipient.
    fn rubbish(&mut self) -> Vec<u8> {
        let len = self.rng.between(0..=40);
        let mut payload = self.rng.bytes().repeat(3);
        payload.truncate(len);
        if self.rng.chance(30) {
            payload.iter_mut().take(16).for_each(|byte| *byte = 0);
        }
        [&(len as u16).to_le_bytes()[..], &payload].concat()
    }

    fn send_something(&mut self, index: usize) {
        let to = self.pick_recipient(index);
        let len = match self.rng.between(0..=99) {
            0..=84 => self.rng.between(8..=400),
            85..=96 => self.rng.between(8..=5_000),
            97..=98 => self.rng.between(8..=MAX_BODY_LEN),
            _ => MAX_BODY_LEN,
        };
        self.send(index, to, len);
    }

    /// Sends more than the outbox of a slow reader holds.
    fn send_burst(&mut self, index: usize) {
        let to = self.pick_recipient(index);
        for _ in 0..20 {
            self.send(index, to, 10_000);
        }
    }

    /// Picks a recipient: another client, itself, a former id, or an unknown id.
    fn pick_recipient(&mut self, index: usize) -> PeerId {
        let other = self.rng.between(0..=self.clients.len() - 1);
        let ids = match self.rng.between(0..=9) {
            0 => &self.clients[index].ids,
            _ => &self.clients[other].ids,
        };
        match self.rng.between(0..=19) {
            0 => PeerId::from_random(self.rng.bytes()),
            1 => PeerId::NIL,
            2..=4 if !ids.is_empty() => ids[self.rng.between(0..=ids.len() - 1)],
            _ => ids.last().copied().unwrap_or(PeerId::NIL),
        }
    }

    fn send(&mut self, index: usize, to: PeerId, len: usize) {
        let peer = &mut self.clients[index];
        let topic = TopicId(self.rng.next_u64() as u16);
        let tag = (index as u32, peer.number);
        let message = MessageOut::new(to, topic, body(tag, len));
        match peer.client.send(&message) {
            Ok(()) => {
                peer.number += 1;
                let from = peer.client.id().expect("a ready client has an id");
                self.sent.insert(tag, Sent { from, to, topic, len, arrived: false });
                self.report.count("messages_sent");
            }
            Err(error) => {
                assert_eq!(peer.client.id(), None, "{error}");
            }
        }
    }

    /// Loses the bytes in flight from some byte on. Each end learns of it at its own time.
    fn cut(&mut self, connection: usize) {
        self.report.count("connections_cut");
        let keep_up = self.rng.between(0..=self.connections[connection].up.len());
        let keep_down = self.rng.between(0..=self.connections[connection].down.borrow().len());
        self.tell(|| format!("connection {connection} is cut"));
        self.connections[connection].up.cut(keep_up);
        self.connections[connection].down.borrow_mut().cut(keep_down);
        for (up, delay) in [(true, self.rng.up_to_ms(80_000)), (false, self.rng.up_to_ms(80_000))] {
            // An end that is reported late: nothing is read in the meantime.
            let until = self.now + if self.rng.chance(50) { delay } else { Duration::ZERO };
            let connection = &mut self.connections[connection];
            let pause = |pipe: &mut Pipe| pipe.paused_until = pipe.paused_until.max(until);
            if up { pause(&mut connection.up) } else { pause(&mut connection.down.borrow_mut()) }
        }
        self.schedule_up(connection);
        self.schedule_down(connection);
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
