//! `cargo xtask fuzz`: runs every fuzz target for a while.

use anyhow::{Context, Result, bail, ensure};

use crate::command::{nightly, output, program, run, succeeds};

/// Runs each target for the seconds in the first of `args`, or for 60.
pub(crate) fn fuzz(args: &[String]) -> Result<()> {
    let seconds: u32 = match args {
        [] => 60,
        [text] => text.parse().with_context(|| format!("{text:?} is not a number of seconds"))?,
        [_, extra, ..] => bail!("unexpected {extra:?}: usage: cargo xtask fuzz [SECONDS]"),
    };
    ensure!(
        succeeds(&mut program("rustup", ["run", "nightly", "rustc", "--version"])),
        "libFuzzer needs the nightly compiler; install it: rustup toolchain install nightly"
    );
    ensure!(
        succeeds(&mut program("cargo-fuzz", ["--version"])),
        "cargo-fuzz is missing; install it: cargo install --locked cargo-fuzz"
    );
    let targets = output(&mut nightly(["cargo", "fuzz", "list"]))?;
    for target in targets.lines() {
        println!("==> {target} for {seconds} s");
        let mut fuzz = nightly(["cargo", "fuzz", "run", target, "--"]);
        run(fuzz.arg(format!("-max_total_time={seconds}")).args(["-timeout=10", "-verbosity=0"]))?;
    }
    Ok(())
}
