//! Ends of which the server says what to do next.

use super::extension::{extended_config, requests};
use super::*;
use crate::control::hello::Welcome;
use crate::control::notice::{Closing, Notice, Restarting};
use crate::control::{Capabilities, CloseCode};

const NOW: Instant = Instant::EPOCH;

const RESTARTING: Restarting =
    Restarting { in_ms: 100, wait_ms: 2_000, spread_ms: 3_000, elsewhere: false };

#[test]
fn restart_is_waited_for_and_dials_are_spread() {
    let waits: Vec<Duration> = (0..100)
        .map(|jitter_seed| {
            let mut client = restartable(ClientConfig { jitter_seed, ..extended_config() });
            receive(&mut client, Notice::Restarting(RESTARTING));
            assert_eq!(drain(&mut client), ["Restarting"]);
            receive(&mut client, closing(CloseCode::RESTARTING));
            client.poll_timeout().unwrap() - NOW
        })
        .collect();
    let range = Duration::from_secs(2)..=Duration::from_secs(5);
    assert!(waits.iter().all(|wait| range.contains(wait)), "{waits:?}");
    let early = waits.iter().filter(|wait| **wait < Duration::from_millis(3_500)).count();
    assert!((25..75).contains(&early), "{early} of 100 in the first half");
}

#[test]
fn restart_counts_for_one_dial_only() {
    let mut client = restartable(extended_config());
    receive(&mut client, Notice::Restarting(RESTARTING));
    // Even if the connection ends in another way.
    client.handle_disconnected(NOW);
    let due = client.poll_timeout().unwrap();
    assert!(due >= at(2.0));
    client.handle_timeout(due);
    client.handle_disconnected(due);
    assert!(client.poll_timeout().unwrap() <= due + RETRY_STEP * 3);
}

#[test]
fn restart_that_is_too_far_away_is_not_waited_for() {
    let mut client = restartable(extended_config());
    let far = Restarting { wait_ms: u32::MAX, spread_ms: u32::MAX, ..RESTARTING };
    receive(&mut client, Notice::Restarting(far));
    client.handle_disconnected(NOW);
    assert!(client.poll_timeout().unwrap() <= NOW + HOUR * 2);
    client.retry_now(NOW);
    assert_eq!(client.state(), ClientState::Connecting, "the application knows better");
}

#[test]
fn restart_that_is_not_granted_is_not_obeyed() {
    let mut client = restartable(extended_config());
    client.handle_disconnected(NOW);
    client.retry_now(NOW);
    greet(&mut client, NOW);
    receive(&mut client, Notice::Welcome(Welcome::new(Capabilities::VERDICTS, peer_id(1), 1000)));
    drain(&mut client);
    receive(&mut client, Notice::Restarting(RESTARTING));
    assert_eq!(drain(&mut client), [""; 0]);
}

#[test]
fn addresses_take_turns_after_failed_dials_and_when_the_server_says_elsewhere() {
    let config = ClientConfig { addresses: 3, ..extended_config() };
    for (elsewhere, expected) in [(true, 1), (false, 0)] {
        let mut client = restartable(config);
        assert_eq!(client.address(), 0);
        receive(&mut client, Notice::Restarting(Restarting { elsewhere, ..RESTARTING }));
        receive(&mut client, closing(CloseCode::RESTARTING));
        assert_eq!(client.address(), expected);
    }
    let mut client = Client::new(config, NOW);
    let mut seen = vec![];
    for _dial in 0..5 {
        seen.push(client.address());
        client.handle_disconnected(NOW);
        client.retry_now(NOW);
    }
    assert_eq!(seen, [0, 1, 2, 0, 1]);
    for addresses in [0, 1] {
        let mut client = Client::new(ClientConfig { addresses, ..extended_config() }, NOW);
        client.handle_disconnected(NOW);
        assert_eq!(client.address(), 0);
    }
}

#[test]
fn code_says_whether_and_when_to_dial_again() {
    for (code, least, most) in [
        (CloseCode::RESTARTING, 0.0, 0.0),
        (CloseCode::TIMED_OUT, 0.0, 0.0),
        (CloseCode::BUSY, 1.0, 1.5),
        (CloseCode::TOO_MANY, 5.0, 7.5),
        (CloseCode::SUPERSEDED, 0.0, 0.0),
        (CloseCode(1001), 0.0, 0.0),
        (CloseCode(4499), 0.0, 0.0),
    ] {
        for in_band in [true, false] {
            let mut client = restartable(extended_config());
            if in_band {
                receive(&mut client, closing(code));
            } else {
                client.handle_closed(code, NOW);
            }
            let due = client.poll_timeout().expect("it dials again");
            assert!((at(least)..=at(most)).contains(&due), "{code:?}, {in_band}: {due:?}");
        }
    }
}

#[test]
fn client_that_is_not_served_closes_for_good() {
    for code in [4500, 4501, 4502, 4999] {
        let closed = format!("Closed(ByServer(CloseCode({code})))");
        let mut client = restartable(extended_config());
        receive(&mut client, closing(CloseCode(code)));
        let said = format!("Closing({code} bye)");
        assert_eq!(drain(&mut client), [&*said, "HangUp", &*closed]);
        // In place of the greeting.
        let mut client = Client::new(extended_config(), NOW);
        client.handle_connected(NOW);
        drain(&mut client);
        receive(&mut client, closing(CloseCode(code)));
        assert_eq!(drain(&mut client), [&*said, "HangUp", &*closed]);
        // As the code of a WebSocket.
        let mut client = restartable(extended_config());
        client.handle_closed(CloseCode(code), NOW);
        assert_eq!(drain(&mut client), [closed]);
    }
    // Codes above have no meaning, and a dial that fails has no code.
    let mut client = restartable(extended_config());
    client.handle_closed(CloseCode(5000), NOW);
    assert_eq!(client.state(), ClientState::Waiting);
    client.retry_now(NOW);
    client.handle_closed(CloseCode(4500), NOW);
    assert_eq!(client.state(), ClientState::Waiting);
    assert_eq!(requests(&mut client), [""; 0]);
}

fn restartable(config: ClientConfig) -> Client {
    let mut client = Client::new(config, NOW);
    greet(&mut client, NOW);
    let granted = Capabilities::VERDICTS.with(Capabilities::RESTART);
    receive(&mut client, Notice::Welcome(Welcome::new(granted, peer_id(1), 1000)));
    drain(&mut client);
    client
}

fn closing(code: CloseCode) -> Notice<'static> {
    Notice::Closing(Closing { code, handled: 0, reason: "bye" })
}

fn receive(client: &mut Client, notice: Notice<'_>) {
    let mut bytes = vec![];
    notice.encode(&mut bytes);
    client.handle_bytes(&mut bytes, NOW);
}
