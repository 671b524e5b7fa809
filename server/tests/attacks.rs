//! Kinds of abuse, each against a server of its own beside healthy pairs: the server stays within
//! its memory, and they lose nothing and are answered. `cargo test -p waddell-server --test attacks
//! -- --nocapture --test-threads=1` shows what each costs; `WADDELL_TEST_CONNECTIONS=19000` makes
//! those that are made with many connections with that many.
#![cfg(target_os = "linux")]

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use waddell_soak::{Attack, Launch, Siege, attack};

/// Checks that the server withstands an attack.
#[track_caller]
fn withstands(kind: Attack, connections: usize) {
    let connections = match env::var("WADDELL_TEST_CONNECTIONS") {
        Ok(number) => number.parse().expect("WADDELL_TEST_CONNECTIONS is a number"),
        Err(_unset) => connections,
    };
    let launch = Launch {
        program: PathBuf::from(env!("CARGO_BIN_EXE_waddell-server")),
        flags: Vec::new(),
        descriptors: None,
    };
    let siege = Siege { launch, connections, duration: Duration::from_secs(2) };
    match attack(kind, &siege) {
        Ok(cost) => println!("{cost:#?}"),
        Err(error) => panic!("{error:#}"),
    }
}

#[test]
fn handshakes_a_byte_at_a_time_end_at_the_handshake_timeout() {
    withstands(Attack::SlowHandshakes, 400);
}

#[test]
fn half_open_tls_ends_at_the_handshake_timeout() {
    withstands(Attack::HalfOpenTls, 400);
}

#[test]
fn frames_a_byte_at_a_time_are_cheap_and_end_at_the_idle_timeout() {
    withstands(Attack::SlowFrames, 200);
}

#[test]
fn idle_connections_beyond_the_last_descriptor_stop_nobody_who_is_in() {
    withstands(Attack::Idle, 1500);
}

#[test]
fn a_flood_of_connections_stops_at_the_limit() {
    withstands(Attack::FloodAll, 2000);
}

#[test]
fn a_flood_from_one_address_shuts_out_nobody_else() {
    withstands(Attack::FloodAddress, 2000);
}

#[test]
fn a_firehose_to_who_never_reads_stops_nobody_else() {
    withstands(Attack::Unread, 0);
}

#[test]
fn a_firehose_to_nobody_stops_nobody_else() {
    withstands(Attack::Unknown, 0);
}

#[test]
fn a_firehose_to_oneself_stops_nobody_else() {
    withstands(Attack::Oneself, 0);
}
