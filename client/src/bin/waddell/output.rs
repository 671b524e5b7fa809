//! Result lines on standard output, and failures of a command.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::{Map, Value};
use waddell_client::{Closed, ConnectError, SendError};

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
            writeln!(stdout, "{}", Value::Object(fields.collect::<Map<_, _>>()))?;
        } else {
            writeln!(stdout, "{text}")?;
        }
        Ok(stdout.flush()?)
    }
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

impl From<Closed> for Failure {
    fn from(closed: Closed) -> Self {
        Self::Failed(closed.to_string())
    }
}

/// Prints a warning or an error to standard error.
pub(crate) fn warn(text: impl fmt::Display) {
    // If standard error is closed, there is no other place for it.
    let _ = writeln!(io::stderr(), "waddell: {text}");
}
