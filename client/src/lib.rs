//! Client of the waddell signaling server, for tokio.
//!
//! A client connects to a server, receives a random id, and exchanges small messages with other
//! peers by id and topic. It connects over `tcp://`, `tls://`, `ws://`, `wss://` or any stream
//! that the caller dials. When the connection is lost, the client dials again and receives a new
//! id, or keeps its own with [`ClientConfig::resume`].
//!
//! ```
//! use futures_util::StreamExt;
//! use waddell_client::{Client, TopicId};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect("ws://127.0.0.1:62480").await?;
//! println!("my id is {}", client.id().expect("just greeted"));
//!
//! let mut offers = client.topic(TopicId(1));
//! while let Some(offer) = offers.next().await {
//!     println!("{} bytes from {}", offer.body.len(), offer.from);
//!     offers.send_to(offer.from, "got it").await?;
//! }
//! client.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//!
//! - A message is delivered at most once.
//! - While the client dials again, accepted messages are queued, up to a limit.
//! - A message that was being written when the connection broke is not sent again.
//! - Messages to one peer keep their order.
//! - [`Topic::send_checked`] tells what became of a message, and [`Client::notices`] which
//!   messages the server dropped.
//! - A full topic drops and counts the messages that do not fit. Other topics are not affected.
//!
//! # Structure
//!
//! ```text
//!   Topic, Client      handles: cheap to clone; all handles of one client share one driver
//!     |      ^
//!   queue  inbox       outgoing commands, received messages; both are bounded
//!     v      |
//!   driver             one task around waddell_core::Client, which makes every decision
//!     |      ^
//!   byte stream        TCP, TLS, WebSocket, or a stream that the caller dials
//! ```

mod checks;
mod client;
mod config;
mod connection;
mod dial;
mod driver;
mod error;
mod handle;
mod ice;
mod inbox;
mod manager;
mod notices;
mod queue;
mod state;
mod tls;
mod token;
mod topic;
mod transport;
mod url;
mod watches;

pub use client::Client;
pub use config::ClientConfig;
pub use error::{
    CheckedSendError, CloseError, ConnectError, NotSent, RotateError, SendError, WatchError,
};
pub use manager::ClientManager;
pub use notices::{Notice, Notices};
pub use state::{Closed, Disconnected, State};
pub use tls::CertificateError;
pub use topic::Topic;
pub use url::{ParseServerUrlError, Scheme, ServerUrl};
pub use waddell_core::{
    BadCredentials, BodyTooLong, Capabilities, CloseCode, Delivery, DisconnectReason, DropReason,
    Dropped, Extension, InboxConfig, MAX_BODY_LEN, MessageIn, NotResumed, PORTABLE_BODY_LEN,
    ParsePeerIdError, PeerId, PeerNotice, PeerState, Restarting, ResumeWindows, TooManyWatched,
    TopicId, Undelivered, WelcomeRate,
};
