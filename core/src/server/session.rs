//! The state of a connection whose client speaks the extension.

use alloc::vec::Vec;
use core::mem;

use super::contacts::Contacts;
use super::kept::KeptVerdicts;
use super::verdicts::Verdicts;
use super::{Decision, Rejected};
use crate::control::dropped::Dropped;
use crate::control::hello::Hello;
use crate::control::notice::{Handled, Notice};
use crate::control::request::Request;
use crate::control::{Capabilities, ControlError, DropReason, MAX_ENTRIES};
use crate::id::{PeerId, TopicId};

/// The state of a connection whose client speaks the extension.
///
/// The client and the server both number the frames after HELLO, whatever they are.
#[derive(Debug)]
pub struct Session {
    pub(super) granted: Capabilities,
    /// Number of the first frame after HELLO.
    first: u64,
    /// Number of the frame that is being handled, or was handled last.
    number: u64,
    verdicts: Verdicts,
    kept: KeptVerdicts,
    /// `upto` of the last HANDLED that the client has got, as it said last.
    seen: u64,
    /// What is to be told about the connections before this one, before anything else.
    about_former: Option<AboutFormer>,
    /// Whether frames before `first` were lost with a connection or have an unknown fate.
    follows_gap: bool,
    /// Whether SYNC came after the last HANDLED.
    owes_handled: bool,
    /// Made at the first message of a client with [`Capabilities::PEERS`].
    contacts: Option<Contacts>,
    /// The peers of WATCH, at most [`MAX_WATCHED`].
    watched: Vec<PeerId>,
    /// Whether the client has said that it will not come back.
    said_bye: bool,
}

/// What a client that resumes is told about its connections before.
#[derive(Debug)]
struct AboutFormer {
    /// At most [`MAX_ABOUT_FORMER`].
    dropped: Vec<Dropped>,
    handled: Handled,
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
            first: hello.first_number,
            number: hello.first_number.wrapping_sub(1),
            verdicts: Verdicts::default(),
            kept: KeptVerdicts::default(),
            seen: hello.seen,
            about_former: None,
            follows_gap: false,
            owes_handled: false,
            contacts: None,
            watched: Vec::new(),
            said_bye: false,
        }
    }

    /// Continues after the session of the client's connection before, of which nothing may be
    /// known.
    pub(super) fn resume(&mut self, former: Option<Self>) {
        let mut dropped = Vec::new();
        let mut handled = Handled { upto: self.first.wrapping_sub(1), complete: false };
        if let Some(former) = former {
            let (unseen, are_all) = former.kept.unseen(self.seen);
            dropped = unseen;
            // Those about which the connection before was itself to tell.
            dropped.extend(former.about_former.iter().flat_map(|about| &about.dropped));
            dropped.extend_from_slice(former.verdicts.entries());
            // One HANDLED cannot say that some frames were lost and later ones were not. So the
            // client must have been told of the loss: it has, if it saw a later HANDLED.
            let knows_gap = !former.follows_gap || self.seen >= former.first;
            // A client that comes back again and again and never reads adds some each time.
            let surplus = dropped.len().saturating_sub(MAX_ABOUT_FORMER);
            dropped.drain(..surplus);
            let had_verdicts = former.granted.contains(Capabilities::VERDICTS);
            let complete = are_all
                && surplus == 0
                && knows_gap
                && had_verdicts
                && former.verdicts.is_complete();
            // A client that has its token and not its numbers gives some numbers again.
            if former.number < self.first {
                handled = Handled { upto: former.number, complete };
            }
            self.watched = former.watched;
        }
        self.follows_gap = !handled.complete || handled.upto.wrapping_add(1) != self.first;
        if self.granted.contains(Capabilities::VERDICTS) {
            self.about_former = Some(AboutFormer { dropped, handled });
        }
    }

    /// Removes and returns what the client's next connection continues with.
    pub(super) fn split_off(&mut self) -> Self {
        let rest = Self {
            granted: self.granted,
            first: self.first,
            number: self.number,
            verdicts: Verdicts::default(),
            kept: KeptVerdicts::default(),
            seen: self.seen,
            about_former: None,
            follows_gap: false,
            owes_handled: false,
            contacts: None,
            watched: Vec::new(),
            said_bye: self.said_bye,
        };
        mem::replace(self, rest)
    }

    /// Returns how many bytes of memory the session holds, roughly.
    pub fn memory(&self) -> usize {
        let about_former = self.about_former.as_ref().map_or(0, |about| about.dropped.len());
        let entries = self.kept.len() + self.verdicts.entries().len() + about_former;
        size_of::<Self>() + entries * size_of::<Dropped>() + self.watched.len() * PeerId::LEN
    }

    /// Returns whether the client may come back under the same id.
    pub(super) fn may_resume(&self) -> bool {
        self.granted.contains(Capabilities::RESUME) && !self.said_bye
    }

    /// Counts a frame with that payload, and notes what became of it. Returns the decision, which
    /// may be that the recipient is a new one.
    pub(super) fn note(&mut self, decision: Decision, payload: &[u8]) -> Decision {
        self.count();
        match decision {
            Decision::Forward(to) if self.is_first_contact(to) => Decision::FirstContact(to),
            Decision::Reject(rejected) => {
                let (topic, reason) = match rejected {
                    Rejected::ShortFrame { .. } => (TopicId::UNKNOWN, DropReason::ShortFrame),
                    Rejected::ReservedRecipient => {
                        (topic_of(payload), DropReason::ReservedRecipient)
                    }
                };
                self.dropped(PeerId::NIL, topic, reason);
                decision
            }
            Decision::Forward(_)
            | Decision::FirstContact(_)
            | Decision::KeepAlive
            | Decision::Control => decision,
        }
    }

    /// Counts a frame.
    fn count(&mut self) {
        self.number = self.number.wrapping_add(1);
    }

    /// Returns whether the client has not written to that peer before, as far as is remembered.
    fn is_first_contact(&mut self, peer: PeerId) -> bool {
        self.granted.contains(Capabilities::PEERS)
            && self.contacts.get_or_insert_default().add(peer)
    }

    /// Makes every peer a first contact again.
    pub(super) fn forget_contacts(&mut self) {
        self.contacts = None;
    }

    /// Returns the peers that the client watches; at most 64.
    pub fn watched(&self) -> &[PeerId] {
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
            Ok(Request::Sync { seen }) => {
                self.owes_handled = true;
                self.seen = seen;
                self.kept.confirm(seen);
            }
            Ok(Request::Bye) => self.said_bye = true,
            Ok(Request::Watch(peers)) => {
                for peer in peers.iter() {
                    if !self.watched.contains(&peer) {
                        self.watched.push(peer);
                    }
                }
            }
            Ok(Request::Unwatch(peers)) => {
                self.watched.retain(|watched| peers.iter().all(|peer| peer != *watched));
                if let Some(contacts) = &mut self.contacts {
                    // A further message makes the client one that is told again.
                    peers.iter().for_each(|peer| contacts.remove(peer));
                }
            }
            Ok(Request::Hello(_) | Request::Renew | Request::Auth(_) | Request::Ice) => {}
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
        self.owes_handled || !self.verdicts.entries().is_empty() || self.about_former.is_some()
    }

    /// Appends the frames that tell the client of its dropped frames, and answer its SYNC.
    pub(super) fn encode_notices(&self, out: &mut Vec<u8>) {
        if let Some(AboutFormer { dropped, handled }) = &self.about_former {
            for entries in dropped.chunks(MAX_ENTRIES) {
                Dropped::encode_all(entries, out);
            }
            Notice::Handled(*handled).encode(out);
        }
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
        if self.granted.contains(Capabilities::RESUME) {
            if let Some(about) = &self.about_former {
                self.kept.keep(&about.dropped);
            }
            self.kept.keep(self.verdicts.entries());
        }
        self.about_former = None;
        self.verdicts.clear();
        if self.owes_handled {
            self.verdicts.set_complete();
            self.owes_handled = false;
        }
        told
    }
}

/// Returns the topic in the header of a message.
pub(super) fn topic_of(payload: &[u8]) -> TopicId {
    let topic = payload.get(PeerId::LEN..).and_then(<[u8]>::first_chunk);
    TopicId(topic.map_or(0, |topic| u16::from_le_bytes(*topic)))
}

/// Most peers that one connection may watch.
const MAX_WATCHED: usize = 64;

/// Most entries about former connections: what one was told and may not have got, and what one was
/// not told yet.
const MAX_ABOUT_FORMER: usize = 2 * MAX_ENTRIES;

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
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
    fn who_resumes_gets_the_verdicts_again_that_it_may_not_have_seen_and_then_handled() {
        let granted = Capabilities::VERDICTS.with(Capabilities::RESUME);
        let mut former = session(granted);
        for _ in 0..4 {
            former.count();
            former.dropped(PeerId::NIL, TopicId(1), DropReason::ShortFrame);
            former.notices_sent();
        }
        former.count();
        former.dropped(PeerId::NIL, TopicId(1), DropReason::ShortFrame);
        let hello = Hello { first_number: 9, seen: 2, ..Hello::new(granted) };
        let mut resumed = Session::new(&hello, granted);
        resumed.resume(Some(former.split_off()));
        assert!(!former.has_notice() && former.handled() == 5);
        let told = |session: &Session| {
            let bodies = notices(session);
            let Ok(Notice::Dropped(entries)) = Notice::decode(&bodies[0]) else { panic!() };
            let numbers: Vec<_> = entries.iter().map(|entry| entry.first).collect();
            let Ok(Notice::Handled(handled)) = Notice::decode(&bodies[1]) else { panic!() };
            (numbers, handled)
        };
        assert_eq!(told(&resumed), (vec![3, 4, 5], Handled { upto: 5, complete: true }));
        // Frames 6 to 8 were lost. As long as the client may not know that, no later HANDLED may
        // say that everything up to a later frame was handled.
        resumed.notices_sent();
        resumed.number = 10;
        for (seen, numbers, complete) in [(2, vec![3, 4, 5], false), (9, vec![], true)] {
            let hello = Hello { first_number: 20, seen, ..Hello::new(granted) };
            let mut next = Session::new(&hello, granted);
            next.resume(Some(resumed.split_off()));
            let upto = 10;
            if numbers.is_empty() {
                let handled = Notice::Handled(Handled { upto, complete });
                assert_eq!(Notice::decode(&notices(&next)[0]), Ok(handled));
            } else {
                assert_eq!(told(&next), (numbers, Handled { upto, complete }));
            }
            next.notices_sent();
            (next.number, next.first, next.follows_gap) = (10, 9, true);
            resumed = next;
        }
        resumed.notices_sent();
        assert!(!resumed.has_notice());
    }

    #[test]
    fn if_nothing_is_known_of_the_former_connections_the_fate_of_their_frames_is_unknown() {
        let granted = Capabilities::VERDICTS.with(Capabilities::RESUME);
        let hello = Hello { first_number: 9, ..Hello::new(granted) };
        let mut resumed = Session::new(&hello, granted);
        resumed.resume(None);
        let handled = Handled { upto: 8, complete: false };
        assert_eq!(Notice::decode(&notices(&resumed)[0]), Ok(Notice::Handled(handled)));
    }

    #[test]
    fn a_client_that_resumes_again_and_again_and_reads_nothing_costs_bounded_memory() {
        let granted = Capabilities::VERDICTS.with(Capabilities::RESUME);
        let mut former = session(granted);
        for round in 0..100 {
            for _ in 0..2 * MAX_ENTRIES {
                former.count();
                let recipient = PeerId::from_bytes((former.number as u128).to_le_bytes());
                former.dropped(recipient, TopicId(1), DropReason::UnknownRecipient);
            }
            assert!(former.memory() <= 2 * MAX_ABOUT_FORMER * size_of::<Dropped>());
            let hello = Hello { first_number: former.number + 1, ..Hello::new(granted) };
            let mut next = Session::new(&hello, granted);
            next.resume(Some(former.split_off()));
            let about = next.about_former.as_ref().unwrap();
            let upto = 2 * MAX_ENTRIES as u64 * (round + 1);
            let complete = about.dropped.len() < MAX_ABOUT_FORMER || round == 1;
            assert_eq!(about.handled, Handled { upto, complete });
            former = next;
        }
    }

    #[test]
    fn handled_vouches_for_no_frame_of_a_connection_without_verdicts() {
        let granted = Capabilities::VERDICTS.with(Capabilities::RESUME);
        let hello = Hello { first_number: 1, ..Hello::new(Capabilities::RESUME) };
        let mut without = Session::new(&hello, Capabilities::RESUME);
        without.resume(Some(session(granted)));
        without.count();
        // The client cannot be told.
        without.dropped(PeerId::NIL, TopicId(1), DropReason::ShortFrame);
        let hello = Hello { first_number: 2, ..Hello::new(granted) };
        let mut next = Session::new(&hello, granted);
        next.resume(Some(without.split_off()));
        let handled = Handled { upto: 1, complete: false };
        assert_eq!(Notice::decode(&notices(&next)[0]), Ok(Notice::Handled(handled)));
    }

    #[test]
    fn handled_vouches_for_no_frame_of_this_connection() {
        let granted = Capabilities::VERDICTS.with(Capabilities::RESUME);
        let mut former = session(granted);
        (0..10).for_each(|_| former.count());
        // The client has its token, and not its numbers: it counts from 1 again.
        let mut next = session(granted);
        next.resume(Some(former));
        let handled = Handled { upto: 0, complete: false };
        assert_eq!(Notice::decode(&notices(&next)[0]), Ok(Notice::Handled(handled)));
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
