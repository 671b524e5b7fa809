//! What is probably not meant, although the configuration can be used.

use std::time::SystemTime;

use clap::{Arg, CommandFactory};
use waddell_server::ServerConfig;

use super::Options;
use super::explain::closest;

/// Returns warnings about variables of the environment, one line each.
pub(crate) fn of_variables(names: impl Iterator<Item = String>) -> Vec<String> {
    let command = Options::command();
    let known = || command.get_arguments().filter_map(Arg::get_env).filter_map(|it| it.to_str());
    let is_unknown = |name: &String| {
        name.starts_with(PREFIX) && !is_of_kubernetes(name) && known().all(|known| known != name)
    };
    let mut warnings: Vec<_> = names
        .filter(is_unknown)
        .map(|name| {
            // All have the prefix in common, which says nothing.
            let written = name.trim_start_matches(PREFIX).to_ascii_uppercase();
            match closest(&written, known().filter_map(|known| known.strip_prefix(PREFIX))) {
                Some(known) => format!("{name} is no option; did you mean {PREFIX}{known}?"),
                None => format!("{name} is no option, and has no effect"),
            }
        })
        .collect();
    // The system has them in no order.
    warnings.sort();
    warnings
}

/// Returns a warning about the certificate, if there is one and it has expired.
pub(crate) fn of_certificate(config: &ServerConfig) -> Option<String> {
    let identity = config.identity.as_ref()?;
    let expires = identity.check().ok()??;
    (expires < SystemTime::now()).then(|| {
        let cert = identity.cert.display();
        let expires = humantime::format_rfc3339_seconds(expires);
        format!("--cert {cert}: expired at {expires}, so clients refuse it; renew it")
    })
}

/// Returns whether Kubernetes sets a variable of this name for a service called `waddell` or
/// `waddell-...`.
fn is_of_kubernetes(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.contains("_PORT_")
}

const PREFIX: &str = "WADDELL_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_are_no_option_are_named_with_the_likely_one() {
        let names = [
            "WADDELL_LISTEN",
            "WADDELL_MAX_CONNECTIONS_PER_ADDRESS",
            "WADDELL_LISTNE",
            "WADDELL_listen",
            "WADDELL_PROGRAMS",
            "WADDEL_LISTEN",
            "WADDELL_SERVICE_HOST",
            "WADDELL_SERVICE_PORT_HTTP",
            "WADDELL_PORT",
            "WADDELL_PORT_62443_TCP_ADDR",
            "PATH",
        ];
        let warnings = of_variables(names.into_iter().map(str::to_owned));
        assert_eq!(
            warnings,
            [
                "WADDELL_LISTNE is no option; did you mean WADDELL_LISTEN?",
                "WADDELL_PROGRAMS is no option, and has no effect",
                "WADDELL_listen is no option; did you mean WADDELL_LISTEN?",
            ]
        );
    }

    /// An option of such a name would be taken for Kubernetes' own.
    #[test]
    fn no_option_has_a_name_that_kubernetes_gives() {
        for argument in Options::command().get_arguments() {
            if let Some(name) = argument.get_env().and_then(|name| name.to_str()) {
                assert!(!is_of_kubernetes(name), "{name}");
            }
        }
    }
}
