//! What HTTP demands of a request, whatever its path.

use std::borrow::Cow;

use http::header;
use http::uri::Authority;
use http::{Method, Request, Version};
use percent_encoding::percent_decode_str;

/// Returns what is wrong with a request that hyper could parse; `None` if it is valid.
///
/// Source: RFC 9112, sections 3.2 and 3.2.4.
pub(crate) fn fault<B>(request: &Request<B>) -> Option<&'static str> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if request.version() >= Version::HTTP_11 => {
            return Some("there is no header Host, which HTTP/1.1 requires");
        }
        (Some(_), Some(_)) => return Some("there is more than one header Host"),
        (Some(host), None) if !is_host(host.as_bytes()) => {
            return Some("the header Host is not a host and perhaps a port");
        }
        (None | Some(_), _) => {}
    }
    let uri = request.uri();
    if uri.path() == "*" && request.method() != Method::OPTIONS {
        return Some("the target * is for OPTIONS only");
    }
    let is_authority = uri.scheme().is_none() && uri.authority().is_some();
    if is_authority && request.method() != Method::CONNECT {
        return Some("the target must begin with a slash, or be a URL");
    }
    None
}

/// Returns about how many bytes the head of a request had.
pub(super) fn head_len<B>(request: &Request<B>) -> usize {
    // Two spaces, the version, and the ends of two lines.
    let fixed = 2 + "HTTP/1.1".len() + 4;
    // A colon, a space, and the end of the line.
    let headers = request.headers().iter();
    let headers = headers.map(|(name, value)| name.as_str().len() + value.len() + 4);
    let target = request.uri().path_and_query().map_or(1, |target| target.as_str().len());
    fixed + request.method().as_str().len() + target + headers.sum::<usize>()
}

/// A target without an authority has an empty host.
fn is_host(host: &[u8]) -> bool {
    host.is_empty() || (!host.contains(&b'@') && Authority::try_from(host).is_ok())
}

/// Returns the path of a request, decoded once; `None` if that is no text.
///
/// A percent sign without two hexadecimal digits stands for itself, as in browsers.
pub(super) fn path<B>(request: &Request<B>) -> Option<Cow<'_, str>> {
    percent_decode_str(request.uri().path()).decode_utf8().ok()
}

/// Returns whether RFC 9110 or RFC 5789 has this method.
pub(super) fn is_known(method: &Method) -> bool {
    [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::CONNECT,
        Method::OPTIONS,
        Method::TRACE,
        Method::PATCH,
    ]
    .contains(method)
}

/// The methods that every path has, as the value of the header `Allow`.
pub(crate) const ALLOWED: &str = "GET, HEAD, OPTIONS";

/// What is said of other methods.
pub(crate) const NOT_ALLOWED: &str = "only GET, HEAD and OPTIONS are served here";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        for host in ["", "localhost", "example.org:80", "192.0.2.1", "[2001:db8::1]:443"] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in ["a b", "a/b", "user@example.org", "http://example.org", "a, b", "[::1"] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}
