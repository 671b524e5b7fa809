//! A client that speaks the extension among clients of 2015, and disturbs nothing.

use waddell_core::{Capabilities, Hello, Request};

use super::*;

/// A client that says HELLO, writes to all others, and asks what became of that. It has random
/// numbers of its own and no latency, so that the others live the same life whatever it is told.
#[derive(Debug)]
pub(super) struct Bystander {
    rng: Rng,
    number: u32,
}

const INTERVAL: Duration = Duration::from_millis(300);
/// The owner of its connection: no client's number.
pub(super) const NO_CLIENT: usize = usize::MAX;
/// Its number in tags.
const TAG: u32 = u32::MAX;

impl World {
    pub(super) fn add_bystander(&mut self, seed: u64) {
        assert!(self.connections.is_empty(), "it has the first connection");
        self.add_connection(NO_CLIENT);
        self.accept(0);
        self.ids_seen.extend(self.registry.keys());
        self.bystander = Some(Bystander { rng: Rng::new(!seed), number: 0 });
        let mut hello = Vec::new();
        Hello::new(Capabilities::from_bits(u32::MAX)).encode(&mut hello);
        self.serve(0, hello);
        self.plan(INTERVAL, Event::Bystander);
    }

    /// Writes to each client and to unknown ids, and reads everything.
    pub(super) fn bystander_step(&mut self) {
        let Some(mut bystander) = self.bystander.take() else { return };
        let mut frames = Vec::new();
        let from = self.connections[0].server.as_ref().expect("it stays").listed;
        for index in 0..=self.clients.len() {
            let known = self.clients.get(index).and_then(|peer| peer.ids.last().copied());
            let to = known.unwrap_or_else(|| PeerId::from_random(bystander.rng.bytes()));
            let tag = (TAG, bystander.number);
            bystander.number += 1;
            let (topic, len) = (TopicId(7), bystander.rng.between(8..=3_000));
            MessageOut::new(to, topic, body(tag, len)).encode(&mut frames).expect("it is short");
            self.sent.insert(tag, Sent { from, to, topic, len, arrived: false, number: None });
        }
        Request::Sync { seen: 0 }.encode(&mut frames);
        self.serve(0, frames);
        while let Arrival::Bytes(bytes) = self.connections[0].down.borrow_mut().read(usize::MAX) {
            self.bystander_read += bytes.len();
        }
        self.bystander = Some(bystander);
        if self.faulty() {
            self.plan(INTERVAL, Event::Bystander);
        }
    }
}
