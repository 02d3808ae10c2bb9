//! What monitoring systems see: metrics, and whether the gateway lives and is ready, over plain HTTP/1.1.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | everything counted, for Prometheus (text exposition format 0.0.4) |
//! | `/healthz` | 200: the process lives |
//! | `/readyz` | 200: all listeners are open and the spool takes mail; else 503 with the reasons, a line each |
//!
//! Metrics are process-wide, as the log is: whatever counts calls [`metrics()`], which costs an atomic addition or two.
//! What can be looked up (how much waits in which mailbox) is looked up when somebody asks.
//!
//! Promises
//! - Nothing here shows content, or addresses of peers; mailbox ids are shown, and the accounts that come through the proxy.
//! - Connections, their duration and what they may send are bounded.
//!
//! Not here: the exposition format (`shared::telemetry::metrics`), the operators' console.

mod exposition;
mod http;
mod metrics;
mod proxy;
mod readiness;
mod totals;

use std::sync::Arc;

use postern_shared::shutdown::Shutdown;
use serde_json::{Value, json};

pub use http::serve;
pub use metrics::{Login, Metrics, Refresh, Refusal, metrics};
pub use proxy::{Proxied, ProxyLogin, ProxyMetrics, ProxyProtocol};
pub use totals::Totals;

use crate::app::Core;

/// What is shown.
#[derive(Debug)]
pub struct Monitor {
    /// What to look things up in.
    pub core: Arc<Core>,
    /// From then on the gateway is no longer ready.
    pub stopping: Shutdown,
}

impl Monitor {
    /// What `health` shows: nothing to complain about, or why the gateway is not ready. Blocks for the disk.
    pub fn health(&self) -> Result<Value, String> {
        match readiness::reasons(self) {
            reasons if reasons.is_empty() => Ok(json!({ "ready": true })),
            reasons => Err(reasons.join("; ")),
        }
    }
}
