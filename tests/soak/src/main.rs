//! `waddell-soak`: the program of `cargo xtask soak`.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use waddell_soak::{Attack, Cost, Launch, Plan, Report, Siege, attack, soak};

/// Runs thousands of peers of every transport that talk, stall, vanish, send invalid bytes and
/// reconnect, and checks that the server keeps its promises.
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
struct Options {
    /// Time in which the peers talk, in minutes.
    #[arg(long, value_name = "N", default_value = "1", value_parser = minutes)]
    minutes: Duration,
    /// Peers at a time; one in eight belongs to a pair that must lose nothing.
    #[arg(long, value_name = "N", default_value = "3000",
          value_parser = clap::value_parser!(u16).range(32..=19_000))]
    peers: u16,
    /// Seed of all random choices. [default: the time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Make one attack after the other, and print the cost of each.
    #[arg(long)]
    attacks: bool,
    /// Connections of the attacks with many connections; this process and the server need a
    /// descriptor for each.
    #[arg(long, value_name = "N", default_value = "2000",
          value_parser = clap::value_parser!(u16).range(200..))]
    connections: u16,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// The server's program. [default: waddell-server in the folder of this program]
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,
    /// Further flags of the server.
    #[arg(last = true)]
    flags: Vec<String>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether the server kept its promises.
fn run(options: Options) -> Result<bool> {
    let program = match options.server {
        Some(program) => program,
        None => env::current_exe()?.with_file_name("waddell-server"),
    };
    let launch = Launch { program, flags: options.flags, descriptors: None };
    if options.attacks {
        let connections = usize::from(options.connections);
        let siege = Siege { launch, connections, duration: Duration::from_secs(10) };
        return attacks(&siege, options.json);
    }
    let seed = match options.seed {
        Some(seed) => seed,
        None => {
            std::time::UNIX_EPOCH.elapsed().context("the clock is set before 1970")?.as_millis()
                as u64
        }
    };
    eprintln!("seed {seed}");
    let plan = Plan { launch, duration: options.minutes, peers: usize::from(options.peers), seed };
    let report = soak(&plan)?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(report.violations.is_empty())
}

/// Makes every attack; returns whether the server withstood them.
fn attacks(siege: &Siege, json: bool) -> Result<bool> {
    let mut withstood = true;
    if !json {
        println!(
            "{:<24} {:>10} {:>6}   {:>8} {:>8} {:>8}   {:>8} {:>8} {:>8} {:>8}",
            "", "amount", "s", "MiB", "peak", "after", "healthy", "50 % ms", "99 % ms", "max ms"
        );
    }
    for kind in Attack::ALL {
        match attack(kind, siege) {
            Ok(cost) if json => println!("{}", serde_json::to_string(&cost)?),
            Ok(cost) => {
                let Cost { attack, amount, seconds, healthy_messages, .. } = cost;
                let [before, peak, after] = cost.resident_mib;
                let [half, most, all] = cost.healthy_ms;
                println!(
                    "{attack:<24} {amount:>10} {seconds:>6.1}   {before:>8.1} {peak:>8.1} \
                     {after:>8.1}   {healthy_messages:>8} {half:>8.2} {most:>8.1} {all:>8.1}"
                );
            }
            Err(error) => {
                withstood = false;
                println!("{error:#}");
            }
        }
    }
    Ok(withstood)
}

fn print(report: &Report) {
    let Report { seed, seconds, peers, quiet_points, .. } = report;
    println!("{peers} peers for {seconds:.0} s, seed {seed}, {quiet_points} quiet points");
    for (name, value) in &report.counts {
        println!("  {name:<48} {value:>12}");
    }
    println!("the server:");
    for (name, value) in &report.metrics {
        println!("  {name:<48} {value:>12}");
    }
    let [half, most, all] = report.healthy_ms;
    println!("healthy messages: median {half:.2} ms, 99 % {most:.1} ms, maximum {all:.1} ms");
    let [early, late, max, end] = report.resident_mib;
    println!(
        "resident memory: {early:.1} MiB early, {late:.1} MiB late, maximum {max:.1} MiB, \
         {end:.1} MiB after all peers have left"
    );
    let [before, after] = report.descriptors;
    println!("descriptors: {before} before, {after} after");
    match report.violations.len() {
        0 => println!("no violation"),
        count => println!("{count} violations; `--seed {seed}` makes the same choices again"),
    }
    for violation in &report.violations {
        println!("  {violation}");
    }
}

fn minutes(text: &str) -> Result<Duration, String> {
    let minutes: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    Duration::try_from_secs_f64(minutes * 60.0)
        .ok()
        .filter(|duration| *duration >= Duration::from_secs(5))
        .ok_or_else(|| "expected at least a twelfth of a minute (5 s)".to_owned())
}
