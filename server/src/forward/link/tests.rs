//! Threads that fill and write one outbox at once, while its owner waits for the socket.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use socket2::SockRef;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::extension::Succession;
use super::*;
use crate::config::ServerConfig;
use crate::forward::lease::Lease;
use crate::forward::peer::Peer;
use crate::forward::shared::Shared;

use crate::secrets::Secrets;

const ROUNDS: usize = 10;
const PUSHERS: u8 = 3;
const FRAMES: u32 = 300;

/// Far longer than a round takes on a busy machine. A round that takes longer never ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns a frame that carries its thread and its number.
fn frame(pusher: u8, number: u32) -> Vec<u8> {
    // From a few bytes to more than the socket's buffer.
    let len = 5 + (number as usize * 37 + usize::from(pusher) * 11) % 3000;
    let mut frame = vec![pusher; 2 + len];
    frame[..2].copy_from_slice(&(len as u16).to_le_bytes());
    frame[3..7].copy_from_slice(&number.to_le_bytes());
    frame
}

fn buffers(shared: &Shared) -> WorkerBuffers {
    let limit = shared.config().limits.outbox_bytes;
    let budget = Arc::clone(&shared.outboxes);
    WorkerBuffers::new(shared.clock.clone(), limit, budget, shared.metrics.add_worker())
}

/// Pushes all frames, and retries refused ones. Flushes as a worker does at the end of a turn.
fn push_all(peer: &Peer, shared: &Arc<Shared>, pusher: u8) {
    let mut buffers = buffers(shared);
    for number in 0..FRAMES {
        let frame = frame(pusher, number);
        let mut to_flush = false;
        loop {
            match peer.link().push(&frame, shared.clock.now(), &mut buffers) {
                Ok(Pushed::NeedsFlush) => to_flush = true,
                Ok(Pushed::Handled) => {}
                Err(DropReason::UnknownRecipient | DropReason::RecipientAway) => {
                    panic!("the link has not ended")
                }
                Err(DropReason::OutboxFull | DropReason::NoMemory) => {
                    thread::yield_now();
                    continue;
                }
            }
            break;
        }
        if to_flush {
            // Other threads push meanwhile.
            thread::yield_now();
            peer.link().flush(&mut buffers);
        }
    }
}

/// Reads to the end of the stream, sometimes only a few bytes at a time.
fn read_all(mut client: std::net::TcpStream) -> Vec<u8> {
    let mut stream = Vec::new();
    let mut buffer = [0; 4096];
    for turn in 0_usize.. {
        if turn.is_multiple_of(64) {
            thread::yield_now();
        }
        let most = if turn.is_multiple_of(3) { 100 } else { buffer.len() };
        match client.read(&mut buffer[..most]).expect("the connection works") {
            0 => break,
            len => stream.extend_from_slice(&buffer[..len]),
        }
    }
    stream
}

/// Waits for the socket as a connection's task does, until all frames are pushed and written.
/// Returns how often it waited.
async fn own(peer: &Peer, shared: &Arc<Shared>, all_pushed: &AtomicBool) -> usize {
    let mut buffers = buffers(shared);
    let mut stalls = 0;
    poll_fn(|cx| {
        let mut link = peer.link();
        match link.poll_blocked(cx, PATIENCE, &mut buffers) {
            Ok(None) => {}
            Ok(Some(_since)) => {
                stalls += 1;
                return Poll::Pending;
            }
            Err(lost) => panic!("the socket works, but the link is lost: {lost:?}"),
        }
        if all_pushed.load(Ordering::Acquire) && matches!(link.flow, Flow::Idle) {
            assert!(link.outbox.is_empty());
            link.shut_down();
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
    stalls
}

#[test]
fn frames_pushed_by_several_workers_are_written_once_and_in_order() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut config = ServerConfig::default();
    config.limits.outbox_bytes = 80 * 1024;
    let shared = Arc::new(Shared::new(config, Secrets::none()));
    let mut stalls = 0;
    for round in 0..ROUNDS {
        let stream = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            SockRef::from(&listener).set_send_buffer_size(16 * 1024).unwrap();
            let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            SockRef::from(&client).set_recv_buffer_size(16 * 1024).unwrap();
            let (socket, _) = listener.accept().await.unwrap();
            let (_reader, writer) = socket.into_split();
            let now = shared.clock.now();
            let peer = Peer::new(writer, None, Framing::Raw, now);
            let (all_pushed, pushing) =
                (AtomicBool::new(false), AtomicUsize::new(usize::from(PUSHERS)));
            // The reader sends its result through a channel. Joining its thread here would block
            // the owner, which has to end the stream first.
            let (send_stream, stream) = tokio::sync::oneshot::channel();
            let peer = Arc::new(peer);
            let (all_pushed, pushing) = (Arc::new(all_pushed), Arc::new(pushing));
            thread::spawn(move || send_stream.send(read_all(client)));
            for pusher in 0..PUSHERS {
                let (peer, shared) = (Arc::clone(&peer), Arc::clone(&shared));
                let (all_pushed, pushing) = (Arc::clone(&all_pushed), Arc::clone(&pushing));
                thread::spawn(move || {
                    push_all(&peer, &shared, pusher);
                    if pushing.fetch_sub(1, Ordering::AcqRel) == 1 {
                        all_pushed.store(true, Ordering::Release);
                        peer.link().wake_owner();
                    }
                });
            }
            let owned = timeout(PATIENCE, own(&peer, &shared, &all_pushed)).await;
            stalls += owned.expect("the outbox is written in time");
            stream.await.expect("the reader does not panic")
        });
        let mut arrived: BTreeMap<u8, Vec<u32>> = BTreeMap::new();
        let mut rest = &stream[..];
        while let Some((prefix, _)) = rest.split_first_chunk::<2>() {
            let len = 2 + usize::from(u16::from_le_bytes(*prefix));
            let (whole, after) = rest.split_at(len);
            let number = u32::from_le_bytes(*whole[3..].first_chunk().unwrap());
            assert!(whole == frame(whole[2], number), "round {round}: the frame is whole");
            arrived.entry(whole[2]).or_default().push(number);
            rest = after;
        }
        assert_eq!(rest, b"", "round {round}");
        let pushed = (0..PUSHERS).map(|pusher| (pusher, (0..FRAMES).collect()));
        assert_eq!(arrived, pushed.collect(), "round {round}");
    }
    assert!(stalls > ROUNDS, "the owner had to wait {stalls} times only");
    assert_eq!((shared.outboxes.held(), shared.outboxes.charges()), (0, 0));
}

/// A socket whose connection has been reset.
struct Reset;

impl Write for Reset {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ConnectionReset.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl WriteHalf for Reset {
    type Writer<'a> = Self;

    fn writer(&mut self, _attempt: Attempt) -> Self {
        Self
    }

    fn poll_writable(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn shut_down(&mut self) {}
}

#[test]
fn a_frame_that_is_lost_with_the_connection_counts_as_dropped() {
    let shared = Shared::new(ServerConfig::default(), Secrets::none());
    let mut buffers = buffers(&shared);
    let mut link = Link::<_, ()>::new(Reset, None, Framing::Raw);
    let frame = frame(0, 40);
    let mut dropped = None;
    // The frame with which the outbox reaches `WRITE_AT` is written at once.
    for _ in 0..=WRITE_AT / frame.len() {
        assert_eq!(dropped, None);
        dropped = link.push(&frame, Instant::EPOCH, &mut buffers).err();
    }
    assert_eq!(dropped, Some(DropReason::UnknownRecipient));
    assert!(matches!(link.flow, Flow::Ended(Lost::Broken)) && link.outbox.is_empty());
}

#[test]
fn a_link_whose_socket_breaks_during_a_takeover_hands_over_before_it_is_closed() {
    let shared = Shared::new(ServerConfig::default(), Secrets::none());
    let mut buffers = buffers(&shared);
    let link = || Link::<_, u8>::new(Reset, None, Framing::Raw);
    let (mut old, mut new) = (link(), link());
    old.set_lease(Some(Lease::new(0)));
    assert_eq!(old.request_takeover(0, &Arc::new(7), Instant::EPOCH), Ok(1));
    let _ = old.push(&frame(0, 40), Instant::EPOCH, &mut buffers);
    old.flush(&mut buffers);
    assert!(matches!(old.flow, Flow::Ended(Lost::Broken)));
    assert!(matches!(old.close_for_good(), Err(Succession::To(peer)) if *peer == 7));
    assert!(old.has_lease() && !old.closing, "the successor gets it");
    assert!(old.hand_over(&mut new, || None, &mut buffers).is_some());
    assert!(matches!(old.close_for_good(), Err(Succession::Done)));
    assert!(matches!(new.close_for_good(), Err(Succession::From)));
    assert!(!new.closing && new.take_inheritance().is_some());
    let estate = new.close_for_good().expect("no takeover is left");
    assert_eq!(estate.lease.map(|lease| lease.generation()), Some(1));
}
