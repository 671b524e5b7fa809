//! What the fuzz targets and the property tests hold against parsers that are private. No part of
//! the library's interface.

use crate::entry::proxy_header::{MAX_LEN, Start};
use crate::forward::proxy_watch::ProxyWatch;

/// A stream that is told for what it is stays that, however it is cut and whatever comes behind.
///
/// # Panics
///
/// If that is not so.
pub fn proxy_header(stream: &[u8], cut: usize) {
    let whole = Start::of(stream);
    let begin = &stream[..cut.min(stream.len())];
    match Start::of(begin) {
        Start::Open => {}
        told => assert_eq!(told, whole, "after {} bytes", begin.len()),
    }
    match whole {
        Start::Open => assert!(stream.len() < MAX_LEN, "it is told in the end"),
        Start::Header(header) => {
            assert!(header.len <= stream.len());
            let mut watch = ProxyWatch::new();
            let found = watch.finds_header(begin) || watch.finds_header(&stream[begin.len()..]);
            assert!(found, "whoever looks for one finds it");
            for end in [header.len - 1, header.len.min(16) - 1] {
                assert_eq!(Start::of(&stream[..end]), Start::Open, "none is whole too early");
            }
        }
        Start::Other | Start::Broken => {}
    }
}
