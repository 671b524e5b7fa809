//! Options about STUN and TURN servers.

use std::path::PathBuf;
use std::time::Duration;

use crate::ice::url::IceUrl;

/// STUN and TURN servers that clients are told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceOptions {
    /// STUN servers. Default: none.
    pub stun: Vec<IceUrl>,
    /// TURN servers, which know the secret in `turn_secret`. Default: none.
    pub turn: Vec<IceUrl>,
    /// The file with the secret from which credentials for TURN are made, as in coturn's
    /// `static-auth-secret`. Default: none.
    pub turn_secret: Option<PathBuf>,
    /// How long credentials are valid, from 5 min to 24 h. Default 1 h.
    pub turn_ttl: Duration,
}

impl Default for IceOptions {
    fn default() -> Self {
        Self {
            stun: Vec::new(),
            turn: Vec::new(),
            turn_secret: None,
            turn_ttl: Duration::from_secs(3_600),
        }
    }
}
