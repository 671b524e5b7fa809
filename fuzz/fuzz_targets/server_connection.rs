//! Any stream, with any cuts, through the server's side of a connection.
//!
//! Input: number of cuts and the cuts (1 byte each), the stream. With an odd number of cuts, the
//! client says HELLO before the stream, and wants every part of the extension.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waddell_core::{Capabilities, Hello, PeerId};
use waddell_tests::checks;

fuzz_target!(|data: &[u8]| {
    let Some((&cut_count, data)) = data.split_first() else { return };
    let (cuts, rest) = data.split_at(usize::from(cut_count).min(data.len()));
    let cuts: Vec<u16> = cuts.iter().map(|&cut| u16::from(cut)).collect();
    let mut stream = Vec::new();
    if cut_count % 2 == 1 {
        Hello::new(Capabilities::from_bits(u32::MAX)).encode(&mut stream);
    }
    stream.extend_from_slice(rest);
    checks::server_connection(PeerId::from_random([1; 16]), &stream, &cuts);
});
