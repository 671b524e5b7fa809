//! Messages to a service manager, and the sockets inherited from it, by systemd's protocols.
//! Without a service manager nothing here has an effect.

use std::env;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};
use waddell_server::{Inherited, ServerHandle};

/// Returns the inherited sockets (`LISTEN_FDS`). The name of a socket (`FileDescriptorName=`) may
/// be the scheme that it serves, such as `wss`.
pub(crate) fn sockets() -> Result<Vec<Inherited>, String> {
    // Read first, because `ListenFd` removes it from the environment.
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut inherited = ListenFd::from_env();
    let mut names = names.split(':');
    let mut sockets = Vec::new();
    for index in 0..inherited.len() {
        let name = names.next().unwrap_or_default();
        let socket = inherited
            .take_tcp_listener(index)
            .and_then(|socket| socket.map(|it| Inherited::new(it, name.parse().ok())).transpose())
            .map_err(|error| {
                format!(
                    "cannot use inherited socket {index} ({name:?}): {error}; \
                     the socket unit may only have ListenStream=HOST:PORT"
                )
            })?;
        sockets.extend(socket);
    }
    Ok(sockets)
}

/// The service manager, and what it may still be told.
#[derive(Debug, Default)]
pub(crate) struct ServiceManager {
    /// Whether the shutdown has been reported. A later `READY=1` would say that the server serves.
    stopping: AtomicBool,
}

impl ServiceManager {
    /// Reports when the server accepts connections. From then on answers the watchdog, if there is
    /// one (`WATCHDOG_USEC`), for as long as every worker answers: a worker that hangs must be
    /// noticed.
    pub(crate) async fn report(&self, server: ServerHandle) {
        server.serving().await;
        self.notify_unless_stopping(&[NotifyState::Ready, NotifyState::Status("serving")]);
        let Some(limit) = sd_notify::watchdog_enabled() else { return };
        let mut ticks = interval((limit / 2).max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            server.responds().await;
            notify(&[NotifyState::Watchdog]);
        }
    }

    /// Reports that a reload begins.
    pub(crate) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.notify_unless_stopping(&[NotifyState::Reloading, now]),
            Err(error) => tracing::debug!(%error, "cannot report a reload to the service manager"),
        }
    }

    /// Reports that a reload has ended, with its result.
    pub(crate) fn reloaded(&self, status: &str) {
        self.notify_unless_stopping(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// Reports that the server shuts down, which takes `time` at most.
    pub(crate) fn stopping(&self, time: Duration) {
        self.stopping.store(true, Relaxed);
        let time = u32::try_from((time + MARGIN).as_micros()).unwrap_or(u32::MAX);
        notify(&[
            NotifyState::Stopping,
            NotifyState::ExtendTimeoutUsec(time),
            NotifyState::Status("shutting down: disconnecting peers"),
        ]);
    }

    /// Sends a message that contradicts a shutdown. All messages are sent by one thread, so none
    /// overtakes [`stopping`](Self::stopping).
    fn notify_unless_stopping(&self, states: &[NotifyState<'_>]) {
        if !self.stopping.load(Relaxed) {
            notify(states);
        }
    }
}

/// Time that a busy machine may add to a shutdown.
const MARGIN: Duration = Duration::from_secs(5);

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot report to the service manager");
    }
}
