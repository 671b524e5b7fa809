//! The extension on the server: HELLO, resume tokens, peers that are away, and takeovers.

use waddell_core::{Capabilities, Closing, Hello, NotResumed, Notice, Session, Welcome};
use waddell_server::internals::Pushed;

use super::*;

/// What a connection holds back while another one hands over to it.
#[derive(Debug)]
pub(super) struct Hold {
    /// The connection that has the id.
    pub(super) from: usize,
    /// Bytes that are not handled yet.
    pub(super) bytes: Vec<u8>,
    /// The client has ended the stream after them.
    pub(super) ended: bool,
}

/// Whether a connection hands over before the other one waits no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum InTime {
    Yes,
    No,
}

/// Result of a resume token.
enum Resumption {
    No(Option<NotResumed>),
    Yes(Option<Session>),
    TakesOver(usize),
}

/// How long a peer is away before it is gone.
const AWAY_TIME: Duration = Duration::from_secs(30);
/// Longest wait for a connection that hands over.
const TAKEOVER_TIMEOUT_MS: usize = 1_000;

impl World {
    /// Answers the HELLO of a connection. Its further frames wait if it takes over another one.
    pub(super) fn answer_hello(&mut self, connection: usize, hello: &Hello<'_>) {
        let has = Capabilities::VERDICTS.with(Capabilities::RESUME);
        let granted = hello.wants & has;
        let resumption = self.find_former(hello);
        let claimed = hello.resume_token.and_then(id_of);
        let mut server = self.connections[connection].server.take().expect("it has said HELLO");
        let (id, reason) = match &resumption {
            Resumption::No(reason) => (server.listed, *reason),
            Resumption::Yes(_) | Resumption::TakesOver(_) => {
                (claimed.expect("the token is good"), None)
            }
        };
        let generation = self.generations.entry(id).or_default();
        let token = [id.as_bytes(), &generation.to_le_bytes()[..]].concat();
        let resumes = granted.contains(Capabilities::RESUME);
        let welcome = Welcome {
            resumed: reason.is_none() && claimed.is_some(),
            not_resumed: reason,
            resume_token: resumes.then_some(&token),
            windows: resumes.then_some(waddell_core::ResumeWindows { resume: 600, away: 30 }),
            ..Welcome::new(granted, id, u16::MAX)
        };
        let mut frame = Vec::new();
        welcome.encode(&mut frame);
        server.link.push_first(&frame, &mut self.worker);
        self.to_flush.push(connection);
        server.connection.rename(id);
        server.connection.extend(hello, granted);
        server.next_number = Some(hello.first_number);
        match resumption {
            Resumption::No(_) => {}
            Resumption::Yes(session) => {
                self.registry.remove(&std::mem::replace(&mut server.listed, id));
                assert_eq!(self.registry.insert(id, connection), None, "one connection has {id}");
                server.connection.resume(session);
            }
            Resumption::TakesOver(from) => {
                server.hold = Some(Hold { from, bytes: Vec::new(), ended: false });
                let is_stuck = self.fault(self.faults.late);
                let delay = self.rng.between(0..=TAKEOVER_TIMEOUT_MS - 1);
                let delay = if is_stuck { TAKEOVER_TIMEOUT_MS } else { delay };
                let in_time = if is_stuck { InTime::No } else { InTime::Yes };
                let event = Event::HandOver(connection, in_time);
                self.plan(Duration::from_millis(delay as u64), event);
            }
        }
        self.tell(|| format!("server: {id} said HELLO, {hello:?}, {reason:?}"));
        self.connections[connection].server = Some(server);
    }

    /// Looks for the id of a resume token.
    fn find_former(&mut self, hello: &Hello<'_>) -> Resumption {
        let Some(token) = hello.resume_token else { return Resumption::No(None) };
        let id = id_of(token).expect("clients keep tokens as they are");
        let generation = u32::from_le_bytes(token[16..].try_into().expect("it is whole"));
        let latest = self.generations.entry(id).or_insert(generation);
        match *latest - generation {
            0 => *latest += 1,
            1 => {}
            _older => return Resumption::No(Some(NotResumed::Stale)),
        }
        if let Some(session) = self.away.remove(&id) {
            self.report.count("resumed_away");
            return Resumption::Yes(session);
        }
        let Some(&from) = self.registry.get(&id) else {
            self.report.count("resumed_unknown");
            return Resumption::Yes(None);
        };
        if self.successor(from).is_some() {
            self.report.count("contested");
            return Resumption::No(Some(NotResumed::Contested));
        }
        Resumption::TakesOver(from)
    }

    /// Returns the connection that waits for this one to hand over.
    pub(super) fn successor(&self, from: usize) -> Option<usize> {
        self.connections.iter().position(|connection| {
            let hold = connection.server.as_ref().and_then(|server| server.hold.as_ref());
            hold.is_some_and(|hold| hold.from == from)
        })
    }

    /// Hands over to a connection that waits, if it still does. If the one before has not done so
    /// in time, its session is lost.
    pub(super) fn hand_over(&mut self, connection: usize, in_time: InTime) {
        let Some(mut to) = self.connections[connection].server.take() else { return };
        let Some(hold) = to.hold.take() else {
            self.connections[connection].server = Some(to);
            return;
        };
        let id = to.connection.id();
        let mut from = self.connections[hold.from].server.take().expect("it has handed over else");
        let session = match in_time {
            InTime::Yes => from.connection.split_off_session(),
            InTime::No => None,
        };
        self.report.count(if session.is_some() { "taken_over" } else { "taken_over_late" });
        if from.link.hand_over(&mut to.link, &mut self.worker) == Pushed::NeedsFlush {
            self.to_flush.push(connection);
        }
        assert_eq!(self.registry.insert(id, connection), Some(hold.from));
        self.registry.remove(&std::mem::replace(&mut to.listed, id));
        self.end_link(hold.from, from);
        to.connection.resume(session);
        self.connections[connection].server = Some(to);
        self.serve(connection, hold.bytes);
        if hold.ended {
            self.remove(connection);
        }
        self.serve_owner(connection);
    }

    /// Records that a peer is away, if it may come back.
    pub(super) fn leave(&mut self, server: &mut ServerEnd) {
        if server.connection.may_resume() && server.hold.is_none() {
            let id = server.listed;
            self.away.insert(id, server.connection.split_off_session());
            self.report.count("away");
            let generation = self.generations[&id];
            self.plan(AWAY_TIME, Event::AwayEnds(u128::from_le_bytes(*id.as_bytes()), generation));
        }
    }

    pub(super) fn away_ends(&mut self, id: PeerId, generation: u32) {
        if self.generations.get(&id) == Some(&generation) && self.away.remove(&id).is_some() {
            self.report.count("gone");
        }
    }

    /// Tells the client what there is to tell, if its outbox has room.
    pub(super) fn send_notices(&mut self, connection: usize) {
        let Some(server) = &mut self.connections[connection].server else { return };
        if !server.connection.has_notice() || server.hold.is_some() {
            return;
        }
        let mut frames = Vec::new();
        server.connection.encode_notices(&mut frames);
        match server.link.push_own(&frames, &mut self.worker) {
            Ok(pushed) => {
                server.connection.notices_sent();
                if pushed == Pushed::NeedsFlush {
                    self.to_flush.push(connection);
                }
            }
            Err(_no_room) => self.report.count("notices_delayed"),
        }
    }

    /// Ends a connection from the server's side. An extended client is told up to which frame its
    /// frames were handled.
    pub(super) fn close(&mut self, connection: usize) {
        let Some(server) = &mut self.connections[connection].server else { return };
        if server.hold.is_some() {
            // It waits for the connection before, whatever happens.
            return;
        }
        if let Some(handled) = server.connection.handled() {
            let mut frames = Vec::new();
            server.connection.encode_notices(&mut frames);
            let (code, reason) = (CloseCode::TIMED_OUT, "");
            Notice::Closing(Closing { code, handled, reason }).encode(&mut frames);
            if server.link.push_own(&frames, &mut self.worker).is_ok() {
                server.link.write_now(&mut self.worker);
            }
        }
        self.remove(connection);
    }
}

/// Returns the id in a resume token.
fn id_of(token: &[u8]) -> Option<PeerId> {
    token.first_chunk().copied().map(PeerId::from_bytes)
}
