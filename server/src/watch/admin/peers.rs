//! What each peer's connection is doing: numbers, never what is in a frame, nor a whole id.

use std::cmp::Reverse;

use serde::Serialize;

use crate::forward::peer::PeerReport;
use crate::forward::shared::Shared;

/// Most peers shown unless asked for more or fewer, and most that can be asked for.
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

/// The answer to `/debug/peers`.
#[derive(Serialize)]
struct Answer {
    /// How many peers are connected.
    connected: usize,
    /// Those with most waiting come first, then those that carried most.
    peers: Vec<PeerReport>,
}

/// The query asks for something else than a limit.
pub(super) struct BadQuery;

impl BadQuery {
    pub(super) const EXPLANATION: &str = "the query can be limit=N, N from 1 to 1000\n";
}

/// Describes the peers that matter most. Locks a part of the registry at a time, and lets others
/// have their turn in between.
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
    let mut text = serde_json::to_string_pretty(&answer).expect("all of it can be said in JSON");
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
