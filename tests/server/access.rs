//! Clients that have to show credentials.

mod attacks;
mod lobby;
mod refresh;
mod service;
mod subjects;
mod tokens;

use std::fs;

use tempfile::NamedTempFile;
use waddell_core::{Closing, Hello, MessageIn, Notice, PeerId, TopicId};
use waddell_server::ServerConfig;
use waddell_tests::transport::Via;

use crate::support::extended::{ALL, Extended};
use crate::support::peer::Peer;
use crate::support::server::TestServer;

/// Credentials in the file of [`Tokens`].
const ALICE: &[u8] = b"token-of-alice-0";
const BOB: &[u8] = b"a-token-that-is-bobs";

/// A file with the tokens of Alice and Bob.
struct Tokens(NamedTempFile);

impl Tokens {
    fn new() -> Self {
        Self(file("alice token-of-alice-0\nbob a-token-that-is-bobs\n"))
    }

    /// Makes a server ask for these tokens.
    fn require(&self, config: &mut ServerConfig) {
        config.access.tokens = Some(self.0.path().to_owned());
    }
}

/// Returns a file with this text, which has mode 600.
fn file(text: &str) -> NamedTempFile {
    let file = NamedTempFile::new().expect("there is room for it");
    fs::write(file.path(), text).expect("it can be written");
    file
}

/// Returns a HELLO with credentials.
fn hello(credentials: &[u8]) -> Hello<'_> {
    Hello { credentials: Some(credentials), ..Hello::new(ALL) }
}

fn encoded(hello: &Hello<'_>) -> Vec<u8> {
    let mut frame = Vec::new();
    hello.encode(&mut frame);
    frame
}

/// Connects with credentials that are good.
async fn connect(server: &TestServer, via: Via, credentials: &[u8]) -> Extended {
    Extended::over(server.dial(via).await, via, &hello(credentials)).await
}

/// Says these frames to a server that refuses the client. Returns what it says, and the code of
/// its close frame.
async fn refused(server: &TestServer, via: Via, frames: &[u8]) -> (Vec<MessageIn>, Option<u16>) {
    let mut peer = Peer::ungreeted(server.dial(via).await, via, frames).await;
    let said = peer.rest().await;
    (said, peer.close_code().flatten())
}

/// Returns what the only message, a CLOSING, says.
fn closing(said: &[MessageIn]) -> Closing<'_> {
    let [message] = said else { panic!("{said:?} is not one message") };
    assert_eq!((message.from, message.topic), (PeerId::NIL, TopicId::CONTROL));
    match Notice::decode(&message.body) {
        Ok(Notice::Closing(closing)) => closing,
        other => panic!("{other:?} is no CLOSING"),
    }
}

/// Asserts that the server refuses this HELLO with that code.
async fn assert_refused(server: &TestServer, via: Via, hello: &Hello<'_>, code: u16) {
    let (said, close_code) = refused(server, via, &encoded(hello)).await;
    let closing = closing(&said);
    assert_eq!((closing.code.0, closing.handled), (code, hello.first_number - 1), "{via:?}");
    assert_eq!(close_code, via.is_websocket().then_some(code), "{via:?}");
}
