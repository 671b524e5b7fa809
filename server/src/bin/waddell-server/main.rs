//! `waddell-server`: flags, environment and file to a [`ServerConfig`]; then run it.

mod logging;
mod options;
mod systemd;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;
use waddell_server::{
    BindError, Inherited, ListenUrl, Server, ServerConfig, ServerHandle, raise_descriptor_limit,
};

use logging::Logs;
use options::{LogFormat, Options, Request};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Why the program ends with an error.
struct Fatal {
    message: String,
    code: u8,
}

impl Fatal {
    /// Exit code for a configuration that cannot be used; anything else that fails is 1.
    const BAD_CONFIGURATION: u8 = 2;

    fn configuration(error: impl ToString) -> Self {
        Self { message: error.to_string(), code: Self::BAD_CONFIGURATION }
    }

    fn system(what: &str, error: &io::Error) -> Self {
        Self { message: format!("{what}: {error}"), code: 1 }
    }
}

fn main() -> ExitCode {
    let (format, ended) = match Request::from_environment() {
        Ok(Request::Print(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Ok(Request::Run(options)) => (options.logging.format, run(*options)),
        Err(error) => (options::log_format(), Err(Fatal::configuration(error))),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(Fatal { message, code }) => {
            logging::last_words(format, &message);
            ExitCode::from(code)
        }
    }
}

/// Does what the options say.
fn run(mut options: Options) -> Result<(), Fatal> {
    let sockets = systemd::sockets().map_err(Fatal::configuration)?;
    options.inherited = sockets.iter().filter_map(Inherited::url).collect();
    let config = options.to_config().map_err(Fatal::configuration)?;
    if options.check {
        return Ok(());
    }
    raise_descriptor_limit();
    let logs = logging::start(&options.logging)
        .map_err(|error| Fatal::system("cannot write a log", &error))?;
    if let (Some(name), Some(identity)) = (options.self_signed(), &config.identity) {
        let cert = identity.cert.display();
        match options.logging.format {
            LogFormat::Text => eprintln!("self-signed certificate for {name}: {cert}"),
            // Nothing else is on a line in such a log.
            LogFormat::Json => tracing::info!(name, %cert, "self-signed certificate"),
        }
    }
    serve(config, sockets, Process { inherited: options.inherited, logs })
}

/// What stays when the configuration is read again.
struct Process {
    /// URLs of the sockets inherited from the service manager.
    inherited: Vec<ListenUrl>,
    logs: Logs,
}

/// Runs the server until it is told to stop.
fn serve(config: ServerConfig, sockets: Vec<Inherited>, process: Process) -> Result<(), Fatal> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Fatal::system("cannot start", &error))?;
    let ended = runtime.block_on(async {
        let server = Server::bind_with(config, sockets).map_err(|error| Fatal {
            message: options::explain(&error),
            code: exit_code(&error),
        })?;
        let sum_up = process.logs.sum_up(server.handle());
        let shutdown = watch_signals(server.handle(), process)
            .map_err(|error| Fatal::system("cannot watch for signals", &error))?;
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
        server.run(shutdown).await.map_err(|error| Fatal::system("cannot serve", &error))
    });
    // Whoever still reads a file may do so for ever.
    runtime.shutdown_background();
    ended
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
        // Nothing of the kind was asked for at the start, and a file cannot ask for it.
        Ok(Request::Print(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.to_string()),
    };
    options.inherited.clone_from(&process.inherited);
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
        _ => Fatal::BAD_CONFIGURATION,
    }
}
