//! `waddell-server`: flags, environment and file to a [`ServerConfig`]; then run it.

mod logging;
mod options;
mod systemd;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;
use waddell_server::{BindError, Inherited, ListenUrl, Server, ServerConfig, ServerHandle};

use logging::Logs;
use options::{LogFormat, Options, Request};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code for a configuration that cannot be used; anything else that fails is 1.
const BAD_CONFIGURATION: u8 = 2;

fn main() -> ExitCode {
    match Request::from_environment() {
        Ok(Request::Print(text)) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Ok(Request::Run(options)) => {
            run(*options).unwrap_or_else(|error| fail(&error, BAD_CONFIGURATION))
        }
        Err(error) => fail(&error.to_string(), BAD_CONFIGURATION),
    }
}

/// Does what the options say; an error is one about them.
fn run(mut options: Options) -> Result<ExitCode, String> {
    let sockets = systemd::sockets()?;
    options.passed = sockets.iter().filter_map(Inherited::url).collect();
    let config = options.to_config().map_err(|error| error.to_string())?;
    if options.check {
        return Ok(ExitCode::SUCCESS);
    }
    let logs = logging::start(&options.logging);
    if let (Some(name), Some(identity)) = (options.self_signed(), &config.identity) {
        let cert = identity.cert.display();
        match options.logging.format {
            LogFormat::Text => eprintln!("self-signed certificate for {name}: {cert}"),
            // Nothing else is on a line in such a log.
            LogFormat::Json => tracing::info!(name, %cert, "self-signed certificate"),
        }
    }
    Ok(serve(config, sockets, Process { passed: options.passed, logs }))
}

/// What stays when the configuration is read again.
struct Process {
    /// What the sockets are for that whoever started the process has passed.
    passed: Vec<ListenUrl>,
    logs: Logs,
}

/// Runs the server until it is told to stop.
fn serve(config: ServerConfig, sockets: Vec<Inherited>, process: Process) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}"), 1),
    };
    let code = runtime.block_on(async {
        let server = match Server::bind_with(config, sockets) {
            Ok(server) => server,
            Err(error) => return fail(&options::explain(&error), exit_code(&error)),
        };
        let sum_up = process.logs.sum_up();
        let shutdown = match watch_signals(server.handle(), process) {
            Ok(shutdown) => shutdown,
            Err(error) => return fail(&format!("cannot watch for signals: {error}"), 1),
        };
        let mut stdout = io::stdout().lock();
        for url in server.local_urls() {
            // Nobody reads it: the server serves all the same.
            let _ = writeln!(stdout, "listening on {url}");
        }
        if let Some(address) = server.admin_address() {
            let _ = writeln!(stdout, "admin on http://{address}");
        }
        let _ = stdout.flush();
        drop(stdout);
        tokio::spawn(systemd::report(server.handle()));
        tokio::spawn(sum_up);
        match server.run(shutdown).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&format!("cannot serve: {error}"), 1),
        }
    });
    // Whoever still reads a file may do so for ever.
    runtime.shutdown_background();
    code
}

/// Returns what completes on the first SIGTERM or SIGINT; the second ends the process at once.
/// SIGHUP reads the configuration and the certificate again.
fn watch_signals(handle: ServerHandle, process: Process) -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let server = handle.clone();
    let process = Arc::new(process);
    tokio::spawn(async move {
        while hang_up.recv().await.is_some() {
            systemd::reloading();
            let (handle, process) = (handle.clone(), Arc::clone(&process));
            // A file system may hang, and who asks for an address may wait for the answer.
            let reload = spawn_blocking(move || reload(&handle, &process));
            let reloaded = reload.await.unwrap_or_else(|panicked| Err(panicked.to_string()));
            systemd::reloaded(&match reloaded {
                Ok(restart) if restart.is_empty() => {
                    tracing::info!("read the configuration again");
                    "serving".to_owned()
                }
                Ok(restart) => {
                    let options = restart.join(", ");
                    tracing::warn!(
                        options,
                        "read the configuration again; some of it needs a restart"
                    );
                    format!("serving; a restart is needed for {options}")
                }
                Err(error) => {
                    tracing::error!(%error, "keeping the configuration in use");
                    format!("serving; the last reload was refused: {error}")
                }
            });
        }
    });
    Ok(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        systemd::stopping(server.longest_shutdown());
        tracing::info!(signal = name, "shutting down; another signal ends it at once");
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            std::process::exit(1);
        });
    })
}

/// Reads all that the operator says again, and has the server take it on. Returns the options that
/// need a restart; what cannot be used leaves everything as it is.
fn reload(handle: &ServerHandle, process: &Process) -> Result<Vec<&'static str>, String> {
    let mut options = match Request::from_environment() {
        Ok(Request::Run(options)) => options,
        // Neither help nor version was asked for at the start.
        Ok(Request::Print(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.to_string()),
    };
    options.passed.clone_from(&process.passed);
    let config = options.to_config().map_err(|error| error.to_string())?;
    let mut restart = handle.reload(&config).map_err(|error| error.to_string())?;
    restart.extend(process.logs.change(&options.logging));
    Ok(restart)
}

fn exit_code(error: &BindError) -> u8 {
    match error {
        // The configuration is fine, the machine is not free to follow it.
        BindError::Listen { source, .. } | BindError::Admin { source, .. }
            if matches!(
                source.kind(),
                io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
            ) =>
        {
            1
        }
        _ => BAD_CONFIGURATION,
    }
}

fn fail(message: &str, code: u8) -> ExitCode {
    eprintln!("waddell-server: {message}");
    ExitCode::from(code)
}
