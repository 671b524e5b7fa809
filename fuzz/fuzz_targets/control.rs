//! Any body of a control frame, as a request of a client and as a notice of a server.
//!
//! Input: the body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waddell_tests::checks::control;

fuzz_target!(|data: &[u8]| control::control_body(data));
