//! New ids and new resume tokens for a client that stays connected.

use std::mem;
use std::rc::Rc;
use std::sync::Arc;

use waddell_core::{Capabilities, Notice, PeerId, PeerState};

use super::Connection;
use super::end::End;
use crate::forward::away::Tidings;
use crate::forward::extension::{self, Offer};
use crate::forward::lease::Lease;
use crate::forward::read_counts::ReadCounts;
use crate::ids::{self, Short};
use crate::resume::token::TOKEN_LEN;

impl Connection {
    /// Answers RENEW: gives the client a new id, unless it has had too many. Then handles the
    /// frames after it, which bear the new id.
    pub(super) fn answer_renew(&mut self, counts: &mut ReadCounts) -> Result<(), End> {
        counts.control();
        if !self.renew() {
            self.refuse_renewal();
        }
        self.release(counts)
    }

    /// Tells the client that it gets no new id, if that is so: one answer to all its requests since
    /// the last.
    pub(super) fn tell_refusal(&mut self) {
        if let Some(extended) = &mut self.inbound.extended
            && mem::take(&mut extended.owes_refusal)
        {
            self.refuse_renewal();
        }
    }

    fn refuse_renewal(&self) {
        self.send_own(&Notice::Renewed { id: self.io.id(), resume_token: None });
    }

    /// Gives the client a new id. Returns whether it did.
    fn renew(&mut self) -> bool {
        let worker = Rc::clone(&self.io.worker);
        let peer = Arc::clone(self.io.peer());
        let (old, new) = (self.io.id(), ids::mint());
        let resumes = self.granted().contains(Capabilities::RESUME);
        let token = self.token_for(new, 0);
        let renewed = Notice::Renewed { id: new, resume_token: resumes.then_some(&token) };
        let mut frame = Vec::new();
        renewed.encode(&mut frame);
        let mut link = peer.link();
        // An id that another connection takes over is not given up. While the link is locked, none
        // asks for it, and no sender gets to it by its new id before RENEWED.
        if link.has_successor() || self.io.registration.claim(new, None).is_err() {
            return false;
        }
        worker.with_buffers(|buffers| link.push_first(&frame, buffers));
        let watchers = link.take_watchers();
        if resumes {
            link.set_lease(Some(Lease::new(0)));
        }
        drop(link);
        worker.flush_soon(&peer);
        self.inbound.state.rename(new);
        if resumes {
            self.set_tokens(0);
        }
        worker.shared.metrics.ids_renewed.increment();
        tracing::debug!(peer = %Short(old), id = %Short(new), "renewed");
        let watched = self.inbound.state.watched().to_vec();
        for id in &watched {
            if let Some(peer) = worker.shared.registry.get(*id) {
                peer.link().watch(new);
            } else {
                worker.shared.away.watch(*id, new, self.io.now());
            }
        }
        let to = watchers.iter().collect();
        worker.spread(&[Tidings { id: old, state: PeerState::Gone, to, watched }]);
        true
    }

    /// Sends the resume token that is due.
    pub(super) fn send_token(&mut self) {
        let generation = self.inbound.extended.as_ref().map_or(0, |extended| extended.generation);
        let token = self.token_for(self.inbound.state.id(), generation);
        // Without room, the client does not read, and the next one comes later.
        self.send_own(&Notice::Token(&token));
        self.set_tokens(generation);
    }

    /// Records the generation of the client's resume tokens, one of which was just sent.
    pub(super) fn set_tokens(&mut self, generation: u32) {
        let window = self.io.worker.config().extension.resume_window;
        let interval = extension::token_interval(self.inbound.state.id(), window);
        let due = self.io.now().checked_add(interval);
        self.inbound.set_tokens(generation, due.filter(|_| !window.is_zero()));
    }

    fn token_for(&self, id: PeerId, generation: u32) -> [u8; TOKEN_LEN] {
        Offer::new(&self.io.worker).issue(id, generation)
    }

    fn send_own(&self, notice: &Notice<'_>) {
        let worker = &self.io.worker;
        worker.with_notice(|frame| {
            notice.encode(frame);
            worker.send_own(self.io.peer(), frame)
        });
    }

    fn granted(&self) -> Capabilities {
        self.inbound.state.granted().unwrap_or(Capabilities::NONE)
    }
}
