//! The peers that have lost their connection and may come back under the same id.

use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasherDefault;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use waddell_core::{Instant, NotResumed, PeerId, PeerState, Session};

use crate::forward::lease::Lease;
use crate::forward::link::extension::Estate;
use crate::forward::watchers::Watchers;
use crate::ids::IdHasher;

/// The peers that have lost their connection and may come back under the same id.
///
/// ```text
///   lost connection --- 1 s ---> watchers are told "away" --- away time ---> told "gone", removed
///          \________________________/
///            resumed: those that were told "away" are told "here"
/// ```
///
/// Its lock may be held while a link is locked, and is never taken while one is.
#[derive(Debug)]
pub(crate) struct Away {
    peers: Mutex<Peers>,
    /// Whether there may be such peers. If not, a look-up costs one load.
    any: AtomicBool,
    /// Notified when the first deadline changes.
    changed: Notify,
    /// Until then, a peer that is not known may still come back: it has a token of the server's
    /// process before.
    unknown_until: Option<Instant>,
}

#[derive(Debug, Default)]
struct Peers {
    by_id: HashMap<PeerId, Absence, BuildHasherDefault<IdHasher>>,
    /// When each is to be looked at.
    due: BTreeSet<(Instant, PeerId)>,
    /// When each is gone.
    gone: BTreeSet<(Instant, PeerId)>,
    /// How many bytes they hold, roughly.
    memory: usize,
}

/// A peer that is away.
#[derive(Debug)]
pub(crate) struct Absence {
    /// `None` if its connection was with the server's process before.
    lease: Option<Lease>,
    session: Option<Session>,
    watchers: Watchers,
    /// Those that know that it is away.
    told: Vec<PeerId>,
    gone_at: Instant,
    /// When it is to be looked at.
    due: Instant,
    memory: usize,
}

/// What a peer leaves that has come back.
#[derive(Debug)]
pub(crate) struct Return {
    /// Its lease, in the generation of its next token; `None` if none was known.
    pub(crate) lease: Option<Lease>,
    pub(crate) session: Option<Session>,
    pub(crate) watchers: Watchers,
    /// Those that know that it was away.
    pub(crate) told: Vec<PeerId>,
}

/// Something to tell about a peer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tidings {
    pub(crate) id: PeerId,
    pub(crate) state: PeerState,
    pub(crate) to: Vec<PeerId>,
    /// The peers that it had asked about, if it is gone.
    pub(crate) watched: Vec<PeerId>,
}

impl Away {
    /// Makes an empty set. Until `unknown_until`, unknown peers may come back.
    pub(crate) fn new(unknown_until: Option<Instant>) -> Self {
        Self {
            peers: Mutex::default(),
            any: AtomicBool::new(unknown_until.is_some()),
            changed: Notify::new(),
            unknown_until,
        }
    }

    /// Adds a peer whose connection is lost. `close` closes its link, and returns what it leaves,
    /// so that every sender finds the peer either there or here. Returns what is to be told about
    /// peers that had to make room.
    ///
    /// # Errors
    ///
    /// That of `close`, after which the peer is not added.
    pub(crate) fn add<E>(
        &self,
        id: PeerId,
        now: Instant,
        away_time: Duration,
        close: impl FnOnce() -> Result<(Estate, Option<Session>), E>,
    ) -> Result<Vec<Tidings>, E> {
        let mut peers = self.lock();
        let (Estate { lease, watchers }, session) = close()?;
        let due = now + TELL_AFTER.min(away_time);
        let absence = Absence {
            lease,
            session,
            watchers,
            told: Vec::new(),
            gone_at: now + away_time,
            due,
            memory: 0,
        };
        peers.insert(id, absence);
        self.any.store(true, Relaxed);
        let tidings = peers.make_room();
        drop(peers);
        self.changed.notify_one();
        Ok(tidings)
    }

    /// Returns whether the peer is away. `from` writes to it, and is told when it comes back or is
    /// gone, if there is memory for that; `None` if it does not want that.
    pub(crate) fn contact(&self, id: PeerId, from: Option<PeerId>, now: Instant) -> bool {
        match from {
            Some(from) => self.meet(id, now, |absence| {
                absence.watchers.add_wrote(from);
                absence.note_told(from);
            }),
            None => {
                self.any.load(Relaxed)
                    && (self.unknown_until.is_some_and(|until| now < until)
                        || self.lock().by_id.contains_key(&id))
            }
        }
    }

    /// Returns whether the peer is away. `from` asks about it, and is told when that changes, if
    /// there is memory for that.
    pub(crate) fn watch(&self, id: PeerId, from: PeerId, now: Instant) -> bool {
        self.meet(id, now, |absence| {
            absence.watchers.add_asked(from);
            absence.note_told(from);
        })
    }

    /// Records that a peer does not ask any more.
    pub(crate) fn unwatch(&self, id: PeerId, from: PeerId) {
        if self.any.load(Relaxed)
            && let Some(absence) = self.lock().by_id.get_mut(&id)
        {
            absence.watchers.remove(from);
        }
    }

    /// Removes a peer that comes back with a token of that generation; `None` if it is not here.
    /// `list` lists it among the connected ones, so that every sender finds it either there or
    /// here.
    pub(crate) fn take(
        &self,
        id: PeerId,
        generation: u32,
        list: impl FnOnce(&Return),
    ) -> Option<Result<Return, NotResumed>> {
        if !self.any.load(Relaxed) {
            return None;
        }
        let mut peers = self.lock();
        let absence = peers.by_id.get_mut(&id)?;
        if let Some(lease) = &mut absence.lease
            && let Err(refusal) = lease.resume(generation)
        {
            return Some(Err(refusal));
        }
        let Absence { lease, session, watchers, told, .. } = peers.remove(id)?;
        let returned = Return { lease, session, watchers, told };
        list(&returned);
        Some(Ok(returned))
    }

    /// Waits until something is to be told.
    pub(crate) async fn due(&self, sleep_until: impl AsyncFn(Instant)) {
        loop {
            let first = self.lock().due.first().map(|(at, _)| *at);
            let changed = self.changed.notified();
            match first {
                Some(at) => tokio::select! {
                    () = sleep_until(at) => return,
                    () = changed => {}
                },
                None => changed.await,
            }
        }
    }

    /// Returns what is to be told by now.
    pub(crate) fn take_due(&self, now: Instant) -> Vec<Tidings> {
        let mut peers = self.lock();
        let mut tidings = Vec::new();
        while let Some(&(at, id)) = peers.due.first()
            && at <= now
        {
            tidings.extend(peers.look(id, now));
        }
        // To know who was told takes memory too.
        tidings.extend(peers.make_room());
        let may_be_any = !peers.by_id.is_empty() || self.unknown_until.is_some_and(|it| now < it);
        self.any.store(may_be_any, Relaxed);
        tidings
    }

    /// Returns how many peers are away.
    pub(crate) fn len(&self) -> usize {
        self.lock().by_id.len()
    }

    /// Calls `meet` with the peer if it is away. Returns whether it is.
    fn meet(&self, id: PeerId, now: Instant, meet: impl FnOnce(&mut Absence)) -> bool {
        if !self.any.load(Relaxed) {
            return false;
        }
        let mut peers = self.lock();
        if !peers.by_id.contains_key(&id) {
            let Some(until) = self.unknown_until.filter(|until| now < *until) else { return false };
            // Without memory for it, those that ask are not told when it comes back.
            if peers.by_id.len() < MAX_PEERS / 2 {
                peers.insert(id, Absence::unknown(until));
                self.changed.notify_one();
            } else {
                return true;
            }
        }
        if peers.memory >= MAX_MEMORY {
            return true;
        }
        if let Some(absence) = peers.by_id.get_mut(&id) {
            let before = absence.memory();
            meet(absence);
            let after = absence.memory();
            absence.memory = after;
            peers.memory = peers.memory - before + after;
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peers {
    fn insert(&mut self, id: PeerId, mut absence: Absence) {
        self.remove(id);
        absence.memory = absence.memory();
        self.memory += absence.memory;
        self.due.insert((absence.due, id));
        self.gone.insert((absence.gone_at, id));
        self.by_id.insert(id, absence);
    }

    fn remove(&mut self, id: PeerId) -> Option<Absence> {
        let absence = self.by_id.remove(&id)?;
        self.due.remove(&(absence.due, id));
        self.gone.remove(&(absence.gone_at, id));
        self.memory -= absence.memory;
        Some(absence)
    }

    /// Removes the peers that are gone soonest, as long as there are too many.
    fn make_room(&mut self) -> Vec<Tidings> {
        let mut tidings = Vec::new();
        while self.by_id.len() > MAX_PEERS || self.memory > MAX_MEMORY {
            let Some(&(_, id)) = self.gone.first() else { break };
            let Some(absence) = self.remove(id) else { break };
            tidings.push(absence.gone(id));
        }
        tidings
    }

    /// Looks at a peer whose time has come.
    fn look(&mut self, id: PeerId, now: Instant) -> Option<Tidings> {
        let mut absence = self.remove(id)?;
        if absence.gone_at <= now {
            return Some(absence.gone(id));
        }
        let told = mem::take(&mut absence.told);
        absence.told = absence.watchers.iter().collect();
        let to = absence.told.iter().copied().filter(|watcher| !told.contains(watcher)).collect();
        absence.due = absence.gone_at;
        self.insert(id, absence);
        Some(Tidings { id, state: PeerState::Away, to, watched: Vec::new() })
    }
}

impl Absence {
    /// Makes the absence of a peer of which nothing is known.
    fn unknown(until: Instant) -> Self {
        Self {
            lease: None,
            session: None,
            watchers: Watchers::default(),
            told: Vec::new(),
            gone_at: until,
            due: until,
            memory: 0,
        }
    }

    fn note_told(&mut self, id: PeerId) {
        if !self.told.contains(&id) {
            if self.told.len() == Watchers::MAX {
                self.told.remove(0);
            }
            self.told.push(id);
        }
    }

    fn gone(self, id: PeerId) -> Tidings {
        let watched = self.session.map_or(Vec::new(), |session| session.watched().to_vec());
        Tidings { id, state: PeerState::Gone, to: self.watchers.iter().collect(), watched }
    }

    fn memory(&self) -> usize {
        let ids = self.watchers.iter().count() + self.told.len();
        size_of::<Self>() + ids * PeerId::LEN + self.session.as_ref().map_or(0, Session::memory)
    }
}

/// Time from a lost connection to the notice of it. Most clients are back before.
const TELL_AFTER: Duration = Duration::from_secs(1);

/// Most peers that are away.
const MAX_PEERS: usize = 16_384;

/// Most memory that they hold, in bytes.
const MAX_MEMORY: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const AWAY_TIME: Duration = Duration::from_secs(30);

    fn at(millis: u64) -> Instant {
        Instant::since_epoch(Duration::from_millis(millis))
    }

    fn id(number: usize) -> PeerId {
        PeerId::from_bytes((number as u128 + 1).to_le_bytes())
    }

    fn take(away: &Away, generation: u32) -> Option<Result<Return, NotResumed>> {
        away.take(id(1), generation, |_| {})
    }

    fn add(away: &Away, id: PeerId, now: Instant, estate: Estate) -> Vec<Tidings> {
        let close = || Ok::<_, Infallible>((estate, None));
        let Ok(tidings) = away.add(id, now, AWAY_TIME, close);
        tidings
    }

    fn estate(watchers: &[PeerId]) -> Estate {
        let mut estate = Estate { lease: Some(Lease::new(0)), ..Estate::default() };
        watchers.iter().for_each(|watcher| estate.watchers.add_wrote(*watcher));
        estate
    }

    fn tidings(state: PeerState, to: &[PeerId]) -> Tidings {
        Tidings { id: id(1), state, to: to.to_vec(), watched: vec![] }
    }

    #[test]
    fn watchers_are_told_away_after_a_second_and_gone_after_the_away_time() {
        let away = Away::new(None);
        assert_eq!(add(&away, id(1), at(0), estate(&[id(2)])), []);
        assert_eq!(away.take_due(at(999)), []);
        assert_eq!(away.take_due(at(1_000)), [tidings(PeerState::Away, &[id(2)])]);
        assert!(away.contact(id(1), Some(id(3)), at(2_000)));
        assert_eq!(away.take_due(at(29_999)), []);
        assert_eq!(away.take_due(at(30_000)), [tidings(PeerState::Gone, &[id(2), id(3)])]);
        assert!(!away.contact(id(1), Some(id(3)), at(30_000)));
        assert_eq!(away.len(), 0);
        assert_eq!(away.lock().memory, 0);
    }

    #[test]
    fn only_those_that_were_told_away_are_told_here() {
        let away = Away::new(None);
        add(&away, id(1), at(0), estate(&[id(2)]));
        // It is told by its verdict, so not once more.
        assert!(away.contact(id(1), Some(id(3)), at(500)));
        let returned = take(&away, 0).unwrap().unwrap();
        assert_eq!(returned.told, [id(3)]);
        assert!(returned.watchers.iter().eq([id(2), id(3)]));

        add(&away, id(1), at(0), estate(&[id(2)]));
        assert!(away.contact(id(1), Some(id(3)), at(500)));
        assert_eq!(away.take_due(at(1_000)), [tidings(PeerState::Away, &[id(2)])]);
        assert_eq!(take(&away, 0).unwrap().unwrap().told, [id(2), id(3)]);
        assert_eq!(away.take_due(at(60_000)), []);
    }

    #[test]
    fn a_stale_token_leaves_the_peer_away() {
        let away = Away::new(None);
        add(&away, id(1), at(0), estate(&[]));
        assert!(matches!(take(&away, 5), Some(Err(NotResumed::Stale))));
        let lease = take(&away, 0).unwrap().unwrap().lease;
        let mut expected = Lease::new(0);
        expected.resume(0).unwrap();
        assert_eq!(lease, Some(expected));
        assert!(take(&away, 0).is_none());
    }

    #[test]
    fn too_many_are_bounded_by_number_and_memory() {
        let away = Away::new(None);
        let crowd: Vec<_> = (0..256).map(|number| id(100_000 + number)).collect();
        let crowd = estate(&crowd).watchers;
        let mut gone = 0;
        for number in 0..2 * MAX_PEERS {
            let watchers = if number < 8_000 { crowd.clone() } else { Watchers::default() };
            let estate = Estate { lease: None, watchers };
            let tidings = add(&away, id(number), at(number as u64), estate);
            gone += tidings.len();
            assert!(tidings.iter().all(|it| it.state == PeerState::Gone));
            assert!(away.lock().memory <= MAX_MEMORY);
        }
        assert!(away.len() <= MAX_PEERS);
        assert_eq!(away.len() + gone, 2 * MAX_PEERS);
        let peers = away.lock();
        assert_eq!((peers.due.len(), peers.gone.len()), (peers.by_id.len(), peers.by_id.len()));
    }

    #[test]
    fn those_that_write_to_peers_that_are_away_cost_bounded_memory() {
        let away = Away::new(None);
        let crowd: Vec<_> = (0..Watchers::MAX).map(|number| id(100_000 + number)).collect();
        for number in 0..4_000 {
            let now = Instant::since_epoch(Duration::from_micros(number as u64));
            add(&away, id(number), now, estate(&crowd));
        }
        let before = away.len();
        for number in 4_000 - before..4_000 {
            for writer in 0..4 {
                assert!(away.contact(id(number), Some(id(200_000 + writer)), at(1)));
                assert!(away.watch(id(number), id(300_000 + writer), at(1)));
            }
        }
        assert!(away.lock().memory <= MAX_MEMORY + Watchers::MAX * 2 * PeerId::LEN);
        // Those that make room then are told gone, the others away.
        let tidings = away.take_due(at(1_004));
        assert!(away.len() < before);
        assert!(away.lock().memory <= MAX_MEMORY);
        assert_eq!(tidings.len(), before + before - away.len());
    }

    #[test]
    fn after_a_restart_unknown_peers_may_come_back_for_a_while() {
        let away = Away::new(Some(at(30_000)));
        assert!(away.contact(id(1), Some(id(2)), at(10)));
        assert!(away.contact(id(3), None, at(10)));
        let returned = take(&away, 9).unwrap().unwrap();
        assert_eq!((returned.lease, returned.told), (None, vec![id(2)]));
        assert!(away.contact(id(1), Some(id(2)), at(20)));
        let mut gone = away.take_due(at(30_000));
        gone.retain(|tidings| !tidings.to.is_empty());
        assert_eq!(gone, [tidings(PeerState::Gone, &[id(2)])]);
        assert!(!away.contact(id(1), Some(id(2)), at(30_000)));
    }
}
