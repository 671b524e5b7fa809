//! The `waddell` command: listen, send, ping, bench and info through a waddell server.
//!
//! Results go to standard output, which is flushed after each line. Everything else goes to
//! standard error. Exit codes: 0 success, 1 failure, 2 bad usage.

mod bench;
mod info;
mod listen;
mod output;
mod ping;
mod send;
mod server;

use std::io;
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::Runtime;

use crate::output::Failure;

/// Exchanges messages with other peers through a waddell signaling server.
#[derive(Parser)]
#[command(name = "waddell", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Listen(listen::Listen),
    Send(send::Send),
    Ping(ping::Ping),
    Bench(bench::Bench),
    Info(info::Info),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = check_descriptors().and_then(|()| Runtime::new());
    let result = runtime.map_err(Failure::from).and_then(|runtime| {
        runtime.block_on(async {
            match cli.command {
                Command::Listen(listen) => listen.run().await,
                Command::Send(send) => send.run().await,
                Command::Ping(ping) => ping.run().await,
                Command::Bench(bench) => bench.run().await,
                Command::Info(info) => info.run().await,
            }
        })
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Checks that the process can open some files. The runtime needs a few for its signals, and panics
/// without them.
#[cfg(unix)]
fn check_descriptors() -> io::Result<()> {
    let pairs: io::Result<Vec<_>> = (0..4).map(|_| UnixStream::pair()).collect();
    pairs.map(drop)
}

/// This system's signals need none.
#[cfg(not(unix))]
fn check_descriptors() -> io::Result<()> {
    Ok(())
}

const EXAMPLES: &str = "\
Examples:
  waddell listen tcp://server.example --topic 1
  waddell send wss://server.example 3f2c8a52-41d7-4f6b-9f0e-0c2f6d7d1b11 --topic 1 hello
  waddell ping ws://127.0.0.1:62480 3f2c8a52-41d7-4f6b-9f0e-0c2f6d7d1b11
  waddell bench tcp://127.0.0.1:62443 --pairs 100
  waddell info wss://server.example

Addresses: tcp://HOST[:62443], tls://HOST[:62443], ws://HOST[:62480][/ws],
wss://HOST[:62480][/ws].
Exit codes: 0 success, 1 failure, 2 bad usage.";
