//! A short run of `cargo xtask soak`: peers of every kind, and checks of the server's promises.
#![cfg(target_os = "linux")]

use std::path::PathBuf;
use std::time::Duration;

use waddell_soak::{Launch, Plan, soak};

#[test]
fn hundreds_of_peers_of_every_kind_break_no_promise() {
    let launch = Launch {
        program: PathBuf::from(env!("CARGO_BIN_EXE_waddell-server")),
        flags: Vec::new(),
        descriptors: None,
    };
    let plan = Plan { launch, duration: Duration::from_secs(12), peers: 250, seed: 5 };
    let report = soak(&plan).expect("the plan can be run");
    eprintln!("{report:#?}");
    assert_eq!(report.violations, [""; 0], "--seed {} --peers {}", plan.seed, plan.peers);
    // A run without events would prove nothing.
    assert!(report.quiet_points >= 3);
    for name in ["healthy messages", "wild sessions", "stalls", "resets", "vanished", "rubbish"] {
        assert!(report.counts[name] > 0, "{name}");
    }
    for name in
        ["frames_dropped{reason=\"unknown recipient\"}", "peers_hung_up{reason=\"misbehaved\"}"]
    {
        assert!(report.metrics[name] > 0, "{name}");
    }
}
