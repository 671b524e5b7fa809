//! Calls of other programs.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Returns the workspace's root folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace's root")
}

/// Returns the folder of build products, which is that of the caller's cargo.
pub(crate) fn target_dir() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Prepares a call of the cargo that runs this program, in the workspace's root.
pub(crate) fn cargo<const N: usize>(args: [&str; N]) -> Command {
    program(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), args)
}

/// Prepares a call of a program, in the workspace's root.
pub(crate) fn program<const N: usize>(name: impl AsRef<OsStr>, args: [&str; N]) -> Command {
    let mut command = Command::new(name);
    command.args(args).current_dir(root());
    command
}

/// Prepares a call of a program with the nightly toolchain, in the workspace's root.
pub(crate) fn nightly<const N: usize>(args: [&str; N]) -> Command {
    let mut command = program("rustup", ["run", "nightly"]);
    // Remove the variables that this program's cargo has set for its own toolchain.
    command.args(args).env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
    command
}

/// Runs a command and waits for its end.
///
/// # Errors
///
/// If it cannot be started, or fails. The message shows the command line.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start `{}`", line(command)))?;
    ensure!(status.success(), "`{}` failed: {status}", line(command));
    Ok(())
}

/// Returns whether a command starts and succeeds. Hides its output.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// Runs a command and returns what it printed on standard output, trimmed.
///
/// # Errors
///
/// Like [`run`].
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{}`", line(command)))?;
    ensure!(output.status.success(), "`{}` failed: {}", line(command), output.status);
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Returns the command line, as one would type it.
fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
