//! Times of arrival, and pieces in which bytes arrive.

use super::bystander::NO_CLIENT;
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
        if self.connections[connection].owner == NO_CLIENT {
            // The bystander reads when it likes.
            return;
        }
        let delay = self.rng.up_to_ms(self.latency_ms);
        let mut pipe = self.connections[connection].down.borrow_mut();
        if !pipe.is_idle() && !pipe.scheduled {
            pipe.scheduled = true;
            drop(pipe);
            self.plan(delay, Event::ToClient(connection));
        }
    }

    /// Returns how many of the bytes in flight arrive; `None` if the reader does not read.
    pub(super) fn piece(&mut self, connection: usize, up: bool) -> Option<usize> {
        let ends = &mut self.connections[connection];
        let now = self.now;
        let begin = |pipe: &mut Pipe| {
            let paused_for = pipe.paused_until - now;
            pipe.scheduled = !paused_for.is_zero();
            paused_for
        };
        let (paused_for, event) = if up {
            (begin(&mut ends.up), Event::ToServer(connection))
        } else {
            (begin(&mut ends.down.borrow_mut()), Event::ToClient(connection))
        };
        if !paused_for.is_zero() {
            self.plan(paused_for, event);
            return None;
        }
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
