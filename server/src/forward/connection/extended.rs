//! The part of a connection's state that only clients with the extension have.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use waddell_core::{Instant, Pacer, RateLimit, Request};

use crate::forward::peer::Peer;

/// The part of a connection's state that only clients with the extension have.
#[derive(Debug)]
pub(super) struct Extended {
    /// Set while frames are not handled yet.
    pub(super) hold: Option<Hold>,
    /// When the next resume token is to be sent.
    pub(super) token_due: Option<Instant>,
    /// The generation of its resume tokens.
    pub(super) generation: u32,
    /// Whether the client was told that the server stops.
    pub(super) told_restart: bool,
    /// How often the client may have a new id.
    renewals: Pacer,
    /// Whether the client is to be told that it gets no new id.
    pub(super) owes_refusal: bool,
    /// When the client may ask for ICE servers again.
    ice_from: Instant,
}

/// The frames that came after a request that changes how they are handled, and is not answered yet.
/// They are the rest of one read at most, because the connection does not read meanwhile.
#[derive(Debug)]
pub(super) struct Hold {
    /// The body of the request, until it is answered.
    pub(super) request: Option<Box<[u8]>>,
    /// Whole frames, prefixes included.
    pub(super) frames: Vec<u8>,
    /// The takeover that has to come first.
    pub(super) takeover: Option<Takeover>,
}

/// A takeover of the id of an earlier connection.
#[derive(Debug)]
pub(super) struct Takeover {
    pub(super) from: Arc<Peer>,
    /// When this connection waits no longer.
    pub(super) deadline: Instant,
}

impl Extended {
    /// Makes the state of a client that says HELLO.
    pub(super) fn new(now: Instant) -> Self {
        let renewals = Pacer::new(RENEWALS, now);
        Self {
            hold: None,
            token_due: None,
            generation: 0,
            told_restart: false,
            renewals,
            owes_refusal: false,
            ice_from: now,
        }
    }

    /// Returns whether the client gets no new id although this request asks for one, because it has
    /// had too many. Counts it otherwise.
    pub(super) fn refuses(&mut self, request: &[u8], now: Instant) -> bool {
        if !matches!(Request::decode(request), Ok(Request::Renew)) {
            return false;
        }
        let refuses = self.renewals.ready_at() > now;
        if !refuses {
            self.renewals.charge(1, 0, now);
        }
        self.owes_refusal |= refuses;
        refuses
    }

    /// Returns whether the client may have ICE servers, and counts that.
    pub(super) fn may_have_ice(&mut self, now: Instant) -> bool {
        let may = self.ice_from <= now;
        if may {
            self.ice_from = now + ICE_INTERVAL;
        }
        may
    }
}

impl Hold {
    /// Begins to keep frames after a request with that body.
    pub(super) fn new(request: &[u8]) -> Self {
        Self { request: Some(request.into()), frames: Vec::new(), takeover: None }
    }
}

/// Shortest time between two answers with ICE servers.
const ICE_INTERVAL: Duration = Duration::from_secs(5);

/// One new id a second, and five at once.
const RENEWALS: RateLimit = RateLimit {
    frames_per_second: Some(NonZeroU32::MIN),
    bytes_per_second: None,
    burst: Duration::from_secs(4),
};
