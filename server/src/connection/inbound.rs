//! What a peer sends, on its way to becoming frames.

use std::sync::Arc;

use tokio::time::Instant;
use waddell_core::{FrameDecoder, Rejected, ServerConnection};

use super::end::End;
use super::heartbeat::Heartbeat;
use crate::peer::Peer;
use crate::tally::Tally;
use crate::transport::ws;
use crate::worker::Worker;

/// What the peer sends, on its way to becoming frames.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) websocket: Option<Box<WebSocket>>,
    pub(super) frames: FrameDecoder,
    pub(super) state: ServerConnection,
}

/// What a WebSocket peer needs besides; boxed, since most of a connection is the same without.
#[derive(Debug)]
pub(super) struct WebSocket {
    pub(super) decoder: ws::Decoder,
    pub(super) heartbeat: Heartbeat,
}

impl Inbound {
    /// The peer has sent something: it lives.
    pub(super) fn heard(&mut self) {
        if let Some(websocket) = &mut self.websocket {
            websocket.heartbeat.heard();
        }
    }

    /// Takes bytes as they are inside TLS.
    pub(super) fn take(
        &mut self,
        mut bytes: &mut [u8],
        peer: &Arc<Peer>,
        worker: &Worker,
        now: Instant,
        tally: &mut Tally,
    ) -> Result<(), End> {
        let now = worker.shared.core_time(now);
        let Some(websocket) = &mut self.websocket else {
            return take_frames(&mut self.frames, &mut self.state, bytes, worker, now, tally);
        };
        while let Some(event) = websocket.decoder.next(&mut bytes).map_err(End::Misbehaved)? {
            match event {
                ws::Event::Bytes(bytes) => {
                    take_frames(&mut self.frames, &mut self.state, bytes, worker, now, tally)?;
                }
                ws::Event::Ping(payload) => worker.send_control(peer, &ws::pong(&payload)),
                // Any byte counts as a sign of life; see `Inbound::heard`.
                ws::Event::Pong => {}
                ws::Event::Close(close) => return Err(End::Closed(Some(close))),
            }
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
    now: waddell_core::Instant,
    tally: &mut Tally,
) -> Result<(), End> {
    let mut recent = None;
    while let Some(mut frame) = frames.next_frame(&mut bytes)? {
        tally.frames_in += 1;
        tally.bytes_in += frame.as_bytes().len() as u64;
        match state.handle_frame(&mut frame, now) {
            Ok(Some(to)) => worker.forward(to, frame.as_bytes(), &mut recent, tally),
            Ok(None) => tally.keep_alives += 1,
            Err(Rejected::ShortFrame { .. }) => tally.rejected_short += 1,
            Err(Rejected::ReservedRecipient | _) => tally.rejected_reserved += 1,
        }
    }
    Ok(())
}
