//! `cargo xtask miri`: tests in an interpreter that sees data races, leaks and undefined behaviour.

use anyhow::{Result, ensure};

use crate::command::{nightly, run, succeeds};

/// Runs the core's tests, and those of what the server's workers share, in Miri.
///
/// Sockets are beyond it. Those whose names begin with `workers_at_once` start threads: they are run with many
/// seeds, each of which interleaves the threads in another way.
pub(crate) fn miri() -> Result<()> {
    ensure!(
        succeeds(&mut nightly(["cargo", "miri", "--version"])),
        "Miri is missing; install it: rustup toolchain install nightly --component miri,rust-src"
    );
    run(&mut nightly(["cargo", "miri", "test", "-p", "waddell-core", "--lib"]))?;
    // The system's clock and its random numbers.
    let isolation = "-Zmiri-disable-isolation";
    let mut server = nightly(["cargo", "miri", "test", "-p", "waddell-server", "--lib", "--"]);
    server.args(["admission::", "flood::", "memory::", "outbox::"]);
    run(server.env("MIRIFLAGS", isolation))?;
    let mut at_once =
        nightly(["cargo", "miri", "test", "-p", "waddell-server", "--lib", "workers_at_once"]);
    run(at_once.env("MIRIFLAGS", format!("{isolation} -Zmiri-many-seeds=0..32")))
}
