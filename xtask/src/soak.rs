//! `cargo xtask soak`: tests the server with thousands of peers of every kind.

use anyhow::Result;

use crate::command::{cargo, program, run, target_dir};

/// Builds the server and the soak test, and runs the test with `args`.
pub(crate) fn soak(args: &[String]) -> Result<()> {
    run(&mut cargo(["build", "--release", "-p", "waddell-server", "-p", "waddell-soak"]))?;
    run(program(target_dir().join("release/waddell-soak"), []).args(args))
}
