//! Client of the waddell signaling server, for tokio.
//!
//! Connects to a server, is given a random id, and exchanges small messages with other peers by
//! id and topic, over `tcp://`, `tls://`, `ws://`, `wss://` or any stream that the caller dials.
//! When the connection is lost the client dials again and gets a new id.
//!
//! ```
//! use futures_util::StreamExt;
//! use waddell_client::{Client, TopicId};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect("ws://127.0.0.1:62480").await?;
//! println!("others reach me as {}", client.id().expect("just greeted"));
//!
//! let mut offers = client.topic(TopicId(1));
//! while let Some(offer) = offers.next().await {
//!     println!("{} bytes from {}", offer.body.len(), offer.from);
//!     offers.send_to(offer.from, "got it").await?;
//! }
//! client.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! Delivery is at most once. A message that was accepted waits, up to a bound, while the client is
//! dialing again; one that was being written when the connection broke is not sent again. Messages
//! to one peer keep their order. A full topic drops and counts what does not fit, and does not
//! hold up the others.
//!
//! # How it is made
//!
//! ```text
//!   Topic, Client      the handles: cheap to clone, all of one client share one driver
//!     |      ^
//!   queue  inbox       bounded both: what waits to go out, what has arrived
//!     v      |
//!   driver             one task around waddell_core::Client, which makes every decision
//!     |      ^
//!   byte stream        TCP, TLS, WebSocket, or what the caller dials
//! ```

mod client;
mod config;
mod connection;
mod dial;
mod driver;
mod error;
mod handle;
mod inbox;
mod manager;
mod queue;
mod state;
mod tls;
mod topic;
mod transport;
mod url;

pub use client::Client;
pub use config::ClientConfig;
pub use error::{ConnectError, NotSent, SendError};
pub use manager::ClientManager;
pub use state::{Closed, Disconnected, State};
pub use tls::CertificateError;
pub use topic::Topic;
pub use url::{ParseServerUrlError, Scheme, ServerUrl};
pub use waddell_core::{
    BodyTooLong, DisconnectReason, InboxConfig, MAX_BODY_LEN, MessageIn, PORTABLE_BODY_LEN,
    ParsePeerIdError, PeerId, TopicId,
};
