//! What monitoring systems see: metrics, and whether the archiver lives and is ready, over HTTP/1.1 in clear.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | everything counted, for Prometheus (text exposition format 0.0.4) |
//! | `/healthz` | 200: the process lives |
//! | `/readyz` | 200: all instances that are to be open are; else 503 with the reasons, a line each |
//!
//! Metrics are process-wide, as the log is. What can be looked up (how much an instance holds) is looked up when somebody asks.
//!
//! Promises
//! - Nothing here shows content or addresses; ids of instances are shown.
//! - No instance is opened by asking.
//!
//! Not here: the exposition format (`shared::telemetry::metrics`), the API.

mod exposition;
mod http;
mod metrics;

use std::sync::Arc;

pub use http::serve;
pub(crate) use metrics::metrics;

use crate::api::Api;
use crate::app::Core;
use crate::archive::Mode;

/// An archive that is to last needs room.
pub const FREE_BYTES_MIN: u64 = 1024 * 1024 * 1024;

/// What is shown.
#[derive(Debug)]
pub struct Monitor {
    /// What to look things up in.
    pub core: Arc<Core>,
    /// Whose calls are counted.
    pub api: Arc<Api>,
}

impl Monitor {
    /// Why the archiver is not ready. Blocks for the disk.
    pub fn reasons(&self) -> Vec<String> {
        let core = &self.core;
        let mut reasons = Vec::new();
        match core.instance_ids() {
            Ok(ids) => reasons.extend(ids.into_iter().filter(|id| self.is_missing(id)).map(|id| {
                format!("instance {id} is not open; postern-archiver instance show {id} tells why")
            })),
            Err(error) => reasons.push(error.to_string()),
        }
        if core.disk.free_bytes(&core.settings.data_dir).is_ok_and(|free| free < FREE_BYTES_MIN) {
            reasons.push("the data directory's disk is nearly full".into());
        }
        reasons
    }

    fn is_missing(&self, id: &str) -> bool {
        let mode = self.core.instance_dir(id).and_then(|dir| Mode::read(&*self.core.disk, &dir));
        !matches!(mode, Ok(Mode::Stopped)) && self.core.open_instance_of(id).is_none()
    }
}
