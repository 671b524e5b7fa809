//! Waiting for what an attack expects, with an end.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::time::sleep;

/// Longest time for any step. A step that takes longer hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds; `what` names it.
pub(super) async fn until<F: Future<Output = Result<bool>>>(
    what: &str,
    mut condition: impl FnMut() -> F,
) -> Result<()> {
    let begin = Instant::now();
    while !condition().await? {
        ensure!(begin.elapsed() < PATIENCE, "waited in vain until {what}");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
