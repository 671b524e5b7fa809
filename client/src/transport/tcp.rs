//! TCP connections with the options for a client of a signaling server.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::sleep;

/// Connects to the address of `host` that answers first.
pub(crate) async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses = lookup_host((host, port)).await?.collect();
    let stream = race(interleaved(addresses), TcpStream::connect).await?;
    set_options(&stream)?;
    Ok(stream)
}

/// Dials the addresses one after the other, each a moment after the one before or as soon as one
/// has failed. Returns the first connection and drops the other dials.
///
/// Source: RFC 8305, section 5.
async fn race<D, S>(addresses: Vec<SocketAddr>, dial: impl Fn(SocketAddr) -> D) -> io::Result<S>
where
    D: Future<Output = io::Result<S>>,
{
    let mut addresses = addresses.into_iter();
    let mut dials = FuturesUnordered::new();
    let mut error = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    loop {
        match addresses.next() {
            Some(address) => {
                let dialing = dial(address);
                dials.push(async move { (address, dialing.await) });
            }
            None if dials.is_empty() => return Err(error),
            None => {}
        }
        tokio::select! {
            Some((address, result)) = dials.next() => match result {
                Ok(stream) => return Ok(stream),
                Err(failed) => {
                    tracing::debug!(%address, error = %failed, "could not connect");
                    error = failed;
                }
            },
            () = sleep(ATTEMPT_DELAY), if addresses.len() > 0 => {}
        }
    }
}

/// Sorts addresses so that both families take turns, each in the resolver's order. The family of
/// the first address comes first: the resolver prefers it.
///
/// Source: RFC 8305, section 4.
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let count = addresses.len();
    let is_first = addresses.first().map(SocketAddr::is_ipv6);
    let (preferred, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| Some(address.is_ipv6()) == is_first);
    let (mut preferred, mut other) = (preferred.into_iter(), other.into_iter());
    let mut sorted = Vec::with_capacity(count);
    while sorted.len() < count {
        sorted.extend(preferred.next());
        sorted.extend(other.next());
    }
    sorted
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

/// How long a dial runs alone before the next address is dialed too. Source: RFC 8305, section 5.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Idle time before TCP probes a connection; the server uses the same.
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEP_ALIVE_RETRIES: u32 = 4;

/// Longest time until written bytes are acknowledged; then the connection breaks.
#[cfg(any(target_os = "linux", target_os = "android"))]
const USER_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::Instant;

    use super::*;

    /// Port of an address whose dials never end; of one that refuses; any other connects.
    const DEAD: u16 = 1;
    const REFUSING: u16 = 2;

    /// Dials addresses with these ports. Returns the port that connected, and the time it took.
    async fn dial(ports: &[u16]) -> (io::Result<u16>, Duration) {
        let start = Instant::now();
        let addresses = ports.iter().map(|port| ([127, 0, 0, 1], *port).into()).collect();
        let connected = race(addresses, async |address: SocketAddr| match address.port() {
            DEAD => pending().await,
            REFUSING => Err(io::ErrorKind::ConnectionRefused.into()),
            port => Ok(port),
        });
        (connected.await, start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn dead_addresses_cost_a_moment_each_and_refusing_ones_nothing() {
        for (ports, connected, millis) in [
            (&[7][..], 7, 0),
            (&[DEAD, 7], 7, 250),
            (&[REFUSING, REFUSING, 7], 7, 0),
            (&[DEAD, DEAD, REFUSING, 7, 8], 7, 500),
        ] {
            let (result, took) = dial(ports).await;
            assert_eq!((result.unwrap(), took.as_millis()), (connected, millis), "{ports:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_error_of_a_dial_is_returned_if_none_connects() {
        let error = dial(&[REFUSING, REFUSING]).await.0.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(dial(&[]).await.0.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn families_take_turns_and_keep_their_order() {
        let sorted = |addresses: &[&str]| {
            let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
            interleaved(addresses).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let (a, b, c) = ("[::1]:1", "[::2]:1", "[::3]:1");
        assert_eq!(sorted(&[a, b, c, "1.1.1.1:1"]), [a, "1.1.1.1:1", b, c]);
        assert_eq!(sorted(&["1.1.1.1:1", a, b]), ["1.1.1.1:1", a, b]);
        assert_eq!(sorted(&[]), [""; 0]);
    }
}
