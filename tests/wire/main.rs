//! Golden bytes: this project writes and reads the same bytes as the original waddell.
//!
//! `control` is about the control frames of the extension, which the original does not have.

mod control;
mod meaning;

use std::collections::HashSet;

use waddell_core::{
    Client, ClientConfig, ClientEvent, ConnectionConfig, Decision, FrameDecoder, Instant,
    KEEP_ALIVE_FRAME, MAX_BODY_LEN, MessageIn, MessageOut, Output, PORTABLE_BODY_LEN, Rejected,
    ServerConnection, TopicId,
};
use waddell_tests::vectors::{Outcome, Side, Vector, Vectors};

const NOW: Instant = Instant::since_epoch(std::time::Duration::ZERO);

#[test]
fn names_are_unique_and_every_outcome_occurs() {
    let file = Vectors::read();
    let names: HashSet<_> = file.wires().map(|(name, _)| name).collect();
    assert_eq!(names.len(), file.wires().count());
    for outcome in [
        Outcome::Forward,
        Outcome::KeepAlive,
        Outcome::ShortFrame,
        Outcome::ReservedRecipient,
        Outcome::Greeting,
        Outcome::Message,
        Outcome::HangUp,
    ] {
        assert!(file.vectors.iter().any(|vector| vector.outcome == outcome), "{outcome:?}");
    }
}

#[test]
fn bodies_are_as_long_as_their_names_say() {
    let file = Vectors::read();
    let body_len = |name| file.get(name).message.as_ref().expect("it carries one").body().len();
    assert_eq!(body_len("body_of_65515_bytes"), PORTABLE_BODY_LEN);
    assert_eq!(body_len("body_of_65517_bytes"), MAX_BODY_LEN);
    assert_eq!(body_len("delivered_body_of_65517_bytes"), MAX_BODY_LEN);
}

#[test]
fn clients_write_the_golden_bytes() {
    let file = Vectors::read();
    let mut written = 0;
    for vector in toward(&file, Side::Server) {
        let mut client = ready_client(&file);
        let sent = match (&vector.message, vector.outcome) {
            (Some(message), _) => {
                let parts = message.parts.iter().map(Vec::as_slice);
                client.send(&MessageOut::from_parts(message.peer, message.topic, parts))
            }
            (None, Outcome::KeepAlive) => client.send_keep_alive(),
            // Clients write no other frames.
            (None, _) => continue,
        };
        assert_eq!(sent, Ok(()), "{}", vector.name);
        assert_eq!(transmitted(&mut client), vector.wire, "{}", vector.name);
        written += 1;
    }
    assert!(written >= 10);
}

#[test]
fn keep_alive_frame_is_the_golden_one() {
    assert_eq!(Vectors::read().get("keep_alive").wire, KEEP_ALIVE_FRAME);
}

#[test]
fn servers_greet_with_the_golden_bytes() {
    let file = Vectors::read();
    assert_eq!(server_connection(&file).greeting()[..], file.get("greeting").wire);
}

#[test]
fn servers_treat_the_golden_bytes_as_waddell_does() {
    let file = Vectors::read();
    for vector in toward(&file, Side::Server) {
        let mut wire = vector.wire.clone();
        let mut input = &mut wire[..];
        let mut decoder = FrameDecoder::new();
        let mut frame =
            decoder.next_frame(&mut input).expect("any length is legal").expect("whole");
        let len = frame.payload().len();
        let decision = server_connection(&file).handle_frame(&mut frame, NOW);
        match vector.outcome {
            Outcome::Forward => {
                let message = vector.message.as_ref().expect("forwarded frames carry one");
                assert_eq!(decision, Decision::Forward(message.peer), "{}", vector.name);
                let mut forwarded = vector.wire.clone();
                forwarded[2..18].copy_from_slice(file.own_id.as_bytes());
                assert!(frame.as_bytes() == forwarded, "{}", vector.name);
            }
            Outcome::KeepAlive => assert_eq!(decision, Decision::KeepAlive, "{}", vector.name),
            Outcome::ShortFrame => {
                assert_eq!(
                    decision,
                    Decision::Reject(Rejected::ShortFrame { len }),
                    "{}",
                    vector.name
                );
            }
            Outcome::ReservedRecipient => {
                assert_eq!(
                    decision,
                    Decision::Reject(Rejected::ReservedRecipient),
                    "{}",
                    vector.name
                );
            }
            Outcome::Greeting | Outcome::Message | Outcome::HangUp => {
                panic!("{}: no outcome of a server's", vector.name)
            }
        }
        assert_eq!(decoder.finish(), Ok(()), "{}", vector.name);
    }
}

#[test]
fn clients_read_the_golden_bytes() {
    let file = Vectors::read();
    for vector in toward(&file, Side::Client) {
        let mut client = match vector.outcome {
            Outcome::Greeting => connected_client(),
            _ => ready_client(&file),
        };
        client.handle_bytes(&mut vector.wire.clone(), NOW);
        let output = client.poll_output();
        match vector.outcome {
            Outcome::Greeting => {
                let id = vector.message.as_ref().expect("a greeting carries an id").peer;
                assert_eq!(output, Some(Output::Event(ClientEvent::Connected { id })));
                assert_eq!(client.id(), Some(id));
            }
            Outcome::Message => {
                let message = vector.message.as_ref().expect("it carries one");
                let message = MessageIn {
                    from: message.peer,
                    topic: message.topic,
                    body: message.body().into(),
                };
                let expected = Some(Output::Event(ClientEvent::Message(message)));
                assert!(output == expected, "{}", vector.name);
            }
            Outcome::HangUp => assert_eq!(output, Some(Output::HangUp), "{}", vector.name),
            Outcome::Forward
            | Outcome::KeepAlive
            | Outcome::ShortFrame
            | Outcome::ReservedRecipient => panic!("{}: no outcome of a client's", vector.name),
        }
    }
}

/// waddell's comment on the wire format speaks of two little-endian integers. An implementation
/// that writes the UUID's digits as such integers would address another peer.
#[test]
fn peer_id_on_the_wire_is_the_uuid_byte_by_byte() {
    let file = Vectors::read();
    let vector = file.get("peer_id_is_not_swapped");
    let message = MessageIn::decode(&vector.wire[2..]).expect("it has a header");
    assert_eq!(message.from.to_string(), "00010203-0405-4607-8809-0a0b0c0d0e0f");
    assert_eq!(message.topic, TopicId(1));
}

fn toward(file: &Vectors, side: Side) -> impl Iterator<Item = &Vector> {
    file.vectors.iter().filter(move |vector| vector.to == side)
}

fn server_connection(file: &Vectors) -> ServerConnection {
    ServerConnection::new(file.own_id, ConnectionConfig::default(), NOW)
}

/// A client that waits for its greeting.
fn connected_client() -> Client {
    let mut client = Client::new(ClientConfig::default(), NOW);
    client.handle_connected(NOW);
    while client.poll_output().is_some() {}
    client
}

fn ready_client(file: &Vectors) -> Client {
    let mut client = connected_client();
    client.handle_bytes(&mut file.get("greeting").wire.clone(), NOW);
    while client.poll_output().is_some() {}
    client
}

fn transmitted(client: &mut Client) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(output) = client.poll_output() {
        match output {
            Output::Transmit(frame) => bytes.extend_from_slice(&frame),
            other => panic!("expected Transmit, not {other:?}"),
        }
    }
    bytes
}
