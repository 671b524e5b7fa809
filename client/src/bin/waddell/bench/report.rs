//! The figures of a run, and how they are printed.

use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

use crate::output::{Failure, Output, warn};
use crate::ping::{millis, percentile};

/// Messages, by how they arrived.
#[derive(Clone, Copy, Default)]
pub(super) struct Count {
    pub(super) sent: u64,
    pub(super) intact: u64,
    pub(super) misordered: u64,
    pub(super) damaged: u64,
}

impl Count {
    fn lost(self) -> u64 {
        self.sent.saturating_sub(self.intact + self.misordered + self.damaged)
    }

    /// Fails if the server broke a promise. It may lose messages.
    pub(super) fn verdict(self) -> Result<(), Failure> {
        if self.intact == 0 {
            return Err(Failure::Failed("no message was delivered".to_owned()));
        }
        if self.misordered + self.damaged > 0 {
            let text = "messages arrived changed or out of order, which a server must not do";
            return Err(Failure::Failed(text.to_owned()));
        }
        if self.lost() > 0 {
            warn("messages were lost: the server drops those for which an outbox has no room");
        }
        Ok(())
    }
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.intact += other.intact;
        self.misordered += other.misordered;
        self.damaged += other.damaged;
    }
}

/// Figures of one phase.
#[derive(Default)]
pub(super) struct Figures {
    pub(super) count: Count,
    /// Round trips or deliveries within the phase.
    pub(super) delivered: u64,
    pub(super) elapsed: Duration,
    pub(super) times: Vec<Duration>,
}

impl Figures {
    pub(super) fn add(&mut self, other: Self) {
        self.count += other.count;
        self.delivered += other.delivered;
        self.elapsed = self.elapsed.max(other.elapsed);
        self.times.extend(other.times);
    }

    fn per_second(&self) -> f64 {
        self.delivered as f64 / self.elapsed.as_secs_f64()
    }
}

pub(super) fn print_round_trips(output: Output, mut figures: Figures) -> Result<(), Failure> {
    figures.times.sort_unstable();
    let per_second = figures.per_second();
    let figure = |percent| percentile(&figures.times, percent).map(millis);
    let (min, median, p99) = (figure(0), figure(50), figure(99));
    let text = match (min, median, p99) {
        (Some(min), Some(median), Some(p99)) => format!(
            "round trips  {per_second:.0} a second; min {min:.3} ms, median {median:.3} ms, \
             p99 {p99:.3} ms"
        ),
        _none => "round trips  none".to_owned(),
    };
    output.line(
        text,
        [
            ("event", "round_trips".into()),
            ("per_second", per_second.into()),
            ("min_ms", min.into()),
            ("median_ms", median.into()),
            ("p99_ms", p99.into()),
        ],
    )
}

pub(super) fn print_throughput(
    output: Output,
    figures: &Figures,
    size: u32,
    window: u16,
) -> Result<(), Failure> {
    let per_second = figures.per_second();
    let megabytes = per_second * f64::from(size) / 1e6;
    output.line(
        format_args!(
            "throughput   {per_second:.0} messages a second, {megabytes:.1} MB/s; \
             {window} in flight for each pair"
        ),
        [
            ("event", "throughput".into()),
            ("messages_per_second", per_second.into()),
            ("megabytes_per_second", megabytes.into()),
            ("size", size.into()),
            ("window", window.into()),
        ],
    )
}

pub(super) fn print_checks(output: Output, count: Count) -> Result<(), Failure> {
    let Count { sent, misordered, damaged, .. } = count;
    let lost = count.lost();
    output.line(
        format_args!(
            "checked      {sent} sent; {lost} lost, {misordered} misordered, {damaged} damaged"
        ),
        [
            ("event", "checked".into()),
            ("sent", sent.into()),
            ("lost", lost.into()),
            ("misordered", misordered.into()),
            ("damaged", damaged.into()),
        ],
    )
}

/// Shows a line that the next one overwrites, if standard error is a terminal.
pub(super) fn show_progress(text: impl std::fmt::Display) {
    if stderr().is_terminal() {
        // With standard error closed there is no reader.
        let _ = write!(stderr(), "\r\x1b[K{text}");
    }
}

pub(super) fn clear_progress() {
    show_progress("");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_change_or_reorder_fail() {
        let good = Count { sent: 10, intact: 9, ..Count::default() };
        assert_eq!(good.lost(), 1);
        good.verdict().unwrap();
        Count { damaged: 1, ..good }.verdict().unwrap_err();
        Count { misordered: 1, ..good }.verdict().unwrap_err();
        Count { sent: 10, ..Count::default() }.verdict().unwrap_err();
    }
}
