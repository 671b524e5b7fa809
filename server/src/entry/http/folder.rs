//! The files of the folder that is served at `/`.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use rustix::fs::OFlags;

/// A regular file inside the folder, and what tells it from another of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FoundFile {
    /// The path before links are followed.
    name: PathBuf,
    /// The path without links.
    path: PathBuf,
    version: Version,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    len: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
}

/// Most bytes of a file that are read at once. An answer that its client does not read holds two
/// of these pieces at most.
pub(super) const PIECE_LEN: usize = 32 * 1024;

impl FoundFile {
    /// Finds a file below a folder, or the `index.html` of a folder below it. With `read`, returns
    /// its first piece too.
    ///
    /// Links are followed if they lead to a file inside the folder. A pipe, a device or a socket
    /// is not opened.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] also for what leads out of the folder or is no regular file.
    pub(super) fn find(folder: &Path, relative: &Path, read: bool) -> io::Result<(Self, Bytes)> {
        let folder = folder.canonicalize()?;
        let mut name = folder.join(relative);
        let mut path = resolve(&folder, &name)?;
        if path.metadata()?.is_dir() {
            name = path.join("index.html");
            path = resolve(&folder, &name)?;
        }
        // Opening some devices does something to them.
        if !path.metadata()?.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = open(&path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let found = Self { name, path, version: Version::of(&metadata) };
        let first = if read { found.piece(&file, 0)? } else { Bytes::new() };
        Ok((found, first))
    }

    /// Reads the piece at `offset`, which is less than the file's length.
    ///
    /// # Errors
    ///
    /// The system's, or that the file has changed.
    pub(super) fn read(&self, offset: u64) -> io::Result<Bytes> {
        let file = open(&self.path)?;
        if Version::of(&file.metadata()?) != self.version {
            return Err(io::Error::other("the file has changed"));
        }
        self.piece(&file, offset)
    }

    fn piece(&self, file: &File, offset: u64) -> io::Result<Bytes> {
        let left = usize::try_from(self.len() - offset).unwrap_or(usize::MAX);
        let mut piece = vec![0; left.min(PIECE_LEN)];
        file.read_exact_at(&mut piece, offset)?;
        Ok(piece.into())
    }

    /// Returns the path with the name that was asked for, not that of a link's target.
    pub(super) fn name(&self) -> &Path {
        &self.name
    }

    pub(super) fn len(&self) -> u64 {
        self.version.len
    }

    /// Returns a tag that changes with the contents.
    pub(super) fn etag(&self) -> String {
        let (seconds, nanoseconds) = self.version.modified;
        format!("\"{seconds:x}-{nanoseconds:x}-{:x}\"", self.version.len)
    }
}

impl Version {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// Returns a path without links, if it is inside the folder.
fn resolve(folder: &Path, path: &Path) -> io::Result<PathBuf> {
    let path = fs::canonicalize(path)?;
    if path.starts_with(folder) { Ok(path) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// Opens a path without links. If the file was replaced meanwhile, a link is refused, and a pipe
/// does not wait for its writer.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

/// Returns the path inside a folder that a decoded path of a URL names.
///
/// Returns `None` if it leads out of the folder by its own parts, or names a hidden file.
pub(super) fn relative(path: &str) -> Option<&Path> {
    if path.contains('\0') {
        return None;
    }
    let path = Path::new(path);
    let stays = path.components().all(|part| match part {
        Component::Normal(name) => !name.to_string_lossy().starts_with('.'),
        Component::CurDir => true,
        Component::ParentDir | Component::RootDir | Component::Prefix(_) => false,
    });
    stays.then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_files_of_the_folder() {
        for path in ["", "a/b.js", "a b.js", "\u{fc}", "100%", "%2e%2e/x", "%", "a%/b", "a/./b"] {
            assert_eq!(relative(path), Some(Path::new(path)));
        }
    }

    #[test]
    fn no_path_leads_out_of_the_folder() {
        for path in ["../x", "a/../../x", "%/../x", "/etc/passwd", "a/\0", "\0", ".git/x", "a/.b"] {
            assert_eq!(relative(path), None, "{path}");
        }
    }
}
