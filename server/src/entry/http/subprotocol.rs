//! The subprotocol of a WebSocket, and the HELLO that can be in its name.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::HeaderValue;
use waddell_core::{MessageOut, PeerId, Request, TopicId};

/// What the server chooses of the subprotocols that a client offers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Subprotocol {
    name: Option<&'static str>,
    /// The frame of the HELLO that was in an offered name; empty if there is none.
    pub(super) hello: Vec<u8>,
}

impl Subprotocol {
    /// Chooses from the offered names. A HELLO counts if `reads_hello`, and if its client offers a
    /// second name that the server can answer with: the first is a secret, and too long.
    pub(super) fn choose(offered: &[&str], reads_hello: bool) -> Self {
        let offers = |name| offered.contains(&name);
        if reads_hello
            && offers(WITH_HELLO)
            && let Some(text) = offered.iter().find_map(|offer| offer.strip_prefix(HELLO_PREFIX))
            && let Some(hello) = hello_frame(text)
        {
            return Self { name: Some(WITH_HELLO), hello };
        }
        Self { name: offers(PLAIN).then_some(PLAIN), hello: Vec::new() }
    }

    /// Returns the value of the header that answers the client.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        self.name.map(HeaderValue::from_static)
    }
}

/// Returns the frame of a HELLO whose body is in this text.
fn hello_frame(text: &str) -> Option<Vec<u8>> {
    if text.len() > MAX_TEXT_LEN {
        return None;
    }
    let body = URL_SAFE_NO_PAD.decode(text).ok()?;
    let Ok(Request::Hello(_)) = Request::decode(&body) else { return None };
    let mut frame = Vec::new();
    MessageOut::new(PeerId::NIL, TopicId::CONTROL, body).encode(&mut frame).ok()?;
    Some(frame)
}

/// The subprotocol that the server accepts if a client offers it.
const PLAIN: &str = "waddell";

/// The subprotocol of a client whose HELLO was in the upgrade.
const WITH_HELLO: &str = "waddell.2";

/// What comes before a HELLO in an offered name.
const HELLO_PREFIX: &str = "waddell.2.hello.";

/// Longest text of a HELLO: that of 3 KiB. The head of a request has to have room for it.
const MAX_TEXT_LEN: usize = 4_096;

#[cfg(test)]
mod tests {
    use waddell_core::{Capabilities, Hello};

    use super::*;

    /// Returns the name that carries a HELLO with credentials of that length, and its frame.
    fn hello(credentials: usize) -> (String, Vec<u8>) {
        let credentials = vec![0xfb; credentials];
        let mut frame = Vec::new();
        let hello = Hello {
            credentials: (!credentials.is_empty()).then_some(&credentials),
            ..Hello::new(Capabilities::VERDICTS)
        };
        hello.encode(&mut frame);
        (HELLO_PREFIX.to_owned() + &URL_SAFE_NO_PAD.encode(&frame[20..]), frame)
    }

    #[test]
    fn a_hello_is_read_and_answered_with_the_second_name() {
        // The longest has a body of 3 KiB: 10 bytes, 3 of the field, and the credentials.
        for credentials in [0, 1, 2, 3, 3_072 - 13] {
            let (name, frame) = hello(credentials);
            for offers in [
                &["waddell.2", &*name, "waddell"][..],
                &["waddell", &name, "waddell.2"],
                &[&name, "waddell.2"],
            ] {
                let chosen = Subprotocol { name: Some(WITH_HELLO), hello: frame.clone() };
                assert_eq!(Subprotocol::choose(offers, true), chosen, "{credentials}");
            }
        }
    }

    #[test]
    fn all_else_is_answered_as_without_the_extension() {
        let (name, _) = hello(0);
        let (too_long, _) = hello(3_072 - 13 + 1);
        let cut = &name[..name.len() - 1];
        let padded = format!("{name}=");
        let no_hello = HELLO_PREFIX.to_owned() + &URL_SAFE_NO_PAD.encode(b"\x05");
        let standard = hello(9).0.replace('-', "+").replace('_', "/");
        for malformed in
            [&too_long, cut, &padded, &no_hello, &standard, HELLO_PREFIX, "waddell.2.hello"]
        {
            let plain = Subprotocol { name: Some(PLAIN), hello: Vec::new() };
            assert_eq!(
                Subprotocol::choose(&["waddell.2", malformed, "waddell"], true),
                plain,
                "{malformed}"
            );
            assert_eq!(
                Subprotocol::choose(&["waddell.2", malformed], true),
                Subprotocol::default()
            );
        }
        let plain = Subprotocol { name: Some(PLAIN), hello: Vec::new() };
        assert_eq!(
            Subprotocol::choose(&["waddell.2", &name, "waddell"], false),
            plain,
            "it is switched off"
        );
        assert_eq!(
            Subprotocol::choose(&[&name, "waddell"], true),
            plain,
            "there is no name to answer with"
        );
        assert_eq!(Subprotocol::choose(&["waddell.2"], true), Subprotocol::default());
        assert_eq!(Subprotocol::choose(&[], true), Subprotocol::default());
    }
}
