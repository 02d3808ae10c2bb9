//! Accounts at providers that take no passwords: who is bound, binding by a code or a link, revoking.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use postern_shared::crypto::password::generate;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Stop;
use super::extract::Body;
use super::live::Telling;
use super::overview::{is_still_good, place, stream};
use crate::console::gate::Caller;
use crate::console::{Console, Problem};
use crate::proxy::oauth::consent::{Flow, Prompt, consent};
use crate::proxy::oauth::{Binding, BrokerError, Provider, account_in, account_key};
use crate::proxy::{Account, BadRoute};

/// Providers, and the accounts that are bound there.
#[derive(Serialize, ToSchema)]
pub(super) struct Bindings {
    /// The `[[proxy.provider]]`s of the configuration.
    providers: Vec<ProviderRow>,
    /// Accounts that are bound.
    bindings: Vec<BindingRow>,
    /// Accounts that were: every password of theirs is refused until they are bound again or forgotten.
    revoked: Vec<RevokedRow>,
    /// Files that cannot be read, and why; while there are any, no password goes to a mail server.
    damaged: Vec<String>,
}

/// A provider.
#[derive(Serialize, ToSchema)]
pub(super) struct ProviderRow {
    /// Its name in the configuration.
    name: String,
    /// Whether accounts can be bound by a code.
    has_device_code: bool,
    /// Whether they can be by a link.
    has_link: bool,
    /// Whether a code is the way to take when nobody says.
    prefers_device_code: bool,
    /// Where a person takes consent back.
    consent_page: Option<String>,
}

/// A bound account.
#[derive(Serialize, ToSchema)]
pub(super) struct BindingRow {
    /// `user%host`.
    account: String,
    /// The host names it is known at.
    hosts: Vec<String>,
    /// The provider's name.
    provider: String,
    /// Who we are there.
    client_id: String,
    /// What was asked for.
    scopes: Vec<String>,
    /// When the person consented, in milliseconds since 1970.
    created_at: u64,
    /// When it last gave an access token.
    used_at: Option<u64>,
}

/// An account that was bound.
#[derive(Serialize, ToSchema)]
pub(super) struct RevokedRow {
    /// `user%host`.
    account: String,
    /// The provider's name, where it is known.
    provider: Option<String>,
    /// When it was revoked, in milliseconds since 1970.
    revoked_at: u64,
}

/// An account to be bound.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountToBind {
    /// The mail client's user name, `remote_user%server%mailbox` or `remote_user%server`.
    user: String,
    /// The provider's name.
    provider: String,
    /// How its owner consents; as the provider prefers when it is left out.
    by: Option<By>,
}

/// How the owner of an account consents.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum By {
    /// By a code that is typed in at the provider, on any machine.
    Code,
    /// By a link that is opened in a browser; the address that it ends at is pasted.
    Link,
}

/// The address that a browser ended at.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PastedAddress {
    /// The `id` that came with the link.
    id: String,
    /// The address, as the browser's address bar shows it.
    #[schema(value_type = String, format = Password)]
    address: SecretString,
}

/// An account's binding to be ended.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountToRevoke {
    /// The mail client's user name, with or without the mailbox.
    user: String,
    /// Also forgets that it was bound: its passwords go to the mail server again.
    #[serde(default)]
    forget: bool,
}

/// What came of revoking.
#[derive(Serialize, ToSchema)]
pub(super) struct Revoked {
    /// `user%host`.
    account: String,
    /// Its passwords go to the mail server again.
    forgotten: bool,
    /// Where the person takes consent back at the provider: that does not happen by itself.
    consent_page: Option<String>,
}

/// A step of binding; sent as the server-sent event `step`: `code` or `link`, then `bound` or `failed`.
#[derive(Serialize, ToSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub(super) enum BindingStep {
    /// The owner of the account is to open the link and type in the code.
    Code {
        /// The link.
        link: String,
        /// The same with the code in it, when the provider has that.
        complete_link: Option<String>,
        /// The code.
        code: String,
        /// For how long it is good.
        life_seconds: u64,
    },
    /// The owner of the account is to open the link and consent.
    Link {
        /// What `address` is sent with.
        id: String,
        /// The link.
        link: String,
        /// Whether a browser on the gateway's own machine comes back by itself.
        comes_back: bool,
    },
    /// What was pasted is not the address that the browser was sent to.
    NotThat,
    /// It is bound.
    Bound {
        /// `user%host`.
        account: String,
        /// The proxy password for the mail client, shown once.
        password: String,
    },
    /// It is not.
    Failed {
        /// Why, and what to do.
        text: String,
    },
}

/// Providers, and accounts that are bound.
#[utoipa::path(get, path = "/api/v1/oauth/bindings", tag = "oauth", operation_id = "oauthBindings",
    responses((status = 200, body = Bindings), (status = 403, body = Problem)))]
pub(super) async fn list(State(console): State<Arc<Console>>) -> Json<Bindings> {
    let core = &console.core;
    let settings = core.settings();
    let providers = settings.oauth_providers.iter().map(|provider| ProviderRow {
        name: provider.name.clone(),
        has_device_code: provider.device_endpoint.is_some(),
        has_link: provider.authorization_endpoint.is_some(),
        prefers_device_code: provider.prefers_device,
        consent_page: provider.consent_page.clone(),
    });
    let bindings = core.oauth.list().into_iter().map(|binding| BindingRow {
        hosts: core.oauth.hosts(&binding.account),
        account: binding.account,
        provider: binding.provider,
        client_id: binding.client_id,
        scopes: binding.scopes,
        created_at: binding.created.0,
        used_at: binding.used.map(|used| used.0),
    });
    let revoked = core.oauth.revoked().into_iter().map(|tombstone| RevokedRow {
        account: tombstone.account,
        provider: tombstone.provider,
        revoked_at: tombstone.revoked.0,
    });
    let damaged = core.oauth.damaged().into_iter();
    Json(Bindings {
        providers: providers.collect(),
        bindings: bindings.collect(),
        revoked: revoked.collect(),
        damaged: damaged.map(|(path, reason)| format!("{}: {reason}", path.display())).collect(),
    })
}

/// Binds an account: tells code or link, waits until its owner has consented, and answers with the proxy password. It
/// ends, and nothing is bound, when nobody listens any more or the session ends.
#[utoipa::path(post, path = "/api/v1/oauth/bindings", tag = "oauth", operation_id = "bindAccount",
    request_body = AccountToBind,
    responses((status = 200, body = BindingStep, content_type = "text/event-stream"), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem), (status = 429, body = Problem)))]
pub(super) async fn bind(
    State(console): State<Arc<Console>>,
    Extension(Stop(mut stop)): Extension<Stop>,
    caller: Caller,
    Body(AccountToBind { user, provider, by }): Body<AccountToBind>,
) -> Result<Response, Problem> {
    let account = account_of(&console, &user)?;
    let link = console.core.oauth.link(&provider);
    let link = link.ok_or_else(|| {
        Problem::not_found(format!("the configuration has no [[proxy.provider]] called {provider:?}"))
    })?;
    let flow = flow(&link.provider, by)?;
    let place = place(&console, &caller)?;
    let mut consenting = console.consents.begin().ok_or_else(|| {
        let wait = std::time::Duration::from_secs(60);
        Problem::too_many("several accounts are being bound; wait until one is", wait)
    })?;
    console.blocking(|console| console.core.audit.check().map_err(Problem::disk)).await?;
    let (telling, receiver) = Telling::begin(&console);
    tokio::spawn(async move {
        let password = generate();
        let id = consenting.id.clone();
        let mut tell = |prompt| telling.tell(&BindingStep::of(prompt, &id));
        let pasted = &mut consenting.pasted;
        let consented = tokio::select! {
            consented = consent(&link, &account, flow, password.clone(), &mut tell, pasted) => consented,
            () = telling.deserted() => return,
            () = stop.requested() => return,
        };
        let bound = match consented {
            Ok(binding) => keep(&console, &caller, binding).await.map_err(|problem| problem.detail),
            Err(error) => Err(error.to_string()),
        };
        telling.tell(&match bound {
            Ok(account) => BindingStep::Bound { account, password: password.expose_secret().to_owned() },
            Err(text) => BindingStep::Failed { text },
        });
    });
    Ok(stream(receiver, place))
}

/// Hands over the address that the browser ended at, when it runs on another machine than the gateway.
#[utoipa::path(post, path = "/api/v1/oauth/bindings/address", tag = "oauth", operation_id = "pasteAddress",
    request_body = PastedAddress, responses((status = 204), (status = 404, body = Problem)))]
pub(super) async fn paste(
    State(console): State<Arc<Console>>,
    Body(PastedAddress { id, address }): Body<PastedAddress>,
) -> Result<StatusCode, Problem> {
    match console.consents.paste(&id, address) {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::not_found("nobody waits for this address any more; begin again")),
    }
}

/// Ends an account's binding. Consent itself is taken back at the provider, by the account's owner.
#[utoipa::path(post, path = "/api/v1/oauth/bindings/revoke", tag = "oauth", operation_id = "revokeBinding",
    request_body = AccountToRevoke,
    responses((status = 200, body = Revoked), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn revoke(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Body(AccountToRevoke { user, forget }): Body<AccountToRevoke>,
) -> Result<Json<Revoked>, Problem> {
    let account = account_of(&console, &user)?;
    let revoked = console.changing(move |console| {
        let oauth = &console.core.oauth;
        let binding = if forget { oauth.forget(&account) } else { oauth.revoke(&account) }?;
        let link = binding.and_then(|binding| oauth.link(&binding.provider));
        let consent_page = link.and_then(|link| link.provider.consent_page.clone());
        let account = account_key(&account);
        tracing::info!(account, forgotten = forget, "binding revoked");
        let action = caller.action("oauth.revoke", account.clone(), if forget { "forgotten" } else { "" });
        Ok((Revoked { account, forgotten: forget, consent_page }, action))
    });
    Ok(Json(revoked.await?))
}

/// Stores what a consent gave, when who began it may still do that; the account.
async fn keep(console: &Arc<Console>, caller: &Caller, binding: Binding) -> Result<String, Problem> {
    if !is_still_good(console, caller) {
        return Err(Problem::unauthorized("the session has ended meanwhile; nothing was bound"));
    }
    let account = binding.account.clone();
    let action = caller.action("oauth.bind", account.clone(), binding.provider.clone());
    let kept = console.changing(move |console| {
        console.core.oauth.store(binding)?;
        Ok(((), action))
    });
    kept.await?;
    tracing::info!(account, "account bound");
    Ok(account)
}

/// The way to consent, when the provider has it.
fn flow(provider: &Provider, by: Option<By>) -> Result<Flow, Problem> {
    let by_code = match by {
        Some(by) => matches!(by, By::Code),
        None => provider.prefers_device || provider.authorization_endpoint.is_none(),
    };
    let (flow, has, what) = match by_code {
        true => (Flow::Device, provider.device_endpoint.is_some(), "codes"),
        false => (Flow::Browser, provider.authorization_endpoint.is_some(), "links"),
    };
    let detail = format!("the provider {} has no {what}; take the other way", provider.name);
    has.then_some(flow).ok_or_else(|| Problem::conflict("no-such-way", detail))
}

impl BindingStep {
    fn of(prompt: Prompt, id: &str) -> Self {
        match prompt {
            Prompt::Code { link, complete_link, code, life } => {
                Self::Code { link, complete_link, code, life_seconds: life.as_secs() }
            }
            Prompt::Link { link, comes_back } => Self::Link { id: id.to_owned(), link, comes_back },
            Prompt::NotThat => Self::NotThat,
        }
    }
}

fn account_of(console: &Console, user: &str) -> Result<Account, Problem> {
    account_in(user, console.core.settings().proxy.divider)
        .map_err(|error: BadRoute| Problem::invalid(error.to_string()))
}

impl From<BrokerError> for Problem {
    fn from(error: BrokerError) -> Self {
        let text = error.to_string();
        match error {
            BrokerError::Unknown { account } => Self::not_found(format!("{account} is not bound")),
            BrokerError::Disk { .. } => Self::disk(text),
            _ => Self::conflict("oauth", text),
        }
    }
}
