//! When a budget is short, disconnects the peers that cost it most.

use std::cmp::Reverse;

use crate::forward::budget::Budget;
use crate::forward::peer::Peer;
use crate::forward::registry::Registry;

/// Waits until the budget is short. Then disconnects the costliest peers until enough memory is
/// given back, and starts over.
///
/// `cost` says what a peer costs the budget; one that costs 0 is left alone. `crowd_out`
/// disconnects a peer, and returns how many bytes it gives back, at once or soon. `warning` is
/// logged afterwards.
pub(crate) async fn reclaim(
    budget: &Budget,
    registry: &Registry,
    cost: impl Fn(&Peer) -> u64,
    crowd_out: impl Fn(&Peer) -> usize,
    warning: &'static str,
) {
    loop {
        budget.short().await;
        let mut candidates = Vec::new();
        for shard in registry.shards() {
            let costs = shard.into_iter().map(|(_, peer)| (cost(&peer), peer));
            candidates.extend(costs.filter(|(cost, _)| *cost > 0));
            tokio::task::yield_now().await;
        }
        candidates.sort_unstable_by_key(|(cost, _)| Reverse(*cost));
        let mut excess = budget.excess();
        let mut count = 0;
        for (_, peer) in candidates {
            if excess == 0 {
                break;
            }
            excess = excess.saturating_sub(crowd_out(&peer));
            count += 1;
        }
        if count > 0 {
            tracing::warn!(peers = count, "{warning}");
        }
    }
}
