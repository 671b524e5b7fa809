//! Where a connection waits until its client is admitted.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use waddell_core::Instant;

use crate::forward::client::Client;
use crate::forward::worker::Worker;

/// Where a connection waits until its client is admitted. It is not listed and not greeted, and
/// the frames that it sends are kept.
///
/// ```text
///   in the lobby --- HELLO with good credentials -------------> peer, gets greeting, WELCOME
///       |      \---- allow-legacy: another frame, or silence -> peer, gets the greeting
///       |
///       \----------- anything else, or nothing in time -------> ends, gets CLOSING after HELLO
/// ```
pub(super) struct Lobby {
    /// When the handshakes of this connection have to be done.
    pub(super) deadline: Instant,
    /// When a client that has said nothing counts as silent.
    pub(super) silent_at: Instant,
    /// Completes when a shutdown ends all handshakes.
    pub(super) over: Pin<Box<dyn Future<Output = ()>>>,
}

impl Lobby {
    pub(super) fn new(client: &Client, worker: &Rc<Worker>, now: Instant) -> Self {
        let timeouts = &worker.config().timeouts;
        let silent_at = if client.was_silent { now } else { now + timeouts.auto_silence };
        let shared = Arc::clone(&worker.shared);
        let over = Box::pin(async move { shared.shutdown.handshakes_over().await });
        Self { deadline: now + timeouts.handshake, silent_at, over }
    }
}

impl fmt::Debug for Lobby {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lobby").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}
