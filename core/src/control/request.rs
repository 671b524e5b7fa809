//! Control frames that a client sends.

use alloc::vec::Vec;
use core::fmt;

use bytes::BufMut;

use super::bytes::{Reader, bounded, entries};
use super::hello::{Hello, KIND_HELLO, MAX_CREDENTIALS_LEN};
use super::peer::PeerIds;
use super::{ControlError, MAX_CONTROL_BODY, put_frame};
use crate::id::PeerId;

/// A control frame that a client sends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    /// The client speaks the extension. Its first frame, and no other.
    Hello(Hello<'a>),
    /// Asks for HANDLED.
    Sync {
        /// `upto` of the last HANDLED that came; 0 if none did.
        seen: u64,
    },
    /// Asks for PEER, now and whenever the state of these peers changes; 1 to 64 of them.
    Watch(PeerIds<'a>),
    /// Asks for no more PEER about these peers; 1 to 64 of them.
    Unwatch(PeerIds<'a>),
    /// Asks for a new id.
    Renew,
    /// Gives new credentials, 1 to 4,096 bytes.
    Auth(&'a [u8]),
    /// Asks for ICE servers.
    Ice,
    /// The client leaves, and will not resume its id.
    Bye,
}

impl<'a> Request<'a> {
    /// Reads the body of a control frame.
    ///
    /// # Errors
    ///
    /// [`ControlError`] if the kind is unknown or the body is malformed. Ignore the frame then.
    pub fn decode(body: &'a [u8]) -> Result<Self, ControlError> {
        let mut body = Reader(bounded(body, MAX_CONTROL_BODY)?);
        Ok(match body.u8()? {
            KIND_HELLO => Self::Hello(Hello::decode(body)?),
            KIND_SYNC => Self::Sync { seen: body.u64()? },
            KIND_WATCH => Self::Watch(ids(body.0)?),
            KIND_UNWATCH => Self::Unwatch(ids(body.0)?),
            KIND_RENEW => Self::Renew,
            KIND_AUTH => Self::Auth(bounded(body.0, MAX_CREDENTIALS_LEN)?),
            KIND_ICE => Self::Ice,
            KIND_BYE => Self::Bye,
            kind => return Err(ControlError::UnknownKind(kind)),
        })
    }

    /// Appends the frame to `out`, prefix included.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Hello(hello) => hello.encode(out),
            Self::Sync { seen } => put_frame(out, KIND_SYNC, |out| out.put_u64_le(seen)),
            Self::Watch(PeerIds(ids)) => put_frame(out, KIND_WATCH, |out| out.put_slice(ids)),
            Self::Unwatch(PeerIds(ids)) => put_frame(out, KIND_UNWATCH, |out| out.put_slice(ids)),
            Self::Renew => put_frame(out, KIND_RENEW, |_| {}),
            Self::Auth(credentials) => put_frame(out, KIND_AUTH, |out| out.put_slice(credentials)),
            Self::Ice => put_frame(out, KIND_ICE, |_| {}),
            Self::Bye => put_frame(out, KIND_BYE, |_| {}),
        }
    }
}

impl<'a> From<&'a PeerId> for PeerIds<'a> {
    /// Makes a list of one id.
    fn from(id: &'a PeerId) -> Self {
        Self(id.as_bytes())
    }
}

impl fmt::Debug for Request<'_> {
    /// Does not show credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hello(hello) => hello.fmt(f),
            Self::Sync { seen } => write!(f, "Sync {{ seen: {seen} }}"),
            Self::Watch(ids) => write!(f, "Watch({ids:?})"),
            Self::Unwatch(ids) => write!(f, "Unwatch({ids:?})"),
            Self::Renew => f.write_str("Renew"),
            Self::Auth(_) => f.write_str("Auth(..)"),
            Self::Ice => f.write_str("Ice"),
            Self::Bye => f.write_str("Bye"),
        }
    }
}

fn ids(bytes: &[u8]) -> Result<PeerIds<'_>, ControlError> {
    entries(bytes, PeerId::LEN).map(PeerIds)
}

const KIND_SYNC: u8 = 0x02;
const KIND_WATCH: u8 = 0x03;
const KIND_UNWATCH: u8 = 0x04;
const KIND_RENEW: u8 = 0x05;
const KIND_AUTH: u8 = 0x06;
const KIND_ICE: u8 = 0x07;
const KIND_BYE: u8 = 0x08;
