//! All connections of a run, in one loop of one thread.
//!
//! These are not the peers of `waddell_tests`: a task and a buffer for each would cost more than
//! the server under load.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;
use waddell_core::PeerId;

use crate::body::{Bodies, Stamp};
use crate::protocol::{self, Incoming, Reader};
use crate::socket::{Dialer, Socket, not_yet};
use crate::target::{Protocol, Target};

/// The peers of a run, by number.
pub(crate) struct Net {
    target: Target,
    dialer: Dialer,
    poll: Poll,
    events: Events,
    links: Vec<Link>,
    /// Buffer of every read. A connection owns a buffer only for an unfinished frame.
    scratch: Vec<u8>,
    out: Out,
}

struct Link {
    socket: Option<Socket>,
    reader: Reader,
    /// Reads nothing, to play a recipient that has stopped reading.
    paused: bool,
}

/// The writing side of all peers.
pub(crate) struct Out {
    protocol: Protocol,
    bodies: Bodies,
    began: Instant,
    /// Ids of the peers that are ready; over NATS all are nil.
    ids: Vec<Option<PeerId>>,
    buffers: Vec<Buffer>,
    /// Peers with bytes to write, each once.
    dirty: Vec<usize>,
}

#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    written: usize,
    dirty: bool,
}

/// An event of one peer.
pub(crate) enum Event {
    /// The peer is connected and known to the server.
    Ready,
    /// A message arrived, undamaged and from the sender that its body names.
    Message(Stamp),
    /// A message arrived that was not sent to this peer in this form.
    Damaged,
    /// The server closed the connection.
    Closed,
}

impl Net {
    /// Prepares for peers that send bodies of `body_len` bytes.
    pub(crate) fn new(target: &Target, body_len: usize, resume: bool) -> Result<Self> {
        Ok(Self {
            target: target.clone(),
            dialer: Dialer::new(target, resume).map_err(anyhow::Error::msg)?,
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            links: Vec::new(),
            scratch: vec![0; SCRATCH_LEN],
            out: Out {
                protocol: target.protocol,
                bodies: Bodies::new(body_len),
                began: Instant::now(),
                ids: Vec::new(),
                buffers: Vec::new(),
                dirty: Vec::new(),
            },
        })
    }

    /// Connects `count` peers and waits until all are ready.
    pub(crate) fn open_all(&mut self, count: usize) -> Result<()> {
        let (mut opened, mut ready) = (0, 0);
        while ready < count {
            while opened < count && opened - ready < MOST_OPENING {
                self.open(opened)?;
                opened += 1;
            }
            let before = ready;
            self.turn(Some(OPEN_TIMEOUT), |_, _, event| match event {
                Event::Ready => ready += 1,
                Event::Message(_) | Event::Damaged | Event::Closed => {}
            })?;
            if ready == before && self.events.is_empty() {
                bail!("{}: {ready} of {count} peers are ready, and no more", self.target.url);
            }
        }
        Ok(())
    }

    /// Begins to connect the peer of that number, which is new or was closed.
    pub(crate) fn open(&mut self, peer: usize) -> Result<()> {
        let out = &mut self.out;
        if peer == self.links.len() {
            out.buffers.push(Buffer::default());
            out.ids.push(None);
        } else {
            out.ids[peer] = None;
            out.buffers[peer].bytes.clear();
            out.buffers[peer].written = 0;
        }
        let mut socket =
            self.dialer.dial().with_context(|| format!("cannot connect to {}", self.target.url))?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(socket.tcp(), Token(peer), interest)?;
        let reader = Reader::new(&self.target, peer, &mut out.buffers[peer].bytes);
        let link = Link { socket: Some(socket), reader, paused: false };
        if peer == self.links.len() {
            self.links.push(link);
        } else {
            self.links[peer] = link;
        }
        Ok(())
    }

    /// Hangs up by a reset, so that the local port is free at once.
    pub(crate) fn close(&mut self, peer: usize) -> Result<()> {
        if let Some(mut socket) = self.links[peer].socket.take() {
            SockRef::from(&*socket.tcp()).set_linger(Some(Duration::ZERO))?;
        }
        Ok(())
    }

    /// Stops reading for a peer, or goes on.
    pub(crate) fn pause(&mut self, peer: usize, paused: bool) -> Result<()> {
        self.links[peer].paused = paused;
        if let (false, Some(socket)) = (paused, &mut self.links[peer].socket) {
            // The poll reports changes only. To register again reports the present state.
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().reregister(socket.tcp(), Token(peer), interest)?;
        }
        Ok(())
    }

    /// Writes pending bytes, waits for events, and passes them to `on`.
    pub(crate) fn turn(
        &mut self,
        timeout: Option<Duration>,
        mut on: impl FnMut(&mut Out, usize, Event),
    ) -> Result<()> {
        self.flush()?;
        if let Err(error) = self.poll.poll(&mut self.events, timeout)
            && error.kind() != io::ErrorKind::Interrupted
        {
            return Err(error.into());
        }
        let Self { target, links, out, scratch, events, .. } = self;
        for event in events.iter() {
            let peer = event.token().0;
            let (writable, closed) = (event.is_writable(), event.is_read_closed());
            let link = &mut links[peer];
            if writable && !out.buffers[peer].bytes.is_empty() {
                out.mark(peer);
            }
            let secured = matches!(link.socket, Some(Socket::Tls { .. }));
            let readable = event.is_readable() || closed || secured && writable;
            if readable && !link.paused {
                link.read(peer, closed, scratch, out, &mut on)
                    .with_context(|| format!("{}: peer {peer}", target.url))?;
            }
        }
        self.flush()
    }

    /// Writes pending bytes as far as the sockets have room.
    fn flush(&mut self) -> Result<()> {
        while let Some(peer) = self.out.dirty.pop() {
            let buffer = &mut self.out.buffers[peer];
            buffer.dirty = false;
            let Some(socket) = &mut self.links[peer].socket else { continue };
            while buffer.written < buffer.bytes.len() {
                match socket.write(&buffer.bytes[buffer.written..]) {
                    Ok(len) => buffer.written += len,
                    Err(error) if not_yet(&error) => break,
                    // The reading side reports the end of the connection.
                    Err(error) if hung_up(&error) => break,
                    Err(error) => return Err(error.into()),
                }
            }
            if buffer.written == buffer.bytes.len() {
                buffer.bytes.clear();
                buffer.written = 0;
            }
        }
        Ok(())
    }

    pub(crate) fn out(&mut self) -> &mut Out {
        &mut self.out
    }
}

impl Link {
    fn read(
        &mut self,
        peer: usize,
        closed: bool,
        scratch: &mut [u8],
        out: &mut Out,
        on: &mut impl FnMut(&mut Out, usize, Event),
    ) -> Result<()> {
        while let Some(socket) = &mut self.socket {
            let len = match socket.read(scratch) {
                Ok(0) => {
                    self.socket = None;
                    on(out, peer, Event::Closed);
                    return Ok(());
                }
                Ok(len) => len,
                Err(error) if not_yet(&error) => return Ok(()),
                Err(error) if hung_up(&error) => {
                    self.socket = None;
                    on(out, peer, Event::Closed);
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            };
            let plain = matches!(socket, Socket::Plain(_));
            let mut answer = Vec::new();
            let taken = self.reader.take(&mut scratch[..len], &mut answer, |incoming| {
                let event = out.judge(peer, incoming);
                on(out, peer, event);
            });
            taken.map_err(anyhow::Error::msg)?;
            if !answer.is_empty() {
                out.buffers[peer].bytes.extend_from_slice(&answer);
                out.mark(peer);
            }
            // A short read has emptied the socket; another would cost as much and bring nothing.
            if plain && len < scratch.len() && !closed {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Out {
    /// Appends a message to the buffer of its sender.
    pub(crate) fn send(&mut self, stamp: Stamp) {
        let Stamp { sender, recipient, .. } = stamp;
        let (from, to) = (sender as usize, recipient as usize);
        let id = self.ids[to].expect("the recipient is ready");
        let out = &mut self.buffers[from].bytes;
        let body = |out: &mut Vec<u8>| self.bodies.write(stamp, out);
        protocol::write_message(self.protocol, (id, to), self.bodies.len(), out, body);
        self.mark(from);
    }

    /// Returns the time since the run began, in nanoseconds.
    pub(crate) fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// Returns the number of bytes that a peer has still to write.
    pub(crate) fn waiting(&self, peer: usize) -> usize {
        self.buffers[peer].bytes.len() - self.buffers[peer].written
    }

    fn mark(&mut self, peer: usize) {
        let buffer = &mut self.buffers[peer];
        if !buffer.dirty {
            buffer.dirty = true;
            self.dirty.push(peer);
        }
    }

    fn judge(&mut self, peer: usize, incoming: Incoming<'_>) -> Event {
        match incoming {
            Incoming::Ready(id) => {
                self.ids[peer] = Some(id);
                Event::Ready
            }
            Incoming::Message(from, body) => match self.bodies.read(body) {
                Some(stamp)
                    if stamp.recipient as usize == peer
                        && (from.is_none()
                            || from == self.ids.get(stamp.sender as usize).copied().flatten()) =>
                {
                    Event::Message(stamp)
                }
                Some(_) | None => Event::Damaged,
            },
        }
    }
}

fn hung_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    // `UnexpectedEof`: TLS ended without its close alert.
    matches!(error.kind(), ConnectionReset | BrokenPipe | UnexpectedEof)
}

/// Room for all that a busy server sends at once.
const SCRATCH_LEN: usize = 256 << 10;

/// Fewer than the shortest common accept queue, 128: a connection beyond it waits for a timer.
const MOST_OPENING: usize = 64;

const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
