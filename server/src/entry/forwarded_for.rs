//! The header `X-Forwarded-For`, in which proxies name their clients.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;

use crate::config::TrustedProxies;

/// The header's name. Each proxy appends the address that it was contacted from.
pub(crate) const FORWARDED_FOR: &str = "x-forwarded-for";

/// Returns the address of the client for which a trusted proxy makes a request.
///
/// That is the last address in the header that is not a trusted proxy's. A trusted proxy appended
/// it; the addresses before it may be forged. A malformed entry ends the search: the address found
/// last is the client's.
pub(crate) fn client(trusted: &TrustedProxies, proxy: IpAddr, headers: &HeaderMap) -> IpAddr {
    let lines = headers.get_all(FORWARDED_FOR).iter().rev();
    let hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    let mut client = proxy;
    for hop in hops.map(<[u8]>::trim_ascii).filter(|hop| !hop.is_empty()) {
        if !trusted.contains(client) {
            break;
        }
        let Some(address) = address(hop) else { break };
        client = address;
    }
    client
}

/// Reads an address, with a port or without.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(hop).ok()?;
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let address = text
        .parse()
        .ok()
        .or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()))
        .or_else(bare);
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trusted() -> TrustedProxies {
        let networks = ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"];
        let networks = networks.map(|network| network.parse().unwrap()).to_vec();
        TrustedProxies { networks, send_header: false }
    }

    fn named(lines: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        client(&trusted(), [10, 0, 0, 1].into(), &headers).to_string()
    }

    #[test]
    fn trusted_networks_contain_their_addresses_in_any_notation() {
        for (address, is_trusted) in [
            ("10.255.0.1", true),
            ("::ffff:10.1.2.3", true),
            ("11.0.0.1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8::9", true),
            ("2001:db9::9", false),
        ] {
            assert_eq!(trusted().contains(address.parse().unwrap()), is_trusted, "{address}");
        }
    }

    #[test]
    fn the_client_is_the_last_address_that_is_not_trusted() {
        for (lines, expected) in [
            (&["203.0.113.9"][..], "203.0.113.9"),
            (&["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
            (&["1.1.1.1, 203.0.113.9, 10.2.3.4,192.0.2.7"], "203.0.113.9"),
            (&["1.1.1.1", "203.0.113.9", "10.2.3.4"], "203.0.113.9"),
            (&["203.0.113.9", "10.2.3.4 , 2001:db8::5"], "203.0.113.9"),
            (&[" 203.0.113.9\t,, ,"], "203.0.113.9"),
            (&["203.0.113.9:567"], "203.0.113.9"),
            (&["::ffff:203.0.113.9"], "203.0.113.9"),
            (&["2001:db9::1"], "2001:db9::1"),
            (&["[2001:db9::1]"], "2001:db9::1"),
            (&["[2001:db9::1]:567, 10.0.0.2:80"], "2001:db9::1"),
            // Only proxies, and no address at all.
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (&[""], "10.0.0.1"),
            (&[], "10.0.0.1"),
        ] {
            assert_eq!(named(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_malformed_entry_ends_the_search() {
        for malformed in
            ["unknown", "_hidden", "1.2.3", "1.2.3.4:port", "[::1", "fe80::1%eth0", "\"1.2.3.4\""]
        {
            assert_eq!(named(&[&format!("203.0.113.9, {malformed}")]), "10.0.0.1", "{malformed}");
            assert_eq!(named(&[&format!("203.0.113.9, {malformed}, 10.0.0.2")]), "10.0.0.2");
            assert_eq!(named(&[&format!("{malformed}, 203.0.113.9, 10.0.0.2")]), "203.0.113.9");
        }
    }

    proptest! {
        #[test]
        fn forged_entries_change_nothing(
            forged in "[ -~]{0,60}",
            proxies in prop::collection::vec(Just("10.9.8.7"), 0..3),
        ) {
            let mut chain = vec![forged.as_str(), "203.0.113.9"];
            chain.extend(proxies);
            prop_assert_eq!(named(&[&chain.join(", ")]), "203.0.113.9");
            prop_assert_eq!(named(&chain), "203.0.113.9");
        }
    }
}
