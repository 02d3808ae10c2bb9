//! The daemon's side.

use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::{Frame, LINE_BYTES_MAX, Request, socket_path};
use crate::shutdown::Shutdown;
use crate::telemetry::Progress;

/// How long a daemon that ends waits for a client to take its answer.
const FAREWELL: Duration = Duration::from_secs(5);

/// A program's commands.
pub trait Handler: Send + Sync + 'static {
    /// What can be asked.
    type Command: DeserializeOwned + Send;
    /// Does it. The error is shown to whoever asked.
    fn handle(
        &self,
        command: Self::Command,
        context: Context,
    ) -> impl Future<Output = Result<serde_json::Value, String>> + Send;
}

/// What a command in progress can tell and must heed.
#[derive(Debug, Clone)]
pub struct Context {
    progress: mpsc::Sender<Progress>,
    cancelled: watch::Receiver<bool>,
}

impl Context {
    /// A context, what it tells, and the switch that cancels it.
    pub fn new() -> (Self, mpsc::Receiver<Progress>, watch::Sender<bool>) {
        let (progress, told) = mpsc::channel(16);
        let (cancel, cancelled) = watch::channel(false);
        (Self { progress, cancelled }, told, cancel)
    }

    /// Tells how far the work has come; dropped when whoever listens is slow.
    pub fn progress(&self, progress: Progress) {
        let _ = self.progress.try_send(progress);
    }

    /// Whether the work should stop at the next safe point.
    pub fn is_cancelled(&self) -> bool {
        *self.cancelled.borrow() || self.cancelled.has_changed().is_err()
    }

    /// Resolves when the work should stop.
    pub async fn cancelled(&mut self) {
        // When the switch is gone, so is whoever wanted the result.
        let _ = self.cancelled.wait_for(|cancelled| *cancelled).await;
    }
}

/// Answers commands in `data_dir` until `shutdown` says so; then waits for those in progress, cancelled.
///
/// The caller holds the data directory's lock, so a socket found there is a dead one.
pub async fn serve<H: Handler>(data_dir: &Path, handler: Arc<H>, mut shutdown: Shutdown) -> io::Result<()> {
    let (path, _dir) = socket_path(data_dir)?;
    match rustix::fs::unlink(&path) {
        Err(error) if error != rustix::io::Errno::NOENT => return Err(error.into()),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    rustix::fs::chmod(&path, rustix::fs::Mode::from_raw_mode(0o600))?;
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    sessions.spawn(session(stream, Arc::clone(&handler), shutdown.clone()));
                }
                Err(error) => tracing::warn!(%error, "cannot accept a control connection"),
            },
            Some(_) = sessions.join_next() => {}
            () = shutdown.requested() => break,
        }
    }
    while sessions.join_next().await.is_some() {}
    // The next daemon removes it if this fails.
    let _ = rustix::fs::unlink(&path);
    Ok(())
}

async fn session<H: Handler>(stream: UnixStream, handler: Arc<H>, mut shutdown: Shutdown) {
    let mut listening = shutdown.clone();
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    let mut limited = (&mut reader).take(LINE_BYTES_MAX);
    let read = tokio::select! {
        read = limited.read_until(b'\n', &mut line) => read,
        // Who has said nothing by then is not waited for.
        () = shutdown.requested() => return,
    };
    if read.is_err() || line.is_empty() {
        return;
    }
    let command = match serde_json::from_slice::<Request<H::Command>>(&line) {
        Ok(request) => request.command,
        Err(error) => {
            let message = format!("the daemon does not understand this command (another version?): {error}");
            return send(&mut writer, &mut listening, &Frame::Failed(message)).await;
        }
    };
    let (context, mut told, cancel) = Context::new();
    let mut work = std::pin::pin!(handler.handle(command, context));
    let mut end = [0; 1];
    let mut may_cancel = true;
    let result = loop {
        tokio::select! {
            result = &mut work => break result,
            Some(progress) = told.recv() => send(&mut writer, &mut listening, &Frame::Progress(progress)).await,
            // The client has nothing more to say, so whatever comes is its end.
            _ = reader.read(&mut end), if may_cancel => { may_cancel = false; cancel.send_replace(true); }
            () = shutdown.requested(), if may_cancel => { may_cancel = false; cancel.send_replace(true); }
        }
    };
    send(&mut writer, &mut listening, &result.map_or_else(Frame::Failed, Frame::Done)).await;
}

/// To a client that does not take it, a terminal that was stopped say, no longer than [`FAREWELL`] once the daemon ends.
async fn send(writer: &mut OwnedWriteHalf, shutdown: &mut Shutdown, frame: &impl Serialize) {
    let Ok(mut line) = serde_json::to_vec(frame) else { return };
    line.push(b'\n');
    let too_late = async {
        shutdown.requested().await;
        tokio::time::sleep(FAREWELL).await;
    };
    tokio::select! {
        // A client that is gone cancels by being gone; nothing else is to be done about it.
        _ = writer.write_all(&line) => {}
        () = too_late => {}
    }
}
