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

/// A listening socket and its URL.
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

    /// Takes over a socket that is already listening.
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

    /// Accepts connections on this worker until `stop` is true.
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

/// Sets the options of every connection: accepted sockets inherit them from the listener.
fn set_options(socket: &Socket, config: &ServerConfig) -> io::Result<()> {
    // Writes are sent at once: frames are small, and an outbox already collects those of a turn.
    socket.set_tcp_nodelay(true)?;
    // Detects a peer that disappeared without closing; there is no other way to probe clients of
    // 2015. The system counts in seconds. On Linux one unanswered probe is enough after a silence
    // of the user timeout, so detection takes 75 s by default; elsewhere 120 s.
    let second = Duration::from_secs(1);
    let keepalive = TcpKeepalive::new()
        .with_time(config.tcp.keepalive.max(second))
        .with_interval((config.tcp.keepalive / 4).max(second));
    #[cfg(not(any(target_os = "openbsd", target_os = "haiku")))]
    let keepalive = keepalive.with_retries(4);
    socket.set_tcp_keepalive(&keepalive)?;
    set_user_timeout(socket, user_timeout(config))
}

/// Returns the TCP user timeout: how long a peer may acknowledge nothing or have a full buffer.
///
/// The system does not tell the two apart. So this is longer than the write timeout, which begins
/// only when the server's socket is full, and begins again when the socket takes more bytes.
fn user_timeout(config: &ServerConfig) -> Duration {
    const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);
    config.tcp.user_timeout.max(config.timeouts.write.saturating_mul(3)).min(LONGEST)
}

/// Sets how long sent data may stay unacknowledged before the connection breaks.
fn set_user_timeout(socket: &Socket, timeout: Duration) -> io::Result<()> {
    #[cfg(any(target_os = "android", target_os = "linux"))]
    socket.set_tcp_user_timeout(Some(timeout))?;
    #[cfg(not(any(target_os = "android", target_os = "linux")))]
    let _ = (socket, timeout);
    Ok(())
}

/// Most connections that wait to be accepted; the kernel may allow fewer.
const BACKLOG: i32 = 4096;

/// Shortest and longest pause after an error that concerns all connections, such as no
/// descriptors left.
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
    let inherited_timeout = user_timeout(&shared.config());
    let mut pause = MIN_PAUSE;
    loop {
        let accepted = tokio::select! {
            // Later connections are left to the process that shares the socket.
            biased;
            // Fails if the sender is gone: then the server has stopped.
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = accept_one(&socket, &entrance) => accepted,
        };
        match accepted {
            Ok((socket, address)) => {
                pause = MIN_PAUSE;
                let timeout = user_timeout(&shared.config());
                if timeout != inherited_timeout {
                    // If this fails, the connection is broken, and reading from it fails too.
                    let _ = set_user_timeout(&SockRef::from(&socket), timeout);
                }
                match Accepted::new(socket, address.ip(), url.scheme, &entrance) {
                    Ok(accepted) => {
                        // Refused connections are not charged, because they cost almost nothing.
                        entrance.accept_rate.charge(shared.clock.now());
                        shared.metrics.connections_accepted.increment();
                        dispatcher.dispatch(&worker, &entrance, accepted);
                    }
                    Err(refused) => entrance.report_refused(refused),
                }
            }
            // The client closed the connection before it was accepted.
            Err(error) if concerns_one_connection(&error) => {
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

/// Accepts a connection as soon as the accept rate allows it.
async fn accept_one(
    socket: &TcpListener,
    entrance: &Entrance,
) -> io::Result<(TcpStream, SocketAddr)> {
    let clock = &entrance.shared.clock;
    loop {
        // Checked at each poll, because the loops of other listeners use the same rate.
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

fn concerns_one_connection(error: &io::Error) -> bool {
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
    fn connections_have_the_tcp_options_of_the_configuration() {
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
    fn a_very_long_write_timeout_is_accepted_by_the_system() {
        let mut config = ServerConfig::default();
        config.timeouts.write = Duration::from_secs(365 * 86_400);
        Listener::bind(&"tcp://127.0.0.1:0".parse().unwrap(), &config).unwrap();
    }
}
