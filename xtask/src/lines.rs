//! `cargo xtask test lines`: no line of code, comment or prose is wider than 100 columns.

use std::fs;

use anyhow::{Result, ensure};

use crate::command::{output, program, root};

/// Widest line, in characters.
const MAX_WIDTH: usize = 100;

/// Kinds of files that are not checked: data and pictures, whose lines do not wrap.
const DATA: [&str; 6] = ["json", "jsonl", "lock", "regressions", "svg", "tsv"];

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
        wide.extend(wide_lines(name, &text).map(|(number, width)| {
            format!("{name}:{number}: {width} columns; at most {MAX_WIDTH} are allowed")
        }));
    }
    ensure!(wide.is_empty(), "{}", wide.join("\n"));
    Ok(())
}

fn is_checked(name: &str) -> bool {
    !DATA.contains(&kind(name)) && !EXCEPTIONS.contains(&name)
}

/// Returns the end of a file's name, after the last dot.
fn kind(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, kind)| kind)
}

/// Returns the number and the width of each line of a file that is too wide.
fn wide_lines(name: &str, text: &str) -> impl Iterator<Item = (usize, usize)> {
    let is_markdown = kind(name) == "md";
    let numbered = (1..).zip(text.lines());
    let wrapped = numbered.filter(move |(_, line)| !(is_markdown && is_table_or_url(line)));
    let widths = wrapped.map(|(number, line)| (number, line.chars().count()));
    widths.filter(|(_, width)| *width > MAX_WIDTH)
}

/// Returns whether a line of Markdown is a row of a table or has a URL, which do not wrap.
fn is_table_or_url(line: &str) -> bool {
    line.trim_start().starts_with('|') || line.contains("://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_100_characters_is_the_widest() {
        let text = ["ä".repeat(100), "x".repeat(101), String::new(), "y".repeat(150)].join("\n");
        for name in ["core/src/lib.rs", "README.md"] {
            assert_eq!(wide_lines(name, &text).collect::<Vec<_>>(), [(2, 101), (4, 150)]);
        }
    }

    #[test]
    fn tables_and_urls_in_markdown_may_be_wider() {
        let wide = "x".repeat(100);
        let text = format!("| {wide} |\n<https://{wide}>\n");
        assert_eq!(wide_lines("README.md", &text).count(), 0);
        assert_eq!(wide_lines("Dockerfile", &text).count(), 2);
    }

    #[test]
    fn all_but_data_is_checked() {
        for name in [
            ".ci/run",
            "Dockerfile",
            "README.md",
            "core/src/lib.rs",
            "server/systemd/waddell-server.service",
            "server/systemd/waddell-server.socket",
            "www/style.css",
        ] {
            assert!(is_checked(name), "{name} is checked");
        }
        for name in ["Cargo.lock", "core/testdata/vectors.json", "www/vendor/lean-qr.js"] {
            assert!(!is_checked(name), "{name} is not checked");
        }
    }
}
