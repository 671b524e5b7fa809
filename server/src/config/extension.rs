//! Options about the extension of the protocol.

use std::path::PathBuf;
use std::time::Duration;

/// The extension of the protocol, which clients ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionOptions {
    /// Whether clients that ask for it get it. Default: they do.
    pub enabled: bool,
    /// File with the keys of resume tokens ([`ResumeKeys::read`](crate::ResumeKeys::read)).
    /// Default: none, so a random key is used until the end of the process.
    pub resume_key: Option<PathBuf>,
    /// How long a peer that has lost its connection can get its id back, at least. A token is valid
    /// for twice that time. Default 10 min: phones sleep for longer than the 2 min of others.
    pub resume_window: Duration,
    /// How long such a peer is away, and not gone. 0: it is never away. Default 30 s.
    pub away_time: Duration,
    /// How long peers are to wait after a shutdown. Default 0.
    pub restart_wait: Duration,
    /// Over which time peers are to spread their new connections after that. Default 5 s.
    pub restart_spread: Duration,
    /// Whether peers are to try the next server that they know first. Default: no.
    pub restart_elsewhere: bool,
}

impl Default for ExtensionOptions {
    fn default() -> Self {
        Self {
            enabled: true,
            resume_key: None,
            resume_window: Duration::from_secs(600),
            away_time: Duration::from_secs(30),
            restart_wait: Duration::ZERO,
            restart_spread: Duration::from_secs(5),
            restart_elsewhere: false,
        }
    }
}
