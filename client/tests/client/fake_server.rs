//! A small waddell server that the tests control, with the extension of the protocol or without.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;
use waddell_client::{Client, ClientConfig, PeerId, TopicId};
use waddell_core::{
    Capabilities, CloseCode, Closing, ConnectionConfig, Decision, DropReason, Dropped,
    FrameDecoder, HEADER_LEN, Handled, IceServers, Instant, KEEP_ALIVE, Notice, PeerNotice,
    PeerState, Request, ServerConnection, Welcome,
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
    /// What clients that say HELLO are granted.
    grants: Capabilities,
    /// Who watches whom.
    watches: Mutex<Vec<(PeerId, PeerId)>>,
    extended: bool,
    hellos: AtomicUsize,
    syncs: AtomicUsize,
    /// Number of the last frame of each client.
    handled: Mutex<HashMap<PeerId, u64>>,
    forgets: AtomicBool,
    /// The token of the clients that are served; `None`: all are.
    token: Mutex<Option<String>>,
    auths: AtomicUsize,
    /// How often a client asked for ICE servers.
    ice: AtomicUsize,
    byes: AtomicUsize,
    /// Whether to hang up on HELLO.
    refuses_hello: AtomicBool,
}

/// The server's side of the extension on one connection.
#[derive(Default)]
struct Session {
    /// Whether the client has PEERS.
    tells_of_peers: bool,
    /// Number of the last frame after HELLO.
    number: u64,
    said_hello: bool,
}

impl FakeServer {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Makes a server that speaks the extension.
    pub(crate) fn extended() -> Self {
        Self::granting(Capabilities::VERDICTS.with(Capabilities::PEERS))
    }

    /// Makes a server that grants these parts of the extension.
    pub(crate) fn granting(grants: Capabilities) -> Self {
        Self { shared: Arc::new(Shared { extended: true, grants, ..Shared::default() }) }
    }

    /// Hangs up on HELLO from here on.
    pub(crate) fn refuse_hello(&self) {
        self.shared.refuses_hello.store(true, Ordering::Relaxed);
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
        let ended: Vec<_> = {
            let mut peers = self.shared.peers.lock().unwrap();
            peers.extract_if(|_, outbox| outbox.is_closed()).map(|(id, _)| id).collect()
        };
        let watches: Vec<_> = {
            let mut watches = self.shared.watches.lock().unwrap();
            watches.extract_if(.., |(_, peer)| ended.contains(peer)).collect()
        };
        for (watcher, peer) in watches {
            self.send_peer(watcher, PeerNotice { id: peer, state: PeerState::Gone, lost: 0 });
        }
        self.shared.connections.send_modify(|connections| *connections -= 1);
    }

    async fn talk(
        &self,
        mut id: PeerId,
        mut queue: mpsc::UnboundedReceiver<Vec<u8>>,
        stream: impl AsyncRead + AsyncWrite,
    ) -> io::Result<()> {
        let (mut reader, mut writer) = split(stream);
        let now = Instant::default();
        let mut connection = ServerConnection::new(id, ConnectionConfig::default(), now);
        if self.token().is_none() {
            writer.write_all(&connection.greeting()).await?;
            writer.flush().await?;
        }
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
            let mut session = Session::default();
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
                    session.number += u64::from(session.said_hello);
                    self.shared.handled.lock().unwrap().insert(id, session.number);
                    if let Some(request) = request(frame.payload()) {
                        id = self.answer(id, &mut session, request)?;
                        connection.rename(id);
                    } else if let Decision::Forward(to) = connection.handle_frame(&mut frame, now) {
                        let topic = TopicId(u16::from_le_bytes([
                            frame.payload()[HEADER_LEN - 2],
                            frame.payload()[HEADER_LEN - 1],
                        ]));
                        if session.tells_of_peers {
                            self.shared.watches.lock().unwrap().push((id, to));
                        }
                        if !self.send_raw(to, frame.as_bytes()) {
                            self.drop_frame(id, &session, to, topic);
                        }
                    }
                }
            }
        };
        tokio::select! {
            result = read => result,
            result = write => result,
        }
    }

    /// Answers a control frame, if this server speaks the extension. Returns the client's id from
    /// here on.
    fn answer(
        &self,
        mut id: PeerId,
        session: &mut Session,
        request: Request<'_>,
    ) -> io::Result<PeerId> {
        if let Request::Hello(_) = request {
            self.shared.hellos.fetch_add(1, Ordering::Relaxed);
            if self.shared.refuses_hello.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        if !self.shared.extended {
            return Ok(id);
        }
        match request {
            Request::Hello(hello) => {
                session.said_hello = true;
                session.number = hello.first_number - 1;
                let granted = self.shared.grants & hello.wants;
                session.tells_of_peers = granted.contains(Capabilities::PEERS);
                if let Some(token) = self.token() {
                    if hello.credentials != Some(token.as_bytes()) {
                        self.refuse(id);
                        return Ok(id);
                    }
                    let config = ConnectionConfig::default();
                    let own = ServerConnection::new(id, config, Instant::default());
                    self.send_raw(id, &own.greeting());
                }
                // The token of this server is the id itself.
                let former: Option<[u8; 16]> = hello.resume_token.map(|it| it.try_into().unwrap());
                let former = former.map(PeerId::from_bytes).filter(|_| !self.forgets());
                if let Some(former) = former {
                    id = self.rename(id, former);
                }
                let token = &id.as_bytes()[..];
                let welcome = Welcome {
                    resumed: former.is_some(),
                    credentials_expire_in: hello.credentials.map(|_| 100),
                    resume_token: granted.contains(Capabilities::RESUME).then_some(token),
                    ..Welcome::new(granted, id, u16::MAX)
                };
                self.send_notice(id, &Notice::Welcome(welcome));
                if former.is_some() {
                    let upto = self.shared.handled.lock().unwrap()[&id];
                    self.send_notice(id, &Notice::Handled(Handled { upto, complete: true }));
                }
            }
            Request::Renew => {
                let new = match self.forgets() {
                    true => id,
                    false => self.rename(id, PeerId::from_random(Uuid::new_v4().into_bytes())),
                };
                id = new;
                self.send_notice(id, &Notice::Renewed { id, resume_token: None });
            }
            Request::Ice => {
                let asked = self.shared.ice.fetch_add(1, Ordering::Relaxed) + 1;
                let json = format!("[{{\"urls\":\"stun:{asked}.example\"}}]");
                let servers = IceServers { valid_for: 600, json: &json };
                self.send_notice(id, &Notice::Ice(servers));
            }
            Request::Auth(token) => {
                if self.token().is_some_and(|it| it.as_bytes() == token) {
                    self.shared.auths.fetch_add(1, Ordering::Relaxed);
                    self.send_notice(id, &Notice::Authorized { expires_in: 100 });
                } else {
                    self.refuse(id);
                }
            }
            Request::Bye => {
                self.shared.byes.fetch_add(1, Ordering::Relaxed);
            }
            Request::Sync { .. } => {
                self.shared.syncs.fetch_add(1, Ordering::Relaxed);
                let handled = Handled { upto: session.number, complete: true };
                self.send_notice(id, &Notice::Handled(handled));
            }
            Request::Watch(ids) => {
                for peer in ids.iter() {
                    self.shared.watches.lock().unwrap().push((id, peer));
                    let is_here = self.shared.peers.lock().unwrap().contains_key(&peer);
                    let state = if is_here { PeerState::Here } else { PeerState::Gone };
                    self.send_peer(id, PeerNotice { id: peer, state, lost: 0 });
                }
            }
            Request::Unwatch(ids) => {
                let mut watches = self.shared.watches.lock().unwrap();
                watches.retain(|(watcher, peer)| {
                    *watcher != id || ids.iter().all(|unwatched| unwatched != *peer)
                });
            }
        }
        Ok(id)
    }

    fn refuse(&self, id: PeerId) {
        let (code, reason) = (CloseCode::UNAUTHORIZED, "wrong token");
        self.send_notice(id, &Notice::Closing(Closing { code, handled: 0, reason }));
    }

    fn token(&self) -> Option<String> {
        self.shared.token.lock().unwrap().clone()
    }

    /// Serves only clients with this token from here on.
    pub(crate) fn demand(&self, token: &str) {
        *self.shared.token.lock().unwrap() = Some(token.to_owned());
    }

    /// Returns how many new tokens connected clients gave.
    pub(crate) fn auths(&self) -> usize {
        self.shared.auths.load(Ordering::Relaxed)
    }

    /// Gives a connected peer another id.
    fn rename(&self, old: PeerId, new: PeerId) -> PeerId {
        let mut peers = self.shared.peers.lock().unwrap();
        let outbox = peers.remove(&old).expect("it is connected");
        peers.insert(new, outbox);
        new
    }

    fn forgets(&self) -> bool {
        self.shared.forgets.load(Ordering::Relaxed)
    }

    /// Resumes no id and gives no new one from here on.
    pub(crate) fn forget(&self) {
        self.shared.forgets.store(true, Ordering::Relaxed);
    }

    /// Returns how many clients said BYE.
    pub(crate) fn byes(&self) -> usize {
        self.shared.byes.load(Ordering::Relaxed)
    }

    /// Tells a client that the latest frame was dropped.
    fn drop_frame(&self, id: PeerId, session: &Session, to: PeerId, topic: TopicId) {
        if session.said_hello {
            let reason = DropReason::UnknownRecipient;
            let (first, span, count) = (session.number, 1, 1);
            let entry = Dropped { first, span, count, reason, topic, recipient: to };
            let mut bytes = Vec::new();
            Dropped::encode_all([&entry], &mut bytes);
            self.send_raw(id, &bytes);
        }
    }

    fn send_peer(&self, to: PeerId, notice: PeerNotice) {
        let mut bytes = Vec::new();
        PeerNotice::encode_all([&notice], &mut bytes);
        self.send_raw(to, &bytes);
    }

    pub(crate) fn send_notice(&self, to: PeerId, notice: &Notice<'_>) {
        let mut bytes = Vec::new();
        notice.encode(&mut bytes);
        self.send_raw(to, &bytes);
    }

    /// Sends bytes to a peer as they are. Returns whether there is such a peer.
    pub(crate) fn send_raw(&self, to: PeerId, bytes: &[u8]) -> bool {
        let peers = self.shared.peers.lock().unwrap();
        peers.get(&to).is_some_and(|outbox| outbox.send(bytes.to_vec()).is_ok())
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

    /// Returns how many connections said HELLO.
    pub(crate) fn hellos(&self) -> usize {
        self.shared.hellos.load(Ordering::Relaxed)
    }

    /// Returns how many SYNC came.
    pub(crate) fn syncs(&self) -> usize {
        self.shared.syncs.load(Ordering::Relaxed)
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

/// Returns the control frame that a payload is.
fn request(payload: &[u8]) -> Option<Request<'_>> {
    let body = payload.strip_prefix(b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff")?;
    Some(Request::decode(body).expect("clients send what is known"))
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
