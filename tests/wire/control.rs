//! Control frames: this project writes and reads the golden bytes.

use std::collections::BTreeSet;

use serde_json::Value;
use waddell_core::{
    ControlError, Decision, Dropped, FrameDecoder, Notice, PeerNotice, Request, ServerConnection,
};
use waddell_tests::vectors::Vectors;
use waddell_tests::vectors::control::{ControlOutcome, ControlVector};

use super::meaning;
use super::{NOW, server_connection};

#[test]
fn every_kind_and_every_outcome_occurs_in_both_directions() {
    let file = Vectors::read();
    let kinds = |vectors: &[ControlVector]| -> BTreeSet<u8> {
        let understood = |vector: &&ControlVector| vector.outcome == ControlOutcome::Understood;
        vectors.iter().filter(understood).map(|vector| vector.body()[0]).collect()
    };
    assert_eq!(kinds(&file.requests), (0x01..=0x08).collect());
    assert_eq!(kinds(&file.notices), (0x81..=0x8a).collect());
    for outcome in [
        ControlOutcome::Understood,
        ControlOutcome::Tolerated,
        ControlOutcome::UnknownKind,
        ControlOutcome::Malformed,
    ] {
        for vectors in [&file.requests, &file.notices] {
            assert!(vectors.iter().any(|vector| vector.outcome == outcome), "{outcome:?}");
        }
    }
}

#[test]
fn servers_read_requests_and_clients_write_them() {
    for vector in &Vectors::read().requests {
        let request = Request::decode(vector.body());
        let encoded = request.map(|request| {
            let mut frame = Vec::new();
            request.encode(&mut frame);
            frame
        });
        check(vector, request.map(|request| meaning::of_request(&request)), encoded);
    }
}

#[test]
fn clients_read_notices_and_servers_write_them() {
    for vector in &Vectors::read().notices {
        let notice = Notice::decode(vector.body());
        let encoded = notice.map(|notice| {
            let mut frame = Vec::new();
            match notice {
                Notice::Dropped(entries) => {
                    let entries: Vec<Dropped> = entries.iter().collect();
                    Dropped::encode_all(&entries, &mut frame);
                }
                Notice::Peers(entries) if !entries.has_gap() => {
                    let entries: Vec<PeerNotice> = entries.iter().collect();
                    PeerNotice::encode_all(&entries, &mut frame);
                }
                Notice::Peers(_) => PeerNotice::encode_gap(&mut frame),
                notice => notice.encode(&mut frame),
            }
            frame
        });
        check(vector, notice.map(|notice| meaning::of_notice(&notice)), encoded);
    }
}

/// A frame that is cut anywhere is malformed, unless the cut is behind a whole field, a whole entry
/// or a whole character of its last part.
#[test]
fn control_frames_that_are_cut_are_malformed_or_lack_their_last_part() {
    let file = Vectors::read();
    for vector in file.requests.iter().chain(&file.notices) {
        if vector.outcome != ControlOutcome::Understood {
            continue;
        }
        let body = vector.body();
        for len in 0..body.len() {
            let cut = &body[..len];
            let error = match vector.wire[20] {
                0x00..0x80 => Request::decode(cut).err(),
                0x80.. => Notice::decode(cut).err(),
            };
            let expected = (!may_end(cut)).then_some(ControlError::Malformed);
            assert_eq!(error, expected, "{}, cut to {len} bytes", vector.name);
        }
    }
}

/// A server that reads several frames at once has said yes to HELLO before it looks at the next.
#[test]
fn a_message_in_the_same_read_as_hello_has_number_1() {
    let file = Vectors::read();
    for hello in file.requests.iter().filter(|vector| vector.then.is_some()) {
        let then = file.get(hello.then.as_ref().expect("it is there"));
        let stream = [&hello.wire[..], &then.wire].concat();
        for cut in 0..=stream.len() {
            let mut stream = stream.clone();
            let (first, second) = stream.split_at_mut(cut);
            let mut connection = server_connection(&file);
            let mut decoder = FrameDecoder::new();
            let mut forwarded = Vec::new();
            for mut input in [first, second] {
                while let Some(mut frame) = decoder.next_frame(&mut input).expect("it is short") {
                    match connection.handle_frame(&mut frame, NOW) {
                        Decision::Control => extend(&mut connection, &hello.wire[20..]),
                        Decision::Forward(_) | Decision::FirstContact(_) => {
                            forwarded.push(connection.handled());
                        }
                        Decision::KeepAlive | Decision::Reject(_) => panic!("cut at {cut}"),
                    }
                }
            }
            assert_eq!(forwarded, [Some(1)], "cut at {cut}");
        }
    }
    assert!(file.requests.iter().any(|vector| vector.then.is_some()));
}

#[test]
fn hello_in_base64url_is_its_body() {
    let file = Vectors::read();
    let mut all = String::new();
    for hello in &file.requests {
        if let Some(text) = &hello.base64url {
            assert_eq!(*text, base64url(hello.body()), "{}", hello.name);
            all += text;
        }
    }
    assert!(all.contains('-') && all.contains('_'), "{all}");
}

/// A server that may speak TLS on the same port looks at the first two bytes.
#[test]
fn no_hello_that_is_written_begins_like_tls() {
    let file = Vectors::read();
    let payload_len = |name: &str| {
        let vector = file.requests.iter().find(|vector| vector.name == name);
        vector.expect("it is there").wire.len() - 2
    };
    assert_eq!(payload_len("hello_with_a_payload_of_789_bytes"), 789);
    assert_eq!(payload_len("hello_that_would_have_a_payload_of_790_bytes"), 794);
    assert_eq!(payload_len("hello_with_a_payload_of_790_bytes"), 790);
    assert_eq!(payload_len("hello_with_a_payload_of_791_bytes"), 791);
    for vector in &file.requests {
        let begins_like_tls = vector.wire.starts_with(&[0x16, 0x03]);
        assert!(!begins_like_tls || vector.outcome == ControlOutcome::Tolerated, "{}", vector.name);
    }
}

/// Checks what a frame is decoded to, and what that is encoded to.
fn check(
    vector: &ControlVector,
    meaning: Result<Value, ControlError>,
    encoded: Result<Vec<u8>, ControlError>,
) {
    let name = &vector.name;
    let expected = match vector.outcome {
        ControlOutcome::Understood | ControlOutcome::Tolerated => {
            Ok(vector.meaning.clone().expect("it is spelled out"))
        }
        ControlOutcome::UnknownKind => Err(ControlError::UnknownKind(vector.body()[0])),
        ControlOutcome::Malformed => Err(ControlError::Malformed),
    };
    assert!(meaning == expected, "{name}: {meaning:?}, not {expected:?}");
    assert_eq!(vector.meaning.is_some(), expected.is_ok(), "{name}");
    if let Ok(encoded) = encoded {
        let is_written_so = vector.outcome == ControlOutcome::Understood;
        assert_eq!(encoded == vector.wire, is_written_so, "{name}: {encoded:x?}");
    }
}

/// Returns whether the beginning of a frame that is understood is a whole frame, too.
fn may_end(body: &[u8]) -> bool {
    let Some((&kind, rest)) = body.split_first() else { return false };
    // The length of the part that must be there, in bytes, without the kind.
    let part = |len| rest.get(len..);
    match kind {
        0x01 => part(9).is_some_and(are_fields),
        0x02 => part(8).is_some(),
        0x03 | 0x04 => part(16).is_some(),
        0x05 | 0x07 | 0x08 => true,
        0x06 | 0x86 => part(1).is_some(),
        0x81 => part(24).is_some_and(are_fields),
        0x82 => part(36).is_some(),
        0x83 => part(9).is_some(),
        0x84 => part(21).is_some(),
        0x85 => part(16).is_some_and(are_fields),
        0x87 => part(4).is_some(),
        0x88 => part(4).is_some_and(|text| str::from_utf8(text).is_ok()),
        0x89 => part(13).is_some(),
        0x8a => part(10).is_some_and(|text| str::from_utf8(text).is_ok()),
        kind => panic!("kind {kind:#x} is not understood"),
    }
}

/// Returns whether the bytes are whole fields.
fn are_fields(mut bytes: &[u8]) -> bool {
    while let [_tag, low, high, rest @ ..] = bytes {
        match rest.get(usize::from(u16::from_le_bytes([*low, *high]))..) {
            Some(rest) => bytes = rest,
            None => return false,
        }
    }
    bytes.is_empty()
}

/// Does what a driver does with the body of a HELLO.
fn extend(connection: &mut ServerConnection, body: &[u8]) {
    match connection.handle_control(body, true) {
        Ok(Request::Hello(hello)) => connection.extend(&hello, hello.wants),
        other => panic!("{other:?} is no HELLO"),
    }
}

/// Returns base64 with the alphabet for URLs, without padding.
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digits = |chunk: &[u8]| {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | usize::from(*chunk.get(at).unwrap_or(&0)));
        let digit = move |at| char::from(ALPHABET[bits >> (18 - 6 * at) & 63]);
        (0..=chunk.len()).map(digit).collect::<String>()
    };
    bytes.chunks(3).map(digits).collect()
}
