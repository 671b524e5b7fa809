//! What a peer sends, on its way to becoming frames.

use std::sync::Arc;
use std::time::Duration;

use waddell_core::{Decision, FrameDecoder, Instant, Rejected, ServerConnection};

use super::end::End;
use super::pings::Pings;
use crate::forward::memory::NoMemory;
use crate::forward::peer::Peer;
use crate::forward::read_counts::ReadCounts;
use crate::forward::transport::ws;
use crate::forward::unfinished::Unfinished;
use crate::forward::worker::Worker;

/// What the peer sends, on its way to becoming frames.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) websocket: Option<Box<WebSocket>>,
    pub(super) frames: FrameDecoder,
    /// When the frame began that is not finished.
    pub(super) begun_at: Option<Instant>,
    pub(super) state: ServerConnection,
}

/// What a WebSocket peer needs besides; boxed, since most of a connection is the same without.
#[derive(Debug)]
pub(super) struct WebSocket {
    pub(super) decoder: ws::Decoder,
    pub(super) pings: Pings,
    pub(super) surplus: Surplus,
}

/// How many WebSocket frames are not charged to the peer's rate yet.
///
/// A peer is charged for each frame of waddell. It is to pay for WebSocket frames that carry none
/// as well, such as pings, and for no message twice: so for WebSocket frames as far as they are
/// more. One may be open, for the frame in it need not be whole yet.
#[derive(Debug, Default)]
pub(super) struct Surplus {
    open: usize,
}

impl Surplus {
    /// Takes note of WebSocket frames, and of waddell's that were charged; returns how many of the
    /// former are to be charged besides.
    fn charge(&mut self, websocket: usize, waddell: usize) -> usize {
        let uncharged = (self.open + websocket).saturating_sub(waddell);
        self.open = uncharged.min(1);
        uncharged - self.open
    }
}

impl Inbound {
    /// The peer has sent something: it lives.
    pub(super) fn heard(&mut self) {
        if let Some(websocket) = &mut self.websocket {
            websocket.pings.heard();
        }
    }

    /// Takes note of whether there is an unfinished frame after what was read, and since when.
    pub(super) fn note_unfinished(&mut self, counts: &ReadCounts) {
        if self.frames.buffered() == 0 {
            self.begun_at = None;
        } else if self.begun_at.is_none() || counts.frames_in > 0 {
            self.begun_at = Some(counts.read_at);
        }
    }

    /// Returns when the frame that has begun is to be finished; `None` if there is none.
    pub(super) fn frame_due(&self, timeout: Duration) -> Option<Instant> {
        let begun_at = self.begun_at?;
        // A peer that is not read from cannot finish it.
        let from = self.state.paused_until(begun_at).unwrap_or(begun_at);
        Some(from + timeout)
    }

    /// Accounts for what an unfinished frame holds, which was so much `before`.
    pub(super) fn account(&mut self, before: usize, unfinished: &Unfinished) -> Result<(), End> {
        let after = self.frames.held();
        if after == before {
            return Ok(());
        }
        unfinished.change(before, after).map_err(|NoMemory| {
            self.frames = FrameDecoder::new();
            unfinished.release(before);
            End::CrowdedOut
        })
    }

    /// Takes nothing more: what has begun stays unfinished.
    pub(super) fn close(&mut self, unfinished: &Unfinished) {
        unfinished.release(self.frames.held());
        self.frames = FrameDecoder::new();
        self.begun_at = None;
    }

    /// Takes bytes as they are inside TLS.
    pub(super) fn take(
        &mut self,
        mut bytes: &mut [u8],
        peer: &Arc<Peer>,
        worker: &Worker,
        now: Instant,
        counts: &mut ReadCounts,
    ) -> Result<(), End> {
        let Some(websocket) = &mut self.websocket else {
            return take_frames(&mut self.frames, &mut self.state, bytes, worker, now, counts);
        };
        let frames_before = counts.frames_in;
        while let Some(event) = websocket.decoder.next(&mut bytes).map_err(End::Misbehaved)? {
            match event {
                ws::Event::Bytes(bytes) => {
                    take_frames(&mut self.frames, &mut self.state, bytes, worker, now, counts)?;
                }
                ws::Event::Ping(payload) => worker.send_control(peer, &ws::pong(&payload)),
                // Any byte counts as a sign of life; see `Inbound::heard`.
                ws::Event::Pong => {}
                ws::Event::Close(close) => return Err(End::Closed(Some(close))),
            }
        }
        let overhead = websocket.decoder.take_overhead();
        if self.state.is_limited() {
            let frames = (counts.frames_in - frames_before) as usize;
            let surplus = websocket.surplus.charge(overhead.frames, frames);
            self.state.charge(surplus, overhead.bytes, now);
        }
        Ok(())
    }
}

/// Takes bytes of the stream of frames: decides on each whole frame, and forwards it.
fn take_frames(
    frames: &mut FrameDecoder,
    state: &mut ServerConnection,
    mut bytes: &mut [u8],
    worker: &Worker,
    now: Instant,
    counts: &mut ReadCounts,
) -> Result<(), End> {
    let mut recent = None;
    while let Some(mut frame) = frames.next_frame(&mut bytes)? {
        counts.frames_in += 1;
        counts.bytes_in += frame.as_bytes().len() as u64;
        match state.handle_frame(&mut frame, now) {
            Decision::Forward(to) => worker.forward(to, frame.as_bytes(), &mut recent, counts),
            Decision::KeepAlive => counts.keep_alives += 1,
            Decision::Reject(Rejected::ShortFrame { .. }) => counts.rejected_short += 1,
            Decision::Reject(Rejected::ReservedRecipient) => counts.rejected_reserved += 1,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_charged_once_however_reads_cut_it() {
        let mut surplus = Surplus::default();
        // Whole; header, then the rest and the next one's header, and so on.
        for (websocket, waddell) in [(1, 1), (1, 0), (1, 1), (1, 1), (0, 1), (5, 5), (1, 20)] {
            assert_eq!(surplus.charge(websocket, waddell), 0);
        }
    }

    #[test]
    fn websocket_frames_without_any_of_waddells_are_charged() {
        let mut surplus = Surplus::default();
        let charged: usize = (0..100).map(|_| surplus.charge(1, 0)).sum();
        assert_eq!(charged, 99);
        assert_eq!(surplus.charge(50, 0), 50);
        // What came in a row with others pays for those alone.
        assert_eq!(surplus.charge(11, 2), 9);
        assert_eq!(surplus.charge(0, 30), 0);
        assert_eq!(surplus.charge(1, 0) + surplus.charge(1, 0), 1);
    }
}
