//! Any stream, with any cuts and any maximum: the decoder against a plain restatement.
//!
//! Input: maximum length (2 bytes), number of cuts and the cuts (1 byte each), the stream.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waddell_tests::checks;

fuzz_target!(|data: &[u8]| {
    let Some((max_len, data)) = data.split_first_chunk() else { return };
    let Some((&cut_count, data)) = data.split_first() else { return };
    let (cuts, stream) = data.split_at(usize::from(cut_count).min(data.len()));
    let cuts: Vec<u16> = cuts.iter().map(|&cut| u16::from(cut)).collect();
    checks::frame_decoder(stream, &cuts, u16::from_le_bytes(*max_len));
});
