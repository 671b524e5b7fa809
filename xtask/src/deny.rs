//! `cargo xtask deny`: licences, duplicate and banned crates, sources.

use anyhow::Result;

use crate::command::{program, run};
use crate::install;

/// Holds the dependencies against `deny.toml`. Advisories are left out: whether a dependency is
/// known to be flawed changes from day to day, and asking takes the network.
pub(crate) fn deny() -> Result<()> {
    let cargo_deny = install::cargo_tool("cargo-deny", "0.20.2")?;
    run(&mut program(cargo_deny, ["check", "licenses", "bans", "sources"]))
}
