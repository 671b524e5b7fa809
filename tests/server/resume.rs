//! Clients that keep their id over a lost connection.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use socket2::SockRef;
use tempfile::NamedTempFile;
use waddell_core::{
    CloseCode, DropReason, Handled, Hello, NotResumed, Notice, PeerId, PeerIds, PeerNotice,
    PeerState, Request,
};
use waddell_server::ResumeKeys;
use waddell_tests::transport::Via;

use crate::support::extended::{ALL, Extended};
use crate::support::peer::{Peer, message};
use crate::support::server::TestServer;
use crate::support::until;

#[tokio::test]
async fn a_client_whose_connection_was_lost_has_the_same_id_on_the_next_one() {
    let server = TestServer::start();
    let mut sender = Peer::connect(&server, Via::Tcp).await;
    for via in Via::ALL {
        let mut client = Extended::connect(&server, via).await;
        let id = client.id;
        // More than once: each resume gives a token for the next.
        for _ in 0..3 {
            let token = client.token();
            drop(client);
            until(|| server.handle.peers() == 1).await;
            client = Extended::resume(&server, via, &token).await;
            assert!(client.welcome().resumed, "{via:?}");
            assert_eq!(client.id, id);
            assert_eq!(client.handled().await, Handled { upto: 0, complete: true });
            sender.send(id, 1, b"hello").await;
            assert_eq!(client.message().await.body, &b"hello"[..]);
        }
        drop(client);
        until(|| server.handle.peers() == 1).await;
    }
    let metrics = server.metrics();
    assert_eq!(metrics.frames_dropped_unknown + metrics.frames_dropped_away, 0);
}

#[tokio::test]
async fn handled_says_which_frames_of_the_lost_connection_arrived() {
    let server = TestServer::start();
    let unknown = PeerId::from_random([7; 16]);
    let mut client = Extended::connect(&server, Via::Tcp).await;
    client.send(unknown, 1, b"first").await;
    client.send(unknown, 1, b"second").await;
    until(|| server.metrics().drops_told == 2).await;
    let token = client.token();
    drop(client);
    until(|| server.handle.peers() == 0).await;
    // Of three frames that the client sent, the last never arrived.
    let hello = Hello { resume_token: Some(&token), first_number: 4, ..Hello::new(ALL) };
    let mut client = Extended::over(server.dial(Via::Tcp).await, Via::Tcp, &hello).await;
    let dropped = client.notice().await;
    let Ok(Notice::Dropped(entries)) = Notice::decode(&dropped) else { panic!() };
    let numbers: Vec<_> = entries.iter().map(|entry| (entry.first, entry.span)).collect();
    assert!(numbers == [(1, 2)] || numbers == [(1, 1), (2, 1)], "{numbers:?}");
    assert_eq!(client.handled().await, Handled { upto: 2, complete: true });
    let (_, handled) = client.sync().await;
    assert_eq!(handled, Handled { upto: 4, complete: true });
}

#[tokio::test]
async fn senders_are_told_that_a_client_is_away_and_here_again() {
    let server = TestServer::start();
    let mut client = Extended::connect(&server, Via::Tcp).await;
    let mut friend = Extended::connect(&server, Via::Ws).await;
    let (id, token) = (client.id, client.token());
    friend.send(id, 1, b"hello").await;
    client.message().await;
    drop(client);
    assert_eq!(friend.peer_notices().await, [notice(id, PeerState::Away)]);
    friend.send(id, 1, b"are you there?").await;
    let (dropped, _) = friend.sync().await;
    assert_eq!(dropped[0].reason, DropReason::RecipientAway);
    friend.request(Request::Watch(PeerIds::from(&id))).await;
    assert_eq!(friend.peer_notices().await, [notice(id, PeerState::Away)]);
    let mut client = Extended::resume(&server, Via::Wss, &token).await;
    assert_eq!(friend.peer_notices().await, [notice(id, PeerState::Here)]);
    friend.send(id, 1, b"again").await;
    assert_eq!(client.message().await.body, &b"again"[..]);
}

#[tokio::test]
async fn a_client_that_does_not_come_back_is_gone_after_the_away_time() {
    let server = TestServer::start_with(|config| {
        config.extension.away_time = Duration::from_millis(1_500);
    });
    let client = Extended::connect(&server, Via::Tcp).await;
    let mut friend = Extended::connect(&server, Via::Tcp).await;
    let (id, token) = (client.id, client.token());
    friend.request(Request::Watch(PeerIds::from(&id))).await;
    assert_eq!(friend.peer_notices().await, [notice(id, PeerState::Here)]);
    drop(client);
    assert_eq!(friend.peer_notices().await, [notice(id, PeerState::Away)]);
    assert_eq!(friend.peer_notices().await, [notice(id, PeerState::Gone)]);
    // Its token is good for longer.
    let client = Extended::resume(&server, Via::Tcp, &token).await;
    assert_eq!((client.welcome().resumed, client.id), (true, id));
}

#[tokio::test]
async fn a_client_that_says_goodbye_is_gone_at_once() {
    let server = TestServer::start();
    let mut friend = Extended::connect(&server, Via::Tcp).await;
    let mut client = Extended::connect(&server, Via::Tcp).await;
    let id = client.id;
    friend.request(Request::Watch(PeerIds::from(&id))).await;
    friend.peer_notices().await;
    client.request(Request::Bye).await;
    client.finish().await;
    assert_eq!(friend.peer_notices().await, [notice(id, PeerState::Gone)]);
    // So is one that closes a WebSocket with 1000.
    let mut client = Extended::connect(&server, Via::Ws).await;
    let id = client.id;
    friend.request(Request::Watch(PeerIds::from(&id))).await;
    friend.peer_notices().await;
    client.finish_with(1000).await;
    assert_eq!(friend.peer_notices().await, [notice(id, PeerState::Gone)]);
}

#[tokio::test]
async fn a_connection_that_is_still_open_hands_over_in_order_and_ends() {
    let server = TestServer::start();
    for via in Via::ALL {
        let mut friend = Extended::connect(&server, Via::Tcp).await;
        let stream = server.connect_narrow(via.scheme()).await;
        let stream = server.start_tls(via, stream).await;
        let mut old = Extended::over(stream, via, &Hello::new(ALL)).await;
        let (id, token) = (old.id, old.token());
        // The old connection does not read, so most of these stay in its outbox.
        let sent = fill(&mut friend, id).await;
        let friend_id = friend.id;
        old.send(friend_id, 1, b"from the old connection").await;
        let mut new = Extended::resume(&server, via, &token).await;
        assert_eq!((new.welcome().resumed, new.id), (true, id), "{via:?}");
        new.send(friend_id, 2, b"from the new connection").await;
        assert_eq!(friend.message().await.body, &b"from the old connection"[..], "{via:?}");
        assert_eq!(friend.message().await.body, &b"from the new connection"[..], "{via:?}");
        friend.send(id, LAST, b"last").await;
        let mut topics = Vec::new();
        while topics.last() != Some(&LAST) {
            topics.push(new.message().await.topic.0);
        }
        // What had left for the old connection comes no second time, and none is missing.
        let mut all = Vec::new();
        while let Ok(Some(message)) = old.try_receive().await {
            if message.from == friend_id {
                all.push(message.topic.0);
            }
        }
        assert!(topics.len() > 1, "{via:?}: some frames were moved");
        all.extend(topics);
        let expected: Vec<u16> = (0..sent).chain([LAST]).collect();
        assert_eq!(all, expected, "{via:?}");
    }
}

#[tokio::test]
async fn the_connection_that_is_taken_over_is_told_so() {
    let server = TestServer::start();
    for via in Via::ALL {
        let mut old = Extended::connect(&server, via).await;
        let mut friend = Extended::connect(&server, Via::Tcp).await;
        friend.send(old.id, 1, b"hello").await;
        old.message().await;
        let mut new = Extended::resume(&server, via, &old.token()).await;
        let notices = old.last_notices().await;
        let Some(Ok(Notice::Closing(closing))) = notices.last().map(|it| Notice::decode(it)) else {
            panic!("{via:?}: {notices:?}")
        };
        assert_eq!(closing.code, CloseCode::SUPERSEDED);
        assert_eq!(old.close_code(), via.is_websocket().then_some(Some(4010)));
        // Its watchers have moved.
        new.request(Request::Bye).await;
        let id = new.id;
        new.finish().await;
        drop(new);
        assert_eq!(friend.peer_notices().await, [notice(id, PeerState::Gone)], "{via:?}");
    }
}

#[tokio::test]
async fn an_id_that_is_taken_over_again_and_again_is_contested() {
    let server = TestServer::start();
    let mut client = Extended::connect(&server, Via::Tcp).await;
    let mut olds = Vec::new();
    for _ in 0..3 {
        let next = Extended::resume(&server, Via::Tcp, &client.token()).await;
        assert!(next.welcome().resumed);
        olds.push(std::mem::replace(&mut client, next));
        // By then the old one has handed over.
        client.handled().await;
    }
    let last = Extended::resume(&server, Via::Tcp, &client.token()).await;
    assert_eq!(last.welcome().not_resumed, Some(NotResumed::Contested));
    assert_ne!(last.id, client.id);
    client.echo().await;
}

#[tokio::test]
async fn tokens_that_are_no_good_bring_a_new_id_and_the_reason() {
    let server = TestServer::start();
    let other = TestServer::start();
    let mut client = Extended::connect(&server, Via::Tcp).await;
    let id = client.id;
    let first = client.token();
    let mut newer = Extended::resume(&server, Via::Tcp, &first).await;
    let second = newer.token();
    // Each has handed over before the next comes.
    newer.handled().await;
    let mut newest = Extended::resume(&server, Via::Tcp, &second).await;
    let third = newest.token();
    newest.handled().await;
    client.last_notices().await;
    let mut flipped = third.clone();
    flipped[40] ^= 1;
    let foreign = Extended::connect(&other, Via::Tcp).await.token();
    for (token, reason) in [
        (&first, NotResumed::Stale),
        (&flipped, NotResumed::Forged),
        (&foreign, NotResumed::Forged),
        (&b"x".to_vec(), NotResumed::Forged),
    ] {
        let mut client = Extended::resume(&server, Via::Tcp, token).await;
        assert_eq!((client.welcome().not_resumed, client.welcome().resumed), (Some(reason), false));
        assert_ne!(client.id, id);
        client.echo().await;
    }
}

#[tokio::test]
async fn a_server_that_does_not_resume_says_so() {
    let server = TestServer::start();
    let token = Extended::connect(&server, Via::Tcp).await.token();
    let server = TestServer::start_with(|config| config.extension.resume_window = Duration::ZERO);
    let client = Extended::resume(&server, Via::Tcp, &token).await;
    let welcome = client.welcome();
    assert_eq!(welcome.not_resumed, Some(NotResumed::Off));
    assert_eq!((welcome.resume_token, welcome.windows), (None, None));
    assert!(!welcome.granted.contains(waddell_core::Capabilities::RESUME));
}

#[tokio::test]
async fn ids_outlive_a_restart_of_the_server_with_a_configured_key() {
    let key = NamedTempFile::new().expect("there is room");
    fs::write(key.path(), ResumeKeys::generate_line()).expect("there is room");
    let start = || {
        TestServer::start_with(|config| {
            config.extension.resume_key = Some(key.path().to_owned());
            config.extension.away_time = Duration::from_secs(3_600);
        })
    };
    let server = start();
    let client = Extended::connect(&server, Via::Ws).await;
    assert!(client.welcome().tokens_outlive_restart);
    let (id, token) = (client.id, client.token());
    drop(client);
    server.stop().done().await;

    let server = start();
    let mut friend = Extended::connect(&server, Via::Tcp).await;
    friend.send(id, 1, b"too early").await;
    let (dropped, _) = friend.sync().await;
    // The server cannot know yet who comes back.
    assert_eq!(dropped[0].reason, DropReason::RecipientAway);
    let hello = Hello { resume_token: Some(&token), first_number: 9, ..Hello::new(ALL) };
    let mut client = Extended::over(server.dial(Via::Ws).await, Via::Ws, &hello).await;
    assert_eq!((client.welcome().resumed, client.id), (true, id));
    // It knows nothing of the frames before.
    assert_eq!(client.handled().await, Handled { upto: 8, complete: false });
    assert_eq!(friend.peer_notices().await, [notice(id, PeerState::Here)]);
    friend.send(id, 1, b"now").await;
    assert_eq!(client.message().await.body, &b"now"[..]);
}

#[tokio::test]
async fn tokens_are_renewed_while_the_client_is_connected() {
    let server = TestServer::start_with(|config| {
        config.extension.resume_window = Duration::from_secs(1);
    });
    let mut client = Extended::connect(&server, Via::Tcp).await;
    let notice = client.notice().await;
    let Ok(Notice::Token(token)) = Notice::decode(&notice) else { panic!() };
    let token = token.to_vec();
    assert_ne!(token, client.token());
    let id = client.id;
    drop(client);
    assert_eq!(Extended::resume(&server, Via::Tcp, &token).await.id, id);
}

#[tokio::test]
async fn renew_gives_a_new_id_on_the_same_connection() {
    let server = TestServer::start();
    for via in Via::ALL {
        let mut friend = Extended::connect(&server, Via::Tcp).await;
        let mut client = Extended::connect(&server, via).await;
        let (old, friend_id) = (client.id, friend.id);
        friend.send(old, 1, b"hello").await;
        client.message().await;
        let mut frames = message(friend_id, 1, b"before");
        Request::Renew.encode(&mut frames);
        frames.extend(message(friend_id, 1, b"after"));
        // In one read, where the order matters most.
        client.send_bytes(&frames).await;
        let notice_of_renewal = client.notice().await;
        let Ok(Notice::Renewed { id, resume_token }) = Notice::decode(&notice_of_renewal) else {
            panic!("{via:?}")
        };
        assert_ne!(id, old);
        let token = resume_token.expect("the server resumes").to_vec();
        let (before, after) = (friend.message().await, friend.message().await);
        assert_eq!((before.from, &before.body[..]), (old, &b"before"[..]), "{via:?}");
        assert_eq!((after.from, &after.body[..]), (id, &b"after"[..]), "{via:?}");
        assert_eq!(friend.peer_notices().await, [notice(old, PeerState::Gone)]);
        friend.send(id, 1, b"to the new id").await;
        assert_eq!(client.message().await.body, &b"to the new id"[..]);
        drop(client);
        assert_eq!(Extended::resume(&server, via, &token).await.id, id);
    }
}

#[tokio::test]
async fn a_client_may_have_few_new_ids_at_a_time() {
    let server = TestServer::start();
    let mut client = Extended::connect(&server, Via::Tcp).await;
    let mut frames = Vec::new();
    (0..20).for_each(|_| Request::Renew.encode(&mut frames));
    client.send_bytes(&frames).await;
    let mut ids = vec![client.id];
    // Five new ones, and one answer to all further requests.
    for _ in 0..6 {
        let notice = client.notice().await;
        let Ok(Notice::Renewed { id, .. }) = Notice::decode(&notice) else { panic!() };
        ids.push(id);
    }
    assert_eq!(ids[5], ids[6]);
    ids.dedup();
    assert_eq!(ids.len(), 1 + 5);
    client.id = ids[5];
    client.sync().await;
    assert_eq!(server.metrics().ids_renewed, 5);
    assert_eq!(server.handle.peers(), 1);
}

#[tokio::test]
async fn senders_are_told_how_many_frames_were_lost_with_a_connection() {
    for framing in ["tcp", "ws"] {
        let server = TestServer::start();
        let via = if framing == "tcp" { Via::Tcp } else { Via::Ws };
        let mut sender = Extended::connect(&server, Via::Tcp).await;
        let mut other = Extended::connect(&server, Via::Tcp).await;
        let stream = server.connect_narrow(framing).await;
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("it is a socket");
        let recipient = Extended::over(Box::new(stream), via, &Hello::new(ALL)).await;
        let id = recipient.id;
        let sent = fill(&mut sender, id).await;
        // After all of the sender's frames, so it is lost with some of them.
        other.send(id, 1, b"one").await;
        other.sync().await;
        // Resets the connection.
        drop(recipient);
        let [notice] = sender.peer_notices().await[..] else { panic!() };
        assert_eq!((notice.id, notice.state), (id, PeerState::Away), "{framing}");
        assert!((1..=sent.into()).contains(&notice.lost), "{framing}: {notice:?}");
        let lost = PeerNotice { id, state: PeerState::Away, lost: 1 };
        assert_eq!(other.peer_notices().await, [lost], "{framing}");
        assert_eq!(server.metrics().losses_told, u64::from(notice.lost) + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_is_taken_over_is_known_at_every_moment() {
    let server = TestServer::start();
    let mut unknown = 0;
    for _ in 0..20 {
        let client = Extended::connect(&server, Via::Tcp).await;
        let id = client.id;
        let mut sender = Peer::connect(&server, Via::Tcp).await;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let writer = tokio::spawn(async move {
            let frames = message(id, 1, b"x").repeat(2000);
            while !stopped.load(Relaxed) {
                sender.send_bytes(&frames).await;
            }
        });
        let before = server.metrics().frames_dropped_unknown;
        let mut new = Extended::resume(&server, Via::Tcp, &client.token()).await;
        new.handled().await;
        unknown += server.metrics().frames_dropped_unknown - before;
        stop.store(true, Relaxed);
        let drain = async {
            loop {
                new.receive().await;
            }
        };
        tokio::select! { _ = writer => {}, () = drain => {} }
        drop(client);
        drop(new);
    }
    assert_eq!(unknown, 0);
}

#[tokio::test]
async fn who_is_told_away_by_a_verdict_is_told_here() {
    let server = TestServer::start();
    let client = Extended::connect(&server, Via::Tcp).await;
    let mut friend = Extended::connect(&server, Via::Tcp).await;
    let (id, token) = (client.id, client.token());
    // So its next message is no first contact.
    friend.send(id, 1, b"hello").await;
    friend.sync().await;
    drop(client);
    until(|| server.handle.peers() == 1).await;
    friend.send(id, 1, b"are you there?").await;
    let (dropped, _) = friend.sync().await;
    assert_eq!(dropped[0].reason, DropReason::RecipientAway);
    let _client = Extended::resume(&server, Via::Tcp, &token).await;
    assert_eq!(friend.peer_notices().await, [notice(id, PeerState::Here)]);
}

#[tokio::test]
async fn handled_does_not_vouch_for_frames_that_have_not_come_yet() {
    let server = TestServer::start();
    let nowhere = PeerId::from_random([7; 16]);
    let mut client = Extended::connect(&server, Via::Tcp).await;
    for _ in 0..10 {
        client.sync().await;
    }
    let token = client.token();
    drop(client);
    until(|| server.handle.peers() == 0).await;
    let mut client = Extended::resume(&server, Via::Tcp, &token).await;
    // Its frame 1, which will be dropped.
    let handled = client.handled().await;
    client.send(nowhere, 1, b"first").await;
    assert!(!(handled.complete && handled.upto >= 1), "{handled:?} is about frame 1");
}

/// Sends messages on the topics 0, 1 and so on to a peer that reads nothing, until its outbox has
/// no room for another. Returns how many are on the way.
async fn fill(sender: &mut Extended, to: PeerId) -> u16 {
    let big = vec![7; 20_000];
    for topic in 0.. {
        sender.send_bytes(&message(to, topic, &big)).await;
        let (dropped, _) = sender.sync().await;
        if let [entry] = dropped[..] {
            assert_eq!((entry.reason, entry.topic.0), (DropReason::RecipientFull, topic));
            return topic;
        }
    }
    unreachable!("an outbox has a limit")
}

/// The topic of a message after all others.
const LAST: u16 = u16::MAX;

fn notice(id: PeerId, state: PeerState) -> PeerNotice {
    PeerNotice { id, state, lost: 0 }
}
