//! Bytes that wait for one peer: whole frames, bounded.
//!
//! ```text
//!   bytes   [ written | sealed: as it goes on the wire | room | open batch: frames ]
//!                     ^ head                           ^ open
//! ```
//!
//! Over TCP and TLS everything is sealed as it is: the stream is the frames. Over WebSocket the
//! frames that pile up between two writes share one binary message: they are collected in a batch
//! with room for the message's header before it, and the header is written when the batch is
//! sealed, that is when the bytes are asked for. So one write takes whatever has piled up, and a
//! message always ends on a frame boundary.

use std::mem;

use crate::forward::buffer_pool::BufferPool;
use crate::forward::memory::NoMemory;
use crate::forward::transport::ws;

/// What stands around the frames on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Nothing: the frames are the stream.
    Raw,
    /// WebSocket messages.
    WebSocket,
}

/// Bytes that wait for one peer. An empty one owns no memory.
#[derive(Debug)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    /// Where the bytes begin that are still to be written.
    head: u32,
    /// The message that is still open for further frames; it is the end of `bytes`.
    batch: Option<Batch>,
    framing: Framing,
}

#[derive(Clone, Copy, Debug)]
struct Batch {
    /// Where the room for the message's header begins.
    start: u32,
    /// How long that room is.
    room: u32,
}

impl Outbox {
    pub(crate) const fn new(framing: Framing) -> Self {
        Self { bytes: Vec::new(), head: 0, batch: None, framing }
    }

    /// Appends a whole frame, prefix included, unless more than `limit` bytes would wait then, or
    /// `grant` refuses what the outbox has to grow by.
    pub(crate) fn push(
        &mut self,
        frame: &[u8],
        limit: usize,
        pool: &mut BufferPool,
        grant: impl FnMut(usize) -> Result<(), NoMemory>,
    ) -> Result<(), Refused> {
        if self.len() + frame.len() > limit {
            return Err(Refused::Full);
        }
        self.reserve(ws::MAX_HEADER_LEN + frame.len(), limit, pool, grant)?;
        match self.framing {
            Framing::Raw => {}
            Framing::WebSocket => self.make_room_in_batch(frame.len()),
        }
        self.bytes.extend_from_slice(frame);
        Ok(())
    }

    /// Appends a WebSocket control frame, which goes out between two messages. Not bounded here:
    /// a peer is sent few of them, each for something it did or failed to do.
    pub(crate) fn push_control(
        &mut self,
        frame: &[u8],
        pool: &mut BufferPool,
        grant: impl FnMut(usize) -> Result<(), NoMemory>,
    ) -> Result<(), NoMemory> {
        self.seal();
        self.reserve(frame.len(), usize::MAX, pool, grant)?;
        self.bytes.extend_from_slice(frame);
        Ok(())
    }

    /// Returns all that waits, as it goes on the wire. Say with [`Outbox::advance`] how much went.
    pub(crate) fn sealed(&mut self) -> &[u8] {
        self.seal();
        &self.bytes[self.head as usize..]
    }

    /// Takes note that the first `len` bytes of [`Outbox::sealed`] are written.
    pub(crate) fn advance(&mut self, len: usize, pool: &mut BufferPool) {
        self.head += len as u32;
        if self.is_empty() {
            self.clear(pool);
        }
    }

    /// Forgets all that waits.
    pub(crate) fn clear(&mut self, pool: &mut BufferPool) {
        pool.give_back(mem::take(&mut self.bytes));
        self.head = 0;
        self.batch = None;
    }

    /// Gives back memory that what waits does not need, for it may have to wait for long.
    pub(crate) fn shrink(&mut self) {
        if self.bytes.capacity() / 2 > self.bytes.len().max(BufferPool::NEW_CAPACITY) {
            self.bytes.shrink_to(BufferPool::NEW_CAPACITY);
        }
    }

    pub(crate) fn framing(&self) -> Framing {
        self.framing
    }

    /// Returns how many bytes of memory it holds.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Returns how many bytes wait, those around the frames included.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.head as usize
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes room for `more` bytes: borrows a buffer, moves what waits to the front, or grows.
    fn reserve(
        &mut self,
        more: usize,
        limit: usize,
        pool: &mut BufferPool,
        mut grant: impl FnMut(usize) -> Result<(), NoMemory>,
    ) -> Result<(), NoMemory> {
        if self.bytes.capacity() == 0 {
            let lent = pool.lend();
            if let Err(refused) = grant(lent.capacity()) {
                pool.give_back(lent);
                return Err(refused);
            }
            self.bytes = lent;
        }
        if self.bytes.capacity() - self.bytes.len() >= more {
            return Ok(());
        }
        // Once a quarter is written the rest moves to the front: a byte moves three times at most.
        let head = self.head as usize;
        if head >= self.bytes.len() / 4 {
            self.bytes.drain(..head);
            self.head = 0;
            if let Some(batch) = &mut self.batch {
                batch.start -= head as u32;
            }
            if self.bytes.capacity() - self.bytes.len() >= more {
                return Ok(());
            }
        }
        // Doubling, but not beyond what may wait and the quarter that may be written of it: so the
        // bound on what waits bounds the memory too.
        let most = limit.saturating_add(limit / 3);
        let capacity = (self.bytes.capacity() * 2).min(most).max(self.bytes.len() + more);
        let growth = capacity.saturating_sub(self.bytes.capacity());
        if growth > 0
            && let Err(refused) = grant(growth)
        {
            if self.is_empty() {
                self.clear(pool);
            }
            return Err(refused);
        }
        self.bytes.reserve_exact(capacity - self.bytes.len());
        Ok(())
    }

    /// Goes on with the open batch, or opens one, for a frame of that length.
    fn make_room_in_batch(&mut self, frame_len: usize) {
        if let Some(Batch { start, room }) = self.batch {
            let batch_len = self.bytes.len() - (start + room) as usize;
            if batch_len + frame_len <= ws::MAX_SHORT_MESSAGE {
                return;
            }
            self.seal();
        }
        let room = ws::header_room(frame_len);
        self.batch = Some(Batch { start: self.bytes.len() as u32, room: room as u32 });
        self.bytes.resize(self.bytes.len() + room, 0);
    }

    /// Writes the header of the open batch into the room before it.
    fn seal(&mut self) {
        let Some(Batch { start, room }) = self.batch.take() else { return };
        let (start, room) = (start as usize, room as usize);
        let payload = start + room;
        let header = ws::Header::binary(self.bytes.len() - payload);
        let surplus = room - header.len();
        if surplus > 0 {
            // Only before a message of at most 125 bytes, which moves cheaply.
            self.bytes.copy_within(payload.., payload - surplus);
            self.bytes.truncate(self.bytes.len() - surplus);
        }
        self.bytes[start..start + header.len()].copy_from_slice(&header);
    }
}

/// Why an outbox does not take a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The peer has so much waiting already that the frame does not fit.
    Full,
    /// All outboxes together hold so much that this one may not hold more.
    NoMemory,
}

impl From<NoMemory> for Refused {
    fn from(NoMemory: NoMemory) -> Self {
        Self::NoMemory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRANT: fn(usize) -> Result<(), NoMemory> = |_| Ok(());

    fn drain(outbox: &mut Outbox, step: usize) -> Vec<u8> {
        let mut pool = BufferPool::default();
        let mut out = Vec::new();
        while !outbox.is_empty() {
            let bytes = outbox.sealed();
            let len = step.min(bytes.len());
            out.extend_from_slice(&bytes[..len]);
            outbox.advance(len, &mut pool);
        }
        out
    }

    #[test]
    fn raw_frames_are_the_stream() {
        let mut pool = BufferPool::default();
        let mut outbox = Outbox::new(Framing::Raw);
        outbox.push(b"one", 100, &mut pool, GRANT).unwrap();
        outbox.push(b"two", 100, &mut pool, GRANT).unwrap();
        assert_eq!(drain(&mut outbox, 2), b"onetwo");
        assert_eq!(outbox.bytes.capacity(), 0, "an empty outbox owns no memory");
    }

    #[test]
    fn frames_that_pile_up_share_a_message() {
        let mut pool = BufferPool::default();
        let mut outbox = Outbox::new(Framing::WebSocket);
        outbox.push(b"one", 100, &mut pool, GRANT).unwrap();
        outbox.push(b"two", 100, &mut pool, GRANT).unwrap();
        assert_eq!(outbox.sealed(), b"\x82\x06onetwo");
        outbox.push(b"three", 100, &mut pool, GRANT).unwrap();
        outbox.push_control(b"\x89\x00", &mut pool, GRANT).unwrap();
        outbox.push(b"four", 100, &mut pool, GRANT).unwrap();
        assert_eq!(drain(&mut outbox, 3), b"\x82\x06onetwo\x82\x05three\x89\x00\x82\x04four");
    }

    #[test]
    fn messages_of_every_length_get_the_shortest_header() {
        for len in [1, 125, 126, 65_535, 65_536, 65_537] {
            let mut pool = BufferPool::default();
            let mut outbox = Outbox::new(Framing::WebSocket);
            let frame = vec![7; len];
            outbox.push(&frame, 1 << 20, &mut pool, GRANT).unwrap();
            let header = ws::Header::binary(len);
            assert_eq!(drain(&mut outbox, 10_000), [&header, &frame[..]].concat(), "{len}");
        }
    }

    #[test]
    fn a_message_does_not_grow_beyond_the_short_form() {
        let mut pool = BufferPool::default();
        let mut outbox = Outbox::new(Framing::WebSocket);
        let frame = vec![7; 40_000];
        outbox.push(&frame, 1 << 20, &mut pool, GRANT).unwrap();
        outbox.push(&frame, 1 << 20, &mut pool, GRANT).unwrap();
        let header = ws::Header::binary(40_000);
        assert_eq!(drain(&mut outbox, 777), [&header, &frame[..], &header, &frame[..]].concat());
    }

    #[test]
    fn what_does_not_fit_is_refused_and_the_rest_stays() {
        let mut pool = BufferPool::default();
        let mut outbox = Outbox::new(Framing::Raw);
        outbox.push(&[1; 60], 100, &mut pool, GRANT).unwrap();
        assert_eq!(outbox.push(&[2; 60], 100, &mut pool, GRANT), Err(Refused::Full));
        outbox.push(&[3; 40], 100, &mut pool, GRANT).unwrap();
        assert_eq!(drain(&mut outbox, 100), [vec![1; 60], vec![3; 40]].concat());
    }

    #[test]
    fn memory_is_bounded_by_what_may_wait() {
        let limit = 1 << 20;
        let mut pool = BufferPool::default();
        for framing in [Framing::Raw, Framing::WebSocket] {
            let mut outbox = Outbox::new(framing);
            let mut pushed = 0_usize;
            let mut taken = 0_usize;
            for round in 0..10_000 {
                if outbox.push(&[0; 997], limit, &mut pool, GRANT).is_ok() {
                    pushed += 1;
                }
                if round % 3 == 0 {
                    let len = outbox.sealed().len().min(1500);
                    outbox.advance(len, &mut pool);
                    taken += len;
                }
                assert!(
                    outbox.bytes.capacity() <= limit / 3 * 4 + 4096,
                    "{}",
                    outbox.bytes.capacity()
                );
            }
            assert!(pushed > 1000 && taken > 1_000_000);
        }
    }

    #[test]
    fn it_grows_by_what_it_was_granted() {
        for framing in [Framing::Raw, Framing::WebSocket] {
            let mut pool = BufferPool::default();
            let mut outbox = Outbox::new(framing);
            let mut granted = 0;
            let mut refusals = 0;
            for round in 0..1000 {
                let may_have = if round < 500 { 20_000 } else { 300_000 };
                let pushed = outbox.push(&[0; 777], 1 << 20, &mut pool, |growth| {
                    if granted + growth > may_have {
                        return Err(NoMemory);
                    }
                    granted += growth;
                    Ok(())
                });
                refusals += u32::from(pushed == Err(Refused::NoMemory));
                assert_eq!(outbox.capacity(), granted, "{framing:?}");
            }
            assert!(refusals > 500 && granted > 200_000, "{framing:?}");
        }
    }

    #[test]
    fn one_that_was_refused_its_first_memory_owns_none() {
        let mut pool = BufferPool::default();
        let mut outbox = Outbox::new(Framing::Raw);
        for may_have in [0, BufferPool::NEW_CAPACITY] {
            let grant = |growth| if growth > may_have { Err(NoMemory) } else { Ok(()) };
            let pushed = outbox.push(&[0; 5000], 1 << 20, &mut pool, grant);
            assert_eq!((pushed, outbox.capacity()), (Err(Refused::NoMemory), 0));
        }
    }

    #[test]
    fn what_waits_for_long_holds_little_more_than_it_needs() {
        let mut pool = BufferPool::default();
        pool.give_back(Vec::with_capacity(BufferPool::MAX_CAPACITY));
        let mut outbox = Outbox::new(Framing::Raw);
        outbox.push(b"short", 1 << 20, &mut pool, GRANT).unwrap();
        assert_eq!(outbox.capacity(), BufferPool::MAX_CAPACITY);
        outbox.shrink();
        assert_eq!(outbox.capacity(), BufferPool::NEW_CAPACITY);
        assert_eq!(drain(&mut outbox, 10), b"short");
    }
}
