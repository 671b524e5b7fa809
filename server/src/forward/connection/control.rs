//! What the server does with a control frame.

use std::sync::Arc;

use waddell_core::{HEADER_LEN, IgnoredControl, Rejected, Request, ServerConnection};

use super::extended::Extended;
use super::notices;
use crate::forward::extension::Offer;
use crate::forward::peer::Peer;
use crate::forward::read_counts::ReadCounts;
use crate::forward::worker::Worker;
use crate::labels::HelloResult;

/// Handles a control frame with that payload, which is counted already. Returns the body of a
/// request that the connection answers after this read.
pub(super) fn handle<'p>(
    state: &mut ServerConnection,
    payload: &'p [u8],
    is_first: bool,
    extended: Option<&mut Extended>,
    peer: &Arc<Peer>,
    worker: &Worker,
    counts: &mut ReadCounts,
) -> Option<&'p [u8]> {
    let body = payload.get(HEADER_LEN..).unwrap_or_default();
    match state.handle_control(body, is_first) {
        Ok(Request::Hello(_) | Request::Renew) => return Some(body),
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
        Ok(Request::Ice) => {
            if extended.is_some_and(|extended| extended.may_have_ice(counts.read_at)) {
                counts.control();
                send_ice(state, peer, worker);
            } else {
                counts.control_ignored();
            }
        }
        Ok(Request::Auth(_)) => counts.control_ignored(),
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

/// Answers with ICE servers. Without room, the client does not read, and is not answered.
fn send_ice(state: &ServerConnection, peer: &Arc<Peer>, worker: &Worker) {
    let offer = Offer::new(worker);
    let is_sent = worker.with_notice(|frame| {
        offer.encode_ice(state.id(), frame);
        worker.send_own(peer, frame)
    });
    if is_sent {
        worker.shared.metrics.ice_issued.increment();
    }
}
