//! Limits on lines that clients cause by the thousand.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Limits how often each line of the program is logged in a [`Floods::PERIOD`]. Counts the rest for
/// [`Floods::sum_up`].
///
/// Lines of `debug` and `trace` have no limit: an operator who turns them on wants them all.
#[derive(Clone, Debug, Default)]
pub(super) struct Floods {
    /// By the place in the program that logs them.
    lines: Arc<Mutex<HashMap<Identifier, Line>>>,
}

#[derive(Debug)]
struct Line {
    level: Level,
    since: Instant,
    logged: u32,
    left_out: u64,
    /// Message of the first line that was left out.
    message: String,
}

impl Floods {
    /// Time in which each line may reach its limit once.
    pub(super) const PERIOD: Duration = Duration::from_secs(10);

    /// Returns how often a line may be logged in a period. A few warnings are enough to act on;
    /// connections come and go all the time. A single client can reach these limits: it then causes
    /// a few kB of log a second.
    fn limit(level: Level) -> Option<u32> {
        match level {
            Level::ERROR | Level::WARN => Some(10),
            Level::INFO => Some(100),
            _ => None,
        }
    }

    /// Logs which lines were left out since the last call, and how often.
    pub(super) fn sum_up(&self) {
        let left_out: Vec<_> = self
            .lines()
            .values_mut()
            .filter(|line| line.left_out > 0)
            .map(|line| {
                let times = std::mem::take(&mut line.left_out);
                (line.level, std::mem::take(&mut line.message), times)
            })
            .collect();
        for (level, line, times) in left_out {
            // The macros need a constant level.
            match level {
                Level::ERROR => tracing::error!(target: SUMMARY, line, times, "and more like this"),
                Level::WARN => tracing::warn!(target: SUMMARY, line, times, "and more like this"),
                _ => tracing::info!(target: SUMMARY, line, times, "and more like this"),
            }
        }
    }

    /// Counts an event, and returns whether it is within its limit.
    fn allows(&self, event: &Event<'_>, now: Instant) -> bool {
        let metadata = event.metadata();
        let level = *metadata.level();
        let Some(limit) = Self::limit(level).filter(|_| metadata.target() != SUMMARY) else {
            return true;
        };
        let mut lines = self.lines();
        let line = lines.entry(metadata.callsite()).or_insert_with(|| Line {
            level,
            since: now,
            logged: 0,
            left_out: 0,
            message: String::new(),
        });
        if now.duration_since(line.since) >= Self::PERIOD {
            (line.since, line.logged) = (now, 0);
        }
        if line.logged < limit {
            line.logged += 1;
            return true;
        }
        if line.left_out == 0 {
            event.record(&mut Message(&mut line.message));
        }
        line.left_out += 1;
        false
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<Identifier, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Layer<S> for Floods {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.allows(event, Instant::now())
    }
}

/// Target of the lines that sum up others; these have no limit.
const SUMMARY: &str = "waddell_server::floods";

/// Copies the message from the fields of an event.
struct Message<'a>(&'a mut String);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            *self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::{Registry, fmt};

    use super::*;

    /// Returns the lines that are logged while `run` runs.
    fn logged(floods: &Floods, run: impl FnOnce()) -> Vec<String> {
        #[derive(Clone, Default)]
        struct Buffer(Arc<Mutex<Vec<u8>>>);

        impl io::Write for Buffer {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let buffer = Buffer::default();
        let writer = buffer.clone();
        let lines = fmt::layer()
            .with_writer(move || writer.clone())
            .without_time()
            .with_target(false)
            .with_ansi(false);
        let subscriber = Registry::default().with(floods.clone()).with(lines);
        tracing::subscriber::with_default(subscriber, run);
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn a_line_is_logged_a_few_times_and_then_summed_up() {
        let floods = Floods::default();
        let lines = logged(&floods, || {
            for number in 0..5_000 {
                tracing::warn!(number, "refused");
                if number % 1_000 == 0 {
                    tracing::error!("something else");
                }
            }
            floods.sum_up();
            floods.sum_up();
        });
        assert_eq!(lines.iter().filter(|line| line.contains("refused number")).count(), 10);
        assert_eq!(lines.iter().filter(|line| line.contains("something else")).count(), 5);
        assert_eq!(lines.len(), 16);
        assert_eq!(lines[15], "WARN and more like this line=\"refused\" times=4990");
    }

    #[test]
    fn info_lines_have_a_higher_limit_and_debug_lines_have_none() {
        let floods = Floods::default();
        let lines = logged(&floods, || {
            for _ in 0..2_000 {
                tracing::info!("connected");
                tracing::debug!("odd");
            }
            floods.sum_up();
        });
        assert_eq!(lines.iter().filter(|line| line.ends_with("connected")).count(), 100);
        assert_eq!(lines.iter().filter(|line| line.ends_with("odd")).count(), 2_000);
        assert_eq!(lines.last().unwrap(), "INFO and more like this line=\"connected\" times=1900");
    }

    #[test]
    fn after_a_period_a_line_is_logged_again() {
        let floods = Floods::default();
        let refuse = |times: usize| {
            logged(&floods, || {
                for _ in 0..times {
                    tracing::warn!("refused");
                }
            })
        };
        assert_eq!(refuse(12).len(), 10);
        assert_eq!(refuse(1).len(), 0);
        for line in floods.lines().values_mut() {
            line.since =
                line.since.checked_sub(Floods::PERIOD).expect("the machine is up for longer");
        }
        assert_eq!(refuse(12).len(), 10);
        let summary = logged(&floods, || floods.sum_up());
        assert_eq!(summary, ["WARN and more like this line=\"refused\" times=5"]);
    }
}
