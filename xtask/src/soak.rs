//! `cargo xtask soak`: thousands of peers of every kind against the server.

use anyhow::Result;

use crate::command::{cargo, program, run, target_dir};

/// Builds the server and its peers, and runs them with `args`.
pub(crate) fn soak(args: &[String]) -> Result<()> {
    run(&mut cargo(["build", "--release", "-p", "waddell-server", "-p", "waddell-soak"]))?;
    run(program(target_dir().join("release/waddell-soak"), []).args(args))
}
