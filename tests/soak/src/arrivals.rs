//! Checks of the frames that one peer receives.

use std::collections::HashMap;

use waddell_core::{MessageIn, PeerId, TopicId};
use waddell_tests::stamp::Stamp;

/// The messages that one peer has received so far.
#[derive(Debug)]
pub(crate) struct Arrivals {
    own: PeerId,
    /// Sender whose messages must all arrive, if there is one.
    lossless: Option<PeerId>,
    /// Greatest number so far of each sender and topic.
    newest: HashMap<(PeerId, TopicId), u64>,
}

/// A frame that no peer should ever receive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// It is too short for a header.
    Short,
    /// Its body is not a stamped body.
    Damaged,
    /// Its body names another sender than its header.
    Forged { from: PeerId, stamp: Stamp },
    /// Its body names another recipient or topic.
    Misplaced { stamp: Stamp },
    /// It is repeated, or overtaken by a later one.
    Stale { newest: u64, stamp: Stamp },
    /// An earlier one is missing.
    Lost { newest: u64, stamp: Stamp },
}

impl Arrivals {
    pub(crate) fn new(own: PeerId) -> Self {
        Self { own, lossless: None, newest: HashMap::new() }
    }

    /// Expects every message that this peer sends from here on.
    pub(crate) fn expect_all_of(&mut self, peer: PeerId) {
        self.lossless = Some(peer);
    }

    /// Checks the payload of a frame, and returns its stamp.
    pub(crate) fn take(&mut self, payload: &[u8]) -> Result<Stamp, Violation> {
        let MessageIn { from, topic, body } =
            MessageIn::decode(payload).map_err(|_short| Violation::Short)?;
        let stamp = Stamp::read(&body).ok_or(Violation::Damaged)?;
        if stamp.sender != from {
            return Err(Violation::Forged { from, stamp });
        }
        if stamp.recipient != self.own || stamp.topic != topic {
            return Err(Violation::Misplaced { stamp });
        }
        let newest = self.newest.entry((from, topic)).or_default();
        if stamp.number <= *newest {
            return Err(Violation::Stale { newest: *newest, stamp });
        }
        if self.lossless == Some(from) && stamp.number != *newest + 1 {
            return Err(Violation::Lost { newest: *newest, stamp });
        }
        *newest = stamp.number;
        Ok(stamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: PeerId = PeerId::from_random([1; 16]);
    const OTHER: PeerId = PeerId::from_random([2; 16]);

    fn stamp(number: u64) -> Stamp {
        Stamp { sender: OTHER, recipient: OWN, topic: TopicId(7), number, time: 0 }
    }

    /// Returns the payload that the server forwards when `from` sends a message.
    fn forwarded(stamp: Stamp, from: PeerId) -> Vec<u8> {
        let mut frame = stamp.frame(100);
        frame[2..18].copy_from_slice(from.as_bytes());
        frame.split_off(2)
    }

    #[test]
    fn messages_in_order_are_accepted_also_with_gaps() {
        let mut arrivals = Arrivals::new(OWN);
        for number in [1, 2, 5, 9] {
            assert_eq!(arrivals.take(&forwarded(stamp(number), OTHER)), Ok(stamp(number)));
        }
        // Each topic and each sender has an order of its own.
        let elsewhere = Stamp { topic: TopicId(8), ..stamp(1) };
        assert_eq!(arrivals.take(&forwarded(elsewhere, OTHER)), Ok(elsewhere));
        let own = Stamp { sender: OWN, ..stamp(1) };
        assert_eq!(arrivals.take(&forwarded(own, OWN)), Ok(own));
    }

    #[test]
    fn repeated_and_overtaken_messages_are_detected() {
        let mut arrivals = Arrivals::new(OWN);
        arrivals.take(&forwarded(stamp(3), OTHER)).unwrap();
        for number in [3, 2] {
            let stamp = stamp(number);
            assert_eq!(
                arrivals.take(&forwarded(stamp, OTHER)),
                Err(Violation::Stale { newest: 3, stamp })
            );
        }
    }

    #[test]
    fn a_gap_is_detected_where_nothing_may_be_lost() {
        let mut arrivals = Arrivals::new(OWN);
        arrivals.expect_all_of(OTHER);
        arrivals.take(&forwarded(stamp(1), OTHER)).unwrap();
        let stamp = stamp(3);
        assert_eq!(
            arrivals.take(&forwarded(stamp, OTHER)),
            Err(Violation::Lost { newest: 1, stamp })
        );
    }

    #[test]
    fn a_false_sender_recipient_or_topic_is_detected() {
        let mut arrivals = Arrivals::new(OWN);
        let from = PeerId::from_random([3; 16]);
        assert_eq!(
            arrivals.take(&forwarded(stamp(1), from)),
            Err(Violation::Forged { from, stamp: stamp(1) })
        );
        let astray = Stamp { recipient: from, ..stamp(1) };
        assert_eq!(
            arrivals.take(&forwarded(astray, OTHER)),
            Err(Violation::Misplaced { stamp: astray })
        );
        let mut payload = forwarded(stamp(1), OTHER);
        payload[16] ^= 1;
        assert_eq!(arrivals.take(&payload), Err(Violation::Misplaced { stamp: stamp(1) }));
    }

    #[test]
    fn damage_is_detected_in_every_byte() {
        let mut arrivals = Arrivals::new(OWN);
        let whole = forwarded(stamp(1), OTHER);
        for place in 0..whole.len() {
            let mut payload = whole.clone();
            payload[place] ^= 0x10;
            arrivals.take(&payload).unwrap_err();
        }
        assert_eq!(arrivals.take(&whole[..17]), Err(Violation::Short));
        assert_eq!(arrivals.take(&whole[..whole.len() - 1]), Err(Violation::Damaged));
        assert_eq!(arrivals.take(&whole), Ok(stamp(1)));
    }
}
