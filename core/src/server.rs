//! One peer, seen from the server.

mod contacts;
mod kept;
mod session;
mod verdicts;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use session::topic_of;
pub use session::{IgnoredControl, Session};

use crate::control::hello::Hello;
use crate::control::request::Request;
use crate::control::{Capabilities, ControlError, DropReason, control_body};
use crate::frame::{Frame, PREFIX_LEN};
use crate::id::{PeerId, TopicId};
use crate::message::{HEADER_LEN, KEEP_ALIVE};
use crate::rate::{Pacer, RateLimit};
use crate::time::Instant;

/// Length of the greeting, prefix included, in bytes.
pub const GREETING_LEN: usize = PREFIX_LEN + HEADER_LEN;

/// How the server treats one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionConfig {
    /// Longest time without a frame (a keep-alive counts) before the peer counts as gone.
    /// `None`: for ever, as in waddell.
    pub idle_timeout: Option<Duration>,
    /// How fast the peer may send. `None`: as fast as it can.
    pub rate_limit: Option<RateLimit>,
}

/// The server's side of one connection: decides what is to be done with each frame.
///
/// The decision is the return value, so there is no queue to drain. The driver sends
/// [`greeting`](Self::greeting) first, then passes in each frame that the peer sends.
#[derive(Debug)]
pub struct ServerConnection {
    id: PeerId,
    /// Boxed, since most connections have none, and servers hold very many connections.
    extras: Option<Box<Extras>>,
}

/// What only some connections have.
#[derive(Debug, Default)]
struct Extras {
    limits: Option<Limits>,
    /// Set once the client has said HELLO and the driver has [extended] the connection.
    ///
    /// [extended]: ServerConnection::extend
    session: Option<Session>,
}

#[derive(Debug)]
struct Limits {
    idle_timeout: Option<Duration>,
    last_heard: Instant,
    pacer: Option<Pacer>,
}

impl ServerConnection {
    /// Makes the state of a peer that has just connected and is given `id`.
    pub fn new(id: PeerId, config: ConnectionConfig, now: Instant) -> Self {
        let ConnectionConfig { idle_timeout, rate_limit } = config;
        let limited = idle_timeout.is_some() || rate_limit.is_some();
        let extras = limited.then(|| {
            let pacer = rate_limit.map(|limit| Pacer::new(limit, now));
            let limits = Some(Limits { idle_timeout, last_heard: now, pacer });
            Box::new(Extras { limits, session: None })
        });
        Self { id, extras }
    }

    /// Returns the first frame that the peer is sent: its own id, topic 0, no body.
    pub fn greeting(&self) -> [u8; GREETING_LEN] {
        let mut frame = [0; GREETING_LEN];
        let (prefix, header) = frame.split_at_mut(PREFIX_LEN);
        prefix.copy_from_slice(&(HEADER_LEN as u16).to_le_bytes());
        let (id, topic) = header.split_at_mut(PeerId::LEN);
        id.copy_from_slice(self.id.as_bytes());
        topic.copy_from_slice(&TopicId::UNKNOWN.0.to_le_bytes());
        frame
    }

    /// Decides what is to be done with one frame from the peer.
    ///
    /// Any frame counts as a sign of life and against the peer's rate, rejected ones included.
    pub fn handle_frame(&mut self, frame: &mut Frame<'_>, now: Instant) -> Decision {
        match &mut self.extras {
            None => decide(self.id, frame),
            Some(extras) => extras.handle_frame(self.id, frame, now),
        }
    }

    /// Handles the body of a control frame, after the [`Decision::Control`] for it. Returns what
    /// the driver has to do for the client; nothing for [`Request::Sync`].
    ///
    /// `is_first` is whether the frame is the first of the connection. Only then may it be a HELLO:
    /// answer that with WELCOME, and call [`extend`](Self::extend).
    ///
    /// # Errors
    ///
    /// [`IgnoredControl`] if the frame has no effect: count it.
    pub fn handle_control<'a>(
        &mut self,
        body: &'a [u8],
        is_first: bool,
    ) -> Result<Request<'a>, IgnoredControl> {
        if let Some(session) = self.session_mut() {
            return session.handle_control(body);
        }
        match Request::decode(body) {
            Ok(Request::Hello(_)) if !is_first => Err(IgnoredControl::LateHello),
            Ok(Request::Hello(hello)) => Ok(Request::Hello(hello)),
            Err(ControlError::Malformed) if is_first => Err(IgnoredControl::Malformed),
            Ok(_) | Err(_) => Err(IgnoredControl::NotExtended),
        }
    }

    /// Records that the client has said HELLO and was sent WELCOME with these parts of the
    /// extension. The frames after HELLO are numbered from here on.
    pub fn extend(&mut self, hello: &Hello<'_>, granted: Capabilities) {
        self.extras.get_or_insert_default().session = Some(Session::new(hello, granted));
    }

    /// Records that the client has resumed its id, and continues after the session of its former
    /// connection: `None` if nothing is known of that. Call it after [`extend`](Self::extend), and
    /// before another frame is handled.
    pub fn resume(&mut self, former: Option<Session>) {
        if let Some(session) = self.session_mut() {
            session.resume(former);
        }
    }

    /// Removes and returns what the client's next connection continues with; `None` if the client
    /// does not speak the extension. This connection handles no frame after that.
    pub fn split_off_session(&mut self) -> Option<Session> {
        self.session_mut().map(Session::split_off)
    }

    /// Returns whether the client may come back under the same id when its connection is lost.
    pub fn may_resume(&self) -> bool {
        self.session().is_some_and(Session::may_resume)
    }

    /// Gives the peer another id. Frames after this bear it.
    pub fn rename(&mut self, id: PeerId) {
        self.id = id;
    }

    /// Returns the parts of the extension that the client was granted; `None` if it does not speak
    /// the extension.
    pub fn granted(&self) -> Option<Capabilities> {
        self.session().map(|session| session.granted)
    }

    /// Records that this frame, which was handled last, did not get to its recipient.
    #[cold]
    pub fn note_dropped(&mut self, recipient: PeerId, frame: &Frame<'_>, reason: DropReason) {
        if let Some(session) = self.session_mut() {
            session.dropped(recipient, topic_of(frame.payload()), reason);
        }
    }

    /// Records that the client was told that a peer is gone. Its next message to any peer is a
    /// first contact again.
    pub fn forget_contacts(&mut self) {
        if let Some(session) = self.session_mut() {
            session.forget_contacts();
        }
    }

    /// Returns the peers that the client watches; at most 64.
    pub fn watched(&self) -> &[PeerId] {
        self.session().map_or(&[], Session::watched)
    }

    /// Returns whether there is something to tell the client: ask after each read, and whenever the
    /// client's outbox has room again.
    pub fn has_notice(&self) -> bool {
        self.session().is_some_and(Session::has_notice)
    }

    /// Appends the control frames for the client to `out`: DROPPED, then HANDLED.
    ///
    /// Call [`notices_sent`](Self::notices_sent) once they are in the client's outbox, in which
    /// they must keep their place. Until then, they are returned again, with what came to it.
    pub fn encode_notices(&self, out: &mut Vec<u8>) {
        if let Some(session) = self.session() {
            session.encode_notices(out);
        }
    }

    /// Records that the frames of [`encode_notices`](Self::encode_notices) are in the client's
    /// outbox. Returns how many dropped frames they tell of.
    pub fn notices_sent(&mut self) -> u64 {
        self.session_mut().map_or(0, Session::notices_sent)
    }

    /// Returns the number of the frame that was handled last; `None` if the client does not speak
    /// the extension.
    pub fn handled(&self) -> Option<u64> {
        self.session().map(Session::handled)
    }

    /// Charges the peer's [`rate_limit`](ConnectionConfig::rate_limit) for traffic besides frames,
    /// such as the transport's own: `frames` units that cost as much as a frame each, and `bytes`.
    pub fn charge(&mut self, frames: usize, bytes: usize, now: Instant) {
        if let Some(extras) = &mut self.extras
            && let Some(limits) = &mut extras.limits
            && let Some(pacer) = &mut limits.pacer
        {
            pacer.charge(frames, bytes, now);
        }
    }

    /// Returns whether the peer still counts as connected; ask when
    /// [`poll_timeout`](Self::poll_timeout) has passed.
    pub fn handle_timeout(&mut self, now: Instant) -> Liveness {
        match self.poll_timeout() {
            Some(at) if at <= now => Liveness::Expired,
            Some(_) | None => Liveness::Alive,
        }
    }

    /// Returns when the peer will have been silent for too long; `None` if there is no limit.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let limits = self.limits()?;
        // A peer that is not read from cannot be heard.
        let heard = limits
            .pacer
            .as_ref()
            .map_or(limits.last_heard, |pacer| pacer.ready_at().max(limits.last_heard));
        limits.idle_timeout.and_then(|timeout| heard.checked_add(timeout))
    }

    /// Returns until when the peer is not to be read from, because it has sent more than its
    /// [`rate_limit`](ConnectionConfig::rate_limit) allows; `None` if it may be read from at `now`.
    ///
    /// Frames that have been read are handled all the same, so no frame is ever lost. A peer can
    /// exceed its burst by one read: read little at a time from a peer with a limit.
    pub fn paused_until(&self, now: Instant) -> Option<Instant> {
        let pacer = self.limits()?.pacer.as_ref()?;
        Some(pacer.ready_at()).filter(|at| *at > now)
    }

    /// Returns whether the peer has a [`rate_limit`](ConnectionConfig::rate_limit): read little at
    /// a time from it then, and ask [`paused_until`](Self::paused_until) before.
    pub fn is_limited(&self) -> bool {
        self.limits().is_some_and(|limits| limits.pacer.is_some())
    }

    /// Returns the peer's id.
    pub fn id(&self) -> PeerId {
        self.id
    }

    fn limits(&self) -> Option<&Limits> {
        self.extras.as_ref()?.limits.as_ref()
    }

    fn session(&self) -> Option<&Session> {
        self.extras.as_ref()?.session.as_ref()
    }

    fn session_mut(&mut self) -> Option<&mut Session> {
        self.extras.as_mut()?.session.as_mut()
    }
}

impl Extras {
    // Out of line, so that connections without extras pay for one branch.
    #[inline(never)]
    fn handle_frame(&mut self, id: PeerId, frame: &mut Frame<'_>, now: Instant) -> Decision {
        if let Some(limits) = &mut self.limits {
            limits.last_heard = now;
            if let Some(pacer) = &mut limits.pacer {
                pacer.charge(1, frame.as_bytes().len(), now);
            }
        }
        let decision = decide(id, frame);
        match &mut self.session {
            None => decision,
            Some(session) => session.note(decision, frame.payload()),
        }
    }
}

/// Decides what is to be done with a frame from the peer with that id, and stamps the sender.
fn decide(id: PeerId, frame: &mut Frame<'_>) -> Decision {
    let payload = frame.payload_mut();
    let len = payload.len();
    let Some((header, _body)) = payload.split_first_chunk_mut::<HEADER_LEN>() else {
        return if payload == KEEP_ALIVE {
            Decision::KeepAlive
        } else {
            Decision::Reject(Rejected::ShortFrame { len })
        };
    };
    let [recipient @ .., _, _] = header;
    let to = PeerId::from_bytes(*recipient);
    if to.is_nil() {
        return if control_body(payload).is_some() {
            Decision::Control
        } else {
            Decision::Reject(Rejected::ReservedRecipient)
        };
    }
    *recipient = *id.as_bytes();
    Decision::Forward(to)
}

/// What the driver is to do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// Deliver the frame to this peer. Its header bears the sender's id where it bore the
    /// recipient's.
    Forward(PeerId),
    /// The same. In addition, the client is to be told when this peer is gone: it has not written
    /// to it before, or that was long ago.
    FirstContact(PeerId),
    /// Nothing: the frame is a keep-alive.
    KeepAlive,
    /// Pass the frame's body to [`ServerConnection::handle_control`].
    Control,
    /// Drop and count the frame, and keep the connection, as waddell does. It is left as it was.
    Reject(Rejected),
}

/// Whether a peer still counts as connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// Heard from in time.
    Alive,
    /// Silent for longer than [`ConnectionConfig::idle_timeout`]: close the connection.
    Expired,
}

/// Why a frame is for no peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// It is shorter than a header and no keep-alive.
    ///
    /// waddell forwards payloads of 16 and 17 bytes, and its clients hang up when they get one.
    /// No client ever sends one, so they are not forwarded here.
    ShortFrame {
        /// Length of the payload, in bytes.
        len: usize,
    },
    /// It is addressed to [`PeerId::NIL`], which no peer has.
    ReservedRecipient,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ShortFrame { len } => {
                write!(f, "frame of {len} bytes is shorter than the {HEADER_LEN}-byte header")
            }
            Self::ReservedRecipient => f.write_str("frame is addressed to the nil peer id"),
        }
    }
}

impl core::error::Error for Rejected {}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;
    use alloc::vec::Vec;
    use core::num::NonZeroU32;

    use super::*;
    use crate::frame::{FrameDecoder, MAX_FRAME_LEN};

    #[test]
    fn greeting_is_the_peers_own_id_on_topic_0() {
        let greeting = connection().greeting();
        assert_eq!(greeting[..2], [18, 0]);
        assert_eq!(greeting[2..18], *own_id().as_bytes());
        assert_eq!(greeting[18..], [0, 0]);
    }

    #[test]
    fn sender_is_stamped_over_the_recipient_and_nothing_else_changes() {
        for body in [&b""[..], b"k", b"hello", &[0xa5; MAX_FRAME_LEN - HEADER_LEN]] {
            let mut bytes = message(other_id(), body);
            let expected = message(own_id(), body);
            assert_eq!(decide(&mut connection(), &mut bytes), Decision::Forward(other_id()));
            assert!(bytes == expected, "body of {} bytes", body.len());
        }
    }

    #[test]
    fn sender_is_stamped_where_a_pieced_together_frame_lies() {
        let mut bytes = message(other_id(), b"hello");
        let (mut head, mut tail) = bytes.split_at_mut(10);
        let mut decoder = FrameDecoder::new();
        assert_eq!(decoder.next_frame(&mut head), Ok(None));
        let mut frame = decoder.next_frame(&mut tail).unwrap().unwrap();
        assert_eq!(connection().handle_frame(&mut frame, at(0)), Decision::Forward(other_id()));
        assert_eq!(frame.as_bytes(), message(own_id(), b"hello"));
    }

    #[test]
    fn peer_may_write_to_itself() {
        let mut bytes = message(own_id(), b"me");
        assert_eq!(decide(&mut connection(), &mut bytes), Decision::Forward(own_id()));
        assert_eq!(bytes, message(own_id(), b"me"));
    }

    #[test]
    fn a_keep_alive_is_not_forwarded() {
        let mut bytes = b"\x01\x00k".to_vec();
        assert_eq!(decide(&mut connection(), &mut bytes), Decision::KeepAlive);
        assert_eq!(bytes, b"\x01\x00k");
    }

    #[test]
    fn every_frame_shorter_than_a_header_is_rejected_and_left_as_it_is() {
        for len in 0..HEADER_LEN {
            for fill in [b'x', 0, b'k', b'K'] {
                let mut bytes = vec![fill; PREFIX_LEN + len];
                bytes[..2].copy_from_slice(&[len as u8, 0]);
                let before = bytes.clone();
                let decision = decide(&mut connection(), &mut bytes);
                if len == 1 && fill == b'k' {
                    assert_eq!(decision, Decision::KeepAlive);
                } else {
                    assert_eq!(
                        decision,
                        Decision::Reject(Rejected::ShortFrame { len }),
                        "{before:?}"
                    );
                }
                assert_eq!(bytes, before);
            }
        }
    }

    #[test]
    fn short_frame_keeps_the_connection_open() {
        let mut connection = connection();
        let decision = decide(&mut connection, &mut b"\x00\x00".to_vec());
        assert_eq!(decision, Decision::Reject(Rejected::ShortFrame { len: 0 }));
        let mut bytes = message(other_id(), b"still here");
        assert_eq!(decide(&mut connection, &mut bytes), Decision::Forward(other_id()));
    }

    #[test]
    fn frames_to_the_nil_id_are_rejected_and_left_as_they_are() {
        let mut bytes = message(PeerId::NIL, b"nobody");
        assert_eq!(
            decide(&mut connection(), &mut bytes),
            Decision::Reject(Rejected::ReservedRecipient)
        );
        assert_eq!(bytes, message(PeerId::NIL, b"nobody"));
    }

    #[test]
    fn recipients_may_be_any_16_bytes_but_zeros() {
        for bytes in [[0xff; 16], *b"not a UUID v4 !!", *b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"] {
            let to = PeerId::from_bytes(bytes);
            assert_eq!(decide(&mut connection(), &mut message(to, b"")), Decision::Forward(to));
        }
    }

    #[test]
    fn without_an_idle_timeout_a_silent_peer_stays_for_ever() {
        let mut connection = connection();
        assert_eq!(connection.poll_timeout(), None);
        assert_eq!(connection.handle_timeout(at(1 << 40)), Liveness::Alive);
    }

    #[test]
    fn silent_peer_expires_when_its_idle_timeout_has_passed() {
        let mut connection = impatient_connection();
        assert_eq!(connection.poll_timeout(), Some(at(60)));
        assert_eq!(connection.handle_timeout(at(59)), Liveness::Alive);
        assert_eq!(connection.handle_timeout(at(60)), Liveness::Expired);
    }

    #[test]
    fn every_frame_is_a_sign_of_life_even_one_that_is_rejected() {
        let mut connection = impatient_connection();
        let frames = [
            message(other_id(), b"hi"),
            b"\x01\x00k".to_vec(),
            b"\x00\x00".to_vec(),
            message(PeerId::NIL, b""),
        ];
        for (index, mut bytes) in frames.into_iter().enumerate() {
            let now = at(50 * (index as u64 + 1));
            let mut input = &mut bytes[..];
            let mut decoder = FrameDecoder::new();
            let mut frame = decoder.next_frame(&mut input).unwrap().unwrap();
            let _ = connection.handle_frame(&mut frame, now);
            assert_eq!(connection.poll_timeout(), Some(now + Duration::from_secs(60)));
            assert_eq!(connection.handle_timeout(now), Liveness::Alive);
        }
    }

    #[test]
    fn peer_with_a_rate_limit_is_paused_and_not_taken_for_idle_meanwhile() {
        let rate_limit = RateLimit {
            frames_per_second: NonZeroU32::new(1),
            bytes_per_second: None,
            burst: Duration::from_secs(10),
        };
        let config = ConnectionConfig {
            idle_timeout: Some(Duration::from_secs(60)),
            rate_limit: Some(rate_limit),
        };
        let mut connection = ServerConnection::new(own_id(), config, at(0));
        let mut bytes = b"\x01\x00k".repeat(11);
        let mut input = &mut bytes[..];
        let mut decoder = FrameDecoder::new();
        while let Some(mut frame) = decoder.next_frame(&mut input).unwrap() {
            assert_eq!(connection.paused_until(at(0)), None, "the burst is ten frames");
            assert_eq!(connection.handle_frame(&mut frame, at(0)), Decision::KeepAlive);
        }
        assert_eq!(connection.paused_until(at(0)), Some(at(1)));
        assert_eq!(connection.paused_until(at(1)), None);
        assert_eq!(connection.poll_timeout(), Some(at(61)));
    }

    #[test]
    fn traffic_besides_frames_counts_against_the_rate_and_is_no_sign_of_life() {
        let rate_limit = RateLimit {
            frames_per_second: NonZeroU32::new(1),
            bytes_per_second: NonZeroU32::new(100),
            burst: Duration::from_secs(10),
        };
        let config = ConnectionConfig {
            idle_timeout: Some(Duration::from_secs(60)),
            rate_limit: Some(rate_limit),
        };
        let mut connection = ServerConnection::new(own_id(), config, at(0));
        connection.charge(10, 1000, at(0));
        assert_eq!(connection.paused_until(at(0)), None);
        assert_eq!(connection.poll_timeout(), Some(at(60)));
        connection.charge(1, 0, at(0));
        assert_eq!(connection.paused_until(at(0)), Some(at(1)));
        connection.charge(0, 500, at(0));
        assert_eq!(connection.paused_until(at(0)), Some(at(5)));
    }

    #[test]
    fn rejections_say_what_is_wrong() {
        assert_eq!(
            Rejected::ShortFrame { len: 17 }.to_string(),
            "frame of 17 bytes is shorter than the 18-byte header"
        );
        assert_eq!(
            Rejected::ReservedRecipient.to_string(),
            "frame is addressed to the nil peer id"
        );
    }

    fn own_id() -> PeerId {
        PeerId::from_random([1; 16])
    }

    fn other_id() -> PeerId {
        PeerId::from_random([2; 16])
    }

    fn at(seconds: u64) -> Instant {
        Instant::since_epoch(Duration::from_secs(seconds))
    }

    fn connection() -> ServerConnection {
        ServerConnection::new(own_id(), ConnectionConfig::default(), at(0))
    }

    fn impatient_connection() -> ServerConnection {
        let config = ConnectionConfig {
            idle_timeout: Some(Duration::from_secs(60)),
            ..ConnectionConfig::default()
        };
        ServerConnection::new(own_id(), config, at(0))
    }

    /// A frame that bears `id` and topic 0x0102.
    fn message(id: PeerId, body: &[u8]) -> Vec<u8> {
        let len = (HEADER_LEN + body.len()) as u16;
        [&len.to_le_bytes()[..], id.as_bytes(), b"\x02\x01", body].concat()
    }

    fn decide(connection: &mut ServerConnection, mut bytes: &mut [u8]) -> Decision {
        let mut decoder = FrameDecoder::new();
        let mut frame = decoder.next_frame(&mut bytes).unwrap().unwrap();
        connection.handle_frame(&mut frame, at(0))
    }
}
