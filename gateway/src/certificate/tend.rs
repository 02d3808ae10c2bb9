//! Looking after the certificate while the daemon runs. A reload looks as well (`reload`).

use std::sync::Arc;
use std::time::Duration;

use postern_shared::shutdown::Shutdown;

use super::Keeper;

const INTERVAL: Duration = Duration::from_secs(5);

/// Looks at the files every few seconds.
#[derive(Debug)]
pub struct Tending {
    keeper: Arc<Keeper>,
}

impl Tending {
    /// Of what that one holds.
    pub const fn new(keeper: Arc<Keeper>) -> Self {
        Self { keeper }
    }

    /// Until `stopped`.
    pub async fn run(self, mut stopped: Shutdown) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = stopped.requested() => return,
            }
            let keeper = Arc::clone(&self.keeper);
            if let Err(error) = tokio::task::spawn_blocking(move || keeper.look(false)).await {
                tracing::error!(%error, "looking at the certificate's files failed inside");
            }
        }
    }
}
