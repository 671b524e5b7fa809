//! What the server does with a control frame.

use std::sync::Arc;

use waddell_core::{
    Capabilities, HEADER_LEN, Hello, IgnoredControl, Rejected, Request, ServerConnection,
};

use super::notices;
use crate::forward::extension;
use crate::forward::peer::Peer;
use crate::forward::read_counts::ReadCounts;
use crate::forward::worker::Worker;
use crate::ids::Short;
use crate::labels::HelloResult;

/// Handles a control frame with that payload, which is counted already.
pub(super) fn handle(
    state: &mut ServerConnection,
    payload: &[u8],
    peer: &Arc<Peer>,
    worker: &Worker,
    counts: &mut ReadCounts,
) {
    let body = payload.get(HEADER_LEN..).unwrap_or_default();
    let is_first = counts.frames == 1 && peer.frames_in() == 0;
    let hello = |result| worker.shared.metrics.hello(result);
    match state.handle_control(body, is_first) {
        Ok(Request::Hello(said)) => {
            let result = welcome(state, &said, peer, worker);
            hello(result);
            match result {
                HelloResult::Welcomed => counts.control(),
                _as_if_there_were_no_extension => counts.rejected(Rejected::ReservedRecipient),
            }
        }
        // The core has noted what to answer.
        Ok(Request::Sync { .. } | Request::Bye) => counts.control(),
        Ok(Request::Watch(ids)) => {
            counts.control();
            notices::watch(state, ids, peer, worker);
        }
        Ok(Request::Unwatch(ids)) => {
            counts.control();
            notices::unwatch(state, ids.iter(), worker);
        }
        Ok(Request::Renew | Request::Auth(_) | Request::Ice) => counts.control_ignored(),
        Err(ignored) => {
            match ignored {
                IgnoredControl::LateHello => hello(HelloResult::Late),
                IgnoredControl::Malformed if is_first => hello(HelloResult::Malformed),
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
}

/// Answers HELLO with WELCOME. From here on the client speaks the extension.
fn welcome(
    state: &mut ServerConnection,
    hello: &Hello<'_>,
    peer: &Arc<Peer>,
    worker: &Worker,
) -> HelloResult {
    let config = worker.config();
    if !config.extension.enabled {
        return HelloResult::Off;
    }
    let welcome = extension::welcome(hello, state.id(), peer.transport(), &config);
    let is_sent = worker.with_notice(|frame| {
        welcome.encode(frame);
        worker.send_own(peer, frame)
    });
    if !is_sent {
        return HelloResult::NoMemory;
    }
    state.extend(hello, welcome.granted);
    if welcome.granted.contains(Capabilities::PEERS) {
        peer.link().take_notices();
    }
    worker.shared.metrics.peer_extended();
    let (peer, agent) = (Short(state.id()), hello.agent);
    tracing::debug!(%peer, agent, granted = welcome.granted.bits(), "said HELLO");
    HelloResult::Welcomed
}
