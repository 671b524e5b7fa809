//! What is wrong, in the operator's words: one line that names the option.

use std::fmt::Write as _;

use waddell_server::{BindError, PemKind, Scheme, TlsError};

/// Says in the operator's words why a server cannot start.
pub(crate) fn explain(error: &BindError) -> String {
    match error {
        BindError::NoListener => "--listen: at least one address is needed".to_owned(),
        BindError::NoCertificate { url } => format!("--listen {url}: needs --cert and --key"),
        BindError::Tls(error) => explain_tls(error),
        BindError::Listen { url, source } => format!("--listen {url}: {source}"),
        BindError::Inherited { address, scheme } => {
            let scheme = scheme.unwrap_or(Scheme::Tcp).as_str();
            format!(
                "--listen: {error}; add --listen {scheme}://{address}, \
                 or remove it from the socket unit"
            )
        }
        BindError::Admin { address, source } => format!("--admin {address}: {source}"),
        other => other.to_string(),
    }
}

/// Names the option to blame for a certificate or a key that cannot be used, and the reason.
pub(super) fn explain_tls(error: &TlsError) -> String {
    let option = match error.kind() {
        Some(PemKind::PrivateKey) => "--key",
        Some(PemKind::Certificate) | None => "--cert",
    };
    format!("{option}: {error}")
}

/// clap explains itself over several lines; the first says what is wrong, a tip may follow.
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
