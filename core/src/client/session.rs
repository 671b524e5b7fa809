//! The extension on the client's side: HELLO, WELCOME, and the numbers of frames.

use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use bytes::Bytes;

use super::config::{ClientConfig, Credentials};
use super::extension::Extension;
use super::secret::Secret;
use crate::control::Capabilities;
use crate::control::hello::{Hello, Welcome};
use crate::control::request::Request;
use crate::frame::PREFIX_LEN;
use crate::message::HEADER_LEN;
use crate::time::Instant;

/// What the client knows of the extension on the present connection, and over all of them.
#[derive(Debug)]
pub(super) struct Session {
    wants: Capabilities,
    /// Number of the next frame after HELLO. It goes on over all connections, so a number names
    /// one frame of a client.
    next_number: u64,
    /// Whether HELLO was sent on the latest connection.
    said_hello: bool,
    /// `None` before WELCOME.
    extension: Option<Extension>,
    /// Whether the application wants to know whether the server speaks the extension.
    must_find: bool,
    /// Whether the server of this connection has handled HELLO without answering it.
    is_plain: bool,
    /// With which the next connection keeps the id.
    token: Option<Secret>,
    /// For the next HELLO.
    credentials: Option<Secret>,
    /// When new ones are due on this connection.
    credentials_due: Option<Instant>,
    /// Whether HELLO had the token on the latest connection.
    sent_token: bool,
    /// Whether the server reads HELLO in the upgrade to WebSocket.
    reads_upgrade: bool,
    /// Whether HELLO is in the upgrade of the present dial.
    in_upgrade: bool,
    /// When the connection that the token resumes was lost.
    lost_at: Option<Instant>,
    /// For how long after that the token is good.
    resume_window: Duration,
    /// `upto` of the last HANDLED, on this connection or on those that it resumes; 0 before.
    seen: u64,
    /// Number of connections in a row that were lost soon after HELLO and without WELCOME.
    hung_up_on: u8,
}

impl Session {
    pub(super) fn new(config: &ClientConfig) -> Self {
        let resume = if config.resume { Capabilities::RESUME } else { Capabilities::NONE };
        let ice = if config.ice { Capabilities::ICE } else { Capabilities::NONE };
        let auth = match config.credentials {
            Credentials::None => Capabilities::NONE,
            Credentials::Fixed | Credentials::Renewable => Capabilities::AUTH,
        };
        Self {
            wants: WANTS.with(resume).with(auth).with(ice),
            next_number: 1,
            said_hello: false,
            extension: None,
            must_find: false,
            is_plain: false,
            token: None,
            credentials: None,
            credentials_due: None,
            sent_token: false,
            reads_upgrade: false,
            in_upgrade: false,
            lost_at: None,
            resume_window: DEFAULT_RESUME_WINDOW,
            seen: 0,
            hung_up_on: 0,
        }
    }

    /// Begins a connection. Returns the HELLO to send, if there is to be one.
    ///
    /// A server may hang up on HELLO because it takes no frame as long. After two such connections
    /// every other one goes without. That cannot be why if the client has a resume token: the
    /// server has answered HELLO before.
    pub(super) fn begin(&mut self, extension: bool) -> Option<Bytes> {
        self.fail_upgrade();
        let in_turns = self.hung_up_on >= MAX_HUNG_UP_ON && self.token.is_none();
        self.said_hello = extension && !(in_turns && self.said_hello);
        self.sent_token = self.said_hello && self.token.is_some();
        self.said_hello.then(|| self.hello())
    }

    /// Begins a connection on which the server has read HELLO in the upgrade.
    pub(super) fn begin_upgraded(&mut self) {
        self.in_upgrade = false;
        self.said_hello = true;
        self.sent_token = self.token.is_some();
    }

    /// Returns the body of the HELLO that goes into the upgrade of the present dial.
    pub(super) fn upgrade_hello(&mut self) -> Option<Vec<u8>> {
        let hello = self.reads_upgrade.then(|| self.hello())?;
        let body = hello.get(PREFIX_LEN + HEADER_LEN..)?;
        self.in_upgrade = body.len() <= MAX_UPGRADE_HELLO;
        self.in_upgrade.then(|| body.to_vec())
    }

    /// Returns whether HELLO is in the upgrade of the present dial.
    pub(super) fn is_in_upgrade(&self) -> bool {
        self.in_upgrade
    }

    /// Records that the present dial has not brought HELLO to the server.
    pub(super) fn fail_upgrade(&mut self) {
        if mem::take(&mut self.in_upgrade) {
            self.reads_upgrade = false;
        }
    }

    /// Records that the next dial is to another address.
    pub(super) fn change_address(&mut self) {
        self.reads_upgrade = false;
    }

    fn hello(&self) -> Bytes {
        encode(&Request::Hello(Hello {
            resume_token: self.token.as_ref().map(|token| &token.0[..]),
            credentials: self.credentials.as_ref().map(|credentials| &credentials.0[..]),
            first_number: self.next_number,
            seen: self.seen,
            ..Hello::new(self.wants)
        }))
    }

    /// Records that the connection was lost, and whether it was soon after its beginning.
    pub(super) fn lose(&mut self, soon: bool, now: Instant) {
        if self.said_hello {
            let hung_up_on = soon && self.extension.is_none();
            self.hung_up_on = if hung_up_on { self.hung_up_on.saturating_add(1) } else { 0 };
        }
        if self.extension.take().is_some() {
            self.lost_at = Some(now);
        }
        self.is_plain = false;
        self.credentials_due = None;
    }

    /// Replaces the credentials.
    pub(super) fn set_credentials(&mut self, credentials: &[u8]) {
        self.credentials = Some(Secret(credentials.to_vec()));
    }

    /// Records when the credentials expire, in seconds from now; 0: never.
    pub(super) fn handle_expiry(&mut self, expires_in: u32, now: Instant) {
        // At four fifths of that time, so that there is some left to get new ones.
        let due = Duration::from_millis(u64::from(expires_in) * 800);
        self.credentials_due = if expires_in == 0 { None } else { now.checked_add(due) };
    }

    /// Returns when new credentials are due on this connection.
    pub(super) fn credentials_due(&self) -> Option<Instant> {
        self.credentials_due
    }

    /// Returns whether new credentials are due. Says so once.
    pub(super) fn take_credentials_due(&mut self, now: Instant) -> bool {
        self.credentials_due.take_if(|due| now >= *due).is_some()
    }

    /// Returns whether the next connection may keep the id. Forgets a token that is too old.
    pub(super) fn may_resume(&mut self, now: Instant) -> bool {
        if self.lost_at.is_some_and(|lost_at| now - lost_at > self.resume_window) {
            self.forget_token();
        }
        self.token.is_some()
    }

    /// Forgets the token: the next connection has a new id.
    pub(super) fn forget_token(&mut self) {
        self.token = None;
        self.seen = 0;
        self.lost_at = None;
    }

    /// Returns whether WELCOME is to be awaited: it tells which id the client has.
    pub(super) fn awaits_welcome(&self) -> bool {
        self.sent_token && self.extension.is_none()
    }

    /// Replaces the token.
    pub(super) fn set_token(&mut self, token: &[u8]) {
        if self.has(Capabilities::RESUME) {
            self.token = Some(Secret(token.to_vec()));
        }
    }

    /// Records that the server has handled every frame up to this time. Returns whether it is news
    /// that it does not speak the extension.
    pub(super) fn handle_silence(&mut self) -> bool {
        self.must_find = false;
        self.extension.is_none() && !mem::replace(&mut self.is_plain, true)
    }

    /// Returns whether it is not known whether the server speaks the extension.
    pub(super) fn is_open(&self) -> bool {
        self.extension.is_none() && !self.is_plain
    }

    /// Records that the application wants to know that.
    pub(super) fn find_extension(&mut self) {
        self.must_find = true;
    }

    /// Returns whether the application wants to know that.
    pub(super) fn must_find(&self) -> bool {
        self.must_find
    }

    /// Returns whether control frames from the server are to be read.
    pub(super) fn said_hello(&self) -> bool {
        self.said_hello
    }

    /// Returns the number of the next frame.
    pub(super) fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Takes the number of a frame that is emitted after HELLO.
    pub(super) fn take_number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number = number.saturating_add(1);
        number
    }

    /// Returns whether a frame with that number was emitted.
    pub(super) fn is_emitted(&self, number: u64) -> bool {
        number < self.next_number
    }

    /// Handles WELCOME. Returns what it grants, unless it came before on this connection.
    pub(super) fn handle_welcome(&mut self, welcome: &Welcome<'_>) -> Option<Extension> {
        if self.extension.is_some() {
            return None;
        }
        let Welcome { version, resumed, not_resumed, windows, max_payload, rate, .. } = *welcome;
        self.must_find = false;
        // No server resumes what it was not asked for.
        let resumed = resumed && self.sent_token;
        self.extension = Some(Extension {
            version,
            granted: welcome.granted & self.wants,
            resumed,
            not_resumed,
            windows,
            max_payload,
            rate,
        });
        if !resumed {
            self.forget_token();
        }
        self.lost_at = None;
        self.reads_upgrade = welcome.reads_hello_in_upgrade;
        if let Some(windows) = windows {
            self.resume_window = Duration::from_secs(windows.resume.into());
        }
        self.token = None;
        if let Some(token) = welcome.resume_token {
            self.set_token(token);
        }
        self.extension
    }

    /// Records HANDLED up to that number.
    pub(super) fn handle_handled(&mut self, upto: u64) {
        let last = self.next_number.saturating_sub(1);
        self.seen = self.seen.max(upto.min(last));
    }

    pub(super) fn extension(&self) -> Option<Extension> {
        self.extension
    }

    pub(super) fn has(&self, part: Capabilities) -> bool {
        self.extension.is_some_and(|extension| extension.granted.contains(part))
    }

    /// Returns the frame that asks what became of the frames so far.
    pub(super) fn sync(&self) -> Bytes {
        encode(&Request::Sync { seen: self.seen })
    }
}

/// Returns the frame of a request.
pub(super) fn encode(request: &Request<'_>) -> Bytes {
    let mut frame = Vec::new();
    request.encode(&mut frame);
    frame.into()
}

/// The parts of the extension that this client uses.
const WANTS: Capabilities = Capabilities::VERDICTS
    .with(Capabilities::PEERS)
    .with(Capabilities::RESTART)
    .with(Capabilities::RENEW);

/// Number of connections in a row that end at HELLO, after which some go without.
const MAX_HUNG_UP_ON: u8 = 2;

/// Longest HELLO in an upgrade, in bytes, so that the request's head stays below 8 KiB.
const MAX_UPGRADE_HELLO: usize = 3 << 10;

/// For how long a token is good if the server has not told.
const DEFAULT_RESUME_WINDOW: Duration = Duration::from_secs(600);
