//! `cargo xtask package`: the browser client as an npm package, in `wasm-client/pkg/`.
//!
//! ```text
//!   wasm-client/pkg/
//!     package.json  README.md  LICENSE  auto.js  node.js
//!     web/        waddell.js  waddell_bg.wasm  ...     wasm-pack's target `web`: pages, Node
//!     bundler/    waddell.js  waddell_bg.js    ...     wasm-pack's target `bundler`
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, ensure};

use crate::command::{cargo, output, program, root, run, target_dir};
use crate::install;

/// Builds the package and returns its folder.
///
/// # Errors
///
/// If a tool fails, or the package is larger than [`MAX_GZIP_LEN`].
pub(crate) fn build() -> Result<PathBuf> {
    install::wasm_target()?;
    let tools = tools()?;
    // Build in another folder, so that a failed build leaves no half of a package.
    let staging = target_dir().join("npm");
    remove_dir(&staging)?;
    for target in ["web", "bundler"] {
        wasm_pack(&tools, target, &staging.join(target))?;
    }
    minify(&staging.join("web"))?;
    add_static_files(&staging)?;
    check_size(&staging.join("web"))?;

    let package = root().join("wasm-client/pkg");
    for entry in entries(&package)? {
        // This file keeps the folder in the repository: the server's build watches the folder.
        match entry.file_name() {
            Some(name) if name == ".gitignore" => {}
            _ if entry.is_dir() => remove_dir(&entry)?,
            _ => remove_file(&entry)?,
        }
    }
    for entry in entries(&staging)? {
        let to = package.join(entry.file_name().unwrap_or_default());
        fs::rename(&entry, &to).with_context(|| format!("cannot move to {}", to.display()))?;
    }
    println!("the package is in {}", package.display());
    Ok(package)
}

/// Ensures that the tools are built. Returns their folders.
pub(crate) fn tools() -> Result<Vec<PathBuf>> {
    let sources = root().join("tools");
    let products = target_dir().join("tools");
    let mut build = cargo(["build", "--quiet", "--locked", "--manifest-path"]);
    run(build.arg(sources.join("Cargo.toml")).arg("--target-dir").arg(&products))?;
    let tool = products.join("debug").join(exe("waddell-tools"));
    let bin = products.join("bin");
    create_dir(&bin)?;
    for name in ["wasm-bindgen", "wasm-bindgen-test-runner", "wasm-pack"] {
        copy(&tool, &bin.join(exe(name)))?;
    }
    // wasm-opt. Other packages of it download programs during their installation. Debian 12 has
    // version 108, whose modules crash at start.
    install::npm_ci(&sources)?;
    Ok(vec![bin, sources.join("node_modules/.bin")])
}

fn wasm_pack(tools: &[PathBuf], target: &str, out_dir: &Path) -> Result<()> {
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(tools.iter().cloned().chain(env::split_paths(&path)))?;
    let wasm_pack = tools.first().context("the tools have a folder")?.join(exe("wasm-pack"));
    // Without `no-install` it would download missing tools.
    let mut build = program(wasm_pack, ["build", "wasm-client", "--mode", "no-install"]);
    build.args(["--profile", "wasm", "--target", target, "--out-name", "waddell", "--out-dir"]);
    // The module contains the paths of source files for panics: shorten them.
    let remap = cargo_home().map(|home| format!("--remap-path-prefix={}=cargo", home.display()));
    build.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", remap.unwrap_or_default());
    run(build.arg(out_dir).env("PATH", path))?;
    // These files are for packages with one target.
    for name in ["package.json", ".gitignore", "README.md"] {
        let file = out_dir.join(name);
        if file.exists() {
            remove_file(&file)?;
        }
    }
    Ok(())
}

/// Minifies the files for pages without a bundler, by a third. Bundlers do that themselves.
fn minify(web: &Path) -> Result<()> {
    let terser = root().join("tools/node_modules/terser/bin/terser");
    for file in page_files(web)? {
        if file.extension().is_some_and(|extension| extension == "js") {
            let mut minify = program("node", []);
            minify.arg(&terser).args(["--module", "--compress", "--mangle", "--ecma", "2022"]);
            run(minify.arg("--output").args([&file, &file]))?;
        }
    }
    Ok(())
}

/// Copies the files that need no build.
fn add_static_files(package: &Path) -> Result<()> {
    let sources = root().join("wasm-client");
    copy(&sources.join("README.md"), &package.join("README.md"))?;
    copy(&root().join("LICENSE"), &package.join("LICENSE"))?;
    for entry in ["auto.js", "node.js"] {
        copy(&sources.join("npm").join(entry), &package.join(entry))?;
    }
    let template = sources.join("npm/package.json");
    let manifest = fs::read_to_string(&template)
        .with_context(|| format!("cannot read {}", template.display()))?
        .replace("@VERSION@", env!("CARGO_PKG_VERSION"));
    let file = package.join("package.json");
    fs::write(&file, manifest).with_context(|| format!("cannot write {}", file.display()))
}

/// Prints the sizes of the files that a page loads, and checks their sum.
fn check_size(web: &Path) -> Result<()> {
    let mut total = 0;
    for file in &page_files(web)? {
        let raw_len = file.metadata()?.len();
        let gzip_len = gzip_len(file)?;
        total += gzip_len;
        let name = file.file_name().unwrap_or_default().display();
        println!("{name:<20} {raw_len:>7} bytes, {gzip_len:>6} gzip");
    }
    println!("{:<20} {total:>28} gzip, of {MAX_GZIP_LEN} at most", "all");
    // This also fails without wasm-opt, which is optional for wasm-pack.
    ensure!(
        total <= MAX_GZIP_LEN,
        "the package is too large: {total} bytes gzip, of {MAX_GZIP_LEN} at most"
    );
    Ok(())
}

/// Returns the files that a page loads.
fn page_files(web: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    list(web, &mut files)?;
    files.retain(|file| file.extension().is_some_and(|ext| ext == "js" || ext == "wasm"));
    files.sort();
    Ok(files)
}

/// Returns the gzip length of a file in bytes.
fn gzip_len(file: &Path) -> Result<u64> {
    let script = "process.stdout.write(String(require('node:zlib').gzipSync(\
                  require('node:fs').readFileSync(process.argv[1]), { level: 9 }).length))";
    let len = output(Command::new("node").args(["--eval", script, "--"]).arg(file))?;
    len.parse().with_context(|| format!("node printed {len:?} instead of a length"))
}

/// Adds all files below a folder to `files`.
fn list(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for path in entries(dir)? {
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).and_then(|dir| dir.map(|entry| Ok(entry?.path())).collect());
    entries.with_context(|| format!("cannot read {}", dir.display()))
}

/// Returns the folder in which cargo keeps the sources of dependencies.
fn cargo_home() -> Option<PathBuf> {
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cargo"));
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

fn create_dir(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))
}

fn remove_dir(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    Ok(())
}

fn remove_file(file: &Path) -> Result<()> {
    fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))
}

fn exe(name: &str) -> String {
    format!("{name}{}", env::consts::EXE_SUFFIX)
}

/// Largest sum of the compressed files that a page loads, in bytes. PeerJS: 22.7 KB;
/// simple-peer: 28.3; iroh in a browser: 849.
const MAX_GZIP_LEN: u64 = 30 * 1024;
