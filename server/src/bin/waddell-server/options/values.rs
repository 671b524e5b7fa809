//! Values as operators write them: times, sizes, rates, networks, origins.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use http::uri::Authority;
use waddell_server::IpNet;

/// Parses a time that is not zero.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let time = delay(text)?;
    if time < Duration::from_millis(1) {
        return Err("expected a time from 1ms to 365d".to_owned());
    }
    Ok(time)
}

/// Parses a time in the range of TCP's timers.
pub(super) fn tcp_time(text: &str) -> Result<Duration, String> {
    let range = Duration::from_secs(1)..=Duration::from_secs(9 * 3600);
    time(text)
        .ok()
        .filter(|time| range.contains(time))
        .ok_or_else(|| "expected a time from 1s to 9h".to_owned())
}

/// Parses a time that may be zero.
pub(super) fn delay(text: &str) -> Result<Duration, String> {
    let time = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => humantime::parse_duration(text)
            .map_err(|_| "expected a time such as 10s, 500ms or 2m".to_owned())?,
    };
    if time > Duration::from_secs(86_400 * 365) {
        return Err("expected a time of at most 365d".to_owned());
    }
    Ok(time)
}

pub(super) fn bytes(text: &str) -> Result<usize, String> {
    size(text)
        .filter(|bytes| *bytes <= 1 << 30)
        .ok_or_else(|| "expected a size of at most 1GiB, such as 65536, 64KiB or 1MiB".to_owned())
}

/// Parses a limit on memory: 0, or at least 8 MiB, so that some of the largest frames fit.
pub(super) fn memory(text: &str) -> Result<usize, String> {
    size(text)
        .filter(|bytes| *bytes == 0 || *bytes >= 8 << 20)
        .ok_or_else(|| "expected a size of at least 8MiB, such as 256MiB or 1GiB, or 0".to_owned())
}

fn size(text: &str) -> Option<usize> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(factor)
}

/// Returns a time as an operator would write it: `10s`, `200ms`.
pub(super) fn time_text(time: Duration) -> String {
    if time.subsec_nanos() == 0 {
        format!("{}s", time.as_secs())
    } else {
        format!("{}ms", time.as_millis())
    }
}

/// Returns a switch as an operator would write it.
pub(super) const fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

/// Returns a size as an operator would write it: `1MiB`, `100`.
pub(super) fn size_text(bytes: usize) -> String {
    match (bytes.is_multiple_of(1 << 20), bytes.is_multiple_of(1 << 10)) {
        _ if bytes == 0 => "0".to_owned(),
        (true, _) => format!("{}MiB", bytes >> 20),
        (false, true) => format!("{}KiB", bytes >> 10),
        (false, false) => bytes.to_string(),
    }
}

pub(super) fn rate(text: &str) -> Result<NonZeroU32, String> {
    let rate = u32::try_from(bytes(text)?).ok().and_then(NonZeroU32::new);
    rate.ok_or_else(|| "expected at least 1 byte a second".to_owned())
}

pub(super) fn workers(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| *count <= 1024)
        .ok_or_else(|| "expected a number from 0 to 1024".to_owned())
}

/// Parses a network, or an address as a network of one. Networks of IPv4 addresses that are written
/// as IPv6 addresses become those of IPv4, because clients' addresses do.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    const EXPECTED: &str = "expected a network such as 10.0.0.0/8 or 192.0.2.1";
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    let network: IpNet = text.parse().map_err(|_| EXPECTED)?;
    match (network.addr().to_canonical(), network.prefix_len().checked_sub(96)) {
        (address @ IpAddr::V4(_), Some(len)) if network.addr().is_ipv6() => {
            IpNet::new(address, len).map_err(|_| EXPECTED.to_owned())
        }
        _ => Ok(network),
    }
}

/// Parses an origin: scheme, host and perhaps a port, without a path. Returns it as browsers send
/// it: in small letters, and without the scheme's own port.
pub(super) fn origin(text: &str) -> Result<String, String> {
    const EXPECTED: &str = "expected an origin such as https://example.org, without a path";
    let (scheme, authority) = text.split_once("://").ok_or(EXPECTED)?;
    let scheme = scheme.to_ascii_lowercase();
    if authority.contains('*') {
        return Err("wildcards are not supported: name each origin".to_owned());
    }
    if !authority.is_ascii() {
        return Err("write the host as browsers send it, in ASCII: xn--bcher-kva.example for \
             b\u{fc}cher.example"
            .to_owned());
    }
    if matches!(&*scheme, "ws" | "wss" | "tcp" | "tls") {
        return Err("this is the page's origin, so it begins with https:// or http://".to_owned());
    }
    let authority: Authority = authority.parse().map_err(|_| EXPECTED)?;
    let host = authority.host().to_ascii_lowercase();
    // A name of a user may stand before the host.
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    if scheme.is_empty()
        || !scheme.bytes().all(is_letter)
        || host.is_empty()
        || authority.as_str().contains('@')
    {
        return Err(EXPECTED.to_owned());
    }
    let port = match authority.as_str().get(host.len()..).unwrap_or_default() {
        "" => None,
        port => Some(port.trim_start_matches(':').parse::<u16>().map_err(|_| EXPECTED)?),
    };
    let own = match &*scheme {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    };
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => format!("[{}]", address.parse::<Ipv6Addr>().map_err(|_| EXPECTED)?),
        None => host,
    };
    Ok(match port.filter(|port| Some(*port) != own) {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_of_ipv4_addresses_may_be_written_as_ipv6() {
        for (written, meant) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.1", "192.0.2.1/32"),
            ("::ffff:192.0.2.1", "192.0.2.1/32"),
            ("::ffff:127.0.0.0/104", "127.0.0.0/8"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("2001:db8::/32", "2001:db8::/32"),
        ] {
            assert_eq!(network(written).map(|it| it.to_string()).as_deref(), Ok(meant));
        }
    }

    #[test]
    fn origins_are_as_browsers_send_them() {
        for (written, sent) in [
            ("https://example.org", "https://example.org"),
            ("HTTPS://Example.ORG", "https://example.org"),
            ("https://example.org:443", "https://example.org"),
            ("http://example.org:80", "http://example.org"),
            ("http://example.org:443", "http://example.org:443"),
            ("https://example.org:08443", "https://example.org:8443"),
            ("http://[::0:1]:8080", "http://[::1]:8080"),
            ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ] {
            assert_eq!(origin(written).as_deref(), Ok(sent), "{written}");
        }
    }

    #[test]
    fn origins_that_no_browser_sends_are_refused() {
        for (written, part) in [
            ("example.org", "https://example.org"),
            ("null", "https://example.org"),
            ("://example.org", "without a path"),
            ("https://", "without a path"),
            ("https://example.org/", "without a path"),
            ("https://example.org?", "without a path"),
            ("https://user@example.org", "without a path"),
            ("https://example.org:", "without a path"),
            ("https://example.org:70000", "without a path"),
            ("https://[::1", "without a path"),
            ("https://exa mple.org", "without a path"),
            ("https://*.example.org", "name each origin"),
            ("*://example.org", "without a path"),
            ("https://b\u{fc}cher.example", "xn--"),
            ("wss://example.org", "https:// or http://"),
        ] {
            let error = origin(written).expect_err(written);
            assert!(error.contains(part), "{written}: {error}");
        }
    }
}
