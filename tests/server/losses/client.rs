//! A client that loses its connection and resumes.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use waddell_core::{Handled, Hello, MessageIn, Notice, PeerId, Request};
use waddell_tests::peer::Peer;
use waddell_tests::transport::Via;

use crate::support::extended::ALL;
use crate::support::peer::message;
use crate::support::soon;

/// A client that loses its connection and resumes. It writes to one peer, and notes what became of
/// each message.
pub(super) struct Client {
    pub(super) id: PeerId,
    pub(super) writer: PeerId,
    /// `None` while it is lost.
    connection: Option<Connection>,
    token: Vec<u8>,
    /// Number of its next frame, and of its next message.
    next: u64,
    sequence: u32,
    /// `upto` of the last HANDLED.
    seen: u64,
    /// Messages whose fate it does not know yet, by number of the frame.
    pending: BTreeMap<u64, u32>,
    pub(super) handled: HashSet<u32>,
    pub(super) lost: HashSet<u32>,
    /// Number of messages whose fate it will never know.
    pub(super) unknown: usize,
    /// The messages of its writer, in the order of arrival.
    pub(super) received: Vec<u32>,
}

type Connection = Peer<TcpStream>;

/// How a connection is lost.
#[derive(Clone, Copy, Debug)]
pub(super) enum Loss {
    /// The client ends it, with messages on their way.
    Closed,
    /// It is reset, with messages on their way.
    Reset,
    /// It is reset after everything was handled.
    ResetLater,
    /// It is still open when the next one comes.
    TakenOver,
}

impl Loss {
    pub(super) const ALL: [Self; 4] =
        [Self::Closed, Self::TakenOver, Self::Reset, Self::ResetLater];
}

impl Client {
    pub(super) async fn connect(server: SocketAddr, writer: PeerId) -> io::Result<Self> {
        let connection = dial(server, &Hello::new(ALL)).await?;
        let mut client = Self {
            id: connection.id,
            writer,
            connection: Some(connection),
            token: Vec::new(),
            next: 1,
            sequence: 0,
            seen: 0,
            pending: BTreeMap::new(),
            handled: HashSet::new(),
            lost: HashSet::new(),
            unknown: 0,
            received: Vec::new(),
        };
        client.welcome().await?;
        Ok(client)
    }

    /// Sends a few messages to the writer.
    pub(super) async fn send_some(&mut self) {
        let mut frames = Vec::new();
        for _ in 0..5 {
            frames.extend(message(self.writer, 1, &self.sequence.to_le_bytes()));
            self.pending.insert(self.next, self.sequence);
            (self.next, self.sequence) = (self.next + 1, self.sequence + 1);
        }
        // A connection that breaks meanwhile loses them.
        let connection = self.connection().expect("it is connected");
        let _ = connection.send(frames).await;
    }

    /// Asks what became of all messages.
    pub(super) async fn sync(&mut self) {
        self.try_sync().await.expect("the connection stays");
    }

    /// Loses the connection and resumes the id.
    pub(super) async fn lose(&mut self, loss: Loss, server: SocketAddr) -> io::Result<()> {
        let former = self.connection()?.stream();
        match loss {
            Loss::Closed | Loss::TakenOver => {}
            Loss::Reset => reset_later(former),
            Loss::ResetLater => {
                reset_later(former);
                self.try_sync().await?;
            }
        }
        let (first_number, seen, token) = (self.next, self.seen, self.token.clone());
        let hello = Hello { resume_token: Some(&token), first_number, seen, ..Hello::new(ALL) };
        let has_id = self.id;
        if let Loss::TakenOver = loss {
            let next = dial(server, &hello).await?;
            // What was written to the former connection comes before what is moved to the next.
            while let Ok(Some(payload)) = soon(self.connection()?.receive()).await {
                self.take(&payload);
            }
            self.connection = Some(next);
        } else {
            self.connection = None;
            self.connection = Some(dial(server, &hello).await?);
        }
        if !self.welcome().await? {
            return Err(io::Error::other("the id is contested"));
        }
        assert_eq!(self.id, has_id);
        let Handled { upto, complete } = self.until_handled().await?;
        for (number, sequence) in std::mem::take(&mut self.pending) {
            if !complete && number <= upto {
                self.unknown += 1;
            } else {
                self.lost.insert(sequence);
            }
        }
        // From then on the server knows that the client knows what was lost.
        self.try_sync().await
    }

    async fn try_sync(&mut self) -> io::Result<()> {
        let mut frame = Vec::new();
        Request::Sync { seen: self.seen }.encode(&mut frame);
        self.next += 1;
        self.connection()?.send(frame).await?;
        let handled = self.until_handled().await?;
        assert!(handled.complete && handled.upto + 1 == self.next, "{handled:?}");
        assert_eq!(self.pending, BTreeMap::new());
        Ok(())
    }

    /// Waits for WELCOME. Returns whether the id was resumed.
    async fn welcome(&mut self) -> io::Result<bool> {
        loop {
            let payload = self.receive().await?;
            if let Some(Notice::Welcome(welcome)) = self.take(&payload) {
                self.id = welcome.id;
                self.token = welcome.resume_token.expect("the server resumes").to_vec();
                return Ok(welcome.resumed);
            }
        }
    }

    async fn until_handled(&mut self) -> io::Result<Handled> {
        loop {
            let payload = self.receive().await?;
            if let Some(Notice::Handled(handled)) = self.take(&payload) {
                self.seen = handled.upto;
                if handled.complete {
                    let later = self.pending.split_off(&(handled.upto + 1));
                    self.handled.extend(std::mem::replace(&mut self.pending, later).into_values());
                }
                return Ok(handled);
            }
        }
    }

    async fn receive(&mut self) -> io::Result<Vec<u8>> {
        let payload = soon(self.connection()?.receive()).await?;
        Ok(payload.ok_or(io::ErrorKind::UnexpectedEof)?.to_vec())
    }

    fn connection(&mut self) -> io::Result<&mut Connection> {
        self.connection.as_mut().ok_or(io::ErrorKind::NotConnected.into())
    }

    /// Notes a message. Returns a control frame.
    fn take<'p>(&mut self, payload: &'p [u8]) -> Option<Notice<'p>> {
        let message = MessageIn::decode(payload).expect("servers send headers");
        if message.from == PeerId::NIL {
            let notice = Notice::decode(&payload[18..]).expect("servers make no error");
            if let Notice::Dropped(entries) = &notice {
                panic!("the writer reads, but {:?}", entries.iter().next());
            }
            return Some(notice);
        }
        assert_eq!(message.from, self.writer);
        let sequence = message.body.first_chunk().copied().map(u32::from_le_bytes);
        self.received.push(sequence.expect("writers number their messages"));
        None
    }
}

async fn dial(server: SocketAddr, hello: &Hello<'_>) -> io::Result<Connection> {
    let mut frame = Vec::new();
    hello.encode(&mut frame);
    let stream = soon(TcpStream::connect(server)).await?;
    stream.set_nodelay(true)?;
    soon(Peer::open_saying(Via::Tcp, stream, &frame)).await
}

/// Makes the end of a connection a reset.
fn reset_later(stream: &TcpStream) {
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).expect("it is a socket");
}
