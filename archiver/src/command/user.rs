//! Commands on users.

use serde_json::{Value, json};

use super::{Command, CommandError};
use crate::app::Core;
use crate::archive::{User, UserChange};

pub(super) fn execute(core: &Core, command: Command) -> Result<Value, CommandError> {
    match command {
        Command::UserAdd { instance, id, emails, privileges, reads } => {
            let mut user = User::new(&id, &emails);
            user.privileges = privileges.unwrap_or(user.privileges);
            user.reads = reads.unwrap_or_default();
            Ok(json!(core.instance(&instance)?.add_user_as(user)?))
        }
        Command::UserList { instance } => Ok(json!(core.instance(&instance)?.users())),
        Command::UserShow { instance, id } => Ok(json!(core.instance(&instance)?.user(&id)?)),
        Command::UserEdit { instance, id, emails, add_emails, remove_emails, privileges, reads } => {
            let change = UserChange { emails, add_emails, remove_emails, privileges, reads };
            Ok(json!(core.instance(&instance)?.edit_user(&id, change)?))
        }
        Command::UserDelete { instance, id } => {
            let open = core.instance(&instance)?;
            open.user(&id)?;
            // First: who is added under this id later is another one.
            let tokens = core.tokens.revoke_of(&instance, Some(&id))?;
            open.delete_user(&id)?;
            Ok(json!({ "id": id, "deleted": true, "tokens_revoked": tokens }))
        }
        other => Err(CommandError::Inside(format!("{other:?} is no command for a user"))),
    }
}
