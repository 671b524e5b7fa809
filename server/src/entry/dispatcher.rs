//! Chooses the worker that serves a new connection.

use std::rc::Rc;
use std::sync::Arc;

use crate::entry::entrance::Entrance;
use crate::entry::handshake::{self, Accepted};
use crate::forward::worker::{Worker, WorkerHandle, WorkerSlot};

/// Gives each new connection to the worker with the fewest connections.
pub(crate) struct Dispatcher {
    workers: Vec<WorkerHandle>,
}

impl Dispatcher {
    pub(crate) fn new(workers: Vec<WorkerHandle>) -> Self {
        Self { workers }
    }

    /// Gives a connection to `here` unless another worker has fewer.
    pub(crate) fn dispatch(&self, here: &Rc<Worker>, entrance: &Arc<Entrance>, accepted: Accepted) {
        let entrance = Arc::clone(entrance);
        let least = self.workers.iter().min_by_key(|worker| worker.load.get());
        match least {
            Some(worker) if worker.load.get() < here.load.get() => {
                worker.load.add();
                // If the worker has ended, the connection is dropped, which closes it.
                worker.run(move |worker| {
                    let slot = WorkerSlot::new(worker);
                    match accepted.rebind() {
                        Ok(accepted) => handshake::begin(slot, entrance, accepted),
                        Err(error) => {
                            entrance.report_failed(&error);
                            tracing::debug!(%error, "cannot serve a connection");
                        }
                    }
                });
            }
            Some(_) | None => {
                here.load.add();
                handshake::begin(WorkerSlot::new(here), entrance, accepted);
            }
        }
    }
}
