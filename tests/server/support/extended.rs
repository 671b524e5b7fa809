//! A peer of the server under test that speaks the extension. What fails, fails the test.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};

use bytes::Bytes;
use waddell_core::{
    Capabilities, Dropped, Handled, Hello, MessageIn, Notice, PeerId, PeerNotice, Request, TopicId,
    Welcome,
};
use waddell_tests::transport::Via;

use super::peer::Peer;
use super::server::{Stream, TestServer};

/// Every part of the extension.
pub(crate) const ALL: Capabilities = Capabilities::from_bits(u32::MAX);

/// A connected peer that has said HELLO and got WELCOME.
pub(crate) struct Extended {
    peer: Peer,
    /// The body of WELCOME.
    pub(crate) welcome: Bytes,
    /// Messages and bodies of control frames that came while another kind was expected.
    messages: VecDeque<MessageIn>,
    notices: VecDeque<Bytes>,
}

impl Extended {
    /// Connects, wants everything, and takes the greeting and WELCOME.
    pub(crate) async fn connect(server: &TestServer, via: Via) -> Self {
        Self::over(server.dial(via).await, via, &Hello::new(ALL)).await
    }

    /// Makes a peer of a connection that is ready for HELLO.
    pub(crate) async fn over(stream: Stream, via: Via, hello: &Hello<'_>) -> Self {
        let mut frame = Vec::new();
        hello.encode(&mut frame);
        let peer = Peer::over_saying(stream, via, &frame).await;
        let (messages, notices) = (VecDeque::new(), VecDeque::new());
        let mut extended = Self { peer, welcome: Bytes::new(), messages, notices };
        extended.welcome = extended.notice().await;
        extended.peer.id = extended.welcome().id;
        extended
    }

    /// Connects with the resume token of an earlier connection.
    pub(crate) async fn resume(server: &TestServer, via: Via, token: &[u8]) -> Self {
        let hello = Hello { resume_token: Some(token), ..Hello::new(ALL) };
        Self::over(server.dial(via).await, via, &hello).await
    }

    /// Returns what WELCOME says.
    pub(crate) fn welcome(&self) -> Welcome<'_> {
        match Notice::decode(&self.welcome) {
            Ok(Notice::Welcome(welcome)) => welcome,
            other => panic!("{other:?} is no WELCOME"),
        }
    }

    /// Returns the resume token in WELCOME.
    pub(crate) fn token(&self) -> Vec<u8> {
        self.welcome().resume_token.expect("the server resumes").to_vec()
    }

    /// Returns the entries of the next control frame, which must be PEER.
    pub(crate) async fn peer_notices(&mut self) -> Vec<PeerNotice> {
        let notice = self.notice().await;
        match Notice::decode(&notice) {
            Ok(Notice::Peers(entries)) => entries.iter().collect(),
            other => panic!("{other:?} came instead of PEER"),
        }
    }

    /// Returns the next control frame, which must be HANDLED.
    pub(crate) async fn handled(&mut self) -> Handled {
        let notice = self.notice().await;
        match Notice::decode(&notice) {
            Ok(Notice::Handled(handled)) => handled,
            other => panic!("{other:?} came instead of HANDLED"),
        }
    }

    pub(crate) async fn request(&mut self, request: Request<'_>) {
        let mut frame = Vec::new();
        request.encode(&mut frame);
        self.peer.send_bytes(&frame).await;
    }

    /// Asks for HANDLED, and returns every entry of DROPPED that comes before it.
    pub(crate) async fn sync(&mut self) -> (Vec<Dropped>, Handled) {
        self.request(Request::Sync { seen: 0 }).await;
        let mut dropped = Vec::new();
        loop {
            let notice = self.notice().await;
            match Notice::decode(&notice) {
                Ok(Notice::Dropped(entries)) => dropped.extend(entries.iter()),
                Ok(Notice::Handled(handled)) => return (dropped, handled),
                other => panic!("{other:?} came instead of HANDLED"),
            }
        }
    }

    /// Returns the body of the next control frame.
    pub(crate) async fn notice(&mut self) -> Bytes {
        while self.notices.is_empty() {
            let message = self.peer.receive().await;
            self.keep(message);
        }
        self.notices.pop_front().expect("there is one")
    }

    /// Returns the next message of a peer.
    pub(crate) async fn message(&mut self) -> MessageIn {
        while self.messages.is_empty() {
            let message = self.peer.receive().await;
            self.keep(message);
        }
        self.messages.pop_front().expect("there is one")
    }

    /// Returns the bodies of all control frames up to the orderly end of the connection.
    pub(crate) async fn last_notices(&mut self) -> Vec<Bytes> {
        for message in self.peer.rest().await {
            self.keep(message);
        }
        self.notices.drain(..).collect()
    }

    fn keep(&mut self, message: MessageIn) {
        if message.from == PeerId::NIL {
            assert_eq!(message.topic, TopicId::CONTROL);
            self.notices.push_back(message.body);
        } else {
            self.messages.push_back(message);
        }
    }
}

impl Deref for Extended {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        &self.peer
    }
}

impl DerefMut for Extended {
    fn deref_mut(&mut self) -> &mut Peer {
        &mut self.peer
    }
}
