//! `cargo xtask miri`: tests in an interpreter that detects data races, leaks and undefined
//! behaviour.

use anyhow::{Result, ensure};

use crate::command::{nightly, run, succeeds};

/// Runs the core's tests, and those of state that the server's workers share, in Miri.
///
/// Miri supports no sockets. Tests with names that begin with `workers_at_once` start threads. They
/// run with many seeds, each with another interleaving of the threads.
pub(crate) fn miri() -> Result<()> {
    ensure!(
        succeeds(&mut nightly(["cargo", "miri", "--version"])),
        "Miri is missing; install it: rustup toolchain install nightly --component miri,rust-src"
    );
    run(&mut nightly(["cargo", "miri", "test", "-p", "waddell-core", "--lib"]))?;
    // Without isolation, tests can use the system's clock and random numbers.
    let isolation = "-Zmiri-disable-isolation";
    let mut server = nightly(["cargo", "miri", "test", "-p", "waddell-server", "--lib", "--"]);
    server.args(["admission::", "budget::", "deadlines::", "outbox::"]);
    run(server.env("MIRIFLAGS", isolation))?;
    let mut at_once =
        nightly(["cargo", "miri", "test", "-p", "waddell-server", "--lib", "workers_at_once"]);
    run(at_once.env("MIRIFLAGS", format!("{isolation} -Zmiri-many-seeds=0..32")))
}
