//! `cargo xtask deny`: licences, duplicate and banned crates, sources.

use anyhow::{Result, ensure};

use crate::command::{cargo, run, succeeds};

/// Holds the dependencies against `deny.toml`.
pub(crate) fn deny() -> Result<()> {
    ensure!(
        succeeds(&mut cargo(["deny", "--version"])),
        "cargo-deny is missing; install it: cargo install --locked cargo-deny"
    );
    run(&mut cargo(["deny", "check", "licenses", "bans", "sources"]))
}
