//! The frames in an outbox that have not left.
//!
//! ```text
//!   raw         [ frame ][ frame ][ frame ]
//!   WebSocket   [ header | frame | frame ][ ping ][ gap | frame ]
//!                              ^ head
//! ```
//!
//! A frame has not left if one of its bytes or more is not written. A walk from the first byte
//! finds it, because the outbox keeps a frame or message that is written in part whole. Nothing is
//! stored for each frame, so pushing a frame costs what it would cost without the walk.
//!
//! Bytes that TLS or the operating system has taken count as written.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::mem;
use std::ops::Range;

use waddell_core::{PREFIX_LEN, PeerId};

use super::{Messages, Outbox};
use crate::forward::transport::ws;
use crate::ids::IdHasher;

/// How many frames of each sender have not left an outbox.
#[derive(Debug, Default)]
pub(crate) struct Unsent {
    counts: HashMap<PeerId, u32, BuildHasherDefault<IdHasher>>,
    has_more_senders: bool,
}

impl Unsent {
    /// Most senders whose frames are counted. They bound the memory, and how many peers are told.
    pub(crate) const MAX_SENDERS: usize = 256;

    /// Returns the senders, and how many of their last frames have not left; in no order.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (PeerId, u32)> {
        self.counts.iter().map(|(&sender, &count)| (sender, count))
    }

    /// Returns whether there are frames of further senders, which are not counted.
    pub(crate) fn has_more_senders(&self) -> bool {
        self.has_more_senders
    }

    /// Returns whether there are no such frames.
    pub(crate) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Adds a frame, unless it is from the server itself.
    pub(crate) fn add_frame(&mut self, frame: &[u8]) {
        if let Some(sender) = sender(frame).filter(|sender| !sender.is_nil()) {
            self.add(sender, 1);
        }
    }

    /// Removes a frame that was added.
    pub(crate) fn remove_frame(&mut self, frame: &[u8]) {
        if let Some(sender) = sender(frame)
            && let Some(count) = self.counts.get_mut(&sender)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&sender);
            }
        }
    }

    /// Adds all frames of `other`.
    pub(crate) fn merge(&mut self, other: Self) {
        self.has_more_senders |= other.has_more_senders;
        other.counts.into_iter().for_each(|(sender, count)| self.add(sender, count));
    }

    fn add(&mut self, sender: PeerId, count: u32) {
        if let Some(counted) = self.counts.get_mut(&sender) {
            *counted = counted.saturating_add(count);
        } else if self.counts.len() < Self::MAX_SENDERS {
            self.counts.insert(sender, count);
        } else {
            self.has_more_senders = true;
        }
    }
}

impl Outbox {
    /// Counts the frames that have not left, except for those from the server itself.
    pub(crate) fn unsent(&self) -> Unsent {
        let mut unsent = Unsent::default();
        self.unsent_frames().for_each(|frame| unsent.add_frame(frame));
        unsent
    }

    /// Returns the frames that have not left, prefixes included, in their order. The greeting means
    /// nothing on another connection and is left out. Control frames from the nil id are not.
    pub(crate) fn unsent_frames(&self) -> impl Iterator<Item = &[u8]> {
        Frames { outbox: self, message: 0..0 }
            .skip(usize::from(self.has_greeting))
            .skip_while(|frame| frame.end <= self.head as usize)
            .map_while(|frame| self.bytes.get(frame))
    }

    /// Returns whether a frame is from the server itself.
    pub(crate) fn is_own(frame: &[u8]) -> bool {
        sender(frame).is_none_or(|sender| sender.is_nil())
    }

    /// Returns whether a frame or message has left in part.
    pub(crate) fn is_mid_frame(&self) -> bool {
        self.first_unsent() < self.head as usize
    }

    /// Returns the index of the frame, or of the WebSocket message or control frame, that is the
    /// first with a byte that is not written.
    pub(super) fn first_unsent(&self) -> usize {
        let mut start = 0;
        while let Some(Range { end, .. }) = self.frames_at(start)
            && end <= self.head as usize
        {
            start = end;
        }
        start
    }

    /// Returns the place of the frames in the WebSocket message that begins at `start`, to its end.
    /// In a raw stream that is one frame; in a control frame the place is empty. `None` at the end.
    fn frames_at(&self, start: usize) -> Option<Range<usize>> {
        let bytes = self.bytes.get(start..).filter(|bytes| !bytes.is_empty())?;
        match self.messages {
            Messages::None => Some(start..start + frame_len(bytes)?),
            Messages::Open { start: open, gap } if start == open as usize => {
                Some(start + usize::from(gap)..self.bytes.len())
            }
            Messages::Closed | Messages::Open { .. } => {
                let extent = ws::Extent::read(bytes)?;
                let payload = start + extent.header_len;
                let end = payload + extent.payload_len;
                Some(if extent.is_control { end..end } else { payload..end })
            }
        }
    }
}

/// The places of all frames in an outbox.
struct Frames<'o> {
    outbox: &'o Outbox,
    /// The place of further frames of the same message.
    message: Range<usize>,
}

impl Iterator for Frames<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        while self.message.is_empty() {
            self.message = self.outbox.frames_at(self.message.end)?;
        }
        let len = frame_len(self.outbox.bytes.get(self.message.clone())?)?;
        let end = self.message.start + len;
        Some(mem::replace(&mut self.message.start, end)..end)
    }
}

/// Returns the length of the frame at the beginning of `bytes`, prefix included.
fn frame_len(bytes: &[u8]) -> Option<usize> {
    let prefix = bytes.first_chunk::<PREFIX_LEN>()?;
    Some(PREFIX_LEN + usize::from(u16::from_le_bytes(*prefix)))
}

/// Returns the sender of a frame.
fn sender(frame: &[u8]) -> Option<PeerId> {
    frame.get(PREFIX_LEN..)?.first_chunk().copied().map(PeerId::from_bytes)
}
