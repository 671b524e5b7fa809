//! The public handles of a server, and what it does when it starts and ends.

use std::convert::Infallible;
use std::fmt;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::config::{Limits, ServerConfig, Timeouts};
use crate::entry::descriptors;
use crate::entry::dispatcher::Dispatcher;
use crate::entry::entrance::Entrance;
use crate::entry::inherited::Inherited;
use crate::entry::listener::Listener;
use crate::entry::tls::{Acceptors, TlsError};
use crate::listen_url::{ListenUrl, Scheme};
use crate::metrics::MetricsSnapshot;
use crate::run::reload::keep_what_needs_a_restart;
use crate::run::workers::{WorkerProbe, Workers};
use crate::secrets::{SecretError, Secrets};
use crate::shutdown;
use crate::watch::admin::Admin;

/// A server that is bound to its addresses. It serves no client before [`Server::run`].
pub struct Server {
    listeners: Vec<Listener>,
    admin: Option<Admin>,
    state: Arc<State>,
}

/// State that a server shares with its handles.
#[derive(Debug)]
struct State {
    entrance: Arc<Entrance>,
    /// The workers, once they accept connections.
    workers: watch::Sender<Option<Arc<WorkerProbe>>>,
}

impl Server {
    /// Loads the certificate and binds every listener.
    ///
    /// # Errors
    ///
    /// [`BindError`] says what is wrong; nothing is bound then.
    pub fn bind(config: ServerConfig) -> Result<Self, BindError> {
        Self::bind_with(config, Vec::new())
    }

    /// As [`Server::bind`], but takes over sockets that listen already. A socket serves the URL of
    /// [`ServerConfig::listen`] that has its address, and its scheme if the socket has one.
    ///
    /// # Errors
    ///
    /// [`BindError`], also if a socket serves none of the URLs.
    pub fn bind_with(
        config: ServerConfig,
        mut inherited: Vec<Inherited>,
    ) -> Result<Self, BindError> {
        if config.listen.is_empty() {
            return Err(BindError::NoListener);
        }
        let tls = config.identity.as_ref().map(Acceptors::load).transpose()?;
        let secrets = Secrets::none().load(&config)?;
        if let Some(url) = config.listen.iter().find(|url| url.scheme.requires_certificate())
            && tls.is_none()
        {
            return Err(BindError::NoCertificate { url: url.clone() });
        }
        let mut claims = Vec::new();
        for url in &config.listen {
            let addresses =
                url.resolve().map_err(|source| BindError::Listen { url: url.clone(), source })?;
            let claimed = inherited.iter().position(|socket| socket.is_for(url.scheme, &addresses));
            claims.push((url, claimed.map(|index| inherited.swap_remove(index))));
        }
        if let Some(extra) = inherited.first() {
            return Err(BindError::Inherited { address: extra.address(), scheme: extra.scheme() });
        }
        let listeners = claims
            .into_iter()
            .map(|(url, claimed)| {
                match claimed {
                    Some(inherited) => Listener::adopt(inherited.into_socket(), url, &config),
                    None => Listener::bind(url, &config),
                }
                .map_err(|source| BindError::Listen { url: url.clone(), source })
            })
            .collect::<Result<_, _>>()?;
        let admin = config
            .admin
            .address
            .map(|address| {
                Admin::bind(address).map_err(|source| BindError::Admin { address, source })
            })
            .transpose()?;
        let entrance = Arc::new(Entrance::new(config, tls, secrets));
        let state = State { entrance, workers: watch::Sender::new(None) };
        Ok(Self { listeners, admin, state: Arc::new(state) })
    }

    /// Returns the listeners' addresses, in the order of the configuration, with their real ports.
    pub fn local_urls(&self) -> impl Iterator<Item = &ListenUrl> {
        self.listeners.iter().map(|listener| &listener.url)
    }

    /// Returns the address of the admin port, with the real port, if there is one.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|admin| admin.address)
    }

    /// Returns a handle of the server, which can be used while it runs.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle { state: Arc::clone(&self.state) }
    }

    /// Serves until `shutdown` completes, then shuts down in order.
    ///
    /// 1. `/readyz` says that the server is not ready, and connections are accepted for
    ///    [`Timeouts::drain_delay`] longer.
    /// 2. The listeners are closed. Frames that have arrived are forwarded, and handshakes in
    ///    progress get some time to finish.
    /// 3. Each peer is closed after its outbox is written, a WebSocket with 1001. At most 2,000
    ///    peers a second are closed, or more where that would take longer than four fifths of
    ///    [`Timeouts::drain`]. The others are served meanwhile.
    /// 4. It returns once all connections are closed, or after [`Timeouts::drain`].
    ///
    /// Dropping the future closes all connections at once. That blocks until the workers have
    /// finished their present turn.
    ///
    /// # Errors
    ///
    /// The system's, if it refuses threads or runtimes.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let Self { listeners, admin, state } = self;
        let entrance = &state.entrance;
        let shared = &entrance.shared;
        let config = shared.config();
        let workers = Workers::start(config.workers, shared)?;
        // After the start of the workers, which use descriptors themselves.
        let shares = descriptors::Shares::now();
        entrance.admissions.set_max_by_descriptors(shares.connections);
        entrance.file_reads.allow(shares.files);
        descriptors::warn_of_too_few(&config.limits, shares.connections);
        let dispatcher = Arc::new(Dispatcher::new(workers.handles()));
        let (stop_accepting, stopped) = watch::channel(false);
        let (starting, started) = oneshot::channel();
        let entrance_there = Arc::clone(entrance);
        workers.on_first(move |worker| {
            worker.start_reclaiming();
            worker.start_watching_absences();
            let start = || {
                if let Some(admin) = admin {
                    let tls = entrance_there.tls.as_ref();
                    let certificate = tls.map(|tls| Arc::clone(&tls.certificate));
                    admin.start(Arc::clone(&entrance_there.shared), certificate, shares.admin)?;
                }
                listeners.into_iter().try_for_each(|listener| {
                    let (entrance, dispatcher) = (&entrance_there, &dispatcher);
                    let stopped = stopped.clone();
                    listener.start(worker, Arc::clone(entrance), Arc::clone(dispatcher), stopped)
                })
            };
            // Fails if `run` was dropped in the meantime.
            let _ = starting.send(start());
        });
        started.await.unwrap_or_else(|_| Err(io::Error::other("a worker did not start")))?;
        let probe = Arc::new(WorkerProbe::new(workers.handles()));
        state.workers.send_replace(Some(Arc::clone(&probe)));
        tokio::select! {
            () = shutdown => {}
            never = watch_certificate(entrance) => match never {},
        }
        let steps = ShutdownSteps { entrance, stop_accepting, probe };
        if let Err(shutdown::TimedOut) = shared.shutdown.run(&steps).await {
            let left = entrance.admissions.len();
            tracing::warn!(connections = left, "the drain timeout has passed; closing connections");
        }
        Ok(())
    }
}

/// What a shutdown does to a server.
struct ShutdownSteps<'a> {
    entrance: &'a Entrance,
    stop_accepting: watch::Sender<bool>,
    probe: Arc<WorkerProbe>,
}

impl shutdown::Steps for ShutdownSteps<'_> {
    fn timeouts(&self) -> Timeouts {
        self.entrance.shared.config().timeouts.clone()
    }

    async fn stop_accepting(&self) {
        // Fails if all accept loops are gone.
        let _ = self.stop_accepting.send(true);
        self.stop_accepting.closed().await;
        // Each accept loop has handed over what it accepted. Each worker begins to serve that
        // before it answers.
        self.probe.answered().await;
    }

    fn wake_peers(&self) {
        for shard in self.entrance.shared.registry.shards() {
            for (_, peer) in shard {
                peer.link().wake_owner();
            }
        }
    }

    fn peers(&self) -> usize {
        self.entrance.shared.registry.len()
    }

    async fn all_closed(&self) {
        self.entrance.admissions.all_gone().await;
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("listeners", &self.listeners).finish_non_exhaustive()
    }
}

/// Reads the certificate again whenever its files change, if there is one.
async fn watch_certificate(entrance: &Arc<Entrance>) -> Infallible {
    if entrance.tls.is_none() {
        return pending().await;
    }
    let mut before = None;
    loop {
        sleep(LOOK_EVERY).await;
        let entrance = Arc::clone(entrance);
        let look = spawn_blocking(move || {
            let tls = entrance.tls.as_ref()?;
            Some(tls.certificate.look(before.as_ref(), &entrance.shared.metrics))
        });
        before = look.await.ok().flatten();
    }
}

/// Time between two looks at the files of the certificate.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A handle of a server, which can be used while it runs.
#[derive(Clone, Debug)]
pub struct ServerHandle {
    state: Arc<State>,
}

impl ServerHandle {
    /// Returns the present values of the counters.
    pub fn metrics(&self) -> MetricsSnapshot {
        self.state.entrance.shared.metrics.snapshot()
    }

    /// Sets the metric that counts dropped lines of the log. The log is the program's, so the
    /// program has to count.
    pub fn set_log_lines_dropped(&self, lines: u64) {
        self.state.entrance.shared.metrics.log_lines_dropped.set(lines);
    }

    /// Returns how many peers are connected.
    pub fn peers(&self) -> usize {
        self.state.entrance.shared.registry.len()
    }

    /// Completes once the server accepts connections.
    pub async fn serving(&self) {
        self.workers().await;
    }

    /// Completes once every worker has answered. An overloaded server takes long, and one that
    /// hangs never answers. Waits for [`serving`](Self::serving) first; completes at once if the
    /// server has shut down.
    pub async fn responds(&self) {
        self.workers().await.answered().await;
    }

    /// Waits until the workers accept connections.
    async fn workers(&self) -> Arc<WorkerProbe> {
        loop {
            let mut workers = self.state.workers.subscribe();
            // Fails only if the sender is gone, which is a part of this.
            if let Ok(workers) = workers.wait_for(Option::is_some).await
                && let Some(workers) = &*workers
            {
                return Arc::clone(workers);
            }
        }
    }

    /// Returns how long a shutdown takes at most: the drain delay plus the drain timeout.
    pub fn longest_shutdown(&self) -> Duration {
        let timeouts = &self.state.entrance.shared.config().timeouts;
        timeouts.drain_delay.saturating_add(timeouts.drain)
    }

    /// Replaces the configuration, as far as a running server can.
    ///
    /// The certificate and the files with secrets are read again, changed or not. No connection
    /// ends. Existing connections keep their rate limit, idle timeout and longest frame; everything
    /// else takes effect at once.
    ///
    /// Blocks while it reads the files, for up to about a minute if their disk hangs.
    ///
    /// Returns the names of the options that differ but stay as they are until the server is
    /// started again, as the program's flags have them.
    ///
    /// # Errors
    ///
    /// [`ReloadError`] says which of the new files cannot be used; nothing is changed then.
    pub fn reload(&self, config: &ServerConfig) -> Result<Vec<&'static str>, ReloadError> {
        let entrance = &self.state.entrance;
        let shared = &entrance.shared;
        let secrets = shared.secrets().load(config)?;
        if let (Some(tls), Some(identity)) = (&entrance.tls, &config.identity) {
            tls.certificate.reload(identity, &shared.metrics)?;
        }
        let mut next = config.clone();
        let kept = keep_what_needs_a_restart(&mut next, &shared.config());
        let Limits { max_connections, max_connections_per_address, accept_rate, .. } = next.limits;
        let admissions = &entrance.admissions;
        admissions.set_limits(max_connections, max_connections_per_address);
        descriptors::warn_of_too_few(&next.limits, admissions.max_by_descriptors());
        entrance.accept_rate.set_limit(accept_rate, shared.clock.now());
        shared.set_secrets(secrets);
        shared.set_config(next);
        Ok(kept)
    }
}

/// A new configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// The certificate or the key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A file with secrets cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// The server cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// There is nothing to listen on.
    #[error("there is no address to listen on")]
    NoListener,
    /// A listener speaks TLS, but there is no certificate.
    #[error("{url} needs a certificate and a key")]
    NoCertificate {
        /// The listener.
        url: ListenUrl,
    },
    /// The certificate or the key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A file with secrets cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The address for operators cannot be bound.
    #[error("cannot listen on {address} for operators: {source}")]
    Admin {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// A socket that was passed is for no listener.
    #[error(
        "there is no listener for the socket on {address} that was passed{}",
        scheme.map_or(String::new(), |scheme| format!(", which is to speak {}", scheme.as_str()))
    )]
    Inherited {
        /// The socket's address.
        address: SocketAddr,
        /// What it is said to be for.
        scheme: Option<Scheme>,
    },
    /// An address cannot be bound.
    #[error("cannot listen on {url}: {source}")]
    Listen {
        /// The listener.
        url: ListenUrl,
        /// Why not.
        source: io::Error,
    },
}
