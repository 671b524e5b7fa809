//! Translates between bytes on the wire and greetings and bodies.

mod nats;
mod websocket;

use waddell_core::{FrameDecoder, HEADER_LEN, PREFIX_LEN, PeerId, TopicId};

use crate::target::{Protocol, Target};

/// An item that was read from a connection.
pub(crate) enum Incoming<'a> {
    /// The connection is ready, and over waddell the peer has this id.
    Ready(PeerId),
    /// The sender, if the protocol names it, and a body.
    Message(Option<PeerId>, &'a [u8]),
}

/// The reading side of one connection.
pub(crate) struct Reader {
    kind: Kind,
}

enum Kind {
    Waddell(Frames),
    WebSocket(websocket::Reader, Frames),
    Nats(nats::Reader),
}

impl Reader {
    /// Prepares to read from a server; writes to `out` the bytes that must be sent first.
    pub(crate) fn new(target: &Target, peer: usize, out: &mut Vec<u8>) -> Self {
        let kind = match target.protocol {
            Protocol::Waddell => Kind::Waddell(Frames::default()),
            Protocol::WebSocket => {
                websocket::request(target, out);
                Kind::WebSocket(websocket::Reader::default(), Frames::default())
            }
            Protocol::Nats => {
                nats::subscribe(peer, out);
                Kind::Nats(nats::Reader::default())
            }
        };
        Self { kind }
    }

    /// Takes bytes that arrived; writes the answers of the protocol itself to `out`.
    ///
    /// # Errors
    ///
    /// The server breaks the protocol; the text says how.
    pub(crate) fn take(
        &mut self,
        bytes: &mut [u8],
        out: &mut Vec<u8>,
        mut on: impl FnMut(Incoming<'_>),
    ) -> Result<(), String> {
        match &mut self.kind {
            Kind::Waddell(frames) => frames.take(bytes, &mut on),
            Kind::WebSocket(socket, frames) => {
                socket.take(bytes, out, |payload| frames.take(payload, &mut on))
            }
            Kind::Nats(reader) => reader.take(bytes, out, &mut on),
        }
    }
}

/// Writes one message to a peer, which has an id and a number; `body` appends the body.
pub(crate) fn write_message(
    protocol: Protocol,
    (id, peer): (PeerId, usize),
    body_len: usize,
    out: &mut Vec<u8>,
    body: impl FnOnce(&mut Vec<u8>),
) {
    let len = HEADER_LEN + body_len;
    match protocol {
        Protocol::Waddell => write_frame(id, len, out, body),
        Protocol::WebSocket => {
            websocket::write_message(PREFIX_LEN + len, out, |out| write_frame(id, len, out, body));
        }
        Protocol::Nats => {
            nats::publish(peer, len, out, |out| {
                // An application would have to add sender and topic, which waddell provides.
                out.extend_from_slice(&[0; HEADER_LEN]);
                body(out);
            });
        }
    }
}

fn write_frame(id: PeerId, len: usize, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(&(len as u16).to_le_bytes());
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(&TOPIC.0.to_le_bytes());
    body(out);
}

/// waddell's frames, without the layers below them.
#[derive(Default)]
struct Frames {
    decoder: FrameDecoder,
    greeted: bool,
}

impl Frames {
    fn take(
        &mut self,
        mut bytes: &mut [u8],
        on: &mut impl FnMut(Incoming<'_>),
    ) -> Result<(), String> {
        loop {
            let next = self.decoder.next_frame(&mut bytes).map_err(|error| error.to_string())?;
            let Some(frame) = next else { return Ok(()) };
            let payload = frame.payload();
            let Some((from, rest)) = payload.split_first_chunk() else {
                return Err(format!("a frame of {} bytes", payload.len()));
            };
            let from = PeerId::from_bytes(*from);
            let topic = rest.first_chunk().map(|topic| TopicId(u16::from_le_bytes(*topic)));
            match (self.greeted, topic) {
                (false, Some(TopicId::UNKNOWN)) if rest.len() == TopicId::LEN => {
                    self.greeted = true;
                    on(Incoming::Ready(from));
                }
                (true, Some(TOPIC)) => on(Incoming::Message(Some(from), &rest[TopicId::LEN..])),
                (greeted, topic) => {
                    let what = if greeted { "message" } else { "greeting" };
                    return Err(format!("no {what}: {} bytes, topic {topic:?}", payload.len()));
                }
            }
        }
    }
}

const TOPIC: TopicId = TopicId(7);

#[cfg(test)]
mod tests {
    use super::*;

    /// Every protocol, cut at any byte into two reads, yields the same items.
    #[test]
    fn reads_may_end_anywhere() {
        let frame = |from: u8, topic: u16, body: &[u8]| {
            let len = (HEADER_LEN + body.len()) as u16;
            [&len.to_le_bytes()[..], &[from; 16], &topic.to_le_bytes(), body].concat()
        };
        let frames = [frame(1, 0, b""), frame(2, 7, b"body"), frame(3, 7, &[4; 300])].concat();
        let switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
        let mut messages = switching.to_vec();
        for part in frames.chunks(200) {
            messages.extend_from_slice(
                &[&[0x89, 2, b'h', b'i', 0x82, 126, 0][..], &[part.len() as u8], part].concat(),
            );
        }
        let nats = b"INFO {}\r\nPONG\r\nPING\r\n".to_vec();
        let nats = [
            nats,
            [b"MSG w.1 1 22\r\n", &[2; 18][..], b"body\r\n"].concat(),
            [b"MSG w.1 1 318\r\n", &[3; 18][..], &[4; 300], b"\r\n"].concat(),
        ]
        .concat();
        for (url, stream) in [
            ("tcp://127.0.0.1:1", frames),
            ("ws://127.0.0.1:1", messages),
            ("nats://127.0.0.1:1", nats),
        ] {
            for cut in 0..=stream.len() {
                let mut out = Vec::new();
                let mut reader = Reader::new(&url.parse().unwrap(), 0, &mut out);
                out.clear();
                let mut ready = 0;
                let mut bodies = Vec::new();
                let (head, tail) = stream.split_at(cut);
                for part in [head, tail] {
                    let result =
                        reader.take(&mut part.to_vec(), &mut out, |incoming| match incoming {
                            Incoming::Ready(_) => ready += 1,
                            Incoming::Message(_, body) => bodies.push(body.to_vec()),
                        });
                    assert_eq!(result, Ok(()), "{url} cut at {cut}");
                }
                assert_eq!((ready, &bodies[..]), (1, &[b"body".to_vec(), vec![4; 300]][..]));
                assert_eq!(out.is_empty(), url.starts_with("tcp"), "pings are answered");
            }
        }
    }
}
