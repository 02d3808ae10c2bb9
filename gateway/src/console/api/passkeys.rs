//! One's own passkeys, and signing in with one as second factor.
//!
//! What browsers give and take has the names of Web Authentication Level 3 (`PublicKeyCredential.toJSON`,
//! `parseCreationOptionsFromJSON`, `parseRequestOptionsFromJSON`); octets are base64url without padding.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use postern_shared::crypto::digest::sha256;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::account::{CurrentPassword, confirm_password, renewed, texts};
use super::extract::{Body, Of};
use crate::console::accounts::passkey::{ALGORITHMS, Asserted, Registered, RelyingParty};
use crate::console::accounts::{Account, Credential, NewPasskey, Proof, ShownPasskey};
use crate::console::gate::Caller;
use crate::console::sessions::{CHALLENGE_LASTS, Key, Stage};
use crate::console::{Console, Problem};

/// A passkey that is set up.
#[derive(Serialize, ToSchema)]
pub(super) struct PasskeyRow {
    /// Tells it from others.
    id: String,
    /// What its owner calls it.
    name: String,
    /// When it was set up.
    created_at: u64,
    /// When it was last used to sign in.
    used_at: Option<u64>,
}

/// A passkey that was just set up.
#[derive(Serialize, ToSchema)]
pub(super) struct PasskeyMade {
    /// The passkey.
    passkey: PasskeyRow,
    /// Recovery codes, shown once, when this is the first second factor; else empty.
    codes: Vec<String>,
}

/// Another name.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PasskeyEdit {
    /// 1 to 64 characters.
    name: String,
}

/// For `PublicKeyCredential.parseCreationOptionsFromJSON`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreationOptions {
    rp: RelyingPartyEntity,
    user: UserEntity,
    challenge: String,
    pub_key_cred_params: Vec<Parameters>,
    /// In milliseconds.
    timeout: u64,
    exclude_credentials: Vec<Descriptor>,
    authenticator_selection: Selection,
    attestation: &'static str,
}

/// For `PublicKeyCredential.parseRequestOptionsFromJSON`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RequestOptions {
    challenge: String,
    /// In milliseconds.
    timeout: u64,
    rp_id: String,
    allow_credentials: Vec<Descriptor>,
    user_verification: &'static str,
}

/// The console, as an authenticator is told of it.
#[derive(Serialize, ToSchema)]
pub(super) struct RelyingPartyEntity {
    id: String,
    name: String,
}

/// The administrator, as an authenticator is told of him.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UserEntity {
    id: String,
    name: String,
    display_name: String,
}

/// A kind of key.
#[derive(Serialize, ToSchema)]
pub(super) struct Parameters {
    #[serde(rename = "type")]
    kind: &'static str,
    alg: i64,
}

/// A passkey, as authenticators know it.
#[derive(Serialize, ToSchema)]
pub(super) struct Descriptor {
    #[serde(rename = "type")]
    kind: &'static str,
    id: String,
    transports: Vec<String>,
}

/// Which authenticators will do.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Selection {
    resident_key: &'static str,
    require_resident_key: bool,
    user_verification: &'static str,
}

/// A passkey to be set up.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PasskeyToMake {
    /// What to call it: 1 to 64 characters.
    name: String,
    /// What the browser's `toJSON` gave.
    credential: CreatedCredential,
}

/// What an authenticator answers when a passkey is made; more fields may be there.
#[derive(Deserialize, ToSchema)]
pub(super) struct CreatedCredential {
    response: Attestation,
}

/// Its part that counts.
#[derive(Deserialize, ToSchema)]
pub(super) struct Attestation {
    #[serde(rename = "clientDataJSON")]
    client_data_json: String,
    #[serde(rename = "attestationObject")]
    attestation_object: String,
    #[serde(default)]
    transports: Vec<String>,
}

/// What an authenticator answers when a passkey is used; more fields may be there.
#[derive(Deserialize, ToSchema)]
pub(super) struct UsedCredential {
    id: String,
    response: Assertion,
}

/// Its part that counts.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Assertion {
    #[serde(rename = "clientDataJSON")]
    client_data_json: String,
    authenticator_data: String,
    signature: String,
}

impl UsedCredential {
    /// What is to be verified, as an answer to the challenge that the session was given; that is used up by it.
    pub(super) fn proof(self, console: &Console, key: Key, headers: &HeaderMap) -> Result<Proof, Problem> {
        let party = party(console, headers)?;
        let asserted = Asserted {
            credential: octets(&self.id)?,
            client_data: octets(&self.response.client_data_json)?,
            authenticator_data: octets(&self.response.authenticator_data)?,
            signature: octets(&self.response.signature)?,
        };
        Ok(Proof::Passkey { asserted, challenge: challenge(console, key)?, party })
    }
}

/// One's own passkeys, the oldest first.
#[utoipa::path(get, path = "/api/v1/account/passkeys", tag = "account", operation_id = "passkeys",
    responses((status = 200, body = Vec<PasskeyRow>)))]
pub(super) async fn list(
    State(console): State<Arc<Console>>,
    caller: Caller,
) -> Result<Json<Vec<PasskeyRow>>, Problem> {
    let passkeys = console.core.administrators.passkeys(&caller.account()?.name)?;
    Ok(Json(passkeys.into_iter().map(PasskeyRow::of).collect()))
}

/// Begins to set up a passkey; what the browser needs.
#[utoipa::path(post, path = "/api/v1/account/passkeys", tag = "account", operation_id = "beginPasskey",
    request_body = CurrentPassword,
    responses((status = 200, body = CreationOptions), (status = 403, body = Problem), (status = 409, body = Problem),
        (status = 429, body = Problem)))]
pub(super) async fn begin(
    State(console): State<Arc<Console>>,
    caller: Caller,
    headers: HeaderMap,
    Body(current): Body<CurrentPassword>,
) -> Result<Json<CreationOptions>, Problem> {
    let (key, _, account) = caller.session()?;
    let party = party(&console, &headers)?;
    confirm_password(&console, &caller, current).await?;
    let known = console.core.administrators.credentials(&account.name)?;
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(console.sessions.give_challenge(key, console.now()));
    Ok(Json(CreationOptions {
        rp: RelyingPartyEntity { id: party.id().to_owned(), name: format!("Postern {}", party.id()) },
        user: UserEntity::of(account),
        challenge,
        pub_key_cred_params: ALGORITHMS.map(|alg| Parameters { kind: PUBLIC_KEY, alg }).into(),
        timeout: timeout_ms(),
        exclude_credentials: known.into_iter().map(Descriptor::of).collect(),
        authenticator_selection: Selection {
            resident_key: "discouraged",
            require_resident_key: false,
            user_verification: "discouraged",
        },
        attestation: "none",
    }))
}

/// Sets up the passkey that the browser has made. All other sessions end.
#[utoipa::path(put, path = "/api/v1/account/passkeys", tag = "account", operation_id = "confirmPasskey",
    request_body = PasskeyToMake,
    responses((status = 200, body = PasskeyMade), (status = 403, body = Problem), (status = 409, body = Problem),
        (status = 422, body = Problem)))]
pub(super) async fn confirm(
    State(console): State<Arc<Console>>,
    caller: Caller,
    headers: HeaderMap,
    Body(PasskeyToMake { name, credential }): Body<PasskeyToMake>,
) -> Result<Response, Problem> {
    let (key, _, account) = caller.session()?;
    let party = party(&console, &headers)?;
    let challenge = challenge(&console, key)?;
    let Attestation { client_data_json, attestation_object, transports } = credential.response;
    let registered =
        Registered { client_data: octets(&client_data_json)?, attestation: octets(&attestation_object)? };
    let new = NewPasskey { name, registered, transports };
    let owner = account.name.clone();
    let (changed, passkey, codes) = console
        .changing(move |console| {
            let made = console.core.administrators.add_passkey(&owner, new, &challenge, &party)?;
            let action = caller.action("account.passkey", owner.clone(), format!("set up {:?}", made.1.name));
            Ok((made, action))
        })
        .await?;
    let made = PasskeyMade { passkey: PasskeyRow::of(passkey), codes: texts(&codes) };
    Ok(([renewed(&console, key, &changed)?], Json(made)).into_response())
}

/// Gives a passkey another name.
#[utoipa::path(patch, path = "/api/v1/account/passkeys/{id}", tag = "account", operation_id = "renamePasskey",
    params(("id" = String, Path, description = "The passkey's id")), request_body = PasskeyEdit,
    responses((status = 200, body = PasskeyRow), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn rename(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Of(id): Of<String>,
    Body(PasskeyEdit { name }): Body<PasskeyEdit>,
) -> Result<Json<PasskeyRow>, Problem> {
    let owner = caller.account()?.name.clone();
    let passkey = console.changing(move |console| {
        let passkey = console.core.administrators.rename_passkey(&owner, &id, &name)?;
        let action =
            caller.action("account.passkey", owner.clone(), format!("renamed to {:?}", passkey.name));
        Ok((passkey, action))
    });
    Ok(Json(PasskeyRow::of(passkey.await?)))
}

/// Takes a passkey away. All other sessions end.
#[utoipa::path(post, path = "/api/v1/account/passkeys/{id}/remove", tag = "account", operation_id = "removePasskey",
    params(("id" = String, Path, description = "The passkey's id")), request_body = CurrentPassword,
    responses((status = 204), (status = 403, body = Problem), (status = 404, body = Problem), (status = 429, body = Problem)))]
pub(super) async fn remove(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Of(id): Of<String>,
    Body(current): Body<CurrentPassword>,
) -> Result<Response, Problem> {
    let (key, _, account) = caller.session()?;
    confirm_password(&console, &caller, current).await?;
    let owner = account.name.clone();
    let changed = console
        .changing(move |console| {
            let (changed, removed) = console.core.administrators.remove_passkey(&owner, &id)?;
            let action = caller.action("account.passkey", owner, format!("removed {:?}", removed.name));
            Ok((changed, action))
        })
        .await?;
    Ok((StatusCode::NO_CONTENT, [renewed(&console, key, &changed)?]).into_response())
}

/// Begins to sign in with a passkey, behind the password; what the browser needs. Its answer goes to
/// `/session/second-factor`.
#[utoipa::path(post, path = "/api/v1/session/passkey", tag = "session", operation_id = "beginPasskeySignIn",
    responses((status = 200, body = RequestOptions), (status = 401, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn begin_sign_in(
    State(console): State<Arc<Console>>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Json<RequestOptions>, Problem> {
    let (key, session, account) = caller.session()?;
    if session.stage != Stage::SecondFactor {
        return Err(Problem::conflict("no-second-factor-awaited", "no second factor is awaited"));
    }
    let party = party(&console, &headers)?;
    let known = console.core.administrators.credentials(&account.name)?;
    if known.is_empty() {
        return Err(Problem::conflict("second-factor", "no passkey is set up; use another second factor"));
    }
    Ok(Json(RequestOptions {
        challenge: BASE64_URL_SAFE_NO_PAD.encode(console.sessions.give_challenge(key, console.now())),
        timeout: timeout_ms(),
        rp_id: party.id().to_owned(),
        allow_credentials: known.into_iter().map(Descriptor::of).collect(),
        user_verification: "discouraged",
    }))
}

const PUBLIC_KEY: &str = "public-key";

fn timeout_ms() -> u64 {
    CHALLENGE_LASTS.as_secs() * 1000
}

/// Whom passkeys are for: browsers bind them to the name in their address bar.
fn party(console: &Console, headers: &HeaderMap) -> Result<RelyingParty, Problem> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = &console.core.settings.host_name;
    RelyingParty::of(name, host).ok_or_else(|| {
        let detail = format!("passkeys are bound to the console's name; open it as https://{name}");
        Problem::conflict("other-name", detail)
    })
}

fn challenge(console: &Console, key: Key) -> Result<[u8; 32], Problem> {
    let taken = console.sessions.take_challenge(key, console.now());
    taken.ok_or_else(|| {
        Problem::conflict("not-begun", "begin with the passkey first; each attempt serves once")
    })
}

fn octets(text: &str) -> Result<Vec<u8>, Problem> {
    let decoded = BASE64_URL_SAFE_NO_PAD.decode(text);
    decoded.map_err(|_| Problem::invalid("octets are sent as base64url without padding"))
}

impl PasskeyRow {
    fn of(shown: ShownPasskey) -> Self {
        let (created_at, used_at) = (shown.created.0, shown.used.map(|used| used.0));
        Self { id: shown.id, name: shown.name, created_at, used_at }
    }
}

impl UserEntity {
    /// Authenticators keep the id, and show the name; the id alone tells nobody who it is (§14.6.1).
    fn of(account: &Account) -> Self {
        let about = format!("postern console user v1 {} {}", account.created.0, account.name);
        let id = BASE64_URL_SAFE_NO_PAD.encode(sha256(about.as_bytes()).0);
        Self { id, name: account.name.clone(), display_name: account.name.clone() }
    }
}

impl Descriptor {
    fn of(credential: Credential) -> Self {
        let id = BASE64_URL_SAFE_NO_PAD.encode(credential.id);
        Self { kind: PUBLIC_KEY, id, transports: credential.transports }
    }
}
