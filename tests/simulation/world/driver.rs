//! The driver of a simulated client, which keeps the contract of the core.

use super::*;

impl World {
    pub(super) fn alarm(&mut self, index: usize, alarm: u64) {
        let peer = &mut self.clients[index];
        if peer.alarm != alarm {
            return;
        }
        if peer.alarms_at_once.0 < self.now {
            peer.alarms_at_once = (self.now, 0);
        }
        peer.alarms_at_once.1 += 1;
        assert!(peer.alarms_at_once.1 <= 4, "client {index} keeps its driver spinning");
        peer.client.handle_timeout(self.now);
        self.drain(index);
    }

    /// Carries out all outputs of the client, then sets the alarm.
    pub(super) fn drain(&mut self, index: usize) {
        while let Some(output) = self.clients[index].client.poll_output() {
            self.tell(|| format!("client {index}: {}", brief(&output)));
            self.mix(index, &output);
            match output {
                Output::Dial => self.dial(index),
                Output::Transmit(bytes) => {
                    let connection = self.clients[index].connection.expect("a transport is there");
                    let bytes = self.number(index, connection, bytes);
                    self.connections[connection].up.write(&bytes);
                    self.schedule_up(connection);
                }
                Output::HangUp => {
                    let connection = self.clients[index].connection.take();
                    let connection = connection.expect("a transport is there to hang up");
                    self.connections[connection].up.end();
                    self.schedule_up(connection);
                }
                Output::Event(event) => self.handle_event(index, event),
            }
        }
        let peer = &mut self.clients[index];
        peer.alarm += 1;
        let alarm = Event::Alarm(index, peer.alarm);
        if let Some(due) = peer.client.poll_timeout() {
            let late = self.fault(self.faults.late);
            let delay =
                (due - self.now) + if late { self.rng.up_to_ms(3_000) } else { Duration::ZERO };
            self.plan(delay, alarm);
        }
    }

    pub(super) fn dial(&mut self, index: usize) {
        assert_eq!(self.clients[index].connection, None, "one transport at a time");
        let connection = self.add_connection(index);
        self.clients[index].connection = Some(connection);
        if self.fault(self.faults.unanswered) {
            self.report.count("dials_unanswered");
            return;
        }
        let delay = self.rng.up_to_ms(self.latency_ms);
        self.plan(delay, Event::Dialed(connection));
    }

    pub(super) fn add_connection(&mut self, owner: usize) -> usize {
        self.connections.push(Connection {
            owner,
            up: Pipe::default(),
            down: Rc::default(),
            server: None,
            told: None,
            tap: FrameDecoder::new(),
        });
        self.connections.len() - 1
    }

    pub(super) fn dialed(&mut self, connection: usize) {
        let owner = self.connections[connection].owner;
        if self.clients[owner].connection != Some(connection) {
            // The driver reports nothing of a transport after it hung up.
            return;
        }
        if self.fault(self.faults.refuse) {
            self.report.count("dials_refused");
            self.clients[owner].connection = None;
            self.clients[owner].client.handle_disconnected(self.now);
        } else {
            self.clients[owner].client.handle_connected(self.now);
            self.accept(connection);
        }
        self.drain(owner);
    }

    pub(super) fn arrive_at_client(&mut self, connection: usize) {
        let Some(most) = self.piece(connection, false) else { return };
        let owner = self.connections[connection].owner;
        let arrival = self.connections[connection].down.borrow_mut().read(most);
        if self.clients[owner].connection == Some(connection) {
            match arrival {
                Arrival::Bytes(mut bytes) => {
                    if self.bystander.is_some() {
                        self.streams.entry(connection).or_default().extend_from_slice(&bytes);
                    }
                    self.check_notices(connection, bytes.clone());
                    self.clients[owner].client.handle_bytes(&mut bytes, self.now);
                }
                Arrival::End => {
                    self.clients[owner].connection = None;
                    self.clients[owner].client.handle_disconnected(self.now);
                    self.connections[connection].up.end();
                    self.schedule_up(connection);
                }
                Arrival::Nothing => {}
            }
            self.drain(owner);
        }
        self.schedule_down(connection);
    }

    pub(super) fn handle_event(&mut self, index: usize, event: ClientEvent) {
        match event {
            ClientEvent::Connected { id } => {
                self.report.count("connected");
                // The bytes that brought it may have brought the end besides.
                let now = self.clients[index].client.id();
                assert!(now.is_none_or(|now| now == id));
                if !self.ids_seen.insert(id) {
                    assert!(self.clients[index].ids.contains(&id), "{id} is another client's");
                    self.report.count("resumed");
                }
                self.clients[index].ids.push(id);
            }
            ClientEvent::Message(message) => self.check_message(index, &message),
            ClientEvent::Extended(_) => {
                assert!(self.extension, "the server does not speak it");
                self.report.count("extended");
            }
            ClientEvent::Checked { ticket, outcome } => self.check_outcome(index, ticket, outcome),
            ClientEvent::Undelivered(dropped) => {
                self.report.count(if dropped.is_exact() { "undelivered" } else { "summary" });
            }
            ClientEvent::Renamed { id } => {
                // WELCOME came after the client had stopped waiting for it.
                self.report.count("renamed");
                self.clients[index].ids.push(id);
            }
            ClientEvent::NotExtended => assert!(!self.extension),
            ClientEvent::Closing { code, .. } => assert_eq!(code, CloseCode::TIMED_OUT),
            ClientEvent::Peer(_)
            | ClientEvent::Restarting(_)
            | ClientEvent::CredentialsDue
            | ClientEvent::IceServers(_) => panic!("the server did not grant it: {event:?}"),
            ClientEvent::Disconnected { reason, retry_at } => {
                self.report.count(match reason {
                    DisconnectReason::DialFailed => "dial_failed",
                    DisconnectReason::ConnectionLost => "connection_lost",
                    DisconnectReason::ClosedByServer(_) => "closed_by_server",
                    DisconnectReason::TimedOut => "timed_out",
                    DisconnectReason::ServerMisbehaved => "server_misbehaved",
                    DisconnectReason::Silent => "silent",
                    DisconnectReason::Rotated => panic!("no client rotates"),
                });
                assert!(retry_at >= self.now);
                assert_eq!(self.clients[index].connection, None, "{reason}");
            }
            ClientEvent::Closed { reason } => {
                match reason {
                    CloseReason::ByApplication => self.report.count("closed"),
                    CloseReason::AttemptsExhausted { .. } => self.report.count("gave_up"),
                    CloseReason::NoCredentials => panic!("no client has credentials"),
                    CloseReason::ByServer(_) => panic!("the server serves every client"),
                }
                let peer = &mut self.clients[index];
                assert_eq!(peer.connection, None);
                assert_eq!(*peer.expected_end.get_or_insert(reason), reason, "closed once");
            }
        }
    }

    pub(super) fn mix(&mut self, index: usize, output: &Output) {
        let word = match output {
            Output::Dial => 1,
            Output::Transmit(bytes) => bytes.len() as u64 + 100,
            Output::HangUp => 2,
            Output::Event(ClientEvent::Connected { id }) => u64::from(id.as_bytes()[0]) + 3,
            Output::Event(ClientEvent::Message(message)) => message.body.len() as u64 + 100_000,
            Output::Event(
                ClientEvent::Extended(_)
                | ClientEvent::Checked { .. }
                | ClientEvent::Undelivered(_)
                | ClientEvent::Peer(_)
                | ClientEvent::NotExtended
                | ClientEvent::Renamed { .. }
                | ClientEvent::Restarting(_)
                | ClientEvent::CredentialsDue
                | ClientEvent::IceServers(_)
                | ClientEvent::Closing { .. },
            ) => 6,
            Output::Event(ClientEvent::Disconnected { .. }) => 4,
            Output::Event(ClientEvent::Closed { .. }) => 5,
        };
        let time = self.now.elapsed_since_epoch().as_nanos() as u64;
        let mut mixer = Rng::new(self.report.fingerprint ^ word ^ time ^ ((index as u64) << 48));
        self.report.fingerprint = mixer.next_u64();
    }
}
