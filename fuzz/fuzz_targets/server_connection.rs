//! Any stream, with any cuts, through the server's side of a connection.
//!
//! Input: number of cuts and the cuts (1 byte each), the stream.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waddell_core::PeerId;
use waddell_tests::checks;

fuzz_target!(|data: &[u8]| {
    let Some((&cut_count, data)) = data.split_first() else { return };
    let (cuts, stream) = data.split_at(usize::from(cut_count).min(data.len()));
    let cuts: Vec<u16> = cuts.iter().map(|&cut| u16::from(cut)).collect();
    checks::server_connection(PeerId::from_random([1; 16]), stream, &cuts);
});
