//! A server's life: bind, run, shut down.

use std::convert::Infallible;
use std::fmt;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout_at};

use crate::config::{Limits, ServerConfig};
use crate::entry::descriptors;
use crate::entry::inherited::Inherited;
use crate::entry::listener::Listener;
use crate::entry::tls::{Acceptors, TlsError};
use crate::listen_url::{ListenUrl, Scheme};
use crate::metrics::MetricsSnapshot;
use crate::run::drain::drain;
use crate::run::reload::keep_what_needs_a_restart;
use crate::run::shared::Shared;
use crate::run::workers::Workers;
use crate::watch::admin::Admin;

/// A server that is bound to its addresses. Nobody is served before [`Server::run`].
pub struct Server {
    listeners: Vec<Listener>,
    admin: Option<Admin>,
    shared: Arc<Shared>,
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

    /// As [`Server::bind`], but takes over sockets that listen already where they are for one of
    /// [`ServerConfig::listen`]: those with its address, and its scheme if they have one.
    ///
    /// # Errors
    ///
    /// [`BindError`], also if a socket is for none of them: whoever passed it expects it to be
    /// served.
    pub fn bind_with(
        config: ServerConfig,
        mut inherited: Vec<Inherited>,
    ) -> Result<Self, BindError> {
        if config.listen.is_empty() {
            return Err(BindError::NoListener);
        }
        let tls = config.identity.as_ref().map(Acceptors::load).transpose()?;
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
        Ok(Self { listeners, admin, shared: Arc::new(Shared::new(config, tls)) })
    }

    /// Returns the listeners' addresses, in the order of the configuration, with their real ports.
    pub fn local_urls(&self) -> impl Iterator<Item = &ListenUrl> {
        self.listeners.iter().map(|listener| &listener.url)
    }

    /// Returns where operators find the counters, with the real port, if there is such a place.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|admin| admin.address)
    }

    /// Returns what a running server can be asked and told.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle { shared: Arc::clone(&self.shared) }
    }

    /// Serves until `shutdown` completes, then shuts down in order: says at `/readyz` that it is
    /// leaving, and after [`ServerConfig::drain_delay`] accepts no more; takes in what has already
    /// arrived, lets handshakes in progress come to their end, delivers what waits, closes
    /// WebSockets with 1001, and returns once all connections are closed, or after
    /// [`ServerConfig::drain_timeout`].
    ///
    /// Peers are not all hung up at once but 2,000 a second, or faster where that would take more
    /// than four fifths of the drain timeout. Those whose time has not come are served as before.
    ///
    /// Dropping the future closes all connections at once; it blocks for as long as the workers
    /// need to stop, which is no longer than they need for one turn.
    ///
    /// # Errors
    ///
    /// The system's, if it refuses threads or runtimes.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let Self { listeners, admin, shared } = self;
        let config = shared.config();
        let workers = Workers::start(config.workers, &shared)?;
        // Those of the workers are in use from here on.
        let room = descriptors::room();
        shared.admissions.set_room(room);
        descriptors::warn_of_too_few(config.limits.max_connections, room);
        let dispatcher = Arc::new(workers.dispatcher());
        let (stop, stopped) = watch::channel(false);
        let (starting, started) = oneshot::channel();
        workers.on_first(move |worker| {
            worker.start_reclaiming();
            let start = || {
                admin.map_or(Ok(()), |admin| admin.start(worker))?;
                listeners.into_iter().try_for_each(|listener| {
                    listener.start(worker, Arc::clone(&dispatcher), stopped.clone())
                })
            };
            // Whoever waited for it may have given up.
            let _ = starting.send(start());
        });
        started.await.unwrap_or_else(|_| Err(io::Error::other("a worker did not start")))?;
        shared.begin_serving(workers.probe());
        tokio::select! {
            () = shutdown => {}
            never = watch_certificate(&shared) => match never {},
        }
        shared.begin_leaving();
        let drain_delay = shared.config().timeouts.drain_delay;
        if !drain_delay.is_zero() {
            tracing::info!(
                ?drain_delay,
                "not ready; accepting connections until the delay is over"
            );
            sleep(drain_delay).await;
        }
        let drain_timeout = shared.config().timeouts.drain;
        let deadline = Instant::now() + drain_timeout;
        if timeout_at(deadline, drain(&shared, stop, drain_timeout)).await.is_err() {
            let left = shared.admissions.len();
            tracing::warn!(connections = left, "the drain timeout has passed; hanging up");
        }
        Ok(())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("listeners", &self.listeners).finish_non_exhaustive()
    }
}

/// Reads the certificate again whenever it has changed, if there is one.
async fn watch_certificate(shared: &Arc<Shared>) -> Infallible {
    if shared.tls.is_none() {
        return pending().await;
    }
    let mut before = None;
    loop {
        sleep(LOOK_EVERY).await;
        let shared = Arc::clone(shared);
        let look = spawn_blocking(move || {
            let tls = shared.tls.as_ref()?;
            Some(tls.certificate.look(before.as_ref(), &shared.metrics))
        });
        before = look.await.ok().flatten();
    }
}

/// How often the files with the certificate are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a running server can be asked and told.
#[derive(Clone, Debug)]
pub struct ServerHandle {
    shared: Arc<Shared>,
}

impl ServerHandle {
    /// Returns the counters as they are.
    pub fn metrics(&self) -> MetricsSnapshot {
        self.shared.metrics.snapshot()
    }

    /// Tells operators, among the counters, how many lines of its log the program has dropped in
    /// all. The log is the program's: the server does not know.
    pub fn set_log_lines_dropped(&self, lines: u64) {
        self.shared.metrics.log_lines_dropped.set(lines);
    }

    /// Returns how many peers can be reached.
    pub fn peers(&self) -> usize {
        self.shared.registry.len()
    }

    /// Completes once the server accepts connections.
    pub async fn serving(&self) {
        self.shared.serving().await;
    }

    /// Completes once every worker has answered: a server that takes long for it is overloaded, and
    /// one that never does hangs. Waits for [`serving`](Self::serving) first;
    /// of a server that has shut down, nobody is left to ask.
    pub async fn responds(&self) {
        self.shared.serving().await.answered().await;
    }

    /// Returns how long a shutdown takes at most: the drain delay and the drain time-out.
    pub fn longest_shutdown(&self) -> Duration {
        let timeouts = &self.shared.config().timeouts;
        timeouts.drain_delay + timeouts.drain
    }

    /// Takes on another configuration, as far as a running server can: the certificate (its files
    /// are read again, changed or not), limits and times, the trusted proxies,
    /// the origins, and what is served at `/`.
    /// No connection ends of it; those that are there keep their rate limit, idle time-out and
    /// longest frame, and all else is as told from here on.
    ///
    /// Blocks while it reads the certificate, for as long as the file system takes.
    ///
    /// Returns the names of the options that differ but stay as they were until the server is
    /// started again, as the program's flags have them.
    ///
    /// # Errors
    ///
    /// [`TlsError`] says what is wrong with the new certificate; nothing is changed then.
    pub fn reload(&self, config: &ServerConfig) -> Result<Vec<&'static str>, TlsError> {
        let Self { shared } = self;
        if let (Some(tls), Some(identity)) = (&shared.tls, &config.identity) {
            tls.certificate.reload(identity, &shared.metrics)?;
        }
        let mut next = config.clone();
        let kept = keep_what_needs_a_restart(&mut next, &shared.config());
        let Limits { max_connections, max_connections_per_address, accept_rate, .. } = next.limits;
        shared.admissions.set_limits(max_connections, max_connections_per_address);
        descriptors::warn_of_too_few(max_connections, shared.admissions.room());
        shared.accept_rate.set_limit(accept_rate, shared.clock.now());
        shared.set_config(next);
        Ok(kept)
    }
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
