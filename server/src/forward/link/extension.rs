//! What the extension of the protocol adds to a link: notices, watchers, and a successor.

use std::mem;
use std::sync::Arc;

use waddell_core::{Instant, NotResumed, PeerId, PeerNotice, Session};

use super::{Link, Lost, Pushed};
use crate::forward::fate::DropReason;
use crate::forward::lease::Lease;
use crate::forward::outbox::{Item, Outbox, Unsent};
use crate::forward::transport::socket::WriteHalf;
use crate::forward::watchers::Watchers;
use crate::forward::worker_buffers::WorkerBuffers;

/// What the extension adds to a link. Most links have none, because most peers neither speak the
/// extension nor get messages from peers that do.
#[derive(Debug)]
pub(super) struct Extension<P> {
    /// The peer wants to be told what becomes of other peers.
    takes_notices: bool,
    /// It was not told of a peer, because its outbox had no room.
    pub(super) missed_notice: bool,
    /// It was told that a peer is gone, and its connection has not noted that yet.
    told_gone: bool,
    /// The peers that are to be told what becomes of this one.
    watchers: Watchers,
    /// Set if the peer may resume its id on another connection.
    lease: Option<Lease>,
    successor: Successor<P>,
    /// What the connection before this one has left to it.
    inheritance: Option<Inheritance>,
    /// Frames that were in the outbox when it was dropped.
    lost: Unsent,
}

impl<P> Default for Extension<P> {
    fn default() -> Self {
        Self {
            takes_notices: false,
            missed_notice: false,
            told_gone: false,
            watchers: Watchers::default(),
            lease: None,
            successor: Successor::None,
            inheritance: None,
            lost: Unsent::default(),
        }
    }
}

/// The connection that takes over the id of this one.
#[derive(Debug)]
enum Successor<P> {
    None,
    /// It waits for this one to hand over.
    Waits(Arc<P>),
    /// It has everything.
    Has(Arc<P>),
}

/// What a connection leaves to its successor.
#[derive(Debug)]
pub(crate) struct Inheritance {
    /// `None` if the owner of the connection did not hand it over in time.
    pub(crate) session: Option<Session>,
}

/// What a connection leaves when it ends without a successor.
#[derive(Debug, Default)]
pub(crate) struct Estate {
    pub(crate) lease: Option<Lease>,
    pub(crate) watchers: Watchers,
}

/// A takeover that comes before the end of a connection.
#[derive(Debug)]
pub(crate) enum Succession<P> {
    /// Another connection waits for this one to hand over.
    To(Arc<P>),
    /// Another connection has got everything.
    Done,
    /// Another connection has handed over to this one, whose owner has not noted that yet.
    From,
}

/// News for the owner of a link.
#[derive(Debug)]
pub(crate) struct News<P> {
    /// The peer was told that another is gone.
    pub(crate) told_gone: bool,
    /// The connection that waits to take over the id of this one.
    pub(crate) successor: Option<Arc<P>>,
    /// Another connection has taken over without waiting any longer.
    pub(crate) is_superseded: bool,
}

/// Why a connection cannot take over an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CannotTakeOver {
    /// The connection that has the id is ending: look for it among those that are away.
    Ending,
    Refused(NotResumed),
}

impl<S: WriteHalf, P> Link<S, P> {
    /// Records that the peer wants to be told what becomes of other peers.
    pub(crate) fn take_notices(&mut self) {
        self.extension_mut().takes_notices = true;
    }

    /// Puts a frame about other peers into the outbox, if this peer wants it. `gone` is whether one
    /// of them is gone.
    pub(crate) fn push_notice(
        &mut self,
        frame: &[u8],
        gone: bool,
        buffers: &mut WorkerBuffers,
    ) -> Option<Result<Pushed, DropReason>> {
        let wants = self.extension.as_ref().is_some_and(|extension| extension.takes_notices);
        if !wants || self.closing {
            return None;
        }
        let pushed = self.push_own(frame, buffers.outbox_limit / 2, buffers);
        let extension = self.extension_mut();
        extension.told_gone |= gone;
        extension.missed_notice |= pushed.is_err();
        Some(pushed)
    }

    /// Tells the peer that it was not told of a peer, if that is so and the outbox has room.
    pub(super) fn tell_missed_notice(&mut self, buffers: &mut WorkerBuffers) {
        if self.extension.as_ref().is_none_or(|extension| !extension.missed_notice) {
            return;
        }
        let mut frame = Vec::new();
        PeerNotice::encode_gap(&mut frame);
        if self.push_own(&frame, buffers.outbox_limit / 2, buffers).is_ok() {
            self.extension_mut().missed_notice = false;
            self.write_now(buffers);
        }
    }

    /// Records that a peer has written to this one, and is to be told what becomes of it. Returns
    /// whether it will be: `false` if the connection is ending.
    pub(crate) fn contact(&mut self, from: PeerId) -> bool {
        if !self.closing {
            self.extension_mut().watchers.add_wrote(from);
        }
        !self.closing
    }

    /// Records that a peer asks to be told what becomes of this one. Returns whether it will be:
    /// `false` if the connection is ending.
    pub(crate) fn watch(&mut self, from: PeerId) -> bool {
        if !self.closing {
            self.extension_mut().watchers.add_asked(from);
        }
        !self.closing
    }

    /// Records that a peer is not to be told any more.
    pub(crate) fn unwatch(&mut self, from: PeerId) {
        if let Some(extension) = &mut self.extension {
            extension.watchers.remove(from);
        }
    }

    /// Removes and returns the peers that are to be told what becomes of this one.
    pub(crate) fn take_watchers(&mut self) -> Watchers {
        self.extension.as_mut().map(|it| mem::take(&mut it.watchers)).unwrap_or_default()
    }

    /// Sets what the peer needs to resume its id on another connection; `None` if it cannot.
    pub(crate) fn set_lease(&mut self, lease: Option<Lease>) {
        self.extension_mut().lease = lease;
    }

    /// Returns whether the peer may resume its id on another connection.
    pub(crate) fn has_lease(&self) -> bool {
        self.extension.as_ref().is_some_and(|extension| extension.lease.is_some())
    }

    /// Takes over what a peer that was away has left.
    pub(crate) fn inherit(&mut self, lease: Lease, watchers: &Watchers) {
        let extension = self.extension_mut();
        extension.lease = Some(lease);
        extension.watchers = watchers.clone();
    }

    /// Returns whether another connection waits to take over the id of this one.
    pub(crate) fn has_successor(&self) -> bool {
        self.extension.as_ref().is_some_and(|it| !matches!(it.successor, Successor::None))
    }

    /// Drops further frames. Returns what the connection leaves.
    ///
    /// # Errors
    ///
    /// [`Succession`] if there is a takeover. Then the link is as it was.
    pub(crate) fn close_for_good(&mut self) -> Result<Estate, Succession<P>> {
        if let Some(extension) = &self.extension {
            if extension.inheritance.is_some() {
                return Err(Succession::From);
            }
            match &extension.successor {
                Successor::Waits(peer) => return Err(Succession::To(Arc::clone(peer))),
                Successor::Has(_) => return Err(Succession::Done),
                Successor::None => {}
            }
        }
        Ok(self.close())
    }

    fn close(&mut self) -> Estate {
        self.closing = true;
        let Some(extension) = &mut self.extension else { return Estate::default() };
        Estate { lease: extension.lease.take(), watchers: mem::take(&mut extension.watchers) }
    }

    /// Returns the news since the last call.
    pub(crate) fn take_news(&mut self) -> News<P> {
        let Some(extension) = &mut self.extension else {
            return News { told_gone: false, successor: None, is_superseded: false };
        };
        let (successor, is_superseded) = match &extension.successor {
            Successor::None => (None, false),
            Successor::Waits(peer) => (Some(Arc::clone(peer)), false),
            Successor::Has(_) => (None, true),
        };
        News { told_gone: mem::take(&mut extension.told_gone), successor, is_superseded }
    }

    /// Asks the owner to hand over to `successor`, whose resume token has that generation. Returns
    /// the generation of its next token.
    pub(crate) fn request_takeover(
        &mut self,
        generation: u32,
        successor: &Arc<P>,
        now: Instant,
    ) -> Result<u32, CannotTakeOver> {
        if self.has_successor() {
            return Err(CannotTakeOver::Refused(NotResumed::Contested));
        }
        if self.closing {
            return Err(CannotTakeOver::Ending);
        }
        let extension = self.extension.get_or_insert_default();
        let lease = extension.lease.get_or_insert_with(|| Lease::new(generation));
        let next = lease.take_over(generation, now).map_err(CannotTakeOver::Refused)?;
        extension.successor = Successor::Waits(Arc::clone(successor));
        self.wake_owner();
        Ok(next)
    }

    /// Returns the peer that has taken over the id, and whose outbox takes its frames.
    pub(crate) fn moved_to(&self) -> Option<Arc<P>> {
        match &self.extension.as_ref()?.successor {
            Successor::Has(peer) => Some(Arc::clone(peer)),
            Successor::None | Successor::Waits(_) => None,
        }
    }

    /// Removes and returns what the connection before this one has left to it.
    pub(crate) fn take_inheritance(&mut self) -> Option<Inheritance> {
        self.extension.as_mut()?.inheritance.take()
    }

    /// Hands everything over to the successor that waits: the frames that have not left, those that
    /// are to be told, the lease, and what `session` returns. From here on this link drops frames.
    ///
    /// Returns whether it did. If not, there is no successor any more, or it has everything.
    pub(crate) fn hand_over(
        &mut self,
        to: &mut Self,
        session: impl FnOnce() -> Option<Session>,
        buffers: &mut WorkerBuffers,
    ) -> Option<Pushed> {
        let extension = self.extension.as_mut()?;
        let Successor::Waits(successor) = &extension.successor else { return None };
        if to.closing {
            extension.successor = Successor::None;
            return None;
        }
        extension.successor = Successor::Has(Arc::clone(successor));
        let mut estate = self.close();
        let mut lost = Unsent::default();
        let mut missed_notice = false;
        for frame in self.outbox.unsent_frames() {
            if Outbox::is_own(frame) {
                // What they say is said again, or is about this connection. Only notices are not.
                missed_notice = true;
            } else if to.append(Item::Own(frame), buffers).is_err() {
                lost.add_frame(frame);
            }
        }
        let heir = to.extension_mut();
        heir.lease = estate.lease.take();
        heir.watchers = estate.watchers;
        heir.missed_notice |= missed_notice;
        heir.inheritance = Some(Inheritance { session: session() });
        let pushed = to.queue();
        to.wake_owner();
        // The rest of a frame that has left in part is of no use, and nothing can follow it.
        let is_mid_frame = self.outbox.is_mid_frame();
        self.outbox.clear(&mut buffers.pool);
        self.extension_mut().lost.merge(lost);
        if is_mid_frame {
            self.end(Lost::Broken, buffers);
        }
        Some(pushed)
    }

    /// Adds the frames in the outbox, which is about to be dropped, to those that are lost.
    pub(super) fn note_lost(&mut self) {
        let unsent = self.outbox.unsent();
        if !unsent.is_empty() {
            self.extension_mut().lost.merge(unsent);
        }
    }

    /// Removes a frame from those that are lost, because its sender learns of it otherwise.
    pub(super) fn forget_lost(&mut self, frame: &[u8]) {
        if let Some(extension) = &mut self.extension {
            extension.lost.remove_frame(frame);
        }
    }

    /// Removes and returns the frames that were in the outbox when it was dropped.
    pub(crate) fn take_lost(&mut self) -> Unsent {
        self.extension.as_mut().map(|it| mem::take(&mut it.lost)).unwrap_or_default()
    }

    fn extension_mut(&mut self) -> &mut Extension<P> {
        self.extension.get_or_insert_default()
    }
}
