//! Times of arrival, and pieces in which bytes arrive.

use super::*;

impl World {
    pub(super) fn schedule_up(&mut self, connection: usize) {
        let delay = self.rng.up_to_ms(self.latency_ms);
        let pipe = &mut self.connections[connection].up;
        if !pipe.is_idle() && !pipe.scheduled {
            pipe.scheduled = true;
            self.plan(delay, Event::ToServer(connection));
        }
    }

    pub(super) fn schedule_down(&mut self, connection: usize) {
        let delay = self.rng.up_to_ms(self.latency_ms);
        let pipe = &mut self.connections[connection].down;
        if !pipe.is_idle() && !pipe.scheduled {
            pipe.scheduled = true;
            self.plan(delay, Event::ToClient(connection));
        }
    }

    /// Returns how many of the bytes in flight arrive; `None` if the reader does not read.
    pub(super) fn piece(&mut self, connection: usize, up: bool) -> Option<usize> {
        let ends = &mut self.connections[connection];
        let (pipe, event) = if up {
            (&mut ends.up, Event::ToServer(connection))
        } else {
            (&mut ends.down, Event::ToClient(connection))
        };
        if self.now < pipe.paused_until {
            let delay = pipe.paused_until - self.now;
            self.plan(delay, event);
            return None;
        }
        pipe.scheduled = false;
        if !self.faulty() {
            return Some(usize::MAX);
        }
        Some(match self.rng.between(0..=9) {
            0 => self.rng.between(1..=3),
            1..=3 => self.rng.between(1..=100),
            4..=5 => self.rng.between(1..=5_000),
            _ => usize::MAX,
        })
    }
}
