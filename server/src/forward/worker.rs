//! Forwards frames and writes outboxes on one thread, and has the state of that thread.
//!
//! Each worker runs a single-threaded runtime, so that a frame costs no hand-over between threads:
//! the worker that reads a frame also writes it to its recipient. Scratch space belongs to the
//! worker, not to the connections.
//!
//! In one turn of a worker the runtime asks the kernel which sockets are ready. Each connection
//! that has bytes to read reads them and fills outboxes. Then the flusher writes each filled outbox
//! once. So all frames for a peer in one turn go out in one write.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant as TokioInstant, sleep_until};
use waddell_core::{Instant, PeerId, PeerNotice, PeerState};

use crate::config::ServerConfig;
use crate::forward::away::Tidings;
use crate::forward::fate::{DropReason, Fate};
use crate::forward::link::Pushed;
use crate::forward::peer::Peer;
use crate::forward::reclaim::reclaim;
use crate::forward::shared::Shared;
use crate::forward::worker_buffers::WorkerBuffers;
use crate::metrics::WorkerMetrics;

/// The state that a worker's connections share. It never leaves the worker's thread.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) metrics: Arc<WorkerMetrics>,
    pub(crate) load: Load,
    /// The configuration that its connections use.
    config: RefCell<Rc<ServerConfig>>,
    /// The server's configuration, with a notice when it is replaced.
    latest_config: RefCell<watch::Receiver<Arc<ServerConfig>>>,
    scratch: RefCell<Scratch>,
    buffers: RefCell<WorkerBuffers>,
    /// Space to build the server's own frames in.
    notice: RefCell<Vec<u8>>,
    to_flush: RefCell<Vec<Arc<Peer>>>,
    flusher: RefCell<Option<Waker>>,
    /// Number of further nudges of the allocator.
    nudges_left: Cell<u8>,
}

/// Space to read into. One connection uses it at a time.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// For bytes from a socket.
    pub(crate) wire: Box<[u8]>,
    /// For the same bytes decrypted.
    pub(crate) plain: Box<[u8]>,
}

impl Scratch {
    /// Holds two of the largest frames, or thousands of small ones, and fits into the cache.
    const LEN: usize = 128 * 1024;
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, load: Load) -> Self {
        let metrics = shared.metrics.add_worker();
        // In this order: a configuration that comes after is noticed.
        let latest_config = shared.watch_config();
        let config = shared.config();
        let buffers = WorkerBuffers::new(
            shared.clock.clone(),
            config.limits.outbox_bytes,
            Arc::clone(&shared.outboxes),
            Arc::clone(&metrics),
        );
        let scratch = Scratch {
            wire: vec![0; Scratch::LEN].into_boxed_slice(),
            plain: vec![0; Scratch::LEN].into_boxed_slice(),
        };
        Self {
            config: RefCell::new(Rc::new(ServerConfig::clone(&config))),
            latest_config: RefCell::new(latest_config),
            shared,
            metrics,
            load,
            scratch: RefCell::new(scratch),
            buffers: RefCell::new(buffers),
            notice: RefCell::default(),
            to_flush: RefCell::default(),
            flusher: RefCell::default(),
            nudges_left: Cell::default(),
        }
    }

    /// Returns the configuration that this worker's connections use.
    pub(crate) fn config(&self) -> Rc<ServerConfig> {
        Rc::clone(&self.config.borrow())
    }

    /// Takes over the server's configuration if it has been replaced.
    pub(crate) fn refresh_config(&self) {
        let mut latest = self.latest_config.borrow_mut();
        // Fails once the server has ended, and this worker with it.
        if latest.has_changed().unwrap_or(false) {
            let config = ServerConfig::clone(&latest.borrow_and_update());
            self.buffers.borrow_mut().outbox_limit = config.limits.outbox_bytes;
            *self.config.borrow_mut() = Rc::new(config);
        }
    }

    /// Puts a frame, read at `read_at`, into its recipient's outbox.
    ///
    /// `recent` caches the recipient of the frame before: frames often come in a row to one peer.
    pub(crate) fn forward(
        &self,
        to: PeerId,
        frame: &[u8],
        read_at: Instant,
        recent: &mut Option<(PeerId, Arc<Peer>)>,
    ) -> Fate {
        if recent.as_ref().is_none_or(|(id, _)| *id != to) {
            *recent = self.shared.registry.get(to).map(|peer| (to, peer));
        }
        let Some((_, peer)) = recent else {
            return self.forward_absent(None, to, frame, read_at, None);
        };
        match self.with_buffers(|buffers| peer.link().push(frame, read_at, buffers)) {
            Ok(Pushed::NeedsFlush) => self.flush_soon(peer),
            Ok(Pushed::Handled) => {}
            Err(DropReason::UnknownRecipient) => {
                return self.forward_absent(None, to, frame, read_at, Some(peer));
            }
            Err(reason) => return Fate::Dropped(reason),
        }
        Fate::Forwarded
    }

    /// Does the same for the first frame of a peer that is to be told what becomes of its
    /// recipient.
    pub(crate) fn forward_first(
        &self,
        from: PeerId,
        to: PeerId,
        frame: &[u8],
        read_at: Instant,
    ) -> Fate {
        let Some(peer) = self.shared.registry.get(to) else {
            return self.forward_absent(Some(from), to, frame, read_at, None);
        };
        match self.push_first(from, &peer, frame, read_at) {
            Ok(()) => Fate::Forwarded,
            Err(DropReason::UnknownRecipient) => {
                self.forward_absent(Some(from), to, frame, read_at, Some(&peer))
            }
            Err(reason) => Fate::Dropped(reason),
        }
    }

    /// Forwards a frame whose recipient is not listed, or is listed with a connection that is
    /// ending, which is `ending`. The recipient may be away, or have another connection meanwhile.
    /// `from` is to be told what becomes of it.
    #[cold]
    fn forward_absent(
        &self,
        from: Option<PeerId>,
        to: PeerId,
        frame: &[u8],
        read_at: Instant,
        ending: Option<&Arc<Peer>>,
    ) -> Fate {
        let Shared { registry, away, .. } = &*self.shared;
        let mut ending = ending.cloned();
        // A peer is away before it is unlisted, and listed before it leaves those that are away. So
        // it is found, unless it comes and goes while it is looked for.
        for _ in 0..3 {
            if ending.as_ref().is_some_and(|ending| ending.link().has_lease()) {
                // Its owner has not noticed yet that it is lost.
                return Fate::Dropped(DropReason::RecipientAway);
            }
            if away.contact(to, None, read_at) {
                return Fate::Dropped(DropReason::RecipientAway);
            }
            let Some(next) = registry.get(to) else { break };
            if ending.as_ref().is_some_and(|ending| Arc::ptr_eq(ending, &next)) {
                break;
            }
            let pushed = match from {
                Some(from) => self.push_first(from, &next, frame, read_at),
                None => {
                    let push = |buffers: &mut _| next.link().push(frame, read_at, buffers);
                    let pushed = self.with_buffers(push);
                    pushed.map(|pushed| self.flush_if_needed(pushed, &next))
                }
            };
            match pushed {
                Ok(()) => return Fate::Forwarded,
                Err(DropReason::UnknownRecipient) => ending = Some(next),
                Err(reason) => return Fate::Dropped(reason),
            }
        }
        Fate::Dropped(DropReason::UnknownRecipient)
    }

    /// Puts a frame into an outbox, and records that `from` is to be told what becomes of the
    /// recipient. Both under one lock, so that no end of the recipient can come between.
    fn push_first(
        &self,
        from: PeerId,
        peer: &Arc<Peer>,
        frame: &[u8],
        read_at: Instant,
    ) -> Result<(), DropReason> {
        let pushed = self.with_buffers(|buffers| {
            let mut link = peer.link();
            link.contact(from);
            link.push(frame, read_at, buffers)
        });
        pushed.map(|pushed| self.flush_if_needed(pushed, peer))
    }

    pub(crate) fn flush_if_needed(&self, pushed: Pushed, peer: &Arc<Peer>) {
        if pushed == Pushed::NeedsFlush {
            self.flush_soon(peer);
        }
    }

    /// Sends a WebSocket control frame, unless the peer's outbox is full.
    pub(crate) fn send_control(&self, peer: &Arc<Peer>, frame: &[u8]) {
        let pushed = self.with_buffers(|buffers| peer.link().push_control(frame, buffers));
        self.flush_if_needed(pushed, peer);
    }

    /// Sends frames from the server itself, while the peer's outbox holds less than half of its
    /// limit. Returns whether they are in the outbox. If not, the peer's task is woken when there
    /// may be room.
    pub(crate) fn send_own(&self, peer: &Arc<Peer>, frames: &[u8]) -> bool {
        let pushed = self.with_buffers(|buffers| {
            peer.link().push_own(frames, buffers.outbox_limit / 2, buffers)
        });
        if pushed == Ok(Pushed::NeedsFlush) {
            self.flush_soon(peer);
        }
        pushed.is_ok()
    }

    /// Tells a peer what became of others, if it wants to be told. Returns whether that is in its
    /// outbox.
    pub(crate) fn tell(&self, peer: &Arc<Peer>, notices: &[PeerNotice]) -> bool {
        let gone = notices.iter().any(|notice| notice.state == PeerState::Gone);
        let pushed = self.with_notice(|frame| {
            PeerNotice::encode_all(notices, frame);
            self.with_buffers(|buffers| peer.link().push_notice(frame, gone, buffers))
        });
        match pushed {
            None => false,
            Some(Err(_no_room)) => {
                self.metrics.notices_dropped.add(1);
                false
            }
            Some(Ok(pushed)) => {
                self.metrics.notices_sent.add(1);
                self.flush_if_needed(pushed, peer);
                true
            }
        }
    }

    /// Lends empty space to build the server's own frames in.
    pub(crate) fn with_notice<T>(&self, use_it: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut space = self.notice.borrow_mut();
        space.clear();
        use_it(&mut space)
    }

    /// Writes the peer's outbox at the end of this turn.
    pub(crate) fn flush_soon(&self, peer: &Arc<Peer>) {
        let mut to_flush = self.to_flush.borrow_mut();
        if to_flush.is_empty()
            && let Some(flusher) = &*self.flusher.borrow()
        {
            flusher.wake_by_ref();
        }
        to_flush.push(Arc::clone(peer));
    }

    pub(crate) fn with_buffers<T>(&self, use_them: impl FnOnce(&mut WorkerBuffers) -> T) -> T {
        use_them(&mut self.buffers.borrow_mut())
    }

    pub(crate) fn with_scratch<T>(&self, use_it: impl FnOnce(&mut Scratch) -> T) -> T {
        use_it(&mut self.scratch.borrow_mut())
    }

    /// Writes the filled outboxes at the end of each turn.
    ///
    /// Tasks are polled in the order in which they were woken. The first connection that fills an
    /// outbox wakes the flusher, so the flusher is polled after the other connections of the turn.
    async fn flush_each_turn(self: Rc<Self>) {
        let mut list = Vec::new();
        poll_fn(|cx| {
            let mut flusher = self.flusher.borrow_mut();
            if flusher.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
                *flusher = Some(cx.waker().clone());
            }
            std::mem::swap(&mut list, &mut self.to_flush.borrow_mut());
            let mut buffers = self.buffers.borrow_mut();
            for peer in list.drain(..) {
                peer.link().flush(&mut buffers);
            }
            buffers.measure_written();
            Poll::<()>::Pending
        })
        .await;
    }

    /// Measures the event-loop delay and frees unused memory, once a second: often enough to notice
    /// a worker that is always late, and rarely enough that an idle server stays idle.
    async fn keep_house(self: Rc<Self>) {
        loop {
            let due = TokioInstant::now() + HOUSEKEEPING_INTERVAL;
            sleep_until(due).await;
            self.metrics.lag.observe(due.elapsed());
            if self.with_buffers(|buffers| buffers.pool.trim()) {
                self.nudges_left.set(NUDGES);
            }
            let left = self.nudges_left.get();
            if left > 0 {
                self.nudges_left.set(left - 1);
                nudge_allocator();
            }
        }
    }

    /// Starts to disconnect the peers that cost most whenever a budget is short: those with the
    /// fullest outboxes, and those whose incomplete frames hold most memory for longest. One worker
    /// does this for all.
    pub(crate) fn start_reclaiming(self: &Rc<Self>) {
        let worker = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let Shared { outboxes, registry, .. } = &*worker.shared;
            let cost = |peer: &Peer| peer.link().charged() as u64;
            let crowd_out =
                |peer: &Peer| worker.with_buffers(|buffers| peer.link().crowd_out(buffers));
            reclaim(outboxes, registry, cost, crowd_out, OUTBOXES_SHORT).await;
        });
        let worker = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let Shared { partial_frames, registry, clock, .. } = &*worker.shared;
            let cost = |peer: &Peer| {
                let seconds = (clock.now() - peer.partial_begun()).as_secs() + 1;
                peer.partial_bytes() as u64 * seconds
            };
            // The peer's task gives the memory back.
            let crowd_out = |peer: &Peer| {
                worker.with_buffers(|buffers| peer.link().end_crowded_out(buffers));
                peer.partial_bytes()
            };
            reclaim(partial_frames, registry, cost, crowd_out, PARTIAL_FRAMES_SHORT).await;
        });
    }

    /// Starts to tell watchers of peers that are away, and of those that do not come back. One
    /// worker does this for all.
    pub(crate) fn start_watching_absences(self: &Rc<Self>) {
        let worker = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let Shared { away, clock, .. } = &*worker.shared;
            loop {
                away.due(async |at| sleep_until(clock.timer(at)).await).await;
                worker.spread(&away.take_due(clock.now()));
                // The connections of this worker have their turn in between.
                tokio::task::yield_now().await;
            }
        });
    }

    /// Tells peers what became of others.
    pub(crate) fn spread(&self, tidings: &[Tidings]) {
        let Shared { registry, away, .. } = &*self.shared;
        for Tidings { id, state, to, watched } in tidings {
            let notice = PeerNotice { id: *id, state: *state, lost: 0 };
            for watcher in to {
                if let Some(peer) = registry.get(*watcher) {
                    self.tell(&peer, &[notice]);
                }
            }
            for watched in watched {
                if let Some(peer) = registry.get(*watched) {
                    peer.link().unwatch(*id);
                }
                away.unwatch(*watched, *id);
            }
        }
    }

    /// Runs jobs until their channel is closed. Connections are served meanwhile.
    pub(crate) async fn run(self: Rc<Self>, mut jobs: mpsc::UnboundedReceiver<Job>) {
        tokio::task::spawn_local(Rc::clone(&self).flush_each_turn());
        tokio::task::spawn_local(Rc::clone(&self).keep_house());
        while let Some(job) = jobs.recv().await {
            job(&self);
        }
    }
}

const OUTBOXES_SHORT: &str = "the outboxes need more memory than outbox-total allows; \
                              disconnected the peers with the fullest outboxes";

const PARTIAL_FRAMES_SHORT: &str = "incomplete frames need more memory than outbox-total allows; \
                                    disconnected the peers whose frames hold most for longest";

/// Time between two rounds of housekeeping.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(1);

/// Number of nudges of the allocator, one a second, after a connection has ended or spare buffers
/// were freed. The allocator keeps free memory for a second, and then returns a part at a time.
const NUDGES: u8 = 5;

/// Makes the allocator return memory that has been free for long enough to the system. It does so
/// only when a large allocation is freed, and an idle server frees nothing.
fn nudge_allocator() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(1 << 20)));
}

/// The number of connections that a worker serves. The accept loops share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Load(Arc<AtomicUsize>);

impl Load {
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn remove(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection in its worker's load. Dropping it lowers the load.
#[derive(Debug)]
pub(crate) struct WorkerSlot(Rc<Worker>);

impl WorkerSlot {
    /// Makes the slot of a connection that the worker's load already counts.
    pub(crate) fn new(worker: &Rc<Worker>) -> Self {
        Self(Rc::clone(worker))
    }
}

impl Deref for WorkerSlot {
    type Target = Rc<Worker>;

    fn deref(&self) -> &Rc<Worker> {
        let Self(worker) = self;
        worker
    }
}

impl Drop for WorkerSlot {
    fn drop(&mut self) {
        self.load.remove();
        self.nudges_left.set(NUDGES);
    }
}

/// A job for a worker's thread.
pub(crate) type Job = Box<dyn FnOnce(&Rc<Worker>) + Send>;

/// A worker as other threads see it.
#[derive(Clone, Debug)]
pub(crate) struct WorkerHandle {
    pub(crate) jobs: mpsc::WeakUnboundedSender<Job>,
    pub(crate) load: Load,
}

impl WorkerHandle {
    /// Runs a job on the worker's thread; drops it if the worker is gone.
    pub(crate) fn run(&self, job: impl FnOnce(&Rc<Worker>) + Send + 'static) {
        if let Some(jobs) = self.jobs.upgrade() {
            let _ = jobs.send(Box::new(job));
        }
    }
}
