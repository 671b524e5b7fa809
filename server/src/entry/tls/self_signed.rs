//! Certificates for development.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use tempfile::NamedTempFile;

use super::error::TlsError;
use crate::config::Identity;

/// Makes a certificate for development, for the host `name`, and writes it and its key to `folder`.
/// Only the owner of the process can read the files.
///
/// The name is both in the subject's CN, where waddell's clients look, and in the SAN, where others
/// look. An existing certificate is used again, so that clients that pin it keep working.
///
/// # Errors
///
/// [`TlsError`] if the name is not valid in a certificate, if the files cannot be written, or if
/// the folder belongs to another user, who could put a key of their own there.
pub fn self_signed(name: &str, folder: &Path) -> Result<Identity, TlsError> {
    let file = |kind| {
        let stem: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' })
            .collect();
        folder.join(format!("{stem}.{kind}.pem"))
    };
    let identity = Identity { cert: file("cert"), key: file("key") };
    let cannot_write = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::Write { path, source }
    };
    make_own_folder(folder).map_err(cannot_write(folder))?;
    if identity.load().is_ok() && is_private(&identity.key).map_err(cannot_write(&identity.key))? {
        return Ok(identity);
    }
    let unusable = |source: rcgen::Error| TlsError::Name { name: name.to_owned(), source };
    let mut params = rcgen::CertificateParams::new([name.to_owned()]).map_err(unusable)?;
    let mut subject = rcgen::DistinguishedName::new();
    subject.push(rcgen::DnType::CommonName, name);
    // No authority has this name, so clients do not look for an authority's signature.
    subject.push(rcgen::DnType::OrganizationName, "waddell-server self-signed");
    params.distinguished_name = subject;
    let key = rcgen::KeyPair::generate().map_err(unusable)?;
    let cert = params.self_signed(&key).map_err(unusable)?;
    let write =
        |path: &Path, text: &str| write_private(folder, path, text).map_err(cannot_write(path));
    write(&identity.key, &key.serialize_pem())?;
    write(&identity.cert, &cert.pem())?;
    Ok(identity)
}

/// Makes a folder, if there is none, in which only this user can write. Other users could put a key
/// of their own into another one.
fn make_own_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let metadata = fs::metadata(folder)?;
        if !is_own(&metadata) {
            let text = "the folder belongs to another user; set XDG_STATE_HOME to one of your own";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        let mode = metadata.mode();
        if mode & 0o022 != 0 {
            fs::set_permissions(folder, fs::Permissions::from_mode(mode & !0o022))?;
        }
    }
    Ok(())
}

/// Returns whether a file is this user's or root's.
#[cfg(unix)]
fn is_own(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    [0, rustix::process::geteuid().as_raw()].contains(&metadata.uid())
}

/// Writes a file that only its owner may read, in place of any file of that name: a file keeps its
/// permissions when it is written again, and those who have opened it can read what is written.
fn write_private(folder: &Path, path: &Path, text: &str) -> io::Result<()> {
    // Its mode is 0600 from the beginning.
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

/// Takes the permission to read a key from all but its owner. Returns whether the owner is this
/// user or root: another one knows the key.
fn is_private(key: &Path) -> io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let metadata = fs::metadata(key)?;
        if !is_own(&metadata) {
            return Ok(false);
        }
        if metadata.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(key, fs::Permissions::from_mode(0o600))?;
        }
    }
    #[cfg(not(unix))]
    let _ = key;
    Ok(true)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn other_users_cannot_write_to_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        self_signed("localhost", folder.path()).unwrap();
        assert_eq!(mode(folder.path()), 0o755);
    }

    #[test]
    fn only_the_owner_can_read_the_files_whatever_was_there_before() {
        let folder = tempfile::tempdir().unwrap();
        let make = || self_signed("localhost", folder.path()).unwrap();
        let Identity { cert, key } = make();
        assert_eq!((mode(&cert), mode(&key)), (0o600, 0o600));
        let text = fs::read(&key).unwrap();

        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        make();
        assert_eq!((mode(&key), fs::read(&key).unwrap() == text), (0o600, true), "it is kept");

        // A file that another program has opened already is not written to.
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&key, "no key").unwrap();
        let opened = fs::File::open(&key).unwrap();
        make();
        assert_eq!(mode(&key), 0o600);
        assert_eq!(io::read_to_string(opened).unwrap(), "no key");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no other file is left");
    }
}
