//! One shared client for each server address.

use std::collections::HashMap;
use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared, join_all};

use crate::client::Client;
use crate::config::ClientConfig;
use crate::error::{CloseError, ConnectError};
use crate::state::Closed;

/// Shares one client among all users of the same server, like waddell's `ClientMgr`.
///
/// The first call for an address dials. Calls for the same address that come meanwhile wait for
/// that dial and return its result. The call after a failed dial, or after the client was closed,
/// dials again.
///
/// ```
/// use waddell_client::{ClientConfig, ClientManager};
///
/// let manager = ClientManager::new(|address| {
///     let server = address.to_owned();
///     Ok(ClientConfig::new(address)?.on_id(move |id| println!("{server}: {id}")))
/// });
/// ```
#[derive(Clone)]
pub struct ClientManager {
    configure: Arc<Configure>,
    slots: Arc<Mutex<Slots>>,
}

type Configure = dyn Fn(&str) -> Result<ClientConfig, ConnectError> + Send + Sync;

type Dialing = BoxFuture<'static, Result<Client, ConnectError>>;

enum Slot {
    /// The waiting callers own the dial: it is dropped with the last of them.
    Dialing {
        number: u64,
        dialing: WeakShared<Dialing>,
    },
    Connected(Client),
}

#[derive(Default)]
struct Slots {
    by_address: HashMap<String, Slot>,
    dials: u64,
}

impl ClientManager {
    /// Makes a manager. It calls `configure` with the address before each new client's dial. With a
    /// dialer in the configuration, an address may be any text.
    pub fn new(
        configure: impl Fn(&str) -> Result<ClientConfig, ConnectError> + Send + Sync + 'static,
    ) -> Self {
        Self { configure: Arc::new(configure), slots: Arc::default() }
    }

    /// Returns the client of an address. Connects one if there is none.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] if the client could not connect.
    ///
    /// # Panics
    ///
    /// Like [`Client::connect`].
    pub async fn client(&self, address: &str) -> Result<Client, ConnectError> {
        let dialing = {
            let mut slots = lock(&self.slots);
            match slots.by_address.get(address) {
                Some(Slot::Connected(client)) if !client.is_closed() => return Ok(client.clone()),
                Some(Slot::Dialing { dialing, .. }) if let Some(dialing) = dialing.upgrade() => {
                    dialing
                }
                Some(Slot::Connected(_) | Slot::Dialing { .. }) | None => {
                    self.start_dial(address, &mut slots)
                }
            }
        };
        dialing.await
    }

    /// Closes all clients, and waits until that is done. Calls that wait for a dial return that the
    /// client is closed. The manager can still be used.
    ///
    /// Returns the address and the error of each client that did not close in order.
    pub async fn close_all(&self) -> Vec<(String, CloseError)> {
        let slots = mem::take(&mut lock(&self.slots).by_address);
        let closing = slots.into_iter().map(|(address, slot)| async move {
            let error = match slot {
                Slot::Connected(client) => client.close().await.err(),
                Slot::Dialing { .. } => None,
            };
            error.map(|error| (address, error))
        });
        join_all(closing).await.into_iter().flatten().collect()
    }

    fn start_dial(&self, address: &str, slots: &mut Slots) -> Shared<Dialing> {
        slots.remove_closed();
        slots.dials += 1;
        let number = slots.dials;
        let dialing =
            dial(Arc::clone(&self.configure), Arc::clone(&self.slots), address.to_owned(), number);
        let dialing = dialing.boxed().shared();
        let weak = dialing.downgrade().expect("a future that was not polled is not finished");
        let slot = Slot::Dialing { number, dialing: weak };
        slots.by_address.insert(address.to_owned(), slot);
        dialing
    }
}

impl Slots {
    /// Removes dropped dials and closed clients.
    fn remove_closed(&mut self) {
        self.by_address.retain(|_, slot| match slot {
            Slot::Dialing { dialing, .. } => dialing.upgrade().is_some(),
            Slot::Connected(client) => !client.is_closed(),
        });
    }
}

/// Connects, and puts the client into its slot, unless the slot was cleared meanwhile.
async fn dial(
    configure: Arc<Configure>,
    slots: Arc<Mutex<Slots>>,
    address: String,
    number: u64,
) -> Result<Client, ConnectError> {
    let result = match configure(&address) {
        Ok(config) => Client::connect(config).await,
        Err(error) => Err(error),
    };
    let mut slots = lock(&slots);
    let is_ours = match slots.by_address.get(&address) {
        Some(Slot::Dialing { number: other, .. }) => *other == number,
        Some(Slot::Connected(_)) | None => false,
    };
    match &result {
        Ok(client) if is_ours => {
            slots.by_address.insert(address, Slot::Connected(client.clone()));
        }
        Ok(_) => {
            let reason = Closed::ByApplication;
            return Err(ConnectError::Failed { server: address, reason });
        }
        Err(_) if is_ours => {
            slots.by_address.remove(&address);
        }
        Err(_) => {}
    }
    result
}

impl Default for ClientManager {
    /// Makes a manager that uses the default configuration for each address.
    fn default() -> Self {
        Self::new(|address| Ok(ClientConfig::new(address)?))
    }
}

impl fmt::Debug for ClientManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientManager").finish_non_exhaustive()
    }
}

fn lock(slots: &Mutex<Slots>) -> MutexGuard<'_, Slots> {
    // No code panics in the middle of a change.
    slots.lock().unwrap_or_else(PoisonError::into_inner)
}
