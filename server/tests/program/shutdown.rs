//! On shutdown the server delivers the frames that are still in its sockets.

use std::io::{Read, Write};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::{Running, greeting, message};

/// More peers than the kernel reports to a worker at a time. Their frames reach the server's
/// sockets while it is stopped. The signal is the first event that it sees when it continues.
#[test]
fn frames_of_thousands_of_peers_are_delivered_before_any_peer_is_disconnected() {
    const PEERS: usize = 2_500;
    allow_descriptors(PEERS as u64 + 100);
    let mut server = Running::start(
        &["--listen=tcp://127.0.0.1:0", "--workers=1", "--log=warn", "--drain-timeout=10m"],
        1,
    );
    let mut peers: Vec<_> = (0..PEERS)
        .map(|_| {
            let mut stream = server.connect(0);
            (greeting(&mut stream), stream)
        })
        .collect();
    // Peers are disconnected in the order of their ids: this one is the first.
    peers.sort_by_key(|(id, _)| *id);
    let (to, mut recipient) = peers.remove(0);
    server.signal("STOP");
    for (id, sender) in &mut peers {
        sender.write_all(&message(to, &*id)).expect("the connection is open");
    }
    server.signal("TERM");
    server.signal("CONT");
    let mut received = Vec::new();
    recipient.read_to_end(&mut received).expect("it is closed cleanly");
    assert_eq!(received.len() / 36, peers.len(), "frames that arrived");
    drop((recipient, peers));
    assert_eq!(server.ended().0, Some(0));
}

/// Raises the limit on descriptors of this process, and of those that it starts.
fn allow_descriptors(count: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < count) {
        let current = Some(maximum.map_or(count, |maximum| maximum.min(count)));
        setrlimit(Resource::Nofile, Rlimit { current, maximum }).expect("the hard limit allows it");
    }
}
