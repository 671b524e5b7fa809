//! The Grafana dashboard uses exactly the metrics of `/metrics`.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::admin::{get, serve_operators};
use crate::support::server::TestServer;

const DASHBOARD: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../server/grafana/dashboard.json"));

/// Returns the names of metrics in a text.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    text.split(move |letter| !is_part(letter)).filter(|name| name.starts_with("waddell_"))
}

/// Returns the labels that an expression groups by.
fn grouped_by(text: &str) -> impl Iterator<Item = &str> {
    let lists = text.split(" by (").skip(1).filter_map(|rest| rest.split(')').next());
    lists.flat_map(|list| list.split(", "))
}

/// Collects every text under the key `expr` or `query`, at any depth.
fn expressions<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text) if key == "expr" || key == "query" => found.push(text),
                    other => expressions(other, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| expressions(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test]
async fn the_dashboard_shows_every_metric_and_no_other() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("it is JSON");
    let mut asked = Vec::new();
    expressions(&dashboard, &mut asked);
    let labels: BTreeSet<_> = asked.iter().copied().flat_map(grouped_by).collect();
    let asked: BTreeSet<_> = asked.into_iter().flat_map(names).collect();
    assert!(asked.len() > 10, "{asked:?}");

    let server = TestServer::start_with(serve_operators);
    let metrics = get(&server, "/metrics").await;
    let samples: BTreeSet<_> =
        metrics.text().lines().filter(|line| !line.starts_with('#')).flat_map(names).collect();
    let unknown: Vec<_> = asked.difference(&samples).collect();
    assert!(unknown.is_empty(), "/metrics has no {unknown:?}");

    for label in labels {
        assert!(metrics.text().contains(&format!("{label}=\"")), "no metric has {label:?}");
    }

    let families = metrics.text().lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let shown: BTreeSet<_> =
        asked.iter().map(|name| name.strip_suffix("_bucket").unwrap_or(name)).collect();
    let families: BTreeSet<_> = families.filter_map(|line| line.split(' ').next()).collect();
    let missing: Vec<_> = families.difference(&shown).collect();
    assert!(missing.is_empty(), "no panel shows {missing:?}");
}
