//! The rules of WebSocket, kept and broken by hand-written frames.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use waddell_core::{RateLimit, TopicId};
use waddell_tests::checks::split_frames;
use waddell_tests::transport::Via;

use crate::support::http::{UPGRADE, ask};
use crate::support::peer::{Peer, message};
use crate::support::server::{Stream, TestServer};
use crate::support::websocket::{
    BINARY, CLOSE, CONTINUE, FIN, PING, PONG, TEXT, masked, read_frame, unmasked,
};
use crate::support::{pattern, soon, until};

/// Opens a WebSocket, and reads the greeting, which is a message of its own.
async fn open(server: &TestServer, via: Via) -> Stream {
    let mut stream = server.dial(via).await;
    assert_eq!(ask(&mut stream, UPGRADE).await.status, 101);
    let (first_byte, greeting) = read_frame(&mut stream).await;
    assert_eq!((first_byte, greeting.len()), (FIN | BINARY, 20), "{via:?}");
    stream
}

async fn write(stream: &mut Stream, bytes: &[u8]) {
    soon(async {
        stream.write_all(bytes).await.expect("it is connected");
        stream.flush().await.expect("it is connected");
    })
    .await;
}

/// Reads the close frame and the end of the stream after it; returns the close code.
async fn read_close(stream: &mut Stream) -> u16 {
    let (first_byte, payload) = read_frame(stream).await;
    assert_eq!(first_byte, FIN | CLOSE);
    let mut rest = Vec::new();
    soon(stream.read_to_end(&mut rest)).await.expect("it ends in order");
    assert_eq!(rest, b"", "nothing comes after a close frame");
    u16::from_be_bytes(*payload.first_chunk().expect("there is a code"))
}

#[tokio::test]
async fn messages_may_be_split_anywhere() {
    let server = TestServer::start();
    let mut recipient = Peer::connect(&server, Via::Tcp).await;
    for via in [Via::Ws, Via::AutoWss] {
        let mut stream = open(&server, via).await;
        let frames =
            [message(recipient.id, 1, &pattern(30, 1)), message(recipient.id, 2, &pattern(40, 2))];
        let bytes = frames.concat();
        for cut in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            // Two messages; then one in three fragments, with pings between them and an empty end.
            let two = [masked(FIN | BINARY, head), masked(FIN | BINARY, tail)].concat();
            let fragments = [
                masked(BINARY, head),
                masked(FIN | PING, b"?"),
                masked(CONTINUE, tail),
                masked(FIN | PONG, b"unasked"),
                masked(FIN | CONTINUE, b""),
            ]
            .concat();
            write(&mut stream, &two).await;
            write(&mut stream, &fragments).await;
            assert_eq!(read_frame(&mut stream).await, (FIN | PONG, b"?".to_vec()));
            for topic in [1, 2, 1, 2] {
                let message = recipient.receive().await;
                assert_eq!(message.topic, TopicId(topic), "{via:?}, cut at {cut}");
                assert_eq!(message.body, pattern(20 + 10 * usize::from(topic), topic.into()));
            }
        }
    }
}

#[tokio::test]
async fn websocket_frames_may_arrive_byte_by_byte() {
    let server = TestServer::start();
    let mut recipient = Peer::connect(&server, Via::Tcp).await;
    let mut stream = open(&server, Via::Ws).await;
    let bytes = message(recipient.id, 1, &pattern(200, 1));
    for byte in [masked(BINARY, &bytes[..150]), masked(FIN | CONTINUE, &bytes[150..])].concat() {
        write(&mut stream, &[byte]).await;
    }
    assert_eq!(recipient.receive().await.body, pattern(200, 1));
}

#[tokio::test]
async fn pings_are_answered_with_their_payload() {
    let server = TestServer::start();
    for via in Via::WEBSOCKETS {
        let mut stream = open(&server, via).await;
        for payload in [&b""[..], b"?", &[7; 125]] {
            write(&mut stream, &masked(FIN | PING, payload)).await;
            assert_eq!(read_frame(&mut stream).await, (FIN | PONG, payload.to_vec()), "{via:?}");
        }
    }
}

#[tokio::test]
async fn a_close_is_echoed_and_earlier_frames_are_delivered() {
    let server = TestServer::start();
    let mut recipient = Peer::connect(&server, Via::Tcp).await;
    for via in Via::WEBSOCKETS {
        let mut stream = open(&server, via).await;
        let last = message(recipient.id, 9, b"last words");
        let close = masked(FIN | CLOSE, &[&4000_u16.to_be_bytes()[..], b"bye"].concat());
        write(&mut stream, &[masked(FIN | BINARY, &last), close].concat()).await;
        assert_eq!(read_close(&mut stream).await, 4000, "{via:?}");
        drop(stream);
        assert_eq!(recipient.receive().await.body, &b"last words"[..], "{via:?}");
    }
    until(|| server.handle.peers() == 1).await;
    assert_eq!(server.metrics().peers_misbehaved, 0);
}

#[tokio::test]
async fn the_close_code_names_the_broken_rule() {
    let server = TestServer::start();
    let mut recipient = Peer::connect(&server, Via::Tcp).await;
    let too_long = vec![0; 128 * 1024 + 1];
    let cases = [
        ("text", masked(FIN | TEXT, b"hello"), 1003),
        ("a long message", masked(FIN | BINARY, &too_long), 1009),
        (
            "a long message in two frames",
            [masked(BINARY, &too_long[1..]), masked(FIN | CONTINUE, b"!")].concat(),
            1009,
        ),
        ("no mask", unmasked(FIN | BINARY, b"hello"), 1002),
        ("a reserved bit", masked(FIN | 0x40 | BINARY, b""), 1002),
        ("a reserved opcode", masked(FIN | 3, b""), 1002),
        ("a fragmented ping", masked(PING, b""), 1002),
        ("the end of a message that never began", masked(FIN | CONTINUE, b""), 1002),
    ];
    let count = cases.len() as u64;
    for (name, bytes, code) in cases {
        for via in [Via::Ws, Via::Wss] {
            let mut stream = open(&server, via).await;
            let before = masked(FIN | BINARY, &message(recipient.id, 1, name.as_bytes()));
            write(&mut stream, &before).await;
            assert_eq!(recipient.receive().await.body, name.as_bytes(), "it counts");
            write(&mut stream, &bytes).await;
            assert_eq!(read_close(&mut stream).await, code, "{name} via {via:?}");
        }
    }
    until(|| server.handle.peers() == 1).await;
    assert_eq!(server.metrics().peers_misbehaved, 2 * count);
}

#[tokio::test]
async fn the_longest_message_is_accepted() {
    let server = TestServer::start();
    let mut recipient = Peer::connect(&server, Via::Ws).await;
    let mut stream = open(&server, Via::Ws).await;
    let body = pattern(65_516, 1);
    let two = message(recipient.id, 1, &body).repeat(2);
    assert_eq!(two.len(), 128 * 1024);
    write(&mut stream, &masked(FIN | BINARY, &two)).await;
    assert!(recipient.receive().await.body == body);
    assert!(recipient.receive().await.body == body);
}

/// Many senders at once fill the outbox, so that frames share messages. No frame is cut by the end
/// of a message, because a page could not tell it from a broken one.
#[tokio::test]
async fn messages_end_on_frame_boundaries_under_load() {
    let server = TestServer::start_with(|config| config.limits.outbox_bytes = 64 << 20);
    let mut recipient = open(&server, Via::Ws).await;
    let id = {
        let mut finder = Peer::connect(&server, Via::Tcp).await;
        write(&mut recipient, &masked(FIN | BINARY, &message(finder.id, 0, b"here"))).await;
        finder.receive().await.from
    };
    let mut senders = tokio::task::JoinSet::new();
    for (seed, via) in [Via::Tcp, Via::Tls, Via::Ws, Via::Wss].into_iter().enumerate() {
        let mut peer = Peer::connect(&server, via).await;
        senders.spawn(async move {
            for number in 0..500_u16 {
                let len = usize::from(number) * 37 % 2_000 * (seed + 1);
                peer.send(id, number, &pattern(len, seed)).await;
            }
            peer
        });
    }
    let (mut frames, mut messages) = (0, 0);
    while frames < 4 * 500 {
        let (first_byte, payload) = read_frame(&mut recipient).await;
        assert_eq!(first_byte, FIN | BINARY);
        let (whole, rest) = split_frames(&payload);
        assert_eq!(rest.len(), 0, "a message ends on a frame boundary");
        frames += whole.len();
        messages += 1;
    }
    assert!(messages < frames, "{messages} messages for {frames} frames: none shared any");
    senders.join_all().await;
}

/// Starts a server with a rate limit in frames per second, and a burst.
fn start_limited(frames_per_second: u32, burst: Duration) -> TestServer {
    TestServer::start_with(|config| {
        config.limits.rate_limit = Some(RateLimit {
            frames_per_second: NonZeroU32::new(frames_per_second),
            bytes_per_second: None,
            burst,
        });
    })
}

#[tokio::test]
async fn empty_and_control_frames_are_kept_to_the_rate_too() {
    for via in [Via::Ws, Via::Wss] {
        let server = start_limited(200, Duration::from_millis(100));
        let mut stream = open(&server, via).await;
        let start = Instant::now();
        // 300 pings of the greatest length, so that one read holds few; 600 empty frames.
        let mut flood = masked(FIN | PING, &[7; 125]).repeat(300);
        flood.extend(masked(FIN | BINARY, b"").repeat(600));
        flood.extend(masked(FIN | PING, b"last"));
        // Over TLS in short records, because a record is read as a whole.
        for piece in flood.chunks(1000) {
            write(&mut stream, piece).await;
        }
        for _ in 0..300 {
            assert_eq!(read_frame(&mut stream).await, (FIN | PONG, vec![7; 125]));
        }
        // Less the burst of 20, and the frames of one read.
        assert!(start.elapsed() > Duration::from_millis(1200), "{:?}", start.elapsed());
        assert_eq!(read_frame(&mut stream).await, (FIN | PONG, b"last".to_vec()));
        assert!(start.elapsed() > Duration::from_millis(2400), "{:?}", start.elapsed());
        assert!(server.metrics().peers_paused > 0);
    }
}

#[tokio::test]
async fn a_message_in_a_frame_of_its_own_is_charged_once() {
    for via in [Via::Ws, Via::Wss, Via::Tcp] {
        let server = start_limited(1, Duration::from_secs(100));
        let mut peer = Peer::connect(&server, via).await;
        for _ in 0..90 {
            peer.echo().await;
        }
        assert_eq!(server.metrics().peers_paused, 0, "{via:?}");
    }
}

#[tokio::test]
async fn the_subprotocol_is_echoed_if_it_is_offered() {
    let server = TestServer::start();
    for (offer, echo) in [
        ("", None),
        ("sec-websocket-protocol: waddell", Some("waddell")),
        ("sec-websocket-protocol: chat, waddell", Some("waddell")),
        ("sec-websocket-protocol: chat", None),
        ("sec-websocket-protocol: waddell2", None),
    ] {
        let mut stream = server.dial(Via::Ws).await;
        let response = ask(&mut stream, &format!("{UPGRADE}\n{offer}")).await;
        assert_eq!(response.status, 101, "{offer}");
        assert_eq!(response.header("sec-websocket-protocol"), echo, "{offer}");
        assert_eq!(
            response.header("sec-websocket-accept"),
            Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            "as in RFC 6455, section 1.3"
        );
        assert_eq!(response.header("sec-websocket-extensions"), None, "no compression");
    }
}

#[tokio::test]
async fn the_server_pings_and_disconnects_peers_that_stay_silent() {
    let server = TestServer::start_with(|config| {
        config.timeouts.ping_interval = Duration::from_millis(50);
        config.timeouts.pong = Duration::from_secs(5);
    });
    let mut alive = Peer::connect(&server, Via::Ws).await;
    let answers = tokio::spawn(async move { alive.try_receive().await });
    let mut silent = open(&server, Via::Ws).await;
    assert_eq!(read_frame(&mut silent).await, (FIN | PING, vec![]));
    let mut rest = Vec::new();
    soon(silent.read_to_end(&mut rest)).await.expect("it ends in order");
    until(|| server.handle.peers() == 1).await;
    assert_eq!(server.metrics().peers_timed_out, 1);
    assert!(!answers.is_finished(), "a peer that answers stays");
}
