//! A page in Prometheus's text format.

use std::fmt::{self, Write as _};

use crate::histogram::{BOUNDS, HistogramSnapshot};

/// A page in Prometheus's text format.
#[derive(Default)]
pub(super) struct Page {
    pub(super) text: String,
}

impl Page {
    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(&format!("{name}_total"), "counter", help);
        self.line(format_args!("waddell_{name}_total {value}"));
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "gauge", help);
        self.line(format_args!("waddell_{name} {value}"));
    }

    pub(super) fn labelled(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        label: &str,
        values: &[(&str, u64)],
    ) {
        self.head(name, kind, help);
        for (of, value) in values {
            self.line(format_args!("waddell_{name}{{{label}=\"{of}\"}} {value}"));
        }
    }

    /// Writes one series of a histogram. `labels` has all labels but `le`.
    pub(super) fn histogram(&mut self, name: &str, labels: &str, histogram: &HistogramSnapshot) {
        let cumulative = histogram.cumulative();
        let bounds = BOUNDS.iter().map(|(text, _)| *text).chain(["+Inf"]);
        let comma = if labels.is_empty() { "" } else { "," };
        for (bound, count) in bounds.zip(cumulative) {
            self.line(format_args!(
                "waddell_{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}"
            ));
        }
        let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let [.., count] = cumulative;
        self.line(format_args!("waddell_{name}_sum{labels} {}", histogram.sum_seconds()));
        self.line(format_args!("waddell_{name}_count{labels} {count}"));
    }

    pub(super) fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP waddell_{name} {help}"));
        self.line(format_args!("# TYPE waddell_{name} {kind}"));
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("writing to a string cannot fail");
    }
}
