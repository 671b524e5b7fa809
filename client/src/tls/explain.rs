//! Failures of TLS in words that say what to do.

use std::io;
use std::time::{Duration, SystemTime};

use rustls::pki_types::UnixTime;
use rustls::{CertificateError, Error, OtherError};

use super::NotThePinnedCertificate;

/// Returns the error of a handshake in words that say what to do.
pub(super) fn explain(error: io::Error) -> io::Error {
    let text = match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(Error::InvalidCertificate(why)) => certificate(why),
        Some(Error::InvalidMessage(_)) => {
            format!("{error}; the server does not speak TLS on this port")
        }
        Some(_) | None => return error,
    };
    io::Error::new(error.kind(), text)
}

/// Says why the server's certificate is refused.
fn certificate(why: &CertificateError) -> String {
    match why {
        CertificateError::Other(OtherError(other)) if other.is::<NotThePinnedCertificate>() => {
            other.to_string()
        }
        CertificateError::ExpiredContext { not_after, .. } => format!(
            "the server's certificate expired at {}; its operator has to renew it, if the clock of \
             this machine is right",
            date(*not_after)
        ),
        CertificateError::NotValidYetContext { not_before, .. } => format!(
            "the server's certificate is valid from {} on; check the clock of this machine",
            date(*not_before)
        ),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            let names: Vec<_> = presented.iter().take(MAX_NAMES).map(|name| bare(name)).collect();
            let names = match (names.as_slice(), presented.len()) {
                ([], _) => "no name".to_owned(),
                (names, count) if count > MAX_NAMES => format!("{} and others", names.join(", ")),
                (names, _) => names.join(", "),
            };
            format!(
                "the server's certificate is not for {expected}, but for {names}; use one of its \
                 names in the address, or pin the certificate"
            )
        }
        CertificateError::UnknownIssuer => {
            "the server's certificate is not signed by an authority that this machine trusts; to \
             trust a self-signed certificate, pin it"
                .to_owned()
        }
        CertificateError::BadSignature => {
            "the server does not have the key of its certificate, or it was signed by another \
             authority than it says (BadSignature)"
                .to_owned()
        }
        CertificateError::BadEncoding => {
            "the server's certificate cannot be read; its operator has to replace it".to_owned()
        }
        other => {
            format!("the server's certificate cannot be used ({other}); to trust it, pin it")
        }
    }
}

/// Most names of a certificate in an error. Some have hundreds.
const MAX_NAMES: usize = 5;

/// Returns a name of a certificate as people write it. The verifier gives it as
/// `DnsName("example.org")` or `IpAddress(192.0.2.1)`.
fn bare(presented: &str) -> &str {
    let inner = presented.split_once('(').and_then(|(_, inner)| inner.strip_suffix(')'));
    inner.map_or(presented, |inner| inner.trim_matches('"'))
}

/// Returns a date as people write it, in UTC.
fn date(time: UnixTime) -> impl std::fmt::Display {
    // The clock of the formatter ends with the year 9999.
    let last = Duration::from_secs(253_402_300_799);
    let since_1970 = Duration::from_secs(time.as_secs()).min(last);
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since_1970)
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;

    use super::*;

    #[test]
    fn each_reason_has_its_own_advice() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let name = ServerName::try_from("a.example").unwrap();
        for (why, parts) in [
            (
                CertificateError::ExpiredContext { time: at(2), not_after: at(1_580_688_000) },
                &["expired at 2020-02-03T00:00:00Z", "renew"][..],
            ),
            (
                CertificateError::NotValidYetContext { time: at(2), not_before: at(u64::MAX) },
                &["from 9999-12-31T23:59:59Z on", "clock"],
            ),
            (
                CertificateError::NotValidForNameContext {
                    expected: name.clone(),
                    presented: vec![
                        r#"DnsName("b.example")"#.to_owned(),
                        "IpAddress(192.0.2.1)".to_owned(),
                    ],
                },
                &["not for a.example, but for b.example, 192.0.2.1;", "address"],
            ),
            (
                CertificateError::NotValidForNameContext {
                    expected: name.clone(),
                    presented: vec!["DnsName(\"x\")".to_owned(); 100],
                },
                &["but for x, x, x, x, x and others;"],
            ),
            (
                CertificateError::NotValidForNameContext { expected: name, presented: vec![] },
                &["but for no name"],
            ),
            (CertificateError::UnknownIssuer, &["authority", "pin it"]),
            (CertificateError::BadEncoding, &["cannot be read"]),
            (CertificateError::UnhandledCriticalExtension, &["UnhandledCriticalExtension"]),
        ] {
            let text = certificate(&why);
            for part in parts {
                assert!(text.contains(part), "{text}");
            }
        }
    }

    #[test]
    fn other_errors_are_passed_on() {
        let error = explain(io::ErrorKind::ConnectionReset.into());
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let alert = Error::AlertReceived(rustls::AlertDescription::HandshakeFailure);
        let text = alert.to_string();
        assert_eq!(explain(io::Error::other(alert)).to_string(), text);
    }
}
