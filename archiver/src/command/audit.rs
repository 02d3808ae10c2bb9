//! Commands on audit logs: an instance's, or the archiver's own.

use postern_shared::control::Context;
use serde_json::{Value, json};

use super::store::watch;
use super::{Command, CommandError};
use crate::app::Core;
use crate::archive::{ArchiveError, Audit};

/// Lines on a page.
pub(crate) const LINES_MAX: usize = 1000;

pub(super) fn execute(core: &Core, command: Command, context: &Context) -> Result<Value, CommandError> {
    match command {
        Command::AuditList { instance, before, limit } => {
            on(core, instance.as_deref(), |audit| Ok(json!(audit.lines(before, limit.min(LINES_MAX))?)))
        }
        Command::AuditVerify { instance } => on(core, instance.as_deref(), |audit| {
            let Some(chain) = audit.verify(&mut watch(context))? else {
                return Ok(json!({ "cancelled": true }));
            };
            let mut shown = json!(chain);
            shown["failed"] = u64::from(chain.broken.is_some()).into();
            Ok(shown)
        }),
        other => Err(CommandError::Inside(format!("{other:?} is no command for an audit log"))),
    }
}

fn on(
    core: &Core,
    instance: Option<&str>,
    work: impl FnOnce(&Audit) -> Result<Value, ArchiveError>,
) -> Result<Value, CommandError> {
    Ok(match instance {
        Some(instance) => work(core.instance(instance)?.audit())?,
        None => work(&*core.audit()?)?,
    })
}
