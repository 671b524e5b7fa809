//! Queue of commands from the application to the driver, bounded in bytes.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use waddell_core::{
    Extension, HEADER_LEN, KEEP_ALIVE_FRAME, MAX_BODY_LEN, MessageOut, PREFIX_LEN, PeerId,
};

use crate::checks::{MAX_CHECKS, Outcome, Reply};
use crate::watches::WatchReply;

/// Makes a queue that holds `capacity` bytes, and at least one of the largest messages.
pub(crate) fn queue(capacity: usize) -> (QueueSender, QueueReceiver) {
    let capacity = capacity.clamp(LARGEST_COST as usize, Semaphore::MAX_PERMITS);
    let room = Arc::new(Semaphore::new(capacity));
    let checks = Arc::new(Semaphore::new(MAX_CHECKS));
    let (sender, receiver) = mpsc::unbounded_channel();
    let receiver = QueueReceiver { receiver, room: Arc::clone(&room), checks: Arc::clone(&checks) };
    (QueueSender { sender, room, checks }, receiver)
}

/// The application's end.
#[derive(Clone, Debug)]
pub(crate) struct QueueSender {
    sender: mpsc::UnboundedSender<Queued>,
    room: Arc<Semaphore>,
    /// Places for checked messages without an outcome.
    checks: Arc<Semaphore>,
}

/// The driver's end. Closing or dropping it wakes the senders that wait for room.
#[derive(Debug)]
pub(crate) struct QueueReceiver {
    receiver: mpsc::UnboundedReceiver<Queued>,
    room: Arc<Semaphore>,
    checks: Arc<Semaphore>,
}

/// Something to send.
#[derive(Debug)]
pub(crate) enum Command {
    Send(MessageOut),
    SendChecked(MessageOut, Reply),
    KeepAlive,
    Watch(PeerId, WatchReply),
    Unwatch(PeerId),
    Rotate(oneshot::Sender<PeerId>),
    FindExtension(oneshot::Sender<Option<Extension>>),
    IceServers(oneshot::Sender<String>),
}

impl Command {
    pub(crate) fn is_message(&self) -> bool {
        match self {
            Self::Send(_) | Self::SendChecked(..) => true,
            Self::KeepAlive
            | Self::Watch(..)
            | Self::Unwatch(_)
            | Self::Rotate(_)
            | Self::FindExtension(_)
            | Self::IceServers(_) => false,
        }
    }
}

/// A queued command and the room that it occupies.
#[derive(Debug)]
struct Queued {
    command: Command,
    _room: OwnedSemaphorePermit,
}

/// The receiver is closed.
#[derive(Debug)]
pub(crate) struct QueueClosed;

impl QueueSender {
    /// Waits until there is room for the message, then queues it.
    pub(crate) async fn send(&self, message: MessageOut) -> Result<(), QueueClosed> {
        let room = self.acquire(&message).await?;
        self.push(Command::Send(message), room)
    }

    /// Waits until there is room for the message, then queues it. Returns the receiver of its
    /// outcome.
    pub(crate) async fn send_checked(
        &self,
        message: MessageOut,
    ) -> Result<oneshot::Receiver<Outcome>, QueueClosed> {
        let place = Arc::clone(&self.checks).acquire_owned().await.map_err(|_| QueueClosed)?;
        let room = self.acquire(&message).await?;
        let (reply, outcome) = Reply::new(place);
        self.push(Command::SendChecked(message, reply), room)?;
        Ok(outcome)
    }

    /// Queues a message in room that was reserved for one of the largest messages.
    pub(crate) fn send_reserved(
        &self,
        message: MessageOut,
        mut reserved: OwnedSemaphorePermit,
    ) -> Result<(), QueueClosed> {
        let cost = cost(&message) as usize;
        let room = reserved.split(cost).expect("no message costs more than the largest");
        self.push(Command::Send(message), room)
    }

    /// Queues a keep-alive. Skips it if the queue is full: those messages keep the path open.
    pub(crate) fn send_keep_alive(&self) -> Result<(), QueueClosed> {
        let cost = KEEP_ALIVE_FRAME.len() as u32 + MESSAGE_COST;
        match Arc::clone(&self.room).try_acquire_many_owned(cost) {
            Ok(room) => self.push(Command::KeepAlive, room),
            Err(_) if self.sender.is_closed() => Err(QueueClosed),
            Err(_) => Ok(()),
        }
    }

    /// Waits until there is room for the command, then queues it.
    pub(crate) async fn control(&self, command: Command) -> Result<(), QueueClosed> {
        let room = Arc::clone(&self.room);
        let room = room.acquire_many_owned(MESSAGE_COST).await.map_err(|_| QueueClosed)?;
        self.push(command, room)
    }

    /// Returns the semaphore of the free bytes; it is closed with the queue.
    pub(crate) fn room(&self) -> Arc<Semaphore> {
        Arc::clone(&self.room)
    }

    async fn acquire(&self, message: &MessageOut) -> Result<OwnedSemaphorePermit, QueueClosed> {
        let room = Arc::clone(&self.room);
        room.acquire_many_owned(cost(message)).await.map_err(|_| QueueClosed)
    }

    fn push(&self, command: Command, room: OwnedSemaphorePermit) -> Result<(), QueueClosed> {
        self.sender.send(Queued { command, _room: room }).map_err(|_| QueueClosed)
    }
}

impl QueueReceiver {
    /// Waits for the next command; `None` once the queue is closed and empty.
    pub(crate) async fn recv(&mut self) -> Option<Command> {
        self.receiver.recv().await.map(|queued| queued.command)
    }

    /// Takes the next command if there is one.
    pub(crate) fn try_recv(&mut self) -> Option<Command> {
        self.receiver.try_recv().ok().map(|queued| queued.command)
    }

    /// Closes the queue to new commands. Queued ones can still be received.
    pub(crate) fn close(&mut self) {
        self.room.close();
        self.checks.close();
        self.receiver.close();
    }
}

impl Drop for QueueReceiver {
    fn drop(&mut self) {
        self.close();
    }
}

/// Bytes that a message counts in addition to its frame, so that empty ones are bounded too.
const MESSAGE_COST: u32 = 64;

/// Cost of one of the largest messages, in bytes.
pub(crate) const LARGEST_COST: u32 = (PREFIX_LEN + HEADER_LEN + MAX_BODY_LEN) as u32 + MESSAGE_COST;

/// Returns the cost of a message, in bytes. Its body fits in a frame.
fn cost(message: &MessageOut) -> u32 {
    let frame_len = u32::try_from(message.frame_len()).unwrap_or(u32::MAX);
    frame_len.saturating_add(MESSAGE_COST).min(LARGEST_COST)
}
