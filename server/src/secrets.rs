//! What the server reads from the operator's files with secrets.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::ServerConfig;
use crate::ice::{IceError, IceServers};
use crate::resume::{ResumeKeyError, ResumeKeys};

/// What the server reads from the operator's files with secrets. A reload reads them again.
#[derive(Clone, Debug)]
pub(crate) struct Secrets {
    /// The keys of resume tokens.
    pub(crate) resume_keys: Arc<ResumeKeys>,
    /// The STUN and TURN servers that clients are told of, if there are any.
    pub(crate) ice: Option<Arc<IceServers>>,
}

impl Secrets {
    /// Makes those of a server without files.
    pub(crate) fn none() -> Self {
        Self { resume_keys: Arc::new(ResumeKeys::random()), ice: None }
    }

    /// Reads the files that the configuration names. `self` is what was read before: its random key
    /// stays good.
    ///
    /// # Errors
    ///
    /// A file cannot be read or used, or the options contradict each other.
    pub(crate) fn load(&self, config: &ServerConfig) -> Result<Self, SecretError> {
        let resume_keys = match &config.extension.resume_key {
            Some(path) => match ResumeKeys::read(path) {
                Ok(keys) => Arc::new(keys),
                Err(source) => return Err(SecretError::ResumeKeys { path: path.clone(), source }),
            },
            None if self.resume_keys.outlives_restart() => Arc::new(ResumeKeys::random()),
            None => Arc::clone(&self.resume_keys),
        };
        let ice = IceServers::load(&config.ice)?.map(Arc::new);
        Ok(Self { resume_keys, ice })
    }
}

/// A file with secrets cannot be used. The message begins with the option's flag, and has nothing
/// of a file's contents.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The keys of resume tokens.
    #[error("--resume-key {}: {source}", path.display())]
    ResumeKeys {
        /// The file.
        path: PathBuf,
        /// Why it cannot be used.
        source: ResumeKeyError,
    },
    /// The STUN and TURN servers.
    #[error("--{0}")]
    Ice(#[from] IceError),
}
