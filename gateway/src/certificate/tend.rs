//! Looking after the certificate while the daemon runs.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use postern_shared::shutdown::Shutdown;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Keeper;

const INTERVAL: Duration = Duration::from_secs(5);

/// Looks at the files every few seconds, and at once when SIGHUP comes.
#[derive(Debug)]
pub struct Tending {
    keeper: Arc<Keeper>,
    hangup: Signal,
}

impl Tending {
    /// From now on SIGHUP does not end the process.
    pub fn new(keeper: Arc<Keeper>) -> io::Result<Self> {
        Ok(Self { keeper, hangup: signal(SignalKind::hangup())? })
    }

    /// Until `stopped`.
    pub async fn run(mut self, mut stopped: Shutdown) {
        loop {
            let insist = tokio::select! {
                () = tokio::time::sleep(INTERVAL) => false,
                _ = self.hangup.recv() => true,
                () = stopped.requested() => return,
            };
            if insist {
                tracing::info!("SIGHUP: looking at the certificate's files");
            }
            let keeper = Arc::clone(&self.keeper);
            if let Err(error) = tokio::task::spawn_blocking(move || keeper.look(insist)).await {
                tracing::error!(%error, "looking at the certificate's files failed inside");
            }
        }
    }
}
