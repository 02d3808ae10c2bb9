//! Commands on the API's tokens.

use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{Command, CommandError};
use crate::access::{Caller, NewToken};
use crate::app::Core;

pub(super) fn execute(core: &Core, caller: &Caller, command: Command) -> Result<Value, CommandError> {
    match command {
        Command::TokenCreate { name, scopes, bound_to, user, expires_in_days } => {
            let mut instance_created = None;
            if let Some(id) = &bound_to {
                let instance = core.instance(id)?;
                instance_created = Some(instance.info().created);
                // Who is not there cannot be stood for.
                user.as_ref().map(|user| instance.user(user)).transpose()?;
            }
            let made_by = caller.as_token().cloned();
            let new = NewToken {
                name,
                scopes,
                instance: bound_to,
                instance_created,
                user,
                expires_in_days,
                made_by,
            };
            let (token, text) = core.tokens.create(new)?;
            let mut shown = json!(token);
            shown["token"] = text.expose_secret().into();
            Ok(shown)
        }
        Command::TokenList => Ok(json!(core.tokens.list()?)),
        Command::TokenRevoke { id } => {
            let (_, made) = core.tokens.revoke(&id)?;
            Ok(json!({ "id": id, "revoked": true, "made": made }))
        }
        other => Err(CommandError::Inside(format!("{other:?} is no command for a token"))),
    }
}
