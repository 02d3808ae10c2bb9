//! Commands that read mail: through the gate.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_shared::control::Context;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::store::watch;
use super::{Command, CommandError};
use crate::access::{Caller, Gate};
use crate::app::Core;
use crate::archive::Query;

pub(crate) fn execute(
    core: &Core,
    caller: &Caller,
    command: Command,
    context: &Context,
) -> Result<Value, CommandError> {
    match command {
        Command::Search { instance, user, query, limit, offset, order, cursor } => {
            let gate = Gate::new(core, caller, &instance)?;
            let query = Query {
                text: query,
                archive: user,
                limit: limit.min(Query::REACH_MAX),
                offset,
                order,
                cursor,
            };
            Ok(json!(gate.search(query, &mut watch(context), &|| context.is_cancelled())?))
        }
        Command::MessageGet { instance, id, report } => {
            let gate = Gate::new(core, caller, &instance)?;
            let mut octets = Zeroizing::new(Vec::new());
            if report {
                *octets = gate.report(&id)?;
            } else {
                gate.message(&id, &mut |piece| {
                    octets.extend_from_slice(piece);
                    Ok(())
                })?;
            }
            Ok(json!({ "id": id, "base64": STANDARD.encode(&*octets) }))
        }
        Command::FolderList { instance, user } => {
            Ok(json!(Gate::new(core, caller, &instance)?.folders(user.as_deref())?))
        }
        other => Err(CommandError::Inside(format!("{other:?} reads no mail"))),
    }
}
