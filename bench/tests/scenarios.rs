//! Runs every scenario against the real server for a moment, over every transport.

use std::process::{Command, Output};
use std::thread::{JoinHandle, spawn};

use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use waddell_server::{Server, ServerConfig, self_signed};

#[test]
fn every_message_of_a_closed_loop_is_delivered() {
    let server = Running::start();
    for scheme in ["tcp", "tls", "ws", "wss"] {
        for scenario in ["pingpong", "stream", "mesh"] {
            let url = server.url(scheme);
            let found = run(&[scenario, &url, "--pairs", "3", "--size", "1000"]);
            assert!(found["messages"].as_u64() > Some(0), "{scheme} {found}");
            assert!(found["latency_us"][5][1].as_f64() > Some(0.0), "{scheme} {found}");
            assert_nothing_wrong(&found);
        }
    }
}

#[test]
fn largest_bodies_arrive_whole() {
    let server = Running::start();
    for scheme in ["tcp", "wss"] {
        let found = run(&["stream", &server.url(scheme), "--size", "65517", "--window", "4"]);
        assert!(found["messages"].as_u64() > Some(0), "{scheme} {found}");
        assert_nothing_wrong(&found);
    }
}

#[test]
fn messages_are_due_at_the_rate_asked_for() {
    let server = Running::start();
    let found = run(&["rate", &server.url("tcp"), "--pairs", "5", "--rate", "1000"]);
    let delivered = found["per_second"].as_f64().unwrap();
    assert!((250.0..4000.0).contains(&delivered), "{found}");
    assert_nothing_wrong(&found);
}

#[test]
fn connections_are_made_and_closed() {
    let server = Running::start();
    for scheme in ["tcp", "tls", "ws", "wss"] {
        let found = run(&["connect", &server.url(scheme), "--pairs", "2", "--resume"]);
        assert!(found["messages"].as_u64() > Some(1), "{scheme} {found}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn process_of_the_server_is_measured() {
    let server = Running::start();
    let pid = std::process::id().to_string();
    let url = server.url("tcp");
    let found = run(&["idle", &url, "--pairs", "100", "--server-pid", &pid]);
    assert!(found["bytes_per_connection_used"].as_f64().is_some(), "{found}");
    assert_nothing_wrong(&found);

    let found = run(&["slow", &url, "--size", "1024", "--server-pid", &pid]);
    assert!(found["others_percent"].as_f64() > Some(50.0), "{found}");
    assert!(found["after_resume"].as_u64() > Some(0), "{found}");
}

#[test]
fn server_that_is_not_there_is_named() {
    let output = program(&["stream", "tcp://127.0.0.1:1"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("tcp://127.0.0.1:1") && error.contains("refused"), "{error}");
}

fn assert_nothing_wrong(found: &Value) {
    for what in ["lost", "misordered", "damaged"] {
        assert_eq!(found[what], 0, "{found}");
    }
}

fn run(args: &[&str]) -> Value {
    let output = program(args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn program(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waddell-bench"));
    command.arg("run").args(args).args(["--seconds", "0.3", "--warm-up", "0.05"]);
    command.output().unwrap()
}

/// A server in this process, until the test ends.
struct Running {
    urls: Vec<String>,
    _certificate: TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start() -> Self {
        let certificate = TempDir::new().unwrap();
        let schemes = ["tcp", "tls", "ws", "wss"];
        let listen = schemes.map(|scheme| format!("{scheme}://127.0.0.1:0").parse().unwrap());
        let config = ServerConfig {
            listen: listen.into(),
            identity: Some(self_signed("localhost", certificate.path()).unwrap()),
            workers: 1,
            ..ServerConfig::default()
        };
        let server = Server::bind(config).unwrap();
        let urls = server.local_urls().map(ToString::to_string).collect();
        let (stop, stopped) = oneshot::channel();
        let thread = spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let stopped = async {
                // A failed test drops the sender, which stops the server too.
                let _ = stopped.await;
            };
            runtime.block_on(server.run(stopped)).unwrap();
        });
        Self { urls, _certificate: certificate, stop: Some(stop), thread: Some(thread) }
    }

    fn url(&self, scheme: &str) -> String {
        let begin = format!("{scheme}://");
        self.urls.iter().find(|url| url.starts_with(&begin)).unwrap().clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}
