//! The project's own commands, run as `cargo xtask COMMAND`.

mod bench;
mod command;
mod deny;
mod dist;
mod fuzz;
mod install;
mod lines;
mod miri;
mod package;
mod serve;
mod soak;
mod structure;
mod test;

use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = env::args().skip(1);
    let name = args.next().unwrap_or_default();
    let args: Vec<String> = args.collect();
    let result = match name.as_str() {
        "serve" => serve::serve(&args),
        "test" => test::test(&args),
        "bench" => bench::bench(&args),
        "package" => package::build().map(drop),
        "dist" => dist::dist(),
        "deny" => deny::deny(),
        "fuzz" => fuzz::fuzz(&args),
        "miri" => miri::miri(),
        "soak" => soak::soak(&args),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        "" => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
        other => {
            eprintln!("error: no command {other:?}; `cargo xtask help` lists them");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

const HELP: &str = "\
usage: cargo xtask COMMAND

  serve [--release] [ARG]...  build the page and the server, and run the server with ARGs
  test [STEP]...              run all steps, or those given; `test --list` lists them
  bench [ARG]...              compare the server with others; `bench --help` lists ARGs;
                              `bench --core` compares the core's instructions with the record
  package                     build the npm package in wasm-client/pkg
  dist                        build the server and the command as static files in target/dist
  deny                        check licences, duplicate and banned crates, and sources
  fuzz [SECONDS]              run each fuzz target for 60 s, or for SECONDS
  miri                        run the tests of the core, and those of shared state, in Miri
  soak [ARG]...               test the server with thousands of peers that talk, stall, vanish
                              and send rubbish; `soak --help` lists ARGs
";
