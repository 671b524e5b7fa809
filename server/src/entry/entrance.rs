//! The state of the wing `entry`.

use std::sync::Arc;

use waddell_core::Instant;

use crate::admission::{Admissions, Refused};
use crate::config::{Limits, ServerConfig};
use crate::entry::accept_rate::AcceptRate;
use crate::entry::handshake_error::HandshakeError;
use crate::entry::http::file_reads::{FileReads, MAX_WAIT};
use crate::entry::http::gate::HttpPlaces;
use crate::entry::tls::Acceptors;
use crate::forward::shared::Shared;
use crate::secrets::Secrets;

/// State that all connections on their way to becoming peers share.
#[derive(Debug)]
pub(crate) struct Entrance {
    pub(crate) shared: Arc<Shared>,
    pub(crate) admissions: Arc<Admissions>,
    pub(crate) accept_rate: AcceptRate,
    /// `None` without a certificate.
    pub(crate) tls: Option<Acceptors>,
    /// Connections over HTTP that hold memory.
    pub(crate) http_places: HttpPlaces,
    pub(crate) file_reads: FileReads,
}

impl Entrance {
    pub(crate) fn new(config: ServerConfig, tls: Option<Acceptors>, secrets: Secrets) -> Self {
        let Limits { max_connections, max_connections_per_address, accept_rate, .. } =
            config.limits;
        Self {
            admissions: Arc::new(Admissions::new(max_connections, max_connections_per_address)),
            accept_rate: AcceptRate::new(accept_rate, Instant::EPOCH),
            tls,
            http_places: HttpPlaces::new(),
            file_reads: FileReads::new(MAX_WAIT),
            shared: Arc::new(Shared::new(config, secrets)),
        }
    }

    /// Counts and logs a connection that a limit refuses.
    pub(crate) fn report_refused(&self, refused: Refused) {
        self.shared.metrics.connections_refused.increment();
        tracing::warn!(reason = %refused, "connection refused");
    }

    /// Counts and logs that accepting is paused because of the accept rate.
    pub(crate) fn report_paused(&self) {
        self.shared.metrics.accepts_paused.increment();
        tracing::warn!("accepting paused: there are more connections than accept-rate allows");
    }

    /// Counts and logs a connection that ended before it became a peer.
    pub(crate) fn report_failed(&self, error: &HandshakeError) {
        self.shared.metrics.handshake_failed(error.reason());
        match error {
            HandshakeError::Refused(refused) => self.report_refused(*refused),
            HandshakeError::NoProxyHeader | HandshakeError::BrokenProxyHeader => {
                tracing::warn!(%error, "connection closed");
            }
            HandshakeError::NoCertificate
            | HandshakeError::TimedOut
            | HandshakeError::ShutDown
            | HandshakeError::Rebind(_)
            | HandshakeError::Io(_)
            | HandshakeError::Http(_) => {}
        }
    }
}
