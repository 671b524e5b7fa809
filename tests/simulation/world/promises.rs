//! Promises about every message, and about the world in the end.

use super::bystander::NO_CLIENT;
use super::*;

impl World {
    /// A message is intact, from its true sender, for this id, in order and not repeated.
    pub(super) fn check_message(&mut self, index: usize, message: &MessageIn) {
        assert!(self.ids_seen.contains(&message.from), "the sender is known");
        let Some(tag) = tag_of(&message.body) else {
            // Invalid bytes cannot be the cause: to reach a client they would have to guess its id.
            panic!("client {index} received a body that was never sent");
        };
        let to = *self.clients[index].ids.last().expect("it is connected");
        let sent = self.sent.get_mut(&tag).expect("it was sent");
        assert!(!sent.arrived, "{tag:?} arrives once");
        sent.arrived = true;
        assert_eq!((sent.from, sent.to, sent.topic), (message.from, to, message.topic), "{tag:?}");
        assert!(message.body == body(tag, sent.len), "{tag:?} is intact");
        let last = self.last_arrived.insert((message.from, to), tag.1);
        assert!(last.is_none_or(|last| last < tag.1), "{tag:?} overtook {last:?}");
        self.report.count("messages_delivered");
    }

    /// Every client that was not closed is ready, and the registry holds exactly those.
    pub(super) fn check_settled(&self) {
        let mut ready = HashSet::new();
        for (index, peer) in self.clients.iter().enumerate() {
            match (peer.client.state(), peer.expected_end) {
                (ClientState::Ready, None) => {
                    ready.insert(peer.client.id().expect("a ready client has an id"));
                }
                (ClientState::Closed, Some(_)) => {}
                (state, end) => panic!("client {index} is {state:?}, expected end: {end:?}"),
            }
        }
        let is_client = |connection: &usize| self.connections[*connection].owner != NO_CLIENT;
        let known = self.registry.iter().filter(|(_, connection)| is_client(connection));
        let known: HashSet<PeerId> = known.map(|(id, _)| *id).collect();
        assert_eq!(known, ready, "the registered peers are the ready clients");
    }

    /// Each ready client writes to each, itself included.
    pub(super) fn send_all_to_all(&mut self) {
        self.sent.clear();
        let ready: Vec<PeerId> = self.clients.iter().filter_map(|peer| peer.client.id()).collect();
        for index in 0..self.clients.len() {
            if self.clients[index].client.id().is_some() {
                for to in &ready {
                    let len = self.rng.between(8..=200);
                    self.send(index, *to, len);
                }
                self.drain(index);
            }
        }
        assert_eq!(self.sent.len(), ready.len() * ready.len());
    }

    pub(super) fn check_all_arrived(&mut self) {
        assert_eq!(self.worker.waiting(), (0, 0), "no outbox waits, so none is charged for");
        for (tag, sent) in &self.sent {
            assert!(sent.arrived, "message {tag:?} from {} to {} is lost", sent.from, sent.to);
        }
        for peer in &mut self.clients {
            assert_eq!(peer.client.poll_output(), None, "drivers drain");
        }
        assert_eq!(self.tickets, HashMap::new(), "every sender that asked is told");
    }
}
