//! Checks that must hold for any input. The property tests and the fuzz targets call them.
//!
//! Each check compares the core with a plain restatement of the protocol. The restatement is given
//! the whole stream at once; the core is given pieces, whose lengths are the `cuts`.

pub mod control;
pub mod outcomes;

use std::collections::BTreeSet;
use std::time::Duration;

use waddell_core::{
    Capabilities, Client, ClientConfig, ClientEvent, ClientState, ConnectionConfig, Decision,
    FrameDecoder, FrameTooLong, HEADER_LEN, Instant, KEEP_ALIVE_FRAME, MAX_BODY_LEN, MAX_FRAME_LEN,
    MessageIn, MessageOut, Notice, Output, PREFIX_LEN, PeerId, Rejected, Request, SendError,
    ServerConnection, TopicId, Welcome,
};

/// Decodes `stream` in pieces, and compares the frames with those of the whole stream.
///
/// # Panics
///
/// If they differ, or the decoder keeps more than the unfinished frame.
pub fn frame_decoder(stream: &[u8], cuts: &[u16], max_len: u16) {
    let (expected, rest) = split_frames(stream);
    let too_long = expected
        .iter()
        .map(|frame| (frame.len() - PREFIX_LEN) as u16)
        .chain(rest.first_chunk().map(|prefix| u16::from_le_bytes(*prefix)))
        .find(|len| *len > max_len);

    let mut decoder = FrameDecoder::with_max_len(max_len);
    let mut expected_frames = expected.into_iter();
    for mut piece in pieces(stream, cuts) {
        let mut input = &mut piece[..];
        loop {
            match decoder.next_frame(&mut input) {
                Ok(Some(frame)) => {
                    assert_eq!(Some(frame.as_bytes()), expected_frames.next());
                    assert_eq!(frame.payload(), &frame.as_bytes()[PREFIX_LEN..]);
                    assert_eq!(decoder.buffered(), 0);
                }
                Ok(None) => {
                    assert!(input.is_empty());
                    assert!(decoder.buffered() < PREFIX_LEN + MAX_FRAME_LEN);
                    break;
                }
                Err(error) => {
                    let len = too_long.expect("no frame is too long");
                    assert_eq!(error, FrameTooLong { len, max_len });
                    assert!(
                        expected_frames.next().is_none_or(|frame| frame[..2] == len.to_le_bytes())
                    );
                    return;
                }
            }
        }
    }
    assert_eq!(too_long, None);
    assert_eq!(expected_frames.next(), None);
    assert_eq!(decoder.buffered(), rest.len());
    assert_eq!(decoder.finish().is_ok(), rest.is_empty());
}

/// Passes `stream` in pieces through the server's side of a connection.
///
/// # Panics
///
/// If a decision differs from the protocol's, or if a forwarded frame differs from the sent one in
/// more than the peer id, which must be `own_id`.
pub fn server_connection(own_id: PeerId, stream: &[u8], cuts: &[u16]) {
    let config = ConnectionConfig { idle_timeout: Some(Duration::from_secs(60)), rate_limit: None };
    let mut connection = ServerConnection::new(own_id, config, at_ms(0));
    let mut decoder = FrameDecoder::new();
    let (sent_frames, _rest) = split_frames(stream);
    let mut sent_frames = sent_frames.into_iter();
    for (ms, mut piece) in (0..).zip(pieces(stream, cuts)) {
        let mut input = &mut piece[..];
        while let Ok(Some(mut frame)) = decoder.next_frame(&mut input) {
            let sent = sent_frames.next().expect("the core invents no frame");
            let decision = connection.handle_frame(&mut frame, at_ms(ms));
            let came_out = frame.as_bytes();
            match decision {
                Decision::Forward(to) | Decision::FirstContact(to) => {
                    assert_eq!(came_out.len(), sent.len());
                    assert_eq!(came_out[..2], sent[..2], "length");
                    assert_eq!(to.as_bytes()[..], sent[2..18], "recipient");
                    assert_eq!(came_out[2..18], own_id.as_bytes()[..], "sender");
                    assert!(came_out[18..] == sent[18..], "topic and body");
                    assert!(!to.is_nil());
                    let message = MessageIn::decode(frame.payload()).expect("it has a header");
                    assert_eq!(message.from, own_id);
                }
                Decision::KeepAlive => assert_eq!(sent, KEEP_ALIVE_FRAME),
                Decision::Reject(Rejected::ShortFrame { len }) => {
                    assert_eq!(len, sent.len() - PREFIX_LEN);
                    assert!(len < HEADER_LEN && sent != KEEP_ALIVE_FRAME);
                    assert_eq!(came_out, sent);
                }
                Decision::Reject(Rejected::ReservedRecipient) => {
                    assert!(sent.len() >= PREFIX_LEN + HEADER_LEN);
                    assert_eq!(sent[2..18], [0; 16]);
                    assert!(came_out == sent);
                }
                Decision::Control => {
                    assert_eq!(sent[2..20], *b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff");
                    assert!(came_out == sent);
                    control_frame(&mut connection, &sent[PREFIX_LEN + HEADER_LEN..]);
                }
            }
            assert_eq!(connection.poll_timeout(), Some(at_ms(ms + 60_000)));
            assert_eq!(connection.id(), own_id);
        }
    }
    assert_eq!(sent_frames.next(), None);
}

/// Passes the body of a control frame to the server's side of a connection, and grants what a HELLO
/// wants.
fn control_frame(connection: &mut ServerConnection, body: &[u8]) {
    let was_extended = connection.granted().is_some();
    match connection.handle_control(body, true) {
        Ok(Request::Hello(hello)) => {
            assert!(!was_extended, "HELLO comes once");
            connection.extend(&hello, hello.wants);
            assert_eq!(connection.handled(), Some(hello.first_number.wrapping_sub(1)));
        }
        Ok(request) => {
            let mut frame = Vec::new();
            request.encode(&mut frame);
            let encoded = &frame[PREFIX_LEN + HEADER_LEN..];
            assert_eq!(Request::decode(encoded), Ok(request));
        }
        Err(_ignored) => {}
    }
    let mut notices = Vec::new();
    connection.encode_notices(&mut notices);
    assert_eq!(connection.has_notice(), !notices.is_empty());
    let (frames, rest) = split_frames(&notices);
    assert_eq!(rest, b"");
    for frame in frames {
        Notice::decode(&frame[PREFIX_LEN + HEADER_LEN..]).expect("it can be read");
    }
}

/// Encodes messages, passes the bytes through server and client in pieces, and compares.
///
/// # Panics
///
/// If a message arrives changed, or with another sender than `sender`.
pub fn round_trip(sender: PeerId, messages: &[MessageOut], cuts: &[u16]) {
    let mut stream = Vec::new();
    for message in messages {
        let before = stream.len();
        message.encode(&mut stream).expect("the body fits");
        assert_eq!(stream.len() - before, message.frame_len());
    }
    let mut connection = ServerConnection::new(sender, ConnectionConfig::default(), at_ms(0));
    let mut decoder = FrameDecoder::new();
    let mut recipients = Vec::new();
    let mut delivered = ServerConnection::new(recipient(), ConnectionConfig::default(), at_ms(0))
        .greeting()
        .to_vec();
    for mut piece in pieces(&stream, cuts) {
        let mut input = &mut piece[..];
        while let Ok(Some(mut frame)) = decoder.next_frame(&mut input) {
            match connection.handle_frame(&mut frame, at_ms(0)) {
                Decision::Forward(to) | Decision::FirstContact(to) => recipients.push(to),
                other => panic!("a message is to be forwarded, not {other:?}"),
            }
            delivered.extend_from_slice(frame.as_bytes());
        }
    }
    assert_eq!(decoder.finish(), Ok(()));
    assert!(recipients.iter().eq(messages.iter().map(|message| &message.to)));

    let mut client = Client::new(ClientConfig::default(), at_ms(0));
    client.handle_connected(at_ms(0));
    let hello = client.poll_output().into_iter().chain(client.poll_output()).last();
    assert!(matches!(hello, Some(Output::Transmit(_))), "{hello:?}");
    for mut piece in pieces(&delivered, cuts) {
        client.handle_bytes(&mut piece, at_ms(0));
    }
    let id = recipient();
    assert_eq!(client.poll_output(), Some(Output::Event(ClientEvent::Connected { id })));
    for sent in messages {
        let Some(Output::Event(ClientEvent::Message(arrived))) = client.poll_output() else {
            panic!("a message was lost");
        };
        assert_eq!((arrived.from, arrived.topic), (sender, sent.topic));
        assert!(arrived.body == sent.body);
    }
    assert_eq!(client.poll_output(), None);
}

/// Passes a stream of a server with the extension to a client that has sent so many checked
/// messages, whole and in pieces, and compares the events.
///
/// # Panics
///
/// If they differ, or if a checked message does not get exactly one outcome.
pub fn notices(stream: &[u8], checked: usize, cuts: &[u16]) {
    let events = |cuts: &[u16]| {
        let mut client = Client::new(ClientConfig::default(), at_ms(0));
        client.handle_connected(at_ms(0));
        let own = ServerConnection::new(recipient(), ConnectionConfig::default(), at_ms(0));
        client.handle_bytes(&mut own.greeting(), at_ms(0));
        let mut welcome = Vec::new();
        let grants = Welcome::new(Capabilities::VERDICTS, recipient(), u16::MAX);
        Notice::Welcome(grants).encode(&mut welcome);
        client.handle_bytes(&mut welcome, at_ms(0));
        let mut tickets = BTreeSet::new();
        for _message in 0..checked {
            let message = MessageOut::new(peer(7), TopicId(7), vec![7]);
            tickets.insert(client.send_checked(&message, at_ms(0)).expect("it is ready"));
        }
        let mut events = Vec::new();
        let mut drain = |client: &mut Client| {
            while let Some(output) = client.poll_output() {
                if let Output::Event(ClientEvent::Checked { ticket, .. }) = output {
                    assert!(tickets.remove(&ticket), "{ticket:?} has one outcome");
                }
                match output {
                    Output::Event(event) => events.push(event),
                    Output::Dial | Output::Transmit(_) | Output::HangUp => {}
                }
            }
        };
        for mut piece in pieces(stream, cuts) {
            client.handle_bytes(&mut piece, at_ms(0));
            drain(&mut client);
        }
        client.handle_disconnected(at_ms(0));
        drain(&mut client);
        assert!(tickets.is_empty(), "they have no outcome: {tickets:?}");
        events
    };
    assert_eq!(events(&[]), events(cuts));
}

/// A call on a client, or an event of its driver.
#[derive(Clone, Debug)]
pub enum Call {
    /// The transport is connected.
    Connected,
    /// Bytes arrive.
    Bytes(Vec<u8>),
    /// A frame from peer `from` arrives, in two pieces if `cut` lies within it.
    Frame {
        /// Number of the sender; in a greeting, number of the client itself.
        from: u8,
        /// Length of the body.
        body_len: u16,
        /// Length of the first piece.
        cut: u16,
    },
    /// The transport is lost.
    Disconnected,
    /// Time passes, and the driver wakes up.
    Timeout {
        /// The time in milliseconds.
        after_ms: u16,
    },
    /// The driver wakes up at the time that the client asked for.
    TimeoutWhenDue,
    /// The application sends a message.
    Send {
        /// Length of the body.
        body_len: u32,
    },
    /// The application sends a keep-alive.
    SendKeepAlive,
    /// The application ends the wait before the next dial.
    RetryNow,
    /// The application closes the client.
    Close,
}

impl Call {
    /// Parses calls from `data`, which may be any bytes.
    pub fn decode_all(mut data: &[u8]) -> Vec<Self> {
        let data = &mut data;
        let mut calls = Vec::new();
        while let Some(kind) = take(data) {
            calls.push(match kind % 10 {
                0 => Self::Connected,
                1 => {
                    let len = usize::from(take(data).unwrap_or(0)).min(data.len());
                    let (bytes, rest) = data.split_at(len);
                    *data = rest;
                    Self::Bytes(bytes.to_vec())
                }
                2 => Self::Frame {
                    from: take(data).unwrap_or(0),
                    body_len: take_body_len(data) as u16,
                    cut: u16::from(take(data).unwrap_or(0)),
                },
                3 => Self::Disconnected,
                4 => Self::Timeout { after_ms: take_u16(data) },
                5 => Self::TimeoutWhenDue,
                6 => Self::Send { body_len: take_body_len(data) },
                7 => Self::SendKeepAlive,
                8 => Self::RetryNow,
                _ => Self::Close,
            });
        }
        calls
    }
}

/// Makes calls on a client, in any order, and compares it with a plain model of a driver.
///
/// # Panics
///
/// If an output comes in a state that forbids it, the client misreads a stream, its getters
/// contradict its outputs, or its timeouts would keep a driver spinning.
pub fn client(config: ClientConfig, calls: &[Call]) {
    let mut driver = Driver {
        client: Client::new(config, at_ms(0)),
        now: at_ms(0),
        transport: Transport::None,
        stream: Vec::new(),
        id: None,
        extension: config.extension,
        said_hello: false,
        restarts: false,
        probed: false,
        closed: false,
    };
    assert_eq!(driver.drain(), [Did::Dial]);
    for call in calls {
        driver.make(call);
        driver.check_getters(&config);
    }
}

/// A model of a driver, and its client.
struct Driver {
    client: Client,
    now: Instant,
    transport: Transport,
    /// Bytes of an unfinished frame that arrived on the transport.
    stream: Vec<u8>,
    id: Option<PeerId>,
    extension: bool,
    /// Whether HELLO was sent on the transport.
    said_hello: bool,
    /// Whether the server has said that it restarts.
    restarts: bool,
    /// Whether a probe was sent after the last byte.
    probed: bool,
    closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    None,
    Dialing,
    Connected,
}

/// An output, without the parts that cannot be predicted.
#[derive(Debug, PartialEq, Eq)]
enum Did {
    Dial,
    Hello,
    Transmit(Vec<u8>),
    HangUp,
    Connected(PeerId),
    Message(Vec<u8>),
    /// Disconnected, or closed because no attempt is left.
    Lost,
    ClosedByApplication,
}

impl Driver {
    fn make(&mut self, call: &Call) {
        let before = self.transport;
        match call {
            Call::Connected => {
                self.client.handle_connected(self.now);
                if before == Transport::Dialing {
                    self.transport = Transport::Connected;
                }
                let done = self.drain();
                self.said_hello |= done == [Did::Hello];
                assert!(done.is_empty() || self.said_hello && self.extension, "{done:?}");
            }
            Call::Bytes(bytes) => self.receive(bytes),
            Call::Frame { from, body_len, cut } => {
                let body = vec![*from; usize::from(*body_len).min(MAX_BODY_LEN)];
                let message = MessageOut::new(peer(*from), TopicId(u16::from(*from)), body);
                let mut frame = Vec::new();
                message.encode(&mut frame).expect("the body fits");
                let (head, tail) = frame.split_at(usize::from(*cut).min(frame.len()));
                self.receive(head);
                self.receive(tail);
            }
            Call::Disconnected => {
                self.client.handle_disconnected(self.now);
                self.transport = Transport::None;
                if before == Transport::None {
                    assert_eq!(self.drain(), []);
                } else {
                    assert_eq!(self.drain(), [Did::Lost]);
                }
            }
            Call::Timeout { after_ms } => {
                self.now = self.now + Duration::from_millis(u64::from(*after_ms));
                self.wake_up();
            }
            Call::TimeoutWhenDue => {
                if let Some(due) = self.client.poll_timeout() {
                    self.now = self.now.max(due);
                }
                self.wake_up();
            }
            Call::Send { body_len } => {
                let body = vec![7; *body_len as usize];
                let message = MessageOut::new(peer(7), TopicId(7), body);
                let result = self.client.send(&message);
                let mut frame = Vec::new();
                match message.encode(&mut frame) {
                    Err(error) if self.id.is_some() => {
                        assert_eq!(result, Err(SendError::BodyTooLong(error)));
                        assert_eq!(self.drain(), []);
                    }
                    Ok(()) | Err(_) => self.check_sent(result, frame),
                }
            }
            Call::SendKeepAlive => {
                let result = self.client.send_keep_alive();
                self.check_sent(result, KEEP_ALIVE_FRAME.to_vec());
            }
            Call::RetryNow => {
                self.client.retry_now(self.now);
                let waiting = before == Transport::None && !self.closed;
                let expected = if waiting { vec![Did::Dial] } else { vec![] };
                assert_eq!(self.drain(), expected);
            }
            Call::Close => {
                let was_closed = self.closed;
                self.client.close();
                let expected = match before {
                    _ if was_closed => vec![],
                    Transport::None => vec![Did::ClosedByApplication],
                    Transport::Dialing | Transport::Connected => {
                        vec![Did::HangUp, Did::ClosedByApplication]
                    }
                };
                assert_eq!(self.drain(), expected);
            }
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        let mut expected = Vec::new();
        if self.transport == Transport::Connected {
            self.probed = false;
            self.stream.extend_from_slice(bytes);
            let (frames, rest) = split_frames(&self.stream);
            let mut greeted = self.id.is_some();
            for frame in &frames {
                if self.said_hello
                    && let Some(body) = frame[PREFIX_LEN..].strip_prefix(&CONTROL_HEADER)
                {
                    if let Ok(Notice::Closing(_)) = Notice::decode(body) {
                        expected.extend([Did::HangUp, Did::Lost]);
                        break;
                    }
                    continue;
                }
                match frame[PREFIX_LEN..].first_chunk() {
                    Some(id) if frame.len() >= PREFIX_LEN + HEADER_LEN => {
                        expected.push(if greeted {
                            Did::Message(frame[PREFIX_LEN..].to_vec())
                        } else {
                            Did::Connected(PeerId::from_bytes(*id))
                        });
                        greeted = true;
                    }
                    Some(_) | None => {
                        expected.extend([Did::HangUp, Did::Lost]);
                        break;
                    }
                }
            }
            self.stream = rest.to_vec();
        }
        self.client.handle_bytes(&mut bytes.to_vec(), self.now);
        assert_eq!(self.drain(), expected);
    }

    /// Wakes the client up as often as it asks for, which must end.
    fn wake_up(&mut self) {
        for _ in 0..4 {
            let due = self.client.poll_timeout().is_some_and(|at| at <= self.now);
            let waiting = self.transport == Transport::None;
            let greeted = self.id.is_some();
            self.client.handle_timeout(self.now);
            let done = self.drain();
            match (due, waiting, greeted) {
                (false, _, _) => assert_eq!(done, []),
                (true, true, _) => assert_eq!(done, [Did::Dial]),
                (true, false, true) => self.check_ready_timeout(&done),
                (true, false, false) => assert_eq!(done, [Did::HangUp, Did::Lost]),
            }
            if self.client.poll_timeout().is_none_or(|at| at > self.now) {
                return;
            }
        }
        panic!("the client asks for a wake-up at {:?} for ever", self.now);
    }

    /// Checks what a greeted client did at a timeout: it sent a keep-alive, a probe or both, or it
    /// gave up after a probe.
    fn check_ready_timeout(&mut self, done: &[Did]) {
        let keep_alive = Did::Transmit(KEEP_ALIVE_FRAME.to_vec());
        match done.strip_prefix(&[keep_alive]).unwrap_or(done) {
            [] => assert!(!done.is_empty(), "it was due"),
            [Did::Transmit(frame)] => {
                let id = self.id.expect("it is greeted");
                let probe = [&[18, 0][..], id.as_bytes(), b"\xfe\xff"].concat();
                assert_eq!(*frame, probe);
                self.probed = true;
            }
            [Did::HangUp, Did::Lost] => assert!(self.probed, "the server was not asked"),
            other => panic!("{other:?}"),
        }
    }

    fn check_sent(&mut self, result: Result<(), SendError>, frame: Vec<u8>) {
        if self.id.is_some() {
            assert_eq!(result, Ok(()));
            assert_eq!(self.drain(), [Did::Transmit(frame)]);
        } else {
            let error = if self.closed { SendError::Closed } else { SendError::NotConnected };
            assert_eq!(result, Err(error));
            assert_eq!(self.drain(), []);
        }
    }

    /// Takes all outputs, and checks that each is allowed in its state. Leaves out what control
    /// frames of the server cause, except for the end of the connection.
    fn drain(&mut self) -> Vec<Did> {
        let mut done = Vec::new();
        while let Some(output) = self.client.poll_output() {
            assert!(!self.closed, "nothing comes after Closed");
            done.push(match output {
                Output::Dial => {
                    assert_eq!(self.transport, Transport::None);
                    self.transport = Transport::Dialing;
                    self.said_hello = false;
                    self.stream.clear();
                    Did::Dial
                }
                Output::Transmit(bytes) if self.id.is_none() => {
                    assert_eq!(self.transport, Transport::Connected);
                    assert_eq!(bytes[PREFIX_LEN..][..HEADER_LEN], CONTROL_HEADER);
                    Did::Hello
                }
                Output::Transmit(bytes) => {
                    assert_eq!(self.transport, Transport::Connected);
                    Did::Transmit(bytes.to_vec())
                }
                Output::HangUp => {
                    assert_ne!(self.transport, Transport::None);
                    self.transport = Transport::None;
                    Did::HangUp
                }
                Output::Event(ClientEvent::Connected { id }) => {
                    assert_eq!(self.transport, Transport::Connected);
                    assert_eq!(self.id, None);
                    self.id = Some(id);
                    Did::Connected(id)
                }
                Output::Event(ClientEvent::Message(message)) => {
                    assert!(self.id.is_some());
                    let topic = message.topic.0.to_le_bytes();
                    Did::Message([&message.from.as_bytes()[..], &topic, &message.body].concat())
                }
                Output::Event(
                    ClientEvent::Extended(_)
                    | ClientEvent::Undelivered(_)
                    | ClientEvent::Peer(_)
                    | ClientEvent::NotExtended
                    | ClientEvent::Closing { .. },
                ) => {
                    assert!(self.said_hello);
                    continue;
                }
                Output::Event(ClientEvent::IceServers(_)) => panic!("they were not asked for"),
                Output::Event(ClientEvent::CredentialsDue) => panic!("there are no credentials"),
                Output::Event(ClientEvent::Restarting(_)) => {
                    assert!(self.said_hello);
                    self.restarts = true;
                    continue;
                }
                Output::Event(ClientEvent::Renamed { id }) => {
                    assert!(self.said_hello);
                    self.id = Some(id);
                    continue;
                }
                Output::Event(ClientEvent::Checked { .. }) => panic!("no message was checked"),
                Output::Event(ClientEvent::Disconnected { retry_at, .. }) => {
                    assert_eq!(self.transport, Transport::None);
                    assert!(retry_at >= self.now);
                    // A server that restarts chooses the time.
                    let most = if self.restarts { 7_200_000 } else { 7_500 };
                    assert!(retry_at <= self.now + Duration::from_millis(most));
                    self.restarts = false;
                    self.id = None;
                    Did::Lost
                }
                Output::Event(ClientEvent::Closed { reason }) => {
                    assert_eq!(self.transport, Transport::None);
                    self.id = None;
                    self.closed = true;
                    match reason {
                        waddell_core::CloseReason::ByApplication => Did::ClosedByApplication,
                        _ => Did::Lost,
                    }
                }
            });
        }
        done
    }

    fn check_getters(&self, config: &ClientConfig) {
        let state = match (self.transport, self.id) {
            _ if self.closed => ClientState::Closed,
            (Transport::None, _) => ClientState::Waiting,
            (Transport::Connected, Some(_)) => ClientState::Ready,
            (Transport::Connected | Transport::Dialing, _) => ClientState::Connecting,
        };
        assert_eq!(self.client.state(), state);
        assert_eq!(self.client.id(), self.id);
        let has_timeout = match state {
            ClientState::Closed => false,
            ClientState::Waiting => true,
            ClientState::Connecting => config.connect_timeout.is_some_and(can_be_due),
            ClientState::Ready => {
                let keep_alive = config.keep_alive_interval.filter(|it| !it.is_zero());
                let probe = config.silence_timeout.map(|it| it / 2).filter(|it| !it.is_zero());
                keep_alive.into_iter().chain(probe).any(can_be_due)
            }
        };
        assert_eq!(self.client.poll_timeout().is_some(), has_timeout, "{state:?}");
    }
}

/// The nil id and the topic of control frames.
const CONTROL_HEADER: [u8; HEADER_LEN] = *b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff";

/// Cuts a stream into its whole frames, prefixes included, and the rest.
pub fn split_frames(mut stream: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let mut frames = Vec::new();
    while let Some(prefix) = stream.first_chunk::<PREFIX_LEN>() {
        let len = PREFIX_LEN + usize::from(u16::from_le_bytes(*prefix));
        let Some((frame, rest)) = stream.split_at_checked(len) else { break };
        frames.push(frame);
        stream = rest;
    }
    (frames, stream)
}

/// Cuts a stream into pieces of the lengths `cuts`, over and over; into one piece without cuts.
fn pieces(mut stream: &[u8], cuts: &[u16]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let mut cuts = cuts.iter().cycle();
    while !stream.is_empty() {
        let len = cuts.next().map_or(stream.len(), |cut| usize::from(*cut).clamp(1, stream.len()));
        let (piece, rest) = stream.split_at(len);
        pieces.push(piece.to_vec());
        stream = rest;
    }
    pieces
}

fn take(data: &mut &[u8]) -> Option<u8> {
    let (first, rest) = data.split_first()?;
    *data = rest;
    Some(*first)
}

fn take_u16(data: &mut &[u8]) -> u16 {
    u16::from_le_bytes([take(data).unwrap_or(0), take(data).unwrap_or(0)])
}

/// Takes a length that is mostly short, since long bodies take time, and at times near the limit.
fn take_body_len(data: &mut &[u8]) -> u32 {
    match take(data).unwrap_or(0) {
        len @ 0..250 => u32::from(len),
        len @ 250.. => MAX_BODY_LEN as u32 + u32::from(len) - 253,
    }
}

fn at_ms(ms: u64) -> Instant {
    Instant::since_epoch(Duration::from_millis(ms))
}

fn peer(n: u8) -> PeerId {
    PeerId::from_random([n; 16])
}

fn recipient() -> PeerId {
    peer(0xee)
}

/// Returns whether time reaches so far: an [`Instant`] counts nanoseconds in 64 bits.
fn can_be_due(duration: Duration) -> bool {
    u64::try_from(duration.as_nanos()).is_ok()
}
