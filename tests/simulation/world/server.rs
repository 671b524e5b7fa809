//! The model of a server: a registry, and a bounded outbox for each connection.

use super::*;

impl World {
    pub(super) fn accept(&mut self, connection: usize) {
        let id = PeerId::from_random(self.rng.bytes());
        let config = ConnectionConfig { idle_timeout: self.idle_timeout, rate_limit: None };
        let state = ServerConnection::new(id, config, self.now);
        let outbox = state.greeting().to_vec();
        self.connections[connection].server = Some(ServerEnd {
            connection: state,
            decoder: FrameDecoder::new(),
            outbox,
            stalled_since: None,
        });
        self.registry.insert(id, connection);
        self.flush(connection);
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
                Decision::Forward(to) => forwarded.push((to, frame.as_bytes().to_vec())),
                Decision::KeepAlive => {}
                Decision::Reject(_) => self.report.count("frames_rejected"),
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
        let broken = self.fault(self.faults.short_frame);
        let server =
            self.connections[recipient].server.as_mut().expect("registered peers are connected");
        if server.outbox.len() + frame.len() > self.outbox_capacity {
            self.report.count("dropped_full");
            return;
        }
        if broken {
            // As waddell does after a frame of 17 bytes.
            self.report.count("short_frame_to_client");
            server.outbox.extend_from_slice(b"\x11\x00seventeen bytes..");
        } else {
            server.outbox.extend_from_slice(frame);
        }
        self.flush(recipient);
    }

    /// Moves bytes from the outbox to the pipe, as far as it has room.
    pub(super) fn flush(&mut self, connection: usize) {
        let end = &mut self.connections[connection];
        let Some(server) = &mut end.server else { return };
        let len = server.outbox.len().min(end.down.room());
        end.down.write(&server.outbox[..len]);
        server.outbox.drain(..len);
        if server.outbox.is_empty() || len > 0 {
            server.stalled_since = None;
        } else {
            server.stalled_since.get_or_insert(self.now);
        }
        self.schedule_down(connection);
    }

    pub(super) fn server_check(&mut self, connection: usize) {
        let Some(server) = &mut self.connections[connection].server else { return };
        let stalled = server.stalled_since.is_some_and(|since| self.now - since >= STALL_LIMIT);
        let expired = server.connection.handle_timeout(self.now) == Liveness::Expired;
        assert_eq!(expired, server.connection.poll_timeout().is_some_and(|at| at <= self.now));
        if stalled || expired {
            self.report.count(if stalled { "stalled" } else { "expired" });
            self.remove(connection);
        } else {
            self.plan(Duration::from_secs(1), Event::ServerCheck(connection));
        }
    }

    /// Closes the server's side. The id is gone; the client reads the bytes in flight, then the
    /// end.
    pub(super) fn remove(&mut self, connection: usize) {
        let Some(server) = self.connections[connection].server.take() else { return };
        let id = server.connection.id();
        self.tell(|| format!("server: {id} is gone"));
        assert_eq!(self.registry.remove(&id), Some(connection));
        self.connections[connection].down.end();
        self.schedule_down(connection);
    }
}
