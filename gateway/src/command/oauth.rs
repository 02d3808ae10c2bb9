//! Commands on OAuth bindings.
//!
//! Consent itself is none: it waits for a person, so the command line goes through it in its own process and gives the
//! daemon only the sealed result.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::CommandError;
use crate::app::Core;
use crate::proxy::oauth::{Binding, account_in};

/// A command.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// Puts a binding in the place of the account's former one.
    Bind {
        /// What a consent gave, sealed.
        binding: Box<Binding>,
    },
    /// All bindings, without what is sealed in them.
    List,
    /// Forgets a binding.
    Revoke {
        /// The account's login name, with or without the mailbox.
        login: String,
    },
}

pub(super) fn run(core: &Core, command: Command) -> Result<Value, CommandError> {
    match command {
        Command::Bind { binding } => {
            let shown = shown(&binding);
            core.oauth.store(*binding)?;
            tracing::info!(account = %shown["account"], provider = %shown["provider"], "account bound");
            Ok(shown)
        }
        Command::List => {
            let mut all: Vec<Value> = core.oauth.list().iter().map(shown).collect();
            let damaged = core.oauth.damaged().into_iter();
            all.extend(damaged.map(|(path, reason)| json!({ "file": path, "damaged": reason })));
            Ok(all.into())
        }
        Command::Revoke { login } => {
            let account = account_in(&login, core.settings.proxy.divider)?;
            let binding = core.oauth.revoke(&account)?;
            tracing::info!(%account, "binding revoked");
            let link = binding.as_ref().and_then(|binding| core.oauth.link(&binding.provider));
            let page = link.and_then(|link| link.provider.consent_page.clone());
            Ok(json!({
                "account": account.to_string().to_ascii_lowercase(),
                "provider": binding.as_ref().map(|binding| &binding.provider),
                "client_id": binding.as_ref().map(|binding| &binding.client_id),
                "revoked": true,
                "revoked_at_provider": false,
                "consent_page": page,
            }))
        }
    }
}

fn shown(binding: &Binding) -> Value {
    json!({
        "account": binding.account,
        "provider": binding.provider,
        "client_id": binding.client_id,
        "token_endpoint": binding.token_endpoint,
        "scopes": binding.scopes,
        "created": binding.created.rfc3339(),
        "used": binding.used.map(postern_shared::clock::UnixMillis::rfc3339),
    })
}
