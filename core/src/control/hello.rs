//! HELLO and WELCOME: what a client asks for, and what it is granted.

use alloc::vec::Vec;
use core::fmt;
use core::str;

use bytes::BufMut;

use super::bytes::{Reader, bounded, put_field, set_once};
use super::{Capabilities, ControlError, EXTENSION_VERSION, put_frame};
use crate::id::PeerId;

/// The first frame of a client that speaks the extension.
///
/// ```text
///   01 | "wad2" | version u8 | wants u32 | fields
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The client's version of the extension.
    pub version: u8,
    /// The parts of the extension that the client wants.
    pub wants: Capabilities,
    /// Resume token of an earlier connection, 1 to 255 bytes.
    pub resume_token: Option<&'a [u8]>,
    /// Number of the first frame after this one.
    pub first_number: u64,
    /// Credentials, 1 to 4,096 bytes.
    pub credentials: Option<&'a [u8]>,
    /// `upto` of the last HANDLED that came; 0 if none did.
    pub seen: u64,
    /// Name and version of the client's program, at most 64 bytes; for the server's log.
    pub agent: Option<&'a str>,
}

impl<'a> Hello<'a> {
    /// Makes a HELLO without fields.
    pub const fn new(wants: Capabilities) -> Self {
        Self {
            version: EXTENSION_VERSION,
            wants,
            resume_token: None,
            first_number: 1,
            credentials: None,
            seen: 0,
            agent: None,
        }
    }

    /// Appends the frame to `out`, prefix included.
    ///
    /// Its fields must have the lengths that are written beside them.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_frame(out, KIND_HELLO, |out| {
            let start = out.len();
            out.put_slice(MAGIC);
            out.put_u8(self.version);
            out.put_u32_le(self.wants.bits());
            if let Some(token) = self.resume_token {
                put_field(out, TAG_RESUME_TOKEN, token);
            }
            if self.first_number != 1 {
                put_field(out, TAG_FIRST_NUMBER, &self.first_number.to_le_bytes());
            }
            if let Some(credentials) = self.credentials {
                put_field(out, TAG_CREDENTIALS, credentials);
            }
            if self.seen != 0 {
                put_field(out, TAG_SEEN, &self.seen.to_le_bytes());
            }
            if let Some(agent) = self.agent {
                put_field(out, TAG_AGENT, agent.as_bytes());
            }
            if out.len() - start == LOOKS_LIKE_TLS {
                put_field(out, TAG_PADDING, b"\0");
            }
        });
    }

    /// Reads what comes after the kind.
    pub(super) fn decode(mut body: Reader<'a>) -> Result<Self, ControlError> {
        if body.array()? != *MAGIC {
            return Err(ControlError::Malformed);
        }
        let version = body.u8()?;
        if version < EXTENSION_VERSION {
            return Err(ControlError::Malformed);
        }
        let wants = Capabilities::from_bits(body.u32()?);
        let mut hello = Self { version, ..Self::new(wants) };
        let (mut first_number, mut seen) = (None, None);
        while let Some((tag, value)) = body.field()? {
            match tag {
                TAG_RESUME_TOKEN => {
                    set_once(&mut hello.resume_token, bounded(value, MAX_TOKEN_LEN)?)?;
                }
                TAG_FIRST_NUMBER => set_once(&mut first_number, Reader(value).u64()?)?,
                TAG_CREDENTIALS => {
                    set_once(&mut hello.credentials, bounded(value, MAX_CREDENTIALS_LEN)?)?;
                }
                TAG_SEEN => set_once(&mut seen, Reader(value).u64()?)?,
                TAG_AGENT => {
                    let agent = bounded(value, MAX_AGENT_LEN)?;
                    let agent = str::from_utf8(agent).map_err(|_| ControlError::Malformed)?;
                    set_once(&mut hello.agent, agent)?;
                }
                _padding_or_unknown => {}
            }
        }
        hello.first_number = first_number.unwrap_or(hello.first_number);
        hello.seen = seen.unwrap_or(hello.seen);
        Ok(hello)
    }
}

impl fmt::Debug for Hello<'_> {
    /// Shows neither the resume token nor the credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello")
            .field("version", &self.version)
            .field("wants", &self.wants)
            .field("has_resume_token", &self.resume_token.is_some())
            .field("first_number", &self.first_number)
            .field("has_credentials", &self.credentials.is_some())
            .field("seen", &self.seen)
            .field("agent", &self.agent)
            .finish()
    }
}

/// The server's answer to HELLO.
///
/// ```text
///   81 | version u8 | flags u8 | granted u32 | id 16 | longest payload u16 | fields
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Welcome<'a> {
    /// The lower of both sides' versions.
    pub version: u8,
    /// Whether the client has the id of its resume token.
    pub resumed: bool,
    /// Whether the server reads a HELLO in the upgrade to WebSocket.
    pub reads_hello_in_upgrade: bool,
    /// Whether resume tokens outlive a restart of the server.
    pub tokens_outlive_restart: bool,
    /// The parts of the extension that the client has.
    pub granted: Capabilities,
    /// The client's id. It replaces that of the greeting.
    pub id: PeerId,
    /// Longest payload of a frame that the server takes, in bytes.
    pub max_payload: u16,
    /// Resume token for the next connection, 1 to 255 bytes.
    pub resume_token: Option<&'a [u8]>,
    /// Why the client does not have the id of its resume token.
    pub not_resumed: Option<NotResumed>,
    /// For how long the server resumes.
    pub windows: Option<ResumeWindows>,
    /// When the credentials expire, in seconds from now.
    pub credentials_expire_in: Option<u32>,
    /// ICE servers.
    pub ice: Option<IceServers<'a>>,
    /// How fast the client may send.
    pub rate: Option<WelcomeRate>,
    /// Interval of the server's pings in milliseconds; 0: it does not ping.
    pub ping_interval_ms: Option<u32>,
}

/// For how long the server resumes, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResumeWindows {
    /// A resume token is good for at least this long after the connection is lost.
    pub resume: u32,
    /// The id of a lost connection counts as away for this long, and as gone afterwards.
    pub away: u32,
}

/// How fast a client may send; 0: no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WelcomeRate {
    /// Frames a second.
    pub frames: u32,
    /// Bytes a second, prefixes included.
    pub bytes: u32,
}

/// ICE servers for WebRTC.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IceServers<'a> {
    /// For how long the credentials in them are valid, in seconds.
    pub valid_for: u32,
    /// JSON text of an array of `RTCIceServer`, at most 4,096 bytes.
    pub json: &'a str,
}

impl fmt::Debug for IceServers<'_> {
    /// Does not show the text: it contains credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServers").field("valid_for", &self.valid_for).finish_non_exhaustive()
    }
}

/// Why a resume token did not bring its id back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum NotResumed {
    /// The token has expired.
    Expired = 1,
    /// The token was not made by this server. Codes that are not listed here count as this.
    Forged = 2,
    /// The id was resumed with a newer token.
    Stale = 3,
    /// Too many connections claim the id.
    Contested = 4,
    /// The token belongs to other credentials.
    OtherSubject = 5,
    /// The server does not resume.
    Off = 6,
}

impl NotResumed {
    /// Returns the reason with that code on the wire.
    pub const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Expired,
            3 => Self::Stale,
            4 => Self::Contested,
            5 => Self::OtherSubject,
            6 => Self::Off,
            _ => Self::Forged,
        }
    }
}

impl<'a> Welcome<'a> {
    /// Makes a WELCOME without flags and fields.
    pub const fn new(granted: Capabilities, id: PeerId, max_payload: u16) -> Self {
        Self {
            version: EXTENSION_VERSION,
            resumed: false,
            reads_hello_in_upgrade: false,
            tokens_outlive_restart: false,
            granted,
            id,
            max_payload,
            resume_token: None,
            not_resumed: None,
            windows: None,
            credentials_expire_in: None,
            ice: None,
            rate: None,
            ping_interval_ms: None,
        }
    }

    /// Appends the frame to `out`, prefix included.
    ///
    /// Its fields must have the lengths that are written beside them.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_frame(out, KIND_WELCOME, |out| {
            out.put_u8(self.version);
            let flag = |set: bool, bit: u8| if set { bit } else { 0 };
            out.put_u8(
                flag(self.resumed, FLAG_RESUMED)
                    | flag(self.reads_hello_in_upgrade, FLAG_UPGRADE)
                    | flag(self.tokens_outlive_restart, FLAG_OUTLIVE),
            );
            out.put_u32_le(self.granted.bits());
            out.put_slice(self.id.as_bytes());
            out.put_u16_le(self.max_payload);
            if let Some(token) = self.resume_token {
                put_field(out, TAG_TOKEN, token);
            }
            if let Some(reason) = self.not_resumed {
                put_field(out, TAG_NOT_RESUMED, &[reason as u8]);
            }
            if let Some(windows) = self.windows {
                put_field(out, TAG_WINDOWS, &pair(windows.resume, windows.away));
            }
            if let Some(seconds) = self.credentials_expire_in {
                put_field(out, TAG_EXPIRES, &seconds.to_le_bytes());
            }
            if let Some(ice) = self.ice {
                out.put_u8(TAG_ICE);
                out.put_u16_le((4 + ice.json.len()) as u16);
                ice.put(out);
            }
            if let Some(rate) = self.rate {
                put_field(out, TAG_RATE, &pair(rate.frames, rate.bytes));
            }
            if let Some(interval) = self.ping_interval_ms {
                put_field(out, TAG_PING_INTERVAL, &interval.to_le_bytes());
            }
        });
    }

    /// Reads what comes after the kind.
    pub(super) fn decode(mut body: Reader<'a>) -> Result<Self, ControlError> {
        let version = body.u8()?;
        let flags = body.u8()?;
        let granted = Capabilities::from_bits(body.u32()?);
        let mut welcome = Self::new(granted, body.id()?, body.u16()?);
        welcome.version = version;
        welcome.resumed = flags & FLAG_RESUMED != 0;
        welcome.reads_hello_in_upgrade = flags & FLAG_UPGRADE != 0;
        welcome.tokens_outlive_restart = flags & FLAG_OUTLIVE != 0;
        while let Some((tag, value)) = body.field()? {
            let mut value = Reader(value);
            match tag {
                TAG_TOKEN => {
                    set_once(&mut welcome.resume_token, bounded(value.0, MAX_TOKEN_LEN)?)?;
                }
                TAG_NOT_RESUMED => {
                    set_once(&mut welcome.not_resumed, NotResumed::from_code(value.u8()?))?;
                }
                TAG_WINDOWS => {
                    let windows = ResumeWindows { resume: value.u32()?, away: value.u32()? };
                    set_once(&mut welcome.windows, windows)?;
                }
                TAG_EXPIRES => set_once(&mut welcome.credentials_expire_in, value.u32()?)?,
                TAG_ICE => set_once(&mut welcome.ice, IceServers::decode(value)?)?,
                TAG_RATE => {
                    let rate = WelcomeRate { frames: value.u32()?, bytes: value.u32()? };
                    set_once(&mut welcome.rate, rate)?;
                }
                TAG_PING_INTERVAL => set_once(&mut welcome.ping_interval_ms, value.u32()?)?,
                _unknown => {}
            }
        }
        Ok(welcome)
    }
}

impl fmt::Debug for Welcome<'_> {
    /// Does not show the resume token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Welcome")
            .field("version", &self.version)
            .field("resumed", &self.resumed)
            .field("granted", &self.granted)
            .field("id", &self.id)
            .field("max_payload", &self.max_payload)
            .field("not_resumed", &self.not_resumed)
            .finish_non_exhaustive()
    }
}

impl<'a> IceServers<'a> {
    /// Appends the seconds and the text.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.put_u32_le(self.valid_for);
        out.put_slice(self.json.as_bytes());
    }

    /// Reads the seconds and the text.
    pub(super) fn decode(mut body: Reader<'a>) -> Result<Self, ControlError> {
        let valid_for = body.u32()?;
        let json = str::from_utf8(body.0).map_err(|_| ControlError::Malformed)?;
        Ok(Self { valid_for, json })
    }
}

fn pair(first: u32, second: u32) -> [u8; 8] {
    (u64::from(first) | u64::from(second) << 32).to_le_bytes()
}

/// Longest resume token, in bytes.
pub const MAX_TOKEN_LEN: usize = 255;

/// Longest credentials, in bytes.
pub const MAX_CREDENTIALS_LEN: usize = 4_096;

/// Longest agent, in bytes.
pub const MAX_AGENT_LEN: usize = 64;

pub(super) const KIND_HELLO: u8 = 0x01;
pub(super) const KIND_WELCOME: u8 = 0x81;

/// The beginning of every HELLO, after its kind.
const MAGIC: &[u8; 4] = b"wad2";

/// A HELLO with this many bytes after its kind has a payload of 790 bytes. Its prefix would be
/// 16 03, the beginning of a TLS handshake, and an `auto` listener would take it for one.
const LOOKS_LIKE_TLS: usize = 0x0316 - 19;

const TAG_PADDING: u8 = 0;
const TAG_RESUME_TOKEN: u8 = 1;
const TAG_FIRST_NUMBER: u8 = 2;
const TAG_CREDENTIALS: u8 = 3;
const TAG_SEEN: u8 = 4;
const TAG_AGENT: u8 = 5;

const TAG_TOKEN: u8 = 1;
const TAG_NOT_RESUMED: u8 = 2;
const TAG_WINDOWS: u8 = 3;
const TAG_EXPIRES: u8 = 4;
const TAG_ICE: u8 = 5;
const TAG_RATE: u8 = 6;
const TAG_PING_INTERVAL: u8 = 7;

const FLAG_RESUMED: u8 = 1;
const FLAG_UPGRADE: u8 = 2;
const FLAG_OUTLIVE: u8 = 4;
