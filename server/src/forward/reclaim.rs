//! When the outboxes' budget is short, disconnects peers that do not read.

use std::cmp::Reverse;

use crate::forward::budget::Budget;
use crate::forward::peer::Peer;
use crate::forward::registry::Registry;

/// Waits until the budget is short. Then calls `crowd_out` for the peers with the fullest outboxes
/// until the budget has room again, and starts over.
pub(crate) async fn reclaim(budget: &Budget, registry: &Registry, crowd_out: impl Fn(&Peer)) {
    loop {
        budget.short().await;
        let mut waiting = Vec::new();
        for shard in registry.shards() {
            for (_, peer) in shard {
                let bytes = peer.link().charged();
                if bytes > 0 {
                    waiting.push((bytes, peer));
                }
            }
            tokio::task::yield_now().await;
        }
        waiting.sort_unstable_by_key(|(bytes, _)| Reverse(*bytes));
        let mut count = 0;
        for (_, peer) in waiting {
            if budget.has_room() {
                break;
            }
            crowd_out(&peer);
            count += 1;
        }
        if count > 0 {
            tracing::warn!(
                peers = count,
                "the outboxes need more memory than outbox-total allows; disconnected the peers \
                 with the fullest outboxes"
            );
        }
    }
}
