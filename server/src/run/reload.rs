//! What a new configuration changes in a running server, and what needs a restart.

use crate::config::ServerConfig;

/// Keeps in `next` what a running server cannot change.
///
/// Returns the names of the options that differ there, as the program's flags have them.
pub(super) fn keep_what_needs_a_restart(
    next: &mut ServerConfig,
    current: &ServerConfig,
) -> Vec<&'static str> {
    let mut kept = Vec::new();
    keep("listen", &mut next.listen, &current.listen, &mut kept);
    if next.identity.is_some() != current.identity.is_some() {
        keep("cert", &mut next.identity, &current.identity, &mut kept);
    }
    keep("workers", &mut next.workers, &current.workers, &mut kept);
    let (limits, in_use) = (&mut next.limits, &current.limits);
    // One outbox has to be small beside all of them.
    let total = in_use.outbox_total_bytes;
    if total != 0 && limits.outbox_bytes > total / 16 {
        keep("outbox", &mut limits.outbox_bytes, &in_use.outbox_bytes, &mut kept);
    }
    keep("outbox-total", &mut limits.outbox_total_bytes, &total, &mut kept);
    keep("tcp-keepalive", &mut next.tcp.keepalive, &current.tcp.keepalive, &mut kept);
    keep("tcp-user-timeout", &mut next.tcp.user_timeout, &current.tcp.user_timeout, &mut kept);
    keep("admin", &mut next.admin.address, &current.admin.address, &mut kept);
    kept
}

fn keep<T: Clone + PartialEq>(
    option: &'static str,
    next: &mut T,
    current: &T,
    kept: &mut Vec<&'static str>,
) {
    if next != current {
        next.clone_from(current);
        kept.push(option);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Limits, Timeouts};

    #[test]
    fn an_equal_configuration_changes_nothing() {
        let current = ServerConfig::default();
        let mut next = current.clone();
        assert_eq!(keep_what_needs_a_restart(&mut next, &current), [""; 0]);
        assert_eq!(next, current);
    }

    #[test]
    fn options_that_a_reload_keeps_are_named_and_the_rest_is_applied() {
        let current = ServerConfig::default();
        let timeouts = Timeouts { write: current.timeouts.write * 2, ..Timeouts::default() };
        let mut next = ServerConfig {
            listen: Vec::new(),
            workers: 3,
            timeouts: timeouts.clone(),
            ..ServerConfig::default()
        };
        assert_eq!(keep_what_needs_a_restart(&mut next, &current), ["listen", "workers"]);
        assert_eq!(next, ServerConfig { timeouts, ..current });
    }

    #[test]
    fn an_outbox_is_kept_only_if_it_is_too_large_beside_all_of_them() {
        let current = ServerConfig::default();
        let total = current.limits.outbox_total_bytes;
        for (outbox_bytes, expected) in [(total / 16, &[][..]), (total / 16 + 1, &["outbox"])] {
            let limits = Limits { outbox_bytes, ..Limits::default() };
            let mut next = ServerConfig { limits, ..ServerConfig::default() };
            assert_eq!(keep_what_needs_a_restart(&mut next, &current), expected);
        }
    }
}
