//! `cargo xtask package`: the browser client as an npm package, in `wasm-client/pkg/`.
//!
//! ```text
//!   wasm-client/pkg/
//!     package.json  README.md  LICENSE
//!     inline/     contains the wasm file as text: bundlers, Node, pages
//!     web/        fetches the wasm file: pages, and those of the server
//!     bundler/    imports the wasm file: bundlers that can do that
//!       waddell.js  client.js  ...  waddell.d.ts         from `src/`, the same in each folder
//!       load.js                                          from `npm/`, one for each folder
//!       waddell_bg.js  waddell_bg.wasm  snippets/        from wasm-pack
//!       wasm.js                                          likewise, or from `npm/`
//!
//! In `inline` and `web` all scripts are one, `waddell.js`.
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
/// If a tool fails, or a folder of the package is larger than [`MAX_GZIP_LEN`].
pub(crate) fn build() -> Result<PathBuf> {
    install::wasm_target()?;
    let tools = tools()?;
    // Build in another folder, so that a failed build leaves no half of a package.
    let staging = target_dir().join("npm");
    remove_dir(&staging)?;
    let [bundler, web, inline] = ["bundler", "web", "inline"].map(|name| staging.join(name));
    wasm_pack(&tools, &bundler)?;
    add_sources("bundler", &bundler)?;
    add_web(&bundler, &web)?;
    add_inline(&web, &inline)?;
    // Applications import `inline`, and the server's pages `web`.
    for folder in ["inline", "web"] {
        bundle(&staging.join(folder))?;
        check_size(folder, &staging.join(folder))?;
    }
    add_static_files(&staging)?;

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

fn wasm_pack(tools: &[PathBuf], out_dir: &Path) -> Result<()> {
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(tools.iter().cloned().chain(env::split_paths(&path)))?;
    let wasm_pack = tools.first().context("the tools have a folder")?.join(exe("wasm-pack"));
    // Without `no-install` it would download missing tools.
    let mut build = program(wasm_pack, ["build", "wasm-client", "--mode", "no-install"]);
    build.args([
        "--profile",
        "wasm",
        "--target",
        "bundler",
        "--out-name",
        "waddell",
        "--no-typescript",
    ]);
    // The module contains the paths of source files for panics: shorten them.
    let remap = cargo_home().map(|home| format!("--remap-path-prefix={}=cargo", home.display()));
    build.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", remap.unwrap_or_default());
    run(build.arg("--out-dir").arg(out_dir).env("PATH", path))?;
    // The package's own module has that name.
    let bindings = out_dir.join("wasm.js");
    fs::rename(out_dir.join("waddell.js"), &bindings)
        .with_context(|| format!("cannot make {}", bindings.display()))?;
    // These files are for packages with one target.
    for name in ["package.json", ".gitignore", "README.md"] {
        let file = out_dir.join(name);
        if file.exists() {
            remove_file(&file)?;
        }
    }
    Ok(())
}

/// Adds the files around wasm-pack's to a folder of the package.
fn add_sources(folder: &str, to: &Path) -> Result<()> {
    let sources = root().join("wasm-client");
    for from in entries(&sources.join("src"))? {
        // wasm-bindgen copies the imports.
        let name = from.file_name().filter(|name| *name != "imports.js");
        if let Some(name) = name.filter(|_| from.extension().is_some_and(|ext| ext == "js")) {
            copy(&from, &to.join(name))?;
        }
    }
    copy(&sources.join("src/types.d.ts"), &to.join("waddell.d.ts"))?;
    copy(&sources.join("npm").join(folder).join("load.js"), &to.join("load.js"))
}

/// Makes the folder that fetches the wasm file.
fn add_web(bundler: &Path, web: &Path) -> Result<()> {
    copy_dir(bundler, web)?;
    // Less than a third of the code that wasm-pack has for the target `web`.
    copy(&root().join("wasm-client/npm/wasm.js"), &web.join("wasm.js"))?;
    add_sources("web", web)
}

/// Makes the folder whose wasm file is text within `load.js`.
fn add_inline(web: &Path, inline: &Path) -> Result<()> {
    copy_dir(web, inline)?;
    remove_file(&inline.join("waddell_bg.wasm"))?;
    add_sources("inline", inline)?;
    let load = inline.join("load.js");
    let gzip =
        node("gzipSync(file, { level: 9 }).toString('base64')", &web.join("waddell_bg.wasm"))?;
    write(&load, &read(&load)?.replace("@GZIP@", &gzip))
}

/// Makes one minified script of all scripts of a folder. Compressed, it is 1 KB smaller than they
/// are together, and a page fetches one file in place of twelve.
fn bundle(folder: &Path) -> Result<()> {
    let modules = root().join("tools/node_modules");
    let bundle = folder.with_extension("js");
    let mut join = program("node", []);
    join.arg(modules.join("rollup/dist/bin/rollup")).args(["--silent", "--format", "es"]);
    run(join.arg(folder.join("waddell.js")).arg("--file").arg(&bundle))?;
    for file in page_files(folder)? {
        if file.extension().is_some_and(|extension| extension == "js") {
            remove_file(&file)?;
        }
    }
    remove_dir(&folder.join("snippets"))?;
    let mut minify = program("node", []);
    minify.arg(modules.join("terser/bin/terser"));
    minify.args(["--module", "--compress", "--mangle", "--ecma", "2022"]);
    run(minify.arg(&bundle).arg("--output").arg(folder.join("waddell.js")))?;
    remove_file(&bundle)
}

/// Copies the files that need no build.
fn add_static_files(package: &Path) -> Result<()> {
    let sources = root().join("wasm-client");
    copy(&sources.join("README.md"), &package.join("README.md"))?;
    copy(&root().join("LICENSE"), &package.join("LICENSE"))?;
    let manifest = read(&sources.join("npm/package.json"))?;
    let manifest = manifest.replace("@VERSION@", env!("CARGO_PKG_VERSION"));
    write(&package.join("package.json"), &manifest)
}

/// Prints the sizes of the files that a page loads, and checks their sum.
fn check_size(name: &str, folder: &Path) -> Result<()> {
    let mut total = 0;
    println!("{name}/");
    for file in &page_files(folder)? {
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
        "{name} is too large: {total} bytes gzip, of {MAX_GZIP_LEN} at most"
    );
    Ok(())
}

/// Returns the files that a page loads.
fn page_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    list(folder, &mut files)?;
    files.retain(|file| file.extension().is_some_and(|ext| ext == "js" || ext == "wasm"));
    files.sort();
    Ok(files)
}

/// Returns the gzip length of a file in bytes.
fn gzip_len(file: &Path) -> Result<u64> {
    let len = node("String(gzipSync(file, { level: 9 }).length)", file)?;
    len.parse().with_context(|| format!("node printed {len:?} instead of a length"))
}

/// Returns the value of a JavaScript expression about the bytes `file`, with `node:zlib` in scope.
fn node(expression: &str, file: &Path) -> Result<String> {
    let script = format!(
        "const {{ gzipSync }} = require('node:zlib'); \
         const file = require('node:fs').readFileSync(process.argv[1]); \
         process.stdout.write({expression})"
    );
    output(Command::new("node").args(["--eval", &script, "--"]).arg(file))
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

fn copy_dir(from: &Path, to: &Path) -> Result<()> {
    let mut files = Vec::new();
    list(from, &mut files)?;
    for file in files {
        let copied = to.join(file.strip_prefix(from)?);
        create_dir(copied.parent().context("a file has a folder")?)?;
        copy(&file, &copied)?;
    }
    Ok(())
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
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

/// Largest sum of the compressed files that a page loads, in bytes: half a kilobyte more than that
/// of `inline`, the larger folder. PeerJS: 22.7 KB; simple-peer: 28.3; iroh in a browser: 849.
const MAX_GZIP_LEN: u64 = 29_300;
