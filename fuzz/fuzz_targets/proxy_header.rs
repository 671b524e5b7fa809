//! The beginning of any stream, in two pieces, through the parser of PROXY headers.
//!
//! Input: place of the cut (2 bytes, little-endian), the stream.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((cut, stream)) = data.split_first_chunk() else { return };
    waddell_server::internals::proxy_header(stream, usize::from(u16::from_le_bytes(*cut)));
});
