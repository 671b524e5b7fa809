//! `cargo xtask miri`: tests in an interpreter that detects data races, leaks and undefined
//! behaviour.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::command::{nightly, output, run, succeeds};

/// Modules of the server with state that its workers share. Miri supports no sockets, so it cannot
/// run all tests.
const SHARED: [&str; 4] = ["admission::", "budget::", "deadlines::", "outbox::"];

/// The server's tests that start threads and need no socket. They run with many seeds, each with
/// another interleaving of the threads.
const THREADS: [&str; 2] = [
    "admission::tests::concurrent_admissions_stay_within_the_limit",
    "forward::budget::tests::workers_at_once_do_not_exceed_the_limit_and_give_all_back",
];

/// Without isolation, tests can use the system's clock and random numbers.
const ISOLATION: &str = "-Zmiri-disable-isolation";

/// Runs the core's tests, and those of state that the server's workers share, in Miri.
///
/// # Errors
///
/// If a test fails, or if a test or a module above is missing, as after a change of its name.
pub(crate) fn miri() -> Result<()> {
    ensure!(
        succeeds(&mut nightly(["cargo", "miri", "--version"])),
        "Miri is missing; install it: rustup toolchain install nightly --component miri,rust-src"
    );
    // The test harness succeeds if a name selects no test.
    let listing = output(server_tests(&["--list"]).env("MIRIFLAGS", ISOLATION))?;
    let missing = missing(&listing);
    ensure!(
        missing.is_empty(),
        "the server has no such tests: {}; correct the names in xtask/src/miri.rs",
        missing.join(", ")
    );
    run(&mut nightly(["cargo", "miri", "test", "-p", "waddell-core", "--lib"]))?;
    run(server_tests(&SHARED).env("MIRIFLAGS", ISOLATION))?;
    let mut threads = server_tests(&["--exact"]);
    threads.args(THREADS).env("MIRIFLAGS", format!("{ISOLATION} -Zmiri-many-seeds=0..32"));
    run(&mut threads)
}

/// Prepares a run of the server's unit tests in Miri, with arguments for the test harness.
fn server_tests(args: &[&str]) -> Command {
    let mut command = nightly(["cargo", "miri", "test", "-p", "waddell-server", "--lib", "--"]);
    command.args(args);
    command
}

/// Returns the modules and tests above that are not in the test harness's list.
fn missing(listing: &str) -> Vec<&'static str> {
    let tests: Vec<&str> = listing.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    let modules = SHARED.into_iter().filter(|part| !tests.iter().any(|test| test.contains(part)));
    modules.chain(THREADS.into_iter().filter(|name| !tests.contains(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "\
admission::tests::concurrent_admissions_stay_within_the_limit: test
forward::budget::tests::workers_at_once_do_not_exceed_the_limit_and_give_all_back: test
forward::connection::deadlines::tests::frames_extend_the_deadline: test
forward::outbox::tests::frames_leave_in_order: test

4 tests, 0 benchmarks
";

    #[test]
    fn names_that_select_no_test_are_missing() {
        assert_eq!(missing(LISTING), [""; 0]);
        let renamed = LISTING.replace("concurrent_", "simultaneous_").replace("outbox", "queue");
        assert_eq!(missing(&renamed), ["outbox::", THREADS[0]]);
        assert_eq!(missing("0 tests, 0 benchmarks").len(), SHARED.len() + THREADS.len());
    }
}
