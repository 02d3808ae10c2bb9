//! Who may receive, and from whom.

use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;

use postern_shared::id::MailboxId;
use postern_shared::proto::smtp::path::Address;
use postern_shared::proto::smtp::reply::Reply;

use crate::mailbox::{Policy, Registry, Status};
use crate::spool::{Spool, Usage};

/// Which mailboxes there are.
pub trait Mailboxes: Debug + Send + Sync + 'static {
    /// `None` when there is no such mailbox.
    fn status(&self, id: MailboxId) -> Option<MailboxStatus>;

    /// What a mailbox takes, and from whom.
    fn policy(&self, _id: MailboxId) -> Arc<Policy> {
        Arc::default()
    }

    /// How much waits in a mailbox; asked for those with a quota only.
    fn usage(&self, _id: MailboxId) -> Usage {
        Usage::default()
    }
}

/// Whether a mailbox takes mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailboxStatus {
    /// It does.
    Active,
    /// Not for now.
    Suspended,
}

/// The gateway's mailboxes, with what waits in them.
#[derive(Debug)]
pub struct SpooledMailboxes {
    registry: Arc<Registry>,
    spool: Arc<dyn Spool>,
}

impl SpooledMailboxes {
    /// The mailboxes of `registry`, their mail in `spool`.
    pub fn new(registry: Arc<Registry>, spool: Arc<dyn Spool>) -> Self {
        Self { registry, spool }
    }
}

impl Mailboxes for SpooledMailboxes {
    fn status(&self, id: MailboxId) -> Option<MailboxStatus> {
        self.registry.status(id).map(|status| match status {
            Status::Active => MailboxStatus::Active,
            Status::Suspended => MailboxStatus::Suspended,
        })
    }

    fn policy(&self, id: MailboxId) -> Arc<Policy> {
        // One that is gone or damaged takes nothing anyway.
        self.registry.policy(id).unwrap_or_default()
    }

    fn usage(&self, id: MailboxId) -> Usage {
        self.spool.usage(id)
    }
}

/// Who sends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client {
    pub(super) address: Option<IpAddr>,
    pub(super) secured: bool,
    /// Whether it is offered to log in, and so to send elsewhere.
    pub(super) may_log_in: bool,
    /// The octets it announced for the message (RFC 1870).
    pub(super) size: Option<u64>,
}

/// How much content a transaction's mailboxes take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// More will be too much tomorrow as well.
    message_bytes_max: u64,
    /// More is too much for now.
    left_bytes: u64,
}

impl Default for Room {
    fn default() -> Self {
        Self { message_bytes_max: u64::MAX, left_bytes: u64::MAX }
    }
}

impl Room {
    /// What both take.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            message_bytes_max: self.message_bytes_max.min(other.message_bytes_max),
            left_bytes: self.left_bytes.min(other.left_bytes),
        }
    }

    /// Why content of so many octets cannot be taken; `octets_max` is what the host takes.
    pub(crate) fn refuses(self, octets: u64, octets_max: u64) -> Option<Reply> {
        if octets > octets_max.min(self.message_bytes_max) {
            let who = if self.message_bytes_max < octets_max { "mailbox" } else { "host" };
            return Some(Reply::new(552, "5.3.4", format!("Message is longer than this {who} takes")));
        }
        (octets > self.left_bytes).then(full)
    }
}

fn full() -> Reply {
    Reply::new(452, "4.2.2", "Mailbox is full for now, try again later")
}

/// The mailbox that `address` names in `domain` and how much it takes, or why not. A sub-address
/// (`mbx-…+anna=example.com@`) belongs to the mailbox before the plus.
pub(super) fn judge(
    address: &Address,
    client: Client,
    domain: &str,
    mailboxes: &dyn Mailboxes,
) -> Result<(MailboxId, Room), Reply> {
    if !address.domain.is_empty() && !address.domain.eq_ignore_ascii_case(domain) {
        let how = if client.may_log_in { "; log in first to send through your provider" } else { "" };
        return Err(Reply::new(550, "5.7.1", format!("Relaying denied: not a domain of this host{how}")));
    }
    let unknown = || Reply::new(550, "5.1.1", "No such mailbox here");
    let name = address.local.split('+').next().unwrap_or_default();
    let id: MailboxId = name.parse().map_err(|_| unknown())?;
    let status = mailboxes.status(id).ok_or_else(unknown)?;
    let policy = mailboxes.policy(id);
    if !policy.allows(client.address) {
        return Err(Reply::new(550, "5.7.1", "Client address not allowed for this mailbox"));
    }
    if policy.require_tls && !client.secured {
        // The words of RFC 3207 §4.
        return Err(Reply::new(530, "5.7.0", "Must issue a STARTTLS command first"));
    }
    if status == MailboxStatus::Suspended {
        return Err(Reply::new(450, "4.2.1", "Mailbox takes no mail for now"));
    }
    let room = room(id, &policy, mailboxes)?;
    match client.size.and_then(|size| room.refuses(size, u64::MAX)) {
        Some(refusal) => Err(refusal),
        None => Ok((id, room)),
    }
}

/// Why a mailbox does not take so many octets, of a message that a client fetches through the proxy; for the log.
pub(crate) fn takes(id: MailboxId, octets: u64, mailboxes: &dyn Mailboxes) -> Result<(), &'static str> {
    match mailboxes.status(id) {
        Some(MailboxStatus::Active) => {}
        Some(MailboxStatus::Suspended) => return Err("the mailbox is suspended"),
        None => return Err("the mailbox is gone"),
    }
    let refusal = room(id, &mailboxes.policy(id), mailboxes).map(|room| room.refuses(octets, u64::MAX));
    match refusal {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err("it is longer than what the mailbox has room for"),
        Err(_) => Err("the mailbox is full for now"),
    }
}

/// How much a mailbox takes that mail passes through on its way elsewhere, or why none for now: it may have been there when
/// the client logged in.
pub(crate) fn room_of(id: MailboxId, mailboxes: &dyn Mailboxes) -> Result<Room, Reply> {
    if mailboxes.status(id) != Some(MailboxStatus::Active) {
        return Err(mailbox_closed());
    }
    room(id, &mailboxes.policy(id), mailboxes)
}

/// To a client whose mailbox takes no copies.
pub(crate) fn mailbox_closed() -> Reply {
    Reply::new(450, "4.2.1", "The gateway's mailbox takes no mail for now, so none can be sent")
}

/// Sessions that ask at the same time are told the same, so a quota can be passed by what they bring together.
fn room(id: MailboxId, policy: &Policy, mailboxes: &dyn Mailboxes) -> Result<Room, Reply> {
    let no_limit = u64::MAX;
    let quota_bytes = policy.quota_bytes.unwrap_or(no_limit);
    let quota_messages = policy.quota_messages.unwrap_or(no_limit);
    // What is longer than the whole quota will not fit tomorrow either.
    let message_bytes_max = policy.message_bytes_max.unwrap_or(no_limit).min(quota_bytes);
    if quota_bytes == no_limit && quota_messages == no_limit {
        return Ok(Room { message_bytes_max, left_bytes: no_limit });
    }
    let waiting = mailboxes.usage(id);
    let left_bytes = quota_bytes.saturating_sub(waiting.served_bytes);
    if left_bytes == 0 || waiting.messages >= quota_messages {
        return Err(full());
    }
    Ok(Room { message_bytes_max, left_bytes })
}
