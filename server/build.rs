//! Embeds the demo page and, if it has been built, the browser package in the program.

use std::collections::hash_map::DefaultHasher;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

fn main() {
    let manifest_dir =
        PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets the variable"));
    let root = manifest_dir.parent().expect("the crate is in the workspace").to_owned();
    let mut out = String::new();
    // Watches all of `pkg`, because each build of the package removes and creates `pkg/web`.
    watch(&root.join("www"));
    watch(&root.join("wasm-client/pkg"));
    embed(&mut out, "EMBEDDED_WWW", &root.join("www"), "");
    embed(&mut out, "EMBEDDED_PKG", &root.join("wasm-client/pkg/web"), "pkg/");
    let out_dir = PathBuf::from(env::var("OUT_DIR").expect("cargo sets the variable"));
    fs::write(out_dir.join("embedded.rs"), out).expect("OUT_DIR can be written");
}

fn watch(folder: &Path) {
    if folder.exists() {
        println!("cargo::rerun-if-changed={}", folder.display());
    }
    println!("cargo::rerun-if-changed=build.rs");
}

/// Writes a table of the files below a folder. It is empty if there is no such folder.
fn embed(out: &mut String, name: &str, folder: &Path, prefix: &str) {
    let mut files = Vec::new();
    list(folder, &mut files);
    files.sort();
    writeln!(out, "pub(super) static {name}: &[Embedded] = &[").expect("strings can be written to");
    for file in files {
        let path = file
            .strip_prefix(folder)
            .expect("the file is below the folder")
            .to_string_lossy()
            .replace('\\', "/");
        let bytes = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let etag = format!("\"{:016x}\"", hasher.finish());
        writeln!(
            out,
            "    Embedded {{ path: {:?}, bytes: include_bytes!({:?}), etag: {etag:?} }},",
            format!("{prefix}{path}"),
            file.display().to_string(),
        )
        .expect("strings can be written to");
    }
    writeln!(out, "];").expect("strings can be written to");
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if hidden {
            continue;
        }
        if path.is_dir() {
            list(&path, files);
        } else {
            files.push(path);
        }
    }
}
