//! Requests of an operator.

use std::net::SocketAddr;

use tokio::net::TcpStream;
use waddell_server::ServerConfig;

use super::http::{Response, ask};
use super::server::TestServer;
use super::soon;

/// Sets `--admin`.
pub(crate) fn serve_operators(config: &mut ServerConfig) {
    config.admin.address = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
}

/// Gets a page.
pub(crate) async fn get(server: &TestServer, path: &str) -> Response {
    let admin = server.admin.expect("it is configured");
    let mut stream = soon(TcpStream::connect(admin)).await.expect("it listens");
    ask(&mut stream, &format!("GET {path}")).await
}

/// Returns the value of a line of `/metrics`.
pub(crate) fn value(metrics: &str, name: &str) -> u64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is there: {metrics}")).parse().expect("it is a number")
}

/// Gets `/metrics`, and returns the value of a line.
pub(crate) async fn read(server: &TestServer, name: &str) -> u64 {
    value(get(server, "/metrics").await.text(), name)
}

/// Returns the values of a counter by its one label, without zeros.
pub(crate) async fn by_label(server: &TestServer, name: &str) -> Vec<(String, u64)> {
    let metrics = get(server, "/metrics").await;
    let start = format!("{name}{{");
    let lines = metrics.text().lines().filter(|line| line.starts_with(&start));
    lines
        .map(|line| {
            let (label, value) = line.rsplit_once(' ').expect("a value follows");
            let word = label.split('"').nth(1).expect("the label has a value");
            (word.to_owned(), value.parse().expect("it is a number"))
        })
        .filter(|(_, value)| *value > 0)
        .collect()
}
