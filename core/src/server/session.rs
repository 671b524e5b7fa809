//! The state of a connection whose client speaks the extension.

use alloc::vec::Vec;

use super::contacts::Contacts;
use super::verdicts::Verdicts;
use crate::control::dropped::Dropped;
use crate::control::hello::Hello;
use crate::control::notice::{Handled, Notice};
use crate::control::request::Request;
use crate::control::{Capabilities, ControlError, DropReason};
use crate::id::{PeerId, TopicId};

/// The state of a connection whose client speaks the extension.
///
/// The client and the server both number the frames after HELLO, whatever they are.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) granted: Capabilities,
    /// Number of the frame that is being handled, or was handled last.
    number: u64,
    verdicts: Verdicts,
    /// Whether SYNC came after the last HANDLED.
    owes_handled: bool,
    /// Made at the first message of a client with [`Capabilities::PEERS`].
    contacts: Option<Contacts>,
    /// The peers of WATCH, at most [`MAX_WATCHED`].
    watched: Vec<PeerId>,
}

/// Why a control frame has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IgnoredControl {
    /// The client has not said HELLO, so the frame means nothing.
    NotExtended,
    /// Its kind is unknown.
    UnknownKind,
    /// It is malformed.
    Malformed,
    /// It is a HELLO, and not the first frame of the connection.
    LateHello,
    /// It needs a part of the extension that the client was not granted.
    NotGranted,
    /// It asks to watch more peers than one connection may.
    TooManyWatched,
}

impl Session {
    pub(super) fn new(hello: &Hello<'_>, granted: Capabilities) -> Self {
        Self {
            granted,
            number: hello.first_number.wrapping_sub(1),
            verdicts: Verdicts::default(),
            owes_handled: false,
            contacts: None,
            watched: Vec::new(),
        }
    }

    /// Counts a frame.
    pub(super) fn count(&mut self) {
        self.number = self.number.wrapping_add(1);
    }

    /// Returns whether the client has not written to that peer before, as far as is remembered.
    pub(super) fn is_first_contact(&mut self, peer: PeerId) -> bool {
        self.granted.contains(Capabilities::PEERS)
            && self.contacts.get_or_insert_default().add(peer)
    }

    /// Makes every peer a first contact again.
    pub(super) fn forget_contacts(&mut self) {
        self.contacts = None;
    }

    /// Returns the peers that the client watches.
    pub(super) fn watched(&self) -> &[PeerId] {
        &self.watched
    }

    /// Records that the frame counted last was dropped.
    pub(super) fn dropped(&mut self, recipient: PeerId, topic: TopicId, reason: DropReason) {
        if let Some(contacts) = &mut self.contacts
            && matches!(reason, DropReason::UnknownRecipient | DropReason::RecipientAway)
        {
            // If the peer comes, it does not know that this client has written to it.
            contacts.remove(recipient);
        }
        if self.granted.contains(Capabilities::VERDICTS) {
            self.verdicts.add(self.number, recipient, topic, reason);
        }
    }

    /// Handles a control frame, except for what the driver has to do.
    pub(super) fn handle_control<'a>(
        &mut self,
        body: &'a [u8],
    ) -> Result<Request<'a>, IgnoredControl> {
        let request = Request::decode(body).map_err(|error| match error {
            ControlError::UnknownKind(_) => IgnoredControl::UnknownKind,
            ControlError::Malformed => IgnoredControl::Malformed,
        });
        let checked = request.and_then(|request| self.check(request));
        match checked {
            Ok(Request::Sync { .. }) => self.owes_handled = true,
            Ok(Request::Watch(peers)) => {
                for peer in peers.iter() {
                    if !self.watched.contains(&peer) {
                        self.watched.push(peer);
                    }
                }
            }
            Ok(Request::Unwatch(peers)) => {
                self.watched.retain(|watched| peers.iter().all(|peer| peer != *watched));
            }
            Ok(
                Request::Hello(_) | Request::Renew | Request::Auth(_) | Request::Ice | Request::Bye,
            ) => {}
            Err(_) => {
                self.dropped(PeerId::NIL, TopicId::CONTROL, DropReason::ReservedRecipient);
            }
        }
        checked
    }

    fn check<'a>(&self, request: Request<'a>) -> Result<Request<'a>, IgnoredControl> {
        let needed = match request {
            Request::Hello(_) => return Err(IgnoredControl::LateHello),
            Request::Sync { .. } => Capabilities::VERDICTS,
            Request::Watch(peers) => {
                let new = peers.iter().filter(|peer| !self.watched.contains(peer)).count();
                if self.watched.len() + new > MAX_WATCHED {
                    return Err(IgnoredControl::TooManyWatched);
                }
                Capabilities::PEERS
            }
            Request::Unwatch(_) => Capabilities::PEERS,
            Request::Renew => Capabilities::RENEW,
            Request::Auth(_) => Capabilities::AUTH,
            Request::Ice => Capabilities::ICE,
            Request::Bye => Capabilities::NONE,
        };
        if self.granted.contains(needed) { Ok(request) } else { Err(IgnoredControl::NotGranted) }
    }

    /// Returns the number of the frame that was handled last.
    pub(super) fn handled(&self) -> u64 {
        self.number
    }

    /// Returns whether there is something to tell the client.
    pub(super) fn has_notice(&self) -> bool {
        self.owes_handled || !self.verdicts.entries().is_empty()
    }

    /// Appends the frames that tell the client of its dropped frames, and answer its SYNC.
    pub(super) fn encode_notices(&self, out: &mut Vec<u8>) {
        if !self.verdicts.entries().is_empty() {
            Dropped::encode_all(self.verdicts.entries(), out);
        }
        if self.owes_handled {
            let complete = self.verdicts.is_complete();
            Notice::Handled(Handled { upto: self.number, complete }).encode(out);
        }
    }

    /// Records that those frames are on their way to the client. Returns how many dropped frames
    /// they tell of.
    pub(super) fn notices_sent(&mut self) -> u64 {
        let told = self.verdicts.entries().iter().map(|entry| u64::from(entry.count)).sum();
        self.verdicts.clear();
        if self.owes_handled {
            self.verdicts.set_complete();
            self.owes_handled = false;
        }
        told
    }
}

/// Most peers that one connection may watch.
const MAX_WATCHED: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::MAX_ENTRIES;
    use crate::message::HEADER_LEN;

    /// Returns the notices that a session has for its client.
    fn notices(session: &Session) -> Vec<Vec<u8>> {
        let mut bytes = Vec::new();
        session.encode_notices(&mut bytes);
        let mut rest = &bytes[..];
        let mut bodies = Vec::new();
        while let Some((prefix, after)) = rest.split_first_chunk() {
            let (payload, after) = after.split_at(u16::from_le_bytes(*prefix).into());
            bodies.push(payload[HEADER_LEN..].to_vec());
            rest = after;
        }
        bodies
    }

    fn session(granted: Capabilities) -> Session {
        Session::new(&Hello::new(granted), granted)
    }

    fn body(request: Request<'_>) -> Vec<u8> {
        let mut frame = Vec::new();
        request.encode(&mut frame);
        frame.split_off(2 + HEADER_LEN)
    }

    #[test]
    fn handled_comes_after_the_verdicts_on_every_frame_up_to_it() {
        let mut session = session(Capabilities::VERDICTS);
        session.count();
        session.dropped(PeerId::NIL, TopicId(1), DropReason::ShortFrame);
        session.count();
        let sync = body(Request::Sync { seen: 0 });
        assert_eq!(session.handle_control(&sync), Ok(Request::Sync { seen: 0 }));
        session.count();
        session.dropped(PeerId::NIL, TopicId(1), DropReason::ShortFrame);
        let bodies = notices(&session);
        let Ok(Notice::Dropped(entries)) = Notice::decode(&bodies[0]) else { panic!() };
        let numbers: Vec<_> = entries.iter().map(|entry| entry.first).collect();
        assert_eq!(numbers, [1, 3]);
        let handled = Handled { upto: 3, complete: true };
        assert_eq!(Notice::decode(&bodies[1]), Ok(Notice::Handled(handled)));
        assert_eq!(bodies.len(), 2);
    }

    #[test]
    fn notices_stay_until_they_are_sent_and_come_once() {
        let mut session = session(Capabilities::VERDICTS);
        assert!(!session.has_notice());
        session.count();
        session.dropped(PeerId::NIL, TopicId(1), DropReason::ShortFrame);
        assert!(session.has_notice());
        assert_eq!(notices(&session), notices(&session));
        assert_eq!(session.notices_sent(), 1);
        assert!(!session.has_notice());
        assert_eq!(notices(&session), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn handled_is_not_complete_if_a_dropped_frame_could_not_be_told() {
        let mut session = session(Capabilities::VERDICTS);
        for number in 0..=MAX_ENTRIES as u64 {
            session.number = number << 33;
            session.dropped(PeerId::NIL, TopicId(1), DropReason::ShortFrame);
        }
        session.notices_sent();
        let sync = body(Request::Sync { seen: 0 });
        for complete in [false, true] {
            assert!(session.handle_control(&sync).is_ok());
            let bodies = notices(&session);
            let handled = Handled { upto: session.number, complete };
            assert_eq!(Notice::decode(&bodies[0]), Ok(Notice::Handled(handled)));
            session.notices_sent();
        }
    }

    #[test]
    fn without_verdicts_nothing_is_told() {
        let mut session = session(Capabilities::PEERS);
        session.count();
        session.dropped(PeerId::NIL, TopicId(1), DropReason::ShortFrame);
        let sync = body(Request::Sync { seen: 0 });
        assert_eq!(session.handle_control(&sync), Err(IgnoredControl::NotGranted));
        assert!(!session.has_notice());
    }

    #[test]
    fn control_frames_that_mean_nothing_are_told_as_dropped() {
        let hello = body(Request::Hello(Hello::new(Capabilities::VERDICTS)));
        for (body, expected) in [
            (&hello[..], IgnoredControl::LateHello),
            (b"", IgnoredControl::Malformed),
            (b"\x02", IgnoredControl::Malformed),
            (b"\x7f", IgnoredControl::UnknownKind),
            (b"\x05", IgnoredControl::NotGranted),
        ] {
            let mut session = session(Capabilities::VERDICTS);
            session.count();
            assert_eq!(session.handle_control(body), Err(expected));
            let bodies = notices(&session);
            let Ok(Notice::Dropped(entries)) = Notice::decode(&bodies[0]) else { panic!() };
            let entry = entries.iter().next().unwrap();
            assert_eq!((entry.first, entry.reason), (1, DropReason::ReservedRecipient));
        }
    }
}
