//! Properties that hold for every stream, every split of it and every order of calls.
//!
//! The fuzz targets share the checks. The inputs generated here are closer to real traffic than
//! those of a fuzzer. Cases that once failed are kept beside this file and run first.

mod control;

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::FileFailurePersistence;
use waddell_core::{
    Capabilities, ClientConfig, CloseCode, Closing, Credentials, DropReason, Dropped, Handled,
    MAX_BODY_LEN, MessageOut, Notice, PeerId, TopicId, Welcome,
};
use waddell_tests::checks::outcomes::{Memory, Step, outcomes};
use waddell_tests::checks::{self, Call};
use waddell_tests::vectors::Vectors;

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_split_gives_the_same_frames(
        stream in stream(),
        cuts in cuts(),
        max_len in prop_oneof![Just(u16::MAX), any::<u16>()],
    ) {
        checks::frame_decoder(&stream, &cuts, max_len);
    }

    #[test]
    fn random_bytes_decode_without_a_panic(stream in vec(any::<u8>(), 0..2_000), cuts in cuts()) {
        checks::frame_decoder(&stream, &cuts, u16::MAX);
        checks::server_connection(peer(1), &stream, &cuts);
    }

    #[test]
    fn forwarded_frames_keep_all_but_the_recipient(stream in stream(), cuts in cuts()) {
        checks::server_connection(peer(1), &stream, &cuts);
    }

    #[test]
    fn flipped_and_truncated_streams_decode_without_a_panic(
        mut stream in stream(),
        flips in vec((any::<prop::sample::Index>(), 0_u8..8), 0..20),
        keep in any::<prop::sample::Index>(),
        cuts in cuts(),
    ) {
        if !stream.is_empty() {
            for (index, bit) in flips {
                let index = index.index(stream.len());
                stream[index] ^= 1 << bit;
            }
            stream.truncate(keep.index(stream.len()) + 1);
        }
        checks::frame_decoder(&stream, &cuts, u16::MAX);
        checks::server_connection(peer(1), &stream, &cuts);
        let calls = [Call::Connected, frame_call(9), Call::Bytes(stream), Call::TimeoutWhenDue];
        checks::client(ClientConfig::default(), &calls);
    }

    #[test]
    fn messages_arrive_as_they_were_sent(
        messages in vec(message(), 0..20),
        cuts in cuts(),
        sender in peer_id(),
    ) {
        checks::round_trip(sender, &messages, &cuts);
    }

    #[test]
    fn clients_accept_any_order_of_calls(config in config(), calls in vec(call(), 0..200)) {
        checks::client(config, &calls);
    }

    #[test]
    fn any_split_of_notices_gives_the_same_outcomes(
        stream in vec(prop_oneof![4 => notice(), 1 => frame()], 0..20),
        checked in 0_usize..12,
        cuts in cuts(),
    ) {
        checks::notices(&stream.concat(), checked, &cuts);
    }

    #[test]
    fn outcomes_are_true(steps in vec(step(), 0..200)) {
        outcomes(&steps);
    }

    #[test]
    fn clients_accept_calls_parsed_from_random_bytes(data in vec(any::<u8>(), 0..500)) {
        checks::client(ClientConfig::default(), &Call::decode_all(&data));
    }

    #[test]
    fn peer_ids_survive_printing_and_parsing(id in peer_id()) {
        let text = id.to_string();
        prop_assert_eq!(text.len(), 36);
        prop_assert_eq!(text.parse(), Ok(id));
        prop_assert_eq!(text.to_uppercase().parse(), Ok(id));
        prop_assert_eq!(text.replace('-', "").parse(), Ok(id));
    }

    #[test]
    fn text_parses_as_a_peer_id_only_if_it_prints_as_one(
        text in "[0-9a-fA-F{}:urnid-]{30,40}|\\PC*",
    ) {
        if let Ok(id) = text.parse::<PeerId>() {
            prop_assert_eq!(id.to_string().replace('-', ""), text.to_lowercase().replace('-', ""));
        }
    }

    #[test]
    fn random_ids_are_uuids_of_version_4(bytes in any::<[u8; 16]>()) {
        let id = PeerId::from_random(bytes);
        prop_assert_eq!(id.as_bytes()[6] >> 4, 4);
        prop_assert_eq!(id.as_bytes()[8] >> 6, 0b10);
        prop_assert_eq!(PeerId::from_bytes(*id.as_bytes()), id);
        let kept = |index: usize, mask: u8| id.as_bytes()[index] & mask == bytes[index] & mask;
        prop_assert!((0..16).filter(|i| ![6, 8].contains(i)).all(|i| kept(i, 0xff)));
        prop_assert!(kept(6, 0x0f) && kept(8, 0x3f));
    }
}

#[test]
fn golden_stream_gives_the_same_frames_for_any_split() {
    let vectors = Vectors::read();
    let stream: Vec<u8> = vectors.wires().flat_map(|(_, wire)| wire).copied().collect();
    for cut in [1, 2, 3, 17, 18, 19, 20, 21, 1_000, 1_460, 4_096, 65_535] {
        checks::frame_decoder(&stream, &[cut], u16::MAX);
        checks::server_connection(peer(1), &stream, &[cut]);
    }
}

/// Generates a stream of whole frames, at times with an unfinished one at its end.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    (vec(frame(), 0..20), vec(any::<u8>(), 0..40))
        .prop_map(|(frames, tail)| frames.into_iter().flatten().chain(tail).collect())
}

/// Generates a frame, valid or not.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let message = message().prop_map(|message| {
        let mut frame = Vec::new();
        message.encode(&mut frame).expect("the body fits");
        frame
    });
    let any_payload = vec(any::<u8>(), 0..40).prop_map(framed);
    let nil_recipient =
        vec(any::<u8>(), 2..40).prop_map(|rest| framed([vec![0; 16], rest].concat()));
    prop_oneof![
        5 => message,
        2 => any_payload,
        1 => Just(framed(b"k".to_vec())),
        1 => nil_recipient,
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let len = || prop_oneof![1_u16..60, 1_u16..2_000];
    let memory = prop_oneof![
        6 => Just(Memory::Session),
        1 => Just(Memory::Token),
        1 => Just(Memory::Nothing),
    ];
    prop_oneof![
        12 => any::<bool>().prop_map(Step::Send),
        4 => any::<bool>().prop_map(Step::SendUnchecked),
        1 => Just(Step::KeepAlive),
        8 => len().prop_map(Step::Up),
        8 => len().prop_map(Step::Down),
        1 => memory.prop_map(Step::Cut),
    ]
}

/// Generates a control frame of the server about the first frames of a client, or a broken one.
fn notice() -> impl Strategy<Value = Vec<u8>> {
    let near = || prop_oneof![9 => 0_u64..16, 1 => any::<u64>()];
    let few = || prop_oneof![9 => 0_u32..5, 1 => any::<u32>()];
    let entry = (near(), few(), few(), any::<u8>()).prop_map(|(first, span, count, reason)| {
        let (reason, topic) = (DropReason::from_code(reason), TopicId(7));
        Dropped { first, span, count, reason, topic, recipient: peer(7) }
    });
    let dropped = vec(entry, 1..5).prop_map(|entries| {
        let mut bytes = Vec::new();
        Dropped::encode_all(&entries, &mut bytes);
        bytes
    });
    let encode = |notice: Notice<'_>| {
        let mut bytes = Vec::new();
        notice.encode(&mut bytes);
        bytes
    };
    let handled = (near(), any::<bool>())
        .prop_map(move |(upto, complete)| encode(Notice::Handled(Handled { upto, complete })));
    let closing = (near(), any::<u16>()).prop_map(move |(handled, code)| {
        encode(Notice::Closing(Closing { code: CloseCode(code), handled, reason: "bye" }))
    });
    let welcome = any::<u32>().prop_map(move |bits| {
        let granted = Capabilities::from_bits(bits);
        encode(Notice::Welcome(Welcome::new(granted, peer(1), 1_000)))
    });
    let any_control =
        vec(any::<u8>(), 0..60).prop_map(|body| framed([&[0; 16][..], &[0xff; 2], &body].concat()));
    prop_oneof![6 => dropped, 6 => handled, 1 => closing, 2 => welcome, 2 => any_control]
}

fn framed(payload: Vec<u8>) -> Vec<u8> {
    let len = u16::try_from(payload.len()).expect("payloads are short here");
    [len.to_le_bytes().to_vec(), payload].concat()
}

fn message() -> impl Strategy<Value = MessageOut> {
    let len = prop_oneof![
        20 => 0_usize..300,
        2 => 0_usize..20_000,
        1 => select(vec![MAX_BODY_LEN - 2, MAX_BODY_LEN - 1, MAX_BODY_LEN]),
    ];
    let body = (len, any::<u64>()).prop_map(|(len, seed)| {
        let mut body = seed.to_le_bytes().repeat(len / 8 + 1);
        body.truncate(len);
        body
    });
    (any::<[u8; 16]>(), any::<u16>(), body).prop_map(|(to, topic, body)| {
        MessageOut::new(PeerId::from_random(to), TopicId(topic), body)
    })
}

/// Generates the lengths of the pieces of a stream.
fn cuts() -> impl Strategy<Value = Vec<u16>> {
    prop_oneof![
        Just(vec![]),
        vec(1_u16..4, 1..4),
        vec(1_u16..100, 1..10),
        vec(1_u16..20_000, 1..10),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        4 => Just(Call::Connected),
        4 => (any::<u8>(), 0_u16..100, 0_u16..100)
            .prop_map(|(from, body_len, cut)| Call::Frame { from, body_len, cut }),
        1 => vec(any::<u8>(), 0..40).prop_map(Call::Bytes),
        1 => frame().prop_map(Call::Bytes),
        2 => Just(Call::Disconnected),
        2 => any::<u16>().prop_map(|after_ms| Call::Timeout { after_ms }),
        3 => Just(Call::TimeoutWhenDue),
        2 => (0_u32..70_000).prop_map(|body_len| Call::Send { body_len }),
        1 => Just(Call::SendKeepAlive),
        1 => Just(Call::RetryNow),
    ]
    .prop_flat_map(|call| prop_oneof![200 => Just(call), 1 => Just(Call::Close)])
}

fn config() -> impl Strategy<Value = ClientConfig> {
    let attempts = prop_oneof![Just(u32::MAX), 0_u32..20];
    let durations = || {
        select(vec![None, Some(0), Some(1), Some(10_000), Some(u64::MAX)])
            .prop_map(|ms| ms.map(Duration::from_millis))
    };
    (attempts, durations(), durations(), durations(), any::<bool>(), any::<u64>()).prop_map(
        |(
            reconnect_attempts,
            connect_timeout,
            keep_alive_interval,
            silence_timeout,
            extension,
            jitter_seed,
        )| ClientConfig {
            reconnect_attempts,
            connect_timeout,
            keep_alive_interval,
            silence_timeout,
            extension,
            resume: extension,
            ice: false,
            credentials: Credentials::None,
            addresses: 2,
            jitter_seed,
        },
    )
}

fn frame_call(from: u8) -> Call {
    Call::Frame { from, body_len: 0, cut: 0 }
}

fn peer_id() -> impl Strategy<Value = PeerId> {
    any::<[u8; 16]>().prop_map(PeerId::from_bytes)
}

fn peer(n: u8) -> PeerId {
    PeerId::from_random([n; 16])
}
