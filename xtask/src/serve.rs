//! `cargo xtask serve`: runs the server with the demo page in it.

use std::process::Command;

use anyhow::Result;

use crate::command::{cargo, run, target_dir};
use crate::package;

/// Builds the browser package and the server, then runs the server with `args`.
pub(crate) fn serve(args: &[String]) -> Result<()> {
    let (release, args): (Vec<_>, Vec<_>) = args.iter().partition(|arg| *arg == "--release");
    package::build()?;
    let mut build = cargo(["build", "-p", "waddell-server"]);
    let profile = if release.is_empty() { "debug" } else { "release" };
    run(build.args(release))?;

    if !args.iter().any(|arg| arg.starts_with("--listen")) {
        eprintln!("open http://127.0.0.1:62480/ when the server listens; stop it with Ctrl-C");
    }
    let mut server = Command::new(target_dir().join(profile).join("waddell-server"));
    become_program(server.args(args))
}

/// Replaces this process with a program, so that the program receives its signals.
#[cfg(unix)]
fn become_program(command: &mut Command) -> Result<()> {
    use std::os::unix::process::CommandExt;

    use anyhow::Context;

    let path = command.get_program().to_owned();
    Err(command.exec()).with_context(|| format!("cannot start {}", path.display()))
}

#[cfg(not(unix))]
fn become_program(command: &mut Command) -> Result<()> {
    run(command)
}
