//! Answers HELLO: gives the client its id of before, if its resume token is good.

use std::rc::Rc;
use std::sync::Arc;

use waddell_core::{
    Capabilities, Hello, Instant, NotResumed, PeerId, PeerState, Rejected, Session,
};

use super::Connection;
use super::end::End;
use super::extended::Takeover;
use crate::forward::away::{Return, Tidings};
use crate::forward::extension::{Granted, Offer};
use crate::forward::lease::Lease;
use crate::forward::link::extension::CannotTakeOver;
use crate::forward::peer::Peer;
use crate::forward::read_counts::ReadCounts;
use crate::forward::takeover::TAKEOVER_TIMEOUT;
use crate::ids::Short;
use crate::labels::{HelloResult, ResumeResult};
use crate::resume::token::Claims;

/// What a resume token has brought.
enum Resumption {
    /// Nothing: HELLO has none, or it is not good. WELCOME is still to be sent.
    No(Option<NotResumed>),
    /// Its id, which was away. The client has got WELCOME.
    Away { session: Option<Session>, told: Vec<PeerId> },
    /// Its id, of which nothing was known. The client has got WELCOME.
    Unknown,
    /// Its id, which another connection hands over. The client has got WELCOME.
    TakesOver(Arc<Peer>),
}

impl Connection {
    /// Answers HELLO. Then handles the frames after it, unless an earlier connection of the client
    /// has to hand over first.
    pub(super) fn answer_hello(
        &mut self,
        hello: &Hello<'_>,
        counts: &mut ReadCounts,
    ) -> Result<(), End> {
        let worker = &self.io.worker;
        let offer = Offer::new(worker);
        if !offer.config.extension.enabled {
            worker.shared.metrics.hello(HelloResult::Off);
            counts.rejected(Rejected::ReservedRecipient);
            return self.release(counts);
        }
        worker.shared.metrics.hello(HelloResult::Welcomed);
        worker.shared.metrics.peer_extended();
        counts.control();
        let granted = offer.granted(hello);
        if granted.contains(Capabilities::ICE) {
            worker.shared.metrics.ice_issued.increment();
        }
        let resumption = self.resume(hello, &offer, counts.read_at);
        if let Resumption::No(reason) = resumption {
            let generation = 0;
            let client = Granted { id: self.io.id(), generation, resumed: false, reason };
            let frame = offer.welcome(hello, &client, self.io.peer().transport());
            self.send_first(&frame);
        }
        let peer = Arc::clone(self.io.peer());
        if granted.contains(Capabilities::PEERS) {
            peer.link().take_notices();
        }
        self.inbound.state.extend(hello, granted);
        let resumed = match resumption {
            Resumption::No(_) => {
                if granted.contains(Capabilities::RESUME) {
                    peer.link().set_lease(Some(Lease::new(0)));
                    self.set_tokens(0);
                }
                false
            }
            Resumption::Away { session, told } => {
                self.inbound.state.resume(session);
                let (id, state) = (self.io.id(), PeerState::Here);
                self.io.worker.spread(&[Tidings { id, state, to: told, watched: Vec::new() }]);
                true
            }
            Resumption::Unknown => {
                self.inbound.state.resume(None);
                true
            }
            Resumption::TakesOver(from) => {
                let deadline = counts.read_at + TAKEOVER_TIMEOUT;
                self.inbound.wait_for(Takeover { from, deadline });
                true
            }
        };
        let (peer, agent) = (Short(self.inbound.state.id()), hello.agent);
        tracing::debug!(%peer, agent, resumed, "said HELLO");
        if self.inbound.takeover().is_some() { Ok(()) } else { self.release(counts) }
    }

    /// Gives the client its id of before. It gets WELCOME before anything that is sent to that id.
    fn resume(&mut self, hello: &Hello<'_>, offer: &Offer, now: Instant) -> Resumption {
        let Some(token) = hello.resume_token else { return Resumption::No(None) };
        let resumption = match offer.verify(token) {
            Ok(claims) => self.come_back(claims, hello, offer, now),
            Err(reason) => Resumption::No(Some(reason)),
        };
        let result = match &resumption {
            Resumption::No(None) => return resumption,
            Resumption::No(Some(reason)) => ResumeResult::from(*reason),
            Resumption::Away { .. } => ResumeResult::Away,
            Resumption::Unknown => ResumeResult::Unknown,
            Resumption::TakesOver(_) => ResumeResult::TakenOver,
        };
        self.io.worker.shared.metrics.resume(result);
        resumption
    }

    fn come_back(
        &mut self,
        claims: Claims,
        hello: &Hello<'_>,
        offer: &Offer,
        now: Instant,
    ) -> Resumption {
        let Claims { id, generation, .. } = claims;
        let worker = Rc::clone(&self.io.worker);
        let shared = &worker.shared;
        let peer = Arc::clone(self.io.peer());
        let welcome = |generation| {
            let client = Granted { id, generation, resumed: true, reason: None };
            offer.welcome(hello, &client, peer.transport())
        };
        // Once more if the id is listed in between.
        for _ in 0..3 {
            let mut ending = None;
            if let Some(from) = shared.registry.get(id) {
                let asked = from.link().request_takeover(generation, &peer, now);
                match asked {
                    Ok(next) => {
                        let frame = welcome(next);
                        self.send_first(&frame);
                        self.inbound.state.rename(id);
                        self.set_tokens(next);
                        return Resumption::TakesOver(from);
                    }
                    Err(CannotTakeOver::Refused(reason)) => return Resumption::No(Some(reason)),
                    Err(CannotTakeOver::Ending) => ending = Some(from),
                }
            }
            let mut next = generation.wrapping_add(1);
            let taken = shared.away.take(id, generation, |returned| {
                next = returned.lease.map_or(next, |lease| lease.generation());
                let frame = welcome(next);
                let mut link = peer.link();
                link.inherit(returned.lease.unwrap_or(Lease::new(next)), &returned.watchers);
                worker.with_buffers(|buffers| link.push_first(&frame, buffers));
                self.io.registration.take_over(id);
            });
            let resumption = match taken {
                Some(Err(reason)) => return Resumption::No(Some(reason)),
                Some(Ok(Return { session, told, .. })) => Resumption::Away { session, told },
                None => {
                    let frame = welcome(next);
                    // While the link is locked, no sender gets to it before WELCOME.
                    let mut link = peer.link();
                    if self.io.registration.claim(id, ending.as_ref()).is_err() {
                        continue;
                    }
                    link.set_lease(Some(Lease::new(next)));
                    worker.with_buffers(|buffers| link.push_first(&frame, buffers));
                    Resumption::Unknown
                }
            };
            worker.flush_soon(&peer);
            self.inbound.state.rename(id);
            self.set_tokens(next);
            return resumption;
        }
        Resumption::No(Some(NotResumed::Contested))
    }

    /// Puts WELCOME into the outbox.
    fn send_first(&self, frame: &[u8]) {
        let (worker, peer) = (&self.io.worker, self.io.peer());
        worker.with_buffers(|buffers| peer.link().push_first(frame, buffers));
        worker.flush_soon(peer);
    }
}
