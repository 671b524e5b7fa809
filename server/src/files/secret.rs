//! Reads files with secrets: keys and passwords.

use std::fs::Metadata;
use std::io;
use std::path::Path;

use super::{metadata, read_file};

/// Reads a file that only the operator and the server may know.
///
/// On Unix neither the file's group nor others may have access to it. The group of a file that
/// belongs to root may read it if the server runs as another user: service managers hand secrets
/// over like this. PostgreSQL has the same rule.
///
/// # Errors
///
/// The file cannot be read, as with [`read_file`], or others have access to it
/// ([`PermissionDenied`](io::ErrorKind::PermissionDenied)).
pub(crate) fn read_secret(path: &Path) -> io::Result<Vec<u8>> {
    check_access(&metadata(path)?)?;
    read_file(path)
}

/// Checks who may read a file of these metadata.
#[cfg(unix)]
fn check_access(metadata: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;

    // A folder or a FIFO has a better error when it is read.
    if !metadata.is_file()
        || is_private(metadata.mode(), metadata.uid(), rustix::process::geteuid().as_raw())
    {
        return Ok(());
    }
    let mode = metadata.mode() & 0o777;
    let text = format!("its mode is {mode:03o}, so other users may read it; set it to 600");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
}

#[cfg(not(unix))]
fn check_access(_: &Metadata) -> io::Result<()> {
    Ok(())
}

/// Returns whether a file of this mode and owner is private to a process of `user`.
#[cfg(unix)]
const fn is_private(mode: u32, owner: u32, user: u32) -> bool {
    let allowed = if owner == ROOT && user != ROOT { 0o740 } else { 0o700 };
    mode & 0o777 & !allowed == 0
}

#[cfg(unix)]
const ROOT: u32 = 0;

#[cfg(all(test, unix))]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "secret").unwrap();
        for mode in [0o644, 0o604, 0o602] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = read_secret(&path).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            assert_eq!(
                error.to_string(),
                format!("its mode is {mode:o}, so other users may read it; set it to 600")
            );
        }
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read_secret(&path).unwrap(), b"secret");
        let error = read_secret(folder.path()).unwrap_err();
        assert!(error.to_string().contains("not a regular file"), "{error}");
    }

    #[test]
    fn only_the_group_of_a_file_of_root_may_read_it() {
        const SERVER: u32 = 998;
        for (mode, owner, user, expected) in [
            (0o100_400, SERVER, SERVER, true),
            (0o100_440, SERVER, SERVER, false),
            (0o100_440, ROOT, SERVER, true),
            (0o100_640, ROOT, SERVER, true),
            (0o100_660, ROOT, SERVER, false),
            (0o100_644, ROOT, SERVER, false),
            (0o100_440, ROOT, ROOT, false),
            (0o100_600, ROOT, ROOT, true),
        ] {
            assert_eq!(is_private(mode, owner, user), expected, "{mode:o} of {owner} for {user}");
        }
    }
}
