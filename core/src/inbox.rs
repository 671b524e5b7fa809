//! Messages that have arrived and wait for the application, by topic.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;

use crate::id::TopicId;
use crate::message::MessageIn;

/// How much an [`Inbox`] holds. A message counts its body plus [`InboxConfig::MESSAGE_COST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InboxConfig {
    /// Most bytes that wait on one open topic. Default 1 MiB, sixteen of the largest messages.
    pub topic_capacity: usize,
    /// Most bytes that wait on all topics together that nobody has opened yet. Default 1 MiB.
    pub unclaimed_capacity: usize,
}

impl InboxConfig {
    /// What a message costs besides its body, in bytes, so that empty ones are bounded too.
    pub const MESSAGE_COST: usize = 64;
}

impl Default for InboxConfig {
    fn default() -> Self {
        Self { topic_capacity: 1 << 20, unclaimed_capacity: 1 << 20 }
    }
}

/// Bounded queues of arrived messages, one for each topic that the application has opened.
///
/// A topic that nobody drains fills up alone: what does not fit is dropped and counted, and the
/// other topics go on. (In waddell it blocks the whole client.) Messages for topics that nobody
/// has opened are kept up to a bound until somebody does. (In waddell they are lost.)
///
/// On a full open topic the newest message is dropped: dropping the oldest would lose the offer
/// and keep the candidates. Of the unclaimed messages the oldest is dropped: a topic that nobody
/// will ever open must not take the place of those that somebody will.
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

    /// Opens a topic, if it is not open already: what was kept for it is there to be popped.
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

    /// Closes a topic and forgets its messages; later ones count as unclaimed again.
    pub fn close(&mut self, topic: TopicId) {
        if let Ok(index) = self.find(topic) {
            self.topics.remove(index);
        }
    }

    /// Takes in a message that has arrived. Returns what became of it.
    pub fn push(&mut self, message: MessageIn) -> Arrival {
        match self.find(message.topic) {
            Ok(index) => self.topics[index].push(message, self.config.topic_capacity),
            Err(_) => {
                self.unclaimed_bytes += cost(&message);
                self.unclaimed.push_back(message);
                while self.unclaimed_bytes > self.config.unclaimed_capacity {
                    let Some(oldest) = self.unclaimed.pop_front() else { break };
                    self.unclaimed_bytes -= cost(&oldest);
                    self.unclaimed_lost += 1;
                }
                Arrival::Unclaimed
            }
        }
    }

    /// Takes out the oldest message of an open topic.
    pub fn pop(&mut self, topic: TopicId) -> Option<MessageIn> {
        let index = self.find(topic).ok()?;
        self.topics[index].pop()
    }

    /// Returns how many messages of an open topic were dropped because it was full.
    pub fn lost(&self, topic: TopicId) -> u64 {
        self.find(topic).map_or(0, |index| self.topics[index].lost)
    }

    /// Returns how many messages were dropped that no open topic had claimed.
    pub fn unclaimed_lost(&self) -> u64 {
        self.unclaimed_lost
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

/// What became of a message that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It waits on its open topic.
    Queued,
    /// It is kept until somebody opens its topic.
    Unclaimed,
    /// Its topic is full: dropped and counted.
    Lost,
}

fn cost(message: &MessageIn) -> usize {
    InboxConfig::MESSAGE_COST + message.body.len()
}
