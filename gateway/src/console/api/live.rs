//! Actions that take their time: each step is told as it happens, as a server-sent event `step`.

use std::sync::Arc;

use axum::response::sse::Event;
use postern_shared::clock::{Clock, Moment};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::console::Console;

/// More steps than any action has.
const STEPS_MAX: usize = 64;

/// Tells the steps of an action to whoever began it.
pub(super) struct Telling {
    clock: Arc<dyn Clock>,
    began: Moment,
    sender: mpsc::Sender<Event>,
}

impl Telling {
    /// From now on; and where the steps come out.
    pub(super) fn begin(console: &Console) -> (Self, mpsc::Receiver<Event>) {
        let (sender, receiver) = mpsc::channel(STEPS_MAX);
        let clock = Arc::clone(&console.core.clock);
        (Self { began: clock.moment(), clock, sender }, receiver)
    }

    /// Milliseconds since the beginning.
    pub(super) fn at_ms(&self) -> u64 {
        u64::try_from(self.clock.moment().since(self.began).as_millis()).unwrap_or(u64::MAX)
    }

    /// Tells a step. Nobody waits for who does not read.
    pub(super) fn tell(&self, step: &impl Serialize) {
        if let Ok(event) = Event::default().event("step").json_data(step) {
            let _ = self.sender.try_send(event);
        }
    }

    /// Until nobody listens any more.
    pub(super) async fn deserted(&self) {
        self.sender.closed().await;
    }
}
