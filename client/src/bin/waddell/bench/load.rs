//! The load: pairs of peers that write to one another.
//!
//! Bodies are numbered here, and not stamped by `waddell_tests`: a program for users does not
//! depend on a crate for tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};
use waddell_client::{Client, MessageIn, PeerId, Topic, TopicId};

use super::report::{Count, Figures, clear_progress, show_progress};
use crate::output::Failure;

/// One of the two phases, as all pairs see it.
pub(super) struct Phase {
    name: &'static str,
    began: Instant,
    duration: Duration,
    stop: Arc<AtomicBool>,
    body: Bytes,
    /// For the progress display.
    delivered: AtomicU64,
}

impl Phase {
    pub(super) fn new(
        name: &'static str,
        duration: Duration,
        stop: &Arc<AtomicBool>,
        body: Bytes,
    ) -> Arc<Self> {
        let (stop, delivered) = (Arc::clone(stop), AtomicU64::new(0));
        Arc::new(Self { name, began: Instant::now(), duration, stop, body, delivered })
    }

    fn is_over(&self) -> bool {
        self.began.elapsed() >= self.duration || self.stop.load(Ordering::Relaxed)
    }

    /// Shows the progress until the future is dropped.
    async fn show(&self) {
        let mut ticks = interval(Duration::from_millis(250));
        loop {
            ticks.tick().await;
            let (time, of) = (self.began.elapsed().as_secs(), self.duration.as_secs_f64());
            let (name, count) = (self.name, self.delivered.load(Ordering::Relaxed));
            show_progress(format_args!("{name}: {count} in {time} of {of} s"));
        }
    }
}

/// Runs `task` for every pair, and sums up their figures.
pub(super) async fn run_phase<F>(
    phase: &Arc<Phase>,
    pairs: Vec<Pair>,
    task: impl Fn(Pair, Arc<Phase>) -> F,
) -> Result<(Vec<Pair>, Figures), Failure>
where
    F: Future<Output = Result<(Pair, Figures), Failure>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for pair in pairs {
        tasks.spawn(task(pair, Arc::clone(phase)));
    }
    let all = async {
        let mut pairs = Vec::new();
        let mut sum = Figures::default();
        while let Some(done) = tasks.join_next().await {
            let (pair, figures) = done.expect("no pair panics")?;
            pairs.push(pair);
            sum.add(figures);
        }
        Ok((pairs, sum))
    };
    let result = tokio::select! {
        result = all => result,
        () = phase.show() => unreachable!("the progress is shown until this ends"),
    };
    clear_progress();
    result
}

/// Two peers that write to one another.
pub(super) struct Pair {
    pub(super) first: Peer,
    pub(super) second: Peer,
}

pub(super) struct Peer {
    pub(super) client: Client,
    id: PeerId,
    topic: Topic,
    /// Number of the next message from this peer.
    next: u64,
}

impl Peer {
    pub(super) fn new(client: Client) -> Result<Self, Failure> {
        let lost = || Failure::Failed("the connection was lost at once".to_owned());
        let id = client.id().ok_or_else(lost)?;
        let topic = client.topic(TOPIC);
        Ok(Self { client, id, topic, next: 0 })
    }

    /// Fails if the connection was lost: the next one has another id.
    fn check_connection(&self) -> Result<(), Failure> {
        if self.client.id() == Some(self.id) {
            return Ok(());
        }
        Err(Failure::Failed("the connection of a peer was lost".to_owned()))
    }

    async fn send(&mut self, to: PeerId, body: &Bytes) -> Result<(), Failure> {
        self.check_connection()?;
        let number = self.next.to_le_bytes();
        self.next += 1;
        Ok(self.topic.send_parts(to, &[&number, &body[MIN_SIZE..]]).await?)
    }
}

impl Pair {
    /// Sends one message to and fro, again and again, until the phase is over.
    pub(super) async fn ping_pong(mut self, phase: Arc<Phase>) -> Result<(Self, Figures), Failure> {
        let mut figures = Figures::default();
        let mut to = Expected::new(&self.first);
        let mut fro = Expected::new(&self.second);
        while !phase.is_over() {
            let start = Instant::now();
            self.first.send(self.second.id, &phase.body).await?;
            figures.count.sent += 1;
            if !to.receive(&mut self.second, &phase, &mut figures.count).await? {
                continue;
            }
            self.second.send(self.first.id, &phase.body).await?;
            figures.count.sent += 1;
            if fro.receive(&mut self.first, &phase, &mut figures.count).await? {
                figures.times.push(start.elapsed());
            }
        }
        figures.elapsed = phase.began.elapsed();
        figures.delivered = figures.times.len() as u64;
        Ok((self, figures))
    }

    /// Keeps `window` messages in flight to the second peer until the phase is over.
    pub(super) async fn stream(
        mut self,
        phase: Arc<Phase>,
        window: usize,
    ) -> Result<(Self, Figures), Failure> {
        let mut figures = Figures::default();
        let mut to = Expected::new(&self.first);
        let mut in_flight = 0;
        loop {
            let over = phase.is_over();
            if over && figures.elapsed.is_zero() {
                figures.elapsed = phase.began.elapsed();
                figures.delivered = figures.count.intact;
            }
            while !over && in_flight < window {
                self.first.send(self.second.id, &phase.body).await?;
                figures.count.sent += 1;
                in_flight += 1;
            }
            if in_flight == 0 {
                return Ok((self, figures));
            }
            if to.receive(&mut self.second, &phase, &mut figures.count).await? {
                in_flight -= 1;
            } else {
                in_flight = 0;
            }
        }
    }
}

/// The next message to expect from one peer.
struct Expected {
    from: PeerId,
    next: u64,
}

impl Expected {
    fn new(from: &Peer) -> Self {
        Self { from: from.id, next: from.next }
    }

    /// Receives and checks one message; returns `false` if none comes.
    async fn receive(
        &mut self,
        at: &mut Peer,
        phase: &Phase,
        count: &mut Count,
    ) -> Result<bool, Failure> {
        let Ok(message) = timeout(LOST_AFTER, at.topic.recv()).await else {
            at.check_connection()?;
            return Ok(false);
        };
        let message = message?;
        match number(&message, &phase.body) {
            Some(number) if message.from == self.from && number >= self.next => {
                self.next = number + 1;
                count.intact += 1;
            }
            Some(number) if message.from == self.from && number < self.next => {
                count.misordered += 1;
            }
            Some(_) | None => count.damaged += 1,
        }
        phase.delivered.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }
}

/// Makes a body: room for the number of the message, then a known filler.
pub(super) fn body(size: usize) -> Bytes {
    let mut body = BytesMut::with_capacity(size);
    body.put_bytes(0, MIN_SIZE);
    body.extend((MIN_SIZE..size).map(|index| (index * 31 + 7) as u8));
    body.freeze()
}

/// Returns the number of an undamaged message.
fn number(message: &MessageIn, body: &Bytes) -> Option<u64> {
    let (number, rest) = message.body.split_first_chunk()?;
    (rest == &body[MIN_SIZE..]).then(|| u64::from_le_bytes(*number))
}

const TOPIC: TopicId = TopicId(1);

/// Length of the shortest body: the number alone.
pub(super) const MIN_SIZE: usize = size_of::<u64>();

/// Time after which a missing message counts as lost.
const LOST_AFTER: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_bodies_have_no_number() {
        let body = body(20);
        let message = |body: &[u8]| MessageIn {
            from: PeerId::NIL,
            topic: TOPIC,
            body: Bytes::copy_from_slice(body),
        };
        assert_eq!(number(&message(&body), &body), Some(0));
        let mut changed = body.to_vec();
        changed[19] ^= 1;
        assert_eq!(number(&message(&changed), &body), None);
        assert_eq!(number(&message(&body[..19]), &body), None);
        assert_eq!(number(&message(b"short"), &body), None);
    }
}
