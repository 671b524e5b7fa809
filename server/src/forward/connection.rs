//! The task that owns a connection: reads, decides, forwards, and keeps the deadlines.

mod control;
mod deadlines;
mod end;
mod extended;
mod finish;
mod hello;
mod inbound;
mod io;
mod notices;
mod pings;
mod records;
mod renew;
mod takeover;
mod timer;

use std::future::Future;
use std::mem;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use waddell_core::{
    Capabilities, Closing, Instant, Liveness, Notice, PeerState, Request, ServerConnection,
};

use deadlines::{Deadlines, Due};
use end::End;
use finish::Finish;
use inbound::Inbound;
use io::Io;
use pings::Pings;
use records::Records;

use crate::admission::Admission;
use crate::config::{ExtensionOptions, Timeouts};
use crate::forward::away::Tidings;
use crate::forward::extension;
use crate::forward::link::extension::{Estate, Succession};
use crate::forward::link::{Lost, Pushed};
use crate::forward::peer::Peer;
use crate::forward::proxy_watch::ProxyWatch;
use crate::forward::read_counts::ReadCounts;
use crate::forward::transport::tls::{Decrypted, decrypt};
use crate::forward::transport::{Early, Transport, ws};
use crate::forward::worker::{Scratch, WorkerSlot};
use crate::ids::{self, Short};
use crate::labels::{AddressClaim, TransportKind};
use crate::shutdown::Phase;

/// Makes a peer of a connection whose handshakes are done, and serves it until it ends.
///
/// `address` is the client's, for the log. The admission is given back when the connection ends.
pub(crate) fn serve(
    worker: WorkerSlot,
    transport: Transport,
    address: IpAddr,
    admission: Admission,
) {
    worker.refresh_config();
    let (mut connection, early) = Connection::new(worker, transport, address, admission);
    if let Err(end) = connection.take_early(early) {
        connection.finish = Some(connection.begin_finish(end));
    }
    tokio::task::spawn_local(connection);
}

/// The task of one connected peer. It is as small as it can be, because there may be very many.
struct Connection {
    io: Io,
    inbound: Inbound,
    watch: ProxyWatch,
    /// The shutdown waits for this connection's last read before it closes any peer.
    owes_last_read: bool,
    /// What TLS adds to the bytes.
    records: Records,
    /// Set once there is a reason to end.
    finish: Option<Box<Finish>>,
    _admission: Admission,
}

/// Most reads of one connection before the others have their turn.
const READS_PER_TURN: usize = 1;

/// Size of a read from a peer with a rate limit, in bytes: the most by which it can exceed its
/// burst.
const LIMITED_READ: usize = 2048;

/// Most reads before a peer counts as silent after all: the longest frame fits in so many, even if
/// the peer has a rate limit.
const READS_BEFORE_TIMEOUT: usize = 40;

/// Most reads of one connection that takes in everything, when the server shuts down: more than
/// most sockets hold.
const LAST_READS: usize = 16;

impl Connection {
    fn new(
        worker: WorkerSlot,
        transport: Transport,
        address: IpAddr,
        admission: Admission,
    ) -> (Self, Early) {
        let Transport { socket, tls, framing, early } = transport;
        let shared = &worker.shared;
        let config = worker.config();
        let id = ids::mint();
        let now = shared.clock.now();
        let state = ServerConnection::new(id, config.connection(), now);
        let (socket, writer) = socket.into_split();
        let peer = Peer::new(writer, tls, framing, now);
        let kind = peer.transport();
        // The greeting is put into the outbox before other peers can reach this one, so it comes
        // first. It is written after they can, so a peer that learns the id can use it at once.
        worker.with_buffers(|buffers| peer.link().push_greeting(&state.greeting(), buffers));
        shared.shutdown.expect_last_read();
        let registration = shared.registry.register(id, peer);
        worker.with_buffers(|buffers| registration.peer().link().write_now(buffers));
        shared.metrics.peer_connected(kind);
        let address = config.logged(address);
        tracing::info!(peer = %Short(id), transport = kind.as_str(), address, "connected");
        let pings = kind.is_websocket().then(|| Pings::new(&config.timeouts, id, now));
        let inbound = Inbound::new(state, config.limits.max_frame_len, pings);
        // On `tcp` the server speaks first, so the handshake has not looked at the first bytes.
        let watch = match kind {
            TransportKind::Tcp if config.proxies.send_header => ProxyWatch::new(),
            TransportKind::Tcp | TransportKind::Tls | TransportKind::Ws | TransportKind::Wss => {
                ProxyWatch::default()
            }
        };
        let connection = Self {
            io: Io::new(worker, registration, socket),
            inbound,
            watch,
            owes_last_read: true,
            records: Records::default(),
            finish: None,
            _admission: admission,
        };
        (connection, early)
    }

    /// Serves the peer until there is a reason to end.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let worker = Rc::clone(&self.io.worker);
        let config = worker.config();
        let timeouts = &config.timeouts;
        let (stalled_since, news) = match self.io.poll_blocked(cx) {
            Ok(link) => link,
            Err(Lost::Broken) => return Poll::Ready(End::Broken),
            Err(Lost::CrowdedOut) => return Poll::Ready(End::CrowdedOut),
        };
        if news.told_gone {
            self.inbound.state.forget_contacts();
        }
        if news.is_superseded {
            return Poll::Ready(End::Superseded);
        }
        if self.inbound.takeover().is_some()
            && let Err(end) = ready!(self.poll_takeover(cx))
        {
            return Poll::Ready(end);
        }
        if let Some(successor) = news.successor
            && let Poll::Ready(end) = self.give_way(cx, &successor)
        {
            return Poll::Ready(end);
        }
        self.send_notices();
        let phase = worker.shared.shutdown.phase();
        let close = match phase {
            Phase::Serving | Phase::Unready | Phase::LastReads => None,
            Phase::Closing => worker.shared.shutdown.close_at(self.io.id()),
        };
        if let Some(close) = close {
            self.say_restarting(close, &config.extension);
        }
        if let Some(end) = ready!(self.poll_deadlines(cx, timeouts, stalled_since, close)) {
            return Poll::Ready(end);
        }
        let poll = match phase {
            Phase::LastReads if self.owes_last_read => self.poll_last_read(cx),
            Phase::Serving | Phase::Unready | Phase::LastReads | Phase::Closing => {
                self.poll_reads(cx, READS_PER_TURN)
            }
        };
        // All other deadlines were known before the read.
        let frame = self.inbound.frame_due(timeouts.frame);
        if let Some(due) = frame.into_iter().chain(self.inbound.token_due()).min() {
            self.io.wake_by(cx, due);
        }
        poll
    }

    /// Acts on the deadlines that have passed, and makes sure that the task is woken at the next.
    /// Ready with the reason to end, if there is one; pending if it is to be decided later.
    fn poll_deadlines(
        &mut self,
        cx: &mut Context<'_>,
        timeouts: &Timeouts,
        stalled_since: Option<Instant>,
        close: Option<Instant>,
    ) -> Poll<Option<End>> {
        let mut reads_left = READS_BEFORE_TIMEOUT;
        loop {
            let pings = self.inbound.websocket.as_ref().map(|websocket| &websocket.pings);
            let deadlines = Deadlines {
                stall: stalled_since.map(|since| since + timeouts.write),
                close,
                idle: self.inbound.state.poll_timeout(),
                token: self.inbound.token_due(),
                frame: self.inbound.frame_due(timeouts.frame),
                pong: pings.and_then(Pings::pong_by),
                ping: pings.map(Pings::next),
            };
            let Some(next) = deadlines.next() else {
                self.io.release_timer();
                return Poll::Ready(None);
            };
            if self.io.poll_until(cx, next).is_pending() {
                return Poll::Ready(None);
            }
            let now = self.io.now();
            match deadlines.expired(now) {
                None => {}
                Some(Due::Stall) => return Poll::Ready(Some(End::Stalled)),
                Some(Due::Close) => {
                    return Poll::Ready(Some(match self.poll_reads(cx, LAST_READS) {
                        Poll::Ready(end) => end,
                        Poll::Pending => End::Shutdown,
                    }));
                }
                Some(Due::Pong) if self.cannot_answer(stalled_since, now) => self.inbound.heard(),
                Some(Due::Idle) if self.inbound.state.handle_timeout(now) == Liveness::Alive => {}
                Some(Due::Idle | Due::Frame | Due::Pong) => {
                    if reads_left == 0 {
                        return Poll::Ready(Some(End::TimedOut));
                    }
                    reads_left -= 1;
                    if let Err(end) = ready!(self.poll_arrived(cx)) {
                        return Poll::Ready(Some(end));
                    }
                }
                Some(Due::Ping) => self.ping(timeouts, stalled_since, now),
                Some(Due::Token) => self.send_token(),
            }
        }
    }

    /// Pings the peer, unless it could not answer.
    fn ping(&mut self, timeouts: &Timeouts, stalled_since: Option<Instant>, now: Instant) {
        let cannot_answer = self.cannot_answer(stalled_since, now);
        if let Some(websocket) = &mut self.inbound.websocket {
            websocket.pings.pinged(timeouts, self.io.id(), now);
        }
        if cannot_answer {
            self.inbound.heard();
        } else {
            self.io.worker.send_control(self.io.peer(), &ws::ping());
        }
    }

    /// Returns whether the peer cannot answer a ping in time: the ping would come after a full
    /// outbox, or the peer is not read from.
    fn cannot_answer(&self, stalled_since: Option<Instant>, now: Instant) -> bool {
        stalled_since.is_some() || self.inbound.state.paused_until(now).is_some()
    }

    /// Reads everything that had arrived when the shutdown began.
    fn poll_last_read(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if !self.io.poll_readable(cx) && self.io.has_arrived() {
            // The kernel has not told the runtime yet, which then wakes this task.
            return Poll::Pending;
        }
        let poll = self.poll_reads(cx, LAST_READS);
        self.end_last_read();
        poll
    }

    fn end_last_read(&mut self) {
        if mem::take(&mut self.owes_last_read) {
            self.io.worker.shared.shutdown.last_read_done();
        }
    }

    /// Reads up to that many times, or until there is nothing to read. Ready only with a reason to
    /// end.
    fn poll_reads(&mut self, cx: &mut Context<'_>, reads: usize) -> Poll<End> {
        let worker = Rc::clone(&self.io.worker);
        worker.with_scratch(|scratch| {
            for _ in 0..reads {
                if self.is_paused(cx) {
                    return Poll::Pending;
                }
                if let Err(end) = ready!(self.poll_input(cx, scratch)) {
                    return Poll::Ready(end);
                }
            }
            if self.io.poll_readable(cx) {
                // There is more to read, but the other connections have their turn first.
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        })
    }

    /// Reads once from a peer that seems to have been silent for too long: the server may be late,
    /// and the bytes may be here. A peer that has sent nothing is timed out.
    fn poll_arrived(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let worker = Rc::clone(&self.io.worker);
        if let Poll::Ready(read) = worker.with_scratch(|scratch| self.poll_input(cx, scratch)) {
            return Poll::Ready(read);
        }
        if self.io.has_arrived() {
            // The kernel has not told the runtime yet, which then wakes this task.
            return Poll::Pending;
        }
        Poll::Ready(Err(End::TimedOut))
    }

    /// Returns whether the peer has sent more than its rate allows. The task is woken when it may
    /// send again.
    fn is_paused(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.inbound.state.is_limited() {
            return false;
        }
        match self.inbound.state.paused_until(self.io.now()) {
            Some(at) => self.io.poll_until(cx, at).is_pending(),
            None => false,
        }
    }

    /// Reads once, and takes the bytes.
    fn poll_input(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<Result<(), End>> {
        let most = if self.inbound.state.is_limited() {
            LIMITED_READ.min(scratch.wire.len())
        } else {
            scratch.wire.len()
        };
        let len = match ready!(self.io.poll_read(cx, &mut scratch.wire[..most])) {
            Ok(0) => return Poll::Ready(Err(End::Closed(None))),
            Ok(len) => len,
            Err(_) => return Poll::Ready(Err(End::Broken)),
        };
        self.inbound.heard();
        let Scratch { wire, plain } = scratch;
        Poll::Ready(self.account(|this, counts| this.take_wire(&mut wire[..len], plain, counts)))
    }

    /// Takes the bytes that were read during the handshakes.
    fn take_early(&mut self, early: Early) -> Result<(), End> {
        let Early { mut frames, mut wire, mut plain } = early;
        let worker = Rc::clone(&self.io.worker);
        worker.with_scratch(|scratch| {
            self.account(|this, counts| {
                this.inbound.take_whole(&mut frames, this.io.peer(), &worker, counts)?;
                this.reject_proxy_header(&plain)?;
                this.inbound.take(&mut plain, this.io.peer(), &worker, counts)?;
                this.take_wire(&mut wire, &mut scratch.plain, counts)
            })
        })
    }

    /// Calls `take` for the bytes of one read, counts their frames, and charges the peer for them.
    fn account(
        &mut self,
        take: impl FnOnce(&mut Self, &mut ReadCounts) -> Result<(), End>,
    ) -> Result<(), End> {
        let now = self.io.now();
        let mut counts = ReadCounts::new(now);
        let taken = take(self, &mut counts);
        // Also if the read has ended the connection: the frames before the end are handled.
        let mut answered = Ok(());
        while answered.is_ok() && self.inbound.has_request() {
            answered = self.answer(&mut counts);
        }
        let budget = &self.io.worker.shared.partial_frames;
        let charged = self.inbound.charge_partial(&counts, budget, self.io.peer());
        counts.commit(&self.io.worker.metrics, self.io.peer());
        self.tell_refusal();
        self.send_notices();
        if self.inbound.state.paused_until(now).is_some() {
            self.io.worker.metrics.peers_paused.add(1);
        }
        taken.and(answered).and(charged)
    }

    /// Answers a request after which frames are handled differently.
    fn answer(&mut self, counts: &mut ReadCounts) -> Result<(), End> {
        let Some(body) = self.inbound.take_request() else { return Ok(()) };
        match Request::decode(&body) {
            Ok(Request::Hello(hello)) => self.answer_hello(&hello, counts),
            Ok(Request::Renew) => self.answer_renew(counts),
            Ok(_) | Err(_) => self.release(counts),
        }
    }

    /// Handles the frames that were kept until a request is answered.
    fn release(&mut self, counts: &mut ReadCounts) -> Result<(), End> {
        self.inbound.release(self.io.registration.peer(), &self.io.worker, counts)
    }

    /// Tells the client what the extension has to tell it, as soon as its outbox has room.
    fn send_notices(&mut self) {
        let state = &mut self.inbound.state;
        if !state.has_notice() {
            return;
        }
        let worker = &self.io.worker;
        let is_sent = worker.with_notice(|frames| {
            state.encode_notices(frames);
            worker.send_own(self.io.registration.peer(), frames)
        });
        if is_sent {
            worker.metrics.drops_told.add(state.notices_sent());
        }
    }

    /// Tells a client that wants to know it that the server stops, and ends its connection at
    /// `close`.
    fn say_restarting(&mut self, close: Instant, options: &ExtensionOptions) {
        let granted = self.inbound.state.granted();
        let Some(extended) = &mut self.inbound.extended else { return };
        if extended.told_restart
            || !granted.is_some_and(|granted| granted.contains(Capabilities::RESTART))
        {
            return;
        }
        let worker = &self.io.worker;
        extended.told_restart = worker.with_notice(|frame| {
            let restarting = extension::restarting(close - self.io.now(), options);
            Notice::Restarting(restarting).encode(frame);
            worker.send_own(self.io.registration.peer(), frame)
        });
        if extended.told_restart {
            worker.shared.metrics.restarts_told.increment();
        }
    }

    /// Tells a client that speaks the extension why its connection ends, and up to which frame its
    /// frames were handled.
    fn say_closing(&mut self, end: End) {
        let state = &mut self.inbound.state;
        let (Some(handled), Some((code, reason))) = (state.handled(), end.closing()) else {
            return;
        };
        let worker = &self.io.worker;
        worker.with_notice(|frames| {
            state.encode_notices(frames);
            Notice::Closing(Closing { code, handled, reason }).encode(frames);
            worker.with_buffers(|buffers| {
                let mut link = self.io.registration.peer().link();
                // What is refused cannot be told: the client does not read.
                let _ = link.push_own(frames, buffers.outbox_limit, buffers);
                if end == End::TimedOut {
                    // Nothing waits for this peer to read it.
                    link.write_now(buffers);
                }
            });
        });
    }

    /// Takes bytes as they come from the socket.
    fn take_wire(
        &mut self,
        wire: &mut [u8],
        plain: &mut [u8],
        counts: &mut ReadCounts,
    ) -> Result<(), End> {
        if !self.io.peer().transport().is_encrypted() {
            self.reject_proxy_header(wire)?;
            return self.inbound.take(wire, self.io.peer(), &self.io.worker, counts);
        }
        let mut wire = &*wire;
        self.records.encrypted(wire.len());
        loop {
            let decrypted = self.decrypt(&mut wire, plain)?;
            let (bytes, _) = plain.split_at_mut(decrypted.len);
            self.records.decrypted(bytes.len());
            self.inbound.take(bytes, self.io.peer(), &self.io.worker, counts)?;
            if decrypted.closed {
                return Err(End::Closed(None));
            }
            if decrypted.len == 0 && wire.is_empty() {
                let overhead = self.records.take_overhead();
                self.inbound.state.charge(0, overhead, counts.read_at);
                return Ok(());
            }
        }
    }

    /// Ends the connection if it begins with a PROXY header, which was not expected: the bytes
    /// after it would be taken for a long frame.
    fn reject_proxy_header(&mut self, bytes: &[u8]) -> Result<(), End> {
        if !self.watch.finds_header(bytes) {
            return Ok(());
        }
        let peer = Short(self.io.id());
        tracing::debug!(%peer, "a PROXY header from an address that is not in trusted-proxies");
        let shared = &self.io.worker.shared;
        shared.report_ignored_claim(AddressClaim::ProxyHeader, self.io.address());
        Err(End::Misbehaved(ws::Close::policy("a PROXY header is not expected")))
    }

    /// Feeds TLS until there is plain text or no input is left. The link is unlocked afterwards:
    /// the plain text may be a frame to this very peer.
    fn decrypt(&self, wire: &mut &[u8], plain: &mut [u8]) -> Result<Decrypted, End> {
        let peer = self.io.peer();
        let mut link = peer.link();
        let Some(tls) = &mut link.tls else { return Ok(Decrypted { len: 0, closed: false }) };
        let decrypted = decrypt(tls, wire, plain);
        let pushed = if tls.wants_write() { link.queue() } else { Pushed::Handled };
        drop(link);
        if pushed == Pushed::NeedsFlush {
            self.io.worker.flush_soon(peer);
        }
        decrypted.map_err(|error| {
            tracing::debug!(peer = %Short(self.io.id()), %error, "TLS failed");
            End::Misbehaved(ws::Close::policy("TLS failed"))
        })
    }

    /// Drops further frames to and from the peer, and begins to deliver its outbox.
    fn begin_finish(&mut self, end: End) -> Box<Finish> {
        self.end_last_read();
        self.settle_takeover();
        self.count_end(end);
        self.say_closing(end);
        self.give_up_id(end);
        self.inbound.close();
        let mut link = self.io.peer().link();
        if self.io.peer().transport().is_websocket()
            && let Some(close) = end.close()
        {
            // Finish::poll writes it.
            let _ = self
                .io
                .worker
                .with_buffers(|buffers| link.push_control(&ws::close(close), buffers));
        }
        drop(link);
        Box::new(Finish::new(end, &self.io))
    }

    fn count_end(&self, end: End) {
        let metrics = &self.io.worker.shared.metrics;
        match end {
            End::Closed(_) | End::Broken | End::Shutdown | End::Superseded => {}
            End::Stalled => metrics.peers_stalled.increment(),
            End::TimedOut => metrics.peers_timed_out.increment(),
            End::CrowdedOut => metrics.peers_crowded_out.increment(),
            End::Misbehaved(_) => metrics.peers_misbehaved.increment(),
        }
    }

    /// Closes the link, and unlists the peer: from then on no frame reaches it. If another
    /// connection waits for its id, that one gets it. Otherwise the peer is away if it may come
    /// back.
    fn give_up_id(&mut self, end: End) {
        // A takeover may begin or end until the link is closed.
        loop {
            match self.try_give_up_id(end) {
                Ok(()) | Err(Succession::Done) => return,
                Err(Succession::To(successor)) => {
                    self.hand_over_to(&successor);
                }
                Err(Succession::From) => self.take_late_inheritance(),
            }
        }
    }

    fn try_give_up_id(&mut self, end: End) -> Result<(), Succession<Peer>> {
        let Io { worker, registration, .. } = &mut self.io;
        let (id, peer) = (registration.id(), Arc::clone(registration.peer()));
        let shared = &worker.shared;
        let away_time = worker.config().extension.away_time;
        let may_come_back = self.inbound.state.may_resume()
            && end.may_come_back()
            && self.inbound.takeover().is_none()
            && !away_time.is_zero()
            && shared.shutdown.phase() < Phase::LastReads;
        if may_come_back {
            let state = &mut self.inbound.state;
            let close = || Ok((peer.link().close_for_good()?, state.split_off_session()));
            let tidings = shared.away.add(id, shared.clock.now(), away_time, close)?;
            registration.end();
            worker.spread(&tidings);
            return Ok(());
        }
        let Estate { watchers, .. } = peer.link().close_for_good()?;
        registration.end();
        // At a shutdown every peer loses its connection.
        let to = if end == End::Shutdown { Vec::new() } else { watchers.iter().collect() };
        let watched = self.inbound.state.watched().to_vec();
        worker.spread(&[Tidings { id, state: PeerState::Gone, to, watched }]);
        Ok(())
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.io.worker.refresh_config();
        let mut finish = match this.finish.take() {
            Some(finish) => finish,
            None => {
                let end = ready!(this.poll_open(cx));
                this.begin_finish(end)
            }
        };
        let poll = finish.poll(&mut this.io, cx);
        this.finish = Some(finish);
        poll
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.end_last_read();
        self.io.registration.end();
        let (worker, peer, id) = (&self.io.worker, self.io.peer(), self.io.id());
        let lost = worker.with_buffers(|buffers| {
            let mut link = peer.link();
            link.abandon(buffers);
            link.take_lost()
        });
        notices::tell_lost(&lost, id, worker);
        worker.shared.metrics.peer_disconnected(peer.transport());
        let extended = self.inbound.state.granted().is_some();
        if extended {
            worker.shared.metrics.extended_peer_disconnected();
        }
        let reason = self.finish.as_ref().map_or(End::ABORTED, |finish| finish.end.as_str());
        let report = peer.report(id, self.io.now());
        tracing::info!(
            peer = %Short(id),
            transport = peer.transport().as_str(),
            extended,
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
        assert!(size_of::<Connection>() <= 168, "{}", size_of::<Connection>());
        assert!(size_of::<Peer>() <= 200, "{}", size_of::<Peer>());
    }
}
