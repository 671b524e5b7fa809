//! Attacks, each on its own server with healthy pairs of peers. The server must stay within its
//! memory, and the pairs must lose no frame and be answered in time.
//!
//! `cargo test -p waddell-server --test attacks -- --nocapture --test-threads=1` prints the cost of
//! each. `WADDELL_TEST_CONNECTIONS=19000` sets the number of connections.
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
fn idle_connections_beyond_the_last_descriptor_do_not_disturb_connected_peers() {
    withstands(Attack::Idle, 1500);
}

#[test]
fn a_flood_of_connections_stops_at_the_limit() {
    withstands(Attack::FloodAll, 2000);
}

#[test]
fn a_flood_from_one_address_does_not_lock_out_other_addresses() {
    withstands(Attack::FloodAddress, 2000);
}

#[test]
fn a_firehose_to_a_peer_that_never_reads_does_not_disturb_others() {
    withstands(Attack::Unread, 0);
}

#[test]
fn a_firehose_to_unknown_ids_does_not_disturb_others() {
    withstands(Attack::Unknown, 0);
}

#[test]
fn a_firehose_from_a_peer_to_itself_does_not_disturb_others() {
    withstands(Attack::Oneself, 0);
}

#[test]
fn a_firehose_of_verdicts_does_not_disturb_others() {
    withstands(Attack::Verdicts, 0);
}

#[test]
fn hundreds_of_watchers_of_one_peer_do_not_disturb_others() {
    withstands(Attack::Watchers, 300);
}

#[test]
fn made_up_resume_tokens_are_never_good() {
    withstands(Attack::Tokens, 0);
}

#[test]
fn peers_that_are_lost_at_once_cost_bounded_memory() {
    withstands(Attack::Tombstones, 2_000);
}

#[test]
fn a_firehose_of_requests_for_new_ids_gives_few() {
    withstands(Attack::Renewals, 0);
}

#[test]
fn two_programs_with_one_resume_token_do_not_fight_for_ever() {
    withstands(Attack::Takeovers, 0);
}

#[test]
fn a_firehose_of_bad_control_frames_does_not_disturb_others() {
    withstands(Attack::Controls, 0);
}
