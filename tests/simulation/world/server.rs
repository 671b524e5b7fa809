//! The server: a registry, and the real writing side of each connection.

use std::task::Wake;

use waddell_core::{DropReason as Dropped, Frame, Rejected, Request};
use waddell_server::internals::{DropReason, Lost, Pushed};

use super::bystander::NO_CLIENT;
use super::*;

/// The task of a connection, which is woken by its link and its socket.
pub(super) struct Owner {
    connection: usize,
    woken: Arc<Mutex<Vec<usize>>>,
}

impl Wake for Owner {
    fn wake(self: Arc<Self>) {
        self.woken.lock().expect("no thread panics with the lock").push(self.connection);
    }
}

impl World {
    pub(super) fn accept(&mut self, connection: usize) {
        let id = PeerId::from_random(self.rng.bytes());
        let config = ConnectionConfig { idle_timeout: self.idle_timeout, rate_limit: None };
        let state = ServerConnection::new(id, config, self.now);
        let socket = PipeEnd(Rc::clone(&self.connections[connection].down));
        let mut link = Link::new(socket, &state.greeting(), &mut self.worker);
        self.registry.insert(id, connection);
        link.write_now(&mut self.worker);
        let owner = Waker::from(Arc::new(Owner { connection, woken: Arc::clone(&self.woken) }));
        self.connections[connection].server = Some(ServerEnd {
            connection: state,
            listed: id,
            frames: 0,
            next_number: None,
            hold: None,
            decoder: FrameDecoder::new(),
            link,
            owner,
            stalled_since: None,
        });
        self.schedule_down(connection);
        self.serve_owner(connection);
        self.plan(Duration::from_secs(1), Event::ServerCheck(connection));
    }

    pub(super) fn arrive_at_server(&mut self, connection: usize) {
        let Some(most) = self.piece(connection, true) else { return };
        match self.connections[connection].up.read(most) {
            Arrival::Bytes(bytes) => self.serve(connection, bytes),
            Arrival::End => self.end_of_stream(connection),
            Arrival::Nothing => {}
        }
        self.schedule_up(connection);
    }

    /// Ends the connection, once it has its id if it waits for that.
    pub(super) fn end_of_stream(&mut self, connection: usize) {
        let Some(server) = &mut self.connections[connection].server else { return };
        match &mut server.hold {
            Some(hold) => hold.ended = true,
            None => self.remove(connection),
        }
    }

    pub(super) fn serve(&mut self, connection: usize, mut bytes: Vec<u8>) {
        let mut input = &mut bytes[..];
        loop {
            let Some(server) = &mut self.connections[connection].server else { return };
            if let Some(hold) = &mut server.hold {
                hold.bytes.extend_from_slice(input);
                return;
            }
            let mut decoder = std::mem::take(&mut server.decoder);
            let next = decoder.next_frame(&mut input).expect("any length is legal");
            let is_done = next.is_none();
            if let Some(mut frame) = next {
                self.serve_frame(connection, &mut frame);
            }
            if let Some(server) = &mut self.connections[connection].server {
                server.decoder = decoder;
            }
            if is_done {
                break;
            }
        }
        self.send_notices(connection);
    }

    /// Decides on a frame, carries that out, and writes it into the ledger.
    fn serve_frame(&mut self, connection: usize, frame: &mut Frame<'_>) {
        let server = self.connections[connection].server.as_mut().expect("it is served");
        let number = server.next_number;
        server.next_number = number.map(|number| number + 1);
        server.frames += 1;
        let is_first = server.frames == 1;
        let decision = server.connection.handle_frame(frame, self.now);
        let fate = match decision {
            Decision::Forward(to) | Decision::FirstContact(to) => {
                let fate = self.forward(to, frame.as_bytes());
                if let Fate::Dropped(reason) = fate
                    && let Some(server) = &mut self.connections[connection].server
                {
                    server.connection.note_dropped(to, frame, reason);
                }
                fate
            }
            Decision::KeepAlive => Fate::Handled,
            Decision::Control => self.serve_control(connection, frame.payload(), is_first),
            Decision::Reject(rejected) => {
                self.report.count("frames_rejected");
                Fate::Dropped(match rejected {
                    Rejected::ShortFrame { .. } => Dropped::ShortFrame,
                    Rejected::ReservedRecipient => Dropped::ReservedRecipient,
                })
            }
        };
        let owner = self.connections[connection].owner;
        if owner != NO_CLIENT
            && let Some(number) = number
        {
            let tag = self.ledger.decided(owner, number, frame.as_bytes(), fate);
            let id = self.connections[connection].server.as_ref().map(|it| it.connection.id());
            if let (Some(sent), Some(id)) = (tag.and_then(|tag| self.sent.get_mut(&tag)), id) {
                // A client that has not got its WELCOME yet takes another id for its own.
                sent.from = id;
            }
        }
    }

    fn serve_control(&mut self, connection: usize, payload: &[u8], is_first: bool) -> Fate {
        let ignored = Fate::Dropped(Dropped::ReservedRecipient);
        if !self.extension {
            self.report.count("frames_rejected");
            return ignored;
        }
        let server = self.connections[connection].server.as_mut().expect("it is served");
        match server.connection.handle_control(&payload[HEADER_LEN..], is_first) {
            Ok(Request::Hello(hello)) => self.answer_hello(connection, &hello),
            // The core answers.
            Ok(Request::Sync { .. } | Request::Bye) => {}
            Ok(other) => panic!("{other:?} was not granted"),
            Err(_ignored) => {
                self.report.count("frames_rejected");
                return ignored;
            }
        }
        Fate::Handled
    }

    pub(super) fn forward(&mut self, to: PeerId, frame: &[u8]) -> Fate {
        let Some(&recipient) = self.registry.get(&to) else {
            let is_away = self.away.contains_key(&to);
            self.report.count(if is_away { "dropped_away" } else { "dropped_unknown" });
            return Fate::Dropped(if is_away {
                Dropped::RecipientAway
            } else {
                Dropped::UnknownRecipient
            });
        };
        // As waddell's server does when a client sends it 17 bytes.
        let broken = self.fault(self.faults.short_frame);
        let frame = if broken { b"\x11\x00seventeen bytes.." } else { frame };
        let server = self.connections[recipient].server.as_mut();
        let link = &mut server.expect("a registered peer has a connection").link;
        let pushed = link.push(frame, self.now, &mut self.worker);
        self.schedule_down(recipient);
        let (count, reason) = match pushed {
            Ok(pushed) => {
                if pushed == Pushed::NeedsFlush {
                    self.to_flush.push(recipient);
                }
                if broken {
                    self.report.count("short_frame_to_client");
                }
                return Fate::Handled;
            }
            Err(DropReason::OutboxFull) => ("dropped_full", Dropped::RecipientFull),
            Err(DropReason::NoMemory) => ("dropped_memory", Dropped::ServerFull),
            // The link was crowded out, which its owner has not seen yet.
            Err(DropReason::UnknownRecipient) => ("dropped_unknown", Dropped::UnknownRecipient),
        };
        self.report.count(count);
        Fate::Dropped(reason)
    }

    /// Writes the outboxes that were filled in this turn, and lets woken owners have theirs.
    pub(super) fn end_turn(&mut self) {
        for connection in std::mem::take(&mut self.to_flush) {
            if let Some(server) = &mut self.connections[connection].server {
                server.link.flush(&mut self.worker);
                self.schedule_down(connection);
            }
        }
        self.worker.end_turn();
        let woken = std::mem::take(&mut *self.woken.lock().expect("no thread panics with it"));
        for connection in woken {
            self.plan(Duration::ZERO, Event::ServerOwner(connection));
        }
    }

    /// Lets the owner of a connection go on writing, and notes since when its socket has no room.
    pub(super) fn serve_owner(&mut self, connection: usize) {
        let Some(server) = &mut self.connections[connection].server else { return };
        let cx = &mut std::task::Context::from_waker(&server.owner);
        let blocked = server.link.poll_blocked(cx, STALL_LIMIT, &mut self.worker);
        server.stalled_since = blocked.unwrap_or(None);
        self.schedule_down(connection);
        match blocked {
            Ok(_) => self.send_notices(connection),
            Err(Lost::Broken) => panic!("the pipes do not break"),
            Err(Lost::CrowdedOut) => {
                self.report.count("crowded_out");
                self.remove(connection);
            }
        }
    }

    pub(super) fn server_check(&mut self, connection: usize) {
        let now = self.now;
        let is_stalled = |server: &ServerEnd| {
            server.stalled_since.is_some_and(|since| now - since >= STALL_LIMIT)
        };
        // The owner looks at the socket once more, and at nothing before: no wake-up may be
        // missing.
        if self.connections[connection].server.as_ref().is_some_and(is_stalled) {
            self.serve_owner(connection);
        }
        let Some(server) = &mut self.connections[connection].server else { return };
        let stalled = is_stalled(server);
        let expired = server.connection.handle_timeout(self.now) == Liveness::Expired;
        assert_eq!(expired, server.connection.poll_timeout().is_some_and(|at| at <= self.now));
        if server.hold.is_some() {
            // It reads nothing until the connection before has handed over.
            self.plan(Duration::from_secs(1), Event::ServerCheck(connection));
        } else if stalled || expired {
            self.report.count(if stalled { "stalled" } else { "expired" });
            self.remove(connection);
        } else {
            self.plan(Duration::from_secs(1), Event::ServerCheck(connection));
        }
    }

    /// Ends the server's side: the id is gone or away, and the client reads the written bytes and
    /// the end. If another connection waits for the id, that one gets it.
    pub(super) fn remove(&mut self, connection: usize) {
        if let Some(successor) = self.successor(connection) {
            self.hand_over(successor, InTime::Yes);
            return;
        }
        let Some(mut server) = self.connections[connection].server.take() else { return };
        let id = server.listed;
        self.tell(|| format!("server: {id} is gone"));
        assert_eq!(self.registry.remove(&id), Some(connection));
        self.leave(&mut server);
        self.end_link(connection, server);
    }

    pub(super) fn end_link(&mut self, connection: usize, mut server: ServerEnd) {
        server.link.abandon(&mut self.worker);
        self.connections[connection].down.borrow_mut().end();
        self.schedule_down(connection);
    }
}
