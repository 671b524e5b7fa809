//! `cargo xtask test structure`: which files of a crate know which, and whether they may.
//!
//! The imports are read from the sources: every `use`, and every path that begins with `crate`,
//! `self`, `super` or a child module. Code for tests does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree};

use crate::command::root;

/// The crates whose imports are checked: the file that is the crate's root.
const CRATES: &[&str] = &[
    "core/src/lib.rs",
    "server/src/lib.rs",
    "server/src/bin/waddell-server/main.rs",
    "client/src/lib.rs",
    "client/src/bin/waddell/main.rs",
    "wasm-client/src/lib.rs",
    "bench/src/main.rs",
    "tests/soak/src/lib.rs",
    "xtask/src/main.rs",
];

/// The wings of the server, the lowest first. A file may know files of its own wing and of lower
/// ones. Files that are in no wing are the ground floor, and know no wing.
const WINGS: [&str; 4] = ["forward", "entry", "watch", "run"];

/// Most files in a circle of imports: two files that know each other are one thing in two files.
const MAX_CIRCLE: usize = 2;

/// Checks every crate for circles of imports, and the server for its wings' rule.
///
/// # Errors
///
/// Lists the circles that are too large, and the imports that break the rule.
pub(crate) fn structure() -> Result<()> {
    let mut faults = Vec::new();
    for crate_root in CRATES {
        let krate = Crate::read(&root().join(crate_root))?;
        let circles = krate.circles();
        let imports: usize = krate.imports.values().map(BTreeSet::len).sum();
        println!("{crate_root}: {} files, {imports} imports between them", krate.files.len());
        for circle in circles.iter().filter(|circle| circle.len() == 2) {
            println!("  two files that know each other: {}", circle.join(", "));
        }
        for circle in circles.iter().filter(|circle| circle.len() > MAX_CIRCLE) {
            faults.push(format!("{crate_root}: circle of imports: {}", circle.join(", ")));
        }
        if *crate_root == "server/src/lib.rs" {
            let (missing, upward) = (krate.missing_wings(), krate.upward());
            faults.extend(missing.iter().map(|wing| format!("there is no wing {wing}")));
            faults.extend(upward.iter().map(|(from, to)| {
                format!("{crate_root}: {from} must not know {to}, which is in a higher wing")
            }));
        }
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

/// The files of a crate, each named by its module's path (`forward::link`), and their imports.
#[derive(Debug, Default)]
struct Crate {
    files: BTreeSet<String>,
    imports: BTreeMap<String, BTreeSet<String>>,
}

impl Crate {
    /// Reads a crate from its root file on.
    fn read(crate_root: &Path) -> Result<Self> {
        let folder = crate_root.parent().context("a file is in a folder")?;
        let mut sources = BTreeMap::new();
        read_module(crate_root, folder, String::new(), &mut sources)?;
        Ok(Self::new(&sources))
    }

    fn new(sources: &BTreeMap<String, syn::File>) -> Self {
        let files: BTreeSet<String> = sources.keys().cloned().collect();
        let imports = sources
            .iter()
            .map(|(module, source)| {
                let mut paths = Paths { module, source, found: Vec::new() };
                paths.visit_file(source);
                let known = paths.found.iter().filter_map(|path| file_of(path, &files));
                let others = known.filter(|known| known != module);
                (module.clone(), others.collect())
            })
            .collect();
        Self { files, imports }
    }

    /// Returns each group of files that know each other, directly or through others.
    fn circles(&self) -> Vec<Vec<String>> {
        let reach: BTreeMap<&String, BTreeSet<&String>> =
            self.files.iter().map(|file| (file, self.reachable(file))).collect();
        let mut circles = BTreeSet::new();
        for file in &self.files {
            let mutual = reach[file].iter().filter(|other| reach[**other].contains(file));
            let circle: BTreeSet<String> = mutual.map(|other| (*other).clone()).collect();
            if circle.len() > 1 {
                circles.insert(circle.into_iter().collect::<Vec<_>>());
            }
        }
        circles.into_iter().collect()
    }

    fn reachable<'a>(&'a self, from: &'a String) -> BTreeSet<&'a String> {
        let mut found = BTreeSet::new();
        let mut open = vec![from];
        while let Some(file) = open.pop() {
            for next in self.imports.get(file).into_iter().flatten() {
                if found.insert(next) {
                    open.push(next);
                }
            }
        }
        found
    }

    /// Returns the imports of a file in a higher wing.
    fn upward(&self) -> Vec<(&str, &str)> {
        let mut upward = Vec::new();
        // The crate's root exports from all wings.
        for (from, known) in self.imports.iter().filter(|(from, _)| !from.is_empty()) {
            for to in known.iter().filter(|to| level(to) > level(from)) {
                upward.push((from.as_str(), to.as_str()));
            }
        }
        upward
    }

    fn missing_wings(&self) -> Vec<&'static str> {
        WINGS.into_iter().filter(|wing| !self.files.contains(*wing)).collect()
    }
}

/// Returns how high the wing of a file is; 0 is the ground floor.
fn level(module: &str) -> usize {
    let wing = module.split("::").next();
    WINGS.iter().position(|name| Some(*name) == wing).map_or(0, |index| index + 1)
}

/// Reads a file and those of its child modules. `folder` has the files of its children.
fn read_module(
    file: &Path,
    folder: &Path,
    module: String,
    sources: &mut BTreeMap<String, syn::File>,
) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let source = syn::parse_file(&text).with_context(|| file.display().to_string())?;
    for item in &source.items {
        let Item::Mod(child) = item else { continue };
        if child.content.is_some() || is_for_tests(&child.attrs) {
            continue;
        }
        let name = child.ident.to_string();
        let file: PathBuf = folder.join(format!("{name}.rs"));
        read_module(&file, &folder.join(&name), join(&module, &name), sources)?;
    }
    sources.insert(module, source);
    Ok(())
}

fn join(module: &str, name: &str) -> String {
    if module.is_empty() { name.to_owned() } else { format!("{module}::{name}") }
}

/// Returns whether a `cfg` attribute mentions tests.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let Ok(list) = attribute.meta.require_list() else { return false };
        list.path.is_ident("cfg") && list.tokens.to_string().contains("test")
    })
}

/// Returns the file that a path leads into: that of the longest part which is a module.
fn file_of(path: &[String], files: &BTreeSet<String>) -> Option<String> {
    (1..=path.len()).rev().map(|len| path[..len].join("::")).find(|module| files.contains(module))
}

/// Collects the paths in a file that lead to other modules of its crate, from the root on.
struct Paths<'a> {
    module: &'a str,
    source: &'a syn::File,
    found: Vec<Vec<String>>,
}

impl Paths<'_> {
    fn add(&mut self, path: &[String]) {
        let Some((first, rest)) = path.split_first() else { return };
        let here = self.module.split("::").filter(|name| !name.is_empty()).map(str::to_owned);
        let mut absolute: Vec<String> = here.collect();
        match first.as_str() {
            "crate" => absolute.clear(),
            "self" => {}
            "super" => {
                absolute.pop();
            }
            child if self.has_child(child) => absolute.push(child.to_owned()),
            _ => return,
        }
        for name in rest {
            if name == "super" {
                absolute.pop();
            } else {
                absolute.push(name.clone());
            }
        }
        self.found.push(absolute);
    }

    fn has_child(&self, name: &str) -> bool {
        self.source.items.iter().any(|item| match item {
            Item::Mod(child) => child.content.is_none() && child.ident == name,
            _ => false,
        })
    }

    fn add_tree(&mut self, tree: &UseTree, mut before: Vec<String>) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.add_tree(&path.tree, before);
            }
            UseTree::Name(name) => {
                before.push(name.ident.to_string());
                self.add(&before);
            }
            UseTree::Rename(rename) => {
                before.push(rename.ident.to_string());
                self.add(&before);
            }
            UseTree::Glob(_) => self.add(&before),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.add_tree(tree, before.clone());
                }
            }
        }
    }
}

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.add_tree(&item.tree, Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            let names = path.segments.iter().map(|segment| segment.ident.to_string());
            self.add(&names.collect::<Vec<_>>());
        }
        visit::visit_path(self, path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn krate(files: &[(&str, &str)]) -> Crate {
        let parse = |text: &str| syn::parse_file(text).expect("the source is valid");
        Crate::new(&files.iter().map(|(name, text)| ((*name).to_owned(), parse(text))).collect())
    }

    fn imports(krate: &Crate, file: &str) -> Vec<String> {
        krate.imports[file].iter().cloned().collect()
    }

    #[test]
    fn every_kind_of_path_is_an_import() {
        let krate = krate(&[
            ("", "mod a; mod b; mod c;"),
            (
                "a",
                "mod child; use crate::b::{self, Thing}; use child::*; \
                 fn f() -> super::c::Kind { crate::c::make() }",
            ),
            ("a::child", "use super::super::b::Other as B;"),
            ("b", ""),
            ("c", ""),
        ]);
        assert_eq!(imports(&krate, "a"), ["a::child", "b", "c"]);
        assert_eq!(imports(&krate, "a::child"), ["b"]);
        assert!(krate.circles().is_empty());
    }

    #[test]
    fn code_for_tests_does_not_count() {
        let krate = krate(&[
            ("a", "#[cfg(test)] mod tests { use crate::b::X; } #[cfg(test)] use crate::b::Y;"),
            ("b", "use crate::a::Z;"),
        ]);
        assert_eq!(imports(&krate, "a"), [""; 0]);
        assert!(krate.circles().is_empty());
    }

    #[test]
    fn circles_are_found_through_other_files() {
        let krate = krate(&[
            ("a", "use crate::b::B;"),
            ("b", "use crate::c::C;"),
            ("c", "use crate::a::A; use crate::d::D;"),
            ("d", ""),
        ]);
        assert_eq!(krate.circles(), [["a", "b", "c"]]);
    }

    #[test]
    fn an_import_from_a_higher_wing_breaks_the_rule() {
        let krate = krate(&[
            ("", "pub use run::Server;"),
            ("clock", "use crate::forward::link::Link;"),
            ("entry::http", "use crate::forward::link::Link; use crate::clock::Clock;"),
            ("forward::link", "use crate::entry::http::Http;"),
            ("run", "use crate::entry::http::Http; use crate::watch::Page;"),
            ("watch", "use crate::forward::link::Link;"),
        ]);
        let expected = [("clock", "forward::link"), ("forward::link", "entry::http")];
        assert_eq!(krate.upward(), expected);
        assert_eq!(krate.missing_wings(), ["forward", "entry"]);
    }
}
