//! Commands on OAuth bindings.
//!
//! Consent itself is none: it waits for a person, so the command line goes through it in its own process and gives the
//! daemon only the sealed result.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::CommandError;
use crate::app::Core;
use crate::proxy::oauth::{Binding, Tombstone, account_in, account_key};

/// A command.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// Puts a binding in the place of the account's former one.
    Bind {
        /// What a consent gave, sealed.
        binding: Box<Binding>,
    },
    /// All bindings, without what is sealed in them, and what is left of revoked ones.
    List,
    /// Whether the account's password is a proxy password, or may be.
    IsBound {
        /// `user%host`.
        account: String,
    },
    /// Ends a binding.
    Revoke {
        /// The account's login name, with or without the mailbox.
        login: String,
        /// Also what revoking leaves, so that passwords go to the mail server again.
        #[serde(default)]
        forget: bool,
    },
}

pub(super) fn run(core: &Core, command: Command) -> Result<Value, CommandError> {
    match command {
        Command::Bind { binding } => {
            let shown = shown(core, &binding);
            core.oauth.store(*binding)?;
            tracing::info!(account = %shown["account"], provider = %shown["provider"], "account bound");
            Ok(shown)
        }
        Command::List => {
            let mut all: Vec<Value> = core.oauth.list().iter().map(|binding| shown(core, binding)).collect();
            all.extend(core.oauth.revoked().iter().map(|tombstone| {
                let Tombstone { account, provider, revoked, .. } = tombstone;
                json!({ "account": account, "provider": provider, "revoked": revoked.rfc3339() })
            }));
            let damaged = core.oauth.damaged().into_iter();
            all.extend(damaged.map(|(path, reason)| json!({ "file": path, "damaged": reason })));
            Ok(all.into())
        }
        // A file that cannot be used may be of any account.
        Command::IsBound { account } => {
            Ok((core.oauth.is_bound_as(&account) || !core.oauth.damaged().is_empty()).into())
        }
        Command::Revoke { login, forget } => {
            let account = account_in(&login, core.settings().proxy.divider)?;
            let binding = if forget { core.oauth.forget(&account) } else { core.oauth.revoke(&account) }?;
            tracing::info!(%account, forgotten = forget, "binding revoked");
            let link = binding.as_ref().and_then(|binding| core.oauth.link(&binding.provider));
            let page = link.and_then(|link| link.provider.consent_page.clone());
            Ok(json!({
                "account": account_key(&account),
                "provider": binding.as_ref().map(|binding| &binding.provider),
                "client_id": binding.as_ref().map(|binding| &binding.client_id),
                "revoked": true,
                "forgotten": forget,
                "revoked_at_provider": false,
                "consent_page": page,
            }))
        }
    }
}

fn shown(core: &Core, binding: &Binding) -> Value {
    json!({
        "account": binding.account,
        "hosts": core.oauth.hosts(&binding.account),
        "provider": binding.provider,
        "client_id": binding.client_id,
        "token_endpoint": binding.token_endpoint,
        "scopes": binding.scopes,
        "created": binding.created.rfc3339(),
        "used": binding.used.map(postern_shared::clock::UnixMillis::rfc3339),
    })
}
