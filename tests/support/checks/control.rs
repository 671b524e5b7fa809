//! Checks of control frames.

use waddell_core::{
    Dropped, HEADER_LEN, MAX_CONTROL_BODY, MAX_ENTRIES, Notice, PREFIX_LEN, PeerNotice, Request,
};

/// Reads any body as a request and as a notice. Writes what can be read, and reads that.
///
/// # Panics
///
/// If what is read is not what was written.
pub fn control_body(body: &[u8]) {
    let as_request = Request::decode(body);
    let as_notice = Notice::decode(body);
    assert!(as_request.is_err() || as_notice.is_err(), "no kind is sent in both directions");
    assert!(body.len() <= MAX_CONTROL_BODY || (as_request.is_err() && as_notice.is_err()));
    if let Ok(read) = as_request {
        request(&read);
    }
    if let Ok(read) = as_notice {
        notice(&read);
    }
}

/// Writes a request and reads it.
///
/// # Panics
///
/// If what is read is not what was written, or if lists are empty or too long.
pub fn request(request: &Request<'_>) {
    let frame = written(|out| request.encode(out));
    assert_eq!(Request::decode(&frame[BODY..]), Ok(*request));
    match request {
        Request::Hello(_) => assert!(!frame.starts_with(b"\x16\x03"), "it begins like TLS"),
        Request::Watch(ids) | Request::Unwatch(ids) => {
            assert!((1..=MAX_ENTRIES).contains(&ids.iter().count()));
        }
        Request::Sync { .. } | Request::Renew | Request::Auth(_) | Request::Ice | Request::Bye => {}
    }
}

/// Writes a notice and reads it.
///
/// # Panics
///
/// If what is read is not what was written, or if lists are empty or too long.
pub fn notice(notice: &Notice<'_>) {
    let frame = written(|out| notice.encode(out));
    assert_eq!(Notice::decode(&frame[BODY..]), Ok(*notice));
    match notice {
        Notice::Dropped(entries) => {
            let entries: Vec<_> = entries.iter().collect();
            assert!((1..=MAX_ENTRIES).contains(&entries.len()));
            dropped(&entries);
        }
        Notice::Peers(entries) => {
            let entries: Vec<_> = entries.iter().collect();
            assert!(entries.len() <= MAX_ENTRIES);
            // Those with an unknown state are left out.
            if !entries.is_empty() {
                peers(&entries);
            }
        }
        Notice::Welcome(_)
        | Notice::Handled(_)
        | Notice::Renewed { .. }
        | Notice::Token(_)
        | Notice::Authorized { .. }
        | Notice::Ice(_)
        | Notice::Restarting(_)
        | Notice::Closing(_) => {}
    }
}

/// Writes the entries of DROPPED and reads them.
///
/// # Panics
///
/// If what is read is not what was written.
pub fn dropped(entries: &[Dropped]) {
    let frame = written(|out| Dropped::encode_all(entries, out));
    let Ok(Notice::Dropped(read)) = Notice::decode(&frame[BODY..]) else { panic!("{frame:x?}") };
    assert!(read.iter().eq(entries.iter().copied()));
}

/// Writes the entries of PEER and reads them.
///
/// # Panics
///
/// If what is read is not what was written.
pub fn peers(entries: &[PeerNotice]) {
    let frame = written(|out| PeerNotice::encode_all(entries, out));
    let Ok(Notice::Peers(read)) = Notice::decode(&frame[BODY..]) else { panic!("{frame:x?}") };
    assert!(read.iter().eq(entries.iter().copied()));
    assert!(!read.has_gap());
}

/// Returns a frame that is written after other bytes.
fn written(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = b"before".to_vec();
    encode(&mut out);
    let frame = out.strip_prefix(b"before").expect("what is there stays");
    assert_eq!(frame[..PREFIX_LEN], ((frame.len() - PREFIX_LEN) as u16).to_le_bytes());
    assert_eq!(frame[PREFIX_LEN..BODY], *b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff");
    assert!((1..=MAX_CONTROL_BODY).contains(&(frame.len() - BODY)));
    frame.to_vec()
}

/// The index of the body in a control frame.
const BODY: usize = PREFIX_LEN + HEADER_LEN;
