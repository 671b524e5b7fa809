//! The clock, and milliseconds as JavaScript has them.

use core::time::Duration;

use waddell_core::Instant;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;
}

/// Returns the time since the page, worker or process started. Never goes backwards.
pub(crate) fn now() -> Instant {
    Instant::since_epoch(from_ms(performance_now()))
}

/// Converts milliseconds. Negative numbers and NaN count as zero.
pub(crate) fn from_ms(ms: f64) -> Duration {
    Duration::from_micros((ms * 1000.0) as u64)
}

/// Converts a duration to whole milliseconds, rounded up.
pub(crate) fn to_ms(duration: Duration) -> f64 {
    let rest = duration.subsec_nanos().div_ceil(1_000_000);
    duration.as_secs() as f64 * 1000.0 + f64::from(rest)
}
