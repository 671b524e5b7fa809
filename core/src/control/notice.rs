//! Control frames that the server sends.

use alloc::vec::Vec;
use core::fmt;
use core::str;

use bytes::BufMut;

use super::bytes::{Reader, bounded, entries, put_field, set_once};
use super::dropped::{Dropped, DroppedEntries, KIND_DROPPED};
use super::hello::{IceServers, KIND_WELCOME, MAX_TOKEN_LEN, Welcome};
use super::peer::{KIND_PEER, PeerNotice, PeerNotices};
use super::{CloseCode, ControlError, MAX_CONTROL_BODY, put_frame};
use crate::id::PeerId;

/// A control frame that the server sends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Notice<'a> {
    /// The answer to HELLO.
    Welcome(Welcome<'a>),
    /// Frames of the client were dropped.
    Dropped(DroppedEntries<'a>),
    /// The answer to SYNC.
    Handled(Handled),
    /// The state of peers has changed, or was asked for.
    Peers(PeerNotices<'a>),
    /// The answer to RENEW.
    Renewed {
        /// The client's id from here on. It is the old one if the server gave no new one.
        id: PeerId,
        /// Resume token for the next connection, 1 to 255 bytes.
        resume_token: Option<&'a [u8]>,
    },
    /// A new resume token, 1 to 255 bytes. It replaces the one before.
    Token(&'a [u8]),
    /// The answer to AUTH.
    Authorized {
        /// When the credentials expire, in seconds from now; 0: never.
        expires_in: u32,
    },
    /// The answer to ICE.
    Ice(IceServers<'a>),
    /// The server will stop.
    Restarting(Restarting),
    /// The server ends this connection. No frame comes after it.
    Closing(Closing<'a>),
}

/// Every frame up to a number was handled, and every DROPPED about them came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handled {
    /// Number of the last frame that was handled.
    pub upto: u64,
    /// Whether every dropped frame was told. If not, the fate of frames up to `upto` is unknown.
    pub complete: bool,
}

/// When the server will stop, and when to connect again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restarting {
    /// Time until this connection ends, in milliseconds.
    pub in_ms: u32,
    /// Time to wait after that before the next dial, in milliseconds.
    pub wait_ms: u32,
    /// Longest random time to wait in addition, in milliseconds.
    pub spread_ms: u32,
    /// Whether to dial another address, if the client has several.
    pub elsewhere: bool,
}

/// Why the server ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing<'a> {
    /// Why, and whether to connect again.
    pub code: CloseCode,
    /// Number of the last frame that the server handled.
    pub handled: u64,
    /// The reason in words, at most 123 bytes.
    pub reason: &'a str,
}

impl<'a> Notice<'a> {
    /// Reads the body of a control frame.
    ///
    /// # Errors
    ///
    /// [`ControlError`] if the kind is unknown or the body is malformed. Ignore the frame then.
    pub fn decode(body: &'a [u8]) -> Result<Self, ControlError> {
        let mut body = Reader(bounded(body, MAX_CONTROL_BODY)?);
        Ok(match body.u8()? {
            KIND_WELCOME => Self::Welcome(Welcome::decode(body)?),
            KIND_DROPPED => Self::Dropped(DroppedEntries(entries(body.0, Dropped::LEN)?)),
            KIND_HANDLED => {
                let (upto, flags) = (body.u64()?, body.u8()?);
                Self::Handled(Handled { upto, complete: flags & FLAG_COMPLETE != 0 })
            }
            KIND_PEER => Self::Peers(PeerNotices(entries(body.0, PeerNotice::LEN)?)),
            KIND_RENEWED => {
                let id = body.id()?;
                let mut resume_token = None;
                while let Some((tag, value)) = body.field()? {
                    if tag == TAG_TOKEN {
                        set_once(&mut resume_token, bounded(value, MAX_TOKEN_LEN)?)?;
                    }
                }
                Self::Renewed { id, resume_token }
            }
            KIND_TOKEN => Self::Token(bounded(body.0, MAX_TOKEN_LEN)?),
            KIND_AUTHORIZED => Self::Authorized { expires_in: body.u32()? },
            KIND_ICE => Self::Ice(IceServers::decode(body)?),
            KIND_RESTARTING => {
                let (in_ms, wait_ms, spread_ms) = (body.u32()?, body.u32()?, body.u32()?);
                let elsewhere = body.u8()? & FLAG_ELSEWHERE != 0;
                Self::Restarting(Restarting { in_ms, wait_ms, spread_ms, elsewhere })
            }
            KIND_CLOSING => {
                let (code, handled) = (CloseCode(body.u16()?), body.u64()?);
                let reason = str::from_utf8(body.0).map_err(|_| ControlError::Malformed)?;
                Self::Closing(Closing { code, handled, reason })
            }
            kind => return Err(ControlError::UnknownKind(kind)),
        })
    }

    /// Appends the frame to `out`, prefix included.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Welcome(welcome) => welcome.encode(out),
            Self::Dropped(DroppedEntries(entries)) => {
                put_frame(out, KIND_DROPPED, |out| out.put_slice(entries));
            }
            Self::Handled(Handled { upto, complete }) => put_frame(out, KIND_HANDLED, |out| {
                out.put_u64_le(upto);
                out.put_u8(if complete { FLAG_COMPLETE } else { 0 });
            }),
            Self::Peers(PeerNotices(entries)) => {
                put_frame(out, KIND_PEER, |out| out.put_slice(entries));
            }
            Self::Renewed { id, resume_token } => put_frame(out, KIND_RENEWED, |out| {
                out.put_slice(id.as_bytes());
                if let Some(token) = resume_token {
                    put_field(out, TAG_TOKEN, token);
                }
            }),
            Self::Token(token) => put_frame(out, KIND_TOKEN, |out| out.put_slice(token)),
            Self::Authorized { expires_in } => {
                put_frame(out, KIND_AUTHORIZED, |out| out.put_u32_le(expires_in));
            }
            Self::Ice(ice) => put_frame(out, KIND_ICE, |out| ice.put(out)),
            Self::Restarting(notice) => put_frame(out, KIND_RESTARTING, |out| {
                out.put_u32_le(notice.in_ms);
                out.put_u32_le(notice.wait_ms);
                out.put_u32_le(notice.spread_ms);
                out.put_u8(if notice.elsewhere { FLAG_ELSEWHERE } else { 0 });
            }),
            Self::Closing(closing) => put_frame(out, KIND_CLOSING, |out| {
                out.put_u16_le(closing.code.0);
                out.put_u64_le(closing.handled);
                out.put_slice(closing.reason.as_bytes());
            }),
        }
    }
}

impl fmt::Debug for Notice<'_> {
    /// Shows no resume token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Welcome(welcome) => welcome.fmt(f),
            Self::Dropped(entries) => f.debug_list().entries(entries.iter()).finish(),
            Self::Handled(handled) => handled.fmt(f),
            Self::Peers(entries) => f.debug_list().entries(entries.iter()).finish(),
            Self::Renewed { id, .. } => write!(f, "Renewed {{ id: {id}, .. }}"),
            Self::Token(_) => f.write_str("Token(..)"),
            Self::Authorized { expires_in } => write!(f, "Authorized {{ {expires_in} s }}"),
            Self::Ice(ice) => ice.fmt(f),
            Self::Restarting(restarting) => restarting.fmt(f),
            Self::Closing(closing) => closing.fmt(f),
        }
    }
}

const KIND_HANDLED: u8 = 0x83;
const KIND_RENEWED: u8 = 0x85;
const KIND_TOKEN: u8 = 0x86;
const KIND_AUTHORIZED: u8 = 0x87;
const KIND_ICE: u8 = 0x88;
const KIND_RESTARTING: u8 = 0x89;
const KIND_CLOSING: u8 = 0x8a;

const TAG_TOKEN: u8 = 1;

const FLAG_COMPLETE: u8 = 1;
const FLAG_ELSEWHERE: u8 = 1;
