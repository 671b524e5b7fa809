//! Outcomes of checked messages.

use super::extension::{
    closing, dropped, exact, extended_config, extended_in, handled, requests, summary, welcome,
};
use super::*;
use crate::client::outcome::{Delivery, Undelivered};
use crate::control::{Capabilities, DropReason};

const NOW: Instant = Instant::EPOCH;

/// What can be told of frame 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Exact,
    Summary,
    Complete,
    Incomplete,
    ClosingBefore,
    ClosingAfter,
    Lost,
}

/// Returns the outcome by the rules: the first that holds when it is decided.
fn expected(told: &[Told]) -> Option<Result<Delivery, Undelivered>> {
    let until = told.iter().position(|it| *it != Told::Summary)?;
    let spanned = told[..until].contains(&Told::Summary);
    let otherwise = match told[until] {
        Told::Exact => return Some(Err(Undelivered::Dropped(DropReason::RecipientFull))),
        Told::Summary => return None,
        Told::Complete => Ok(Delivery::Forwarded),
        Told::ClosingBefore => Err(Undelivered::NotHandled),
        Told::Incomplete | Told::ClosingAfter | Told::Lost => Err(Undelivered::ConnectionLost),
    };
    Some(if spanned { Err(Undelivered::MaybeDropped) } else { otherwise })
}

#[test]
fn outcome_is_the_first_that_holds_in_every_order_of_what_is_told() {
    use Told::{ClosingAfter, ClosingBefore, Complete, Exact, Incomplete, Lost, Summary};
    let all = [Exact, Summary, Complete, Incomplete, ClosingBefore, ClosingAfter, Lost];
    let mut orders: Vec<Vec<Told>> = vec![vec![]];
    while let Some(order) = orders.pop() {
        for told in all.into_iter().filter(|it| !order.contains(it)) {
            orders.push([&order[..], &[told]].concat());
        }
        let mut client = extended_in("extended");
        let ticket = client.send_checked(&message(b"x"), NOW).unwrap();
        drain(&mut client);
        let mut outcomes = vec![];
        for told in &order {
            match told {
                Exact => receive(&mut client, dropped(&[exact(1, DropReason::RecipientFull)])),
                Summary => receive(&mut client, dropped(&[summary(1, 5)])),
                Complete => receive(&mut client, handled(1, true)),
                Incomplete => receive(&mut client, handled(2, false)),
                ClosingBefore => receive(&mut client, closing(0)),
                ClosingAfter => receive(&mut client, closing(1)),
                Lost => client.handle_disconnected(NOW),
            }
            outcomes.extend(checked(&mut client));
        }
        let expected: Vec<_> = expected(&order).map(|it| (ticket, it)).into_iter().collect();
        assert_eq!(outcomes, expected, "{order:?}");
    }
}

#[test]
fn every_order_of_dropped_and_handled_gives_each_message_its_own_outcome() {
    let full = Err(Undelivered::Dropped(DropReason::RecipientFull));
    let maybe = Err(Undelivered::MaybeDropped);
    let forwarded = Ok(Delivery::Forwarded);
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut client = extended_in("extended");
        let tickets: Vec<_> =
            (0..6).map(|_| client.send_checked(&message(b"x"), NOW).unwrap()).collect();
        let told = [
            dropped(&[exact(2, DropReason::RecipientFull), exact(5, DropReason::RecipientFull)]),
            dropped(&[summary(3, 3)]),
            handled(4, true),
        ];
        let mut outcomes = vec![];
        for part in order {
            receive(&mut client, told[part].clone());
            outcomes.extend(checked(&mut client));
        }
        receive(&mut client, handled(6, true));
        outcomes.extend(checked(&mut client));
        outcomes.sort_by_key(|(ticket, _)| *ticket);
        // HANDLED up to 4 stands after every DROPPED about it; one that comes later is too late.
        let (drops_in_time, summary_in_time) = match order {
            [2, _, _] => (false, false),
            [_, 2, _] => (order[0] == 0, order[0] == 1),
            _ => (true, true),
        };
        let second = if drops_in_time { full } else { forwarded };
        let inner = if summary_in_time { maybe } else { forwarded };
        let expected = [forwarded, second, inner, inner, full, forwarded];
        assert_eq!(outcomes, tickets.into_iter().zip(expected).collect::<Vec<_>>(), "{order:?}");
    }
}

#[test]
fn one_sync_is_in_flight_however_many_messages_wait() {
    let mut client = extended_in("extended");
    for _message in 0..1000 {
        client.send_checked(&message(b"x"), NOW).unwrap();
    }
    assert_eq!(requests(&mut client), ["Sync { seen: 0 }"], "it is frame 1001");
    for _message in 0..10 {
        client.send_checked(&message(b"x"), NOW).unwrap();
        assert_eq!(requests(&mut client), [""; 0]);
    }
    // The server may count SYNC itself, or not.
    receive(&mut client, handled(1000, true));
    assert_eq!(checked(&mut client).len(), 1000);
    receive(&mut client, handled(1012, true));
    assert_eq!(checked(&mut client).len(), 10);
    assert_eq!(requests(&mut client), [""; 0], "there is nothing to ask");
    client.send_checked(&message(b"x"), NOW).unwrap();
    assert_eq!(requests(&mut client), ["Sync { seen: 1012 }"]);
}

#[test]
fn only_messages_of_the_application_are_told_but_those_checked_or_not() {
    let mut client = extended_in("extended");
    client.send(&message(b"x")).unwrap();
    drain(&mut client);
    let entry = exact(1, DropReason::UnknownRecipient);
    let probe = crate::Dropped { topic: TopicId(0xfffe), recipient: peer_id(1), ..entry };
    let (topic, recipient) = (TopicId::CONTROL, PeerId::NIL);
    let control = crate::Dropped { topic, recipient, ..entry };
    receive(&mut client, dropped(&[probe, control, entry]));
    let event = Output::Event(ClientEvent::Undelivered(entry));
    assert_eq!(client.poll_output(), Some(event));
    assert_eq!(client.poll_output(), None);
}

#[test]
fn server_without_the_extension_is_asked_with_a_probe() {
    let mut client = extended_in("ready");
    let first = client.send_checked(&message(b"x"), NOW).unwrap();
    let probe = transmitted(&mut client).pop().unwrap();
    assert_eq!(probe[20..], 2_u64.to_le_bytes(), "its own number");
    // Later messages wait for this probe, and then ask with their own.
    let second = client.send_checked(&message(b"x"), NOW).unwrap();
    assert_eq!(transmitted(&mut client).len(), 1);
    receive(&mut client, probe.clone());
    let sent = Ok(Delivery::Sent);
    assert_eq!(checked_before_transmit(&mut client), [(first, sent)]);
    assert_eq!(client.poll_output(), Some(Output::Event(ClientEvent::NotExtended)));
    let next = transmitted(&mut client).pop().unwrap();
    assert_eq!(next[20..], 4_u64.to_le_bytes());
    receive(&mut client, next);
    assert_eq!(checked(&mut client), [(second, sent)]);
    assert_eq!(client.poll_timeout(), None);
    // One that comes twice, or was never sent, is no news and no message.
    receive(&mut client, probe);
    assert_eq!(drain(&mut client), [""; 0]);
}

#[test]
fn probe_that_does_not_come_back_is_sent_again_every_five_seconds() {
    let mut client = extended_in("ready");
    let ticket = client.send_checked(&message(b"x"), at(7.0)).unwrap();
    let first = transmitted(&mut client).pop().unwrap();
    let mut last = first.clone();
    for due in [12.0, 17.0, 22.0] {
        assert_eq!(client.poll_timeout(), Some(at(due)));
        client.handle_timeout(at(due));
        last = transmitted(&mut client).pop().unwrap();
    }
    assert_ne!(first, last);
    // Both come at last: the first decides, since it was sent after the message.
    client.handle_bytes(&mut first.to_vec(), at(23.0));
    assert_eq!(checked(&mut client), [(ticket, Ok(Delivery::Sent))]);
    client.handle_bytes(&mut last.to_vec(), at(23.0));
    assert_eq!(drain(&mut client), [""; 0]);
}

#[test]
fn late_answer_to_an_earlier_probe_decides_no_later_message() {
    let mut client = extended_in("ready");
    client.send_checked(&message(b"x"), at(0.0)).unwrap();
    let first = transmitted(&mut client).pop().unwrap();
    let later = client.send_checked(&message(b"y"), at(0.0)).unwrap();
    client.handle_timeout(at(5.0));
    let second = transmitted(&mut client).pop().unwrap();
    client.handle_bytes(&mut first.to_vec(), at(6.0));
    assert_eq!(checked(&mut client).len(), 1);
    client.handle_bytes(&mut second.to_vec(), at(6.0));
    assert_eq!(checked(&mut client), [(later, Ok(Delivery::Sent))]);
}

#[test]
fn welcome_takes_over_from_the_probe() {
    let mut client = extended_in("ready");
    let ticket = client.send_checked(&message(b"x"), NOW).unwrap();
    let probe = transmitted(&mut client).pop().unwrap();
    receive(&mut client, welcome(Capabilities::VERDICTS));
    assert_eq!(requests(&mut client), ["Sync { seen: 0 }"]);
    assert_eq!(client.poll_timeout(), None);
    receive(&mut client, probe);
    assert_eq!(drain(&mut client), [""; 0], "the verdict says more");
    receive(&mut client, dropped(&[exact(1, DropReason::UnknownRecipient)]));
    let unknown = Err(Undelivered::Dropped(DropReason::UnknownRecipient));
    assert_eq!(checked(&mut client), [(ticket, unknown)]);
}

#[test]
fn server_that_grants_no_verdicts_is_asked_with_probes() {
    let mut client = extended_in("ready");
    receive(&mut client, welcome(Capabilities::NONE));
    drain(&mut client);
    let ticket = client.send_checked(&message(b"x"), NOW).unwrap();
    let probe = transmitted(&mut client).pop().unwrap();
    receive(&mut client, probe);
    assert_eq!(checked(&mut client), [(ticket, Ok(Delivery::Sent))]);
}

#[test]
fn every_end_decides_what_is_undecided_before_it_is_told() {
    let lost = "Checked(1 Err(ConnectionLost))";
    for (end, expected) in [
        ("disconnected", &[lost, "Disconnected(ConnectionLost)"][..]),
        ("close", &["HangUp", lost, "Closed(ByApplication)"]),
        ("short frame", &["HangUp", lost, "Disconnected(ServerMisbehaved)"]),
    ] {
        let mut client = extended_in("extended");
        client.send_checked(&message(b"x"), NOW).unwrap();
        drain(&mut client);
        match end {
            "disconnected" => client.handle_disconnected(NOW),
            "close" => client.close(),
            _short_frame => receive(&mut client, vec![0, 0]),
        }
        assert_eq!(drain(&mut client), expected, "{end}");
    }
}

#[test]
fn messages_without_an_outcome_are_bounded() {
    let mut client = extended_in("extended");
    for _message in 0..16_384 {
        client.send_checked(&message(b""), NOW).unwrap();
        drain(&mut client);
    }
    assert_eq!(client.send_checked(&message(b""), NOW), Err(SendError::TooManyChecked));
    assert_eq!(drain(&mut client), [""; 0]);
    receive(&mut client, handled(1, true));
    client.send_checked(&message(b""), NOW).unwrap();
}

#[test]
fn checked_messages_are_refused_like_others() {
    for (state, error) in [
        ("dialing", SendError::NotConnected),
        ("awaiting id", SendError::NotConnected),
        ("waiting", SendError::NotConnected),
        ("closed", SendError::Closed),
    ] {
        let mut client = extended_in(state);
        assert_eq!(client.send_checked(&message(b"x"), NOW), Err(error), "{state}");
        assert_eq!(drain(&mut client), [""; 0], "{state}");
    }
    let mut client = extended_in("extended");
    let len = MAX_BODY_LEN + 1;
    let error = client.send_checked(&message(&vec![0; len]), NOW);
    assert_eq!(error, Err(SendError::BodyTooLong(BodyTooLong { len })));
    assert_eq!(drain(&mut client), [""; 0]);
}

/// A client that does not speak the extension can check all the same.
#[test]
fn check_works_without_the_extension() {
    let mut client = Client::new(ClientConfig { extension: false, ..extended_config() }, NOW);
    greet(&mut client, NOW);
    drain(&mut client);
    let ticket = client.send_checked(&message(b"x"), NOW).unwrap();
    let probe = transmitted(&mut client).pop().unwrap();
    receive(&mut client, probe);
    assert_eq!(checked(&mut client), [(ticket, Ok(Delivery::Sent))]);
}

#[test]
fn undelivered_says_why_and_what_to_do() {
    for (undelivered, text) in [
        (Undelivered::Dropped(DropReason::UnknownRecipient), "no peer has this id; ask the peer"),
        (Undelivered::Dropped(DropReason::RecipientAway), "may come back; send again"),
        (Undelivered::MaybeDropped, "this may be one of them; ask the peer"),
        (Undelivered::NotHandled, "before the server handled the message; send it again"),
        (Undelivered::ConnectionLost, "it is not known whether the server took the message"),
    ] {
        let said = format!("{undelivered}");
        assert!(said.contains(text), "{said}");
    }
}

fn receive(client: &mut Client, mut bytes: Vec<u8>) {
    client.handle_bytes(&mut bytes, NOW);
}

/// Takes all outputs. Returns the outcomes among them.
fn checked(client: &mut Client) -> Vec<(Ticket, Result<Delivery, Undelivered>)> {
    core::iter::from_fn(|| client.poll_output())
        .filter_map(|output| match output {
            Output::Event(ClientEvent::Checked { ticket, outcome }) => Some((ticket, outcome)),
            Output::Dial | Output::Transmit(_) | Output::HangUp | Output::Event(_) => None,
        })
        .collect()
}

/// Takes one output. Returns the outcome that it is.
fn checked_before_transmit(client: &mut Client) -> Vec<(Ticket, Result<Delivery, Undelivered>)> {
    match client.poll_output() {
        Some(Output::Event(ClientEvent::Checked { ticket, outcome })) => vec![(ticket, outcome)],
        other => panic!("{other:?}"),
    }
}

/// Takes all outputs, which are frames to transmit.
fn transmitted(client: &mut Client) -> Vec<Vec<u8>> {
    core::iter::from_fn(|| client.poll_output())
        .map(|output| match output {
            Output::Transmit(frame) => frame.to_vec(),
            other => panic!("{other:?}"),
        })
        .collect()
}
