//! The program's log, on standard error.

mod floods;

use std::io::{self, IsTerminal};

use tokio::time::{Instant, interval_at};

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::options::{LogFormat, Logging};
use floods::Floods;

/// What of the log can be changed while it is written.
#[derive(Debug)]
pub(crate) struct Logs {
    level: reload::Handle<LevelFilter, Registry>,
    format: LogFormat,
    floods: Floods,
}

/// Begins to write the log.
pub(crate) fn start(logging: &Logging) -> Logs {
    let (filter, level) = reload::Layer::new(logging.level);
    let lines = fmt::layer().with_writer(io::stderr).with_target(false);
    let lines = match logging.format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let floods = Floods::default();
    Registry::default().with(filter).with(floods.clone()).with(lines).init();
    Logs { level, format: logging.format, floods }
}

impl Logs {
    /// Says once in a while which lines have been left out, as there were too many of them.
    pub(crate) fn sum_up(&self) -> impl Future<Output = ()> + use<> {
        let floods = self.floods.clone();
        async move {
            let mut ticks = interval_at(Instant::now() + Floods::WHILE, Floods::WHILE);
            loop {
                ticks.tick().await;
                floods.sum_up();
            }
        }
    }

    /// Takes on other options; returns the name of one that stays as it was.
    pub(crate) fn change(&self, logging: &Logging) -> Option<&'static str> {
        if self.level.reload(logging.level).is_err() {
            // Nobody holds the log any more: the program ends.
            return None;
        }
        (logging.format != self.format).then_some("log-format")
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.floods.sum_up();
    }
}
