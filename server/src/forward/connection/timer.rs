//! Wakes a connection at its next deadline.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// Wakes a connection at its next deadline. Most connections have none, and own no timer.
#[derive(Debug, Default)]
pub(super) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Ready at `due`; otherwise the task is woken then, or earlier.
    pub(super) fn poll_until(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if sleep.deadline() > due {
            sleep.as_mut().reset(due);
        }
        // A sleep that ends early is not moved: it wakes the task, which then looks for its next
        // deadline.
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= due {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
        }
        Poll::Pending
    }

    /// Makes sure that the task is woken at `due`, or earlier. Costs next to nothing if the timer
    /// is set to an earlier time already.
    pub(super) fn wake_by(&mut self, cx: &mut Context<'_>, due: Instant) {
        let is_set = |sleep: &Pin<Box<Sleep>>| sleep.deadline() <= due && !sleep.is_elapsed();
        if !self.0.as_ref().is_some_and(is_set) && self.poll_until(cx, due).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    /// Frees the timer if it has fired.
    ///
    /// Otherwise it stays set and wakes the task once without need, because a peer whose frames
    /// arrive in pieces has a deadline for each of them.
    pub(super) fn release(&mut self) {
        self.0.take_if(|sleep| sleep.is_elapsed());
    }
}
