//! Result lines on standard output, and failures of a command.

use std::fmt;
use std::io::{self, Write};
#[cfg(unix)]
use std::os::fd::AsFd;
use std::process::ExitCode;

use serde_json::{Map, Value};
#[cfg(unix)]
use tokio::{io::Interest, net::unix::pipe::Sender};
use waddell_client::{CloseError, Closed, ConnectError, SendError};

/// Writes results as text or as JSON.
#[derive(Clone, Copy)]
pub(crate) struct Output {
    pub(crate) json: bool,
}

impl Output {
    /// Writes one line and flushes it: `text`, or a JSON object of `fields`.
    pub(crate) fn line<const N: usize>(
        self,
        text: impl fmt::Display,
        fields: [(&str, Value); N],
    ) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        if self.json {
            let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
            let json = Value::Object(fields.collect::<Map<_, _>>()).to_string();
            writeln!(stdout, "{}", without_controls(&json))?;
        } else {
            writeln!(stdout, "{text}")?;
        }
        Ok(stdout.flush()?)
    }
}

/// Escapes characters that JSON allows, but that a terminal may obey. They are in strings only.
fn without_controls(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        if controls_terminal(character) {
            let _ = fmt::Write::write_fmt(
                &mut escaped,
                format_args!("\\u{:04x}", u32::from(character)),
            );
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Returns whether a character may control a terminal, or make it reorder the text. All of these
/// are in the Basic Multilingual Plane.
fn controls_terminal(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// Escapes control characters: the text stays on one line, and cannot control the terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        if controls_terminal(character) {
            printable.extend(character.escape_default());
        } else {
            printable.push(character);
        }
    }
    printable
}

/// Completes when the reader of standard output has closed it. That never happens to a file or a
/// terminal.
#[cfg(unix)]
pub(crate) async fn closed() {
    let stdout = io::stdout().as_fd().try_clone_to_owned();
    // Fails for a file. It is not set to non-blocking: nothing is written through it.
    if let Ok(stdout) = stdout.and_then(Sender::from_owned_fd_unchecked) {
        while let Ok(ready) = stdout.ready(Interest::ERROR).await {
            if ready.is_error() {
                return;
            }
        }
    }
    std::future::pending::<()>().await;
}

/// Never completes: this system does not tell.
#[cfg(not(unix))]
pub(crate) async fn closed() {
    std::future::pending::<()>().await;
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line is wrong.
    Usage(String),
    /// The command failed while it ran.
    Failed(String),
    /// Standard output was closed by its reader.
    OutputClosed,
}

impl Failure {
    /// Prints the failure, and returns the exit code.
    pub(crate) fn report(self) -> ExitCode {
        match self {
            Self::Usage(text) => {
                warn(text);
                ExitCode::from(2)
            }
            Self::Failed(text) => {
                warn(text);
                ExitCode::FAILURE
            }
            Self::OutputClosed => ExitCode::SUCCESS,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _other => Self::Failed(error.to_string()),
        }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Failed { .. } => Self::Failed(error.to_string()),
            wrong => Self::Usage(wrong.to_string()),
        }
    }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<CloseError> for Failure {
    fn from(error: CloseError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<Closed> for Failure {
    fn from(closed: Closed) -> Self {
        Self::Failed(closed.to_string())
    }
}

/// Prints a warning or an error to standard error.
pub(crate) fn warn(text: impl fmt::Display) {
    // If standard error is closed, there is no other place for it.
    // The text may have words of the server.
    let _ = writeln!(io::stderr(), "waddell: {}", printable(&text.to_string()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_not_obeyed() {
        assert_eq!(printable("a\n\u{1b}[2Jb\u{202e}é"), "a\\n\\u{1b}[2Jb\\u{202e}é");
    }

    #[test]
    fn json_contains_no_character_that_a_terminal_obeys() {
        let text = "a\u{9b}2J\u{7f}\u{202e}b\u{2069}\u{200f}é\u{1f600}";
        let json = without_controls(&Value::from(text).to_string());
        let expected = r#""a\u009b2J\u007f\u202eb\u2069\u200fé😀""#;
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}
