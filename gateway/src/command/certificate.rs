//! What can be asked about the certificate.

use std::sync::{Arc, Mutex, PoisonError};

use postern_shared::control::Context;
use postern_shared::telemetry::Progress;
use postern_shared::tls::server::IdentityError;
use serde_json::{Value, json};

use crate::acme::Renewer;
use crate::app::Core;
use crate::certificate::Keeper;
use crate::settings::Tls;

/// What is served; without a daemon, what it would serve.
pub(super) fn show(core: &Arc<Core>) -> Result<Value, IdentityError> {
    let keeper = match core.keeper.get() {
        Some(keeper) => Arc::clone(keeper),
        None => Arc::new(Keeper::open(&core.settings(), Arc::clone(&core.disk), Arc::clone(&core.clock))?),
    };
    let mut value = keeper.shown();
    value["served"] = core.keeper.get().is_some().into();
    if core.settings().tls == Tls::Acme {
        value["acme"] = Renewer::told(core);
    }
    Ok(value)
}

/// Asks the authority for a certificate now, and tells each step.
pub async fn execute_waiting(
    renewer: &Renewer,
    staging_only: bool,
    mut context: Context,
) -> Result<Value, String> {
    let steps = Mutex::new(Vec::new());
    let told = context.clone();
    let report = |line: String| {
        tracing::info!(target: "postern_gateway::acme", "{line}");
        let mut steps = steps.lock().unwrap_or_else(PoisonError::into_inner);
        told.progress(Progress { what: line.clone(), done: steps.len() as u64, total: None });
        steps.push(line);
    };
    let done = tokio::select! {
        done = renewer.try_now(staging_only, &report) => done.map_err(|error| error.to_string()),
        () = context.cancelled() => Err("stopped; the order is taken up again at the next attempt".into()),
    };
    let mut value = done?;
    value["steps"] = json!(steps.into_inner().unwrap_or_else(PoisonError::into_inner));
    Ok(value)
}
