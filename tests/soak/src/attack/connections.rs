//! Attacks by thousands of connections.

use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Duration, sleep, timeout};
use waddell_tests::transport::Via;

use super::patience::{PATIENCE, until};
use crate::peer::Dial;
use crate::server::Server;
use crate::world::World;

/// Connections for which the server has no descriptors.
const BEYOND: usize = 100;

/// Opens more silent connections than the server may have descriptors, then closes them.
pub(super) async fn idle(world: &Rc<World>, descriptors: usize) -> Result<u64> {
    let dial = Dial::new(Via::Tcp);
    let mut idle = Vec::with_capacity(descriptors + BEYOND);
    while idle.len() < descriptors + BEYOND {
        idle.push(dial.socket(&world.server).await.context("a connection is refused")?);
        if idle.len() % 100 == 0 {
            // Keeps the system's accept queue from filling up.
            sleep(Duration::from_millis(2)).await;
        }
    }
    let counted = async |name| world.server.metrics().await?.sum(name);
    until("the connections beyond the limit are refused", || async {
        Ok(counted("waddell_connections_refused_total").await? >= BEYOND as u64)
    })
    .await?;
    // Connected peers are still served.
    let (received, open) =
        (world.counts.healthy_received.get(), world.server.usage().descriptors()?);
    sleep(Duration::from_secs(2)).await;
    ensure!(world.counts.healthy_received.get() > received, "connected peers are not served");
    // A request to `/metrics` may have had one of them.
    ensure!(world.server.usage().descriptors()? + 1 >= open, "some idle connections were closed");
    let count = idle.len() as u64;
    drop(idle);
    connect(&world.server).await.context("once there are descriptors again")?;
    let errors = counted("waddell_accept_errors_total").await?;
    ensure!(errors == 0, "it ran out of descriptors {errors} times");
    Ok(count)
}

/// Connects again and again from an address, far beyond a limit of 200, and keeps the connections.
pub(super) async fn flood(world: &Rc<World>, connections: usize, from: [u8; 4]) -> Result<u64> {
    const LIMIT: u64 = 200;
    let attempts = connections.max(4 * LIMIT as usize);
    let all = from == [127, 0, 0, 1];
    let mut held = Vec::new();
    for number in 0..attempts {
        let via = Via::ALL[number % Via::ALL.len()];
        let dial = Dial { from: from.into(), ..Dial::new(via) };
        match timeout(PATIENCE, dial.socket(&world.server)).await {
            Ok(Ok(socket)) => held.push(socket),
            // Reset before it was established.
            Ok(Err(_)) => {}
            Err(_elapsed) => anyhow::bail!("a connection is neither accepted nor refused"),
        }
        if held.len() == 500 {
            // Refused connections make room for further attempts.
            held.retain(is_open);
        }
    }
    until("every attempt is counted", || async {
        let reading = world.server.metrics().await?;
        let accepted = reading.sum("waddell_connections_accepted_total")?;
        let refused = reading.sum("waddell_connections_refused_total")?;
        ensure!(
            reading.sum("waddell_peers")? <= LIMIT + 8,
            "more peers are connected than allowed"
        );
        Ok(refused >= attempts as u64 - LIMIT && accepted + refused >= attempts as u64)
    })
    .await?;
    if !all {
        connect(&world.server).await.context("from an address that is not full")?;
    }
    drop(held);
    let dial = Dial { from: from.into(), ..Dial::new(Via::Tcp) };
    until("there is room again", || async { Ok(dial.peer(&world.server).await.is_ok()) }).await?;
    Ok(attempts as u64)
}

fn is_open(socket: &TcpStream) -> bool {
    let mut byte = [0];
    match socket.try_read(&mut byte) {
        Ok(len) => len > 0,
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}

/// Connects a new peer, and takes its greeting.
async fn connect(server: &Server) -> Result<()> {
    let greeted = async {
        let mut socket = Dial::new(Via::Tcp).socket(server).await?;
        let mut greeting = [0; 20];
        socket.read_exact(&mut greeting).await
    };
    timeout(PATIENCE, greeted)
        .await
        .context("a new peer is not greeted")?
        .context("a new peer is refused")?;
    Ok(())
}
