//! Values as operators write them: times, sizes, rates, networks, origins.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

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

/// Parses a network, or an address as a network of one.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => Ok(IpNet::from(address.to_canonical())),
        Err(_) => text.parse(),
    };
    network.map_err(|_| "expected a network such as 10.0.0.0/8 or 192.0.2.1".to_owned())
}

/// Checks that an origin is as browsers write it: scheme, host and perhaps a port, without a path.
pub(super) fn origin(text: &str) -> Result<String, String> {
    let host = text.split_once("://").map(|(_, host)| host);
    match host {
        Some(host) if !host.is_empty() && !host.contains(['/', '?', '#']) => Ok(text.to_owned()),
        Some(_) | None => {
            Err("expected an origin such as https://example.org, without a path".to_owned())
        }
    }
}
