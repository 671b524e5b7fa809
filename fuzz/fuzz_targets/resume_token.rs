//! Any bytes as a resume token, and any claims as one of which a byte is changed.
//!
//! Input: place and change of the byte (1 byte each), id, generation, expiry, subject.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| waddell_server::internals::resume_token(data));
