//! The task that owns a connection: reads, decides, forwards; and everything that takes time.

mod deadlines;
mod end;
mod finish;
mod inbound;
mod pings;
mod timer;

use std::future::Future;
use std::mem::{self, MaybeUninit};
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use waddell_core::{FrameDecoder, Instant, ServerConnection};

use end::End;
use finish::Finish;
use inbound::{Inbound, Surplus, WebSocket};
use pings::Pings;
use timer::Timer;

use crate::admission::Admission;
use crate::entry::proxy_header::Watch;
use crate::forward::link::{LinkStatus, Pushed};
use crate::forward::outbox::Framing;
use crate::forward::peer::Peer;
use crate::forward::read_counts::ReadCounts;
use crate::forward::registry::Registration;
use crate::forward::transport::tls::{Decrypted, decrypt};
use crate::forward::transport::{Early, Transport, ws};
use crate::forward::worker::{Scratch, WorkerSlot};
use crate::ids::{self, Short};
use crate::labels::{AddressClaim, TransportKind};
use crate::shutdown::Phase;

/// Makes a peer of a connection whose handshakes are done, and serves it until it ends.
pub(crate) fn serve(slot: WorkerSlot, transport: Transport, address: IpAddr, admission: Admission) {
    let Transport { socket, tls, framing, early } = transport;
    slot.refresh_config();
    let kind = TransportKind::new(framing == Framing::WebSocket, tls.is_some());
    let mut connection = Connection::new(slot, socket, tls, framing, kind, address, admission);
    if let Err(end) = connection.open(early) {
        connection.finish = Some(connection.begin_finish(end));
    }
    tokio::task::spawn_local(connection);
}

/// One connected peer's task. It is as small as it can be: there may be very many.
struct Connection {
    worker: WorkerSlot,
    registration: Registration,
    socket: OwnedReadHalf,
    inbound: Inbound,
    timer: Timer,
    kind: TransportKind,
    watch: Watch,
    /// It counts among those that the shutdown waits for before anybody is hung up.
    owes_last_read: bool,
    /// Set once there is a reason to end: what is left is to deliver what waits, and to hang up.
    finish: Option<Box<Finish>>,
    _admission: Admission,
}

/// Most reads of one connection before the others have their turn.
const READS_PER_TURN: usize = 1;

/// Most bytes that are read at once from a peer whose rate is limited: by so much the burst may be
/// exceeded.
const LIMITED_READ: usize = 2048;

/// Most reads before a peer is taken for silent after all: the longest frame is in so many, even if
/// the peer's rate is limited.
const READS_BEFORE_A_VERDICT: usize = 40;

/// Most reads of one connection that is asked for all it has, when the server shuts down: more than
/// most sockets hold.
const LAST_READS: usize = 16;

impl Connection {
    fn new(
        worker: WorkerSlot,
        socket: TcpStream,
        tls: Option<Box<rustls::ServerConnection>>,
        framing: Framing,
        kind: TransportKind,
        address: IpAddr,
        admission: Admission,
    ) -> Self {
        let shared = &worker.shared;
        let id = ids::mint();
        let now = shared.clock.now();
        let state = ServerConnection::new(id, worker.config().connection(), now);
        let (socket, writer) = socket.into_split();
        let peer = Peer::new(id, writer, tls, framing, now);
        // The greeting is in the outbox before others can reach the peer, so it comes first; it is
        // written after they can, so whoever is told the id can write to it at once.
        worker.with_buffers(|buffers| peer.link().push_greeting(&state.greeting(), buffers));
        shared.shutdown.expect_last_read();
        let registration = shared.registry.register(peer);
        worker.with_buffers(|buffers| registration.peer().link().write_now(buffers));
        shared.metrics.peer_connected(kind);
        let address = worker.config().logged(address);
        tracing::info!(peer = %Short(id), transport = kind.as_str(), address, "connected");
        let websocket = match framing {
            Framing::Raw => None,
            Framing::WebSocket => Some(Box::new(WebSocket {
                decoder: ws::Decoder::default(),
                pings: Pings::new(worker.config().timeouts.ping_interval, id, now),
                surplus: Surplus::default(),
            })),
        };
        // Nobody waited for the first bytes of such a connection: its greeting came before them.
        let watch = match kind {
            TransportKind::Tcp if worker.config().proxies.send_header => Watch::new(),
            TransportKind::Tcp | TransportKind::Tls | TransportKind::Ws | TransportKind::Wss => {
                Watch::default()
            }
        };
        let frames = FrameDecoder::with_max_len(worker.config().limits.max_frame_len);
        Self {
            worker,
            registration,
            socket,
            inbound: Inbound { websocket, frames, begun_at: None, state },
            timer: Timer::default(),
            kind,
            watch,
            owes_last_read: true,
            finish: None,
            _admission: admission,
        }
    }

    fn peer(&self) -> &Arc<Peer> {
        self.registration.peer()
    }

    /// Serves the peer until there is a reason to end.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let worker = Rc::clone(&self.worker);
        let stalled_since = match self.poll_link(cx) {
            LinkStatus::Flowing => None,
            LinkStatus::Stalled(since) => Some(since),
            LinkStatus::Broken => return Poll::Ready(End::Broken),
            LinkStatus::CrowdedOut => return Poll::Ready(End::CrowdedOut),
        };
        let phase = worker.shared.shutdown.phase();
        let close_at = match phase {
            Phase::Serving | Phase::Unready | Phase::LastReads => None,
            Phase::Closing => worker.shared.shutdown.close_at(self.peer().id()),
        };
        let mut reads_left = READS_BEFORE_A_VERDICT;
        while let Some(end) = self.poll_timer(cx, stalled_since, close_at) {
            if end != End::TimedOut || reads_left == 0 {
                return Poll::Ready(end);
            }
            reads_left -= 1;
            if let Err(end) = ready!(self.poll_arrived(cx)) {
                return Poll::Ready(end);
            }
        }
        if close_at.is_some_and(|at| at <= worker.shared.clock.now()) {
            return match self.poll_reads(cx, LAST_READS) {
                Poll::Ready(end) => Poll::Ready(end),
                Poll::Pending => Poll::Ready(End::Shutdown),
            };
        }
        let poll = match phase {
            Phase::LastReads if self.owes_last_read => self.poll_last_read(cx),
            Phase::Serving | Phase::Unready | Phase::LastReads | Phase::Closing => {
                self.poll_reads(cx, READS_PER_TURN)
            }
        };
        // Whatever else the timer is for is put off by what was read; this alone may be new.
        if let Some(due) = self.inbound.frame_due(worker.config().timeouts.frame) {
            self.timer.wake_by(cx, worker.shared.clock.timer(due));
        }
        poll
    }

    /// Takes in what had arrived when the shutdown began; from then on it need not wait for this.
    fn poll_last_read(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.socket.as_ref().poll_read_ready(cx).is_pending() && has_arrived(&self.socket) {
            // The runtime has yet to be told of it by the kernel, and wakes this task then.
            return Poll::Pending;
        }
        let poll = self.poll_reads(cx, LAST_READS);
        self.end_last_read();
        poll
    }

    fn end_last_read(&mut self) {
        if mem::take(&mut self.owes_last_read) {
            self.worker.shared.shutdown.last_read_done();
        }
    }

    /// Reads so many times, or until there is nothing to read; ready only if that ends it.
    fn poll_reads(&mut self, cx: &mut Context<'_>, reads: usize) -> Poll<End> {
        let worker = Rc::clone(&self.worker);
        worker.with_scratch(|scratch| {
            for _ in 0..reads {
                if self.is_paused(cx) {
                    return Poll::Pending;
                }
                if let Err(end) = ready!(self.poll_input(cx, scratch)) {
                    return Poll::Ready(end);
                }
            }
            if self.socket.as_ref().poll_read_ready(cx).is_ready() {
                // There is more, but the others have their turn first.
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        })
    }

    /// Reads once what has arrived from a peer that seems to have been silent for too long: it may
    /// be the server that is late. Whoever has sent nothing is timed out.
    fn poll_arrived(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let worker = Rc::clone(&self.worker);
        if let Poll::Ready(read) = worker.with_scratch(|scratch| self.poll_input(cx, scratch)) {
            return Poll::Ready(read);
        }
        if has_arrived(&self.socket) {
            // The runtime has yet to be told of it by the kernel, and wakes this task then.
            return Poll::Pending;
        }
        Poll::Ready(Err(End::TimedOut))
    }

    /// Takes what was read during the handshakes.
    fn open(&mut self, early: Early) -> Result<(), End> {
        let Early { mut wire, mut plain } = early;
        let worker = Rc::clone(&self.worker);
        worker.with_scratch(|scratch| {
            let now = worker.shared.clock.now();
            self.account(now, |this, counts| {
                this.reject_proxy_header(&plain)?;
                let peer = this.registration.peer();
                this.inbound.take(&mut plain, peer, &worker, now, counts)?;
                this.take_wire(&mut wire, &mut scratch.plain, now, counts)
            })
        })
    }

    /// Has what came be taken, and accounts for what became of it.
    fn account(
        &mut self,
        now: Instant,
        take: impl FnOnce(&mut Self, &mut ReadCounts) -> Result<(), End>,
    ) -> Result<(), End> {
        let held = self.inbound.frames.held();
        let mut counts = ReadCounts::new(now);
        let taken = take(self, &mut counts);
        self.inbound.note_unfinished(&counts);
        counts.commit(&self.worker.metrics, self.registration.peer());
        if self.inbound.state.paused_until(now).is_some() {
            self.worker.metrics.peers_paused.add(1);
        }
        taken.and(self.inbound.account(held, &self.worker.shared.unfinished))
    }

    /// Returns whether the peer has sent more than its rate allows; the task is woken when not.
    fn is_paused(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.inbound.state.is_limited() {
            return false;
        }
        let shared = &self.worker.shared;
        let now = shared.clock.now();
        match self.inbound.state.paused_until(now) {
            Some(at) => self.timer.poll_until(cx, shared.clock.timer(at)).is_pending(),
            None => false,
        }
    }

    /// Reads once, and takes what came.
    fn poll_input(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<Result<(), End>> {
        let most = if self.inbound.state.is_limited() {
            LIMITED_READ.min(scratch.wire.len())
        } else {
            scratch.wire.len()
        };
        let mut buffer = ReadBuf::new(&mut scratch.wire[..most]);
        if ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer)).is_err() {
            return Poll::Ready(Err(End::Broken));
        }
        let wire = buffer.filled_mut();
        if wire.is_empty() {
            return Poll::Ready(Err(End::Closed(None)));
        }
        self.inbound.heard();
        let now = self.worker.shared.clock.now();
        Poll::Ready(
            self.account(now, |this, counts| this.take_wire(wire, &mut scratch.plain, now, counts)),
        )
    }

    /// Takes bytes as they come from the socket.
    fn take_wire(
        &mut self,
        wire: &mut [u8],
        plain: &mut [u8],
        now: Instant,
        counts: &mut ReadCounts,
    ) -> Result<(), End> {
        if !self.kind.is_encrypted() {
            self.reject_proxy_header(wire)?;
            return self.inbound.take(wire, self.registration.peer(), &self.worker, now, counts);
        }
        let mut wire = &*wire;
        loop {
            let decrypted = self.decrypt(&mut wire, plain)?;
            let (bytes, _) = plain.split_at_mut(decrypted.len);
            self.inbound.take(bytes, self.registration.peer(), &self.worker, now, counts)?;
            if decrypted.closed {
                return Err(End::Closed(None));
            }
            if decrypted.len == 0 && wire.is_empty() {
                return Ok(());
            }
        }
    }

    /// Hangs up on whoever begins with a PROXY header, though nobody waited for one: what comes
    /// after would be taken for the rest of a long frame.
    fn reject_proxy_header(&mut self, bytes: &[u8]) -> Result<(), End> {
        if !self.watch.finds_header(bytes) {
            return Ok(());
        }
        let peer = Short(self.peer().id());
        tracing::debug!(%peer, "a PROXY header from an address that is not in trusted-proxies");
        let address = self.socket.peer_addr().ok().map(|address| address.ip());
        self.worker.shared.report_ignored_claim(AddressClaim::ProxyHeader, address);
        Err(End::Misbehaved(ws::Close::policy("a PROXY header is not expected")))
    }

    /// Feeds TLS until there is plain text or nothing more to feed. The link is free again
    /// afterwards: what comes out may have to go right back in, to this very peer.
    fn decrypt(&self, wire: &mut &[u8], plain: &mut [u8]) -> Result<Decrypted, End> {
        let mut link = self.peer().link();
        let Some(tls) = &mut link.tls else { return Ok(Decrypted { len: 0, closed: false }) };
        let decrypted = decrypt(tls, wire, plain);
        let pushed = if tls.wants_write() { link.queue() } else { Pushed::Waits };
        drop(link);
        if pushed == Pushed::Flush {
            self.worker.flush_soon(self.peer());
        }
        decrypted.map_err(|error| {
            tracing::debug!(peer = %Short(self.peer().id()), %error, "TLS failed");
            End::Misbehaved(ws::Close::policy("TLS failed"))
        })
    }

    fn poll_link(&self, cx: &mut Context<'_>) -> LinkStatus {
        let write_timeout = self.worker.config().timeouts.write;
        self.worker
            .with_buffers(|buffers| self.peer().link().poll_blocked(cx, write_timeout, buffers))
    }
}

/// Says whether there is something to read in the socket, whatever the runtime knows of it.
fn has_arrived(socket: &OwnedReadHalf) -> bool {
    let mut first = [MaybeUninit::uninit()];
    SockRef::from(socket.as_ref()).peek(&mut first).is_ok_and(|len| len > 0)
}

impl Future for Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.worker.refresh_config();
        let mut finish = match this.finish.take() {
            Some(finish) => finish,
            None => {
                let end = ready!(this.poll_open(cx));
                this.begin_finish(end)
            }
        };
        let poll = this.poll_finish(cx, &mut finish);
        this.finish = Some(finish);
        poll
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.end_last_read();
        self.registration.end();
        let mut link = self.peer().link();
        link.close();
        self.worker.with_buffers(|buffers| link.abandon(buffers));
        drop(link);
        let shared = &self.worker.shared;
        self.inbound.close(&shared.unfinished);
        shared.metrics.peer_disconnected(self.kind);
        let reason = self.finish.as_ref().map_or(End::ABORTED, |finish| finish.end.as_str());
        let transport = self.kind.as_str();
        let report = self.peer().report(shared.clock.now());
        tracing::info!(
            peer = %Short(self.peer().id()),
            transport,
            reason,
            seconds = report.connected_seconds,
            frames_in = report.frames_in,
            bytes_in = report.bytes_in,
            frames_out = report.link.frames_out,
            bytes_out = report.link.bytes_out,
            "disconnected"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_stays_small() {
        // There may be a hundred thousand of them; a byte more is 100 KB.
        // 8 bytes of it are since when a frame is unfinished.
        assert!(size_of::<Connection>() <= 160, "{}", size_of::<Connection>());
        // 32 bytes of it are what /debug/peers counts.
        assert!(size_of::<Peer>() <= 184, "{}", size_of::<Peer>());
    }
}
