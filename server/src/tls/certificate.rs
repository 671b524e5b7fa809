//! The certificate that is in use, and how it is replaced.

use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::expiry::not_after;
use super::{Identity, TlsError};
use crate::metrics::Metrics;

/// The certificate that is in use. Connections keep the one that they were made with.
#[derive(Debug)]
pub(crate) struct Certificate {
    in_use: RwLock<Arc<CertifiedKey>>,
    source: Mutex<Source>,
}

/// Where the certificate comes from.
#[derive(Clone, Debug)]
struct Source {
    identity: Identity,
    /// What the files were like when they were last read, of use or not.
    stamp: Stamp,
}

/// How often the files are looked at. They are read once they have changed, and not changed again
/// from one look to the next.
///
/// To look is two calls of the system; it sees a link that has come to lead elsewhere (Kubernetes,
/// certbot), a file that was moved to another's place, and file systems that tell of no changes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Certificate {
    pub(super) fn load(identity: &Identity) -> Result<Self, TlsError> {
        let source = Source { stamp: Stamp::of(identity), identity: identity.clone() };
        let in_use = RwLock::new(Arc::new(identity.load()?));
        Ok(Self { in_use, source: Mutex::new(source) })
    }

    /// Reads the certificate again, perhaps from other files. If it cannot be used, the one in use
    /// stays.
    pub(crate) fn reload(&self, identity: &Identity, metrics: &Metrics) -> Result<(), TlsError> {
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        // Before they are read: what changes meanwhile is seen at the next look.
        let stamp = Stamp::of(identity);
        let loaded = identity.load();
        if loaded.is_ok() || source.identity == *identity {
            *source = Source { stamp, identity: identity.clone() };
        }
        match loaded {
            Ok(loaded) => {
                metrics.certificates_reloaded.increment();
                *self.in_use.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
                let expires = self.expires().map(humantime::format_rfc3339_seconds);
                let expires = expires.map(tracing::field::display);
                tracing::info!(cert = %identity.cert.display(), expires, "certificate read again");
                Ok(())
            }
            Err(error) => {
                metrics.certificates_refused.increment();
                Err(error)
            }
        }
    }

    /// Reads the certificate again whenever its files have changed. One that cannot be used is
    /// refused, and tried again when they have changed again: certificate and key may be replaced
    /// one after the other.
    pub(crate) async fn watch(self: Arc<Self>, metrics: &Metrics) -> Infallible {
        let mut before = None;
        loop {
            sleep(LOOK_EVERY).await;
            let Source { identity, stamp: read } =
                self.source.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let files = identity.clone();
            // A file system may hang.
            let Ok(stamp) = spawn_blocking(move || Stamp::of(&files)).await else { continue };
            let settled = before.as_ref() == Some(&stamp);
            if settled
                && stamp != read
                && let Err(error) = self.reload(&identity, metrics)
            {
                tracing::error!(%error, "keeping the certificate in use");
            }
            before = Some(stamp);
        }
    }

    /// Returns when the certificate in use expires; `None` if it does not say so in a way that is
    /// understood.
    pub(crate) fn expires(&self) -> Option<SystemTime> {
        not_after(self.in_use().end_entity_cert().ok()?)
    }

    fn in_use(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.in_use.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.in_use())
    }
}

/// What tells two states of a pair of files apart without reading them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
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
    /// Device, inode, and when anything about that was changed.
    #[cfg(unix)]
    inode: (u64, u64, i64, i64),
}

impl FileStamp {
    /// Follows links: the file is what they lead to. `None` if there is no such file.
    fn of(path: &Path) -> Option<Self> {
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt;
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            len: metadata.len(),
            modified: metadata.modified().ok(),
            #[cfg(unix)]
            inode: (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}
