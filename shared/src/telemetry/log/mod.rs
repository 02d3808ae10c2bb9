//! Log lines: on standard error or in a file, as text or JSON; level and file can be changed while the program runs.
//!
//! Our own crates log at the level asked for, libraries at `warn`. Each line carries the fields of the span it was
//! written in, so that all lines of one session can be found by its id.
//!
//! Not here: what is logged where; each room does that itself.

mod file;

use std::io::{self, Write};
use std::str::FromStr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer as _, Registry, reload};

pub use file::{LogFile, Rotation};

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Level {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// No such level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no log level; use error, warn, info, debug or trace")]
pub struct BadLevel(String);

impl FromStr for Level {
    type Err = BadLevel;

    fn from_str(text: &str) -> Result<Self, BadLevel> {
        Ok(match text {
            "error" => Self::Error,
            "warn" => Self::Warn,
            "info" => Self::Info,
            "debug" => Self::Debug,
            "trace" => Self::Trace,
            other => return Err(BadLevel(other.into())),
        })
    }
}

impl Level {
    fn filter(self) -> Targets {
        let level = match self {
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        };
        let ours = ["postern_shared", "postern_gateway", "postern_archiver"];
        Targets::new()
            .with_default(LevelFilter::WARN.min(level))
            .with_targets(ours.map(|target| (target, level)))
    }
}

/// What a log line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// An object a line, for programs.
    Json,
}

/// What of the running log can be changed.
struct Running {
    filter: reload::Handle<Targets, Registry>,
    level: Mutex<Level>,
    target: Arc<Target>,
}

/// There is one log a process.
static RUNNING: OnceLock<Running> = OnceLock::new();

/// Where lines go.
#[derive(Debug)]
struct Target {
    file: RwLock<Option<LogFile>>,
    /// Lines come with colours: they began on a terminal.
    colours: bool,
}

impl Write for &Target {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match &*self.file.read().unwrap_or_else(PoisonError::into_inner) {
            Some(file) => {
                let mut file: &LogFile = file;
                if self.colours { file.write_all(&without_colours(line)) } else { file.write_all(line) }?;
            }
            None => io::stderr().write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Without `ESC [ … m`.
fn without_colours(line: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.windows(2).position(|pair| pair == b"\x1b[") {
        plain.extend_from_slice(&rest[..at]);
        let end = rest[at..].iter().position(|byte| *byte == b'm');
        rest = end.map_or(&[], |end| &rest[at + end + 1..]);
    }
    plain.extend_from_slice(rest);
    plain
}

/// Starts logging text at `level` to standard error. Later calls change nothing.
pub fn start_log(level: Level) {
    start_log_to(level, Format::Text, None);
}

/// Starts logging to `file`, or to standard error when there is none. Later calls change nothing.
pub fn start_log_to(level: Level, format: Format, file: Option<LogFile>) {
    let ansi = file.is_none() && io::IsTerminal::is_terminal(&io::stderr());
    let target = Arc::new(Target { file: RwLock::new(file), colours: ansi });
    let (filter, handle) = reload::Layer::new(level.filter());
    let lines = tracing_subscriber::fmt::layer().with_writer(Arc::clone(&target)).with_ansi(ansi);
    let lines = match format {
        Format::Text => lines.boxed(),
        Format::Json => {
            lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
        }
    };
    let subscriber = tracing_subscriber::registry().with(filter).with(lines);
    // A second start in one process (tests) keeps the first one's subscriber.
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        let _ = RUNNING.set(Running { filter: handle, level: Mutex::new(level), target });
    }
}

/// The level of the running log; `None` when none was started.
pub fn log_level() -> Option<Level> {
    RUNNING.get().map(|running| *running.level.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Changes the running log's level until the program ends; `false` when no log was started.
pub fn set_log_level(level: Level) -> bool {
    let Some(running) = RUNNING.get() else { return false };
    let mut current = running.level.lock().unwrap_or_else(PoisonError::into_inner);
    let changed = running.filter.reload(level.filter()).is_ok();
    if changed {
        *current = level;
    }
    changed
}

/// From the next line on the running log goes to `file`, or to standard error when there is none.
pub fn set_log_file(file: Option<LogFile>) {
    if let Some(running) = RUNNING.get() {
        *running.target.file.write().unwrap_or_else(PoisonError::into_inner) = file;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_stay_quiet_whatever_our_own_level_is() {
        let filter = Level::Debug.filter();
        assert!(filter.would_enable("postern_gateway::spool", &tracing::Level::DEBUG));
        assert!(!filter.would_enable("postern_gateway::spool", &tracing::Level::TRACE));
        assert!(!filter.would_enable("hyper", &tracing::Level::INFO));
        assert!(filter.would_enable("hyper", &tracing::Level::WARN));
        assert!(!Level::Error.filter().would_enable("hyper", &tracing::Level::WARN));
    }

    #[test]
    fn colours_stay_on_terminals() {
        let plain = |line: &[u8]| String::from_utf8(without_colours(line)).unwrap();
        assert_eq!(plain(b"\x1b[2m12:00\x1b[0m \x1b[32m INFO\x1b[0m a[b m\n"), "12:00  INFO a[b m\n");
        assert_eq!(plain(b"cut \x1b[2"), "cut ");
    }

    #[test]
    fn the_level_changes_while_the_log_runs() {
        start_log(Level::Warn);
        assert_eq!(log_level(), Some(Level::Warn));
        assert!(!tracing::enabled!(tracing::Level::DEBUG));
        assert!(set_log_level(Level::Debug));
        assert!(tracing::enabled!(tracing::Level::DEBUG));
        assert_eq!(log_level(), Some(Level::Debug));
    }
}
