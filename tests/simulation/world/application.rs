//! What the application of a client does, and the faults that meet it.

use super::*;

impl World {
    pub(super) fn application_step(&mut self, index: usize) {
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
                if self.rng.chance(1) {
                    self.send_to_many(index);
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
                if self.rng.chance(20) {
                    self.close(connection);
                } else {
                    self.cut(connection);
                }
            }
            if self.fault(self.faults.pause) {
                let until = self.now + self.rng.up_to_ms(15_000);
                self.connections[connection].down.borrow_mut().paused_until = until;
                self.tell(|| format!("client {index} reads nothing until {until:?}"));
            }
            // What comes past a client that says HELLO would break its count.
            let counts = self.connections[connection].told.is_some();
            if !counts
                && self.fault(self.faults.rubbish)
                && self.clients[index].client.id().is_some()
            {
                let rubbish = self.rubbish();
                self.connections[connection].up.write(&rubbish);
                self.schedule_up(connection);
            }
        }
        let pause = self.rng.up_to_ms(4_000);
        self.plan(pause, Event::Application(index));
    }

    /// Returns a whole frame that no client sends, or that has no recipient.
    pub(super) fn rubbish(&mut self) -> Vec<u8> {
        let len = self.rng.between(0..=40);
        let mut payload = self.rng.bytes().repeat(3);
        payload.truncate(len);
        if self.rng.chance(30) {
            payload.iter_mut().take(16).for_each(|byte| *byte = 0);
        }
        [&(len as u16).to_le_bytes()[..], &payload].concat()
    }

    pub(super) fn send_something(&mut self, index: usize) {
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
    pub(super) fn send_burst(&mut self, index: usize) {
        let to = self.pick_recipient(index);
        for _ in 0..20 {
            self.send(index, to, 10_000);
        }
    }

    /// Sends to more unknown ids than one DROPPED has entries.
    pub(super) fn send_to_many(&mut self, index: usize) {
        for _ in 0..200 {
            let to = PeerId::from_random(self.rng.bytes());
            self.send(index, to, 8);
        }
    }

    /// Picks a recipient: another client, itself, a former id, or an unknown id.
    pub(super) fn pick_recipient(&mut self, index: usize) -> PeerId {
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

    pub(super) fn send(&mut self, index: usize, to: PeerId, len: usize) {
        let peer = &mut self.clients[index];
        let topic = TopicId(self.rng.next_u64() as u16);
        let tag = (index as u32, peer.number);
        let message = MessageOut::new(to, topic, body(tag, len));
        let wants_verdict = peer.client.extension().is_some() && !tag.1.is_multiple_of(3);
        let sent = if wants_verdict {
            peer.client.send_checked(&message, self.now).map(Some)
        } else {
            peer.client.send(&message).map(|()| None)
        };
        match sent {
            Ok(ticket) => {
                peer.number += 1;
                let from = peer.client.id().expect("a ready client has an id");
                self.sent.insert(tag, Sent { from, to, topic, len, arrived: false, number: None });
                if let Some(ticket) = ticket {
                    self.tickets.insert((index, ticket), tag);
                }
                self.report.count("messages_sent");
            }
            Err(error) => {
                assert_eq!(peer.client.id(), None, "{error}");
            }
        }
    }

    /// Loses the bytes in flight from some byte on. Each end learns of it at its own time.
    pub(super) fn cut(&mut self, connection: usize) {
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
