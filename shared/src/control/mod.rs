//! The control socket: how the command line reaches a running daemon.
//!
//! A Unix socket `control.sock` in the data directory, mode 0600 inside a 0700 directory: whoever may read the data
//! may give commands. One command a connection, JSON, a line each:
//!
//! ```text
//! client  {"command": …}
//! server  {"progress": {"what", "done", "total"}}     any number of times
//! server  {"done": …} or {"failed": "…"}              once, then it closes
//! ```
//!
//! A client that closes its side early asks for the command to be cancelled; the server waits until it is.
//!
//! Not here: the commands themselves; each program has its own.

mod client;
mod server;

use serde::{Deserialize, Serialize};

pub use client::{CallError, call, call_cancellable};
pub use server::{Context, Handler, serve};

use crate::telemetry::Progress;

const SOCKET_NAME: &str = "control.sock";
/// A line is refused past this; whole messages are the longest.
const LINE_BYTES_MAX: u64 = 512 * 1024 * 1024;

#[derive(Debug, Serialize, Deserialize)]
struct Request<C> {
    command: C,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Frame {
    Progress(Progress),
    Done(serde_json::Value),
    Failed(String),
}

/// The socket's path, short enough for a socket address (108 bytes) however deep the data directory lies: through
/// the open directory in `/proc`. The directory must stay open while the path is used.
fn socket_path(
    data_dir: &std::path::Path,
) -> std::io::Result<(std::path::PathBuf, Option<std::os::fd::OwnedFd>)> {
    use rustix::fs::{Mode, OFlags};
    use std::os::fd::AsRawFd;

    let direct = data_dir.join(SOCKET_NAME);
    if direct.as_os_str().len() < 100 {
        return Ok((direct, None));
    }
    let dir = rustix::fs::open(data_dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let path = std::path::PathBuf::from(format!("/proc/self/fd/{}/{SOCKET_NAME}", dir.as_raw_fd()));
    Ok((path, Some(dir)))
}

#[cfg(test)]
mod tests;
