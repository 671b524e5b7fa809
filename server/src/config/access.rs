//! Options about who may connect.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use ipnet::IpNet;

/// Who may connect. Without tokens, keys and a URL: every client.
///
/// The first of them that knows a client's credentials decides, in the order of the fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessOptions {
    /// File with lines `label token`. Default: none.
    pub tokens: Option<PathBuf>,
    /// File with the secret of JSON Web Tokens of HS256, 32 bytes or more. Default: none.
    pub secret: Option<PathBuf>,
    /// File with the public keys of JSON Web Tokens of EdDSA and ES256: a JSON Web Key Set, or PEM.
    /// Default: none.
    pub keys: Option<PathBuf>,
    /// Audiences, of which a JSON Web Token must have one. Default: none, so it may have none.
    pub audience: Vec<String>,
    /// Issuers, of which a JSON Web Token must have one. Default: any.
    pub issuer: Vec<String>,
    /// Where a service of the operator is asked, over HTTP. Default: none.
    pub url: Option<Uri>,
    /// Longest time for the service's answer. Default 5 s: clients wait for 10 s.
    pub timeout: Duration,
    /// What happens if the service does not decide. Default: the client is told to come back.
    pub failure: AuthFailure,
    /// Which clients need no credentials. Default: none.
    pub allow_legacy: AllowLegacy,
    /// Most connections of one subject at a time; 0: no limit. Credentials may lower it.
    /// Default 0.
    pub max_connections_per_subject: usize,
    /// Whether the log shows the subjects of clients. Default: no, because they name persons.
    pub log_subjects: bool,
}

/// What happens to a client if the service that is asked does not decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthFailure {
    /// The client is told to come back later.
    #[default]
    Closed,
    /// The client is admitted, with no subject.
    Open,
}

/// Which clients may connect without credentials, as those of 2015 do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AllowLegacy {
    /// None.
    #[default]
    Off,
    /// All.
    On,
    /// Those with an address in one of these networks.
    Networks(Vec<IpNet>),
}

impl Default for AccessOptions {
    fn default() -> Self {
        Self {
            tokens: None,
            secret: None,
            keys: None,
            audience: Vec::new(),
            issuer: Vec::new(),
            url: None,
            timeout: Duration::from_secs(5),
            failure: AuthFailure::Closed,
            allow_legacy: AllowLegacy::Off,
            max_connections_per_subject: 0,
            log_subjects: false,
        }
    }
}
