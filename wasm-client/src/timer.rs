//! One timeout, and the clock.

use core::time::Duration;

use js_sys::Function;
use waddell_core::Instant;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    // Windows, workers and Node have these under the same names; Node's ids are objects.
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &Function, delay_ms: f64) -> JsValue;

    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout(id: &JsValue);

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

/// A timeout with one callback. Dropping it cancels the timeout.
#[derive(Debug)]
pub(crate) struct Timer {
    callback: Closure<dyn Fn()>,
    armed: Option<(Instant, JsValue)>,
}

impl Timer {
    pub(crate) fn new(callback: impl Fn() + 'static) -> Self {
        Self { callback: Closure::new(callback), armed: None }
    }

    /// Sets when the callback is due; `None`: never. It may be called early: check the clock.
    pub(crate) fn set(&mut self, due: Option<Instant>) {
        if self.armed.as_ref().map(|(due, _)| *due) == due {
            return;
        }
        self.clear();
        self.armed = due.map(|due| {
            let delay_ms = to_ms(due - now());
            let callback = self.callback.as_ref().unchecked_ref();
            (due, set_timeout(callback, delay_ms.min(MAX_DELAY_MS)))
        });
    }

    /// Reports that the callback was called: there is no timeout to clear.
    pub(crate) fn fired(&mut self) {
        self.armed = None;
    }

    fn clear(&mut self) {
        if let Some((_, id)) = self.armed.take() {
            clear_timeout(&id);
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Longest delay of `setTimeout`, 24.8 days; longer ones fire at once.
const MAX_DELAY_MS: f64 = i32::MAX as f64;
