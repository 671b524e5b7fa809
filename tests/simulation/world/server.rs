//! The server: a registry, and the real writing side of each connection.

use std::task::Wake;

use waddell_server::internals::{DropReason, Lost, Pushed};

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
            Arrival::End => self.remove(connection),
            Arrival::Nothing => {}
        }
        self.schedule_up(connection);
    }

    pub(super) fn serve(&mut self, connection: usize, mut bytes: Vec<u8>) {
        let Some(mut server) = self.connections[connection].server.take() else { return };
        let mut forwarded = Vec::new();
        let mut input = &mut bytes[..];
        while let Some(mut frame) =
            server.decoder.next_frame(&mut input).expect("any length is legal")
        {
            match server.connection.handle_frame(&mut frame, self.now) {
                Decision::Forward(to) | Decision::FirstContact(to) => {
                    forwarded.push((to, frame.as_bytes().to_vec()));
                }
                Decision::KeepAlive => {}
                Decision::Control | Decision::Reject(_) => self.report.count("frames_rejected"),
            }
        }
        self.connections[connection].server = Some(server);
        for (to, frame) in forwarded {
            self.forward(to, &frame);
        }
    }

    pub(super) fn forward(&mut self, to: PeerId, frame: &[u8]) {
        let Some(&recipient) = self.registry.get(&to) else {
            self.report.count("dropped_unknown");
            return;
        };
        // As waddell's server does when a client sends it 17 bytes.
        let broken = self.fault(self.faults.short_frame);
        let frame = if broken { b"\x11\x00seventeen bytes.." } else { frame };
        let server = self.connections[recipient].server.as_mut();
        let link = &mut server.expect("a registered peer has a connection").link;
        let pushed = link.push(frame, self.now, &mut self.worker);
        match pushed {
            Ok(pushed) => {
                if pushed == Pushed::NeedsFlush {
                    self.to_flush.push(recipient);
                }
                if broken {
                    self.report.count("short_frame_to_client");
                }
            }
            Err(DropReason::OutboxFull) => self.report.count("dropped_full"),
            Err(DropReason::NoMemory) => self.report.count("dropped_memory"),
            // The link was crowded out, which its owner has not seen yet.
            Err(DropReason::UnknownRecipient) => self.report.count("dropped_unknown"),
        }
        self.schedule_down(recipient);
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
            Ok(_) => {}
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
        if stalled || expired {
            self.report.count(if stalled { "stalled" } else { "expired" });
            self.remove(connection);
        } else {
            self.plan(Duration::from_secs(1), Event::ServerCheck(connection));
        }
    }

    /// Ends the server's side: the id is gone, and the client reads the written bytes and the end.
    pub(super) fn remove(&mut self, connection: usize) {
        let Some(mut server) = self.connections[connection].server.take() else { return };
        let id = server.connection.id();
        self.tell(|| format!("server: {id} is gone"));
        assert_eq!(self.registry.remove(&id), Some(connection));
        server.link.abandon(&mut self.worker);
        self.connections[connection].down.borrow_mut().end();
        self.schedule_down(connection);
    }
}
