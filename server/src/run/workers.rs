//! All workers of a server: their threads, and who is given which connection.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{mpsc, oneshot};

use crate::entry::handshake::Accepted;
use crate::forward::worker::{Command, Load, Worker};
use crate::run::shared::Shared;

/// All workers of a server. Dropping them ends their threads, and with them every connection.
pub(crate) struct Workers {
    threads: Vec<Thread>,
}

struct Thread {
    commands: Option<mpsc::UnboundedSender<Command>>,
    load: Load,
    handle: Option<thread::JoinHandle<()>>,
}

impl Workers {
    /// Starts `count` workers, or one for each processor if that is 0.
    pub(crate) fn start(count: usize, shared: &Arc<Shared>) -> io::Result<Self> {
        let count = match count {
            0 => thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let threads =
            (0..count).map(|index| Thread::start(index, shared)).collect::<Result<_, _>>()?;
        Ok(Self { threads })
    }

    /// Runs a job on the first worker's thread: the accept loops live there.
    pub(crate) fn on_first(&self, job: impl FnOnce(&Rc<Worker>) + Send + 'static) {
        if let Some(first) = self.threads.first() {
            first.command(Command::Do(Box::new(job)));
        }
    }

    /// Returns what hands connections to the least busy worker.
    pub(crate) fn dispatcher(&self) -> Dispatcher {
        let workers = self
            .threads
            .iter()
            .filter_map(|thread| Some((thread.commands.clone()?.downgrade(), thread.load.clone())))
            .collect();
        Dispatcher { workers }
    }

    /// Returns what asks all workers whether they are there.
    pub(crate) fn probe(&self) -> WorkerProbe {
        let commands = self.threads.iter().filter_map(|thread| thread.commands.as_ref());
        WorkerProbe { workers: commands.map(mpsc::UnboundedSender::downgrade).collect() }
    }
}

/// Asks all workers whether they are there, and not stuck in something.
#[derive(Debug)]
pub(crate) struct WorkerProbe {
    workers: Vec<mpsc::WeakUnboundedSender<Command>>,
}

impl WorkerProbe {
    /// Waits until every worker has answered: what each is doing has come to an end.
    pub(crate) async fn answered(&self) {
        let answers: Vec<_> = self
            .workers
            .iter()
            .filter_map(|commands| {
                let (sender, answer) = oneshot::channel();
                // Fails only for a worker that is gone, as below.
                commands.upgrade()?.send(Command::Answer(sender)).ok()?;
                Some(answer)
            })
            .collect();
        for answer in answers {
            // A worker that is gone is not stuck.
            let _ = answer.await;
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for thread in &mut self.threads {
            thread.commands = None;
        }
        for thread in &mut self.threads {
            if let Some(handle) = thread.handle.take() {
                // A worker that panicked has said so itself.
                let _ = handle.join();
            }
        }
    }
}

impl Thread {
    fn start(index: usize, shared: &Arc<Shared>) -> io::Result<Self> {
        let load = Load::default();
        let (commands, receiver) = mpsc::unbounded_channel();
        let (shared, worker_load) = (Arc::clone(shared), load.clone());
        let (started, wait) = std::sync::mpsc::channel();
        let handle = thread::Builder::new().name(format!("waddell-{index}")).spawn(move || {
            let runtime = match runtime() {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(error))),
            };
            drop(started.send(Ok(())));
            let worker = Rc::new(Worker::new(shared, worker_load));
            runtime.block_on(worker.run(receiver));
        })?;
        wait.recv().unwrap_or_else(|_| Err(io::Error::other("a worker did not start")))?;
        Ok(Self { commands: Some(commands), load, handle: Some(handle) })
    }

    fn command(&self, command: Command) {
        if let Some(commands) = &self.commands {
            // Fails only for a worker that panicked; then there is nobody to tell.
            let _ = commands.send(command);
        }
    }
}

fn runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread().enable_all().build_local(LocalOptions::default())
}

/// Hands connections to the least busy worker.
pub(crate) struct Dispatcher {
    workers: Vec<(mpsc::WeakUnboundedSender<Command>, Load)>,
}

impl Dispatcher {
    /// Gives a connection to `here` unless another worker has less to do.
    pub(crate) fn dispatch(&self, here: &Rc<Worker>, accepted: Accepted) {
        let least = self.workers.iter().min_by_key(|(_, load)| load.get());
        match least {
            Some((commands, load)) if load.get() < here.load.get() => {
                let Some(commands) = commands.upgrade() else { return };
                load.add();
                // Fails only if the worker is gone; then the connection is dropped, and closes.
                let _ = commands.send(Command::Adopt(Box::new(accepted)));
            }
            Some(_) | None => {
                here.load.add();
                here.serve(accepted);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::ServerConfig;

    #[tokio::test]
    async fn one_worker_that_hangs_does_not_answer_for_the_others() {
        let shared = Arc::new(Shared::new(ServerConfig::default(), None));
        let workers = Workers::start(2, &shared).unwrap();
        let probe = workers.probe();
        probe.answered().await;
        let (release, wait) = std::sync::mpsc::channel::<()>();
        workers.on_first(move |_| {
            let _ = wait.recv();
        });
        let mut answered = Box::pin(probe.answered());
        let early = tokio::time::timeout(Duration::from_millis(20), &mut answered).await;
        assert!(early.is_err(), "nobody says that all is well");
        drop(release);
        answered.await;
        drop(workers);
        probe.answered().await;
    }
}
