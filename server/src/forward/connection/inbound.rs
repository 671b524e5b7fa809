//! From the bytes that a peer sends to frames.

use std::sync::Arc;
use std::time::Duration;

use waddell_core::{Decision, Frame, FrameDecoder, Instant, PeerId, ServerConnection};

use super::control;
use super::end::End;
use super::extended::{Extended, Hold, Takeover};
use super::notices;
use super::pings::Pings;
use crate::forward::budget::{Budget, Charge, NoMemory};
use crate::forward::fate::{DropReason, Fate};
use crate::forward::peer::Peer;
use crate::forward::read_counts::ReadCounts;
use crate::forward::transport::ws;
use crate::forward::worker::Worker;

/// From the bytes that a peer sends to frames.
#[derive(Debug)]
pub(super) struct Inbound {
    /// Set if the peer speaks WebSocket. Boxed, because most of a connection is the same without.
    pub(super) websocket: Option<Box<WebSocket>>,
    frames: FrameDecoder,
    /// Set while a frame is incomplete. Boxed, because few connections have one at a time.
    partial: Option<Box<PartialFrame>>,
    pub(super) state: ServerConnection,
    /// Set once the client has said HELLO.
    pub(super) extended: Option<Box<Extended>>,
}

/// The part of the state that only WebSocket peers have.
#[derive(Debug)]
pub(super) struct WebSocket {
    decoder: ws::Decoder,
    pub(super) pings: Pings,
    surplus: Surplus,
}

/// A frame of which some bytes have arrived.
#[derive(Debug)]
struct PartialFrame {
    /// When its first byte was read.
    begun_at: Instant,
    charge: Charge,
}

impl Inbound {
    pub(super) fn new(state: ServerConnection, max_frame_len: u16, pings: Option<Pings>) -> Self {
        let websocket = pings.map(|pings| {
            let (decoder, surplus) = (ws::Decoder::default(), Surplus::default());
            Box::new(WebSocket { decoder, pings, surplus })
        });
        let frames = FrameDecoder::with_max_len(max_frame_len);
        Self { websocket, frames, partial: None, state, extended: None }
    }

    /// Records that the peer has sent something.
    pub(super) fn heard(&mut self) {
        if let Some(websocket) = &mut self.websocket {
            websocket.pings.heard();
        }
    }

    /// Returns when the frame that has begun has to be complete; `None` if there is none.
    pub(super) fn frame_due(&self, timeout: Duration) -> Option<Instant> {
        let begun_at = self.partial.as_ref()?.begun_at;
        // A peer that is not read from cannot complete it.
        let from = self.state.paused_until(begun_at).unwrap_or(begun_at);
        Some(from + timeout)
    }

    /// Charges the memory of a frame that is incomplete after a read.
    pub(super) fn charge_partial(
        &mut self,
        counts: &ReadCounts,
        budget: &Arc<Budget>,
        peer: &Peer,
    ) -> Result<(), End> {
        let held = self.frames.held();
        if held == 0 {
            if self.partial.take().is_some() {
                peer.set_partial(0, counts.read_at);
            }
            return Ok(());
        }
        let charged = match &mut self.partial {
            Some(partial) => {
                if counts.frames > 0 {
                    partial.begun_at = counts.read_at;
                }
                partial.charge.resize(held)
            }
            None => budget.charge(held).map(|charge| {
                self.partial = Some(Box::new(PartialFrame { begun_at: counts.read_at, charge }));
            }),
        };
        if let Err(NoMemory) = charged {
            self.close();
            return Err(End::CrowdedOut);
        }
        if let Some(partial) = &self.partial {
            peer.set_partial(held, partial.begun_at);
        }
        Ok(())
    }

    /// Drops the incomplete frame; no bytes are taken from then on.
    pub(super) fn close(&mut self) {
        self.frames = FrameDecoder::new();
        self.partial = None;
    }

    /// Returns whether there is a request to answer.
    pub(super) fn has_request(&self) -> bool {
        self.hold().is_some_and(|hold| hold.request.is_some())
    }

    /// Removes and returns the body of the request to answer.
    pub(super) fn take_request(&mut self) -> Option<Box<[u8]>> {
        self.extended.as_mut()?.hold.as_mut()?.request.take()
    }

    /// Returns when the client is to get a new resume token.
    pub(super) fn token_due(&self) -> Option<Instant> {
        self.extended.as_ref()?.token_due
    }

    /// Sets the generation of the client's resume tokens, and when the next one is due.
    pub(super) fn set_tokens(&mut self, generation: u32, due: Option<Instant>) {
        if let Some(extended) = &mut self.extended {
            (extended.generation, extended.token_due) = (generation, due);
        }
    }

    /// Returns the takeover that is in progress.
    pub(super) fn takeover(&self) -> Option<&Takeover> {
        self.hold()?.takeover.as_ref()
    }

    /// Keeps further frames until a takeover is done.
    pub(super) fn wait_for(&mut self, takeover: Takeover) {
        if let Some(extended) = &mut self.extended
            && let Some(hold) = &mut extended.hold
        {
            hold.takeover = Some(takeover);
        }
    }

    /// Handles the frames that were kept, and all further ones at once.
    pub(super) fn release(
        &mut self,
        peer: &Arc<Peer>,
        worker: &Worker,
        counts: &mut ReadCounts,
    ) -> Result<(), End> {
        let Some(extended) = &mut self.extended else { return Ok(()) };
        let Some(mut hold) = extended.hold.take() else { return Ok(()) };
        if self.state.granted().is_none() {
            self.extended = None;
        }
        self.take_whole(&mut hold.frames, peer, worker, counts)
    }

    /// Takes whole frames that did not come in the stream of bytes.
    pub(super) fn take_whole(
        &mut self,
        frames: &mut [u8],
        peer: &Arc<Peer>,
        worker: &Worker,
        counts: &mut ReadCounts,
    ) -> Result<(), End> {
        let mut whole = FrameDecoder::new();
        take_frames(&mut whole, &mut self.state, &mut self.extended, frames, peer, worker, counts)
    }

    /// Drops the frames that were kept.
    pub(super) fn drop_held(&mut self) {
        if let Some(extended) = &mut self.extended {
            extended.hold = None;
        }
    }

    fn hold(&self) -> Option<&Hold> {
        self.extended.as_ref()?.hold.as_ref()
    }

    /// Takes bytes as they are inside TLS.
    pub(super) fn take(
        &mut self,
        mut bytes: &mut [u8],
        peer: &Arc<Peer>,
        worker: &Worker,
        counts: &mut ReadCounts,
    ) -> Result<(), End> {
        let Some(websocket) = &mut self.websocket else {
            let Self { frames, state, extended, .. } = self;
            return take_frames(frames, state, extended, bytes, peer, worker, counts);
        };
        let frames_before = counts.frames;
        while let Some(event) = websocket.decoder.next(&mut bytes).map_err(End::Misbehaved)? {
            match event {
                ws::Event::Bytes(bytes) => {
                    let Self { frames, state, extended, .. } = self;
                    take_frames(frames, state, extended, bytes, peer, worker, counts)?;
                }
                ws::Event::Ping(payload) => worker.send_control(peer, &ws::pong(&payload)),
                // Any byte counts as a sign of life; see `Inbound::heard`.
                ws::Event::Pong => {}
                ws::Event::Close(close) => return Err(End::Closed(Some(close))),
            }
        }
        let overhead = websocket.decoder.take_overhead();
        if self.state.is_limited() {
            let frames = (counts.frames - frames_before) as usize;
            let surplus = websocket.surplus.charge(overhead.frames, frames);
            self.state.charge(surplus, overhead.bytes, counts.read_at);
        }
        Ok(())
    }
}

/// Takes bytes of the stream of frames: decides on each whole frame, and forwards it.
fn take_frames(
    frames: &mut FrameDecoder,
    state: &mut ServerConnection,
    extended: &mut Option<Box<Extended>>,
    mut bytes: &mut [u8],
    peer: &Arc<Peer>,
    worker: &Worker,
    counts: &mut ReadCounts,
) -> Result<(), End> {
    if let Some(extended) = extended
        && let Some(hold) = &mut extended.hold
    {
        return hold_frames(frames, bytes, hold);
    }
    let mut recent = None;
    while let Some(mut frame) = frames.next_frame(&mut bytes)? {
        counts.frame(frame.as_bytes().len());
        match state.handle_frame(&mut frame, counts.read_at) {
            Decision::Forward(to) => {
                let fate = worker.forward(to, frame.as_bytes(), counts.read_at, &mut recent);
                note(fate, to, &frame, state, peer, worker, counts);
            }
            Decision::FirstContact(to) => {
                let fate = worker.forward_first(state.id(), to, frame.as_bytes(), counts.read_at);
                note(fate, to, &frame, state, peer, worker, counts);
            }
            Decision::Control => {
                let is_first = counts.frames == 1 && peer.frames_in() == 0;
                let payload = frame.payload();
                let handled = control::handle(
                    state,
                    payload,
                    is_first,
                    extended.as_deref_mut(),
                    peer,
                    worker,
                    counts,
                );
                if let Some(request) = handled {
                    // The frames after it are handled after it is answered.
                    let new = || Box::new(Extended::new(counts.read_at));
                    let extended = extended.get_or_insert_with(new);
                    // Frames are not kept for a request that is refused anyway: a flood of them
                    // would be copied again and again.
                    if extended.refuses(request, counts.read_at) {
                        counts.control();
                        continue;
                    }
                    let hold = extended.hold.insert(Hold::new(request));
                    return hold_frames(frames, bytes, hold);
                }
            }
            Decision::KeepAlive => counts.keep_alive(),
            Decision::Reject(rejected) => counts.rejected(rejected),
        }
    }
    Ok(())
}

/// Keeps whole frames for later.
fn hold_frames(
    frames: &mut FrameDecoder,
    mut bytes: &mut [u8],
    hold: &mut Hold,
) -> Result<(), End> {
    while let Some(frame) = frames.next_frame(&mut bytes)? {
        hold.frames.extend_from_slice(frame.as_bytes());
    }
    Ok(())
}

/// Counts the fate of a frame for that recipient, and notes if it was dropped.
#[inline]
fn note(
    fate: Fate,
    to: PeerId,
    frame: &Frame<'_>,
    state: &mut ServerConnection,
    peer: &Arc<Peer>,
    worker: &Worker,
    counts: &mut ReadCounts,
) {
    counts.fate(fate, frame.as_bytes().len());
    if let Fate::Dropped(reason) = fate {
        state.note_dropped(to, frame, reason.into());
        if reason == DropReason::RecipientAway {
            notices::expect(state, to, peer, worker);
        }
    }
}

/// Counts the WebSocket frames that are not charged to the peer's rate yet.
///
/// A peer is charged for each waddell frame. It has to pay for WebSocket frames without a waddell
/// frame too, such as pings, but not twice for one message. So it is charged for the WebSocket
/// frames in excess of the waddell frames. One may be open: the waddell frame in it can be
/// incomplete.
#[derive(Debug, Default)]
struct Surplus {
    open: usize,
}

impl Surplus {
    /// Records WebSocket frames, and waddell frames that are charged. Returns how many WebSocket
    /// frames have to be charged besides.
    fn charge(&mut self, websocket: usize, waddell: usize) -> usize {
        let uncharged = (self.open + websocket).saturating_sub(waddell);
        self.open = uncharged.min(1);
        uncharged - self.open
    }
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
    fn websocket_frames_without_a_waddell_frame_are_charged() {
        let mut surplus = Surplus::default();
        let charged: usize = (0..100).map(|_| surplus.charge(1, 0)).sum();
        assert_eq!(charged, 99);
        assert_eq!(surplus.charge(50, 0), 50);
        // Of eleven frames two carry waddell frames.
        assert_eq!(surplus.charge(11, 2), 9);
        assert_eq!(surplus.charge(0, 30), 0);
        assert_eq!(surplus.charge(1, 0) + surplus.charge(1, 0), 1);
    }
}
