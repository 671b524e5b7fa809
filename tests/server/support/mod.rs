//! What these tests share.

pub(crate) mod admin;
pub(crate) mod http;
pub(crate) mod peer;
pub(crate) mod server;
pub(crate) mod websocket;

use std::panic::Location;
use std::time::Duration;

use tokio::time::{sleep, timeout};

/// Far longer than anything takes here, even on a busy machine: what runs into it hangs.
const PATIENCE: Duration = Duration::from_secs(40);

/// Fails the test, saying where, if the future hangs.
#[track_caller]
pub(crate) fn soon<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = Location::caller();
    async move {
        match timeout(PATIENCE, future).await {
            Ok(output) => output,
            Err(_elapsed) => panic!("what is awaited at {caller} does not come"),
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

/// Bytes that differ from place to place and from `seed` to `seed`.
pub(crate) fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|place| (place * 31 + place / 256 * 7 + seed * 13 + len) as u8).collect()
}
