//! One shared client for each address.

use std::collections::HashMap;
use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared, join_all};

use crate::client::Client;
use crate::config::ClientConfig;
use crate::error::ConnectError;
use crate::state::Closed;

/// Gives many users of the same server one client: waddell's `ClientMgr`.
///
/// The first to ask for an address dials, and whoever asks meanwhile gets what that comes to.
/// A failure is told to those who wait and then forgotten, so that the next to ask dials again.
/// So is a client that is closed.
///
/// ```
/// use waddell_client::{ClientConfig, ClientManager};
///
/// let manager = ClientManager::new(|address| {
///     let server = address.to_owned();
///     Ok(ClientConfig::new(address)?.on_id(move |id| println!("known to {server} as {id}")))
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
    /// Those who wait own the dial: when the last of them goes, it is given up.
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
    /// Makes a manager that asks `configure` how to connect to an address nobody has asked for
    /// yet. With a dialer in the configuration, an address may be any text.
    pub fn new(
        configure: impl Fn(&str) -> Result<ClientConfig, ConnectError> + Send + Sync + 'static,
    ) -> Self {
        Self { configure: Arc::new(configure), slots: Arc::default() }
    }

    /// Returns the client of an address, connecting it if there is none.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] if the address cannot be connected to.
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

    /// Closes all clients, and waits until that is done. Who waits for a dial under way is told
    /// that the client is closed. The manager can go on to be used.
    pub async fn close_all(&self) {
        let slots = mem::take(&mut lock(&self.slots).by_address);
        join_all(slots.into_values().map(|slot| async move {
            match slot {
                Slot::Connected(client) => client.close().await,
                Slot::Dialing { .. } => {}
            }
        }))
        .await;
    }

    fn start_dial(&self, address: &str, slots: &mut Slots) -> Shared<Dialing> {
        slots.forget_the_dead();
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
    /// Forgets dials that were given up, and clients that are closed.
    fn forget_the_dead(&mut self) {
        self.by_address.retain(|_, slot| match slot {
            Slot::Dialing { dialing, .. } => dialing.upgrade().is_some(),
            Slot::Connected(client) => !client.is_closed(),
        });
    }
}

/// Connects, and puts the client into its slot, unless that was cleared meanwhile.
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
    /// Makes a manager that connects to addresses with the default configuration.
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
    // Nothing panics half-way through a change.
    slots.lock().unwrap_or_else(PoisonError::into_inner)
}
