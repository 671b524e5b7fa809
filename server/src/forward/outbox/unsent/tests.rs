//! Outboxes that are filled and written in part, against a plain reading of the stream.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use waddell_core::TopicId;

use super::*;
use crate::forward::buffer_pool::BufferPool;
use crate::forward::outbox::{Framing, Item};

const FRAMINGS: [Framing; 2] = [Framing::Raw, Framing::WebSocket];

const OWN_ID: PeerId = PeerId::from_random([0xff; 16]);

/// Something that happens to an outbox.
#[derive(Clone, Debug)]
enum Step {
    /// A peer sends a message, with a body of that length.
    Frame { from: u8, len: usize },
    /// The server sends control frames, with bodies of these lengths.
    Own(Vec<usize>),
    /// The server sends a WebSocket ping with a payload of that length.
    Ping(u8),
    /// The socket takes that many bytes.
    Write(usize),
}

/// An outbox, and what went in and out.
struct World {
    outbox: Outbox,
    framing: Framing,
    limit: usize,
    pool: BufferPool,
    pushed: Vec<Vec<u8>>,
    written: Vec<u8>,
}

impl World {
    fn new(framing: Framing, limit: usize) -> Self {
        let mut world = Self {
            outbox: Outbox::new(framing),
            framing,
            limit,
            pool: BufferPool::default(),
            pushed: Vec::new(),
            written: Vec::new(),
        };
        world.push_own(vec![frame(OWN_ID, TopicId(0), 0)]);
        world
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Frame { from, len } => self.push(frame(peer(*from), TopicId(1), *len)),
            Step::Own(lens) => {
                let control = |&len: &usize| frame(PeerId::NIL, TopicId::CONTROL, len);
                self.push_own(lens.iter().map(control).collect());
            }
            Step::Ping(len) if self.framing == Framing::WebSocket => {
                let ping = [vec![0x89, *len], vec![7; usize::from(*len)]].concat();
                self.outbox.push(Item::Control(&ping), 0, &mut self.pool, None).unwrap();
            }
            Step::Ping(_) => {}
            Step::Write(len) => self.write(*len),
        }
    }

    /// Pushes a frame, unless there is no room for it.
    fn push(&mut self, frame: Vec<u8>) {
        let item = Item::Frame(&frame);
        if self.outbox.push(item, self.limit, &mut self.pool, None).is_ok() {
            self.pushed.push(frame);
        }
    }

    fn push_own(&mut self, frames: Vec<Vec<u8>>) {
        let item = Item::Own(&frames.concat());
        self.outbox.push(item, self.limit, &mut self.pool, None).unwrap();
        self.pushed.extend(frames);
    }

    fn write(&mut self, len: usize) {
        let bytes = self.outbox.sealed();
        let len = len.min(bytes.len());
        self.written.extend_from_slice(&bytes[..len]);
        self.outbox.advance(len, &mut self.pool);
    }

    /// Checks the frames that have not left against the stream: what is written, and what would be.
    fn check(&mut self) {
        let before: Vec<Vec<u8>> = self.outbox.unsent_frames().map(<[u8]>::to_vec).collect();
        let unsent = self.outbox.unsent();
        let stream = [&self.written, self.outbox.sealed()].concat();
        let frames = match self.framing {
            Framing::Raw => frames(&stream, 0..stream.len()),
            Framing::WebSocket => messages(&stream),
        };
        let carried: Vec<_> = frames.iter().map(|frame| &stream[frame.clone()]).collect();
        assert!(carried == self.pushed, "the stream carries what was pushed");

        let left = frames.iter().take_while(|frame| frame.end <= self.written.len()).count();
        let expected = &self.pushed[left.max(1)..];
        assert!(before == expected, "before the last message is sealed");
        assert!(self.outbox.unsent_frames().eq(expected), "after the last message is sealed");

        let from = |sender: PeerId| {
            expected.iter().filter(|frame| frame[2..18] == *sender.as_bytes()).count() as u32
        };
        let mut counts: Vec<_> = unsent.counts().collect();
        counts.sort_unstable();
        let peers = (0..=u8::MAX).map(|n| (peer(n), from(peer(n))));
        let mut expected: Vec<_> = peers.filter(|(_, count)| *count > 0).collect();
        expected.sort_unstable();
        assert_eq!(counts, expected);
        assert!(!unsent.has_more_senders());
    }
}

/// Returns the places of the frames in that part of a stream.
fn frames(stream: &[u8], Range { mut start, end }: Range<usize>) -> Vec<Range<usize>> {
    let mut frames = Vec::new();
    while start < end {
        let len = 2 + usize::from(stream[start]) + 256 * usize::from(stream[start + 1]);
        frames.push(start..start + len);
        start += len;
    }
    assert_eq!(start, end, "a message ends with a frame");
    frames
}

/// Returns the places of the frames in the binary messages of a stream.
fn messages(stream: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < stream.len() {
        let (len_bytes, short) = match stream[at + 1] {
            127 => (8, 0),
            126 => (2, 0),
            len => (0, usize::from(len)),
        };
        let payload = at + 2 + len_bytes;
        let long = stream[at + 2..payload].iter();
        let len = long.fold(short, |len, byte| len << 8 | usize::from(*byte));
        match stream[at] {
            0x82 => found.extend(frames(stream, payload..payload + len)),
            opcode => assert_eq!(opcode, 0x89),
        }
        at = payload + len;
    }
    found
}

fn frame(from: PeerId, topic: TopicId, body_len: usize) -> Vec<u8> {
    let mut frame = ((18 + body_len) as u16).to_le_bytes().to_vec();
    frame.extend_from_slice(from.as_bytes());
    frame.extend_from_slice(&topic.0.to_le_bytes());
    // No two bodies of a length in a row begin alike, and none looks like prefixes.
    frame.extend((0..body_len).map(|n| 0x80 | (n * 31 + body_len) as u8));
    frame
}

fn peer(n: u8) -> PeerId {
    PeerId::from_random([n; 16])
}

fn step() -> impl Strategy<Value = Step> {
    let body_len = prop_oneof![20 => 0_usize..300, 4 => 0_usize..5_000, 1 => 60_000_usize..=65_517];
    let written = prop_oneof![0_usize..40, 0_usize..1_500, 0_usize..100_000];
    prop_oneof![
        8 => (0_u8..5, body_len).prop_map(|(from, len)| Step::Frame { from, len }),
        1 => vec(1_usize..100, 1..4).prop_map(Step::Own),
        1 => (0_u8..=125).prop_map(Step::Ping),
        6 => written.prop_map(Step::Write),
    ]
}

proptest! {
    #[test]
    fn frames_with_a_byte_that_is_not_written_are_found(
        framing in select(&FRAMINGS[..]),
        limit in select(&[1_000_usize, 70_000, 1 << 20][..]),
        steps in vec(step(), 0..80),
    ) {
        let mut world = World::new(framing, limit);
        steps.iter().for_each(|step| world.step(step));
        world.check();
    }
}

#[test]
fn frames_are_found_for_every_number_of_written_bytes() {
    let frames = |from| [0, 50, 200].map(|len| Step::Frame { from, len });
    let first = [&frames(1)[..], &[Step::Ping(3)], &frames(2)].concat();
    let second = [&frames(3)[..], &[Step::Own(vec![9, 1])], &frames(1)].concat();
    for framing in FRAMINGS {
        let mut written = 0_usize;
        loop {
            // The first write seals what was pushed so far. The bytes after it may be written, too.
            for (once, again) in [(written, 0), (0, written), (written / 2, written.div_ceil(2))] {
                let mut world = World::new(framing, 1 << 20);
                first.iter().for_each(|step| world.step(step));
                world.write(once);
                second.iter().for_each(|step| world.step(step));
                world.write(again);
                world.check();
            }
            let mut world = World::new(framing, 1 << 20);
            first.iter().chain(&second).for_each(|step| world.step(step));
            if world.outbox.sealed().len() < written {
                break;
            }
            written += 1;
        }
        assert!(written > 1_000, "{framing:?}: {written}");
    }
}

#[test]
fn a_frame_that_is_written_in_part_stays_whole_when_the_bytes_move() {
    for framing in FRAMINGS {
        let mut world = World::new(framing, 1 << 20);
        for from in 1..4 {
            // Over WebSocket, each has a message of its own.
            world.step(&Step::Frame { from, len: 280 });
            world.write(0);
        }
        assert_eq!(world.outbox.capacity(), BufferPool::NEW_CAPACITY);
        world.write(500);
        world.step(&Step::Frame { from: 4, len: 280 });
        assert_eq!(world.outbox.capacity(), BufferPool::NEW_CAPACITY, "there is room in front");
        let of_second = world.outbox.unsent_frames().next().expect("there are three");
        assert_eq!(sender(of_second), Some(peer(2)));
        assert!((1..300).contains(&world.outbox.head), "{}", world.outbox.head);
        world.check();
    }
}

#[test]
fn the_greeting_is_left_out_and_a_message_like_it_is_not() {
    for framing in FRAMINGS {
        for written in 0..30 {
            let mut world = World::new(framing, 1 << 20);
            world.push(frame(OWN_ID, TopicId(0), 0));
            world.write(written);
            let unsent: Vec<_> = world.outbox.unsent().counts().collect();
            assert_eq!(unsent, [(OWN_ID, 1)], "{framing:?}, {written} bytes written");
        }
        // Once the greeting has left, the first frame in the outbox is a message.
        let mut world = World::new(framing, 1 << 20);
        world.write(usize::MAX);
        world.push(frame(OWN_ID, TopicId(0), 0));
        assert_eq!(world.outbox.unsent().counts().collect::<Vec<_>>(), [(OWN_ID, 1)]);
    }
}

#[test]
fn frames_of_256_senders_are_counted() {
    let id = |n: u16| {
        PeerId::from_random([&n.to_le_bytes()[..], &[0; 14]].concat()[..].try_into().unwrap())
    };
    let mut world = World::new(Framing::Raw, 1 << 20);
    for n in (0..256).chain(0..256) {
        world.push(frame(id(n), TopicId(1), 3));
    }
    assert!(!world.outbox.unsent().has_more_senders());
    world.push(frame(id(256), TopicId(1), 3));
    world.push(frame(id(255), TopicId(1), 3));
    let unsent = world.outbox.unsent();
    assert!(unsent.has_more_senders());
    let mut counts: Vec<_> = unsent.counts().collect();
    counts.sort_unstable();
    let expected = (0..256).map(|n| (id(n), if n == 255 { 3 } else { 2 }));
    let mut expected: Vec<_> = expected.collect();
    expected.sort_unstable();
    assert_eq!(counts, expected);
}

#[test]
fn moved_frames_arrive_as_they_were_sent() {
    for from_framing in FRAMINGS {
        for to_framing in FRAMINGS {
            let mut world = World::new(from_framing, 1 << 20);
            for len in [40, 0, 70, 65_517, 3] {
                world.step(&Step::Frame { from: 1, len });
            }
            world.write(90);
            let mut successor = World::new(to_framing, 1 << 20);
            for frame in world.outbox.unsent_frames() {
                successor.push(frame.to_vec());
            }
            // The successor checks that its stream carries its own greeting and the moved frames.
            assert!(successor.pushed[1..] == world.pushed[2..], "the first message is written");
            successor.write(1_000);
            successor.check();
        }
    }
}

#[test]
fn an_outbox_that_is_dropped_has_no_frames() {
    let mut world = World::new(Framing::WebSocket, 1 << 20);
    world.step(&Step::Frame { from: 1, len: 9 });
    world.outbox.clear(&mut world.pool);
    assert_eq!(world.outbox.unsent_frames().count(), 0);
}
