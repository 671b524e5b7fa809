//! `waddell-server`: reads flags, environment and file into a [`ServerConfig`] and runs a server.

mod logging;
mod options;
mod systemd;

use std::env;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;
use waddell_server::{
    BindError, Inherited, ListenUrl, Server, ServerConfig, ServerHandle, raise_descriptor_limit,
};

use logging::Logs;
use options::{LogFormat, Options, Request, warnings};
use systemd::ServiceManager;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Why the program ends with an error.
struct Fatal {
    message: String,
    code: u8,
}

impl Fatal {
    /// Exit code for a configuration that cannot be used. Other errors have code 1.
    const BAD_CONFIGURATION: u8 = 2;

    fn configuration(error: impl ToString) -> Self {
        Self { message: error.to_string(), code: Self::BAD_CONFIGURATION }
    }

    fn system(action: &str, error: &io::Error) -> Self {
        Self { message: format!("{action}: {error}"), code: 1 }
    }
}

fn main() -> ExitCode {
    let (format, ended) = match Request::from_environment() {
        Ok(Request::Print(text)) => (options::log_format(), print(&text)),
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

/// Prints on standard output. A reader that has read enough is no error.
fn print(text: &str) -> Result<(), Fatal> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Fatal::system("cannot print", &error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Checks the configuration, and runs a server unless a check is all that is wanted.
fn run(mut options: Options) -> Result<(), Fatal> {
    let sockets = systemd::sockets().map_err(Fatal::configuration)?;
    options.inherited = sockets.iter().filter_map(Inherited::url).collect();
    let config = options.to_config().map_err(Fatal::configuration)?;
    let warnings =
        warnings::of_variables(env::vars_os().filter_map(|(name, _)| name.into_string().ok()));
    if options.check {
        for warning in warnings.into_iter().chain(warnings::of_certificate(&config)) {
            // The exit code does not depend on it.
            let _ = writeln!(io::stderr(), "waddell-server: warning: {warning}");
        }
        return Ok(());
    }
    raise_descriptor_limit();
    check_descriptors().map_err(|error| Fatal::system("cannot start", &error))?;
    let logs = logging::start(&options.logging)
        .map_err(|error| Fatal::system("cannot start the log", &error))?;
    if let (Some(name), Some(identity)) = (options.self_signed(), &config.identity) {
        let cert = identity.cert.display();
        match options.logging.format {
            LogFormat::Text => {
                // The server serves even if standard error is closed.
                let _ = writeln!(io::stderr(), "self-signed certificate for {name}: {cert}");
            }
            // Every line of such a log is one JSON object.
            LogFormat::Json => tracing::info!(name, %cert, "self-signed certificate"),
        }
    }
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    serve(config, sockets, Process { inherited: options.inherited, logs })
}

/// Checks that the process can open some files. The runtime needs a few for its signals, and panics
/// without them.
fn check_descriptors() -> io::Result<()> {
    let pairs: io::Result<Vec<_>> = (0..4).map(|_| UnixStream::pair()).collect();
    pairs.map(drop)
}

/// State of the process that a reload needs.
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
        .map_err(|error| Fatal::system("cannot start the event loop", &error))?;
    let ended = runtime.block_on(async {
        let server = Server::bind_with(config, sockets).map_err(|error| Fatal {
            message: options::explain(&error),
            code: exit_code(&error),
        })?;
        let sum_up = process.logs.sum_up(server.handle());
        let manager = Arc::new(ServiceManager::default());
        let shutdown = watch_signals(server.handle(), process, Arc::clone(&manager))
            .map_err(|error| Fatal::system("cannot watch for signals", &error))?;
        let mut stdout = io::stdout().lock();
        for url in server.local_urls() {
            // The server serves even if standard output is closed.
            let _ = writeln!(stdout, "listening on {url}");
        }
        if let Some(address) = server.admin_address() {
            let _ = writeln!(stdout, "admin on http://{address}");
        }
        let _ = stdout.flush();
        drop(stdout);
        let handle = server.handle();
        tokio::spawn(async move { manager.report(handle).await });
        tokio::spawn(sum_up);
        server.run(shutdown).await.map_err(|error| Fatal::system("cannot serve", &error))
    });
    // Does not wait for a thread that is blocked by the file system.
    runtime.shutdown_background();
    ended
}

/// Starts to watch for signals. Returns a future that completes on the first SIGTERM or SIGINT.
///
/// A second one ends the process at once. SIGHUP reads the configuration and the certificate again.
fn watch_signals(
    handle: ServerHandle,
    process: Process,
    manager: Arc<ServiceManager>,
) -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let server = handle.clone();
    let process = Arc::new(process);
    let reloads = Arc::clone(&manager);
    tokio::spawn(async move {
        while hang_up.recv().await.is_some() {
            reloads.reloading();
            let (handle, process) = (handle.clone(), Arc::clone(&process));
            // Reading files and resolving host names may block.
            let reload = spawn_blocking(move || reload(&handle, &process));
            let reloaded = reload.await.unwrap_or_else(|panicked| Err(panicked.to_string()));
            reloads.reloaded(&match reloaded {
                Ok(restart) if restart.is_empty() => {
                    tracing::info!("configuration reloaded");
                    "serving".to_owned()
                }
                Ok(restart) => {
                    let options = restart.join(", ");
                    tracing::warn!(
                        options,
                        "configuration reloaded, but these options need a restart"
                    );
                    format!("serving; a restart is needed for {options}")
                }
                Err(error) => {
                    tracing::error!(%error, "cannot reload; the old configuration stays in effect");
                    format!("serving; the last reload failed: {error}")
                }
            });
        }
    });
    Ok(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        manager.stopping(server.longest_shutdown());
        tracing::info!(signal = name, "shutting down; a second signal ends the program at once");
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            std::process::exit(1);
        });
    })
}

/// Reads the configuration again and applies it. Returns the changed options that need a restart.
/// After an error everything stays as it is.
fn reload(handle: &ServerHandle, process: &Process) -> Result<Vec<&'static str>, String> {
    let mut options = match Request::from_environment() {
        Ok(Request::Run(options)) => options,
        // Flags and variables have not changed since the start, and a file cannot ask for this.
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
        // The configuration can be used, but the address is taken or needs more rights.
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
