//! What the server does with a control frame.

use std::sync::Arc;

use waddell_core::{
    HEADER_LEN, IgnoredControl, Notice, PeerId, Rejected, Request, ServerConnection,
};

use super::extended::Extended;
use super::notices;
use crate::forward::peer::Peer;
use crate::forward::read_counts::ReadCounts;
use crate::forward::worker::Worker;
use crate::labels::HelloResult;

/// Handles a control frame with that payload, which is counted already. Returns the body of a
/// request that the connection answers after this read.
pub(super) fn handle<'p>(
    state: &mut ServerConnection,
    extended: Option<&mut Extended>,
    payload: &'p [u8],
    is_first: bool,
    peer: &Arc<Peer>,
    worker: &Worker,
    counts: &mut ReadCounts,
) -> Option<&'p [u8]> {
    let body = payload.get(HEADER_LEN..).unwrap_or_default();
    match state.handle_control(body, is_first) {
        Ok(Request::Hello(_)) => return Some(body),
        Ok(Request::Renew) => {
            // The rest of the read is handled anew after each new id, so it must be given seldom.
            if extended.is_some_and(|extended| extended.may_renew(counts.read_at)) {
                return Some(body);
            }
            counts.control();
            refuse_renewal(state.id(), peer, worker);
        }
        // The core has noted what to answer.
        Ok(Request::Sync { .. }) => counts.control(),
        Ok(Request::Bye) => {
            counts.control();
            peer.link().set_lease(None);
        }
        Ok(Request::Watch(ids)) => {
            counts.control();
            notices::watch(state, ids, peer, worker);
        }
        Ok(Request::Unwatch(ids)) => {
            counts.control();
            notices::unwatch(state, ids.iter(), worker);
        }
        Ok(Request::Auth(_) | Request::Ice) => counts.control_ignored(),
        Err(ignored) => {
            match ignored {
                IgnoredControl::LateHello => worker.shared.metrics.hello(HelloResult::Late),
                IgnoredControl::Malformed if is_first => {
                    worker.shared.metrics.hello(HelloResult::Malformed);
                }
                IgnoredControl::Malformed
                | IgnoredControl::UnknownKind
                | IgnoredControl::NotExtended
                | IgnoredControl::NotGranted
                | IgnoredControl::TooManyWatched => {}
            }
            if state.granted().is_some() {
                counts.control_ignored();
            } else {
                counts.rejected(Rejected::ReservedRecipient);
            }
        }
    }
    None
}

/// Tells a client that asks for a new id that it keeps its present one.
pub(super) fn refuse_renewal(id: PeerId, peer: &Arc<Peer>, worker: &Worker) {
    worker.with_notice(|frame| {
        Notice::Renewed { id, resume_token: None }.encode(frame);
        worker.send_own(peer, frame);
    });
}
