//! Why options about authentication cannot be used.

use std::io;
use std::path::{Path, PathBuf};

/// Why the options about authentication cannot be used. The message begins with the option's name,
/// and has nothing of a file's contents.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// An option has no meaning alone, or a value that cannot be used.
    #[error("{option}: {why}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// The reason.
        why: &'static str,
    },
    /// A file cannot be read, or other users may read a secret in it.
    #[error("{option} {}: {source}", .path.display())]
    Read {
        /// The option's name.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A file has contents that cannot be used.
    #[error("{option} {}: {why}", .path.display())]
    File {
        /// The option's name.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
}

/// An option with the path of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileOption<'a> {
    pub(super) name: &'static str,
    pub(super) path: &'a Path,
}

impl FileOption<'_> {
    /// Reads the file in this way.
    pub(super) fn read(
        self,
        read: impl FnOnce(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<Vec<u8>, AuthError> {
        let Self { name: option, path } = self;
        read(path).map_err(|source| AuthError::Read { option, path: path.to_owned(), source })
    }

    /// Makes an error about the file's contents.
    pub(super) fn error(self, why: impl Into<String>) -> AuthError {
        AuthError::File { option: self.name, path: self.path.to_owned(), why: why.into() }
    }
}
