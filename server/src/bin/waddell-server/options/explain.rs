//! Errors in the operator's words: one line that names the option.

use std::fmt::Write as _;

use waddell_server::{BindError, PemKind, Scheme, TlsError};

/// Returns why a server cannot start, and the option that is to blame.
pub(crate) fn explain(error: &BindError) -> String {
    match error {
        BindError::NoListener => "--listen: at least one address is needed".to_owned(),
        BindError::NoCertificate { url } => {
            format!("--listen {url}: needs --cert and --key, or --self-signed")
        }
        BindError::Tls(error) => explain_tls(error),
        BindError::Listen { url, source } => format!("--listen {url}: {source}"),
        BindError::Inherited { address, scheme } => {
            let scheme = scheme.unwrap_or(Scheme::Tcp).as_str();
            format!(
                "--listen: there is no URL for the inherited socket on {address}; \
                 add --listen {scheme}://{address}, or remove the socket from the socket unit"
            )
        }
        BindError::Admin { address, source } => format!("--admin {address}: {source}"),
        other => other.to_string(),
    }
}

/// Returns why a certificate or a key cannot be used, and the option that is to blame.
pub(super) fn explain_tls(error: &TlsError) -> String {
    match (error, error.kind()) {
        (_, Some(PemKind::PrivateKey)) => format!("--key: {error}"),
        (_, Some(PemKind::Certificate)) | (TlsError::Unusable { .. }, None) => {
            format!("--cert: {error}")
        }
        // No option is to blame.
        _ => error.to_string(),
    }
}

/// Returns the name that is most like `written`, if one is alike at all. Of several, it is the
/// first.
pub(super) fn closest<'a>(written: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let alike = names.map(|name| (strsim::jaro(written, name), name));
    // Source of the bound: clap, for flags.
    let alike = alike.filter(|(likeness, _)| *likeness > 0.7);
    alike.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, name)| name)
}

/// Returns clap's error and its tip, if there is one, without the usage and in one line.
pub(super) fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let mut line = String::new();
    for part in text.lines().map(str::trim) {
        if part.starts_with("Usage:") || part.starts_with("For more information") {
            break;
        }
        if !part.is_empty() {
            let part = part.strip_prefix("error: ").unwrap_or(part);
            let separator = if line.is_empty() { "" } else { "; " };
            write!(line, "{separator}{part}").expect("strings can be written to");
        }
    }
    line
}
