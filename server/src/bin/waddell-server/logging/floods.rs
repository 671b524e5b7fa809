//! Keeps lines that others cause by the thousand from filling the log.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Lets each line of the program be logged so often in a while; counts the rest, and has
/// [`Floods::sum_up`] say how many they were.
///
/// Debugging lines are never left out: whoever asks for them wants them all.
#[derive(Clone, Debug, Default)]
pub(super) struct Floods {
    /// By the place in the program from which they come.
    lines: Arc<Mutex<HashMap<Identifier, Line>>>,
}

#[derive(Debug)]
struct Line {
    level: Level,
    since: Instant,
    said: u32,
    left_out: u64,
    /// What the first that was left out says.
    message: String,
}

impl Floods {
    /// A while.
    pub(super) const WHILE: Duration = Duration::from_secs(10);

    /// How often a line may be logged in a while: connections come and go all the time, and what an
    /// operator is to act on is clear after a few. A single client can cause as many: with these
    /// it writes some 3 kB a second at most.
    fn limit(level: Level) -> Option<u32> {
        match level {
            Level::ERROR | Level::WARN => Some(10),
            Level::INFO => Some(100),
            _ => None,
        }
    }

    /// Says which lines were left out since the last time, and how often; once in a while, and at
    /// the end.
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
            // The level is part of each place that logs, and cannot be a variable.
            match level {
                Level::ERROR => tracing::error!(target: SUMMARY, line, times, "and more like this"),
                Level::WARN => tracing::warn!(target: SUMMARY, line, times, "and more like this"),
                _ => tracing::info!(target: SUMMARY, line, times, "and more like this"),
            }
        }
    }

    /// Returns whether an event is to be logged, and takes note of it.
    fn says(&self, event: &Event<'_>, now: Instant) -> bool {
        let metadata = event.metadata();
        let level = *metadata.level();
        let Some(limit) = Self::limit(level).filter(|_| metadata.target() != SUMMARY) else {
            return true;
        };
        let mut lines = self.lines();
        let line = lines.entry(metadata.callsite()).or_insert_with(|| Line {
            level,
            since: now,
            said: 0,
            left_out: 0,
            message: String::new(),
        });
        if now.duration_since(line.since) >= Self::WHILE {
            (line.since, line.said) = (now, 0);
        }
        if line.said < limit {
            line.said += 1;
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
        self.says(event, Instant::now())
    }
}

/// Marks the lines that sum up others.
const SUMMARY: &str = "waddell_server::floods";

/// Takes the message from among an event's fields.
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

    /// What is logged while `run` runs.
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
    fn a_line_is_said_a_few_times_and_then_summed_up() {
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
    fn connections_may_be_many_and_debugging_lines_any_number() {
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
    fn after_a_while_it_is_said_again() {
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
                line.since.checked_sub(Floods::WHILE).expect("the machine is up for longer");
        }
        assert_eq!(refuse(12).len(), 10);
        let summary = logged(&floods, || floods.sum_up());
        assert_eq!(summary, ["WARN and more like this line=\"refused\" times=5"]);
    }
}
