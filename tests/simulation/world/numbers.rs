//! Both ends of a client's numbers: what it sends, and what it is told of that.

use bytes::Bytes;
use waddell_core::{Delivery, DropReason, Notice, Request, Undelivered};

use super::*;

impl World {
    /// Writes a frame that a client sends into the ledger. Returns it, or what a broken network
    /// makes of it.
    pub(super) fn number(&mut self, index: usize, connection: usize, mut frame: Bytes) -> Bytes {
        let payload = &frame[PREFIX_LEN..];
        let body = payload.get(HEADER_LEN..).unwrap_or_default();
        let ends = &self.connections[connection];
        if ends.told.is_none() {
            if payload.starts_with(&CONTROL_HEADER)
                && let Ok(Request::Hello(hello)) = Request::decode(body)
            {
                let told = self.ledger.hello(index, &hello);
                self.connections[connection].told = Some(told);
            }
            return frame;
        }
        let is_control = payload.starts_with(&CONTROL_HEADER);
        let tag = tag_of(body).filter(|tag| !is_control && self.sent.contains_key(tag));
        let mut tag = tag;
        if tag.is_some() && self.fault(self.faults.rubbish) {
            tag = None;
            frame = self.rubbish().into();
            self.report.count("garbled");
        }
        self.ledger.sent(index, &frame, tag);
        let number = self.ledger.last(index);
        if let Some(sent) = tag.and_then(|tag| self.sent.get_mut(&tag)) {
            sent.number = Some(number);
        }
        frame
    }

    /// Reads what arrives at a client once more, and checks the server's control frames.
    pub(super) fn check_notices(&mut self, connection: usize, mut bytes: Vec<u8>) {
        let ends = &mut self.connections[connection];
        let Some(told) = &mut ends.told else { return };
        let mut input = &mut bytes[..];
        while let Ok(Some(frame)) = ends.tap.next_frame(&mut input) {
            let payload = frame.payload();
            if payload.len() < HEADER_LEN {
                // The client hangs up, and reads no further.
                return;
            }
            if payload.starts_with(&CONTROL_HEADER) {
                let notice = Notice::decode(&payload[HEADER_LEN..]).expect("servers make no error");
                let name = self.ledger.notice(ends.owner, told, &notice);
                self.report.count(name);
            }
        }
    }

    /// A checked message has become what its sender is told.
    pub(super) fn check_outcome(
        &mut self,
        index: usize,
        ticket: Ticket,
        outcome: Result<Delivery, Undelivered>,
    ) {
        let tag = self.tickets.remove(&(index, ticket)).expect("it is told once");
        // Of a message that the network has garbled, the fate is that of what came instead.
        let Some(number) = self.sent.get(&tag).and_then(|sent| sent.number) else { return };
        let fate = self.ledger.fate(index, number);
        let told =
            format!("client {index} is told {outcome:?} of frame {number}, which is {fate:?}");
        match outcome {
            Ok(Delivery::Forwarded) => assert_eq!(fate, Some(Fate::Handled), "{told}"),
            Err(Undelivered::Dropped(reason)) => {
                let Some(Fate::Dropped(truly)) = fate else { panic!("{told}") };
                assert!(reason == truly || reason == DropReason::Various, "{told}");
                assert!(!self.sent[&tag].arrived, "{told}");
            }
            Err(Undelivered::MaybeDropped) => assert!(fate.is_some(), "{told}"),
            Err(Undelivered::NotHandled) => self.ledger.told_lost(index, number),
            Err(Undelivered::ConnectionLost) => {}
            Ok(Delivery::Sent) | Err(Undelivered::Lost) => panic!("{told}"),
        }
        self.report.count(match outcome {
            Ok(_) => "told_forwarded",
            Err(Undelivered::Dropped(_)) => "told_dropped",
            Err(Undelivered::MaybeDropped) => "told_maybe_dropped",
            Err(Undelivered::NotHandled) => "told_not_handled",
            Err(Undelivered::ConnectionLost | Undelivered::Lost) => "told_unknown",
        });
    }
}

/// The nil id, and the topic of control frames.
const CONTROL_HEADER: [u8; HEADER_LEN] = {
    let mut header = [0; HEADER_LEN];
    header[16] = 0xff;
    header[17] = 0xff;
    header
};
