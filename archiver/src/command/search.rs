//! Searching.

use postern_shared::control::Context;
use serde_json::{Value, json};

use super::store::watch;
use super::{Command, CommandError};
use crate::app::Core;
use crate::archive::Query;

/// Hits on a page.
const LIMIT_MAX: usize = 10_000;

pub(super) fn execute(core: &Core, command: Command, context: &Context) -> Result<Value, CommandError> {
    let Command::Search { instance, user, query, limit, offset, order, cursor } = command else {
        return Err(CommandError::Inside(format!("{command:?} is no search")));
    };
    let instance = core.instance(&instance)?;
    instance.audit().record("search", &json!({ "user": user, "query": query }))?;
    let query = Query {
        text: query,
        archive: user,
        limit: limit.min(LIMIT_MAX),
        offset: offset.min(LIMIT_MAX),
        order,
        cursor,
    };
    Ok(json!(instance.find_watched(&query, &mut watch(context))?))
}
