//! The project's own commands, run as `cargo xtask COMMAND`.

mod bench;
mod command;
mod deny;
mod dist;
mod fuzz;
mod install;
mod miri;
mod package;
mod serve;
mod soak;
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

  serve [--release] [ARG]...  build the page and the server, and run it; ARGs are the server's own
  test [STEP]...              run every check, or only the steps named; `test --list` lists them
  bench [ARG]...              measure the server beside others; `bench --help` lists ARGs;
                              `bench --core`: instructions of the core, against the record
  package                     build the npm package in wasm-client/pkg
  dist                        build the server and the command as static files, in target/dist
  deny                        check licences, duplicate and banned crates, and sources
  fuzz [SECONDS]              run each fuzz target for 60 s, or as long as told
  miri                        run the tests of the core, and of what threads share, in Miri
  soak [ARG]...               have thousands of peers talk, stall, vanish and send rubbish, and
                              check what the server promises; `soak --help` lists ARGs
";
