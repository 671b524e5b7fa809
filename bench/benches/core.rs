//! Instructions that the core executes for one frame, counted by valgrind.
//!
//! `cargo bench -p waddell-bench --bench core` prints a table. Times on a shared machine say
//! little; instructions are the same in every run, so a change of one percent is a change.
//!
//! Each case is run under valgrind for two different numbers of frames, and the difference is
//! divided by the difference: start-up and set-up do not count. Copying counts up to one
//! instruction for a byte, which flatters no machine's `memcpy`.

use std::env;
use std::hint::black_box;
use std::process::{Command, ExitCode};

use waddell_core::{
    Client, ClientConfig, ConnectionConfig, FrameDecoder, HEADER_LEN, Instant, MessageOut, PeerId,
    ServerConnection, TopicId,
};

/// Handles so many frames with payloads of so many bytes.
type Case = fn(usize, u64);

const CASES: &[(&str, Case)] = &[
    ("server: whole frame in one read", whole),
    ("server: frame in two reads", split),
    ("server: sixteen frames in one read", coalesced),
    ("client: send", send),
    ("client: receive", receive),
];

/// Lengths of payloads, in bytes.
const LENGTHS: &[usize] = &[64, 1_024, 16_384];

const FEW: u64 = 1_600;
const MANY: u64 = 4_800;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match &args[..] {
        [case, len, frames] => {
            let case: usize = case.parse().expect("number of a case");
            CASES[case].1(len.parse().expect("a length"), frames.parse().expect("a count"));
            ExitCode::SUCCESS
        }
        [] => print_table(),
        _ => {
            eprintln!("this benchmark takes no arguments");
            ExitCode::from(2)
        }
    }
}

fn print_table() -> ExitCode {
    println!(
        "{:36} {}",
        "instructions per frame",
        columns(LENGTHS.iter().map(|len| format!("{len} B")))
    );
    for (index, (name, _)) in CASES.iter().enumerate() {
        let mut row = Vec::new();
        for &len in LENGTHS {
            let counted = count(index, len, FEW).zip(count(index, len, MANY));
            let Some((few, many)) = counted else {
                eprintln!(
                    "valgrind counts the instructions: install it (apt-get install valgrind)"
                );
                return ExitCode::FAILURE;
            };
            row.push(format!("{:.1}", (many - few) as f64 / (MANY - FEW) as f64));
        }
        println!("{name:36} {}", columns(row.into_iter()));
    }
    ExitCode::SUCCESS
}

fn columns(cells: impl Iterator<Item = String>) -> String {
    cells.map(|cell| format!("{cell:>10}")).collect()
}

/// Runs a case under valgrind; `None` if there is no valgrind, or none that can be understood.
fn count(case: usize, len: usize, frames: u64) -> Option<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe().ok()?)
        .args([case.to_string(), len.to_string(), frames.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stderr).ok()?;
    let (_, collected) = text.split_once("Collected : ")?;
    collected.split_whitespace().next()?.parse().ok()
}

fn whole(len: usize, frames: u64) {
    let mut server = Server::new();
    let mut read = frame(len);
    for _ in 0..frames {
        server.handle(black_box(&mut read), 1);
    }
}

fn split(len: usize, frames: u64) {
    let mut server = Server::new();
    let mut read = frame(len);
    for _ in 0..frames {
        let (head, tail) = read.split_at_mut(len / 2);
        server.handle(black_box(head), 0);
        server.handle(black_box(tail), 1);
    }
}

fn coalesced(len: usize, frames: u64) {
    let mut server = Server::new();
    let mut read = frame(len).repeat(16);
    for _ in 0..frames / 16 {
        server.handle(black_box(&mut read), 16);
    }
}

fn send(len: usize, frames: u64) {
    let mut client = ready_client();
    let message = MessageOut::new(peer(2), TopicId(1), vec![7; len - HEADER_LEN]);
    for _ in 0..frames {
        client.send(black_box(&message)).expect("it is ready");
        black_box(client.poll_output());
    }
}

fn receive(len: usize, frames: u64) {
    let mut client = ready_client();
    let mut read = frame(len);
    for _ in 0..frames {
        client.handle_bytes(black_box(&mut read), Instant::default());
        black_box(client.poll_output());
    }
}

/// The server's path up to the point where it looks the recipient up.
struct Server {
    decoder: FrameDecoder,
    connection: ServerConnection,
}

impl Server {
    fn new() -> Self {
        let config = ConnectionConfig::default();
        Self {
            decoder: FrameDecoder::new(),
            connection: ServerConnection::new(peer(1), config, Instant::default()),
        }
    }

    fn handle(&mut self, mut read: &mut [u8], expected: usize) {
        let mut forwarded = 0;
        while let Ok(Some(mut frame)) = self.decoder.next_frame(&mut read) {
            let to = self.connection.handle_frame(&mut frame, Instant::default());
            black_box(to).expect("it is no short frame").expect("it is for somebody");
            forwarded += 1;
        }
        assert_eq!(forwarded, expected);
    }
}

fn ready_client() -> Client {
    let mut client = Client::new(ClientConfig::default(), Instant::default());
    client.handle_connected(Instant::default());
    client.handle_bytes(&mut frame(HEADER_LEN), Instant::default());
    while client.poll_output().is_some() {}
    client
}

/// A frame with a payload of `len` bytes.
fn frame(len: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    let message = MessageOut::new(peer(2), TopicId(1), vec![7; len - HEADER_LEN]);
    message.encode(&mut frame).expect("the body fits");
    frame
}

fn peer(n: u8) -> PeerId {
    PeerId::from_random([n; 16])
}
