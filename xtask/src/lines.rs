//! `cargo xtask test lines`: no line of code or comment is wider than 100 columns.

use std::fs;

use anyhow::{Result, ensure};

use crate::command::{output, program, root};

/// Widest line, in characters.
const MAX_WIDTH: usize = 100;

/// Kinds of files that are checked. Prose in Markdown has tables and links, which do not wrap.
const KINDS: [&str; 11] =
    ["rs", "js", "mjs", "ts", "py", "css", "html", "sh", "toml", "yml", "service"];

/// Files that are not written by hand.
const EXCEPTIONS: [&str; 1] = ["www/vendor/lean-qr.js"];

/// Checks every file that the project tracks.
///
/// # Errors
///
/// Lists the lines that are too wide.
pub(crate) fn lines() -> Result<()> {
    let tracked = output(&mut program("git", ["ls-files"]))?;
    let mut wide = Vec::new();
    for name in tracked.lines().filter(|name| is_checked(name)) {
        // A file that is deleted but not yet committed is tracked still.
        let Ok(text) = fs::read_to_string(root().join(name)) else { continue };
        wide.extend(wide_lines(&text).map(|(number, width)| {
            format!("{name}:{number}: {width} columns; at most {MAX_WIDTH} are allowed")
        }));
    }
    ensure!(wide.is_empty(), "{}", wide.join("\n"));
    Ok(())
}

fn is_checked(name: &str) -> bool {
    let kind = name.rsplit_once('.').map_or("", |(_, kind)| kind);
    KINDS.contains(&kind) && !EXCEPTIONS.contains(&name)
}

/// Returns the number and the width of each line that is too wide.
fn wide_lines(text: &str) -> impl Iterator<Item = (usize, usize)> {
    let widths = text.lines().map(|line| line.chars().count());
    (1..).zip(widths).filter(|(_, width)| *width > MAX_WIDTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_100_characters_is_the_widest() {
        let text = ["ä".repeat(100), "x".repeat(101), String::new(), "y".repeat(150)].join("\n");
        assert_eq!(wide_lines(&text).collect::<Vec<_>>(), [(2, 101), (4, 150)]);
    }

    #[test]
    fn code_is_checked_and_other_files_are_not() {
        assert!(is_checked("core/src/lib.rs") && is_checked("www/style.css"));
        assert!(!is_checked("README.md") && !is_checked("LICENSE") && !is_checked("Cargo.lock"));
        assert!(!is_checked("www/vendor/lean-qr.js"));
    }
}
