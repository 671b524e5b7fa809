//! Properties of private parsers, for fuzz targets and property tests. No part of the library's
//! interface.

use crate::entry::proxy_header::{MAX_LEN, Start};
use crate::forward::proxy_watch::ProxyWatch;

/// Checks that a stream is classified the same wherever it is cut.
///
/// # Panics
///
/// If it is classified differently.
pub fn proxy_header(stream: &[u8], cut: usize) {
    let whole = Start::of(stream);
    let begin = &stream[..cut.min(stream.len())];
    match Start::of(begin) {
        Start::Incomplete => {}
        decided => assert_eq!(decided, whole, "after {} bytes", begin.len()),
    }
    match whole {
        Start::Incomplete => assert!(stream.len() < MAX_LEN, "so many bytes are enough to decide"),
        Start::Header(header) => {
            assert!(header.len <= stream.len());
            let mut watch = ProxyWatch::new();
            let found = watch.finds_header(begin) || watch.finds_header(&stream[begin.len()..]);
            assert!(found, "a ProxyWatch finds it");
            for end in [header.len - 1, header.len.min(16) - 1] {
                assert_eq!(
                    Start::of(&stream[..end]),
                    Start::Incomplete,
                    "the header is not whole yet"
                );
            }
        }
        Start::Other | Start::Broken => {}
    }
}
