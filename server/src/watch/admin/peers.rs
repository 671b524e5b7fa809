//! The page `/debug/peers`: numbers for each peer, never the contents of a frame or a whole id.

use std::cmp::Reverse;

use serde::Serialize;

use crate::forward::peer::PeerReport;
use crate::forward::shared::Shared;

/// Number of peers shown without a query, and the most that a query can ask for.
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

/// The answer to `/debug/peers`.
#[derive(Serialize)]
struct Answer {
    /// Number of connected peers.
    connected: usize,
    /// Sorted by bytes in the outbox, then by bytes carried, highest first.
    peers: Vec<PeerReport>,
}

/// The query is not a valid limit.
pub(super) struct BadQuery;

impl BadQuery {
    pub(super) const EXPLANATION: &str = "expected the query limit=N, with N from 1 to 1000\n";
}

/// Describes the peers with the fullest outboxes. Locks one shard of the registry at a time, and
/// yields to other tasks in between.
pub(super) async fn peers(shared: &Shared, query: Option<&str>) -> Result<String, BadQuery> {
    let limit = limit(query)?;
    let now = shared.clock.now();
    let mut connected = 0;
    let mut peers = Vec::new();
    for shard in shared.registry.shards() {
        connected += shard.len();
        peers.extend(shard.iter().map(|(id, peer)| peer.report(*id, now)));
        peers.sort_unstable_by_key(|peer| {
            Reverse((peer.link.outbox_bytes, peer.bytes_in + peer.link.bytes_out))
        });
        peers.truncate(limit);
        tokio::task::yield_now().await;
    }
    let answer = Answer { connected, peers };
    let mut text =
        serde_json::to_string_pretty(&answer).expect("every field can be written as JSON");
    text.push('\n');
    Ok(text)
}

fn limit(query: Option<&str>) -> Result<usize, BadQuery> {
    let Some(query) = query else { return Ok(DEFAULT_LIMIT) };
    query
        .strip_prefix("limit=")
        .and_then(|limit| limit.parse().ok())
        .filter(|limit| (1..=MAX_LIMIT).contains(limit))
        .ok_or(BadQuery)
}
