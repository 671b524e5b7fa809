//! Many peers in virtual time on a network that cuts, delays, refuses and stalls. For every seed,
//! frames arrive intact, from their true sender, in order and at most once, and every client
//! reconnects after the faults.
//!
//! `WADDELL_SEED=123` replays one seed and prints every step on standard error;
//! `WADDELL_SEEDS=100000` tries that many seeds.

mod world;

use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use world::{Report, run, run_legacy};

/// Seeds that once failed.
const FAILED: &[u64] = &[];

#[test]
fn every_promise_holds_for_every_seed() {
    if let Some(seed) = number("WADDELL_SEED") {
        println!("seed {seed}: {:#?}", run(seed, true));
        return;
    }
    let count = number("WADDELL_SEEDS").unwrap_or(2_000);
    let next = AtomicU64::new(0);
    let total = Mutex::new(Report::default());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let failed = FAILED.get(index as usize).copied();
                    if index >= count + FAILED.len() as u64 {
                        break;
                    }
                    let report = run_or_tell(failed.unwrap_or(index));
                    total.lock().expect("no thread panics with the lock").add(&report);
                }
            });
        }
    });
    let total = total.into_inner().expect("no thread panics with the lock");
    println!("{count} seeds: {total:#?}");
    assert_all_occurred(&total);
}

#[test]
fn same_seed_gives_the_same_run() {
    for seed in 0..20 {
        assert_eq!(run(seed, false), run(seed, false));
    }
    assert_ne!(run(1, false), run(2, false));
}

#[test]
fn clients_of_2015_get_the_same_bytes_with_and_without_the_extension() {
    for seed in 0..100 {
        let (on, off) = (run_legacy(seed, true), run_legacy(seed, false));
        assert_eq!(on.of_clients.len(), off.of_clients.len(), "seed {seed}");
        for (connection, bytes) in &on.of_clients {
            assert!(off.of_clients[connection] == *bytes, "seed {seed}, connection {connection}");
        }
        assert!(on.of_bystander > off.of_bystander, "seed {seed}: the bystander was told");
    }
}

fn run_or_tell(seed: u64) -> Report {
    catch_unwind(|| run(seed, false)).unwrap_or_else(|_| {
        panic!("replay it: WADDELL_SEED={seed} cargo test -p waddell-tests --test simulation")
    })
}

/// A simulation without faults would prove nothing.
fn assert_all_occurred(total: &Report) {
    for what in [
        "messages_delivered",
        "frames_rejected",
        "dropped_unknown",
        "dropped_full",
        "dropped_memory",
        "crowded_out",
        "dials_refused",
        "dials_unanswered",
        "connections_cut",
        "short_frame_to_client",
        "stalled",
        "expired",
        "dial_failed",
        "connection_lost",
        "timed_out",
        "server_misbehaved",
        "gave_up",
        "closed",
        "closing",
        "dropped_away",
        "resumed_away",
        "resumed_unknown",
        "taken_over",
        "taken_over_late",
        "gone",
        "renamed",
        "garbled",
        "notices_delayed",
        "dropped_told",
        "dropped_summarised",
        "former_handled",
        "former_unknown",
        "handled",
        "told_dropped",
        "told_forwarded",
        "told_maybe_dropped",
        "told_not_handled",
        "told_unknown",
    ] {
        assert!(total.of(what) > 0, "{what}: never, in {total:#?}");
    }
    assert!(total.of("messages_delivered") * 4 > total.of("messages_sent"), "{total:#?}");
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}")))
}
