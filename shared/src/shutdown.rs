//! Telling everything that runs to end.

use tokio::sync::watch;

/// Turned once, by whoever runs the program. Dropping it tells the same.
#[derive(Debug)]
pub struct Switch(watch::Sender<bool>);

/// Held by everything that runs.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

/// A switch and what hangs on it.
pub fn switch() -> (Switch, Shutdown) {
    let (switch, shutdown) = watch::channel(false);
    (Switch(switch), Shutdown(shutdown))
}

impl Switch {
    /// Tells everybody.
    pub fn turn(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// Whether it is time to end.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Resolves when it is time to end; at once when it was before.
    pub async fn requested(&mut self) {
        // An error means that the switch is gone, and with it whoever ran this.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}
