//! Reads certificates and keys from PEM files, and says what is there instead.
//!
//! No error contains anything from a file: it may be a key. The texts of the PEM parser's errors
//! do, so they are not passed on.

use std::path::Path;

use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::error::{PemKind, TlsError};
use crate::files::read_file;

/// Reads all certificates of a file: at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let kind = PemKind::Certificate;
    let text = read(kind, path)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| explain(&error, kind, path, &text))?;
    if chain.is_empty() {
        return Err(explain(&Error::NoItemsFound, kind, path, &text));
    }
    Ok(chain)
}

/// Reads the first private key of a file.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let kind = PemKind::PrivateKey;
    let text = read(kind, path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| explain(&error, kind, path, &text))
}

/// Reads a file. Removes the byte order mark that some editors put before the text: the parser
/// would not find the first block after it.
fn read(kind: PemKind, path: &Path) -> Result<Vec<u8>, TlsError> {
    const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
    let mut text = read_file(path).map_err(|source| {
        let path = path.to_owned();
        TlsError::Read { kind, path, source }
    })?;
    if text.starts_with(BYTE_ORDER_MARK) {
        text.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(text)
}

fn explain(error: &Error, kind: PemKind, path: &Path, text: &[u8]) -> TlsError {
    let path = path.to_owned();
    let why = match error {
        Error::NoItemsFound => {
            return TlsError::Missing { kind, path, found: found_instead(kind, text) };
        }
        // The headers of an encrypted key are not Base64.
        Error::Base64Decode(_) if is_encrypted(text) => ENCRYPTED,
        Error::Base64Decode(_) => "a block is not Base64",
        Error::MissingSectionEnd { .. } => {
            "a block has no complete -----END line; its line breaks may be missing"
        }
        Error::IllegalSectionStart { .. } => {
            "a -----BEGIN line does not end after its label; its line breaks may be missing"
        }
        Error::SectionTooLarge => "a block is too large",
        _ => "it cannot be parsed",
    };
    TlsError::Pem { kind, path, why }
}

/// Describes a file that has no block of this kind.
fn found_instead(kind: PemKind, text: &[u8]) -> &'static str {
    match (text, kind) {
        ([0xff, 0xfe, ..] | [0xfe, 0xff, ..], _) => "it is UTF-16 text; save it as UTF-8",
        ([0x30, 0x80..=0xff, ..], PemKind::Certificate) => {
            "it seems to be DER; convert it with openssl x509 -inform der -in FILE -out NEW"
        }
        ([0x30, 0x80..=0xff, ..], PemKind::PrivateKey) => {
            "it seems to be DER; convert it with openssl pkey -inform der -in FILE -out NEW"
        }
        (_, PemKind::PrivateKey) if is_encrypted(text) => ENCRYPTED,
        (_, PemKind::PrivateKey) if contains(text, b"-----BEGIN CERTIFICATE-----") => {
            "it has a certificate"
        }
        (_, PemKind::Certificate) if contains(text, b"PRIVATE KEY-----") => "it has a private key",
        (_, PemKind::Certificate) => "expected a line -----BEGIN CERTIFICATE-----",
        (_, PemKind::PrivateKey) => "expected a line -----BEGIN PRIVATE KEY-----",
    }
}

const ENCRYPTED: &str = "the key is encrypted; decrypt it with openssl pkey -in FILE -out NEW, and \
                         let only the server read NEW";

fn is_encrypted(text: &[u8]) -> bool {
    contains(text, b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
        || contains(text, b"Proc-Type: 4,ENCRYPTED")
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::config::Identity;
    use crate::entry::tls::self_signed;

    /// Returns the texts of a certificate and its key.
    fn texts() -> (String, String) {
        let folder = TempDir::new().unwrap();
        let Identity { cert, key } = self_signed("localhost", folder.path()).unwrap();
        (fs::read_to_string(cert).unwrap(), fs::read_to_string(key).unwrap())
    }

    fn refused(kind: PemKind, contents: &[u8]) -> String {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("file.pem");
        fs::write(&path, contents).unwrap();
        let error = match kind {
            PemKind::Certificate => certificates(&path).map(drop).unwrap_err(),
            PemKind::PrivateKey => private_key(&path).map(drop).unwrap_err(),
        };
        format!("{error} {error:?}")
    }

    #[test]
    fn no_error_contains_any_part_of_a_key() {
        let (_, key) = texts();
        let body: String = key.lines().filter(|line| !line.starts_with("-----")).collect();
        let broken = [
            key.replace('\n', ""),
            key.replace('\n', " "),
            key.replacen('\n', "", 1),
            key.replacen('\n', "", 2),
            key.replace("-----END", "-----EN"),
            key.replace("END PRIVATE KEY-----\n", "END PRIVATE KEY"),
            key.replace("-----BEGIN", "----BEGIN"),
            key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"),
            key.replacen("KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\n", 1),
            key.replacen("KEY-----\n", "KEY-----\n!", 1),
            key.trim_start_matches("-----BEGIN PRIVATE KEY-----").to_owned(),
        ];
        for contents in &broken {
            for kind in [PemKind::PrivateKey, PemKind::Certificate] {
                let error = refused(kind, contents.as_bytes());
                for part in body.as_bytes().windows(6) {
                    let decimal = format!("{part:?}");
                    let decimal = decimal.trim_matches(['[', ']']);
                    let part = str::from_utf8(part).unwrap();
                    assert!(!error.contains(part) && !error.contains(decimal), "{error}");
                }
            }
        }
    }

    #[test]
    fn errors_say_what_is_there_and_what_to_do() {
        let (cert, key) = texts();
        let utf_16: Vec<u8> = "\u{feff}"
            .encode_utf16()
            .chain(key.encode_utf16())
            .flat_map(u16::to_le_bytes)
            .collect();
        let of_key = |contents: &[u8]| refused(PemKind::PrivateKey, contents);
        let of_cert = |contents: &[u8]| refused(PemKind::Certificate, contents);
        let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        let old_encrypted = key.replacen("KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\n\n", 1);
        for (error, expected) in [
            (of_key(b""), "expected a line -----BEGIN PRIVATE KEY-----"),
            (of_key(&utf_16), "save it as UTF-8"),
            (of_key(b"\x30\x82\x01\x00"), "openssl pkey -inform der"),
            (of_key(cert.as_bytes()), "it has a certificate"),
            (of_key(encrypted.as_bytes()), "openssl pkey -in"),
            (of_key(old_encrypted.as_bytes()), "openssl pkey -in"),
            (of_key(key.replace('\n', "").as_bytes()), "line breaks may be missing"),
            (of_key(key.replace("-----END", "").as_bytes()), "no complete -----END line"),
            (of_cert(b"nothing"), "expected a line -----BEGIN CERTIFICATE-----"),
            (of_cert(b"\x30\x82\x01\x00"), "openssl x509 -inform der"),
            (of_cert(key.as_bytes()), "it has a private key"),
        ] {
            assert!(error.contains(expected), "{expected:?} is not in {error:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_before_the_first_block_is_ignored() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("file.pem");
        let (cert, key) = texts();
        fs::write(&path, format!("\u{feff}{cert}{cert}")).unwrap();
        assert_eq!(certificates(&path).unwrap().len(), 2);
        fs::write(&path, format!("\u{feff}{key}")).unwrap();
        private_key(&path).unwrap();
    }
}
