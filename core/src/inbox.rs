//! Received messages that wait for the application, by topic.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;

use crate::id::TopicId;
use crate::message::MessageIn;

/// Limits of an [`Inbox`]. A message counts its body plus [`InboxConfig::MESSAGE_COST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InboxConfig {
    /// Limit of one open topic, in bytes. Default 1 MiB, sixteen of the largest messages.
    pub topic_capacity: usize,
    /// Limit of all topics together that are not open yet, in bytes. Default 1 MiB.
    pub unclaimed_capacity: usize,
}

impl InboxConfig {
    /// Bytes that a message counts in addition to its body, so that empty ones are bounded too.
    pub const MESSAGE_COST: usize = 64;
}

impl Default for InboxConfig {
    fn default() -> Self {
        Self { topic_capacity: 1 << 20, unclaimed_capacity: 1 << 20 }
    }
}

/// Bounded queues of received messages, one for each topic that the application has opened.
///
/// A topic that the application does not read fills up without effect on the others: messages
/// that do not fit are dropped and counted. (In waddell it blocks the whole client.) Messages for
/// a topic that is not open are unclaimed: they are kept, up to a limit, until the application
/// opens the topic. (In waddell they are lost.)
///
/// On a full open topic the newest message is dropped: dropping the oldest would lose the offer
/// and keep the candidates. Of the unclaimed messages the oldest is dropped: a topic that is never
/// opened must not take the place of one that will be.
#[derive(Debug)]
pub struct Inbox {
    config: InboxConfig,
    /// Sorted by topic.
    topics: Vec<Topic>,
    /// In order of arrival.
    unclaimed: VecDeque<MessageIn>,
    unclaimed_bytes: usize,
    unclaimed_lost: u64,
}

#[derive(Debug)]
struct Topic {
    id: TopicId,
    messages: VecDeque<MessageIn>,
    bytes: usize,
    lost: u64,
}

impl Inbox {
    /// Makes an inbox without topics or messages.
    pub fn new(config: InboxConfig) -> Self {
        Self {
            config,
            topics: Vec::new(),
            unclaimed: VecDeque::new(),
            unclaimed_bytes: 0,
            unclaimed_lost: 0,
        }
    }

    /// Opens a topic, if it is not open already. Its unclaimed messages can be popped then.
    pub fn open(&mut self, topic: TopicId) {
        let Err(index) = self.find(topic) else { return };
        let mut opened = Topic { id: topic, messages: VecDeque::new(), bytes: 0, lost: 0 };
        for message in mem::take(&mut self.unclaimed) {
            if message.topic == topic {
                self.unclaimed_bytes -= cost(&message);
                opened.push(message, self.config.topic_capacity);
            } else {
                self.unclaimed.push_back(message);
            }
        }
        self.topics.insert(index, opened);
    }

    /// Closes a topic and drops its messages. Later ones count as unclaimed again.
    pub fn close(&mut self, topic: TopicId) {
        if let Ok(index) = self.find(topic) {
            self.topics.remove(index);
        }
    }

    /// Adds a received message. Returns whether it was kept, and where.
    pub fn push(&mut self, message: MessageIn) -> Arrival {
        match self.find(message.topic) {
            Ok(index) => self.topics[index].push(message, self.config.topic_capacity),
            Err(_) => self.push_unclaimed(message),
        }
    }

    /// Removes and returns the oldest message of an open topic.
    pub fn pop(&mut self, topic: TopicId) -> Option<MessageIn> {
        let index = self.find(topic).ok()?;
        self.topics[index].pop()
    }

    /// Returns how many messages of an open topic were dropped because it was full.
    pub fn lost(&self, topic: TopicId) -> u64 {
        self.find(topic).map_or(0, |index| self.topics[index].lost)
    }

    /// Returns how many unclaimed messages were dropped.
    pub fn unclaimed_lost(&self) -> u64 {
        self.unclaimed_lost
    }

    fn push_unclaimed(&mut self, message: MessageIn) -> Arrival {
        let cost_of_new = cost(&message);
        if cost_of_new > self.config.unclaimed_capacity {
            // It would push out all the others and then itself.
            self.unclaimed_lost += 1;
            return Arrival::Lost;
        }
        while self.unclaimed_bytes + cost_of_new > self.config.unclaimed_capacity {
            let Some(oldest) = self.unclaimed.pop_front() else { break };
            self.unclaimed_bytes -= cost(&oldest);
            self.unclaimed_lost += 1;
        }
        self.unclaimed_bytes += cost_of_new;
        self.unclaimed.push_back(message);
        Arrival::Unclaimed
    }

    fn find(&self, topic: TopicId) -> Result<usize, usize> {
        self.topics.binary_search_by_key(&topic, |topic| topic.id)
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new(InboxConfig::default())
    }
}

impl Topic {
    fn push(&mut self, message: MessageIn, capacity: usize) -> Arrival {
        let cost = cost(&message);
        if self.bytes + cost > capacity {
            self.lost += 1;
            return Arrival::Lost;
        }
        self.bytes += cost;
        self.messages.push_back(message);
        Arrival::Queued
    }

    fn pop(&mut self) -> Option<MessageIn> {
        let message = self.messages.pop_front()?;
        self.bytes -= cost(&message);
        if self.messages.is_empty() {
            self.messages = VecDeque::new();
        }
        Some(message)
    }
}

/// What the inbox did with a received message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It is queued on its open topic.
    Queued,
    /// It is kept until the application opens its topic.
    Unclaimed,
    /// It is dropped and counted: its topic is full, or it alone exceeds the limit of unclaimed
    /// messages.
    Lost,
}

fn cost(message: &MessageIn) -> usize {
    InboxConfig::MESSAGE_COST + message.body.len()
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;
    use crate::id::PeerId;

    const OPEN: TopicId = TopicId(1);
    const OTHER: TopicId = TopicId(2);

    #[test]
    fn messages_come_out_by_topic_in_order_of_arrival() {
        let mut inbox = Inbox::default();
        inbox.open(OTHER);
        inbox.open(OPEN);
        for (topic, body) in [(OPEN, b"a"), (OTHER, b"b"), (OPEN, b"c"), (OTHER, b"d")] {
            assert_eq!(inbox.push(message(topic, body)), Arrival::Queued);
        }
        assert_eq!(bodies(&mut inbox, OPEN), [b"a", b"c"]);
        assert_eq!(bodies(&mut inbox, OTHER), [b"b", b"d"]);
    }

    #[test]
    fn opening_a_topic_claims_what_was_kept_for_it_in_order() {
        let mut inbox = Inbox::default();
        for (topic, body) in [(OPEN, b"a"), (OTHER, b"b"), (OPEN, b"c"), (OTHER, b"d")] {
            assert_eq!(inbox.push(message(topic, body)), Arrival::Unclaimed);
        }
        inbox.open(OPEN);
        assert_eq!(inbox.push(message(OPEN, b"e")), Arrival::Queued);
        assert_eq!(bodies(&mut inbox, OPEN), [b"a", b"c", b"e"]);
        inbox.open(OTHER);
        assert_eq!(bodies(&mut inbox, OTHER), [b"b", b"d"]);
    }

    #[test]
    fn topics_that_are_not_open_give_nothing() {
        let mut inbox = Inbox::default();
        inbox.push(message(OPEN, b"a"));
        assert_eq!(inbox.pop(OPEN), None);
        assert_eq!(inbox.lost(OPEN), 0);
    }

    #[test]
    fn opening_an_open_topic_changes_nothing() {
        let mut inbox = Inbox::default();
        inbox.open(OPEN);
        inbox.push(message(OPEN, b"a"));
        inbox.open(OPEN);
        assert_eq!(bodies(&mut inbox, OPEN), [b"a"]);
    }

    #[test]
    fn full_topic_drops_the_newest_and_the_others_go_on() {
        let mut inbox = Inbox::new(room_for(2));
        inbox.open(OPEN);
        inbox.open(OTHER);
        assert_eq!(inbox.push(message(OPEN, b"a")), Arrival::Queued);
        assert_eq!(inbox.push(message(OPEN, b"b")), Arrival::Queued);
        assert_eq!(inbox.push(message(OPEN, b"c")), Arrival::Lost);
        assert_eq!(inbox.push(message(OTHER, b"d")), Arrival::Queued);
        assert_eq!((inbox.lost(OPEN), inbox.lost(OTHER)), (1, 0));
        assert_eq!(bodies(&mut inbox, OPEN), [b"a", b"b"]);
        assert_eq!(bodies(&mut inbox, OTHER), [b"d"]);
    }

    #[test]
    fn popping_makes_room_for_as_much_as_was_popped() {
        let mut inbox = Inbox::new(room_for(2));
        inbox.open(OPEN);
        for round in 0..100 {
            assert_eq!(inbox.push(message(OPEN, b"a")), Arrival::Queued, "{round}");
            assert_eq!(inbox.push(message(OPEN, b"b")), Arrival::Queued, "{round}");
            assert_eq!(inbox.push(message(OPEN, b"c")), Arrival::Lost, "{round}");
            assert_eq!(bodies(&mut inbox, OPEN), [b"a", b"b"]);
        }
        assert_eq!(inbox.lost(OPEN), 100);
    }

    #[test]
    fn empty_bodies_are_bounded_too() {
        let mut inbox = Inbox::new(InboxConfig {
            topic_capacity: 10 * InboxConfig::MESSAGE_COST,
            unclaimed_capacity: 5 * InboxConfig::MESSAGE_COST,
        });
        inbox.open(OPEN);
        for _ in 0..100 {
            inbox.push(message(OPEN, b""));
            inbox.push(message(OTHER, b""));
        }
        assert_eq!((inbox.lost(OPEN), inbox.unclaimed_lost()), (90, 95));
        inbox.open(OTHER);
        assert_eq!((bodies(&mut inbox, OPEN).len(), bodies(&mut inbox, OTHER).len()), (10, 5));
    }

    #[test]
    fn unclaimed_messages_are_bounded_together_and_the_oldest_goes_first() {
        let mut inbox = Inbox::new(room_for(2));
        for (topic, body) in [(OTHER, b"a"), (OPEN, b"b"), (OPEN, b"c")] {
            assert_eq!(inbox.push(message(topic, body)), Arrival::Unclaimed);
        }
        assert_eq!(inbox.unclaimed_lost(), 1);
        inbox.open(OTHER);
        inbox.open(OPEN);
        assert_eq!(bodies(&mut inbox, OTHER), [b""; 0]);
        assert_eq!(bodies(&mut inbox, OPEN), [b"b", b"c"]);
        // The claimed messages made room.
        inbox.push(message(TopicId(3), b"d"));
        inbox.push(message(TopicId(3), b"e"));
        assert_eq!(inbox.unclaimed_lost(), 1);
    }

    /// Regression: it pushed out all unclaimed messages and itself, and was reported as kept.
    #[test]
    fn unclaimed_message_larger_than_the_bound_drives_nothing_out() {
        let mut inbox = Inbox::new(room_for(2));
        inbox.push(message(OPEN, b"a"));
        assert_eq!(inbox.push(message(OPEN, &[0; 1000])), Arrival::Lost);
        assert_eq!(inbox.unclaimed_lost(), 1);
        inbox.open(OPEN);
        assert_eq!(bodies(&mut inbox, OPEN), [b"a"]);
    }

    #[test]
    fn claiming_more_than_a_topic_holds_drops_the_newest() {
        let mut inbox =
            Inbox::new(InboxConfig { topic_capacity: room_for(2).topic_capacity, ..room_for(3) });
        for body in [b"a", b"b", b"c"] {
            inbox.push(message(OPEN, body));
        }
        inbox.open(OPEN);
        assert_eq!(inbox.lost(OPEN), 1);
        assert_eq!(bodies(&mut inbox, OPEN), [b"a", b"b"]);
    }

    #[test]
    fn closed_topic_forgets_its_messages_and_later_ones_are_unclaimed() {
        let mut inbox = Inbox::new(room_for(1));
        inbox.open(OPEN);
        inbox.push(message(OPEN, b"a"));
        inbox.push(message(OPEN, b"b"));
        inbox.close(OPEN);
        inbox.close(OTHER);
        assert_eq!(inbox.lost(OPEN), 0);
        assert_eq!(inbox.push(message(OPEN, b"c")), Arrival::Unclaimed);
        inbox.open(OPEN);
        assert_eq!(bodies(&mut inbox, OPEN), [b"c"]);
    }

    /// Limits of `count` messages with bodies of one byte.
    fn room_for(count: usize) -> InboxConfig {
        let bytes = count * (InboxConfig::MESSAGE_COST + 1);
        InboxConfig { topic_capacity: bytes, unclaimed_capacity: bytes }
    }

    fn message(topic: TopicId, body: &[u8]) -> MessageIn {
        MessageIn { from: PeerId::from_random([7; 16]), topic, body: body.to_vec().into() }
    }

    fn bodies(inbox: &mut Inbox, topic: TopicId) -> Vec<Vec<u8>> {
        let mut bodies = vec![];
        while let Some(message) = inbox.pop(topic) {
            assert_eq!(message.topic, topic);
            bodies.push(message.body.to_vec());
        }
        bodies
    }
}
