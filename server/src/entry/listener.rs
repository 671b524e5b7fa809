//! Accept loops.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep_until;

use crate::config::ServerConfig;
use crate::entry::dispatcher::Dispatcher;
use crate::entry::entrance::Entrance;
use crate::entry::handshake::Accepted;
use crate::forward::worker::Worker;
use crate::listen_url::ListenUrl;

/// A socket that listens, and what is spoken there.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: std::net::TcpListener,
    pub(crate) url: ListenUrl,
}

impl Listener {
    /// Binds the first of the host's addresses that can be bound.
    pub(crate) fn bind(url: &ListenUrl, config: &ServerConfig) -> io::Result<Self> {
        let mut last = io::Error::other("the host has no address");
        for address in url.resolve()? {
            match listen(address, config) {
                Ok(socket) => {
                    let address = socket.local_addr()?.to_string();
                    return Ok(Self { socket, url: ListenUrl { scheme: url.scheme, address } });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Takes over a socket that listens already.
    pub(crate) fn adopt(
        socket: std::net::TcpListener,
        url: &ListenUrl,
        config: &ServerConfig,
    ) -> io::Result<Self> {
        let address = socket.local_addr()?.to_string();
        socket.set_nonblocking(true)?;
        set_options(&SockRef::from(&socket), config)?;
        Ok(Self { socket, url: ListenUrl { scheme: url.scheme, address } })
    }

    /// Accepts connections on this worker until `stop` is there.
    pub(crate) fn start(
        self,
        worker: &Rc<Worker>,
        entrance: Arc<Entrance>,
        dispatcher: Arc<Dispatcher>,
        stop: watch::Receiver<bool>,
    ) -> io::Result<()> {
        let socket = TcpListener::from_std(self.socket)?;
        let accept = accept(socket, self.url, Rc::clone(worker), entrance, dispatcher, stop);
        tokio::task::spawn_local(accept);
        Ok(())
    }
}

fn listen(address: SocketAddr, config: &ServerConfig) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A server that is started again takes over its port at once.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    set_options(&socket, config)?;
    Ok(socket.into())
}

/// Sets what every connection is to have: it inherits it from the socket that accepts it.
fn set_options(socket: &Socket, config: &ServerConfig) -> io::Result<()> {
    // What is sent waits for nothing: messages are small, and what piles up is sent together.
    socket.set_tcp_nodelay(true)?;
    // A peer that vanished without a word is noticed by this; there is no other way to ask clients
    // of 2015. The system counts in seconds. On Linux a question that was not answered within the
    // user timeout is the last one, so it takes 75 s by default; elsewhere 120 s.
    let second = Duration::from_secs(1);
    let keepalive = TcpKeepalive::new()
        .with_time(config.tcp.keepalive.max(second))
        .with_interval((config.tcp.keepalive / 4).max(second));
    #[cfg(not(any(target_os = "openbsd", target_os = "haiku")))]
    let keepalive = keepalive.with_retries(4);
    socket.set_tcp_keepalive(&keepalive)?;
    set_user_timeout(socket, user_timeout(config))
}

/// Returns how long a peer's machine may confirm nothing, or have no room.
///
/// The system does not tell the one from the other, so this is longer than what a peer that takes
/// nothing is granted. That begins only when the system's buffers are full, and again when those
/// turn out to have room for more.
fn user_timeout(config: &ServerConfig) -> Duration {
    const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);
    config.tcp.user_timeout.max(3 * config.timeouts.write).min(LONGEST)
}

/// A peer that vanished with something on its way to it is noticed by this.
fn set_user_timeout(socket: &Socket, timeout: Duration) -> io::Result<()> {
    #[cfg(any(target_os = "android", target_os = "linux"))]
    socket.set_tcp_user_timeout(Some(timeout))?;
    #[cfg(not(any(target_os = "android", target_os = "linux")))]
    let _ = (socket, timeout);
    Ok(())
}

/// Connections that wait to be accepted; the kernel may allow fewer.
const BACKLOG: i32 = 4096;

/// Shortest and longest pause after an error that only time heals, such as no descriptors left.
const MIN_PAUSE: Duration = Duration::from_millis(10);
const MAX_PAUSE: Duration = Duration::from_secs(1);

async fn accept(
    socket: TcpListener,
    url: ListenUrl,
    worker: Rc<Worker>,
    entrance: Arc<Entrance>,
    dispatcher: Arc<Dispatcher>,
    mut stop: watch::Receiver<bool>,
) {
    let shared = &entrance.shared;
    let inherited = user_timeout(&shared.config());
    let mut pause = MIN_PAUSE;
    loop {
        let accepted = tokio::select! {
            // Connections that come after the end are for the process that shares the socket.
            biased;
            // An error means that the sender is gone, which is as good as stopped.
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = accept_one(&socket, &entrance) => accepted,
        };
        match accepted {
            Ok((socket, address)) => {
                pause = MIN_PAUSE;
                let wanted = user_timeout(&shared.config());
                if wanted != inherited {
                    // If this fails the connection has failed, which shows soon enough.
                    let _ = set_user_timeout(&SockRef::from(&socket), wanted);
                }
                match Accepted::new(socket, address.ip(), url.scheme, &entrance) {
                    Ok(accepted) => {
                        // A refused connection costs next to nothing, and is not charged.
                        entrance.accept_rate.charge(shared.clock.now());
                        shared.metrics.connections_accepted.increment();
                        dispatcher.dispatch(&worker, &entrance, accepted);
                    }
                    Err(refused) => entrance.report_refused(refused),
                }
            }
            // The client was gone before it was accepted.
            Err(error) if is_of_one_connection(&error) => {
                shared.metrics.accept_errors.increment();
                tracing::debug!(listener = %url, %error, "cannot accept a connection");
            }
            Err(error) => {
                shared.metrics.accept_errors.increment();
                tracing::warn!(listener = %url, %error, ?pause, "cannot accept connections");
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    _ = stop.wait_for(|stop| *stop) => return,
                }
                pause = (pause * 2).min(MAX_PAUSE);
            }
        }
    }
}

/// Accepts a connection, once there may be another.
async fn accept_one(
    socket: &TcpListener,
    entrance: &Entrance,
) -> io::Result<(TcpStream, SocketAddr)> {
    let clock = &entrance.shared.clock;
    loop {
        // Checked at each poll: the loops of other listeners run in between.
        let accepted = poll_fn(|cx| {
            let now = clock.now();
            if let Some(at) = entrance.accept_rate.paused_until(now) {
                return Poll::Ready(Err(at));
            }
            Poll::Ready(Ok(ready!(socket.poll_accept(cx))))
        });
        match accepted.await {
            Ok(accepted) => return accepted,
            Err(at) => {
                entrance.report_paused();
                sleep_until(clock.timer(at)).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::config::TcpOptions;

    #[test]
    fn a_connection_has_the_options_that_the_configuration_says() {
        let default = ServerConfig::default();
        let seconds = Duration::from_secs;
        let mut changed = default.clone();
        changed.tcp = TcpOptions { keepalive: seconds(2), user_timeout: seconds(3) };
        changed.timeouts.write = seconds(1);
        let mut patient = changed.clone();
        patient.timeouts.write = seconds(3600);
        for (config, keepalive, interval, user_timeout) in
            [(default, 60, 15, 30), (changed, 2, 1, 3), (patient, 2, 1, 10_800)]
        {
            let url = "tcp://127.0.0.1:0".parse().unwrap();
            let bound = Listener::bind(&url, &config).unwrap().socket;
            let adopted = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let adopted = Listener::adopt(adopted, &url, &config).unwrap().socket;
            for listener in [bound, adopted] {
                let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                listener.set_nonblocking(false).unwrap();
                let (accepted, _) = listener.accept().unwrap();
                let socket = SockRef::from(&accepted);
                assert!(socket.tcp_nodelay().unwrap());
                assert!(socket.keepalive().unwrap());
                assert_eq!(socket.tcp_keepalive_time().unwrap(), seconds(keepalive));
                assert_eq!(socket.tcp_keepalive_interval().unwrap(), seconds(interval));
                assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
                assert_eq!(socket.tcp_user_timeout().unwrap(), Some(seconds(user_timeout)));
            }
        }
    }

    #[test]
    fn no_write_timeout_is_too_long_for_the_system() {
        let mut config = ServerConfig::default();
        config.timeouts.write = Duration::from_secs(365 * 86_400);
        Listener::bind(&"tcp://127.0.0.1:0".parse().unwrap(), &config).unwrap();
    }
}
