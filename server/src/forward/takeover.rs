//! Moves an id from one connection of a client to the next.
//!
//! ```text
//!   connection with the id                         the client's new connection
//!                                 <- asks -------  reads no further, HELLO is answered
//!   reads what had arrived
//!   hands over (both links locked):
//!     frames in the outbox, session, watchers,
//!     place in the registry ------------------>
//!   says CLOSING, ends                             reads on
//! ```
//!
//! If the first does not answer in time, because its worker is busy, the second takes what the
//! locked link of the first has. Only the session is lost then.
//!
//! The same is done if the first ends for another reason while the second waits for it.
//!
//! Of two links, the one of the newer connection is locked first.

use std::sync::Arc;
use std::time::Duration;

use waddell_core::{PeerId, Session};

use crate::forward::peer::Peer;
use crate::forward::worker::Worker;

/// Longest time that a new connection waits for the one before.
pub(crate) const TAKEOVER_TIMEOUT: Duration = Duration::from_secs(1);

/// Hands over everything of the connection with that id to the one that waits for it. Returns
/// whether that was done: it is not if the other one has ended, or has taken everything already.
pub(crate) fn hand_over(
    id: PeerId,
    from: &Peer,
    to: &Arc<Peer>,
    session: impl FnOnce() -> Option<Session>,
    worker: &Worker,
) -> bool {
    let pushed = worker.with_buffers(|buffers| {
        let mut newer = to.link();
        let mut older = from.link();
        let pushed = older.hand_over(&mut newer, session, buffers)?;
        // While the newer link is locked, its connection cannot have given up the id again. While
        // the older one is, no sender finds it closed and listed.
        worker.shared.registry.replace(id, to);
        drop(older);
        Some(pushed)
    });
    if let Some(pushed) = pushed {
        worker.flush_if_needed(pushed, to);
    }
    pushed.is_some()
}
