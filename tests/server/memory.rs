//! The ceiling on all outboxes together, and the peers that lose frames when it is reached.

use waddell_server::MetricsSnapshot;
use waddell_tests::transport::Via;

use crate::support::admin::{read, serve_operators};
use crate::support::peer::Peer;
use crate::support::server::TestServer;
use crate::support::{pattern, until};

const CEILING: usize = 8 << 20;

fn start() -> TestServer {
    TestServer::start_with(|config| {
        config.limits.outbox_total_bytes = CEILING;
        serve_operators(config);
    })
}

/// Connects a peer that never reads.
async fn connect_stuck(server: &TestServer, via: Via) -> Peer {
    let socket = server.connect_narrow(via.scheme()).await;
    Peer::over(server.start_tls(via, socket).await, via).await
}

/// Checks that every frame is counted once by its outcome.
fn assert_all_counted(metrics: MetricsSnapshot) {
    assert_eq!(
        metrics.frames_in,
        metrics.frames_forwarded
            + metrics.keep_alives
            + metrics.frames_rejected_short
            + metrics.frames_rejected_reserved
            + metrics.frames_dropped_unknown
            + metrics.frames_dropped_full
            + metrics.frames_dropped_memory,
        "{metrics:?}"
    );
}

#[tokio::test]
async fn any_number_of_peers_that_never_read_holds_no_more_than_the_ceiling() {
    let server = start();
    let mut sender = Peer::connect(&server, Via::Tcp).await;
    let mut reader = Peer::connect(&server, Via::Wss).await;
    let body = pattern(60_000, 1);
    let mut stuck = Vec::new();
    let mut most_held = 0;
    while server.metrics().frames_dropped_memory < 100 || server.metrics().peers_crowded_out < 3 {
        stuck.push(connect_stuck(&server, Via::DIRECT[stuck.len() % 4]).await);
        for round in 0..12 {
            for peer in &stuck {
                sender.send(peer.id, 1, &body).await;
            }
            // A healthy pair is not affected.
            sender.send(reader.id, round, b"meanwhile").await;
            assert_eq!(reader.receive().await.topic.0, round);
        }
        let held = read(&server, "waddell_outbox_bytes").await;
        assert!(held <= CEILING as u64, "{held}");
        most_held = held.max(most_held);
    }
    assert!(most_held > CEILING as u64 / 2, "{most_held}");
    assert_all_counted(server.metrics());

    let connected = server.handle.peers();
    assert!(connected < stuck.len() + 2, "those that were crowded out are gone");
    drop(stuck);
    until(|| server.handle.peers() == 2).await;
    let metrics = server.metrics();
    until(|| server.metrics().peers_disconnected == metrics.peers_connected - 2).await;
    assert_eq!(read(&server, "waddell_outbox_bytes").await, 0);
    assert_eq!(read(&server, "waddell_outboxes_waiting").await, 0);
}

#[tokio::test]
async fn memory_is_given_back_when_the_peer_reads_on() {
    for via in Via::DIRECT {
        let server = start();
        let mut sender = Peer::connect(&server, Via::Tcp).await;
        let mut slow = connect_stuck(&server, via).await;
        let body = pattern(60_000, 1);
        while server.metrics().frames_dropped_memory == 0 {
            sender.send(slow.id, 1, &body).await;
            sender.echo().await;
        }
        assert_eq!(server.metrics().frames_dropped_full, 0, "{via:?}: the ceiling is lower here");
        assert_eq!(read(&server, "waddell_outboxes_waiting").await, 1, "{via:?}");
        let held = read(&server, "waddell_outbox_bytes").await;
        assert!((60_000..=CEILING as u64 / 4).contains(&held), "{via:?}: {held}");
        // There is room again as soon as it has read its outbox.
        let mut waiting = 1;
        while waiting > 0 {
            slow.receive().await;
            waiting = read(&server, "waddell_outboxes_waiting").await;
        }
        assert_eq!(read(&server, "waddell_outbox_bytes").await, 0, "{via:?}");
        sender.send(slow.id, 3, b"here again").await;
        while slow.receive().await.topic.0 != 3 {}
        assert_all_counted(server.metrics());
        assert_eq!(server.metrics().peers_crowded_out, 0, "{via:?}");
    }
}
