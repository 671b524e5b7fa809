//! When a connection has to act although nothing arrives.

use waddell_core::Instant;

/// When a connection has to act although nothing arrives; `None` for what does not apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Deadlines {
    /// The peer has taken no byte for the write timeout.
    pub(super) stall: Option<Instant>,
    /// The shutdown closes this peer.
    pub(super) close: Option<Instant>,
    /// The credentials have expired.
    pub(super) expiry: Option<Instant>,
    /// The peer has sent no frame for the idle timeout.
    pub(super) idle: Option<Instant>,
    /// The frame that the peer has begun is not complete in time.
    pub(super) frame: Option<Instant>,
    /// The peer has not answered a ping.
    pub(super) pong: Option<Instant>,
    /// The peer is to be pinged.
    pub(super) ping: Option<Instant>,
    /// The peer is to get a new resume token.
    pub(super) token: Option<Instant>,
}

/// A deadline that has passed; see the field of that name in [`Deadlines`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Stall,
    Close,
    Expiry,
    Idle,
    Frame,
    Pong,
    Ping,
    Token,
}

impl Deadlines {
    /// Returns the first deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.all().into_iter().filter_map(|(at, _)| at).min()
    }

    /// Returns a deadline that has passed: of several, the one that makes the others pointless.
    pub(super) fn expired(&self, now: Instant) -> Option<Due> {
        let passed = |(at, _): &(Option<Instant>, Due)| at.is_some_and(|at| at <= now);
        self.all().into_iter().find(passed).map(|(_, due)| due)
    }

    /// Returns all deadlines, those first that end the connection.
    fn all(&self) -> [(Option<Instant>, Due); 8] {
        let Self { stall, close, expiry, idle, frame, pong, ping, token } = *self;
        [
            (stall, Due::Stall),
            (close, Due::Close),
            (expiry, Due::Expiry),
            (idle, Due::Idle),
            (frame, Due::Frame),
            (pong, Due::Pong),
            (ping, Due::Ping),
            (token, Due::Token),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::since_epoch(Duration::from_secs(seconds))
    }

    /// One deadline after the other, the least important first.
    fn all() -> Deadlines {
        Deadlines {
            stall: Some(at(8)),
            close: Some(at(7)),
            expiry: Some(at(6)),
            idle: Some(at(5)),
            frame: Some(at(4)),
            pong: Some(at(3)),
            ping: Some(at(2)),
            token: Some(at(1)),
        }
    }

    #[test]
    fn without_deadlines_there_is_nothing_to_wait_for() {
        assert_eq!(Deadlines::default().next(), None);
        assert_eq!(Deadlines::default().expired(at(1 << 40)), None);
    }

    #[test]
    fn the_first_is_next_wherever_it_stands() {
        assert_eq!(all().next(), Some(at(1)));
        assert_eq!(Deadlines { stall: Some(at(0)), ..all() }.next(), Some(at(0)));
        assert_eq!(Deadlines { frame: Some(at(0)), ..all() }.next(), Some(at(0)));
    }

    #[test]
    fn a_deadline_expires_when_its_time_has_come_and_no_earlier() {
        let deadlines = Deadlines { idle: Some(at(10)), ..Deadlines::default() };
        assert_eq!(deadlines.expired(at(9)), None);
        assert_eq!(deadlines.expired(at(10)), Some(Due::Idle));
    }

    #[test]
    fn of_several_that_have_passed_the_most_important_counts() {
        let expected = [
            Due::Token,
            Due::Ping,
            Due::Pong,
            Due::Frame,
            Due::Idle,
            Due::Expiry,
            Due::Close,
            Due::Stall,
        ];
        for (seconds, due) in (1..).zip(expected) {
            assert_eq!(all().expired(at(seconds)), Some(due));
        }
        assert_eq!(all().expired(at(0)), None);
    }
}
