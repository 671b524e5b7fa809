//! `wasm-bindgen`, `wasm-bindgen-test-runner` and `wasm-pack` in one program.
//!
//! The name by which it is called decides which one runs, so it is copied under all three names.

use std::env;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let name = env::args_os()
        .next()
        .and_then(|path| Some(Path::new(&path).file_stem()?.to_str()?.to_owned()))
        .unwrap_or_default();
    let result = match name.as_str() {
        "wasm-bindgen" => wasm_bindgen_cli::wasm_bindgen::run_cli_with_args(env::args_os()),
        "wasm-bindgen-test-runner" => {
            wasm_bindgen_cli::wasm_bindgen_test_runner::run_cli_with_args(env::args_os())
        }
        "wasm-pack" => wasm_pack::command::run_wasm_pack(wasm_pack::Cli::parse().cmd),
        other => {
            eprintln!(
                "called as {other:?}: copy this program to wasm-bindgen, \
                 wasm-bindgen-test-runner or wasm-pack, and call it by that name"
            );
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:?}");
            ExitCode::FAILURE
        }
    }
}
