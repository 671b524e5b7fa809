//! The bytes that are to be written to one peer: whole frames, up to a limit.
//!
//! ```text
//!   bytes   [ written | sealed: as on the wire | gap | open message: frames ]
//!                     ^ head                   ^ start
//! ```
//!
//! Over TCP and TLS the frames are the stream, so all bytes are sealed as they are. Over WebSocket
//! the frames of one write share a binary message. They are collected in an open message, which
//! begins with a gap for its header. The header is written when the message is sealed: when the
//! bytes are about to be written. So one write takes all frames, and a message always ends on a
//! frame boundary.
//!
//! A frame or message that is written in part is kept whole, so the bytes always begin with one.
//! From there [`unsent`] finds the frames that have not left.

mod unsent;

pub(crate) use unsent::Unsent;

use std::mem;

use crate::forward::budget::{Charge, NoMemory};
use crate::forward::buffer_pool::BufferPool;
use crate::forward::fate::DropReason;
use crate::forward::transport::ws;

/// How frames are carried on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// As they are: the frames are the stream.
    Raw,
    /// In WebSocket messages.
    WebSocket,
}

/// Something to append to an outbox.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Item<'a> {
    /// A whole frame from another peer, prefix included; bounded by the limit.
    Frame(&'a [u8]),
    /// Whole frames from the server itself, such as the greeting; not bounded, because the server
    /// sends few of them.
    Own(&'a [u8]),
    /// A WebSocket control frame, which goes between two messages; not bounded, because a peer gets
    /// few of them.
    Control(&'a [u8]),
}

/// The bytes that are to be written to one peer, the greeting first.
///
/// An empty outbox owns no memory.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// Begins with a frame, or with the header of a WebSocket message or control frame.
    bytes: Vec<u8>,
    /// The index of the first byte that is not written yet.
    head: u32,
    messages: Messages,
    /// The first frame in `bytes` is the first of the connection.
    has_greeting: bool,
}

/// The WebSocket messages that carry the frames, if any.
#[derive(Clone, Copy, Debug)]
enum Messages {
    /// None: the frames are the stream.
    None,
    /// A further frame begins a new message.
    Closed,
    /// The message at the end of `bytes` is open for further frames.
    Open {
        /// The index of the gap for the message's header.
        start: u32,
        /// Length of the gap, in bytes.
        gap: u8,
    },
}

impl Outbox {
    pub(crate) const fn new(framing: Framing) -> Self {
        let messages = match framing {
            Framing::Raw => Messages::None,
            Framing::WebSocket => Messages::Closed,
        };
        Self { bytes: Vec::new(), head: 0, messages, has_greeting: true }
    }

    /// Appends an item, unless a frame would exceed `limit` bytes.
    ///
    /// The outbox grows by as much memory as `charge` grants; by any amount without one.
    // This and what it calls run once a frame. Calls between them cost a tenth of a frame's
    // instructions.
    #[inline(always)]
    pub(crate) fn push(
        &mut self,
        item: Item<'_>,
        limit: usize,
        pool: &mut BufferPool,
        charge: Option<&mut Charge>,
    ) -> Result<(), DropReason> {
        match item {
            Item::Frame(frame) if self.len() + frame.len() > limit => {
                return Err(DropReason::OutboxFull);
            }
            Item::Frame(frame) => self.push_frame(frame, limit, pool, charge)?,
            Item::Own(frames) => self.push_frame(frames, usize::MAX, pool, charge)?,
            Item::Control(frame) => {
                self.seal();
                self.reserve(frame.len(), usize::MAX, pool, charge)?;
                self.bytes.extend_from_slice(frame);
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn push_frame(
        &mut self,
        frame: &[u8],
        limit: usize,
        pool: &mut BufferPool,
        charge: Option<&mut Charge>,
    ) -> Result<(), NoMemory> {
        self.reserve(ws::MAX_HEADER_LEN + frame.len(), limit, pool, charge)?;
        self.open_message(frame.len());
        self.bytes.extend_from_slice(frame);
        Ok(())
    }

    /// Returns all bytes as they go on the wire. Report with [`Outbox::advance`] how many are
    /// written.
    pub(crate) fn sealed(&mut self) -> &[u8] {
        self.seal();
        &self.bytes[self.head as usize..]
    }

    /// Removes the first `len` bytes of [`Outbox::sealed`], which are written.
    pub(crate) fn advance(&mut self, len: usize, pool: &mut BufferPool) {
        self.head += len as u32;
        if self.is_empty() {
            self.clear(pool);
        }
    }

    /// Drops all bytes.
    pub(crate) fn clear(&mut self, pool: &mut BufferPool) {
        pool.give_back(mem::take(&mut self.bytes));
        self.head = 0;
        self.has_greeting = false;
        if let Messages::Open { .. } = self.messages {
            self.messages = Messages::Closed;
        }
    }

    /// Frees memory that the bytes do not need, because they may stay in the outbox for long.
    pub(crate) fn shrink(&mut self) {
        if self.bytes.capacity() / 2 > self.bytes.len().max(BufferPool::NEW_CAPACITY) {
            self.bytes.shrink_to(BufferPool::NEW_CAPACITY);
        }
    }

    /// Returns the number of bytes of memory that the outbox holds.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Returns the number of bytes that are not written yet, WebSocket headers included.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.head as usize
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes space for `more` bytes.
    #[inline(always)]
    fn reserve(
        &mut self,
        more: usize,
        limit: usize,
        pool: &mut BufferPool,
        charge: Option<&mut Charge>,
    ) -> Result<(), NoMemory> {
        if self.bytes.capacity() - self.bytes.len() >= more {
            return Ok(());
        }
        self.grow(more, limit, pool, charge)
    }

    /// Makes space for `more` bytes: borrows a buffer, moves the bytes to the front, or grows.
    #[inline(never)]
    fn grow(
        &mut self,
        more: usize,
        limit: usize,
        pool: &mut BufferPool,
        mut charge: Option<&mut Charge>,
    ) -> Result<(), NoMemory> {
        let mut grant = |more| charge.as_mut().map_or(Ok(()), |charge| charge.grow(more));
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
        // Once a quarter is written the rest moves to the front: a byte moves three times at most,
        // and once more for each long message that is written in part.
        if self.head as usize >= self.bytes.len() / 4 {
            self.compact();
            if self.bytes.capacity() - self.bytes.len() >= more {
                return Ok(());
            }
        }
        // The capacity doubles, but not beyond four thirds of the limit, a quarter of which may be
        // written already; or beyond the limit and one frame or message, which may be written but
        // for its last byte. So the limit on bytes bounds the memory too.
        let most = limit.saturating_add((limit / 3).max(self.head as usize));
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

    /// Moves the bytes to the front, from the frame or message on that is written in part.
    fn compact(&mut self) {
        let start = self.first_unsent();
        if start == 0 {
            return;
        }
        self.bytes.drain(..start);
        self.head -= start as u32;
        self.has_greeting = false;
        if let Messages::Open { start: open, .. } = &mut self.messages {
            *open -= start as u32;
        }
    }

    /// Opens a message, over WebSocket, unless a frame of that length fits into the open one.
    #[inline(always)]
    fn open_message(&mut self, frame_len: usize) {
        match self.messages {
            Messages::None => return,
            Messages::Closed => {}
            Messages::Open { start, gap } => {
                let open_len = self.bytes.len() - (start + u32::from(gap)) as usize;
                if open_len + frame_len <= ws::MAX_SHORT_MESSAGE {
                    return;
                }
                self.seal();
            }
        }
        let gap = ws::header_gap(frame_len);
        self.messages = Messages::Open { start: self.bytes.len() as u32, gap: gap as u8 };
        self.bytes.resize(self.bytes.len() + gap, 0);
    }

    /// Closes the open message: writes its header into the gap before it.
    fn seal(&mut self) {
        let Messages::Open { start, gap } = self.messages else { return };
        self.messages = Messages::Closed;
        let (start, gap) = (start as usize, usize::from(gap));
        let payload = start + gap;
        let header = ws::Header::binary(self.bytes.len() - payload);
        let surplus = gap - header.len();
        if surplus > 0 {
            // The message has at most 125 bytes, so moving it is cheap.
            self.bytes.copy_within(payload.., payload - surplus);
            self.bytes.truncate(self.bytes.len() - surplus);
        }
        self.bytes[start..start + header.len()].copy_from_slice(&header);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::budget::Budget;

    fn push(outbox: &mut Outbox, frame: &[u8], limit: usize) -> Result<(), DropReason> {
        outbox.push(Item::Frame(frame), limit, &mut BufferPool::default(), None)
    }

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
        let mut outbox = Outbox::new(Framing::Raw);
        push(&mut outbox, b"one", 100).unwrap();
        push(&mut outbox, b"two", 100).unwrap();
        assert_eq!(drain(&mut outbox, 2), b"onetwo");
        assert_eq!(outbox.bytes.capacity(), 0, "an empty outbox owns no memory");
    }

    #[test]
    fn frames_between_two_writes_share_a_message() {
        let mut outbox = Outbox::new(Framing::WebSocket);
        push(&mut outbox, b"one", 100).unwrap();
        push(&mut outbox, b"two", 100).unwrap();
        assert_eq!(outbox.sealed(), b"\x82\x06onetwo");
        push(&mut outbox, b"three", 100).unwrap();
        outbox.push(Item::Control(b"\x89\x00"), 0, &mut BufferPool::default(), None).unwrap();
        push(&mut outbox, b"four", 100).unwrap();
        assert_eq!(drain(&mut outbox, 3), b"\x82\x06onetwo\x82\x05three\x89\x00\x82\x04four");
    }

    #[test]
    fn messages_of_every_length_get_the_shortest_header() {
        for len in [1, 125, 126, 65_535, 65_536, 65_537] {
            let mut outbox = Outbox::new(Framing::WebSocket);
            let frame = vec![7; len];
            push(&mut outbox, &frame, 1 << 20).unwrap();
            let header = ws::Header::binary(len);
            assert_eq!(drain(&mut outbox, 10_000), [&header, &frame[..]].concat(), "{len}");
        }
    }

    #[test]
    fn a_message_does_not_outgrow_the_short_header() {
        let mut outbox = Outbox::new(Framing::WebSocket);
        let frame = vec![7; 40_000];
        push(&mut outbox, &frame, 1 << 20).unwrap();
        push(&mut outbox, &frame, 1 << 20).unwrap();
        let header = ws::Header::binary(40_000);
        assert_eq!(drain(&mut outbox, 777), [&header, &frame[..], &header, &frame[..]].concat());
    }

    #[test]
    fn a_frame_that_does_not_fit_is_refused_and_the_others_stay() {
        let mut outbox = Outbox::new(Framing::Raw);
        push(&mut outbox, &[1; 60], 100).unwrap();
        assert_eq!(push(&mut outbox, &[2; 60], 100), Err(DropReason::OutboxFull));
        push(&mut outbox, &[3; 40], 100).unwrap();
        assert_eq!(drain(&mut outbox, 100), [vec![1; 60], vec![3; 40]].concat());
    }

    #[test]
    fn the_limit_on_bytes_bounds_the_memory_too() {
        let mut pool = BufferPool::default();
        for (framing, limit) in [Framing::Raw, Framing::WebSocket]
            .into_iter()
            .flat_map(|framing| [(framing, 1 << 20), (framing, 80_000)])
        {
            // A frame or message that is written in part is kept, up to its last byte.
            let kept = ws::MAX_HEADER_LEN + ws::MAX_SHORT_MESSAGE;
            let most = limit + kept.max(limit / 3) + 4096;
            let mut outbox = Outbox::new(framing);
            let mut pushed = 0_usize;
            let mut taken = 0_usize;
            for round in 0..10_000 {
                let frame = if round % 50 == 0 { vec![0xff; 65_537] } else { vec![3; 2 + 0x0303] };
                if push(&mut outbox, &frame, limit).is_ok() {
                    pushed += 1;
                }
                if round % 3 == 0 {
                    let len = outbox.sealed().len().min(1500);
                    outbox.advance(len, &mut pool);
                    taken += len;
                }
                let capacity = outbox.bytes.capacity();
                assert!(capacity <= most, "{framing:?}, {limit}: {capacity}");
            }
            assert!(pushed > 1000 && taken > 1_000_000, "{framing:?}, {limit}: {pushed}, {taken}");
        }
    }

    #[test]
    fn an_outbox_is_no_larger_than_it_must_be() {
        assert_eq!(size_of::<Outbox>(), 40);
    }

    #[test]
    fn an_outbox_grows_only_by_granted_memory() {
        for framing in [Framing::Raw, Framing::WebSocket] {
            let mut pool = BufferPool::default();
            let mut outbox = Outbox::new(framing);
            let budget = Budget::new(1_200_000);
            let mut charge = budget.charge(1).unwrap();
            let mut refusals = 0;
            for _ in 0..1000 {
                let item = Item::Frame(&[0; 777]);
                let pushed = outbox.push(item, 1 << 20, &mut pool, Some(&mut charge));
                refusals += u32::from(pushed == Err(DropReason::NoMemory));
                assert_eq!(outbox.capacity(), charge.bytes() - 1, "{framing:?}");
            }
            assert!(refusals > 500 && charge.bytes() > 100_000, "{framing:?}: {refusals}");
        }
    }

    #[test]
    fn an_outbox_that_is_granted_no_memory_owns_none() {
        let mut pool = BufferPool::default();
        let mut outbox = Outbox::new(Framing::Raw);
        for limit in [100, 5 * BufferPool::NEW_CAPACITY] {
            let budget = Budget::new(limit);
            let mut charge = budget.charge(1).unwrap();
            let pushed =
                outbox.push(Item::Frame(&[0; 5000]), 1 << 20, &mut pool, Some(&mut charge));
            assert_eq!((pushed, outbox.capacity()), (Err(DropReason::NoMemory), 0));
        }
    }

    #[test]
    fn a_greeting_fits_whatever_the_limit() {
        let mut outbox = Outbox::new(Framing::Raw);
        let greeting = Item::Own(b"greeting");
        outbox.push(greeting, 0, &mut BufferPool::default(), None).unwrap();
        assert_eq!(drain(&mut outbox, 100), b"greeting");
    }

    #[test]
    fn a_shrunk_outbox_holds_little_unused_memory() {
        let mut pool = BufferPool::default();
        pool.give_back(Vec::with_capacity(BufferPool::MAX_CAPACITY));
        let mut outbox = Outbox::new(Framing::Raw);
        outbox.push(Item::Frame(b"short"), 1 << 20, &mut pool, None).unwrap();
        assert_eq!(outbox.capacity(), BufferPool::MAX_CAPACITY);
        outbox.shrink();
        assert_eq!(outbox.capacity(), BufferPool::NEW_CAPACITY);
        assert_eq!(drain(&mut outbox, 10), b"short");
    }
}
