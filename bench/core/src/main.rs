//! Instructions that the core executes for one frame, counted by valgrind.
//!
//! `cargo xtask bench --core` prints a table of the counts beside those of `record.tsv`. Times on a
//! shared machine say little. Instructions are the same in every run, so a change of one percent is
//! a change. `--record` rewrites the record: a commit that changes the counts on purpose contains
//! the new record.
//!
//! Each case runs under valgrind for two numbers of frames. The difference of the counts, divided
//! by the difference of the numbers, leaves start-up out. Copying counts up to one instruction per
//! byte, which is more than any machine's `memcpy` needs.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::{env, fs};

use waddell_core::{
    Client, ClientConfig, ConnectionConfig, Decision, FrameDecoder, HEADER_LEN, Instant,
    MessageOut, PeerId, ServerConnection, TopicId,
};

/// Handles frames: the length of their payloads in bytes, and their number.
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

/// Changes up to this many percent are not shown.
const SHOWN: f64 = 3.0;

/// More than this many percent above the record is a failure. Another compiler or C library changes
/// the counts by a few percent; one copy or allocation too many changes them by more than this.
const FAILING: f64 = 25.0;

const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/record.tsv");

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let result = match &args[..] {
        [case, len, frames] => {
            let case: usize = case.parse().expect("number of a case");
            CASES[case].1(len.parse().expect("a length"), frames.parse().expect("a count"));
            return ExitCode::SUCCESS;
        }
        [] => compare(),
        [arg] if arg == "--record" => record(),
        _ => Err("usage: cargo xtask bench --core [--record]".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Instructions for one frame, by case and length.
type Counts = BTreeMap<(String, usize), f64>;

/// Prints a table of the counts and how they differ from the record.
fn compare() -> Result<(), String> {
    let (counts, recorded) = (count_all()?, read_record()?);
    println!(
        "{:36}{}",
        "instructions per frame",
        LENGTHS.iter().map(|len| format!("{:>20}", format!("{len} B"))).collect::<String>()
    );
    let mut failed = Vec::new();
    for (name, _) in CASES {
        let mut row = String::new();
        for &len in LENGTHS {
            let key = ((*name).to_owned(), len);
            let count = counts[&key];
            let change = recorded.get(&key).map(|before| (count / before - 1.0) * 100.0);
            let note = match change {
                None => "new".to_owned(),
                Some(change) if change.abs() > SHOWN => format!("{change:+.1} %"),
                Some(_) => String::new(),
            };
            // Most of a longer frame is the C library's `memcpy`, which depends on the processor.
            let telling = len == LENGTHS[0];
            if let Some(change) = change.filter(|change| telling && *change > FAILING) {
                failed.push(format!("{name}, {len} B: {change:+.1} %"));
            }
            row.push_str(&format!("{count:>11.1}{note:>9}"));
        }
        println!("{name:36}{}", row.trim_end());
    }
    let shortest = LENGTHS[0];
    println!(
        "changes beyond {SHOWN} % of record.tsv are shown; more than +{FAILING} % for {shortest} B \
         fail"
    );
    if failed.is_empty() {
        return Ok(());
    }
    Err(format!("more instructions than on record: {}", failed.join("; ")))
}

fn record() -> Result<(), String> {
    let lines =
        count_all()?.into_iter().map(|((name, len), count)| format!("{count:.1}\t{len}\t{name}\n"));
    fs::write(RECORD, lines.collect::<String>()).map_err(|error| format!("{RECORD}: {error}"))
}

fn read_record() -> Result<Counts, String> {
    let text = fs::read_to_string(RECORD).map_err(|error| format!("{RECORD}: {error}"))?;
    let parse = |line: &str| {
        let mut fields = line.split('\t');
        let (count, len, name) = (fields.next()?, fields.next()?, fields.next()?);
        Some(((name.to_owned(), len.parse().ok()?), count.parse().ok()?))
    };
    text.lines()
        .map(|line| parse(line).ok_or_else(|| format!("{RECORD}: not a count: {line}")))
        .collect()
}

fn count_all() -> Result<Counts, String> {
    let mut counts = Counts::new();
    for (index, (name, _)) in CASES.iter().enumerate() {
        for &len in LENGTHS {
            let (few, many) = count(index, len, FEW)
                .zip(count(index, len, MANY))
                .ok_or("valgrind is missing: apt-get install valgrind")?;
            let each = (many - few) as f64 / (MANY - FEW) as f64;
            counts.insert(((*name).to_owned(), len), each);
        }
    }
    Ok(counts)
}

/// Runs a case under valgrind; `None` without valgrind, or if its output is not understood.
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

/// The server's path up to the look-up of the recipient.
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
            let decision = self.connection.handle_frame(&mut frame, Instant::default());
            assert!(matches!(black_box(decision), Decision::Forward(_)), "it has a recipient");
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
