//! Tools that the checks need besides cargo: finds, installs or asks for them.

use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};

use crate::command::{cargo, output, program, run, succeeds, target_dir};

/// Ensures that the toolchain has a component, such as `clippy`.
pub(crate) fn component(name: &str) -> Result<()> {
    // `rustfmt` is called as `cargo fmt`.
    let subcommand = name.strip_prefix("rust").unwrap_or(name);
    if succeeds(&mut cargo([subcommand, "--version"])) {
        return Ok(());
    }
    run(&mut program("rustup", ["component", "add", name]))
}

/// Ensures that the standard library for the browser's target is installed.
pub(crate) fn wasm_target() -> Result<()> {
    target(WASM)
}

/// Ensures that the standard library for a target is installed.
pub(crate) fn target(name: &str) -> Result<()> {
    let print = ["--print", "target-libdir", "--target", name];
    if Path::new(&output(&mut program("rustc", print))?).is_dir() {
        return Ok(());
    }
    run(&mut program("rustup", ["target", "add", name]))
}

/// Ensures that a Debian program is installed: finds it on the `PATH`, or installs `package`.
pub(crate) fn debian(name: &str, package: &str) -> Result<PathBuf> {
    if let Some(path) = find(name) {
        return Ok(path);
    }
    apt_get(package)?;
    find(name)
        .with_context(|| format!("package {package} is installed, but {name} is not on the PATH"))
}

/// Ensures that a Rust program is installed: finds it on the `PATH`, or builds it.
pub(crate) fn cargo_tool(name: &str, version: &str) -> Result<PathBuf> {
    if let Some(path) = find(name) {
        return Ok(path);
    }
    let dir = target_dir().join("tools");
    let path = dir.join("bin").join(name);
    let has_version = |line: String| line.split_whitespace().last() == Some(version);
    if path.is_file() && output(&mut program(&path, ["--version"])).is_ok_and(has_version) {
        return Ok(path);
    }
    // Without optimisation the build takes a quarter of the time, and the program runs for seconds.
    let mut install = cargo(["install", "--debug", "--locked", "--version", version, name]);
    install.arg("--root").arg(&dir).env("CARGO_PROFILE_DEV_DEBUG", "false");
    run(&mut install)?;
    Ok(path)
}

/// Ensures that Node.js is installed, in a version for the browser tests.
pub(crate) fn node() -> Result<()> {
    let version = output(&mut program("node", ["--version"]))
        .context("install Node.js 20 or later: https://nodejs.org/")?;
    let major = version.trim_start_matches('v').split('.').next().unwrap_or_default();
    let recent = major.parse().is_ok_and(|major: u32| major >= 20);
    ensure!(recent, "install Node.js 20 or later: this is {version}");
    Ok(())
}

/// Installs the packages of a folder's `package-lock.json`, unless they are installed already.
pub(crate) fn npm_ci(dir: &Path) -> Result<()> {
    node()?;
    let lock = dir.join("package-lock.json");
    // npm writes this file last: it is newer than the lock file only after a complete install.
    let installed = dir.join("node_modules/.package-lock.json");
    if modified(&installed).is_some_and(|at| Some(at) >= modified(&lock)) {
        return Ok(());
    }
    run(program("npm", ["ci", "--no-audit", "--no-fund"]).current_dir(dir))
}

/// Makes a Python environment with the packages in `requirements`. Returns its `python`.
pub(crate) fn python(requirements: &Path) -> Result<PathBuf> {
    let venv = target_dir().join("venv");
    let python = venv.join("bin/python");
    let done = venv.join("requirements.txt");
    let wanted = fs::read(requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    let current = fs::read(&done).is_ok_and(|have| have == wanted);
    if current && succeeds(&mut program(&python, ["--version"])) {
        return Ok(python);
    }
    debian("python3", "python3")?;
    // Debian's python3 cannot make an environment without this package.
    if !succeeds(&mut program("python3", ["-c", "import ensurepip, venv"])) {
        apt_get("python3-venv")?;
    }
    run(program("python3", ["-m", "venv", "--clear"]).arg(&venv))?;
    let pip = ["-m", "pip", "--disable-pip-version-check", "install", "--no-deps"];
    let pinned = ["--require-hashes", "--only-binary=:all:", "-qr"];
    run(program(&python, pip).args(pinned).arg(requirements))?;
    fs::write(&done, wanted).with_context(|| format!("cannot write {}", done.display()))?;
    Ok(python)
}

/// Installs a Debian package, as root.
///
/// # Errors
///
/// If this is not root, or the installation fails. The message has the command to type.
fn apt_get(package: &str) -> Result<()> {
    let is_root = output(&mut program("id", ["-u"])).is_ok_and(|uid| uid == "0");
    if !is_root || find("apt-get").is_none() {
        bail!("{package} is missing; install it, for example: sudo apt-get install {package}");
    }
    let mut install = program("apt-get", ["install", "--yes", "--no-install-recommends", package]);
    install.env("DEBIAN_FRONTEND", "noninteractive");
    // The package lists of a fresh machine may be missing or old.
    run(&mut install).or_else(|_| {
        run(&mut program("apt-get", ["update"]))?;
        run(&mut install)
    })
}

/// Returns the path of a program on the `PATH`.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

fn modified(file: &Path) -> Option<SystemTime> {
    file.metadata().ok()?.modified().ok()
}

const WASM: &str = "wasm32-unknown-unknown";

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::command::root;

    fn lines(file: &str) -> Vec<String> {
        let text = fs::read_to_string(root().join(file)).unwrap();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }

    fn is_hex(text: &str, len: usize) -> bool {
        text.len() == len && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    }

    fn assert_is_digest(image: &str) {
        let digest = image.split_once("@sha256:").map(|(_, digest)| digest);
        assert!(digest.is_some_and(|digest| is_hex(digest, 64)), "{image} has no digest");
    }

    #[test]
    fn actions_are_pinned_by_commit_and_images_by_digest() {
        for line in lines(".github/workflows/ci.yml") {
            if let Some((_, action)) = line.split_once("uses: ") {
                let commit = action.split(['@', ' ']).nth(1).unwrap_or_default();
                assert!(is_hex(commit, 40), "{action} is not pinned by commit");
            }
            if let Some(image) = line.strip_prefix("container: ") {
                assert_is_digest(image);
            }
        }
        for line in lines("Dockerfile") {
            if let Some(image) = line.strip_prefix("FROM ").filter(|image| *image != "scratch") {
                assert_is_digest(image.split(' ').next().unwrap_or_default());
            }
        }
    }

    #[test]
    fn python_packages_have_hashes() {
        let text = lines("tests/interop/requirements.txt").join("\n");
        let packages = text.matches("==").count();
        assert_eq!((packages, text.matches("--hash=sha256:").count()), (3, 3));
    }
}
