//! Peers that vanish as if a cable were pulled: the server notices each in time.
//!
//! A filter on the peer's own socket drops every packet from the network. From then on its machine
//! neither acknowledges nor answers nor resets. That needs no root rights.
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

/// Longer than any test waits.
const NEVER: Duration = Duration::from_secs(3600);

/// Starts a server that notices vanished peers only by the settings of `change`.
fn server_that_notices(change: impl FnOnce(&mut ServerConfig)) -> TestServer {
    TestServer::start_with(|config| {
        config.timeouts.ping_interval = NEVER;
        config.timeouts.pong = NEVER;
        config.tcp.keepalive = NEVER;
        config.tcp.user_timeout = NEVER;
        // The TCP user timeout is never shorter than this.
        config.timeouts.write = Duration::from_millis(200);
        change(config);
    })
}

/// A peer that can vanish.
struct Mortal {
    /// Kept open, because a vanished machine closes nothing.
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

    /// Drops everything that arrives from here on, before TCP sees it.
    fn vanish(&self) {
        const RETURN: u16 = 0x06;
        let accept_no_byte = SockFilter::new(RETURN, 0, 0, 0);
        SockRef::from(&self.socket).attach_filter(&[accept_no_byte]).expect("Linux has filters");
    }
}

/// Connects a mortal and a living peer by each way, lets the mortal ones vanish, and with
/// `with_data` writes to them. Waits until they are gone, and checks that the living ones are not.
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
    // Living peers send a frame, for servers with an idle timeout.
    until(|| server.handle.peers() <= living.len()).await;
    for peer in &mut living {
        peer.echo().await;
    }
    assert_eq!(server.handle.peers(), living.len());
}

#[tokio::test]
async fn a_peer_with_frames_in_flight_to_it_is_gone_after_the_tcp_user_timeout() {
    let server = server_that_notices(|config| config.tcp.user_timeout = Duration::from_secs(1));
    all_are_noticed(&server, &Via::ALL, true).await;
}

#[tokio::test]
async fn an_idle_peer_is_gone_after_tcp_keepalive_probes() {
    let server = server_that_notices(|config| {
        config.tcp.keepalive = Duration::from_secs(1);
        config.tcp.user_timeout = Duration::from_secs(1);
    });
    all_are_noticed(&server, &Via::ALL, false).await;
}

#[tokio::test]
async fn a_websocket_peer_is_gone_after_a_ping_without_an_answer() {
    let server = server_that_notices(|config| {
        config.timeouts.ping_interval = Duration::from_secs(1);
        config.timeouts.pong = Duration::from_secs(1);
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
async fn a_peer_without_frames_is_gone_after_the_idle_timeout() {
    let server = server_that_notices(|config| config.timeouts.idle = Some(Duration::from_secs(1)));
    let mut mortals = Vec::new();
    for via in Via::ALL {
        mortals.push(Mortal::connect(&server, via).await);
    }
    mortals.iter().for_each(Mortal::vanish);
    until(|| server.handle.peers() == 0).await;
    assert_eq!(server.metrics().peers_timed_out, mortals.len() as u64);
}

/// Shows that without these settings the server does not notice.
#[tokio::test]
async fn a_vanished_peer_stays_without_any_of_these_timeouts() {
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
