//! The process's file descriptors, of which each connection needs one.

use std::fs;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::config::Limits;

/// Raises this process's limit of file descriptors to the highest that the system allows.
///
/// If the system refuses, the limit stays. Programs call this before they start a server: a library
/// leaves the limits of its process alone.
pub fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // The server reads the limit when it starts.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// How many of the process's descriptors are for what. The rest is for certificates, and for
/// connections that are being refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Connections of clients.
    pub(crate) connections: usize,
    /// Connections of operators.
    pub(crate) admin: usize,
    /// Files that are being read for HTTP.
    pub(crate) files: usize,
}

/// Descriptors that connections leave free, unless there are few.
const KEPT: usize = 128;

impl Shares {
    /// Returns the shares of the descriptors that are free at the moment.
    pub(crate) fn now() -> Self {
        let limit = getrlimit(Resource::Nofile).current;
        let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        Self::of(limit.saturating_sub(in_use()))
    }

    fn of(free: usize) -> Self {
        let kept = KEPT.min(free / 4);
        Self { connections: free - kept, admin: (kept / 2).max(1), files: (kept / 8).max(1) }
    }
}

/// Warns of limits for which there are too few descriptors.
pub(crate) fn warn_of_too_few(limits: &Limits, max_by_descriptors: usize) {
    let Limits { max_connections, max_connections_per_address, .. } = *limits;
    if max_connections_per_address > max_by_descriptors {
        tracing::warn!(
            max_connections_per_address,
            max_by_descriptors,
            "max-connections-per-address cannot be reached: one address can take all file \
             descriptors; allow more with `ulimit -n` or LimitNOFILE=, or lower it"
        );
    }
    if max_connections > max_by_descriptors {
        tracing::warn!(
            max_connections,
            max_by_descriptors,
            "max-connections cannot be reached: there are too few file descriptors; allow more \
             with `ulimit -n` or LimitNOFILE=, or lower max-connections"
        );
    }
}

/// Returns how many descriptors are open; 0 where the system does not say.
fn in_use() -> usize {
    fs::read_dir("/dev/fd").map_or(0, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_descriptors_are_left_free() {
        for (free, connections, admin, files) in [
            (1000, 1000 - KEPT, 64, 16),
            (64, 48, 8, 2),
            (0, 0, 1, 1),
            (usize::MAX, usize::MAX - KEPT, 64, 16),
        ] {
            assert_eq!(Shares::of(free), Shares { connections, admin, files });
        }
    }
}
