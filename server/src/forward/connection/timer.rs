//! What wakes a connection when nothing comes from its socket.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// Wakes a connection for what is due next. Most need no waking and own no timer.
#[derive(Debug, Default)]
pub(super) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Ready once `due` has passed; otherwise the task is woken then, or earlier.
    pub(super) fn poll_until(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if sleep.deadline() > due {
            sleep.as_mut().reset(due);
        }
        // A sleep that ends early is not worth moving each time: it wakes the task, which then
        // looks up what is due next.
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= due {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
        }
        Poll::Pending
    }

    /// Sees to it that the task is woken once `due` has passed, or earlier. Costs next to nothing
    /// if it is to be woken earlier already.
    pub(super) fn wake_by(&mut self, cx: &mut Context<'_>, due: Instant) {
        let is_set = |sleep: &Pin<Box<Sleep>>| sleep.deadline() <= due && !sleep.is_elapsed();
        if !self.0.as_ref().is_some_and(is_set) && self.poll_until(cx, due).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    /// There is nothing to wait for. A timer that is set stays set, and wakes the task once for
    /// nothing: to a peer whose frames come in pieces there is something to wait for in each.
    pub(super) fn rest(&mut self) {
        self.0.take_if(|sleep| sleep.is_elapsed());
    }
}
