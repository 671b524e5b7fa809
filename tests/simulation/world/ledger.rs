//! What truly became of each numbered frame, and what its sender was told of it.

use std::collections::{HashMap, HashSet};

use waddell_core::{DropReason, Dropped, HEADER_LEN, Handled, Hello, Notice, PREFIX_LEN, PeerId};

use super::Tag;

/// What truly became of each numbered frame, by client, and what its sender was told of it. It
/// counts the frames by itself at both ends. A broken promise panics.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// By client, and by number.
    frames: HashMap<(usize, u64), Record>,
    /// By client: the number of its next frame.
    next: HashMap<usize, u64>,
    /// By client: no frame up to this one is looked at again.
    checked_upto: HashMap<usize, u64>,
}

#[derive(Debug)]
struct Record {
    trace: Trace,
    /// The recipient that DROPPED names.
    recipient: PeerId,
    tag: Option<Tag>,
    fate: Option<Fate>,
    told: bool,
    /// The client was told that the frame was not handled.
    told_lost: bool,
    /// The client was told that its fate is unknown.
    told_unknown: bool,
}

/// What tells one frame from another at both ends. The server writes the sender's id over the
/// recipient's.
#[derive(Debug, PartialEq, Eq)]
struct Trace {
    len: usize,
    /// The first bytes after the header.
    body: Vec<u8>,
}

impl Trace {
    fn of(frame: &[u8]) -> Self {
        let body = frame.get(PREFIX_LEN + HEADER_LEN..).unwrap_or_default();
        Self { len: frame.len(), body: body[..body.len().min(16)].to_vec() }
    }
}

/// What the server did with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is in its recipient's outbox, or is no message.
    Handled,
    Dropped(DropReason),
}

/// What the client of one connection was told.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Number of the first frame after HELLO.
    first: u64,
    /// The next HANDLED is about former connections.
    owes_former: bool,
    entries: HashSet<u64>,
}

impl Ledger {
    /// Records that a client says HELLO.
    pub(super) fn hello(&mut self, client: usize, hello: &Hello<'_>) -> Told {
        let (first, next) = (hello.first_number, self.next.entry(client).or_insert(1));
        // It also counts the frames of connections without HELLO. It has no token then.
        let may_differ = hello.resume_token.is_none() && *next < first;
        assert!(*next == first || may_differ, "client {client} says {first} instead of {next}");
        *next = first;
        Told { first, owes_former: false, entries: HashSet::new() }
    }

    /// Records a frame that a client sends.
    pub(super) fn sent(&mut self, client: usize, frame: &[u8], tag: Option<Tag>) {
        let next = self.next.entry(client).or_insert(1);
        let record = Record {
            trace: Trace::of(frame),
            recipient: recipient(frame),
            tag,
            fate: None,
            told: false,
            told_lost: false,
            told_unknown: false,
        };
        self.frames.insert((client, *next), record);
        *next += 1;
    }

    /// Records what the server does with the frame that it takes for that number of the client.
    /// Returns the message in it.
    pub(super) fn decided(
        &mut self,
        client: usize,
        number: u64,
        frame: &[u8],
        fate: Fate,
    ) -> Option<Tag> {
        let record = self.frames.get_mut(&(client, number)).expect("the client has sent it");
        assert_eq!(record.trace, Trace::of(frame), "both ends count alike");
        assert_eq!(record.fate.replace(fate), None, "frame {number} of client {client}");
        assert!(!record.told_lost, "frame {number} of client {client} was told as lost");
        record.tag
    }

    /// Returns what became of a frame.
    pub(super) fn fate(&self, client: usize, number: u64) -> Option<Fate> {
        self.frames.get(&(client, number))?.fate
    }

    /// Returns the number of the frame that a client sent last.
    pub(super) fn last(&self, client: usize) -> u64 {
        self.next.get(&client).map_or(0, |next| next - 1)
    }

    /// Records that a client was told that a frame was not handled.
    pub(super) fn told_lost(&mut self, client: usize, number: u64) {
        let record = self.frames.get_mut(&(client, number)).expect("the client has sent it");
        assert_eq!(record.fate, None, "frame {number} of client {client} was handled");
        record.told_lost = true;
    }

    /// Checks a control frame that has arrived. Returns its name for the report.
    pub(super) fn notice(
        &mut self,
        client: usize,
        told: &mut Told,
        notice: &Notice<'_>,
    ) -> &'static str {
        match notice {
            Notice::Welcome(welcome) => {
                told.owes_former = welcome.resumed;
                if !welcome.resumed {
                    self.excuse(client, told.first - 1);
                }
                if welcome.resumed { "welcome_resumed" } else { "welcome" }
            }
            Notice::Dropped(entries) => {
                let mut name = "dropped_told";
                for entry in entries.iter() {
                    self.dropped(client, told, &entry);
                    if entry.reason == DropReason::Various {
                        name = "dropped_summarised";
                    }
                }
                name
            }
            Notice::Handled(handled) => self.handled(client, told, *handled),
            Notice::Closing(closing) => {
                for number in closing.handled + 1..=self.last(client) {
                    self.told_lost(client, number);
                }
                "closing"
            }
            other => panic!("client {client} got {other:?}"),
        }
    }

    fn dropped(&mut self, client: usize, told: &mut Told, entry: &Dropped) {
        let mut dropped = 0;
        for number in entry.first..=entry.last() {
            let record = self.frames.get_mut(&(client, number)).expect("the client has sent it");
            let Some(Fate::Dropped(reason)) = record.fate else {
                assert!(!entry.is_exact(), "frame {number} of client {client} was not dropped");
                continue;
            };
            dropped += 1;
            record.told = true;
            assert!(told.entries.insert(number), "frame {number} is told once on a connection");
            if entry.reason != DropReason::Various {
                assert!(entry.is_exact(), "{entry:?} is a summary");
                let about = (entry.reason, entry.recipient);
                assert_eq!(about, (reason, record.recipient), "frame {number}");
            }
        }
        assert_eq!(dropped, entry.count, "{entry:?} to client {client}");
    }

    fn handled(&mut self, client: usize, told: &mut Told, handled: Handled) -> &'static str {
        let Handled { upto, complete } = handled;
        let is_former = std::mem::take(&mut told.owes_former);
        if is_former {
            for number in upto + 1..told.first {
                self.told_lost(client, number);
            }
        }
        if !complete {
            self.excuse(client, upto);
            return if is_former { "former_unknown" } else { "handled_incomplete" };
        }
        let from = self.checked_upto.get(&client).map_or(1, |upto| upto + 1);
        for number in from..=upto {
            let Some(record) = self.frames.get(&(client, number)) else { continue };
            let is_known = match record.fate {
                Some(Fate::Handled) => true,
                Some(Fate::Dropped(_)) => record.told,
                None => record.told_lost,
            };
            assert!(
                is_known || record.told_unknown,
                "HANDLED up to {upto}, but frame {number} of client {client} is {record:?}"
            );
        }
        self.checked_upto.insert(client, upto.max(from - 1));
        if is_former { "former_handled" } else { "handled" }
    }

    /// Records that a client knows that it does not know of frames up to that number.
    fn excuse(&mut self, client: usize, upto: u64) {
        let from = self.checked_upto.get(&client).map_or(1, |upto| upto + 1);
        for number in from..=upto {
            if let Some(record) = self.frames.get_mut(&(client, number)) {
                record.told_unknown = true;
            }
        }
    }
}

/// Returns the recipient that DROPPED names for a frame.
fn recipient(frame: &[u8]) -> PeerId {
    let payload = frame[PREFIX_LEN..].first_chunk::<HEADER_LEN>();
    let id = payload.and_then(|header| header.first_chunk());
    id.copied().map_or(PeerId::NIL, PeerId::from_bytes)
}
