//! Peers that vanish without a word, as if a cable were pulled: each is gone in time.
//!
//! A filter on the peer's own socket throws away all that the network brings, so its machine
//! confirms nothing, answers no question and refuses nothing, from one moment to the next; and
//! nobody needs to be root for that.
#![cfg(target_os = "linux")]

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use socket2::{SockFilter, SockRef};
use waddell_core::PeerId;
use waddell_server::ServerConfig;
use waddell_tests::transport::Via;

use crate::support::peer::Peer;
use crate::support::server::TestServer;
use crate::support::until;

/// Longer than any test waits: what takes this long never happens.
const NEVER: Duration = Duration::from_secs(3600);

/// Starts a server in which `change` alone says how a vanished peer is noticed.
fn server_that_notices(change: impl FnOnce(&mut ServerConfig)) -> TestServer {
    TestServer::start_with(|config| {
        config.ping_interval = NEVER;
        config.pong_timeout = NEVER;
        config.tcp_keepalive = NEVER;
        config.tcp_user_timeout = NEVER;
        // Nothing waits here for long; a TCP user timeout is never shorter.
        config.write_timeout = Duration::from_millis(200);
        change(config);
    })
}

/// A peer that can vanish.
struct Mortal {
    /// Held open: a vanished machine closes nothing.
    _peer: Peer,
    id: PeerId,
    socket: OwnedFd,
}

impl Mortal {
    async fn connect(server: &TestServer, via: Via) -> Self {
        let stream = server.connect(via.scheme()).await;
        let socket = stream.as_fd().try_clone_to_owned().expect("there are descriptors left");
        let peer = Peer::over(server.start_tls(via, stream).await, via).await;
        Self { id: peer.id, _peer: peer, socket }
    }

    /// From here on nothing reaches it, not even its machine; and it says nothing.
    fn vanish(&self) {
        const RETURN: u16 = 0x06;
        let accept_no_byte = SockFilter::new(RETURN, 0, 0, 0);
        SockRef::from(&self.socket).attach_filter(&[accept_no_byte]).expect("Linux has filters");
    }
}

/// Connects a mortal peer by each way, lets all vanish, and writes to them if that is wanted;
/// waits until they are gone, and checks that a living peer beside each is not.
async fn all_are_noticed(server: &TestServer, vias: &[Via], with_data: bool) {
    let mut living = Vec::new();
    let mut mortals = Vec::new();
    for via in vias {
        living.push(Peer::connect(server, *via).await);
        mortals.push(Mortal::connect(server, *via).await);
    }
    for mortal in &mortals {
        mortal.vanish();
    }
    if with_data {
        for (mortal, sender) in mortals.iter().zip(&mut living) {
            sender.send(mortal.id, 1, b"are you there").await;
        }
    }
    // Whoever is alive shows it, to servers that ask for frames.
    until(|| server.handle.peers() <= living.len()).await;
    for peer in &mut living {
        peer.echo().await;
    }
    assert_eq!(server.handle.peers(), living.len());
}

#[tokio::test]
async fn one_with_something_on_its_way_to_it_is_gone_after_the_tcp_user_timeout() {
    let server = server_that_notices(|config| config.tcp_user_timeout = Duration::from_secs(1));
    all_are_noticed(&server, &Via::ALL, true).await;
}

#[tokio::test]
async fn one_that_was_idle_is_gone_when_tcp_keepalive_has_asked() {
    let server = server_that_notices(|config| {
        config.tcp_keepalive = Duration::from_secs(1);
        config.tcp_user_timeout = Duration::from_secs(1);
    });
    all_are_noticed(&server, &Via::ALL, false).await;
}

#[tokio::test]
async fn a_websocket_peer_is_gone_after_a_ping_without_an_answer() {
    let server = server_that_notices(|config| {
        config.ping_interval = Duration::from_secs(1);
        config.pong_timeout = Duration::from_secs(1);
    });
    let mortals = {
        let mut mortals = Vec::new();
        for via in Via::WEBSOCKETS {
            mortals.push(Mortal::connect(&server, via).await);
        }
        mortals
    };
    mortals.iter().for_each(Mortal::vanish);
    until(|| server.handle.peers() == 0).await;
    assert_eq!(server.metrics().peers_timed_out, mortals.len() as u64);
}

#[tokio::test]
async fn one_without_frames_is_gone_after_the_idle_timeout() {
    let server = server_that_notices(|config| config.idle_timeout = Some(Duration::from_secs(1)));
    let mut mortals = Vec::new();
    for via in Via::ALL {
        mortals.push(Mortal::connect(&server, via).await);
    }
    mortals.iter().for_each(Mortal::vanish);
    until(|| server.handle.peers() == 0).await;
    assert_eq!(server.metrics().peers_timed_out, mortals.len() as u64);
}

/// Shows that the tests above do not notice what anybody would notice.
#[tokio::test]
async fn one_that_vanishes_is_missed_by_nobody_who_does_not_ask() {
    let server = server_that_notices(|_| {});
    let mortal = Mortal::connect(&server, Via::Tcp).await;
    mortal.vanish();
    let mut sender = Peer::connect(&server, Via::Tcp).await;
    sender.send(mortal.id, 1, b"are you there").await;
    sender.echo().await;
    assert_eq!(server.handle.peers(), 2);
    drop(sender);
    until(|| server.handle.peers() == 1).await;
}
