//! Control frames are read as they were written, and any bytes are read without a panic.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::FileFailurePersistence;
use waddell_core::{
    Capabilities, CloseCode, Closing, DropReason, Dropped, Handled, Hello, IceServers, NotResumed,
    Notice, PeerId, PeerNotice, PeerState, Request, Restarting, ResumeWindows, TopicId, Welcome,
    WelcomeRate,
};
use waddell_tests::checks::{self, control};
use waddell_tests::vectors::Vectors;

use super::{cuts, frame, peer, peer_id};

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn requests_are_read_as_they_were_written(
        version in 2..=u8::MAX,
        wants in any::<u32>(),
        numbers in any::<[u64; 2]>(),
        resume_token in option::of(vec(any::<u8>(), 1..=255)),
        credentials in credentials(),
        agent in option::of("[ -~ü]{1,32}"),
    ) {
        let [first_number, seen] = numbers;
        control::request(&Request::Hello(Hello {
            version,
            resume_token: resume_token.as_deref(),
            first_number,
            credentials: Some(&credentials),
            seen,
            agent: agent.as_deref(),
            ..Hello::new(Capabilities::from_bits(wants))
        }));
        for request in [
            Request::Hello(Hello::new(Capabilities::from_bits(wants))),
            Request::Sync { seen },
            Request::Renew,
            Request::Auth(&credentials),
            Request::Ice,
            Request::Bye,
        ] {
            control::request(&request);
        }
    }

    #[test]
    fn lists_are_read_as_they_were_written(
        ids in vec(any::<[u8; 16]>(), 1..=64),
        dropped in vec(dropped(), 1..=64),
        peers in vec(peer_notice(), 1..=64),
        rest in vec(any::<u8>(), 0..16),
    ) {
        for kind in [3, 4] {
            let body = [&[kind][..], ids.as_flattened(), &rest].concat();
            let request = Request::decode(&body).expect("it is a list of ids");
            let (Request::Watch(read) | Request::Unwatch(read)) = request else { panic!() };
            prop_assert!(read.iter().eq(ids.iter().copied().map(PeerId::from_bytes)));
            control::request(&request);
        }
        control::dropped(&dropped);
        control::peers(&peers);
    }

    #[test]
    fn welcome_is_read_as_it_was_written(
        flags in any::<[bool; 3]>(),
        (version, granted, id, max_payload) in (any::<u8>(), any::<u32>(), peer_id(), any::<u16>()),
        resume_token in option::of(vec(any::<u8>(), 1..=255)),
        not_resumed in option::of((1_u8..=6).prop_map(NotResumed::from_code)),
        pairs in any::<[Option<[u32; 2]>; 2]>(),
        numbers in any::<[Option<u32>; 3]>(),
        json in json(),
    ) {
        let [resumed, reads_hello_in_upgrade, tokens_outlive_restart] = flags;
        let [windows, rate] = pairs;
        let [credentials_expire_in, valid_for, ping_interval_ms] = numbers;
        control::notice(&Notice::Welcome(Welcome {
            version,
            resumed,
            reads_hello_in_upgrade,
            tokens_outlive_restart,
            resume_token: resume_token.as_deref(),
            not_resumed,
            windows: windows.map(|[resume, away]| ResumeWindows { resume, away }),
            credentials_expire_in,
            ice: valid_for.map(|valid_for| IceServers { valid_for, json: &json }),
            rate: rate.map(|[frames, bytes]| WelcomeRate { frames, bytes }),
            ping_interval_ms,
            ..Welcome::new(Capabilities::from_bits(granted), id, max_payload)
        }));
    }

    #[test]
    fn notices_are_read_as_they_were_written(
        number in any::<u64>(),
        times in any::<[u32; 3]>(),
        flag in any::<bool>(),
        code in any::<u16>(),
        id in peer_id(),
        token in vec(any::<u8>(), 1..=255),
        json in json(),
        reason in "[ -~ü]{0,61}",
    ) {
        let [in_ms, wait_ms, spread_ms] = times;
        for notice in [
            Notice::Handled(Handled { upto: number, complete: flag }),
            Notice::Renewed { id, resume_token: flag.then_some(&token) },
            Notice::Token(&token),
            Notice::Authorized { expires_in: in_ms },
            Notice::Ice(IceServers { valid_for: wait_ms, json: &json }),
            Notice::Restarting(Restarting { in_ms, wait_ms, spread_ms, elsewhere: flag }),
            Notice::Closing(Closing { code: CloseCode(code), handled: number, reason: &reason }),
        ] {
            control::notice(&notice);
        }
    }

    #[test]
    fn any_body_decodes_as_a_control_frame_without_a_panic(
        mut body in prop_oneof![
            3 => golden_control().prop_map(|frame| frame[20..].to_vec()),
            1 => (0_u8..0x90, vec(any::<u8>(), 0..200))
                .prop_map(|(kind, rest)| [vec![kind], rest].concat()),
        ],
        flips in vec((any::<Index>(), 0_u8..8), 0..4),
        keep in option::of(any::<Index>()),
        tail in vec(any::<u8>(), 0..20),
    ) {
        for (index, bit) in flips {
            if !body.is_empty() {
                let index = index.index(body.len());
                body[index] ^= 1 << bit;
            }
        }
        if let Some(keep) = keep {
            body.truncate(keep.index(body.len() + 1));
        }
        body.extend(tail);
        control::control_body(&body);
    }

    #[test]
    fn servers_accept_any_order_of_control_frames(
        frames in vec(prop_oneof![golden_control(), frame()], 0..40),
        cuts in cuts(),
    ) {
        checks::server_connection(peer(1), &frames.concat(), &cuts);
    }
}

/// Generates a control frame that a client or a server may send, malformed ones included.
fn golden_control() -> impl Strategy<Value = Vec<u8>> {
    let Vectors { requests, notices, .. } = Vectors::read();
    let frames = requests.into_iter().chain(notices).map(|vector| vector.wire);
    select(frames.collect::<Vec<_>>())
}

/// Generates credentials. With some of them, HELLO would be 790 bytes long.
fn credentials() -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![1_usize..100, 400_usize..800, 1_usize..=4_096];
    (len, any::<u8>()).prop_map(|(len, byte)| vec![byte; len])
}

fn json() -> impl Strategy<Value = String> {
    (0_usize..=2_048).prop_map(|len| "ü".repeat(len))
}

fn dropped() -> impl Strategy<Value = Dropped> {
    (any::<u64>(), any::<[u32; 2]>(), 0_u8..=9, any::<u16>(), peer_id()).prop_map(
        |(first, [span, count], reason, topic, recipient)| Dropped {
            first,
            span,
            count,
            reason: DropReason::from_code(reason),
            topic: TopicId(topic),
            recipient,
        },
    )
}

fn peer_notice() -> impl Strategy<Value = PeerNotice> {
    let state = select(vec![PeerState::Here, PeerState::Away, PeerState::Gone]);
    (peer_id(), state, any::<u32>()).prop_map(|(id, state, lost)| PeerNotice { id, state, lost })
}
