//! What the driver does about the events of the state machine.

use std::io;
use std::mem;
use std::sync::Arc;

use waddell_core::{Capabilities, ClientEvent, CloseReason, DisconnectReason, Extension, PeerId};

use super::Driver;
use crate::notices::Notice;
use crate::state::{Closed, Disconnected, ServerClosing, State};
use crate::token::TokenSource;

impl Driver {
    pub(super) fn handle_event(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Connected { id } => {
                tracing::info!(server = %self.dialer(), %id, "connected");
                self.set_id(id);
            }
            ClientEvent::Renamed { id } => {
                tracing::info!(server = %self.dialer(), %id, "renamed");
                self.set_id(id);
            }
            ClientEvent::Extended(extension) => {
                tracing::debug!(server = %self.dialer(), ?extension, "extended");
                self.set_extension(Some(extension));
            }
            ClientEvent::Message(message) => self.shared.inbox.push(message),
            ClientEvent::Checked { ticket, outcome } => self.checks.decide(ticket, outcome),
            ClientEvent::Undelivered(dropped) => {
                tracing::debug!(?dropped, "the server dropped messages");
                self.shared.notices.send(Notice::Undelivered(dropped));
            }
            ClientEvent::Peer(notice) => {
                tracing::debug!(?notice, "the state of a peer");
                self.watches.tell(notice.id, notice.state);
                self.shared.notices.send(Notice::Peer(notice));
            }
            ClientEvent::CredentialsDue => {
                if let Some(TokenSource::Provider(ask)) = &self.tokens {
                    self.renewal = Some(ask());
                }
            }
            ClientEvent::Restarting(restarting) => {
                tracing::debug!(?restarting, "the server will stop");
                self.shared.notices.send(Notice::Restarting(restarting));
            }
            ClientEvent::NotExtended => self.set_extension(None),
            ClientEvent::IceServers(servers) => self.ice.set(servers),
            ClientEvent::Closing { code, reason } => {
                let closing = ServerClosing::new(code, &reason);
                let error = io::Error::new(io::ErrorKind::ConnectionAborted, closing);
                self.error = Some(Arc::new(error));
            }
            ClientEvent::Disconnected { reason, retry_at } => {
                let reason = self.disconnected(reason);
                tracing::info!(server = %self.dialer(), %reason, "disconnected");
                self.is_plain = false;
                self.renewal = None;
                let retry_at = self.epoch + retry_at.elapsed_since_epoch();
                self.shared.extension.send_replace(None);
                self.shared.state.send_replace(State::Waiting { reason, retry_at });
            }
            ClientEvent::Closed { reason } => {
                let reason = match reason {
                    CloseReason::AttemptsExhausted { last } => {
                        Closed::AttemptsExhausted { last: self.disconnected(last) }
                    }
                    CloseReason::ByServer(code) => {
                        let reason = DisconnectReason::ClosedByServer(code);
                        Closed::ByServer(self.disconnected(reason))
                    }
                    CloseReason::NoCredentials => Closed::NoToken,
                    CloseReason::ByApplication => Closed::ByApplication,
                };
                tracing::info!(server = %self.dialer(), %reason, "closed");
                self.shared.extension.send_replace(None);
                self.shared.state.send_replace(State::Closed { reason });
                self.shared.queue.close();
                self.shared.inbox.close();
                self.shared.notices.close();
            }
        }
    }

    pub(super) fn set_id(&mut self, id: PeerId) {
        if let Some(on_id) = &self.shared.on_id {
            on_id(id);
        }
        self.shared.state.send_replace(State::Ready { id });
        for reply in self.rotations.drain(..) {
            // Fails if the caller has stopped waiting.
            let _ = reply.send(id);
        }
    }

    /// Records whether the server speaks the extension.
    pub(super) fn set_extension(&mut self, extension: Option<Extension>) {
        self.is_plain = extension.is_none();
        self.shared.extension.send_replace(extension);
        for reply in self.finding.drain(..) {
            // Fails if the caller has stopped waiting.
            let _ = reply.send(extension);
        }
        let has = |part| extension.is_some_and(|it| it.granted.contains(part));
        if !has(Capabilities::PEERS) {
            self.fail_watches();
        }
        if !has(Capabilities::ICE) {
            self.ice.set_none();
        } else if self.ice.has_waiting() {
            self.core.request_ice_servers();
        }
    }

    pub(super) fn disconnected(&mut self, reason: DisconnectReason) -> Disconnected {
        let disconnected = Disconnected::new(reason, self.error.take());
        if mem::take(&mut self.has_sent) {
            self.lost = Some(disconnected.clone());
        }
        disconnected
    }
}
