//! Helpers of the tests on real sockets.

pub(crate) mod admin;
pub(crate) mod extended;
pub(crate) mod http;
pub(crate) mod peer;
pub(crate) mod server;
pub(crate) mod websocket;

use std::panic::Location;
use std::time::Duration;

use tokio::time::{sleep, timeout};

/// Far longer than any step takes, even on a busy machine. A step that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(40);

/// Fails the test and names the caller if the future hangs.
#[track_caller]
pub(crate) fn soon<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = Location::caller();
    async move {
        match timeout(PATIENCE, future).await {
            Ok(output) => output,
            Err(_elapsed) => panic!("the future at {caller} hangs"),
        }
    }
}

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn until(mut condition: impl FnMut() -> bool) -> impl Future<Output = ()> {
    soon(async move {
        while !condition() {
            sleep(Duration::from_millis(1)).await;
        }
    })
}

/// Returns bytes that differ by place and by `seed`.
pub(crate) fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|place| (place * 31 + place / 256 * 7 + seed * 13 + len) as u8).collect()
}
