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

/// Descriptors that connections leave free: as many as the admin port may use, and as many again
/// for files, certificates and connections that are being refused.
const KEPT: usize = 128;

/// Returns the most connections for which there are descriptors. [`KEPT`] of them stay free, or a
/// quarter if there are few.
pub(crate) fn max_by_descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    max_within(limit, in_use())
}

/// Warns of limits for which there are too few descriptors.
pub(crate) fn warn_of_too_few(limits: &Limits, max_by_descriptors: usize) {
    let Limits { max_connections, max_connections_per_address, .. } = *limits;
    if max_connections_per_address >= max_by_descriptors {
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

fn max_within(limit: usize, in_use: usize) -> usize {
    let free = limit.saturating_sub(in_use);
    free - KEPT.min(free / 4)
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
        assert_eq!(max_within(1024, 24), 1000 - KEPT);
        assert_eq!(max_within(84, 20), 48);
        assert_eq!(max_within(10, 20), 0);
        assert_eq!(max_within(usize::MAX, 0), usize::MAX - KEPT);
    }
}
