//! Certificates that are replaced while the server runs, and the effect on clients.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tempfile::TempDir;
use tokio_rustls::TlsConnector;
use waddell_server::{Identity, self_signed};
use waddell_tests::certificate::trust;
use waddell_tests::transport::Via;

use crate::support::peer::Peer;
use crate::support::server::TestServer;
use crate::support::{soon, until};

/// Makes a new certificate and key in a folder of their own.
fn another() -> (TempDir, Identity) {
    let folder = TempDir::new().expect("there is room");
    let identity = self_signed("localhost", folder.path()).expect("the name is valid");
    (folder, identity)
}

/// Replaces a file in one step, as programs that renew certificates do.
fn replace(old: &Path, new: &Path) {
    let beside = old.with_extension("new");
    fs::copy(new, &beside).expect("there is room");
    fs::rename(&beside, old).expect("it is the same folder");
}

/// Returns whether a client that trusts only this certificate can connect.
async fn shows(server: &TestServer, cert: &Path) -> bool {
    let config = trust(cert).expect("it is a certificate");
    let name = ServerName::try_from("localhost").expect("it is a name");
    let stream = server.connect("tls").await;
    soon(TlsConnector::from(Arc::new(config)).connect(name, stream)).await.is_ok()
}

/// Waits until the server presents this certificate.
async fn shown(server: &TestServer, cert: &Path) {
    soon(async { while !shows(server, cert).await {} }).await;
}

#[tokio::test]
async fn a_new_certificate_is_used_and_no_peer_is_disconnected() {
    let server = TestServer::start();
    let mut peer = Peer::connect(&server, Via::Tls).await;
    let (_folder, new) = another();
    assert!(!shows(&server, &new.cert).await);
    replace(&server.identity.key, &new.key);
    replace(&server.identity.cert, &new.cert);
    shown(&server, &new.cert).await;
    peer.echo().await;
    assert_eq!(server.metrics().certificates_reloaded, 1);
}

#[tokio::test]
async fn a_broken_certificate_is_refused_until_it_is_repaired() {
    let server = TestServer::start();
    let (_folder, old) = another();
    fs::copy(&server.identity.cert, &old.cert).expect("there is room");
    let (_folder, new) = another();
    fs::write(&server.identity.cert, "no certificate").expect("there is room");
    until(|| server.metrics().certificates_refused == 1).await;
    assert!(shows(&server, &old.cert).await);
    // The certificate without its key.
    replace(&server.identity.cert, &new.cert);
    until(|| server.metrics().certificates_refused == 2).await;
    assert!(shows(&server, &old.cert).await);
    // A file that is missing for some time.
    fs::remove_file(&server.identity.key).expect("it is there");
    until(|| server.metrics().certificates_refused == 3).await;
    assert!(shows(&server, &old.cert).await);
    replace(&server.identity.key, &new.key);
    shown(&server, &new.cert).await;
    assert_eq!(server.metrics().certificates_reloaded, 1);
    assert_eq!(server.metrics().certificates_refused, 3, "each state of the files is tried once");
}

/// As in Kubernetes, the files are links through a link to a folder, and that link changes.
#[tokio::test]
async fn links_that_change_their_target_are_followed() {
    let ((first, old), (second, new)) = (another(), another());
    let volume = TempDir::new().expect("there is room");
    let data = volume.path().join("..data");
    symlink(first.path(), &data).expect("there is room");
    let link = |file: &Path| {
        let name = file.file_name().expect("it has a name");
        let link = volume.path().join(name);
        symlink(Path::new("..data").join(name), &link).expect("there is room");
        link
    };
    let linked = Identity { cert: link(&old.cert), key: link(&old.key) };
    let server = TestServer::start_with(|config| config.identity = Some(linked));
    assert!(shows(&server, &old.cert).await);
    let beside = volume.path().join("..data_tmp");
    symlink(second.path(), &beside).expect("there is room");
    fs::rename(&beside, &data).expect("it is the same folder");
    shown(&server, &new.cert).await;
    assert_eq!(server.metrics().certificates_refused, 0);
}
