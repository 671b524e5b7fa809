//! Starts, probes and joins the worker threads.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{mpsc, oneshot};

use crate::forward::shared::Shared;
use crate::forward::worker::{Job, Load, Worker, WorkerHandle};

/// All workers of a server. Dropping them ends their threads, and with them every connection.
pub(crate) struct Workers {
    threads: Vec<Thread>,
}

struct Thread {
    jobs: Option<mpsc::UnboundedSender<Job>>,
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

    /// Returns a handle of each worker.
    pub(crate) fn handles(&self) -> Vec<WorkerHandle> {
        self.threads.iter().filter_map(Thread::handle).collect()
    }

    /// Runs a job on the thread of the first worker, where the accept loops are.
    pub(crate) fn on_first(&self, job: impl FnOnce(&Rc<Worker>) + Send + 'static) {
        if let Some(first) = self.threads.first().and_then(Thread::handle) {
            first.run(job);
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for thread in &mut self.threads {
            thread.jobs = None;
        }
        for thread in &mut self.threads {
            if let Some(handle) = thread.handle.take() {
                // A worker that panicked has printed why.
                let _ = handle.join();
            }
        }
    }
}

impl Thread {
    fn start(index: usize, shared: &Arc<Shared>) -> io::Result<Self> {
        let load = Load::default();
        let (jobs, receiver) = mpsc::unbounded_channel();
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
            // Does not wait for a thread that is blocked by the file system.
            runtime.shutdown_background();
        })?;
        wait.recv().unwrap_or_else(|_| Err(io::Error::other("a worker did not start")))?;
        Ok(Self { jobs: Some(jobs), load, handle: Some(handle) })
    }

    fn handle(&self) -> Option<WorkerHandle> {
        let jobs = self.jobs.as_ref()?.downgrade();
        Some(WorkerHandle { jobs, load: self.load.clone() })
    }
}

fn runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread().enable_all().build_local(LocalOptions::default())
}

/// Finds out whether all workers respond.
#[derive(Debug)]
pub(crate) struct WorkerProbe {
    workers: Vec<WorkerHandle>,
}

impl WorkerProbe {
    pub(crate) fn new(workers: Vec<WorkerHandle>) -> Self {
        Self { workers }
    }

    /// Waits until every worker has run a job. By then it has run all jobs that came before.
    pub(crate) async fn answered(&self) {
        let answers: Vec<_> = self
            .workers
            .iter()
            .map(|worker| {
                let (sender, answer) = oneshot::channel();
                worker.run(move |_| {
                    // Fails if the probe was dropped in the meantime.
                    let _ = sender.send(());
                });
                answer
            })
            .collect();
        for answer in answers {
            // A worker that is gone cannot hang.
            let _ = answer.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::ServerConfig;
    use crate::secrets::Secrets;

    #[test]
    fn a_file_system_that_hangs_does_not_keep_the_workers() {
        let shared = Arc::new(Shared::new(ServerConfig::default(), Secrets::none()));
        let workers = Workers::start(1, &shared).unwrap();
        let (begin, begun) = std::sync::mpsc::channel();
        let (_release, hang) = std::sync::mpsc::channel::<()>();
        workers.on_first(move |_| {
            tokio::task::spawn_blocking(move || {
                begin.send(()).unwrap();
                let _ = hang.recv();
            });
        });
        begun.recv().unwrap();
        let (end, ended) = std::sync::mpsc::channel();
        thread::spawn(move || {
            drop(workers);
            let _ = end.send(());
        });
        ended.recv_timeout(Duration::from_secs(40)).unwrap();
    }

    #[tokio::test]
    async fn one_worker_that_hangs_does_not_answer_for_the_others() {
        let shared = Arc::new(Shared::new(ServerConfig::default(), Secrets::none()));
        let workers = Workers::start(2, &shared).unwrap();
        let probe = WorkerProbe::new(workers.handles());
        probe.answered().await;
        let (release, wait) = std::sync::mpsc::channel::<()>();
        workers.on_first(move |_| {
            let _ = wait.recv();
        });
        let mut answered = Box::pin(probe.answered());
        let early = tokio::time::timeout(Duration::from_millis(20), &mut answered).await;
        assert!(early.is_err(), "one worker hangs");
        drop(release);
        answered.await;
        drop(workers);
        probe.answered().await;
    }
}
