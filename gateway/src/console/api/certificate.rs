//! The certificate: what is served, what each port shows, and putting another one in its place.
//!
//! Another *source* (`tls.mode`) is a change of the configuration: `PUT /api/v1/settings` with the `changes` that the
//! routes here answer with, then a restart. A new certificate of the same source is served at once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use postern_shared::tls::server::{Bundle, Identity, Leaf, Pkcs12Error};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::Stop;
use super::extract::Body;
use super::live::Telling;
use super::overview::{place, stream};
use crate::acme::{Renewer, State as Past};
use crate::certificate::{ChangeError, import as store, self_signed as make};
use crate::console::gate::Caller;
use crate::console::{Console, Problem};
use crate::doctor::{Probe, probe_all};
use crate::settings::Tls;

/// The certificate that all ports serve.
#[derive(Serialize, ToSchema)]
pub(super) struct ServedCertificate {
    /// Where it should come from, as `tls.mode` says: `self-signed`, `files`, `imported` or `acme`.
    mode: &'static str,
    /// Where it comes from, in words: while an authority has issued none, a self-signed one stands in.
    source: &'static str,
    /// SHA-256 of it, as archivers pin it.
    fingerprint: String,
    /// The names and addresses it is for.
    names: Vec<String>,
    /// Whether `host_name` is one of them.
    covers_host_name: bool,
    /// When its time begins, in milliseconds since 1970.
    valid_from_at: Option<u64>,
    /// When it expires.
    expires_at: Option<u64>,
    /// Itself and what vouches for it, in the order in which it is sent.
    chain: Vec<ChainLink>,
    /// Whether each of them is vouched for by the next.
    chain_in_order: bool,
    /// Why clients may not trust it; nothing when this machine's authorities, or those in `acme.trust`, vouch for it.
    distrusted: Option<String>,
    /// Why the certificate that should have replaced it did not.
    trouble: Option<String>,
    /// The authority that `[acme]` names.
    authority: Authority,
}

/// A certificate of a chain.
#[derive(Serialize, ToSchema)]
pub(super) struct ChainLink {
    /// Whose it is.
    subject: String,
    /// Who vouches for it.
    issuer: String,
    /// When it expires, in milliseconds since 1970.
    expires_at: u64,
}

/// An authority that issues certificates (ACME), and what it has said.
#[derive(Serialize, ToSchema)]
pub(super) struct Authority {
    /// Its directory.
    directory_url: String,
    /// Where an attempt is rehearsed before.
    staging_url: Option<String>,
    /// The names that are asked for.
    names: Vec<String>,
    /// Whether its terms of service are agreed to.
    accept_terms: bool,
    /// It is being asked at this moment.
    is_asked: bool,
    /// Attempts that failed, one after the other.
    failures: u32,
    /// What went wrong at the last one, in the authority's own words where it said any.
    last_error: Option<String>,
    /// When it was asked last, in milliseconds since 1970.
    last_attempt_at: Option<u64>,
    /// When it has issued one.
    last_issued_at: Option<u64>,
    /// After a failure it is not asked before.
    not_before_at: Option<u64>,
}

/// What a port showed to a client that connected a moment ago.
#[derive(Serialize, ToSchema)]
pub(super) struct PortShows {
    /// The key in `[listen]`.
    listener: String,
    /// Where it listens.
    address: String,
    /// What is wrong with it; nothing when it answers as it should.
    trouble: Option<String>,
    /// SHA-256 of the certificate it showed; nothing where there is no TLS.
    fingerprint: Option<String>,
    /// Whether that is the one that is meant to be served.
    is_current: Option<bool>,
    /// The names it is for.
    names: Vec<String>,
    /// When it expires, in milliseconds since 1970.
    expires_at: Option<u64>,
}

/// A self-signed certificate to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SelfSigned {
    /// Names and addresses; the gateway's own when there are none.
    #[serde(default)]
    names: Vec<String>,
    /// Replaces one that is there, which archivers may have pinned.
    #[serde(default)]
    force: bool,
}

/// A certificate with its key: a PKCS#12 file, or PEM text.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CertificateToImport {
    /// A PKCS#12 file (`.p12`, `.pfx`) as base64.
    #[schema(value_type = Option<String>)]
    pkcs12: Option<SecretString>,
    /// Its password; none for a file without one.
    #[schema(value_type = Option<String>, format = Password)]
    password: Option<SecretString>,
    /// The certificate and its chain as PEM text; the key may be in it.
    #[schema(value_type = Option<String>)]
    pem: Option<SecretString>,
    /// The key as PEM text, when it is not in `pem`.
    #[schema(value_type = Option<String>, format = Password)]
    key: Option<SecretString>,
}

/// A certificate that was stored.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StoredCertificate {
    /// SHA-256 of it.
    fingerprint: String,
    /// The names and addresses it is for.
    names: Vec<String>,
    /// Whether it is served from now on.
    served: bool,
    /// What makes the gateway serve it: `changes` for `PUT /api/v1/settings`; then it has to be restarted. Empty when the
    /// source is this one already.
    #[schema(value_type = Object)]
    changes: BTreeMap<&'static str, Value>,
}

/// How the authority is to be asked.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    /// Only rehearses at the staging directory.
    #[serde(default)]
    staging_only: bool,
}

/// A step on the way to a certificate; sent as the server-sent event `step`. The last one is `done` or `failed`.
#[derive(Serialize, ToSchema)]
pub(super) struct OrderStep {
    /// How far it has come.
    state: Progress,
    /// What is being done, or went wrong, with the authority's own words.
    text: String,
    /// Milliseconds since the beginning.
    at_ms: u64,
    /// What was issued, at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<StoredCertificate>,
}

/// How far something has come.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Progress {
    /// It goes on.
    Running,
    /// It came to its end.
    Done,
    /// It came to nothing.
    Failed,
}

/// The certificate that is served.
#[utoipa::path(get, path = "/api/v1/certificate", tag = "certificate", operation_id = "certificate",
    responses((status = 200, body = ServedCertificate), (status = 409, body = Problem)))]
pub(super) async fn show(State(console): State<Arc<Console>>) -> Result<Json<ServedCertificate>, Problem> {
    let shown = console.blocking(|console| {
        let core = &console.core;
        let keeper = core.keeper.get();
        let keeper = keeper.ok_or_else(|| Problem::conflict("not-served", "no certificate is served yet"))?;
        let identity = keeper.identity();
        let leaf = identity.leaf();
        let links = identity.links().into_iter().map(|link| ChainLink {
            subject: link.subject,
            issuer: link.issuer,
            expires_at: link.not_after.0,
        });
        Ok(ServedCertificate {
            mode: core.settings().tls.mode(),
            source: keeper.origin().name(),
            fingerprint: format!("sha256:{}", identity.fingerprint()),
            covers_host_name: leaf.as_ref().is_some_and(|leaf| leaf.covers(&core.settings().host_name)),
            valid_from_at: leaf.as_ref().map(|leaf| leaf.not_before.0),
            expires_at: leaf.as_ref().map(|leaf| leaf.not_after.0),
            names: leaf.map(|leaf| leaf.names).unwrap_or_default(),
            chain: links.collect(),
            chain_in_order: identity.is_ordered(),
            distrusted: keeper.accepted().err(),
            trouble: keeper.trouble(),
            authority: authority(console),
        })
    });
    Ok(Json(shown.await?))
}

/// Connects to each port as a client does, and tells which certificate it really shows.
#[utoipa::path(get, path = "/api/v1/certificate/ports", tag = "certificate", operation_id = "certificatePorts",
    responses((status = 200, body = Vec<PortShows>), (status = 429, body = Problem)))]
pub(super) async fn ports(State(console): State<Arc<Console>>) -> Result<Json<Vec<PortShows>>, Problem> {
    let turn = Console::turn_of(&console.looking_at_ports)?;
    let shown = console.blocking(move |console| {
        let _turn = turn;
        let status = json!({ "listening": console.core.listening.get() });
        let current = console.certificate().fingerprint;
        let probes = probe_all(&status).unwrap_or_default();
        Ok(probes.into_iter().map(|probe| PortShows::of(probe, &current)).collect())
    });
    Ok(Json(shown.await?))
}

/// Makes a self-signed certificate. Archivers that pin the old one must be told the new fingerprint.
#[utoipa::path(post, path = "/api/v1/certificate/self-signed", tag = "certificate", operation_id = "makeSelfSigned",
    request_body = SelfSigned,
    responses((status = 200, body = StoredCertificate), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn self_signed(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Body(SelfSigned { names, force }): Body<SelfSigned>,
) -> Result<Json<StoredCertificate>, Problem> {
    let stored = console.changing(move |console| {
        let made = make(&console.core, &names, force).map_err(Problem::from)?;
        let stored = StoredCertificate::of(&made, &Tls::SelfSigned, console);
        let action = caller.action("certificate.self-signed", stored.fingerprint.clone(), "");
        Ok((stored, action))
    });
    Ok(Json(stored.await?))
}

/// Stores a certificate with its key, from a PKCS#12 file or as PEM text.
#[utoipa::path(post, path = "/api/v1/certificate/import", tag = "certificate", operation_id = "importCertificate",
    request_body = CertificateToImport,
    responses((status = 200, body = StoredCertificate), (status = 422, body = Problem)))]
pub(super) async fn import(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Body(given): Body<CertificateToImport>,
) -> Result<Json<StoredCertificate>, Problem> {
    let stored = console.changing(move |console| {
        let stored = store(&console.core, &given.bundle()?).map_err(Problem::from)?;
        let stored = StoredCertificate::of(&stored, &Tls::Imported, console);
        let action = caller.action("certificate.import", stored.fingerprint.clone(), "");
        Ok((stored, action))
    });
    Ok(Json(stored.await?))
}

/// Asks the authority for a certificate now, and tells each step in its words. It goes on when nobody listens any more.
#[utoipa::path(post, path = "/api/v1/certificate/acme", tag = "certificate", operation_id = "orderCertificate",
    request_body = Order,
    responses((status = 200, body = OrderStep, content_type = "text/event-stream"), (status = 409, body = Problem),
        (status = 429, body = Problem)))]
pub(super) async fn acme(
    State(console): State<Arc<Console>>,
    Extension(Stop(mut stop)): Extension<Stop>,
    caller: Caller,
    Body(Order { staging_only }): Body<Order>,
) -> Result<Response, Problem> {
    let acme = &console.core.settings().acme;
    if !acme.accept_terms {
        let detail = "read the authority's terms of service, then set acme.accept_terms = true and restart the gateway";
        return Err(Problem::conflict("terms", detail));
    }
    if console.renewer.is_busy() {
        return Err(Problem::conflict(
            "busy",
            "the authority is being asked already; wait for what comes of it",
        ));
    }
    let place = place(&console, &caller)?;
    let detail = if staging_only { "rehearsal" } else { "" };
    let action = caller.action("certificate.acme", acme.names.join(", "), detail);
    console.changing(move |_| Ok(((), action))).await?;
    let (telling, receiver) = Telling::begin(&console);
    tokio::spawn(async move {
        let tell = |state, text: String, certificate| {
            telling.tell(&OrderStep { state, text, at_ms: telling.at_ms(), certificate });
        };
        let report = |line: String| {
            tracing::info!(target: "postern_gateway::acme", "{line}");
            tell(Progress::Running, line, None);
        };
        let done = tokio::select! {
            done = console.renewer.try_now(staging_only, &report) => done.map_err(|error| error.to_string()),
            () = stop.requested() => Err("the gateway ends; the order is taken up again at the next attempt".into()),
        };
        match done {
            Err(why) => tell(Progress::Failed, why, None),
            Ok(done) if done["issued"] == true => {
                let stored = StoredCertificate::of(&done, &Tls::Acme, &console);
                tell(Progress::Done, format!("issued for {}", stored.names.join(", ")), Some(stored));
            }
            Ok(_) => tell(Progress::Done, "the rehearsal went well".into(), None),
        }
    });
    Ok(stream(receiver, place))
}

fn authority(console: &Console) -> Authority {
    let acme = console.core.settings().acme.clone();
    let Past { failures, last_error, last_attempt, last_issued, not_before, .. } =
        Renewer::past(&console.core);
    Authority {
        directory_url: acme.directory_url,
        staging_url: acme.staging_url,
        names: acme.names,
        accept_terms: acme.accept_terms,
        is_asked: console.renewer.is_busy(),
        failures,
        last_error,
        last_attempt_at: last_attempt.map(|at| at.0),
        last_issued_at: last_issued.map(|at| at.0),
        not_before_at: not_before.map(|at| at.0),
    }
}

impl PortShows {
    fn of(Probe { name, address, shown }: Probe, current: &str) -> Self {
        let (trouble, shown) = match shown {
            Ok(shown) => (None, shown),
            Err(error) => (Some(error.to_string()), None),
        };
        let fingerprint = shown.as_ref().map(|shown| format!("sha256:{}", shown.fingerprint));
        let leaf: Option<Leaf> = shown.and_then(|shown| shown.leaf);
        Self {
            listener: name,
            address: address.to_string(),
            trouble,
            is_current: fingerprint.as_ref().map(|shown| shown == current),
            fingerprint,
            expires_at: leaf.as_ref().map(|leaf| leaf.not_after.0),
            names: leaf.map(|leaf| leaf.names).unwrap_or_default(),
        }
    }
}

impl StoredCertificate {
    /// `told`: what `certificate …` answers on the command line.
    fn of(told: &Value, source: &Tls, console: &Console) -> Self {
        let names = told["names"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Self {
            fingerprint: told["fingerprint"].as_str().unwrap_or_default().to_owned(),
            names: names.map(str::to_owned).collect(),
            served: told["served"] == true,
            changes: changes(&console.core.settings().tls, source),
        }
    }
}

/// What turns the source `from` into `to`.
fn changes(from: &Tls, to: &Tls) -> BTreeMap<&'static str, Value> {
    let mut changes = BTreeMap::new();
    if from.mode() != to.mode() {
        changes.insert("tls.mode", to.mode().into());
        if matches!(from, Tls::Files { .. }) {
            changes.extend([("tls.certificate", Value::Null), ("tls.key", Value::Null)]);
        }
    }
    changes
}

impl CertificateToImport {
    fn bundle(&self) -> Result<Bundle, Problem> {
        let given = Path::new("what was sent");
        let identity = match (&self.pkcs12, &self.pem) {
            (Some(file), None) if self.key.is_none() => {
                let text = file.expose_secret().trim().as_bytes();
                let file = BASE64_STANDARD.decode(text).map(Zeroizing::new);
                let file = file.map_err(|_| Problem::invalid("pkcs12 is not base64"))?;
                let password = self.password.as_ref().map_or("", |password| password.expose_secret());
                Identity::from_pkcs12(&file, password)?
            }
            (None, Some(pem)) if self.password.is_none() => {
                let pem = pem.expose_secret().as_bytes();
                let key = self.key.as_ref().map_or(pem, |key| key.expose_secret().as_bytes());
                Identity::from_pem(pem, given, key, given).map_err(bad)?
            }
            _ => {
                let detail = "send either pkcs12 with its password, or pem with the key in it or beside it";
                return Err(Problem::invalid(detail));
            }
        };
        Ok(identity.bundle())
    }
}

fn bad(error: impl std::fmt::Display) -> Problem {
    let title = "The certificate cannot be used";
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-certificate", title, error.to_string())
}

impl From<Pkcs12Error> for Problem {
    fn from(error: Pkcs12Error) -> Self {
        match error {
            Pkcs12Error::WrongPassword => {
                let title = "The certificate cannot be opened";
                let text = error.to_string();
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "certificate-password", title, text)
            }
            other => bad(other),
        }
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Identity(_) | ChangeError::Expired(_) => bad(error),
            ChangeError::Name(_) | ChangeError::Names => Self::invalid(error.to_string()),
            ChangeError::Unwritable { .. } => Self::disk(error),
            ChangeError::Exists(until) => {
                let detail = format!(
                    "there is a self-signed certificate until {until}, which archivers may have pinned; say that it is \
                     to be replaced, with its key (force)"
                );
                Self::conflict("exists", detail)
            }
            ChangeError::NotServed(_) => Self::conflict("not-served", error.to_string()),
        }
    }
}
