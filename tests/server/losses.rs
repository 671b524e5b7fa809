//! Hundreds of clients that lose their connection and resume, again and again, on two workers.

mod client;
mod writer;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use self::client::{Client, Loss};
use self::writer::Writer;
use crate::support::admin::{read, serve_operators};
use crate::support::server::TestServer;
use crate::support::{soon, until};

const CLIENTS: usize = 300;
const WRITERS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_lose_their_connection_account_for_every_frame() {
    for _ in 0..3 {
        lose_and_account().await;
    }
}

async fn lose_and_account() {
    // An id is taken over three times in ten seconds at most, and each loss may be a takeover: the
    // client may be back before the server has seen the end of its connection.
    const ROUNDS: usize = 3;
    let server = TestServer::start_with(serve_operators);
    let address = server.address("tcp");
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        writers.push(Writer::connect(&server).await);
    }
    let mut clients = Vec::new();
    for index in 0..CLIENTS {
        let writer = &mut writers[index % WRITERS];
        let client = Client::connect(address, writer.id()).await.expect("the server is there");
        writer.add(client.id);
        clients.push(client);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let mut writing = JoinSet::new();
    for mut writer in writers {
        let stop = Arc::clone(&stop);
        writing.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                writer.write_to_all().await;
            }
            writer
        });
    }
    let mut losing = JoinSet::new();
    for (index, mut client) in clients.into_iter().enumerate() {
        losing.spawn(async move {
            for round in 0..ROUNDS {
                client.send_some().await;
                let loss = Loss::ALL[(index + round) % Loss::ALL.len()];
                client.lose(loss, address).await.expect("the server is there");
            }
            client.sync().await;
            client
        });
    }
    let clients = soon(losing.join_all()).await;
    stop.store(true, Ordering::Relaxed);
    let mut from = HashMap::new();
    let mut writers = soon(writing.join_all()).await;
    for writer in &mut writers {
        // By then it has got all that was in its outbox.
        writer.write_to_all().await;
        from.extend(writer.received.drain());
    }
    let mut unknown = 0;
    for client in &clients {
        let received = from.remove(&client.id).unwrap_or_default();
        assert!(received.is_sorted_by(|one, next| one < next), "in order, and each at most once");
        let received: HashSet<u32> = received.into_iter().collect();
        assert!(client.handled.is_subset(&received), "what was handled has arrived");
        assert!(client.lost.is_disjoint(&received), "what was lost has not");
        unknown += client.unknown;
    }
    assert!(unknown * 10 < CLIENTS * ROUNDS, "{unknown} frames have an unknown fate");
    for writer in &writers {
        let clients = clients.iter().filter(|client| client.writer == writer.id());
        writer.check(clients.map(|client| (client.id, &client.received)).collect());
    }
    let metrics = server.metrics();
    assert!(metrics.losses_told > 0 && metrics.frames_dropped_away > 0, "{metrics:?}");
    assert_eq!(metrics.frames_dropped_unknown, 0, "a client is here or away");
    assert_eq!(read(&server, "waddell_peers_away").await, 0, "a client is not here and away");
    // Each writer and each client, under one id.
    assert_eq!(server.handle.peers(), WRITERS + CLIENTS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_during_takeovers_ends_in_order() {
    let server = TestServer::start_with(|config| {
        config.timeouts.drain = Duration::from_secs(2);
    });
    let address = server.address("tcp");
    let reader = Writer::connect(&server).await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let client = Client::connect(address, reader.id()).await.expect("the server is there");
        clients.push(client);
    }
    let taken_over = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for mut client in clients {
        let taken_over = Arc::clone(&taken_over);
        tasks.spawn(async move {
            while client.lose(Loss::TakenOver, address).await.is_ok() {
                taken_over.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    until(|| taken_over.load(Ordering::Relaxed) > CLIENTS / 2).await;
    let handle = server.stop().done().await;
    assert_eq!(handle.peers(), 0);
    soon(tasks.join_all()).await;
}
