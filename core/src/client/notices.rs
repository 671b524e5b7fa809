//! What a client does about the server's control frames, and what it asks for.

use alloc::string::ToString;
use core::time::Duration;

use super::config::Credentials;
use super::ice::IceServerList;
use super::output::{ClientEvent, DisconnectReason};
use super::probe::{self, Probe};
use super::{Client, State};
use crate::control::dropped::DroppedEntries;
use crate::control::hello::{IceServers, Welcome};
use crate::control::notice::{Closing, Notice};
use crate::control::peer::PeerNotices;
use crate::control::{Capabilities, CloseCode};
use crate::id::{PeerId, TopicId};
use crate::time::Instant;

impl Client {
    /// Handles the answer to a probe. With verdicts it says less than they do.
    #[inline(never)]
    pub(super) fn handle_probe(&mut self, number: u64) {
        if !self.session.is_emitted(number) {
            return;
        }
        self.may_ask = true;
        if !self.session.has(Capabilities::VERDICTS) {
            self.checked.handle_probe(number, &mut self.outputs);
        }
        if self.session.handle_silence() {
            self.emit(ClientEvent::NotExtended);
        }
    }

    /// Handles the body of a control frame. One that is unknown or malformed is ignored.
    // Out of line, like the others below: messages pass by them.
    #[inline(never)]
    pub(super) fn handle_control(&mut self, body: &[u8], now: Instant) {
        if let Ok(notice) = Notice::decode(body) {
            self.may_ask = true;
            self.handle_notice(&notice, now);
        }
    }

    fn handle_notice(&mut self, notice: &Notice<'_>, now: Instant) {
        match *notice {
            Notice::Welcome(ref welcome) => self.handle_welcome(welcome, now),
            Notice::Closing(closing) => self.handle_closing(closing, now),
            // The server grants before it tells.
            _untold if self.extension().is_none() => {}
            Notice::Dropped(entries) => self.handle_dropped(entries),
            Notice::Handled(handled) => {
                self.session.handle_handled(handled.upto);
                for number in self.peers.handle_handled(handled) {
                    self.checked.handle_lost(number, &mut self.outputs);
                }
                self.checked.handle_handled(handled, &mut self.outputs);
            }
            Notice::Peers(notices) => self.handle_peers(notices),
            Notice::Renewed { id, resume_token } => {
                match resume_token {
                    Some(token) => self.session.set_token(token),
                    // The present token is for an id that is no more.
                    None if Some(id) != self.id() => self.session.forget_token(),
                    None => {}
                }
                self.rename(id);
            }
            Notice::Token(token) => self.session.set_token(token),
            Notice::Restarting(restarting) => {
                if self.session.has(Capabilities::RESTART) {
                    self.ending.handle_restarting(restarting);
                    self.emit(ClientEvent::Restarting(restarting));
                }
            }
            Notice::Authorized { expires_in } => self.handle_expiry(expires_in, now),
            Notice::Ice(servers) => self.handle_ice(servers),
        }
    }

    fn handle_welcome(&mut self, welcome: &Welcome<'_>, now: Instant) {
        let Some(extension) = self.session.handle_welcome(welcome) else { return };
        self.handle_expiry(welcome.credentials_expire_in.unwrap_or(0), now);
        if !extension.resumed {
            self.checked.end_former(&mut self.outputs);
            self.peers.end();
        } else if self.session.has(Capabilities::VERDICTS) {
            self.checked.resume();
        } else {
            self.checked.end_former(&mut self.outputs);
        }
        if self.session.has(Capabilities::VERDICTS) {
            self.checked.cancel_probe();
        }
        if self.session.has(Capabilities::PEERS) {
            self.peers.begin();
        }
        match self.state {
            State::AwaitingWelcome { greeted, .. } => {
                self.become_ready(if welcome.id.is_nil() { greeted } else { welcome.id }, now);
            }
            State::AwaitingId { ref mut welcomed, .. } => *welcomed = Some(welcome.id),
            State::Ready { id, .. } => {
                if welcome.id != id {
                    self.rename(welcome.id);
                }
                self.emit(ClientEvent::Extended(extension));
            }
            State::Dialing { .. } | State::Waiting { .. } | State::Closed => {}
        }
        if let Some(servers) = welcome.ice {
            self.handle_ice(servers);
        }
    }

    fn handle_ice(&mut self, servers: IceServers<'_>) {
        if self.session.has(Capabilities::ICE) {
            let valid_for = Duration::from_secs(servers.valid_for.into());
            let servers = IceServerList { json: servers.json.to_string(), valid_for };
            self.emit(ClientEvent::IceServers(servers));
        }
    }

    fn handle_expiry(&mut self, expires_in: u32, now: Instant) {
        if self.config.credentials == Credentials::Renewable {
            self.session.handle_expiry(expires_in, now);
        }
    }

    /// Handles an id that replaces the present one.
    fn rename(&mut self, new: PeerId) {
        if let State::Ready { id, .. } = &mut self.state
            && !new.is_nil()
        {
            *id = new;
            self.emit(ClientEvent::Renamed { id: new });
        }
    }

    fn handle_dropped(&mut self, entries: DroppedEntries<'_>) {
        for entry in entries.iter().filter(|entry| entry.span > 0 && entry.count > 0) {
            self.checked.handle_dropped(&entry, &mut self.outputs);
            self.peers.handle_dropped(&entry);
            // The application has sent neither probes nor control frames.
            let is_probe = entry.topic == probe::TOPIC && Some(entry.recipient) == self.id();
            let is_control = entry.topic == TopicId::CONTROL && entry.recipient.is_nil();
            if !is_probe && !is_control {
                self.emit(ClientEvent::Undelivered(entry));
            }
        }
    }

    fn handle_peers(&mut self, notices: PeerNotices<'_>) {
        if notices.has_gap() {
            self.peers.handle_gap();
        }
        let upto = self.session.next_number().saturating_sub(1);
        for notice in notices.iter() {
            if self.session.has(Capabilities::VERDICTS) {
                self.peers.handle_notice(notice, upto);
            }
            self.emit(ClientEvent::Peer(notice));
        }
    }

    fn handle_closing(&mut self, closing: Closing<'_>, now: Instant) {
        let Closing { code, handled, reason } = closing;
        self.checked.handle_closing(handled, &mut self.outputs);
        self.ending.handle_closing(code);
        if code == CloseCode::SUPERSEDED {
            // Else both holders of the id would take it from each other for ever.
            self.session.forget_token();
        }
        self.emit(ClientEvent::Closing { code, reason: reason.to_string() });
        self.hang_up(DisconnectReason::ClosedByServer(code), now);
    }

    /// Asks what is to be asked: about peers, about lost messages, about checked ones.
    #[inline(never)]
    pub(super) fn ask(&mut self) {
        let State::Ready { id, .. } = self.state else { return };
        for frame in self.peers.poll_requests() {
            self.transmit(frame);
        }
        let is_due = self.checked.is_due()
            || self.peers.has_losses()
            || self.session.is_open() && (self.peers.has_watched() || self.session.must_find());
        if !is_due || self.checked.has_asked() {
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
