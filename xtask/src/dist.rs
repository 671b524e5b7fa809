//! `cargo xtask dist`: the server and the command as static files in `target/dist/`. They run on
//! any Linux on this machine's architecture.

use std::env::consts::ARCH;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::command::{cargo, output, program, run, target_dir};
use crate::{install, package};

/// Builds both programs against musl, and tests that they run.
pub(crate) fn dist() -> Result<()> {
    package::build()?;
    let target = format!("{ARCH}-unknown-linux-musl");
    install::target(&target)?;
    // Two dependencies contain C: the allocator and the cryptography.
    install::debian("musl-gcc", "musl-tools")?;
    install::debian("strip", "binutils")?;
    let mut build = cargo(["build", "--release", "-p", "waddell-server", "-p", "waddell-client"]);
    build.args(["--target", &target]).env(format!("CC_{}", target.replace('-', "_")), "musl-gcc");
    run(&mut build)?;
    collect(&target_dir().join(&target).join("release"))
}

/// Copies both built programs without debug information, and tests that they run.
fn collect(built: &Path) -> Result<()> {
    let dist = target_dir().join("dist");
    fs::create_dir_all(&dist).with_context(|| format!("cannot make {}", dist.display()))?;
    for name in ["waddell-server", "waddell"] {
        let file = dist.join(name);
        run(program("strip", ["--strip-debug", "-o"]).arg(&file).arg(built.join(name)))?;
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        ensure!(is_static(&bytes)?, "{name} is not static: it needs shared libraries");
        let version = output(&mut program(&file, ["--version"]))?;
        println!("{}: {version}, {:.1} MB", file.display(), bytes.len() as f64 / 1e6);
    }
    greet(&dist)
}

/// Tests that the server greets a connection, and that the command connects to it.
fn greet(dist: &Path) -> Result<()> {
    let arguments = ["--listen", "tcp://127.0.0.1:0", "--log", "warn"];
    let mut server = Running::start(&dist.join("waddell-server"), &arguments)?;
    let line = server.line()?;
    let url = line
        .trim()
        .strip_prefix("listening on ")
        .context("the server did not print its address")?;
    let (_, address) = url.split_once("://").context("the server did not print a URL")?;
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut greeting = [0; 20];
    stream.read_exact(&mut greeting).context("the server did not greet")?;
    ensure!(greeting.starts_with(&[18, 0]), "not a greeting: {greeting:?}");
    let mut listener = Running::start(&dist.join("waddell"), &["listen", url, "--topic", "1"])?;
    let line = listener.line()?;
    ensure!(line.starts_with("id "), "the command did not print its id: {line:?}");
    println!("both programs run and connect");
    Ok(())
}

/// A running program. Dropping it kills the program.
struct Running(Child);

impl Running {
    fn start(file: &Path, arguments: &[&str]) -> Result<Self> {
        let mut command = program(file, []);
        let child = command.args(arguments).stdout(Stdio::piped()).spawn();
        Ok(Self(child.with_context(|| format!("cannot start {}", file.display()))?))
    }

    /// Returns the first line that the program prints.
    fn line(&mut self) -> Result<String> {
        let stdout = self.0.stdout.take().context("the first line was already read")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        Ok(line)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails if the program has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns whether an ELF file is static: it names no interpreter, which would load libraries.
///
/// Source: the System V ABI, "Program header"; for 64 bits, little-endian.
fn is_static(elf: &[u8]) -> Result<bool> {
    const INTERPRETER: u32 = 3;
    let field = |at: usize, len: usize| {
        let bytes = elf.get(at..at + len).context("the file is truncated")?;
        Ok::<_, anyhow::Error>(bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        bail!("not a program for 64-bit Linux");
    }
    let (table, size, count) = (field(32, 8)?, field(54, 2)?, field(56, 2)?);
    for index in 0..count {
        let at = usize::try_from(table + index * size)?;
        if field(at, 4)? == u64::from(INTERPRETER) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_an_interpreter_is_not_static() {
        let mut elf = vec![0; 64 + 2 * 56];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (elf[32], elf[54], elf[56]) = (64, 56, 2);
        elf[64] = 1;
        assert!(is_static(&elf).unwrap());
        elf[64 + 56] = 3;
        assert!(!is_static(&elf).unwrap());
        assert!(is_static(&elf[..100]).is_err());
        assert!(is_static(b"#!/bin/sh").is_err());
    }

    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn this_program_is_not_static() {
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(!is_static(&own).unwrap());
    }
}
