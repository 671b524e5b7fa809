//! The peers whose state the client wants to know, and its latest messages to them.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::session::encode;
use super::watch_error::TooManyWatched;
use crate::control::dropped::Dropped;
use crate::control::notice::Handled;
use crate::control::peer::{PeerIds, PeerNotice};
use crate::control::request::Request;
use crate::id::PeerId;

/// The peers whose state the client wants to know, and its latest messages to them.
#[derive(Debug)]
pub(super) struct Peers {
    /// Those of [`Client::watch`](crate::Client::watch), over all connections.
    watched: Vec<PeerId>,
    /// Those that were removed while there was no connection. If the client resumes, the server
    /// still watches them.
    unwatched: Vec<PeerId>,
    /// Those to which the client has written under its present id, the latest last.
    contacts: VecDeque<PeerId>,
    /// Whether the server is to be asked about all of them.
    ask_anew: bool,
    /// The latest messages under the present id, by number.
    sent: VecDeque<Sent>,
    /// Messages that the server accepted and could not pass on, and that are not found in `sent`
    /// yet: the server may still tell which of them it dropped before.
    losses: Vec<Loss>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    number: u64,
    /// The nil id once it is known what became of the message.
    to: PeerId,
}

/// The last `count` messages to a peer, of those up to a number, were lost.
#[derive(Clone, Copy, Debug)]
struct Loss {
    to: PeerId,
    count: u32,
    upto: u64,
}

impl Peers {
    pub(super) fn new() -> Self {
        Self {
            watched: Vec::new(),
            unwatched: Vec::new(),
            contacts: VecDeque::new(),
            ask_anew: false,
            sent: VecDeque::new(),
            losses: Vec::new(),
        }
    }

    /// Adds a peer to watch.
    pub(super) fn watch(&mut self, id: PeerId) -> Result<(), TooManyWatched> {
        if !self.watched.contains(&id) {
            if self.watched.len() == MAX_WATCHED {
                return Err(TooManyWatched);
            }
            self.watched.push(id);
        }
        Ok(())
    }

    /// Removes a peer that is watched. Returns whether it was.
    pub(super) fn unwatch(&mut self, id: PeerId) -> bool {
        let before = self.watched.len();
        self.watched.retain(|watched| *watched != id);
        self.watched.len() < before
    }

    /// Remembers to tell the server of a peer that is watched no more.
    pub(super) fn unwatch_later(&mut self, id: PeerId) {
        if self.unwatched.len() < MAX_WATCHED {
            self.unwatched.push(id);
        }
    }

    /// Returns whether any peer is watched.
    pub(super) fn has_watched(&self) -> bool {
        !self.watched.is_empty()
    }

    /// Records that a message was sent as the frame with that number, on a connection with
    /// notices.
    // Out of line: most connections have no notices.
    #[inline(never)]
    pub(super) fn handle_sent(&mut self, to: PeerId, number: u64) {
        if self.sent.len() == MAX_SENT {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent { number, to });
        if self.contacts.back() != Some(&to) {
            self.contacts.retain(|contact| *contact != to);
            if self.contacts.len() == MAX_WATCHED {
                self.contacts.pop_front();
            }
            self.contacts.push_back(to);
        }
    }

    /// Records that the server has granted notices.
    pub(super) fn begin(&mut self) {
        self.ask_anew = true;
    }

    /// Records that notices were lost.
    pub(super) fn handle_gap(&mut self) {
        self.ask_anew = true;
    }

    /// Forgets what was sent under an id that is no more.
    pub(super) fn end(&mut self) {
        self.unwatched.clear();
        self.contacts.clear();
        self.sent.clear();
        self.losses.clear();
    }

    /// Forgets the messages that the server dropped: they were not accepted.
    pub(super) fn handle_dropped(&mut self, entry: &Dropped) {
        if entry.is_exact() {
            let dropped = entry.first..=entry.last();
            for sent in self.sent.iter_mut().filter(|sent| dropped.contains(&sent.number)) {
                sent.to = PeerId::NIL;
            }
        }
    }

    /// Records a notice, and the number of the last frame that was sent before it came.
    pub(super) fn handle_notice(&mut self, notice: PeerNotice, upto: u64) {
        let PeerNotice { id: to, lost: count, .. } = notice;
        if count > 0 && !to.is_nil() && self.losses.len() < MAX_WATCHED {
            self.losses.push(Loss { to, count, upto });
        }
    }

    /// Returns whether SYNC is needed to find the lost messages.
    pub(super) fn has_losses(&self) -> bool {
        !self.losses.is_empty()
    }

    /// Handles HANDLED. Returns the numbers of the messages that were lost, in any order: those
    /// that are left, since every DROPPED about earlier frames has come.
    pub(super) fn handle_handled(&mut self, handled: Handled) -> Vec<u64> {
        let mut lost = Vec::new();
        for loss in core::mem::take(&mut self.losses) {
            if loss.upto > handled.upto {
                self.losses.push(loss);
                continue;
            }
            if !handled.complete {
                continue;
            }
            for _message in 0..loss.count {
                let is_lost = |sent: &&mut Sent| sent.to == loss.to && sent.number <= loss.upto;
                let Some(last) = self.sent.iter_mut().rfind(is_lost) else { break };
                last.to = PeerId::NIL;
                lost.push(last.number);
            }
        }
        lost
    }

    /// Returns the frames that ask about all peers anew; none if that is not due.
    ///
    /// Those to which the client only wrote are no longer watched right after: the server goes on
    /// telling about them, and they take no place from the others.
    pub(super) fn poll_requests(&mut self) -> Vec<Bytes> {
        let mut frames = Vec::new();
        if !core::mem::take(&mut self.ask_anew) {
            return frames;
        }
        let mut all = bytes(&self.watched);
        let watched_len = all.len();
        for contact in self.contacts.iter().rev() {
            if all.len() < MAX_WATCHED * PeerId::LEN && !self.watched.contains(contact) {
                all.extend_from_slice(contact.as_bytes());
            }
        }
        let unwatched = bytes(&core::mem::take(&mut self.unwatched));
        let contacts = all.get(watched_len..).unwrap_or_default();
        for (ids, request) in [
            (&unwatched[..], Request::Unwatch as fn(_) -> _),
            (&all, Request::Watch),
            (contacts, Request::Unwatch),
        ] {
            if !ids.is_empty() {
                frames.push(encode(&request(PeerIds::from_bytes(ids))));
            }
        }
        frames
    }
}

/// Returns the frame that asks about one peer.
pub(super) fn watch(id: PeerId) -> Bytes {
    encode(&Request::Watch(PeerIds::from(&id)))
}

/// Returns the frame that asks about one peer no more.
pub(super) fn unwatch(id: PeerId) -> Bytes {
    encode(&Request::Unwatch(PeerIds::from(&id)))
}

/// Returns ids one after the other.
fn bytes(ids: &[PeerId]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for id in ids {
        bytes.extend_from_slice(id.as_bytes());
    }
    bytes
}

/// Most peers that a server watches for one connection.
pub(super) const MAX_WATCHED: usize = 64;

/// Most messages that are remembered.
const MAX_SENT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::DropReason;
    use crate::control::peer::PeerState;
    use crate::id::TopicId;

    #[test]
    fn a_notice_about_the_nil_id_finds_no_message() {
        let to = PeerId::from_bytes([1; PeerId::LEN]);
        let (reason, topic) = (DropReason::UnknownRecipient, TopicId(1));
        let mut peers = Peers::new();
        peers.handle_sent(to, 1);
        let dropped = Dropped { first: 1, span: 1, count: 1, reason, topic, recipient: to };
        peers.handle_dropped(&dropped);
        let nil = PeerNotice { id: PeerId::NIL, state: PeerState::Here, lost: u32::MAX };
        peers.handle_notice(nil, 1);
        assert!(peers.handle_handled(Handled { upto: 1, complete: true }).is_empty());
    }
}
