//! The command line's side.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Frame, LINE_BYTES_MAX, Request, socket_path};
use crate::telemetry::Progress;

/// Why a daemon did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No daemon listens in that directory.
    #[error("no daemon is running")]
    NotRunning,
    /// The daemon says no, and why.
    #[error("{0}")]
    Refused(String),
    /// The daemon went away, or what it says is not understood.
    #[error("lost the connection to the daemon: {0}")]
    Broken(#[from] io::Error),
}

/// Gives the daemon in `data_dir` a command and waits for its answer.
pub fn call<C: Serialize, R: DeserializeOwned>(
    data_dir: &Path,
    command: &C,
    on_progress: impl FnMut(&Progress),
) -> Result<R, CallError> {
    call_cancellable(data_dir, command, on_progress, drop)
}

/// The same; `on_connect` gets the connection once it stands. Shutting down its writing half asks the daemon to cancel;
/// the answer still comes.
pub fn call_cancellable<C: Serialize, R: DeserializeOwned>(
    data_dir: &Path,
    command: &C,
    mut on_progress: impl FnMut(&Progress),
    on_connect: impl FnOnce(UnixStream),
) -> Result<R, CallError> {
    let mut stream = connect(data_dir)?;
    on_connect(stream.try_clone()?);
    let mut line = serde_json::to_vec(&Request { command }).map_err(io::Error::from)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.by_ref().take(LINE_BYTES_MAX).read_line(&mut line)? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        match serde_json::from_str(&line).map_err(io::Error::from)? {
            Frame::Progress(progress) => on_progress(&progress),
            Frame::Failed(message) => return Err(CallError::Refused(message)),
            Frame::Done(value) => return Ok(serde_json::from_value(value).map_err(io::Error::from)?),
        }
    }
}

fn connect(data_dir: &Path) -> Result<UnixStream, CallError> {
    let not_running = |error: &io::Error| {
        matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
    };
    let connected = socket_path(data_dir).and_then(|(path, _dir)| UnixStream::connect(path));
    connected.map_err(|error| if not_running(&error) { CallError::NotRunning } else { error.into() })
}
