//! The load: pairs of peers that write to one another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};
use waddell_client::{Client, MessageIn, PeerId, Topic, TopicId};

use super::report::{Count, Found, clear_progress, show_progress};
use crate::output::Failure;

/// One of the two parts, as all pairs see it.
pub(super) struct Part {
    name: &'static str,
    began: Instant,
    duration: Duration,
    stop: Arc<AtomicBool>,
    body: Bytes,
    /// For the progress display.
    delivered: AtomicU64,
}

impl Part {
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

    /// Shows how far it is, until it is dropped.
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

/// Lets every pair do its part, and adds up what they find.
pub(super) async fn run_part<F>(
    part: &Arc<Part>,
    pairs: Vec<Pair>,
    task: impl Fn(Pair, Arc<Part>) -> F,
) -> Result<(Vec<Pair>, Found), Failure>
where
    F: Future<Output = Result<(Pair, Found), Failure>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for pair in pairs {
        tasks.spawn(task(pair, Arc::clone(part)));
    }
    let all = async {
        let mut pairs = Vec::new();
        let mut sum = Found::default();
        while let Some(done) = tasks.join_next().await {
            let (pair, found) = done.expect("no pair panics")?;
            pairs.push(pair);
            sum.add(found);
        }
        Ok((pairs, sum))
    };
    let result = tokio::select! {
        result = all => result,
        () = part.show() => unreachable!("it goes on until it is dropped"),
    };
    clear_progress();
    result
}

/// Two peers.
pub(super) struct Pair {
    pub(super) one: Peer,
    pub(super) other: Peer,
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

    /// Fails if the connection was lost: it is made anew, but under another id.
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
    /// Sends one message to and fro until the part is over.
    pub(super) async fn exchange(mut self, part: Arc<Part>) -> Result<(Self, Found), Failure> {
        let mut found = Found::default();
        let mut to = Direction::new(&self.one);
        let mut fro = Direction::new(&self.other);
        while !part.is_over() {
            let start = Instant::now();
            self.one.send(self.other.id, &part.body).await?;
            found.count.sent += 1;
            if !to.receive(&mut self.other, &part, &mut found.count).await? {
                continue;
            }
            self.other.send(self.one.id, &part.body).await?;
            found.count.sent += 1;
            if fro.receive(&mut self.one, &part, &mut found.count).await? {
                found.times.push(start.elapsed());
            }
        }
        found.elapsed = part.began.elapsed();
        found.delivered = found.times.len() as u64;
        Ok((self, found))
    }

    /// Keeps messages on their way in one direction until the part is over.
    pub(super) async fn push(
        mut self,
        part: Arc<Part>,
        window: usize,
    ) -> Result<(Self, Found), Failure> {
        let mut found = Found::default();
        let mut to = Direction::new(&self.one);
        let mut on_their_way = 0;
        loop {
            let over = part.is_over();
            if over && found.elapsed.is_zero() {
                found.elapsed = part.began.elapsed();
                found.delivered = found.count.intact;
            }
            while !over && on_their_way < window {
                self.one.send(self.other.id, &part.body).await?;
                found.count.sent += 1;
                on_their_way += 1;
            }
            if on_their_way == 0 {
                return Ok((self, found));
            }
            if to.receive(&mut self.other, &part, &mut found.count).await? {
                on_their_way -= 1;
            } else {
                on_their_way = 0;
            }
        }
    }
}

/// What is expected next from one peer.
struct Direction {
    from: PeerId,
    next: u64,
}

impl Direction {
    fn new(from: &Peer) -> Self {
        Self { from: from.id, next: from.next }
    }

    /// Receives and checks one message; `false` if none comes any more.
    async fn receive(
        &mut self,
        at: &mut Peer,
        part: &Part,
        count: &mut Count,
    ) -> Result<bool, Failure> {
        let Ok(message) = timeout(LOST_AFTER, at.topic.recv()).await else {
            at.check_connection()?;
            return Ok(false);
        };
        let message = message?;
        match number(&message, &part.body) {
            Some(number) if message.from == self.from && number >= self.next => {
                self.next = number + 1;
                count.intact += 1;
            }
            Some(number) if message.from == self.from && number < self.next => {
                count.misordered += 1;
            }
            Some(_) | None => count.damaged += 1,
        }
        part.delivered.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }
}

/// Makes a body: room for a number, then bytes that are known.
pub(super) fn body(size: usize) -> Bytes {
    let mut body = BytesMut::with_capacity(size);
    body.put_bytes(0, MIN_SIZE);
    body.extend((MIN_SIZE..size).map(|index| (index * 31 + 7) as u8));
    body.freeze()
}

/// Returns the number of a message that arrived undamaged.
fn number(message: &MessageIn, body: &Bytes) -> Option<u64> {
    let (number, rest) = message.body.split_first_chunk()?;
    (rest == &body[MIN_SIZE..]).then(|| u64::from_le_bytes(*number))
}

const TOPIC: TopicId = TopicId(1);

/// The number.
pub(super) const MIN_SIZE: usize = size_of::<u64>();

/// What has not come by then is lost.
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
