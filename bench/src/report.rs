//! Tables of results: medians, ranges and ratios.

use std::fs;
use std::io::{Write, stdout};
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::outcome::Outcome;
use crate::record::{Line, ON_ONE, ON_TWO, Record};
use crate::scenario::Scenario;

/// Prints the tables of files of raw lines.
///
/// # Errors
///
/// A file cannot be read, or does not hold raw lines.
pub(crate) fn print_files(files: &[PathBuf]) -> Result<()> {
    let mut records = Vec::new();
    for file in files {
        let place = || format!("{}", file.display());
        for line in fs::read_to_string(file).with_context(place)?.lines() {
            match serde_json::from_str(line).with_context(place)? {
                Line::Run(record) => records.push(*record),
                Line::Machine(_) => {}
            }
        }
    }
    print(&records)
}

/// Prints a table for each kind of figure in the records.
///
/// # Errors
///
/// Standard output is closed.
pub(crate) fn print(records: &[Record]) -> Result<()> {
    Ok(stdout().write_all(tables(records).as_bytes())?)
}

/// Returns the tables, in Markdown.
fn tables(records: &[Record]) -> String {
    let mut text = String::new();
    let servers = distinct(records.iter().map(|record| &*record.server));
    for (title, figure) in FIGURES {
        text += &table(records, &servers, title, *figure);
    }
    text += &scaling(records, &servers);
    let problem = |record: &&Record| {
        let Outcome { misordered, damaged, .. } = record.outcome;
        misordered + damaged > 0
            || record.outcome.lost > 0 && record.outcome.scenario != Some(Scenario::Slow)
    };
    for record in records.iter().filter(problem) {
        let Outcome { lost, misordered, damaged, .. } = record.outcome;
        text += &format!(
            "\n{} {}, round {}: {lost} lost, {misordered} misordered, {damaged} damaged\n",
            record.server, record.run, record.round
        );
    }
    text
}

/// Returns the summary of a finished run.
pub(crate) fn one_line(record: &Record) -> String {
    let Record { run, server, outcome, .. } = record;
    let mut line = format!("{run:<18} {server:<15} {:>10.0}/s", outcome.per_second);
    if let Some(cpu) = outcome.cpu_us {
        line.push_str(&format!("  {cpu:>8.3} us CPU"));
    }
    if let Some(bytes) = outcome.bytes_per_connection {
        line.push_str(&format!("  {bytes:>8.0} B each"));
    }
    if let Some((median, p99)) = outcome.latency(50.0).zip(outcome.latency(99.0)) {
        line.push_str(&format!("  p50 {median:.0} us, p99 {p99:.0} us"));
    }
    line
}

fn table(records: &[Record], servers: &[&str], title: &str, figure: Figure) -> String {
    let has: Vec<&Record> =
        records.iter().filter(|record| figure(&record.outcome).is_some()).collect();
    if has.is_empty() {
        return String::new();
    }
    let servers: Vec<_> =
        servers.iter().filter(|name| has.iter().any(|record| record.server == **name)).collect();
    let mut header = vec!["run".to_owned()];
    header.extend(servers.iter().map(|name| (**name).to_owned()));
    header.extend(servers.iter().skip(1).map(|name| format!("{name} / {}", servers[0])));
    let mut rows = vec![header];
    for run in distinct(has.iter().map(|record| &*record.run)) {
        let mut row = vec![run.to_owned()];
        let spreads: Vec<_> = servers
            .iter()
            .map(|name| {
                let of = has.iter().filter(|record| record.run == run && record.server == ***name);
                Spread::new(of.filter_map(|record| figure(&record.outcome)).collect())
            })
            .collect();
        row.extend(
            spreads.iter().map(|spread| spread.as_ref().map_or_else(String::new, Spread::show)),
        );
        row.extend(spreads.iter().skip(1).map(|spread| {
            let both = spreads[0].as_ref().zip(spread.as_ref());
            let ratio = both.map(|(first, other)| other.median / first.median);
            ratio
                .filter(|ratio| ratio.is_finite())
                .map_or_else(String::new, |ratio| format!("{ratio:.2}"))
        }));
        rows.push(row);
    }
    format!("\n{title}: median (least to greatest)\n\n{}", align(&rows))
}

/// Compares the throughput of server and load on two processors with that on one.
fn scaling(records: &[Record], servers: &[&str]) -> String {
    let median = |run: &str, server: &str| {
        let of = records.iter().filter(|record| record.run == run && record.server == server);
        Spread::new(of.map(|record| record.outcome.per_second).collect())
            .map(|spread| spread.median)
    };
    let runs = records.iter().filter_map(|record| record.run.strip_suffix(ON_ONE));
    let mut rows: Vec<Vec<String>> = distinct(runs)
        .into_iter()
        .map(|run| {
            let ratios = servers.iter().map(|server| {
                let one = median(&format!("{run}{ON_ONE}"), server)?;
                let two = median(&format!("{run}{ON_TWO}"), server)?;
                Some(format!("{:.2}", two / one))
            });
            let ratios = ratios.map(Option::unwrap_or_default);
            [run.to_owned()].into_iter().chain(ratios).collect()
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let header = ["run"].iter().chain(servers).map(|name| (*name).to_owned()).collect();
    rows.insert(0, header);
    format!(
        "\nDeliveries or connections a second with server and load on two processors, as a \
         multiple of those on one: medians\n\n{}",
        align(&rows)
    )
}

/// Writes a table in Markdown, its columns aligned.
fn align(rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let widths: Vec<_> = (0..rows[0].len()).map(width).collect();
    for (index, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        text += &format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "));
        if index == 0 {
            let lines = widths.iter().enumerate().map(|(column, width)| match column {
                0 => "-".repeat(*width),
                _ => format!("{}:", "-".repeat(width - 1)),
            });
            text += &format!("| {} |\n", lines.collect::<Vec<_>>().join(" | "));
        }
    }
    text
}

struct Spread {
    least: f64,
    median: f64,
    greatest: f64,
}

impl Spread {
    fn new(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.len() {
            0 => return None,
            even if even % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
            _odd => values[middle],
        };
        Some(Self { least: values[0], median, greatest: values[values.len() - 1] })
    }

    fn show(&self) -> String {
        let Self { least, median, greatest } = self;
        format!("{} ({} to {})", digits(*median), digits(*least), digits(*greatest))
    }
}

/// Writes a number with three significant digits.
fn digits(number: f64) -> String {
    match number.abs() {
        0.0 => "0".to_owned(),
        size if size < 1.0 => format!("{number:.3}"),
        size if size < 10.0 => format!("{number:.2}"),
        size if size < 100.0 => format!("{number:.1}"),
        _large => format!("{number:.0}"),
    }
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut distinct = Vec::new();
    for name in names {
        if !distinct.contains(&name) {
            distinct.push(name);
        }
    }
    distinct
}

type Figure = fn(&Outcome) -> Option<f64>;

const FIGURES: &[(&str, Figure)] = &[
    ("Server CPU for each delivery or connection, microseconds", |outcome| {
        outcome.cpu_us.filter(|_| outcome.scenario != Some(Scenario::Slow))
    }),
    ("Deliveries or connections a second, thousands", |outcome| {
        let rate = match outcome.scenario? {
            Scenario::Pingpong | Scenario::Stream | Scenario::Mesh | Scenario::Connect => {
                outcome.per_second
            }
            Scenario::Rate | Scenario::Idle | Scenario::Slow => return None,
        };
        Some(rate / 1000.0)
    }),
    ("Latency, p50, microseconds", |outcome| timed(outcome, 50.0)),
    ("Latency, p99, microseconds", |outcome| timed(outcome, 99.0)),
    ("Resident bytes for each idle connection", |outcome| outcome.bytes_per_connection),
    ("The same after one message in and one out", |outcome| outcome.bytes_per_connection_used),
    ("CPU of the idle server, percent of a processor", |outcome| {
        outcome.cpu_percent.filter(|_| outcome.scenario == Some(Scenario::Idle))
    }),
    ("One recipient reads nothing: deliveries to the others, percent", |outcome| {
        outcome.others_percent
    }),
    (
        "One recipient reads nothing: longest gap in its sender's other flow, milliseconds",
        |outcome| outcome.longest_gap_ms,
    ),
    ("One recipient reads nothing: growth of the server's memory, MB", |outcome| {
        outcome.resident_growth_mb
    }),
];

/// Returns a latency, unless the load fills the server's outboxes, which would decide it.
fn timed(outcome: &Outcome, percent: f64) -> Option<f64> {
    match outcome.scenario? {
        Scenario::Pingpong | Scenario::Rate | Scenario::Connect => outcome.latency(percent),
        Scenario::Stream | Scenario::Mesh | Scenario::Idle | Scenario::Slow => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_an_even_number_lies_in_the_middle() {
        assert_eq!(Spread::new(vec![4.0, 1.0, 2.0]).unwrap().show(), "2.00 (1.00 to 4.00)");
        assert_eq!(Spread::new(vec![300.0, 1.0, 2.0, 0.5]).unwrap().show(), "1.50 (0.500 to 300)");
        assert!(Spread::new(vec![]).is_none());
    }

    #[test]
    fn two_processors_stand_against_one() {
        let record = |run: &str, per_second| Record {
            run: run.to_owned(),
            server: "a".to_owned(),
            round: 1,
            outcome: Outcome { per_second, ..Outcome::default() },
        };
        let records = [record("mesh on 1 processor", 100.0), record("mesh on 2 processors", 170.0)];
        let text = tables(&records);
        assert!(text.contains("| mesh | 1.70 |"), "{text}");
    }

    #[test]
    fn servers_stand_beside_each_other_with_their_ratio() {
        let record = |server: &str, round, cpu_us| Record {
            run: "stream 50".to_owned(),
            server: server.to_owned(),
            round,
            outcome: Outcome {
                scenario: Some(Scenario::Slow),
                others_percent: cpu_us,
                ..Outcome::default()
            },
        };
        let records =
            [record("a", 1, Some(50.0)), record("b", 1, Some(99.0)), record("a", 2, Some(40.0))];
        let text = tables(&records);
        let row = "| stream 50 | 45.0 (40.0 to 50.0) | 99.0 (99.0 to 99.0) |  2.20 |";
        assert!(text.contains(row), "{text}");
    }
}
