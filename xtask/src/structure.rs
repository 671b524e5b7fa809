//! `cargo xtask test structure`: which files of a crate know which, and whether they may.
//!
//! The imports are read from the sources: every `use`, and every path that begins with `crate`,
//! `self`, `super` or a child module, also between the brackets of a macro. The check cannot see
//! what a file does with what it imports.
//!
//! Code for tests does not count. Of the server, that includes `internals/`, which only the tests,
//! the fuzz targets and the simulation use. It is in no wing, and may use `entry` and `forward`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use syn::buffer::{Cursor, TokenBuffer};
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, Item, Lit, Macro, Meta, Token, UseTree};

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

/// Returns whether attributes leave an item out of every program and library that users build.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let condition = attribute.path().is_ident("cfg").then(|| attribute.parse_args::<Meta>());
        condition.is_some_and(|parsed| parsed.is_ok_and(|condition| needs_tests(&condition)))
    })
}

/// Returns whether a condition of `cfg` holds only in tests: `test`, `feature = "internals"`, an
/// `any` of such conditions alone, or an `all` with one of them.
fn needs_tests(condition: &Meta) -> bool {
    let list = match condition {
        Meta::Path(path) => return path.is_ident("test"),
        Meta::NameValue(pair) => return pair.path.is_ident("feature") && is_internals(&pair.value),
        Meta::List(list) => list,
    };
    let parsed = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
    let Ok(parts) = parsed else { return false };
    if list.path.is_ident("any") {
        !parts.is_empty() && parts.iter().all(needs_tests)
    } else {
        list.path.is_ident("all") && parts.iter().any(needs_tests)
    }
}

fn is_internals(value: &Expr) -> bool {
    matches!(value, Expr::Lit(literal)
        if matches!(&literal.lit, Lit::Str(text) if text.value() == "internals"))
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

    /// Adds the paths in a macro's tokens, which are not parsed: names with `::` between them.
    /// `before` is the path before a group, as in `use crate::{a, b}`.
    fn add_tokens(&mut self, mut tokens: Cursor<'_>, before: &[String]) {
        while !tokens.eof() {
            if let Some((name, after)) = tokens.ident() {
                let mut path = before.to_vec();
                path.push(name.to_string());
                tokens = after;
                let mut group = None;
                while let Some(after) = after_colons(tokens) {
                    if let Some((name, after)) = after.ident() {
                        path.push(name.to_string());
                        tokens = after;
                    } else {
                        group = after.any_group();
                        break;
                    }
                }
                if path.len() > 1 {
                    self.add(&path);
                }
                if let Some((inside, _, _, after)) = group {
                    self.add_tokens(inside, &path);
                    tokens = after;
                }
            } else if let Some((inside, _, _, after)) = tokens.any_group() {
                self.add_tokens(inside, before);
                tokens = after;
            } else {
                let Some((_, after)) = tokens.token_tree() else { return };
                tokens = after;
            }
        }
    }
}

/// Returns what follows `::`.
fn after_colons(tokens: Cursor<'_>) -> Option<Cursor<'_>> {
    let (first, after) = tokens.punct()?;
    let (second, after) = after.punct()?;
    (first.as_char() == ':' && second.as_char() == ':').then_some(after)
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

    fn visit_macro(&mut self, called: &'ast Macro) {
        self.add_tokens(TokenBuffer::new2(called.tokens.clone()).begin(), &[]);
        visit::visit_macro(self, called);
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
    fn only_conditions_that_need_tests_mark_code_for_tests() {
        let marks = |condition: &str| {
            let item: Item = syn::parse_str(&format!("#[{condition}] mod a;")).expect("is valid");
            let Item::Mod(item) = item else { panic!("it is a module") };
            is_for_tests(&item.attrs)
        };
        for tests in [
            "cfg(test)",
            "cfg(any(test, feature = \"internals\"))",
            "cfg(all(test, target_os = \"linux\"))",
            "cfg(all(unix, any(test, feature = \"internals\")))",
        ] {
            assert!(marks(tests), "{tests} marks code for tests");
        }
        for shipped in [
            "cfg(not(test))",
            "cfg(not(any(test, feature = \"internals\")))",
            "cfg(any(test, unix))",
            "cfg(any())",
            "cfg(all(unix, not(test)))",
            "cfg(feature = \"test-support\")",
            "cfg(tests)",
            "cfg_attr(test, derive(Clone))",
            "doc = \"test\"",
        ] {
            assert!(!marks(shipped), "{shipped} does not mark code for tests");
        }
    }

    #[test]
    fn paths_in_macros_are_imports() {
        let krate = krate(&[
            ("", "mod a; mod b; mod c; mod d; mod e; mod f; mod g; mod h;"),
            (
                "a",
                "mod child; \
                 counters! { Thing { x: crate::b::Counter } } \
                 fn f() { \
                     tokio::select! { biased; x = super::c::make() => { g(&[crate::d::X; 2]) } } \
                     matches!(x, Some(crate::e::Kind::Odd | child::Y)); \
                     fields!(x: h, y = h::i, tokio::h::sleep(::h)); \
                     items! { use crate::{f, g::{G, self as other}}; } \
                 }",
            ),
            ("a::child", "macro_rules! m { () => { $crate::b::f() } }"),
            ("b", "#[cfg(test)] mod tests { m!(crate::c::X); }"),
            ("c", ""),
            ("d", ""),
            ("e", "#[cfg(not(test))] use crate::b::B;"),
            ("f", ""),
            ("g", ""),
            ("h", ""),
        ]);
        assert_eq!(imports(&krate, "a"), ["a::child", "b", "c", "d", "e", "f", "g"]);
        assert_eq!(imports(&krate, "a::child"), ["b"]);
        assert_eq!(imports(&krate, "b"), [""; 0]);
        assert_eq!(imports(&krate, "e"), ["b"]);
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
