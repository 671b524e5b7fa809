//! ICE servers, and callers that wait for them.

use tokio::sync::oneshot;
use tokio::time::Instant;
use waddell_core::IceServerList;

/// ICE servers, and callers that wait for them.
#[derive(Debug, Default)]
pub(crate) struct Ice {
    /// The latest servers, and when they came.
    latest: Option<(IceServerList, Instant)>,
    waiting: Vec<oneshot::Sender<String>>,
}

impl Ice {
    /// Returns the servers, if their credentials are good for more than half of their time.
    pub(crate) fn fresh(&self) -> Option<&str> {
        let (servers, since) = self.latest.as_ref()?;
        (since.elapsed() < servers.valid_for / 2).then_some(&*servers.json)
    }

    /// Adds a caller. Returns whether it is the first that waits.
    pub(crate) fn insert(&mut self, reply: oneshot::Sender<String>) -> bool {
        self.waiting.retain(|reply| !reply.is_closed());
        self.waiting.push(reply);
        self.waiting.len() == 1
    }

    /// Returns whether a caller waits.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Replaces the servers, and tells all callers.
    pub(crate) fn set(&mut self, servers: IceServerList) {
        self.tell(&servers.json);
        self.latest = Some((servers, Instant::now()));
    }

    /// Tells all callers that there are no servers.
    pub(crate) fn set_none(&mut self) {
        self.latest = None;
        self.tell(NONE);
    }

    fn tell(&mut self, json: &str) {
        for reply in self.waiting.drain(..) {
            // Fails if the caller has stopped waiting.
            let _ = reply.send(json.to_owned());
        }
    }
}

/// JSON text of no servers.
const NONE: &str = "[]";
