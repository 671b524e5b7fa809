//! What a client does about the server's control frames, and what it asks for.

use alloc::string::ToString;

use super::output::{ClientEvent, DisconnectReason};
use super::probe::{self, Probe};
use super::{Client, State};
use crate::control::Capabilities;
use crate::control::dropped::DroppedEntries;
use crate::control::notice::{Closing, Notice};
use crate::time::Instant;

impl Client {
    /// Handles the answer to a probe. With verdicts it says less than they do.
    pub(super) fn handle_probe(&mut self, number: u64) {
        if self.session.is_emitted(number) && !self.session.has(Capabilities::VERDICTS) {
            self.checked.handle_probe(number, &mut self.outputs);
        }
    }

    pub(super) fn handle_notice(&mut self, notice: &Notice<'_>, now: Instant) {
        match *notice {
            Notice::Welcome(ref welcome) => {
                let Some(extension) = self.session.handle_welcome(welcome) else { return };
                if self.session.has(Capabilities::VERDICTS) {
                    self.checked.cancel_probe();
                }
                if let State::Ready { .. } = self.state {
                    self.emit(ClientEvent::Extended(extension));
                }
            }
            Notice::Closing(closing) => self.handle_closing(closing, now),
            // The server grants before it tells.
            _untold if self.extension().is_none() => {}
            Notice::Dropped(entries) => self.handle_dropped(entries),
            Notice::Handled(handled) => {
                self.session.handle_handled(handled.upto);
                self.checked.handle_handled(handled, &mut self.outputs);
            }
            Notice::Peers(_)
            | Notice::Renewed { .. }
            | Notice::Token(_)
            | Notice::Authorized { .. }
            | Notice::Ice(_)
            | Notice::Restarting(_) => {}
        }
    }

    fn handle_dropped(&mut self, entries: DroppedEntries<'_>) {
        for entry in entries.iter().filter(|entry| entry.span > 0 && entry.count > 0) {
            self.checked.handle_dropped(&entry, &mut self.outputs);
            // The application has not sent the probes.
            if !(entry.topic == probe::TOPIC && Some(entry.recipient) == self.id()) {
                self.emit(ClientEvent::Undelivered(entry));
            }
        }
    }

    fn handle_closing(&mut self, closing: Closing<'_>, now: Instant) {
        let Closing { code, handled, reason } = closing;
        self.checked.end(Some(handled), &mut self.outputs);
        self.emit(ClientEvent::Closing { code, reason: reason.to_string() });
        self.hang_up(DisconnectReason::ClosedByServer(code), now);
    }

    /// Asks what became of the checked messages, if that is to be asked.
    pub(super) fn ask(&mut self) {
        let State::Ready { id, .. } = self.state else { return };
        if !self.checked.must_ask() {
            return;
        }
        if self.session.has(Capabilities::VERDICTS) {
            let number = self.transmit(self.session.sync());
            self.checked.asked_by_sync(number);
        } else {
            let number = self.session.next_number();
            self.transmit(Probe::Checked(number).encode(id));
            self.checked.asked_by_probe(number);
        }
    }
}
