//! `cargo xtask bench`: compares the server's costs with other servers'; `--core`: instructions.

use anyhow::Result;

use crate::command::{cargo, program, run, target_dir};
use crate::install;

/// Builds the server and the load generator, and runs its suite with `args`.
///
/// With `--core`, counts the core's instructions instead, and compares them with the record.
pub(crate) fn bench(args: &[String]) -> Result<()> {
    if let Some(("--core", rest)) = args.split_first().map(|(first, rest)| (&**first, rest)) {
        return core(rest);
    }
    run(&mut cargo(["build", "--release", "-p", "waddell-server", "-p", "waddell-bench"]))?;
    let mut suite = program(target_dir().join("release/waddell-bench"), ["suite"]);
    run(suite.args(args))
}

/// Counts the instructions that the core executes for a frame.
pub(crate) fn core(args: &[String]) -> Result<()> {
    install::debian("valgrind", "valgrind")?;
    let mut count = cargo(["run", "--quiet", "--release", "-p", "waddell-bench-core", "--"]);
    run(count.args(args))
}
