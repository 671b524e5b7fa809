//! What the service manager is told, and the sockets that it passes: systemd's protocols, which
//! others speak too. Without one, nothing here does anything.

use std::env;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};
use waddell_server::{Inherited, ServerHandle};

/// Takes over the sockets that were passed (`LISTEN_FDS`). One whose name (`FileDescriptorName=`)
/// is a scheme, such as `wss`, speaks that.
pub(crate) fn sockets() -> Result<Vec<Inherited>, String> {
    // Asked for first: the rest is gone from the environment once it is read.
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut passed = ListenFd::from_env();
    let mut names = names.split(':');
    let mut sockets = Vec::new();
    for index in 0..passed.len() {
        let name = names.next().unwrap_or_default();
        let socket = passed
            .take_tcp_listener(index)
            .and_then(|socket| socket.map(|it| Inherited::new(it, name.parse().ok())).transpose())
            .map_err(|error| {
                format!(
                    "cannot use socket {index} ({name:?}) of those that were passed: {error}; \
                     a socket unit for this server has ListenStream=HOST:PORT alone"
                )
            })?;
        sockets.extend(socket);
    }
    Ok(sockets)
}

/// Says that the server accepts connections once it does, and from then on that it is alive, as
/// often as the service manager wants to hear it (`WATCHDOG_USEC`): for as long as every worker
/// answers. One that hangs must not be covered up.
pub(crate) async fn report(server: ServerHandle) {
    server.serving().await;
    notify(&[NotifyState::Ready, NotifyState::Status("serving")]);
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let mut ticks = interval((limit / 2).max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        server.responds().await;
        notify(&[NotifyState::Watchdog]);
    }
}

/// Says that the configuration is about to be read again.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        // Only a clock that cannot be read, which is none.
        Err(error) => tracing::debug!(%error, "cannot tell the service manager of a reload"),
    }
}

/// Says that the configuration has been read again, and what came of it.
pub(crate) fn reloaded(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Says that the server shuts down, which takes no longer than `time`.
pub(crate) fn stopping(time: Duration) {
    let time = u32::try_from((time + MARGIN).as_micros()).unwrap_or(u32::MAX);
    notify(&[
        NotifyState::Stopping,
        NotifyState::ExtendTimeoutUsec(time),
        NotifyState::Status("shutting down: hanging up, peer by peer"),
    ]);
}

/// What a busy machine may add to a shutdown.
const MARGIN: Duration = Duration::from_secs(5);

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot tell the service manager how the server is");
    }
}
