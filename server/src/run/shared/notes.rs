//! What is counted, and logged once in a while however often it happens.

use std::net::IpAddr;

use tokio::time::Instant;

use super::Shared;
use crate::admission::Refused;
use crate::entry::handshake::HandshakeError;
use crate::labels::AddressClaim;
use crate::watch::flood::Flood;

/// What is logged once in a while.
#[derive(Debug, Default)]
pub(super) struct Notes {
    refusals: Flood,
    pauses: Flood,
    ignored_claims: Flood,
    proxy_faults: Flood,
}

impl Shared {
    /// Takes note of a connection for which there is no place.
    pub(crate) fn note_refused(&self, refused: Refused) {
        self.metrics.connections_refused.increment();
        if let Some(times) = self.notes.refusals.say(Instant::now()) {
            tracing::warn!(times, %refused, "connections refused");
        }
    }

    /// Takes note that connections wait because there are too many a second.
    pub(crate) fn note_paused(&self) {
        self.metrics.accepts_paused.increment();
        if let Some(times) = self.notes.pauses.say(Instant::now()) {
            tracing::warn!(times, "accepting paused: there are more connections than accept-rate");
        }
    }

    /// Takes note of a connection that ended before it became a peer.
    pub(crate) fn note_failed(&self, error: &HandshakeError) {
        self.metrics.handshake_failed(error.reason());
        match error {
            HandshakeError::Refused(refused) => self.note_refused(*refused),
            HandshakeError::NoProxyHeader | HandshakeError::BrokenProxyHeader => {
                if let Some(times) = self.notes.proxy_faults.say(Instant::now()) {
                    tracing::warn!(times, %error, "connections closed");
                }
            }
            HandshakeError::NoCertificate
            | HandshakeError::TimedOut
            | HandshakeError::ShutDown
            | HandshakeError::NotTakenOn(_)
            | HandshakeError::Io(_)
            | HandshakeError::Http(_) => {}
        }
    }

    /// Takes note of somebody who is not listed and says whom it speaks for.
    pub(crate) fn note_ignored(&self, claim: AddressClaim, address: Option<IpAddr>) {
        match claim {
            AddressClaim::ForwardedFor => self.metrics.forwarded_ignored.increment(),
            AddressClaim::ProxyHeader => self.metrics.proxy_headers_ignored.increment(),
        }
        if let Some(times) = self.notes.ignored_claims.say(Instant::now()) {
            let (claim, address) =
                (claim.as_str(), address.and_then(|address| self.config().logged(address)));
            tracing::warn!(times, claim, address, "ignored: its sender is not in trusted-proxies");
        }
    }
}
