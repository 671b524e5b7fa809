//! What the application asks of a client.

use alloc::vec::Vec;

use bytes::Bytes;

use super::bad_credentials::BadCredentials;
use super::ending::Ending;
use super::outcome::Ticket;
use super::output::{ClientEvent, CloseReason, DisconnectReason, Output};
use super::send_error::SendError;
use super::session::encode;
use super::watch_error::TooManyWatched;
use super::{Client, State, peers};
use crate::control::Capabilities;
use crate::control::hello::MAX_CREDENTIALS_LEN;
use crate::control::request::Request;
use crate::frame::FrameDecoder;
use crate::id::PeerId;
use crate::message::{KEEP_ALIVE_FRAME, MessageOut};
use crate::time::Instant;

impl Client {
    /// Sends a message: queues its frame as one [`Output::Transmit`].
    ///
    /// # Errors
    ///
    /// [`SendError`] if the client is not ready or the body is too long; nothing is sent then.
    pub fn send(&mut self, message: &MessageOut) -> Result<(), SendError> {
        self.send_numbered(message).map(|_number| ())
    }

    /// Sends a message like [`send`](Self::send), and asks the server what became of it. The answer
    /// is a [`ClientEvent::Checked`] with the returned ticket. It always comes, at the latest when
    /// the connection is lost.
    ///
    /// A server without verdicts is asked with a message of the client to itself, on topic 0xFFFE:
    /// it handles frames in order, so it has handled the checked message when that comes back. The
    /// outcome is [`Delivery::Sent`](crate::Delivery::Sent) then.
    ///
    /// # Errors
    ///
    /// [`SendError`] if the client is not ready, the body is too long, or too many messages have no
    /// outcome yet; nothing is sent then.
    pub fn send_checked(
        &mut self,
        message: &MessageOut,
        now: Instant,
    ) -> Result<Ticket, SendError> {
        if self.checked.is_full() {
            return Err(SendError::TooManyChecked);
        }
        let number = self.send_numbered(message)?;
        self.checked.set_now(now);
        self.may_ask = true;
        Ok(self.checked.insert(number))
    }

    /// Sends a keep-alive frame. It keeps the path open, and the server never answers it.
    ///
    /// # Errors
    ///
    /// [`SendError`] if the client is not ready; nothing is sent then.
    pub fn send_keep_alive(&mut self) -> Result<(), SendError> {
        self.check_ready()?;
        self.transmit(Bytes::from_static(KEEP_ALIVE_FRAME));
        Ok(())
    }

    /// Sets the credentials for the next dials, 1 to 4,096 bytes. A driver that can get new ones
    /// does so at each [`Output::Dial`], before it connects.
    ///
    /// # Errors
    ///
    /// [`BadCredentials`] if their length is wrong; nothing has changed then.
    pub fn set_credentials(&mut self, credentials: &[u8]) -> Result<(), BadCredentials> {
        if credentials.is_empty() || credentials.len() > MAX_CREDENTIALS_LEN {
            return Err(BadCredentials { len: credentials.len() });
        }
        self.session.set_credentials(credentials);
        Ok(())
    }

    /// Sets the credentials like [`set_credentials`](Self::set_credentials), and gives them to the
    /// server of the present connection.
    ///
    /// # Errors
    ///
    /// [`BadCredentials`] if their length is wrong; nothing has changed then.
    pub fn authenticate(&mut self, credentials: &[u8]) -> Result<(), BadCredentials> {
        self.set_credentials(credentials)?;
        if self.has(Capabilities::AUTH) {
            self.transmit(encode(&Request::Auth(credentials)));
        }
        Ok(())
    }

    /// Reports that there are no credentials for this client: closes it for good.
    pub fn refuse_credentials(&mut self) {
        self.close_for(CloseReason::NoCredentials);
    }

    /// Asks the server for ICE servers: [`ClientEvent::IceServers`] tells them. Returns whether it
    /// has any; if not, there is no event. A server answers once in five seconds.
    pub fn request_ice_servers(&mut self) -> bool {
        let has_ice = self.has(Capabilities::ICE);
        if has_ice {
            self.transmit(encode(&Request::Ice));
        }
        has_ice
    }

    /// Asks whether the server speaks the extension: [`ClientEvent::Extended`] or
    /// [`ClientEvent::NotExtended`] tells it, on this connection or the next, unless one of them
    /// has come on this connection.
    pub fn find_extension(&mut self, now: Instant) {
        if self.session.is_open() {
            self.checked.set_now(now);
            self.session.find_extension();
            self.may_ask = true;
        }
    }

    /// Watches a peer: its state is told with [`ClientEvent::Peer`] soon, and whenever it changes,
    /// on this connection and the next ones. Watching it again asks for its state again.
    ///
    /// If the server does not speak the extension, [`ClientEvent::NotExtended`] comes; if it does
    /// not grant [`Capabilities::PEERS`], nothing does.
    ///
    /// # Errors
    ///
    /// [`TooManyWatched`] if 64 other peers are watched.
    pub fn watch(&mut self, id: PeerId, now: Instant) -> Result<(), TooManyWatched> {
        self.peers.watch(id)?;
        self.may_ask = true;
        self.checked.set_now(now);
        if self.has(Capabilities::PEERS) {
            self.transmit(peers::watch(id));
        }
        Ok(())
    }

    /// Stops watching a peer. The server goes on telling about it if this client has written to it.
    pub fn unwatch(&mut self, id: PeerId) {
        if !self.peers.unwatch(id) {
            return;
        }
        if self.has(Capabilities::PEERS) {
            self.transmit(peers::unwatch(id));
        } else {
            self.peers.unwatch_later(id);
        }
    }

    /// Asks for a new id: from the server, if it gives one on the same connection, and else by
    /// hanging up and dialing again. [`ClientEvent::Renamed`] or [`ClientEvent::Connected`] tells
    /// it. A client without a connection gets a new id with the next one.
    pub fn rotate(&mut self, now: Instant) {
        match self.state {
            State::Ready { .. } if self.has(Capabilities::RENEW) => {
                self.transmit(encode(&Request::Renew));
                return;
            }
            State::Ready { .. } | State::AwaitingId { .. } | State::AwaitingWelcome { .. } => {
                self.outputs.push_back(Output::HangUp);
            }
            // The token is on its way.
            State::Dialing { .. } if self.session.is_in_upgrade() => {
                self.outputs.push_back(Output::HangUp);
            }
            State::Dialing { .. } | State::Waiting { .. } | State::Closed => {
                self.forget_id();
                return;
            }
        }
        self.forget_id();
        self.session.lose(false, now);
        self.session.fail_upgrade();
        self.ending = Ending::default();
        self.decoder = FrameDecoder::new();
        self.state = State::Waiting { attempt: 0, until: now };
        self.emit(ClientEvent::Disconnected { reason: DisconnectReason::Rotated, retry_at: now });
    }

    /// Forgets all that belongs to the present id.
    fn forget_id(&mut self) {
        self.session.forget_token();
        self.checked.end(&mut self.outputs);
        self.peers.end();
    }

    /// Dials at once if the client is waiting to dial. Call it when the network is back or the
    /// page is visible again.
    pub fn retry_now(&mut self, now: Instant) {
        if let State::Waiting { attempt, .. } = self.state {
            self.dial(attempt, now);
        }
    }

    /// Closes the client for good. Frames sent before are transmitted before the hang-up.
    pub fn close(&mut self) {
        self.close_for(CloseReason::ByApplication);
    }

    fn send_numbered(&mut self, message: &MessageOut) -> Result<u64, SendError> {
        self.check_ready()?;
        let mut frame = Vec::with_capacity(message.frame_len());
        message.encode(&mut frame)?;
        let number = self.transmit(frame.into());
        if self.session.has(Capabilities::PEERS) {
            self.peers.handle_sent(message.to, number);
        }
        Ok(number)
    }

    fn check_ready(&self) -> Result<(), SendError> {
        match self.state {
            State::Ready { .. } => Ok(()),
            State::Closed => Err(SendError::Closed),
            State::Dialing { .. }
            | State::AwaitingId { .. }
            | State::AwaitingWelcome { .. }
            | State::Waiting { .. } => Err(SendError::NotConnected),
        }
    }
}
