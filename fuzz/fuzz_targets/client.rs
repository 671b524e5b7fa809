//! Any calls in any order on a client, against a plain model of a driver.
//!
//! Input: the configuration (1 byte), then the calls.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use waddell_core::{ClientConfig, Credentials};
use waddell_tests::checks;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, data)) = data.split_first() else { return };
    let duration = |index: u8| {
        let choices = [None, Some(0), Some(5_000), Some(u64::MAX)];
        choices[usize::from(index & 3)].map(Duration::from_millis)
    };
    let config = ClientConfig {
        reconnect_attempts: [0, 1, 10, u32::MAX][usize::from(choice & 3)],
        connect_timeout: duration(choice >> 2),
        keep_alive_interval: duration(choice >> 4),
        silence_timeout: duration(choice >> 6),
        extension: choice & 1 == 0,
        resume: choice & 2 == 0,
        ice: false,
        credentials: Credentials::None,
        addresses: 2,
        jitter_seed: u64::from(choice),
    };
    checks::client(config, &checks::Call::decode_all(data));
});
