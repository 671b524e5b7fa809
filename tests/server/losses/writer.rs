//! A peer that writes to clients that come and go.

use std::collections::{HashMap, HashSet};

use waddell_core::{MessageIn, Notice, PeerId, Request};
use waddell_tests::transport::Via;

use crate::support::extended::Extended;
use crate::support::peer::message;
use crate::support::server::TestServer;

/// A peer that writes to clients that come and go, and notes what the server says of that.
pub(super) struct Writer {
    connection: Extended,
    /// The clients, with the number of the next message to each.
    clients: Vec<(PeerId, u32)>,
    /// The client and the message in each frame, by the number of the frame.
    sent: HashMap<u64, (PeerId, u32)>,
    next: u64,
    dropped: HashSet<(PeerId, u32)>,
    /// How many messages to each client are lost.
    lost: HashMap<PeerId, u32>,
    /// The messages of each client, in the order of arrival.
    pub(super) received: HashMap<PeerId, Vec<u32>>,
}

impl Writer {
    pub(super) async fn connect(server: &TestServer) -> Self {
        Self {
            connection: Extended::connect(server, Via::Tcp).await,
            clients: Vec::new(),
            sent: HashMap::new(),
            next: 1,
            dropped: HashSet::new(),
            lost: HashMap::new(),
            received: HashMap::new(),
        }
    }

    pub(super) fn id(&self) -> PeerId {
        self.connection.id
    }

    pub(super) fn add(&mut self, client: PeerId) {
        self.clients.push((client, 0));
    }

    /// Writes a message to each client, and reads everything until all are decided.
    pub(super) async fn write_to_all(&mut self) {
        let mut frames = Vec::new();
        for (client, sequence) in &mut self.clients {
            // Large enough that some are in an outbox when a connection is lost.
            let mut body = vec![0; 2_000];
            body[..4].copy_from_slice(&sequence.to_le_bytes());
            frames.extend(message(*client, 1, &body));
            self.sent.insert(self.next, (*client, *sequence));
            *sequence += 1;
            self.next += 1;
        }
        Request::Sync { seen: 0 }.encode(&mut frames);
        self.next += 1;
        self.connection.send_bytes(&frames).await;
        while !self.take_next().await {}
    }

    /// Notes the next message. Returns whether it says that all frames are decided.
    async fn take_next(&mut self) -> bool {
        let MessageIn { from, body, .. } = self.connection.receive().await;
        if from != PeerId::NIL {
            let sequence = body.first_chunk().copied().map(u32::from_le_bytes);
            let sequence = sequence.expect("clients number their messages");
            self.received.entry(from).or_default().push(sequence);
            return false;
        }
        match Notice::decode(&body).expect("servers make no error") {
            Notice::Dropped(entries) => {
                for entry in entries.iter() {
                    assert!(entry.is_exact(), "{entry:?}");
                    for number in entry.first..=entry.last() {
                        assert!(self.dropped.insert(self.sent[&number]), "told once");
                    }
                }
                false
            }
            Notice::Peers(notices) => {
                for notice in notices.iter() {
                    *self.lost.entry(notice.id).or_default() += notice.lost;
                }
                false
            }
            Notice::Handled(handled) => {
                assert!(handled.complete, "{handled:?}");
                assert_eq!(handled.upto + 1, self.next);
                true
            }
            other => panic!("{other:?}"),
        }
    }

    /// Checks what each client has received against what was told.
    pub(super) fn check(&self, received: HashMap<PeerId, &Vec<u32>>) {
        for (client, sent) in &self.clients {
            let received = received[client];
            assert!(received.is_sorted_by(|one, next| one < next), "in order, at most once");
            let dropped = self.dropped.iter().filter(|(to, _)| to == client).count();
            let arrived = |sequence: &u32| self.dropped.contains(&(*client, *sequence));
            assert!(!received.iter().any(arrived), "what was dropped has not arrived");
            let lost = self.lost.get(client).map_or(0, |lost| *lost as usize);
            let told = received.len() + dropped + lost;
            assert!(told <= *sent as usize, "of {sent}: {dropped} dropped, {lost} lost");
        }
    }
}
