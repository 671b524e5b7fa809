//! When a certificate expires.

use std::time::{Duration, SystemTime};

use yasna::models::{GeneralizedTime, UTCTime};
use yasna::tags::TAG_UTCTIME;
use yasna::{ASN1Result, BERReader, Tag};

/// Returns the end of a DER certificate's validity; `None` if it cannot be read.
///
/// ```text
///   Certificate    { TBSCertificate, signatureAlgorithm, signature }
///   TBSCertificate { [0] version, serialNumber, signature, issuer, validity, ... }
///   validity       { notBefore, notAfter }
/// ```
///
/// Source: RFC 5280, section 4.1.
pub(super) fn not_after(certificate: &[u8]) -> Option<SystemTime> {
    let seconds = yasna::parse_der(certificate, |certificate| {
        certificate.read_sequence(|parts| {
            let not_after = parts.next().read_sequence(|fields| {
                fields.read_optional(|version| version.read_tagged(Tag::context(0), skip))?;
                // serialNumber, signature, issuer
                for _ in 0..3 {
                    skip(fields.next())?;
                }
                let not_after = fields.next().read_sequence(|times| {
                    // notBefore
                    skip(times.next())?;
                    seconds(times.next())
                })?;
                while fields.read_optional(skip)?.is_some() {}
                Ok(not_after)
            })?;
            // signatureAlgorithm, signature
            for _ in 0..2 {
                skip(parts.next())?;
            }
            Ok(not_after)
        })
    });
    let seconds = u64::try_from(seconds.ok()?).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn skip(value: BERReader<'_, '_>) -> ASN1Result<()> {
    value.read_der().map(drop)
}

/// Reads a time in either of its two forms; returns seconds since 1970.
fn seconds(time: BERReader<'_, '_>) -> ASN1Result<i64> {
    if time.lookahead_tag()? == TAG_UTCTIME {
        let time: UTCTime = time.read_utctime()?;
        Ok(time.datetime().unix_timestamp())
    } else {
        let time: GeneralizedTime = time.read_generalized_time()?;
        Ok(time.datetime().unix_timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expires_in(year: i32) -> Option<u64> {
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 2, 1);
        let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let time = not_after(certificate.der())?;
        Some(time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs())
    }

    #[test]
    fn both_forms_of_time_are_read() {
        // Up to 2049 the year has two digits.
        assert_eq!(expires_in(2030), Some(1_896_134_400));
        assert_eq!(expires_in(2049), Some(2_495_750_400));
        assert_eq!(expires_in(2050), Some(2_527_286_400));
        assert_eq!(expires_in(4096), Some(67_092_796_800));
    }

    #[test]
    fn bytes_that_are_no_certificate_have_no_expiry() {
        for bytes in [&b""[..], &[0x30], &[0x30, 0x00], &[0xff; 100], b"certificate"] {
            assert_eq!(not_after(bytes), None, "{bytes:?}");
        }
    }
}
