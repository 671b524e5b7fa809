//! Many runs in rounds over all servers, so that other load on the machine affects all alike.

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use clap::Args;
use waddell_tests::certificate::Certificate;

use crate::record::{Machine, ON_ONE, ON_TWO, Record};
use crate::report;
use crate::run::parse_seconds;
use crate::servers::{Other, Server, find, make_rsa_certificate, pinned};

/// The runs and the servers of a suite.
#[derive(Args)]
pub(crate) struct Suite {
    /// Every scenario, size and transport: about a quarter of an hour for two servers
    #[arg(long)]
    full: bool,

    /// Only runs whose names contain this; repeatable
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,

    /// Number of rounds [default: 3, with --full 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    repeat: Option<u32>,

    /// Length of the measured part of each run
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = parse_seconds)]
    seconds: f64,

    /// A further server: NAME=URL or NAME=URL,PID if it runs already, 'NAME=URL COMMAND' to start
    /// it for each run; repeatable
    #[arg(long, value_name = "SERVER")]
    server: Vec<Other>,

    /// Leave nats-server out even if it is installed
    #[arg(long)]
    no_nats: bool,

    /// Give the server a certificate with an RSA key of 2048 bits instead of ECDSA P-256
    #[arg(long)]
    rsa: bool,

    /// Let the scheduler place the server and the load
    #[arg(long)]
    no_pin: bool,

    /// File for the raw lines [default: a new file in bench/ in the folder of build products]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// One kind of run: name, scheme, arguments of `waddell-bench run`, and processors.
struct Plan {
    name: String,
    scheme: &'static str,
    args: Vec<String>,
    place: Place,
}

/// The processors of the server and of the load.
#[derive(Clone, Copy)]
enum Place {
    /// One for each.
    Apart,
    /// That number for both together.
    Shared(usize),
}

/// The parts that all runs of a suite share.
struct Stage<'a> {
    /// This program.
    own: &'a Path,
    pins: Option<Pins>,
    certificate: Certificate,
    dir: &'a Path,
}

/// The processors that this process may use, at least two of them.
struct Pins(Vec<usize>);

impl Pins {
    /// Finds them, if Linux lists them and `taskset` is installed.
    fn find() -> Option<Self> {
        find("taskset")?;
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        let allowed = parse_processors(list.trim());
        (allowed.len() >= 2).then_some(Self(allowed))
    }

    /// Returns the processors of the server and of the load, in the form that `taskset` takes.
    fn of(&self, place: Place) -> (String, String) {
        let Self(allowed) = self;
        match place {
            Place::Apart => (allowed[0].to_string(), allowed[1].to_string()),
            Place::Shared(count) => {
                let list: Vec<_> = allowed.iter().take(count).map(usize::to_string).collect();
                (list.join(","), list.join(","))
            }
        }
    }
}

/// Parses a list such as `0-3,8`; skips parts that are not numbers.
fn parse_processors(list: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

impl Suite {
    pub(crate) fn run(&self) -> Result<()> {
        let own = env::current_exe()?;
        let servers = self.servers(&own)?;
        let pins = Pins::find().filter(|_| !self.no_pin);
        let plans = self.plans(pins.is_some());
        if plans.is_empty() {
            bail!("--only {}: no run has such a name", self.only.join(" --only "));
        }
        let machine = Machine::look(pins.is_some(), self.rsa)?;
        machine.print();

        let dir = tempfile::tempdir()?;
        let certificate = if self.rsa {
            make_rsa_certificate(dir.path())?
        } else {
            Certificate::make(dir.path())?
        };
        let stage = Stage { own: &own, pins, certificate, dir: dir.path() };
        let path = self.out_path(&own, machine.time);
        fs::create_dir_all(path.parent().context("no folder for the raw lines")?)?;
        let mut file =
            File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        writeln!(file, "{}", serde_json::to_string(&machine)?)?;

        let repeat = self.repeat.unwrap_or(if self.full { 5 } else { 3 });
        let mut records = Vec::new();
        let mut failed = 0;
        for round in 1..=repeat {
            for plan in &plans {
                for server in servers.iter().filter(|server| server.speaks(plan.scheme)) {
                    match plan.run(&stage, server, round) {
                        Ok(record) => {
                            writeln!(file, "{}", serde_json::to_string(&record)?)?;
                            eprintln!("{round}/{repeat} {}", report::one_line(&record));
                            records.push(record);
                        }
                        Err(error) => {
                            failed += 1;
                            eprintln!(
                                "{round}/{repeat} {} {}: {error:#}",
                                plan.name,
                                server.name()
                            );
                        }
                    }
                }
            }
        }
        report::print(&records)?;
        println!("\nraw lines: {}", path.display());
        if failed > 0 {
            bail!("{failed} runs failed");
        }
        Ok(())
    }

    fn servers(&self, own: &Path) -> Result<Vec<Server>> {
        let program = own.with_file_name("waddell-server");
        if !program.is_file() {
            bail!(
                "there is no {}; build it with: cargo build --release -p waddell-server",
                program.display()
            );
        }
        let mut servers = vec![Server::Waddell(program)];
        match find("nats-server") {
            Some(program) if !self.no_nats => servers.push(Server::Nats(program)),
            Some(_) => {}
            None => eprintln!("nats-server is not installed and is left out"),
        }
        servers.extend(self.server.iter().cloned().map(Server::Other));
        Ok(servers)
    }

    /// Returns the runs of the suite. Runs on chosen processors need `pinned`.
    fn plans(&self, pinned: bool) -> Vec<Plan> {
        let seconds = self.seconds.to_string();
        let mut plans = Vec::new();
        let mut add = |scheme: &'static str, name: &str, args: &str, place: Place| {
            let name = if scheme == "tcp" { name.to_owned() } else { format!("{scheme} {name}") };
            let mut args: Vec<String> = args.split(' ').map(str::to_owned).collect();
            if !args.iter().any(|arg| arg == "--seconds") {
                args.extend(["--seconds".to_owned(), seconds.clone()]);
            }
            plans.push(Plan { name, scheme, args, place });
        };
        let known: &[(&str, &str)] = if self.full { FULL } else { QUICK };
        for (name, args) in known {
            add("tcp", name, args, Place::of(name));
        }
        for scheme in ["ws", "tls", "wss"] {
            for (name, args) in if self.full { SECURED } else { &SECURED[..2] } {
                add(scheme, name, args, Place::of(name));
            }
            if self.full && scheme != "ws" {
                add(scheme, "connect resumed", "connect --pairs 16 --resume", Place::Apart);
            }
        }
        let shared: &[_] = if !pinned {
            &[]
        } else if self.full {
            SHARED
        } else {
            &SHARED[..1]
        };
        for (name, args) in shared {
            for (count, processors) in [(1, ON_ONE), (2, ON_TWO)] {
                add("tcp", &format!("{name}{processors}"), args, Place::Shared(count));
            }
        }
        plans.retain(|plan| {
            self.only.is_empty() || self.only.iter().any(|text| plan.name.contains(text))
        });
        plans
    }

    fn out_path(&self, own: &Path, time: u64) -> PathBuf {
        match &self.out {
            Some(path) => path.clone(),
            None => {
                // The program is in target/PROFILE.
                let target = own.ancestors().nth(2).unwrap_or(Path::new("target"));
                target.join("bench").join(format!("{time}.jsonl"))
            }
        }
    }
}

impl Place {
    /// Returns the place of a run. One pair's ping-pong shares the server's processor, since to
    /// wake another processor up would cost more than the work.
    fn of(name: &str) -> Self {
        let alone = name == "pingpong 1" || name.starts_with("pingpong 1 ");
        if alone { Self::Shared(1) } else { Self::Apart }
    }
}

impl Plan {
    fn run(&self, stage: &Stage<'_>, server: &Server, round: u32) -> Result<Record> {
        let Stage { own, pins, certificate, dir } = stage;
        let (server_pin, load_pin) = pins.as_ref().map(|pins| pins.of(self.place)).unzip();
        let listening = server.start(server_pin.as_deref(), certificate, dir)?;
        let url = listening.url(self.scheme).context("the server does not listen there")?;
        let mut command = pinned(own, load_pin.as_deref());
        command.args(["run", &self.args[0], url]).args(&self.args[1..]);
        if let Some(pid) = listening.pid {
            command.args(["--server-pid", &pid.to_string()]);
        }
        let output = command.stdin(Stdio::null()).output()?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let outcome = serde_json::from_slice(&output.stdout)?;
        Ok(Record { run: self.name.clone(), server: server.name().to_owned(), round, outcome })
    }
}

/// Runs of a quick suite: names, and arguments of `waddell-bench run`.
const QUICK: &[(&str, &str)] = &[
    ("pingpong 1", "pingpong --pairs 1"),
    ("pingpong 50", "pingpong --pairs 50"),
    ("pingpong 1000", "pingpong --pairs 1000"),
    ("stream 1", "stream --pairs 1 --window 64"),
    ("stream 50", "stream --pairs 50 --window 32"),
    ("stream 50 16 KiB", "stream --pairs 50 --window 32 --size 16384"),
    ("stream 1000", "stream --pairs 1000 --window 8"),
    ("mesh 1000", "mesh --pairs 500 --window 4"),
    ("rate 20k", "rate --pairs 50 --rate 20000"),
    ("connect", "connect --pairs 16"),
    ("idle 2000", "idle --pairs 2000"),
    ("slow", "slow --size 1024 --rate 60000 --seconds 3"),
];

/// Runs of a full suite.
const FULL: &[(&str, &str)] = &[
    ("pingpong 1", "pingpong --pairs 1"),
    ("pingpong 1 1 KiB", "pingpong --pairs 1 --size 1024"),
    ("pingpong 50", "pingpong --pairs 50"),
    ("pingpong 1000", "pingpong --pairs 1000"),
    ("stream 1", "stream --pairs 1 --window 64"),
    ("stream 1 1 KiB", "stream --pairs 1 --window 64 --size 1024"),
    ("stream 1 16 KiB", "stream --pairs 1 --window 64 --size 16384"),
    ("stream 50", "stream --pairs 50 --window 32"),
    ("stream 50 1 KiB", "stream --pairs 50 --window 32 --size 1024"),
    ("stream 50 16 KiB", "stream --pairs 50 --window 32 --size 16384"),
    ("stream 1000", "stream --pairs 1000 --window 8"),
    ("stream 1000 1 KiB", "stream --pairs 1000 --window 8 --size 1024"),
    ("mesh 1000", "mesh --pairs 500 --window 4"),
    ("scale 10", "stream --pairs 5 --window 8"),
    ("scale 100", "stream --pairs 50 --window 8"),
    ("scale 1000", "stream --pairs 500 --window 8"),
    ("scale 4000", "stream --pairs 2000 --window 8"),
    ("scale 19500", "stream --pairs 9750 --window 8"),
    ("rate 5k", "rate --pairs 50 --rate 5000"),
    ("rate 20k", "rate --pairs 50 --rate 20000"),
    ("connect", "connect --pairs 16"),
    ("idle 10000", "idle --pairs 10000 --size 16384"),
    ("idle 19500", "idle --pairs 19500 --size 16384"),
    ("slow", "slow --size 1024 --rate 60000 --seconds 3"),
];

/// Runs that are repeated over WebSocket and TLS. A quick suite has the first two.
const SECURED: &[(&str, &str)] = &[
    ("stream 50", "stream --pairs 50 --window 32"),
    ("connect", "connect --pairs 16"),
    ("pingpong 1", "pingpong --pairs 1"),
    ("pingpong 50", "pingpong --pairs 50"),
    ("stream 50 16 KiB", "stream --pairs 50 --window 32 --size 16384"),
    ("stream 1000", "stream --pairs 1000 --window 8"),
    ("mesh 1000", "mesh --pairs 500 --window 4"),
    ("idle 10000", "idle --pairs 10000 --size 16384"),
    ("idle 19500", "idle --pairs 19500 --size 16384"),
];

/// Runs with the server and the load on one processor, and on two. A quick suite has the first.
const SHARED: &[(&str, &str)] = &[
    ("stream 50", "stream --pairs 50 --window 32"),
    ("stream 50 16 KiB", "stream --pairs 50 --window 32 --size 16384"),
    ("pingpong 50", "pingpong --pairs 50"),
    ("mesh 1000", "mesh --pairs 500 --window 4"),
    ("connect", "connect --pairs 16"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_ranges_and_numbers() {
        assert_eq!(parse_processors("0-1"), [0, 1]);
        assert_eq!(parse_processors("3,5-7"), [3, 5, 6, 7]);
        assert_eq!(parse_processors(""), [0; 0]);
    }
}
