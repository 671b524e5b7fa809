//! TCP connections with the options for a client of a signaling server.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// Connects to the first address of `host` that answers.
pub(crate) async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses: Vec<_> = lookup_host((host, port)).await?.collect();
    let mut last_error = None;
    for (index, address) in addresses.iter().enumerate() {
        let is_last = index + 1 == addresses.len();
        let connecting = TcpStream::connect(address);
        // The last address may use all of the remaining time.
        let connected = if is_last {
            connecting.await
        } else {
            timeout(ADDRESS_TIMEOUT, connecting)
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        };
        match connected {
            Ok(stream) => {
                set_options(&stream)?;
                return Ok(stream);
            }
            Err(error) => {
                tracing::debug!(%address, %error, "could not connect");
                last_error = Some(error);
            }
        }
    }
    Err(last_error
        .unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the host name has no address")))
}

fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE_IDLE);
    #[cfg(not(any(target_os = "openbsd", target_os = "haiku")))]
    let keep_alive = keep_alive.with_interval(KEEP_ALIVE_INTERVAL);
    #[cfg(not(any(target_os = "openbsd", target_os = "haiku", target_os = "windows")))]
    let keep_alive = keep_alive.with_retries(KEEP_ALIVE_RETRIES);
    socket.set_tcp_keepalive(&keep_alive)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(())
}

/// Longest dial of an address that is not the last. A dead address must leave time for the others.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(3);

/// Idle time before TCP probes a connection; the server uses the same.
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEP_ALIVE_RETRIES: u32 = 4;

/// Longest time until written bytes are acknowledged; then the connection breaks.
#[cfg(any(target_os = "linux", target_os = "android"))]
const USER_TIMEOUT: Duration = Duration::from_secs(30);
