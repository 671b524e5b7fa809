//! Those who come in their thousands.

use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Duration, sleep, timeout};
use waddell_tests::transport::Via;

use super::{PATIENCE, until};
use crate::peer::Dial;
use crate::server::Server;
use crate::world::World;

/// Connections beyond those that the server has descriptors for.
const BEYOND: usize = 100;

/// Opens more connections than the server may have descriptors, and says nothing; then goes.
pub(super) async fn idle(world: &Rc<World>, descriptors: usize) -> Result<u64> {
    let dial = Dial::new(Via::Tcp);
    let mut idle = Vec::with_capacity(descriptors + BEYOND);
    while idle.len() < descriptors + BEYOND {
        idle.push(dial.socket(&world.server).await.context("a connection is refused")?);
        if idle.len() % 100 == 0 {
            // So that the backlog, which is the system's, does not fill.
            sleep(Duration::from_millis(2)).await;
        }
    }
    let counted = async |name| world.server.metrics().await?.sum(name);
    until("those beyond are refused", || async {
        Ok(counted("waddell_connections_refused_total").await? >= BEYOND as u64)
    })
    .await?;
    // Those who are in are served meanwhile.
    let (received, open) =
        (world.counts.healthy_received.get(), world.server.usage().descriptors()?);
    sleep(Duration::from_secs(2)).await;
    ensure!(world.counts.healthy_received.get() > received, "those who are in are not served");
    // Operators may have had one of them.
    ensure!(world.server.usage().descriptors()? + 1 >= open, "some of the idle were hung up");
    let count = idle.len() as u64;
    drop(idle);
    come_in(&world.server).await.context("once there are descriptors again")?;
    let errors = counted("waddell_accept_errors_total").await?;
    ensure!(errors == 0, "it ran out of descriptors {errors} times");
    Ok(count)
}

/// Connects again and again from an address, far beyond a limit of 200, and holds on to what it
/// gets.
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
            // Reset before it was made.
            Ok(Err(_)) => {}
            Err(_elapsed) => anyhow::bail!("a connection is neither taken nor refused"),
        }
        if held.len() == 500 {
            // Those that were refused make room for further attempts.
            held.retain(is_open);
        }
    }
    until("every attempt is counted", || async {
        let reading = world.server.metrics().await?;
        let accepted = reading.sum("waddell_connections_accepted_total")?;
        let refused = reading.sum("waddell_connections_refused_total")?;
        ensure!(reading.sum("waddell_peers")? <= LIMIT + 8, "there are more than allowed");
        Ok(refused >= attempts as u64 - LIMIT && accepted + refused >= attempts as u64)
    })
    .await?;
    if !all {
        come_in(&world.server).await.context("from an address that is not full")?;
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

/// Connects, and is greeted.
async fn come_in(server: &Server) -> Result<()> {
    let come = async {
        let mut socket = Dial::new(Via::Tcp).socket(server).await?;
        let mut greeting = [0; 20];
        socket.read_exact(&mut greeting).await
    };
    timeout(PATIENCE, come).await.context("nobody is greeted")?.context("a new peer is refused")?;
    Ok(())
}
