//! A small waddell server that the tests control.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;
use waddell_client::{Client, ClientConfig, PeerId, TopicId};
use waddell_core::{
    ConnectionConfig, Decision, FrameDecoder, Instant, KEEP_ALIVE, ServerConnection,
};

#[derive(Clone, Default)]
pub(crate) struct FakeServer {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    peers: Mutex<HashMap<PeerId, mpsc::UnboundedSender<Vec<u8>>>>,
    keep_alives: AtomicUsize,
    dials: AtomicUsize,
    connections: watch::Sender<usize>,
    /// While this is true, each connection reads at most once more.
    stalled: watch::Sender<bool>,
}

impl FakeServer {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Connects a client over a stream in memory.
    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.config()).await.unwrap()
    }

    /// Configures a client that dials this fake over streams in memory.
    pub(crate) fn config(&self) -> ClientConfig {
        let fake = self.clone();
        ClientConfig::from_dialer(move || {
            let fake = fake.clone();
            async move { Ok(fake.dial()) }
        })
    }

    pub(crate) fn dial(&self) -> DuplexStream {
        self.shared.dials.fetch_add(1, Ordering::Relaxed);
        let (near, far) = duplex(4096);
        let fake = self.clone();
        tokio::spawn(async move { fake.serve(far).await });
        near
    }

    /// Listens on a free TCP port.
    pub(crate) async fn listen(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fake = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let fake = fake.clone();
                tokio::spawn(async move { fake.serve(stream).await });
            }
        });
        address
    }

    /// Serves one connection to its end.
    pub(crate) async fn serve(&self, stream: impl AsyncRead + AsyncWrite) {
        let id = PeerId::from_random(Uuid::new_v4().into_bytes());
        let (outbox, queue) = mpsc::unbounded_channel();
        self.shared.peers.lock().unwrap().insert(id, outbox);
        self.shared.connections.send_modify(|connections| *connections += 1);
        // Tests check the client's reaction, so the error does not matter here.
        let _ = self.talk(id, queue, stream).await;
        self.shared.peers.lock().unwrap().remove(&id);
        self.shared.connections.send_modify(|connections| *connections -= 1);
    }

    async fn talk(
        &self,
        id: PeerId,
        mut queue: mpsc::UnboundedReceiver<Vec<u8>>,
        stream: impl AsyncRead + AsyncWrite,
    ) -> io::Result<()> {
        let (mut reader, mut writer) = split(stream);
        let now = Instant::default();
        let mut connection = ServerConnection::new(id, ConnectionConfig::default(), now);
        writer.write_all(&connection.greeting()).await?;
        writer.flush().await?;
        let write = async {
            while let Some(bytes) = queue.recv().await {
                writer.write_all(&bytes).await?;
                writer.flush().await?;
            }
            // The connection was cut: end the stream.
            writer.shutdown().await
        };
        let read = async {
            let mut stalled = self.shared.stalled.subscribe();
            let mut decoder = FrameDecoder::new();
            let mut buffer = vec![0; 4096];
            loop {
                drop(stalled.wait_for(|stalled| !stalled).await);
                let len = reader.read(&mut buffer).await?;
                if len == 0 {
                    return Ok(());
                }
                let mut input = &mut buffer[..len];
                while let Some(mut frame) = decoder.next_frame(&mut input).unwrap() {
                    if frame.payload() == KEEP_ALIVE {
                        self.shared.keep_alives.fetch_add(1, Ordering::Relaxed);
                    }
                    if let Decision::Forward(to) = connection.handle_frame(&mut frame, now) {
                        self.send_raw(to, frame.as_bytes());
                    }
                }
            }
        };
        tokio::select! {
            result = read => result,
            result = write => result,
        }
    }

    /// Sends bytes to a peer as they are.
    pub(crate) fn send_raw(&self, to: PeerId, bytes: &[u8]) {
        if let Some(outbox) = self.shared.peers.lock().unwrap().get(&to) {
            let _ = outbox.send(bytes.to_vec());
        }
    }

    /// Cuts all connections.
    pub(crate) fn cut(&self) {
        self.shared.peers.lock().unwrap().clear();
    }

    /// Stops reading from all connections, or starts again.
    pub(crate) fn stall(&self, stalled: bool) {
        self.shared.stalled.send_replace(stalled);
    }

    pub(crate) fn keep_alives(&self) -> usize {
        self.shared.keep_alives.load(Ordering::Relaxed)
    }

    /// Returns how many connections in memory were dialed.
    pub(crate) fn dials(&self) -> usize {
        self.shared.dials.load(Ordering::Relaxed)
    }

    /// Waits until there are `count` connections.
    pub(crate) async fn wait_for_connections(&self, count: usize) {
        let mut connections = self.shared.connections.subscribe();
        drop(connections.wait_for(|connections| *connections == count).await);
    }
}

/// Waits until the client has an id other than `old`.
pub(crate) async fn next_id(client: &Client, old: PeerId) -> PeerId {
    let mut states = client.watch();
    loop {
        match client.id() {
            Some(id) if id != old => return id,
            Some(_) | None => states.changed().await.expect("the client is not closed"),
        }
    }
}

pub(crate) const TOPIC: TopicId = TopicId(7);
