//! Attacks by clients that never finish.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use waddell_core::TopicId;
use waddell_tests::stamp::Stamp;
use waddell_tests::transport::Via;

use super::patience::{PATIENCE, until};
use crate::peer::{Dial, Peer};
use crate::rubbish::client_hello;
use crate::world::World;

/// Time between two bytes: short enough to look busy.
const BYTE: Duration = Duration::from_millis(100);

/// Sends handshakes a byte at a time until the server closes all connections.
pub(super) async fn handshakes(world: &Rc<World>, connections: usize) -> Result<u64> {
    let hello = client_hello(&world.server.tls);
    let head = b"GET /ws HTTP/1.1\r\nhost: localhost\r\nx: ".to_vec();
    let kinds = [(Via::Tls, &hello), (Via::Ws, &head), (Via::Wss, &hello)];
    let auto = Via::ALL.into_iter().filter(|via| via.is_auto() && via.is_websocket());
    let auto = auto.map(|via| (via, if via.is_encrypted() { &hello } else { &head }));
    let kinds: Vec<_> = kinds.into_iter().chain(auto).collect();
    let mut slow = JoinSet::new();
    for (number, (via, words)) in (0..connections).zip(kinds.into_iter().cycle()) {
        let socket = Dial::new(via).socket(&world.server).await?;
        let words = words.clone();
        slow.spawn_local(async move {
            // The last byte of a hello is never sent; an HTTP head never ends.
            let last = words.len() - 1;
            let words = words[..last].iter().copied();
            let endless = std::iter::repeat_n(b'x', if via.is_encrypted() { 0 } else { 1 << 20 });
            send_bytes_slowly(socket, words.chain(endless)).await
        });
        if number % 50 == 49 {
            sleep(Duration::from_millis(1)).await;
        }
    }
    all_are_closed(world, slow, connections).await
}

/// Sends a hello, or half of it, then nothing, until the server closes all connections.
pub(super) async fn half_open_tls(world: &Rc<World>, connections: usize) -> Result<u64> {
    let hello = client_hello(&world.server.tls);
    let vias = Via::ALL.into_iter().filter(|via| via.is_encrypted()).cycle();
    let mut silent = JoinSet::new();
    for (number, via) in (0..connections).zip(vias) {
        let mut socket = Dial::new(via).socket(&world.server).await?;
        let len = if number % 8 < 4 { hello.len() } else { hello.len() / 2 };
        socket.write_all(&hello[..len]).await?;
        silent.spawn_local(send_bytes_slowly(socket, std::iter::empty()));
    }
    all_are_closed(world, silent, connections).await
}

/// Waits until the server has closed all connections, and has counted them.
async fn all_are_closed(world: &World, mut all: JoinSet<bool>, connections: usize) -> Result<u64> {
    let closed = timeout(PATIENCE, async { while all.join_next().await.is_some() {} }).await;
    ensure!(closed.is_ok(), "{} of {connections} are still open", all.len());
    until("every failed handshake is counted", || async {
        let reading = world.server.metrics().await?;
        Ok(reading.sum("waddell_handshakes_failed_total")? >= connections as u64)
    })
    .await?;
    Ok(connections as u64)
}

/// Sends a byte at a time, for as long as the connection is open.
async fn send_bytes_slowly(mut socket: TcpStream, bytes: impl Iterator<Item = u8>) -> bool {
    let (mut read, mut write) = socket.split();
    let send = async {
        for byte in bytes {
            if write.write_all(&[byte]).await.is_err() {
                break;
            }
            sleep(BYTE).await;
        }
        std::future::pending::<()>().await;
    };
    let receive = async {
        let mut buffer = [0; 4096];
        while matches!(read.read(&mut buffer).await, Ok(len) if len > 0) {}
    };
    tokio::select! {
        () = send => false,
        () = receive => true,
    }
}

/// Sends a long frame a byte at a time, over every transport, until the server closes all.
pub(super) async fn frames(world: &Rc<World>, connections: usize) -> Result<u64> {
    let mut slow = JoinSet::new();
    for (_, via) in (0..connections).zip(Via::ALL.into_iter().cycle()) {
        let peer = Dial::new(via).peer(&world.server).await?;
        slow.spawn_local(send_frame_slowly(peer, via));
    }
    let closed = timeout(PATIENCE, async { while slow.join_next().await.is_some() {} }).await;
    ensure!(closed.is_ok(), "{} of {connections} are still open", slow.len());
    until("all of them are counted as timed out", || async {
        let reading = world.server.metrics().await?;
        let hung_up = reading.labelled("waddell_peers_hung_up_total");
        Ok(hung_up.get("{reason=\"timed out\"}").is_some_and(|count| *count >= connections as u64))
    })
    .await?;
    Ok(connections as u64)
}

async fn send_frame_slowly(mut peer: Peer, via: Via) {
    let own = peer.id;
    let stamp = Stamp { sender: own, recipient: own, topic: TopicId(1), number: 1, time: 0 };
    let frame = stamp.frame(65_000);
    if via.is_websocket() {
        // The header of a WebSocket frame, slowly too.
        let mut header = vec![0x82, 0xff];
        header.extend_from_slice(&100_000_u64.to_be_bytes());
        header.extend_from_slice(&[0; 4]);
        for byte in header {
            if peer.send_raw(&[byte]).await.is_err() {
                return;
            }
            sleep(BYTE / 4).await;
        }
    }
    // Most of the frame at once, so that the server has to keep it.
    if peer.send_raw(&frame[..60_000]).await.is_err() {
        return;
    }
    for byte in &frame[60_000..] {
        if peer.send_raw(&[*byte]).await.is_err() {
            return;
        }
        if let Ok(Ok(None) | Err(_)) = timeout(BYTE, peer.receive()).await {
            return;
        }
    }
}
