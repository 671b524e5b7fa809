//! Clients that say HELLO: WELCOME, verdicts on their frames, and CLOSING.

use std::time::Duration;

use waddell_core::{
    Capabilities, CloseCode, Closing, DropReason, Dropped, Handled, Hello, Notice, PeerId, Request,
    TopicId,
};
use waddell_tests::transport::Via;

use crate::support::extended::{ALL, Extended};
use crate::support::peer::{Peer, frame, message};
use crate::support::server::TestServer;
use crate::support::until;

/// An id that no peer has.
const UNKNOWN: PeerId = PeerId::from_random([7; 16]);

#[tokio::test]
async fn hello_is_answered_on_every_transport_and_ends_the_silence_on_auto() {
    // The auto listener of a test's server waits an hour for a silent client.
    let server = TestServer::start_with(|config| config.limits.max_frame_len = 5_000);
    for via in Via::ALL {
        let mut peer = Extended::connect(&server, via).await;
        let welcome = peer.welcome();
        assert_eq!(welcome.version, 2);
        assert!(welcome.granted.contains(Capabilities::VERDICTS), "{via:?}");
        assert_eq!(welcome.max_payload, 5_000);
        let pings = if via.is_websocket() { 25_000 } else { 0 };
        assert_eq!(welcome.ping_interval_ms, Some(pings), "{via:?}");
        peer.echo().await;
    }
    let metrics = server.metrics();
    assert_eq!(metrics.peers_extended, Via::ALL.len() as u64);
    assert_eq!(metrics.controls, Via::ALL.len() as u64);
}

#[tokio::test]
async fn nothing_is_granted_that_the_client_does_not_want() {
    let server = TestServer::start();
    let stream = server.dial(Via::Tcp).await;
    let mut peer = Extended::over(stream, Via::Tcp, &Hello::new(Capabilities::NONE)).await;
    let welcome = peer.welcome();
    assert_eq!(welcome.granted, Capabilities::NONE);
    peer.send(UNKNOWN, 1, b"lost").await;
    peer.request(Request::Sync { seen: 0 }).await;
    // No verdict comes before the echo.
    peer.echo().await;
    assert_eq!(server.metrics().controls_ignored, 1);
}

#[tokio::test]
async fn a_sender_is_told_which_frames_were_dropped_why_and_for_whom() {
    let server = TestServer::start_with(|config| config.limits.outbox_bytes = 70_000);
    for via in Via::ALL {
        let stuck = Peer::connect(&server, via).await;
        let mut peer = Extended::connect(&server, via).await;
        let dropped = |first, count, reason, topic, recipient| Dropped {
            first,
            span: count,
            count,
            reason,
            topic: TopicId(topic),
            recipient,
        };
        let mut frames = Vec::new();
        frames.extend(message(UNKNOWN, 5, b"one"));
        frames.extend(message(UNKNOWN, 5, b"two"));
        frames.extend(message(peer.id, 5, b"three"));
        frames.extend(frame(b"four"));
        frames.extend(message(PeerId::NIL, 6, b"five"));
        frames.extend(message(PeerId::NIL, 0xffff, b"\x0fsix"));
        frames.extend(frame(b"k"));
        // In one read, so that frames dropped alike share an entry.
        peer.send_bytes(&frames).await;
        let (entries, handled) = peer.sync().await;
        let expected = [
            dropped(1, 2, DropReason::UnknownRecipient, 5, UNKNOWN),
            dropped(4, 1, DropReason::ShortFrame, 0, PeerId::NIL),
            dropped(5, 1, DropReason::ReservedRecipient, 6, PeerId::NIL),
            dropped(6, 1, DropReason::ReservedRecipient, 0xffff, PeerId::NIL),
        ];
        assert_eq!(entries, expected, "{via:?}");
        assert_eq!(handled, Handled { upto: 8, complete: true });
        assert_eq!(peer.message().await.body, &b"three"[..]);

        // A recipient that does not read.
        let mut sent = 0;
        let (entries, handled) = loop {
            peer.send(stuck.id, 9, &[0; 60_000]).await;
            sent += 1;
            let (entries, handled) = peer.sync().await;
            if !entries.is_empty() {
                break (entries, handled);
            }
        };
        let number = 8 + 2 * sent - 1;
        let full = dropped(number, 1, DropReason::RecipientFull, 9, stuck.id);
        assert_eq!(entries, [full], "{via:?}");
        assert_eq!(handled, Handled { upto: number + 1, complete: true });
    }
}

#[tokio::test]
async fn frames_are_numbered_from_the_number_that_hello_gives_however_bytes_are_split() {
    let server = TestServer::start();
    let hello = Hello { first_number: 1_000, ..Hello::new(ALL) };
    let mut peer = Extended::over(server.dial(Via::Tcp).await, Via::Tcp, &hello).await;
    let mut sync = Vec::new();
    Request::Sync { seen: 0 }.encode(&mut sync);
    let stream = [message(UNKNOWN, 1, b"a"), frame(b"k"), message(UNKNOWN, 1, b"b"), sync].concat();
    for piece in stream.chunks(1) {
        peer.send_bytes(piece).await;
    }
    let mut numbers = Vec::new();
    loop {
        let notice = peer.notice().await;
        match Notice::decode(&notice).unwrap() {
            Notice::Dropped(entries) => numbers.extend(entries.iter().map(|entry| entry.first)),
            Notice::Handled(handled) => {
                assert_eq!(handled, Handled { upto: 1_003, complete: true });
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(numbers, [1_000, 1_002]);
}

#[tokio::test]
async fn a_client_that_reads_nothing_gets_every_verdict_later_and_holds_little_memory() {
    let server = TestServer::start_with(|config| config.limits.outbox_bytes = 70_000);
    let stream = Box::new(server.connect_narrow("tcp").await);
    let mut peer = Extended::over(stream, Via::Tcp, &Hello::new(ALL)).await;
    let mut sent = 0;
    while server.metrics().drops_told + 20_000 > server.metrics().frames_dropped_unknown {
        // Two recipients in turns, so that no two frames share an entry.
        let frames: Vec<_> =
            (0..500_u16).flat_map(|n| message(other((n % 2) as u8), 1, b"")).collect();
        peer.send_bytes(&frames).await;
        sent += 500;
    }
    let (entries, handled) = peer.sync().await;
    assert_eq!(handled, Handled { upto: sent + 1, complete: true });
    let told: u64 = entries.iter().map(|entry| u64::from(entry.count)).sum();
    assert_eq!(told, sent);
    let summaries = entries.iter().filter(|entry| entry.reason == DropReason::Various);
    assert!(summaries.count() > 0);
    assert_eq!(server.metrics().drops_told, sent);
}

#[tokio::test]
async fn what_is_no_first_hello_is_rejected_as_by_a_server_without_the_extension() {
    let server = TestServer::start();
    let mut hello = Vec::new();
    Hello::new(ALL).encode(&mut hello);
    // Late, malformed, and another kind.
    for (round, first) in (1..).zip([
        [b"\x01\x00k".to_vec(), hello.clone()].concat(),
        hello[..hello.len() - 1].to_vec(),
        message(PeerId::NIL, 0xffff, b"\x02\0\0\0\0\0\0\0\0"),
    ]) {
        let mut first = first;
        if round == 2 {
            first[0] -= 1;
        }
        let stream = server.dial(Via::Tcp).await;
        let mut peer = Peer::over_saying(stream, Via::Tcp, &first).await;
        peer.echo().await;
        assert_eq!(server.metrics().frames_rejected_reserved, round);
    }
    // A second one is ignored, and the first stays in force.
    let mut peer = Extended::connect(&server, Via::Tcp).await;
    peer.send_bytes(&hello).await;
    let (entries, handled) = peer.sync().await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].reason, DropReason::ReservedRecipient);
    assert_eq!(handled, Handled { upto: 2, complete: true });
    assert_eq!(server.metrics().controls_ignored, 1);
}

#[tokio::test]
async fn a_server_with_the_extension_switched_off_answers_no_hello() {
    let server = TestServer::start_with(|config| config.extension.enabled = false);
    for via in Via::ALL {
        let mut hello = Vec::new();
        Hello::new(ALL).encode(&mut hello);
        let mut peer = Peer::over_saying(server.dial(via).await, via, &hello).await;
        peer.echo().await;
    }
    let metrics = server.metrics();
    assert_eq!(metrics.peers_extended, 0);
    assert_eq!(metrics.frames_rejected_reserved, Via::ALL.len() as u64);
}

#[tokio::test]
async fn closing_says_why_and_up_to_which_frame_the_server_came() {
    for via in Via::ALL {
        let server = TestServer::start();
        let mut peer = Extended::connect(&server, via).await;
        peer.send(UNKNOWN, 1, b"dropped").await;
        until(|| server.metrics().frames_dropped_unknown == 1).await;
        let stopping = server.stop();
        let notices = peer.last_notices().await;
        let [dropped, _restarting, closing] = &notices[..] else { panic!("{via:?}: {notices:?}") };
        assert!(matches!(Notice::decode(dropped), Ok(Notice::Dropped(_))), "{via:?}");
        let expected =
            Closing { code: CloseCode::RESTARTING, handled: 1, reason: "the server stops" };
        assert_eq!(Notice::decode(closing), Ok(Notice::Closing(expected)), "{via:?}");
        assert_eq!(peer.close_code(), via.is_websocket().then_some(Some(1001)));
        drop(peer);
        stopping.done().await;
    }
}

#[tokio::test]
async fn closing_bears_the_code_of_a_broken_rule_also_over_tcp() {
    let server = TestServer::start_with(|config| config.limits.max_frame_len = 100);
    let mut peer = Extended::connect(&server, Via::Tcp).await;
    let own_id = peer.id;
    peer.send(own_id, 1, &[0; 83]).await;
    let notices = peer.last_notices().await;
    let Ok(Notice::Closing(closing)) = Notice::decode(&notices[0]) else { panic!("{notices:?}") };
    assert_eq!((closing.code, closing.handled), (CloseCode(1009), 0));
    assert!(closing.code.may_reconnect());
}

#[tokio::test]
async fn a_client_that_is_silent_for_too_long_is_told_so() {
    let server = TestServer::start_with(|config| {
        config.timeouts.idle = Some(Duration::from_secs(2));
    });
    for via in [Via::Tcp, Via::Ws] {
        let mut peer = Extended::connect(&server, via).await;
        let notice = peer.notice().await;
        let Ok(Notice::Closing(closing)) = Notice::decode(&notice) else { panic!("{via:?}") };
        assert_eq!((closing.code, closing.handled), (CloseCode::TIMED_OUT, 0), "{via:?}");
    }
}

#[tokio::test]
async fn a_message_between_hello_and_close_is_forwarded() {
    let server = TestServer::start();
    for hello_first in [false, true] {
        let mut recipient = Peer::connect(&server, Via::Tcp).await;
        let mut client = Peer::connect(&server, Via::Ws).await;
        let mut frames = Vec::new();
        if hello_first {
            Hello::new(ALL).encode(&mut frames);
        }
        frames.extend(message(recipient.id, 1, b"hello"));
        client.send_and_close(&frames).await;
        assert_eq!(&recipient.receive().await.body[..], b"hello", "hello first: {hello_first}");
    }
}

fn other(byte: u8) -> PeerId {
    PeerId::from_random([100 + byte; 16])
}
