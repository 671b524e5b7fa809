//! The program's log, on standard error.

mod floods;
mod lines;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use tokio::time::{Instant, interval_at};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};
use waddell_server::ServerHandle;

use crate::options::{LogFormat, Logging};
use floods::Floods;
use lines::Lines;

/// The running log. Dropping it waits until all lines are written.
#[derive(Debug)]
pub(crate) struct Logs {
    level: reload::Handle<LevelFilter, Registry>,
    format: LogFormat,
    floods: Floods,
    lines: Lines,
}

/// Longest time that the end of the program waits for the log's reader.
const PATIENCE: Duration = Duration::from_secs(2);

/// Starts the log.
pub(crate) fn start(logging: &Logging) -> io::Result<Logs> {
    let lines = Lines::start(io::stderr())?;
    let writer = lines.clone();
    let (filter, level) = reload::Layer::new(logging.level);
    let layer = fmt::layer().with_writer(move || writer.clone()).with_target(false);
    let layer = match logging.format {
        LogFormat::Text => layer.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => layer.json().boxed(),
    };
    let floods = Floods::default();
    Registry::default().with(filter).with(floods.clone()).with(layer).init();
    Ok(Logs { level, format: logging.format, floods, lines })
}

/// Writes why the program ends, whatever the level of the log.
pub(crate) fn last_words(format: LogFormat, message: &str) {
    // No thread can be started, so this one waits for the reader.
    let Ok(mut lines) = Lines::start(io::stderr()) else {
        let _ = writeln!(io::stderr(), "waddell-server: {message}");
        return;
    };
    match format {
        LogFormat::Text => {
            // The line only joins the queue, which cannot fail.
            let _ = lines.write(format!("waddell-server: {message}\n").as_bytes());
        }
        LogFormat::Json => {
            let writer = lines.clone();
            let subscriber =
                fmt().json().with_target(false).with_writer(move || writer.clone()).finish();
            tracing::subscriber::with_default(subscriber, || tracing::error!("{message}"));
        }
    }
    lines.flush(PATIENCE);
}

impl Logs {
    /// Returns a task that, once in each [`Floods::PERIOD`], logs which lines were left out and
    /// sets the server's metric of dropped lines.
    pub(crate) fn sum_up(&self, server: ServerHandle) -> impl Future<Output = ()> + use<> {
        let (floods, lines) = (self.floods.clone(), self.lines.clone());
        async move {
            let mut ticks = interval_at(Instant::now() + Floods::PERIOD, Floods::PERIOD);
            loop {
                ticks.tick().await;
                floods.sum_up();
                server.set_log_lines_dropped(lines.dropped());
            }
        }
    }

    /// Applies new options. Returns the name of a changed option that needs a restart.
    pub(crate) fn change(&self, logging: &Logging) -> Option<&'static str> {
        if self.level.reload(logging.level).is_err() {
            // The log is gone: the program ends.
            return None;
        }
        (logging.format != self.format).then_some("log-format")
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.floods.sum_up();
        self.lines.flush(PATIENCE);
    }
}
