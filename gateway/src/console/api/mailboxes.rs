//! Mailboxes.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ipnet::IpNet;
use postern_shared::crypto::keys::PublicKey;
use postern_shared::id::MailboxId;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::{Body, Of};
use crate::activity::activity;
use crate::console::gate::Caller;
use crate::console::{Console, Problem};
use crate::mailbox::{Bound, Edit, Mailbox, PolicyEdit, Status};

/// A mailbox.
#[derive(Serialize, ToSchema)]
pub(super) struct MailboxRow {
    /// `mbx-` and 16 hexadecimal digits; archivers' user name.
    id: String,
    /// Its address.
    address: String,
    /// What it is called.
    name: String,
    /// What is said of it.
    description: String,
    /// Whether it takes mail.
    status: MailboxStatus,
    /// When it was created, or its password last reset.
    keyed_at: u64,
    /// Its mail is sealed to a recovery key as well.
    recovery: bool,
    /// What it takes, and from whom.
    policy: MailboxPolicy,
    /// Messages that wait.
    messages: u64,
    /// Messages among them of which nobody knows whether the server took them.
    unconfirmed: u64,
    /// What pulling all of them would send.
    bytes: u64,
    /// When the oldest of them arrived.
    oldest_at: Option<u64>,
    /// When the last message came.
    last_delivery_at: Option<u64>,
    /// When an archiver last opened it.
    last_pull_at: Option<u64>,
    /// Messages of each of the last 24 hours, the present one last.
    hours: Vec<u32>,
    /// Why it cannot be deleted, and its password not be reset; nothing when both can be done.
    in_the_way: Option<String>,
}

/// Whether a mailbox takes mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum MailboxStatus {
    /// It does.
    Active,
    /// It refuses mail for now; what waits can still be pulled.
    Suspended,
}

impl From<MailboxStatus> for Status {
    fn from(status: MailboxStatus) -> Self {
        match status {
            MailboxStatus::Active => Self::Active,
            MailboxStatus::Suspended => Self::Suspended,
        }
    }
}

impl From<Status> for MailboxStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Active => Self::Active,
            Status::Suspended => Self::Suspended,
        }
    }
}

/// What a mailbox takes, and from whom. What is left out asks for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct MailboxPolicy {
    /// Networks that may send, like `192.0.2.0/24`; none: everybody.
    #[schema(value_type = Vec<String>)]
    networks: Vec<IpNet>,
    /// More of them, in lists with names.
    #[schema(value_type = BTreeMap<String, Vec<String>>)]
    presets: BTreeMap<String, Vec<IpNet>>,
    /// Mail is taken under TLS only.
    require_tls: bool,
    /// The longest message, in octets.
    max_message_size: Option<u64>,
    /// Octets that may wait.
    quota: Option<u64>,
    /// Messages that may wait.
    quota_messages: Option<u64>,
}

impl MailboxPolicy {
    /// The edit after which this is the policy, whatever it was.
    fn in_place_of_all(self) -> PolicyEdit {
        let bound = |value: Option<u64>| Some(value.map_or(Bound::None, Bound::AtMost));
        PolicyEdit {
            any_network: true,
            networks: self.networks,
            presets: self.presets,
            require_tls: Some(self.require_tls),
            message_bytes_max: bound(self.max_message_size),
            quota_bytes: bound(self.quota),
            quota_messages: bound(self.quota_messages),
        }
    }
}

/// A mailbox to be created.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewMailbox {
    /// What to call it, 1 to 100 characters.
    name: String,
    /// What to say of it, up to 1000 characters.
    #[serde(default)]
    description: String,
    /// A recovery public key as `recovery-key generate` writes it: its mail is sealed to that as well.
    #[serde(default)]
    recovery_key: Option<String>,
    /// What it takes, and from whom.
    #[serde(default)]
    policy: MailboxPolicy,
}

/// What changes of a mailbox; what is left out stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MailboxEdit {
    /// What to call it.
    name: Option<String>,
    /// What to say of it.
    description: Option<String>,
    /// Whether it takes mail.
    status: Option<MailboxStatus>,
    /// What it takes, and from whom; replaces all of it.
    policy: Option<MailboxPolicy>,
}

/// A mailbox and its password, shown once.
#[derive(Serialize, ToSchema)]
pub(super) struct MailboxWithPassword {
    /// The mailbox.
    mailbox: MailboxRow,
    /// The only key to the mail in it; stored nowhere.
    password: String,
}

/// All mailboxes.
#[utoipa::path(get, path = "/api/v1/mailboxes", tag = "mailboxes", operation_id = "mailboxes",
    responses((status = 200, body = Vec<MailboxRow>), (status = 401, body = Problem)))]
pub(super) async fn list(State(console): State<Arc<Console>>) -> Json<Vec<MailboxRow>> {
    Json(console.core.registry.list().iter().map(|mailbox| row(&console, mailbox)).collect())
}

/// Creates a mailbox; its password is shown this once.
#[utoipa::path(post, path = "/api/v1/mailboxes", tag = "mailboxes", operation_id = "createMailbox", request_body = NewMailbox,
    responses((status = 201, body = MailboxWithPassword), (status = 403, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn create(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Body(NewMailbox { name, description, recovery_key, policy }): Body<NewMailbox>,
) -> Result<Response, Problem> {
    let recovery =
        recovery_key.filter(|key| !key.trim().is_empty()).map(|key| parse_key(&key)).transpose()?;
    let made = console.changing(move |console| {
        let edit = policy.in_place_of_all();
        let with_recovery = if recovery.is_some() { ", with a recovery key" } else { "" };
        let (mailbox, password) = console.core.registry.create_with(&name, &description, recovery, &edit)?;
        let action = caller.action(
            "mailbox.create",
            mailbox.id.to_string(),
            format!("{:?}{with_recovery}", mailbox.name),
        );
        Ok(((mailbox, password), action))
    });
    let (mailbox, password) = made.await?;
    Ok((StatusCode::CREATED, Json(with_password(&console, &mailbox, &password))).into_response())
}

/// One mailbox.
#[utoipa::path(get, path = "/api/v1/mailboxes/{id}", tag = "mailboxes", operation_id = "mailbox",
    params(("id" = String, Path, description = "The mailbox's id")),
    responses((status = 200, body = MailboxRow), (status = 404, body = Problem)))]
pub(super) async fn show(
    State(console): State<Arc<Console>>,
    Of(id): Of<MailboxId>,
) -> Result<Json<MailboxRow>, Problem> {
    Ok(Json(row(&console, &console.core.registry.show(id)?)))
}

/// Changes name, description, status or policy.
#[utoipa::path(patch, path = "/api/v1/mailboxes/{id}", tag = "mailboxes", operation_id = "editMailbox",
    params(("id" = String, Path, description = "The mailbox's id")), request_body = MailboxEdit,
    responses((status = 200, body = MailboxRow), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn edit(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Of(id): Of<MailboxId>,
    Body(changed): Body<MailboxEdit>,
) -> Result<Json<MailboxRow>, Problem> {
    let mailbox = console.changing(move |console| {
        let detail = said(&changed);
        let policy = changed.policy.map(MailboxPolicy::in_place_of_all).unwrap_or_default();
        let MailboxEdit { name, description, status, .. } = changed;
        let edit = Edit { name, description, status: status.map(Into::into), policy };
        let mailbox = console.core.registry.edit(id, edit)?;
        Ok((mailbox, caller.action("mailbox.edit", id.to_string(), detail)))
    });
    Ok(Json(row(&console, &mailbox.await?)))
}

/// Deletes a suspended, empty mailbox for good.
#[utoipa::path(delete, path = "/api/v1/mailboxes/{id}", tag = "mailboxes", operation_id = "deleteMailbox",
    params(("id" = String, Path, description = "The mailbox's id")),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn delete(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Of(id): Of<MailboxId>,
) -> Result<StatusCode, Problem> {
    console
        .changing(move |console| {
            let name = console.core.registry.show(id)?.name;
            console.core.registry.delete(id, || console.waiting(id))?;
            Ok(((), caller.action("mailbox.delete", id.to_string(), format!("{name:?}"))))
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a suspended, empty mailbox a new key pair and password, shown this once.
#[utoipa::path(post, path = "/api/v1/mailboxes/{id}/reset-password", tag = "mailboxes", operation_id = "resetMailboxPassword",
    params(("id" = String, Path, description = "The mailbox's id")),
    responses((status = 200, body = MailboxWithPassword), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn reset_password(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Of(id): Of<MailboxId>,
) -> Result<Json<MailboxWithPassword>, Problem> {
    let renewed = console.changing(move |console| {
        let renewed = console.core.registry.reset_password(id, || console.waiting(id))?;
        Ok((renewed, caller.action("mailbox.reset-password", id.to_string(), "")))
    });
    let (mailbox, password) = renewed.await?;
    Ok(Json(with_password(&console, &mailbox, &password)))
}

impl Console {
    fn waiting(&self, id: MailboxId) -> u64 {
        let usage = self.core.spool.usage(id);
        usage.messages + usage.undecided
    }
}

fn parse_key(text: &str) -> Result<PublicKey, Problem> {
    let bytes = hex::decode(text.trim()).ok();
    let key = bytes.and_then(|bytes| PublicKey::from_bytes(&bytes).ok());
    key.ok_or_else(|| {
        Problem::invalid("the recovery key is not a public key as `recovery-key generate` writes it")
    })
}

/// What changes, for the audit log.
fn said(edit: &MailboxEdit) -> String {
    let mut said = Vec::new();
    said.extend(edit.name.as_ref().map(|name| format!("name {:?}", short(name))));
    said.extend(edit.description.as_ref().map(|text| format!("description {:?}", short(text))));
    said.extend(edit.status.map(|status| format!("status {status:?}")));
    said.extend(edit.policy.as_ref().map(|policy| {
        let MailboxPolicy { networks, presets, require_tls, max_message_size, quota, quota_messages } = policy;
        let networks = networks.len() + presets.values().map(Vec::len).sum::<usize>();
        format!(
            "policy: {networks} networks, TLS {require_tls}, size {max_message_size:?}, quota {quota:?} / {quota_messages:?}"
        )
    }));
    said.join(", ")
}

fn short(text: &str) -> String {
    text.chars().take(100).collect()
}

fn row(console: &Console, mailbox: &Mailbox) -> MailboxRow {
    let usage = console.core.spool.usage(mailbox.id);
    let (pulse, now) = (activity().pulse(mailbox.id), console.core.clock.wall());
    let in_the_way = if mailbox.status == Status::Active {
        Some("the mailbox is active; suspend it first".to_owned())
    } else if usage.messages + usage.undecided > 0 {
        let messages = usage.messages + usage.undecided;
        Some(format!("the mailbox holds {messages} messages; let the archiver pull them first"))
    } else {
        None
    };
    let policy = &mailbox.policy;
    MailboxRow {
        id: mailbox.id.to_string(),
        address: mailbox.address.clone(),
        name: mailbox.name.clone(),
        description: mailbox.description.clone(),
        status: mailbox.status.into(),
        keyed_at: mailbox.keyed.0,
        recovery: mailbox.recovery,
        policy: MailboxPolicy {
            networks: policy.networks.clone(),
            presets: policy.presets.clone(),
            require_tls: policy.require_tls,
            max_message_size: policy.message_bytes_max,
            quota: policy.quota_bytes,
            quota_messages: policy.quota_messages,
        },
        messages: usage.messages,
        unconfirmed: usage.unconfirmed,
        bytes: usage.served_bytes,
        oldest_at: usage.oldest.map(|oldest| oldest.0),
        last_delivery_at: pulse.last_delivery.map(|at| at.0),
        last_pull_at: pulse.last_pull.map(|at| at.0),
        hours: pulse.hours(now).to_vec(),
        in_the_way,
    }
}

fn with_password(console: &Console, mailbox: &Mailbox, password: &SecretString) -> MailboxWithPassword {
    MailboxWithPassword { mailbox: row(console, mailbox), password: password.expose_secret().to_owned() }
}
