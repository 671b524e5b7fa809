//! A server that sends nothing: when to ask whether it is still there, and when to give up.

use super::config::ClientConfig;
use crate::time::Instant;

/// A time in which the server sends nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silence {
    /// When to send a probe or, if there is one on its way, to give up. `None`: never.
    pub(super) until: Option<Instant>,
    probed: bool,
}

/// What to do about a silent server.
pub(super) enum Verdict {
    Wait,
    Probe,
    Lost,
}

impl Silence {
    /// Begins after a byte has arrived.
    pub(super) fn begin(config: &ClientConfig, now: Instant) -> Self {
        let half = config.silence_timeout.map(|timeout| timeout / 2);
        let until = half.filter(|half| !half.is_zero()).and_then(|half| now.checked_add(half));
        Self { until, probed: false }
    }

    pub(super) fn handle_timeout(&mut self, config: &ClientConfig, now: Instant) -> Verdict {
        let Some(until) = self.until.filter(|until| now >= *until) else { return Verdict::Wait };
        let next = Self::begin(config, now);
        // If the clock is far ahead, it was this program that stood still: the answer may have
        // arrived, and is not read yet.
        let on_time = next.until.is_none_or(|next| now - until < next - now);
        if self.probed && on_time {
            return Verdict::Lost;
        }
        *self = Self { probed: true, ..next };
        Verdict::Probe
    }
}
