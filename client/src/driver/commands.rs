//! What the driver does for the handles.

use tokio::sync::oneshot;
use waddell_core::{Capabilities, ClientState, Extension, MessageOut, PeerId, Undelivered};

use super::{Driver, now};
use crate::checks::Reply;
use crate::error::{CloseError, WatchError};
use crate::queue::Command;
use crate::watches::WatchReply;

impl Driver {
    pub(super) fn handle_command(&mut self, command: Command) {
        let is_message = command.is_message();
        let sent = match command {
            Command::Send(message) => self.core.send(&message),
            Command::SendChecked(message, reply) => return self.send_checked(&message, reply),
            Command::KeepAlive => self.core.send_keep_alive(),
            Command::Watch(id, reply) => return self.watch(id, reply),
            Command::Rotate(reply) => {
                self.rotations.push(reply);
                self.core.rotate(now(self.epoch));
                Ok(())
            }
            Command::FindExtension(reply) => return self.find_extension(reply),
            Command::IceServers(reply) => return self.find_ice_servers(reply),
            Command::Unwatch(id) => {
                self.core.unwatch(id);
                Ok(())
            }
        };
        match sent {
            Ok(()) if is_message => self.note_sent(),
            Ok(()) => {}
            Err(error) => tracing::debug!(%error, "not sent"),
        }
        self.handle_outputs();
    }

    pub(super) fn send_checked(&mut self, message: &MessageOut, reply: Reply) {
        if reply.is_cancelled() {
            return;
        }
        match self.core.send_checked(message, now(self.epoch)) {
            Ok(ticket) => {
                self.checks.insert(ticket, reply);
                self.note_sent();
            }
            // The application sends it again, if it still wants to.
            Err(error) => {
                tracing::debug!(%error, "not sent");
                reply.send(Err(Undelivered::NotHandled));
            }
        }
        self.handle_outputs();
    }

    pub(super) fn watch(&mut self, id: PeerId, reply: WatchReply) {
        match self.core.watch(id, now(self.epoch)) {
            Ok(()) => self.watches.insert(id, reply),
            Err(error) => {
                // Fails if the caller has stopped waiting.
                let _ = reply.send(Err(error.into()));
            }
        }
        if self.is_plain || self.core.extension().is_some_and(|it| !tells_of_peers(it)) {
            self.fail_watches();
        }
        self.handle_outputs();
    }

    /// Tells all callers that this server does not tell about peers.
    pub(super) fn fail_watches(&mut self) {
        for (id, reply) in self.watches.take() {
            self.core.unwatch(id);
            // Fails if the caller has stopped waiting.
            let _ = reply.send(Err(WatchError::NotSupported));
        }
    }

    pub(super) fn find_extension(&mut self, reply: oneshot::Sender<Option<Extension>>) {
        match self.core.extension() {
            // Fails if the caller has stopped waiting.
            Some(extension) => drop(reply.send(Some(extension))),
            None if self.is_plain => drop(reply.send(None)),
            None => {
                self.finding.push(reply);
                self.core.find_extension(now(self.epoch));
            }
        }
        self.handle_outputs();
    }

    pub(super) fn find_ice_servers(&mut self, reply: oneshot::Sender<String>) {
        if let Some(servers) = self.ice.fresh() {
            // Fails if the caller has stopped waiting.
            let _ = reply.send(servers.to_owned());
            return;
        }
        let is_first = self.ice.insert(reply);
        match self.core.extension() {
            None if self.is_plain => self.ice.set_none(),
            None => self.core.find_extension(now(self.epoch)),
            // The others share the answer.
            Some(_) if !is_first => {}
            Some(_) => {
                if !self.core.request_ice_servers() {
                    self.ice.set_none();
                }
            }
        }
        self.handle_outputs();
    }

    pub(super) fn note_sent(&mut self) {
        self.has_sent = true;
        self.lost = None;
    }

    /// Sends the accepted messages, if there is a connection, and closes the client.
    pub(super) async fn close(&mut self) {
        self.shared.queue.close();
        if self.core.state() == ClientState::Ready {
            while let Some(command) = self.shared.queue.recv().await {
                self.handle_command(command);
            }
            self.closing = true;
        }
        let mut messages = 0;
        while let Some(command) = self.shared.queue.try_recv() {
            messages += usize::from(command.is_message());
        }
        let lost = self.lost.take();
        match lost {
            _ if messages > 0 => self.set_closed(Err(CloseError::NotSent { messages })),
            Some(lost) => self.set_closed(Err(CloseError::Lost(lost))),
            // How the connection ends is still to be seen.
            None if self.closing => {}
            None => self.set_closed(Ok(())),
        }
        self.core.close();
    }

    /// Sets how closing the client ended. Only the first call has an effect.
    pub(super) fn set_closed(&self, result: Result<(), CloseError>) {
        // Fails if it is set already.
        let _ = self.shared.closed.set(result);
    }
}

fn tells_of_peers(extension: Extension) -> bool {
    extension.granted.contains(Capabilities::PEERS)
}
