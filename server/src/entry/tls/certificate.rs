//! The certificate in use, and its replacement.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::error::TlsError;
use super::expiry::not_after;
use crate::config::Identity;
use crate::files;
use crate::metrics::Metrics;

/// The certificate in use. Existing connections keep the one that they began with.
#[derive(Debug)]
pub(crate) struct Certificate {
    in_use: RwLock<Arc<CertifiedKey>>,
    origin: Mutex<Origin>,
}

/// Where the certificate comes from.
#[derive(Debug)]
struct Origin {
    identity: Identity,
    /// The state of the files when they were last tried, usable or not.
    stamp: Stamp,
    /// Why the files could not be read then; `None` if they could.
    unread: Option<String>,
}

impl Certificate {
    pub(super) fn load(identity: &Identity) -> Result<Self, TlsError> {
        let stamp = Stamp::of(identity);
        let in_use = RwLock::new(Arc::new(identity.load()?));
        let origin = Origin { identity: identity.clone(), stamp, unread: None };
        let certificate = Self { in_use, origin: Mutex::new(origin) };
        certificate.warn_if_expired(&identity.cert);
        Ok(certificate)
    }

    /// Reads the certificate again, perhaps from other files. If it cannot be used, the one in use
    /// stays.
    ///
    /// Blocks for as long as the file system does. Do not call it on a worker's thread.
    pub(crate) fn reload(&self, identity: &Identity, metrics: &Metrics) -> Result<(), TlsError> {
        // Before the files are read, so that the next look sees a change made meanwhile.
        let mut origin = self.origin();
        let stamp = Stamp::of(identity);
        let loaded = identity.load();
        if loaded.is_ok() || origin.identity == *identity {
            let unread = loaded.as_ref().err().and_then(why_unread);
            *origin = Origin { identity: identity.clone(), stamp, unread };
        }
        self.replace(identity, loaded, metrics)
    }

    /// Looks at the files, and reads the certificate again if they have changed since it was last
    /// read, but not since the look that returned `before`.
    ///
    /// A pair that cannot be used is tried again only when the files change again: certificate and
    /// key may be replaced one after the other. Files that cannot be read are tried at each look,
    /// because the cause may leave no trace on them, such as a process without descriptors. Each
    /// such cause is logged and counted once.
    ///
    /// A look is two system calls, each in a thread of its own. It notices a link that leads
    /// elsewhere (Kubernetes, certbot), a file moved to the place of another, and changes on file
    /// systems without notifications. Blocks as [`reload`](Self::reload) does.
    pub(crate) fn look(&self, before: Option<&Stamp>, metrics: &Metrics) -> Stamp {
        self.look_with(before, metrics, Identity::load)
    }

    fn look_with(
        &self,
        before: Option<&Stamp>,
        metrics: &Metrics,
        load: impl FnOnce(&Identity) -> Result<CertifiedKey, TlsError>,
    ) -> Stamp {
        let mut origin = self.origin();
        let stamp = Stamp::of(&origin.identity);
        let changed = stamp != origin.stamp;
        if before != Some(&stamp) || !(changed || origin.unread.is_some()) {
            return stamp;
        }
        let loaded = load(&origin.identity);
        let unread = loaded.as_ref().err().and_then(why_unread);
        let known = !changed && unread.is_some() && unread == origin.unread;
        origin.stamp = stamp.clone();
        origin.unread = unread;
        if !known && let Err(error) = self.replace(&origin.identity, loaded, metrics) {
            tracing::error!(%error, "keeping the certificate in use");
        }
        stamp
    }

    /// Replaces the certificate in use if the new one was loaded, and counts the result.
    fn replace(
        &self,
        identity: &Identity,
        loaded: Result<CertifiedKey, TlsError>,
        metrics: &Metrics,
    ) -> Result<(), TlsError> {
        match loaded {
            Ok(loaded) => {
                metrics.certificates_reloaded.increment();
                *self.in_use.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
                let expires = self.expires().map(humantime::format_rfc3339_seconds);
                let expires = expires.map(tracing::field::display);
                tracing::info!(cert = %identity.cert.display(), expires, "certificate read again");
                self.warn_if_expired(&identity.cert);
                Ok(())
            }
            Err(error) => {
                metrics.certificates_refused.increment();
                Err(error)
            }
        }
    }

    fn warn_if_expired(&self, cert: &Path) {
        if let Some(expired) = self.expires().filter(|expires| *expires < SystemTime::now()) {
            let expired = humantime::format_rfc3339_seconds(expired);
            tracing::warn!(
                cert = %cert.display(),
                %expired,
                "the certificate has expired, so clients refuse it; renew it"
            );
        }
    }

    /// Returns when the certificate in use expires; `None` if its validity cannot be read.
    pub(crate) fn expires(&self) -> Option<SystemTime> {
        expires(&self.in_use())
    }

    /// Returns when the certificate in use expires, in seconds since 1970.
    pub(crate) fn expires_timestamp(&self) -> Option<u64> {
        let since_1970 = self.expires()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        Some(since_1970.as_secs())
    }

    fn in_use(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.in_use.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn origin(&self) -> MutexGuard<'_, Origin> {
        self.origin.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.in_use())
    }
}

/// Returns when a certificate expires; `None` if its validity cannot be read.
pub(super) fn expires(certificate: &CertifiedKey) -> Option<SystemTime> {
    not_after(certificate.end_entity_cert().ok()?)
}

/// Returns why files could not be read; `None` if they were read but cannot be used.
fn why_unread(error: &TlsError) -> Option<String> {
    matches!(error, TlsError::Read { .. }).then(|| error.to_string())
}

/// The state of a pair of files, for comparison without reading them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    cert: Option<FileStamp>,
    key: Option<FileStamp>,
}

impl Stamp {
    fn of(identity: &Identity) -> Self {
        Self { cert: FileStamp::of(&identity.cert), key: FileStamp::of(&identity.key) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct FileStamp {
    len: u64,
    modified: Option<SystemTime>,
    /// Device, inode, and the time of the inode's last change.
    #[cfg(unix)]
    inode: (u64, u64, i64, i64),
}

impl FileStamp {
    /// Returns the stamp of a file, or of the file that a link leads to; `None` if there is none.
    fn of(path: &Path) -> Option<Self> {
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt;
        let metadata = files::metadata(path).ok()?;
        Some(Self {
            len: metadata.len(),
            modified: metadata.modified().ok(),
            #[cfg(unix)]
            inode: (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io;

    use super::*;
    use crate::entry::tls::{PemKind, self_signed};

    /// Returns a certificate in use whose files have been replaced.
    fn replaced() -> (tempfile::TempDir, Identity, Certificate) {
        let folder = tempfile::tempdir().unwrap();
        let identity = self_signed("localhost", folder.path()).unwrap();
        let certificate = Certificate::load(&identity).unwrap();
        fs::remove_file(&identity.cert).unwrap();
        (folder, self_signed("localhost", identity.cert.parent().unwrap()).unwrap(), certificate)
    }

    fn unreadable(identity: &Identity, why: &str) -> Result<CertifiedKey, TlsError> {
        let source = io::Error::other(why.to_owned());
        Err(TlsError::Read { kind: PemKind::Certificate, path: identity.cert.clone(), source })
    }

    #[test]
    fn unreadable_files_are_tried_until_they_can_be_read() {
        let (_folder, identity, certificate) = replaced();
        let metrics = Metrics::default();
        let look = |why: &str| {
            let stamp = Stamp::of(&identity);
            certificate.look_with(Some(&stamp), &metrics, |identity| unreadable(identity, why));
            metrics.certificates_refused.get()
        };
        assert_eq!(look("no descriptors"), 1);
        assert_eq!(look("no descriptors"), 1, "the same reason counts once");
        assert_eq!(look("the disk is gone"), 2);
        // Nothing about the files has changed.
        let stamp = Stamp::of(&identity);
        certificate.look(Some(&stamp), &metrics);
        assert_eq!(metrics.certificates_reloaded.get(), 1);
        certificate.look_with(Some(&stamp), &metrics, |_| panic!("they have been read already"));
    }

    #[test]
    fn changed_files_are_read_when_two_looks_see_the_same_state() {
        let (_folder, _identity, certificate) = replaced();
        let metrics = Metrics::default();
        let first = certificate.look(None, &metrics);
        assert_eq!(metrics.certificates_reloaded.get(), 0);
        certificate.look(Some(&first), &metrics);
        assert_eq!(metrics.certificates_reloaded.get(), 1);
    }

    #[test]
    fn an_unusable_certificate_is_tried_once() {
        let (_folder, identity, certificate) = replaced();
        let metrics = Metrics::default();
        fs::write(&identity.cert, "no certificate").unwrap();
        let stamp = Stamp::of(&identity);
        certificate.look(Some(&stamp), &metrics);
        certificate.look_with(Some(&stamp), &metrics, |_| panic!("they have been read already"));
        assert_eq!(metrics.certificates_refused.get(), 1);
    }
}
