//! Puts servers that forward small messages under load, and prints what it costs them.

mod body;
mod net;
mod outcome;
mod protocol;
mod record;
mod report;
mod run;
mod scenario;
mod servers;
mod socket;
mod suite;
mod target;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Puts waddell servers, and NATS servers beside them, under load.
///
/// Checks the bytes, the sender and the order of every message.
#[derive(Parser)]
#[command(name = "waddell-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run one scenario against a running server; one line of JSON on standard output
    Run(run::Run),
    /// Run many scenarios against all available servers in turn, and print tables
    Suite(suite::Suite),
    /// Print the tables of a suite's raw lines
    Report {
        /// Files of raw lines
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(run) => print_run(&run),
        Command::Suite(suite) => suite.run(),
        Command::Report { files } => report::print_files(&files),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print_run(run: &run::Run) -> Result<()> {
    let outcome = run.run()?;
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}
