//! Certificates for development.

use std::io;
use std::path::Path;

use super::error::TlsError;
use crate::config::Identity;

/// Makes a certificate for development, for the host `name`, and writes it and its key to `folder`.
///
/// The name is both in the subject's CN, where waddell's clients look, and in the SAN, where others
/// look. An existing certificate is used again, so that clients that pin it keep working.
///
/// # Errors
///
/// [`TlsError`] if the name is not valid in a certificate or the files cannot be written.
pub fn self_signed(name: &str, folder: &Path) -> Result<Identity, TlsError> {
    let file = |kind| {
        let stem: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' })
            .collect();
        folder.join(format!("{stem}.{kind}.pem"))
    };
    let identity = Identity { cert: file("cert"), key: file("key") };
    if identity.load().is_ok() {
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
    let write = |path: &Path, text: String| {
        write_private(path, &text)
            .map_err(|source| TlsError::Write { path: path.to_owned(), source })
    };
    std::fs::create_dir_all(folder)
        .map_err(|source| TlsError::Write { path: folder.to_owned(), source })?;
    write(&identity.key, key.serialize_pem())?;
    write(&identity.cert, cert.pem())?;
    Ok(identity)
}

/// Writes a file that only its owner may read.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(text.as_bytes())
}
