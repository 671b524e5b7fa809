//! The waddell signaling protocol as a library that performs no I/O.
//!
//! Peers connect to a server, are given a random id each, and send each other small messages by
//! id and topic. This crate knows the bytes and the rules; sockets, timers, clocks and random
//! numbers are its *drivers'*: everything it needs is an argument, everything it decides is a
//! return value.
//!
//! ```text
//!                        the server's path, frame by frame
//!   bytes in    read into a scratch buffer that the driver lends
//!   -> frame    FrameDecoder::next_frame(&mut input)         where it lies, prefix included
//!   -> decide   ServerConnection::handle_frame(&mut frame)   stamps the sender
//!               -> Decision: Forward(recipient) | KeepAlive | Control | Reject(reason)
//!   -> forward  the driver's: it knows the connected peers and their outboxes
//!
//!                        the client's path
//!   bytes in    Client::handle_bytes(&mut input)
//!   -> output   Client::poll_output() -> Dial | Transmit | HangUp | Event
//!   -> topic    Inbox::push(message), Inbox::pop(topic)
//! ```
//!
//! # The driver's contract
//!
//! Methods come in four kinds: getters, commands (`send`, `close`), `handle_*` for what has
//! happened, `poll_*` for what to do next. After every call on a [`Client`] that takes
//! `&mut self`, drain `poll_output` to `None`, then sleep no longer than `poll_timeout`. Calls
//! may come in any order and at any time; times passed in never go backwards. A
//! [`ServerConnection`] returns its [`Decision`] directly and has no queue to drain.
//!
//! The enums are exhaustive on purpose. A new kind of output or decision is a compile error in
//! every driver, never a guess at run time.
#![no_std]

extern crate alloc;

mod client;
mod control;
mod frame;
mod id;
mod inbox;
mod message;
mod rate;
mod server;
mod time;

pub use client::Client;
pub use client::bad_credentials::BadCredentials;
pub use client::config::{ClientConfig, Credentials};
pub use client::extension::Extension;
pub use client::ice::IceServerList;
pub use client::outcome::{Delivery, Ticket, Undelivered};
pub use client::output::{ClientEvent, ClientState, CloseReason, DisconnectReason, Output};
pub use client::send_error::SendError;
pub use client::watch_error::TooManyWatched;
pub use control::dropped::{Dropped, DroppedEntries};
pub use control::hello::{
    Hello, IceServers, MAX_AGENT_LEN, MAX_CREDENTIALS_LEN, MAX_TOKEN_LEN, NotResumed,
    ResumeWindows, Welcome, WelcomeRate,
};
pub use control::notice::{Closing, Handled, Notice, Restarting};
pub use control::peer::{PeerIds, PeerNotice, PeerNotices, PeerState};
pub use control::request::Request;
pub use control::{
    Capabilities, CloseCode, ControlError, DropReason, EXTENSION_VERSION, MAX_CONTROL_BODY,
    MAX_ENTRIES,
};
pub use frame::{Frame, FrameDecoder, FrameTooLong, MAX_FRAME_LEN, PREFIX_LEN, Truncated};
pub use id::{ParsePeerIdError, PeerId, TopicId};
pub use inbox::{Arrival, Inbox, InboxConfig};
pub use message::{
    BodyTooLong, HEADER_LEN, KEEP_ALIVE, KEEP_ALIVE_FRAME, MAX_BODY_LEN, MessageIn, MessageOut,
    PORTABLE_BODY_LEN, ShortFrame,
};
pub use rate::{Pacer, RateLimit};
pub use server::{
    ConnectionConfig, Decision, GREETING_LEN, IgnoredControl, Liveness, Rejected, ServerConnection,
    Session,
};
pub use time::Instant;
