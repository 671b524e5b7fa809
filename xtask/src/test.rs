//! `cargo xtask test`: runs every check in order.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use crate::bench;
use crate::command::{cargo, program, root, run, succeeds, target_dir};
use crate::{deny, install, lines, package, structure};

/// Runs the steps in `args`, or all. Continues after a failure, and reports all results at the end.
///
/// # Errors
///
/// If a step fails, or a name is unknown.
pub(crate) fn test(args: &[String]) -> Result<()> {
    if args.iter().any(|arg| arg == "--list") {
        for step in STEPS {
            println!("{:<12} {}", step.name, step.about);
        }
        return Ok(());
    }
    for arg in args {
        let known = STEPS.iter().any(|step| step.name == arg);
        ensure!(known, "no step {arg:?}; `cargo xtask test --list` lists them");
    }
    let chosen = STEPS.iter().filter(|step| args.is_empty() || args.iter().any(|a| a == step.name));

    let outcomes: Vec<Outcome> = chosen.map(Step::run).collect();
    println!();
    for Outcome { step, result, took } in &outcomes {
        let verdict = if result.is_ok() { "ok" } else { "FAILED" };
        println!("{:<12} {verdict:<6} {:>6.1} s", step.name, took.as_secs_f64());
    }
    let failed: Vec<_> = outcomes.iter().filter(|outcome| outcome.result.is_err()).collect();
    for Outcome { step, result, .. } in &failed {
        if let Err(error) = result {
            println!("{}: {error:#}", step.name);
        }
    }
    println!("{} passed, {} failed", outcomes.len() - failed.len(), failed.len());
    if !failed.is_empty() {
        bail!("not every step passed");
    }
    Ok(())
}

/// One check.
struct Step {
    name: &'static str,
    about: &'static str,
    check: fn() -> Result<()>,
}

/// Result of a step.
struct Outcome {
    step: &'static Step,
    result: Result<()>,
    took: Duration,
}

impl Step {
    fn run(&'static self) -> Outcome {
        println!("\n==> {}: {}", self.name, self.about);
        let start = Instant::now();
        let result = (self.check)();
        let took = start.elapsed();
        match &result {
            Ok(()) => println!("<== {}: ok in {:.1} s", self.name, took.as_secs_f64()),
            Err(error) => {
                println!("<== {}: FAILED in {:.1} s: {error:#}", self.name, took.as_secs_f64());
            }
        }
        Outcome { step: self, result, took }
    }
}

/// Every check, the quickest to fail first.
static STEPS: &[Step] = &[
    Step { name: "fmt", about: "the code is formatted", check: fmt },
    Step { name: "lines", about: "no line is wider than 100 columns", check: lines::lines },
    Step {
        name: "structure",
        about: "no circles of imports, and the rule of the server's wings",
        check: structure::structure,
    },
    Step { name: "clippy", about: "lints, warnings denied", check: clippy },
    Step { name: "wasm-lint", about: "lints for the browser's target", check: clippy_wasm },
    Step { name: "doc", about: "the documentation builds, warnings denied", check: doc },
    Step { name: "package", about: "the npm package builds, and is small enough", check: package },
    Step { name: "rust", about: "unit, property, simulation and socket tests", check: rust },
    Step { name: "doctest", about: "the examples in the documentation run", check: doctest },
    Step {
        name: "deny",
        about: "licences, banned and duplicate crates, sources",
        check: deny::deny,
    },
    Step {
        name: "instructions",
        about: "instructions of the core for a frame, compared with the record",
        check: || bench::core(&[]),
    },
    Step { name: "interop", about: "other programs as clients of the server", check: interop },
    Step { name: "npm", about: "the npm package in Node, bundlers and a browser", check: npm },
    Step { name: "e2e", about: "the page in a real browser", check: e2e },
];

fn fmt() -> Result<()> {
    install::component("rustfmt")?;
    run(&mut cargo(["fmt", "--all", "--check"]))?;
    // These are workspaces of their own, because they need other compilers or dependencies.
    for manifest in ["fuzz/Cargo.toml", "tools/Cargo.toml"] {
        run(&mut cargo(["fmt", "--check", "--manifest-path", manifest]))?;
    }
    Ok(())
}

fn clippy() -> Result<()> {
    install::component("clippy")?;
    run(&mut cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    // They are run by hand, but they have to keep up with the code.
    let mut fuzz = cargo(["clippy", "--locked", "--manifest-path", "fuzz/Cargo.toml"]);
    run(fuzz.arg("--target-dir").arg(target_dir()).args(["--", "-D", "warnings"]))
}

fn clippy_wasm() -> Result<()> {
    install::component("clippy")?;
    install::wasm_target()?;
    let mut clippy = cargo(["clippy", "--target", "wasm32-unknown-unknown"]);
    run(clippy.args(["-p", "waddell-core", "-p", "waddell-wasm", "--", "-D", "warnings"]))
}

fn doc() -> Result<()> {
    let mut doc = cargo(["doc", "--workspace", "--no-deps", "--document-private-items"]);
    run(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Builds the npm package, once for all steps. The server contains it.
fn package() -> Result<()> {
    static BUILT: OnceLock<()> = OnceLock::new();
    if BUILT.get().is_none() {
        package::build()?;
        BUILT.get_or_init(|| ());
    }
    Ok(())
}

/// Runs the tests. With cargo-nextest they run in parallel, each with a time limit.
fn rust() -> Result<()> {
    // Tests make keys of every format with it.
    install::debian("openssl", "openssl")?;
    if succeeds(&mut cargo(["nextest", "--version"])) {
        return run(&mut cargo(["nextest", "run", "--workspace"]));
    }
    run(&mut cargo(["test", "--workspace", "--lib", "--bins", "--tests"]))
}

fn doctest() -> Result<()> {
    run(&mut cargo(["test", "--workspace", "--doc"]))
}

/// Tests with Python's `ssl`, `socket` and `websockets`, `openssl s_client`, and a WebSocket-to-TCP
/// bridge as clients.
fn interop() -> Result<()> {
    let dir = root().join("tests/interop");
    install::debian("openssl", "openssl")?;
    let python = install::python(&dir.join("requirements.txt"))?;
    run(&mut cargo(["build", "-p", "waddell-server"]))?;
    let mut unittest = program(python, ["-m", "unittest", "discover", "--verbose"]);
    run(unittest.current_dir(dir).env(PROGRAMS, programs()))
}

fn npm() -> Result<()> {
    node_tests("wasm-client/tests")
}

fn e2e() -> Result<()> {
    install::debian("turnserver", "coturn")?;
    node_tests("tests/e2e")
}

/// Runs the Node.js tests of a folder that has a `package.json`.
fn node_tests(dir: &str) -> Result<()> {
    let dir = root().join(dir);
    install::debian("chromium", "chromium")?;
    install::npm_ci(&dir)?;
    package()?;
    run(&mut cargo(["build", "-p", "waddell-server", "-p", "waddell-client"]))?;
    let mut tests = program("node", ["--test"]);
    run(tests.current_dir(dir).env(PROGRAMS, programs()))
}

/// Returns the folder of the programs that tests in other languages start.
fn programs() -> PathBuf {
    target_dir().join("debug")
}

/// Environment variable that passes this folder to them.
const PROGRAMS: &str = "WADDELL_PROGRAMS";
