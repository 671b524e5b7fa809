//! `cargo xtask deny`: licences, duplicate and banned crates, sources.

use anyhow::Result;

use crate::command::{program, run};
use crate::install;

/// Checks the dependencies against `deny.toml`. It does not check advisories: they change from day
/// to day, and need the network.
pub(crate) fn deny() -> Result<()> {
    let cargo_deny = install::cargo_tool("cargo-deny", "0.20.2")?;
    run(&mut program(cargo_deny, ["check", "licenses", "bans", "sources"]))
}
