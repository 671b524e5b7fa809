//! The numbers of `/metrics`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

/// One reading of `/metrics`: numbers by name and labels.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    values: BTreeMap<String, f64>,
}

impl Reading {
    /// Parses Prometheus's text format.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let values = lines.map(|line| {
            let (name, value) = line.rsplit_once(' ').context("a line without a value")?;
            let value = value.parse().with_context(|| format!("no number: {line:?}"))?;
            Ok((name.to_owned(), value))
        });
        Ok(Self { values: values.collect::<Result<_>>()? })
    }

    /// Returns the sum of a name's values over all labels.
    pub(crate) fn sum(&self, name: &str) -> Result<u64> {
        let values = self.labelled(name);
        ensure!(!values.is_empty(), "/metrics has no {name}");
        Ok(values.values().sum())
    }

    /// Returns a name's values by their labels.
    pub(crate) fn labelled(&self, name: &str) -> BTreeMap<&str, u64> {
        let values = self.values.iter().filter_map(|(key, value)| {
            let labels = key.strip_prefix(name)?;
            (labels.is_empty() || labels.starts_with('{')).then_some((labels, *value as u64))
        });
        values.collect()
    }

    /// Returns every counter without `waddell_` and `_total` in its name.
    pub(crate) fn totals(&self) -> BTreeMap<String, u64> {
        let totals = self.values.iter().filter_map(|(key, value)| {
            let name = key.strip_prefix("waddell_")?;
            name.contains("_total").then(|| (name.replace("_total", ""), *value as u64))
        });
        totals.collect()
    }

    /// Checks that each frame is counted once as received and once by its outcome.
    pub(crate) fn check_sum(&self) -> Result<()> {
        let frames_in = self.sum("waddell_frames_in_total")?;
        let mut accounted = 0;
        for part in [
            "waddell_frames_forwarded_total",
            "waddell_keep_alives_total",
            "waddell_frames_rejected_total",
            "waddell_frames_dropped_total",
            "waddell_controls_total",
            "waddell_controls_ignored_total",
        ] {
            accounted += self.sum(part)?;
        }
        ensure!(
            frames_in == accounted,
            "{frames_in} frames were received, but {accounted} have an outcome"
        );
        Ok(())
    }

    /// Checks that the peers present are those that connected and have not disconnected.
    pub(crate) fn check_peers(&self) -> Result<()> {
        let peers = self.sum("waddell_peers")?;
        let connected = self.sum("waddell_peers_connected_total")?;
        let disconnected = self.sum("waddell_peers_disconnected_total")?;
        ensure!(
            connected.checked_sub(disconnected) == Some(peers),
            "{peers} peers are present, but {connected} connected and {disconnected} disconnected"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
# HELP waddell_frames_in_total Whole frames received.
# TYPE waddell_frames_in_total counter
waddell_frames_in_total 28
waddell_frames_forwarded_total 10
waddell_keep_alives_total 1
waddell_controls_total 4
waddell_controls_ignored_total 3
waddell_frames_rejected_total{reason=\"short\"} 2
waddell_frames_rejected_total{reason=\"reserved recipient\"} 3
waddell_frames_dropped_total{reason=\"outbox full\"} 5
waddell_peers{transport=\"tcp\"} 2
waddell_peers{transport=\"wss\"} 1
waddell_peers_connected_total 9
waddell_peers_disconnected_total 6
waddell_lag_seconds_sum 0.25
";

    #[test]
    fn labels_are_summed_and_names_are_kept_apart() {
        let reading = Reading::parse(PAGE).unwrap();
        assert_eq!(reading.sum("waddell_peers").unwrap(), 3);
        assert_eq!(reading.sum("waddell_frames_rejected_total").unwrap(), 5);
        assert_eq!(
            reading.labelled("waddell_peers")["{transport=\"wss\"}"],
            1,
            "and not peers_connected"
        );
        reading.sum("waddell_none").unwrap_err();
        Reading::parse("waddell_peers many").unwrap_err();
    }

    #[test]
    fn a_missing_frame_or_peer_is_detected() {
        let reading = Reading::parse(PAGE).unwrap();
        reading.check_sum().unwrap();
        reading.check_peers().unwrap();
        for (line, other) in [
            ("frames_in_total 28", "frames_in_total 29"),
            ("outbox full\"} 5", "outbox full\"} 6"),
            ("keep_alives_total 1", "keep_alives_total 0"),
            ("controls_total 4", "controls_total 5"),
            ("controls_ignored_total 3", "controls_ignored_total 2"),
        ] {
            Reading::parse(&PAGE.replace(line, other)).unwrap().check_sum().unwrap_err();
        }
        for (line, other) in
            [("disconnected_total 6", "disconnected_total 10"), ("wss\"} 1", "wss\"} 0")]
        {
            Reading::parse(&PAGE.replace(line, other)).unwrap().check_peers().unwrap_err();
        }
    }
}
