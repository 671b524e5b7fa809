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
use tokio::time::{Instant, sleep_until};

use crate::handshake::Accepted;
use crate::listen_url::ListenUrl;
use crate::shared::Shared;
use crate::worker::{Dispatcher, Worker};

/// A socket that listens, and what is spoken there.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: std::net::TcpListener,
    pub(crate) url: ListenUrl,
}

impl Listener {
    /// Binds the first of the host's addresses that can be bound.
    pub(crate) fn bind(url: &ListenUrl) -> io::Result<Self> {
        let mut last = io::Error::other("the host has no address");
        for address in url.resolve()? {
            match listen(address) {
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
    pub(crate) fn adopt(socket: std::net::TcpListener, url: &ListenUrl) -> io::Result<Self> {
        let address = socket.local_addr()?.to_string();
        socket.set_nonblocking(true)?;
        set_options(&SockRef::from(&socket))?;
        Ok(Self { socket, url: ListenUrl { scheme: url.scheme, address } })
    }

    /// Accepts connections on this worker until `stop` is there.
    pub(crate) fn start(
        self,
        worker: &Rc<Worker>,
        dispatcher: Arc<Dispatcher>,
        stop: watch::Receiver<bool>,
    ) -> io::Result<()> {
        let socket = TcpListener::from_std(self.socket)?;
        let accept = accept(socket, self.url, Rc::clone(worker), dispatcher, stop);
        tokio::task::spawn_local(accept);
        Ok(())
    }
}

fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A server that is started again takes over its port at once.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    set_options(&socket)?;
    Ok(socket.into())
}

/// Sets what every connection is to have: it inherits it from the socket that accepts it.
fn set_options(socket: &Socket) -> io::Result<()> {
    // What is sent waits for nothing: messages are small, and what piles up is sent together.
    socket.set_tcp_nodelay(true)?;
    // A peer that vanished without a word is noticed after 60 + 4 * 15 s; there is no other way
    // to ask clients of 2015.
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15));
    #[cfg(not(any(target_os = "openbsd", target_os = "haiku")))]
    let keepalive = keepalive.with_retries(4);
    socket.set_tcp_keepalive(&keepalive)?;
    // A peer that vanished with something on its way to it is noticed after 30 s.
    #[cfg(any(target_os = "android", target_os = "linux"))]
    socket.set_tcp_user_timeout(Some(Duration::from_secs(30)))?;
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
    dispatcher: Arc<Dispatcher>,
    mut stop: watch::Receiver<bool>,
) {
    let shared = &worker.shared;
    let mut pause = MIN_PAUSE;
    loop {
        let accepted = tokio::select! {
            // Those who come after the end are somebody else's: whoever holds the socket as well.
            biased;
            // An error says that there is nobody left to stop this: as good as stopped.
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = accept_one(&socket, shared) => accepted,
        };
        match accepted {
            Ok((socket, address)) => {
                pause = MIN_PAUSE;
                match Accepted::new(socket, address.ip(), url.scheme, shared) {
                    Ok(accepted) => {
                        shared.metrics.connections_accepted.increment();
                        dispatcher.dispatch(&worker, accepted);
                    }
                    Err(refused) => shared.note_refused(refused),
                }
            }
            // The client was gone before it was accepted.
            Err(error) if is_of_one_connection(&error) => {
                shared.metrics.accept_errors.increment();
                tracing::debug!(listener = %url, %error, "cannot accept a connection");
            }
            Err(error) => {
                shared.metrics.accept_errors.increment();
                tracing::warn!(listener = %url, %error, pause = ?pause, "cannot accept connections");
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
async fn accept_one(socket: &TcpListener, shared: &Shared) -> io::Result<(TcpStream, SocketAddr)> {
    loop {
        // Looked at each time that there may be somebody: other listeners' loops run in between.
        let accepted = poll_fn(|cx| {
            let now = shared.core_time(Instant::now());
            if let Some(at) = shared.accept_rate.paused_until(now) {
                return Poll::Ready(Err(at));
            }
            let accepted = ready!(socket.poll_accept(cx));
            if accepted.is_ok() {
                shared.accept_rate.charge(now);
            }
            Poll::Ready(Ok(accepted))
        });
        match accepted.await {
            Ok(accepted) => return accepted,
            Err(at) => {
                shared.note_paused();
                sleep_until(shared.tokio_time(at)).await;
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
