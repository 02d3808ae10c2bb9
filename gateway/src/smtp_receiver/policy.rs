//! Who may receive.

use std::fmt::Debug;

use postern_shared::id::MailboxId;
use postern_shared::proto::smtp::path::Address;
use postern_shared::proto::smtp::reply::Reply;

use crate::mailbox::{Registry, Status};

/// Which mailboxes there are.
pub trait Mailboxes: Debug + Send + Sync + 'static {
    /// `None` when there is no such mailbox.
    fn status(&self, id: MailboxId) -> Option<MailboxStatus>;
}

/// Whether a mailbox takes mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailboxStatus {
    /// It does.
    Active,
    /// Not for now.
    Suspended,
}

impl Mailboxes for Registry {
    fn status(&self, id: MailboxId) -> Option<MailboxStatus> {
        Registry::status(self, id).map(|status| match status {
            Status::Active => MailboxStatus::Active,
            Status::Suspended => MailboxStatus::Suspended,
        })
    }
}

/// The mailbox that `address` names in `domain`, or why not. A sub-address (`mbx-…+anna=example.com@`) belongs to the
/// mailbox before the plus.
pub(super) fn judge(address: &Address, domain: &str, mailboxes: &dyn Mailboxes) -> Result<MailboxId, Reply> {
    if !address.domain.is_empty() && !address.domain.eq_ignore_ascii_case(domain) {
        return Err(Reply::new(550, "5.7.1", "Relaying denied: not a domain of this host"));
    }
    let unknown = || Reply::new(550, "5.1.1", "No such mailbox here");
    let name = address.local.split('+').next().unwrap_or_default();
    let id: MailboxId = name.parse().map_err(|_| unknown())?;
    match mailboxes.status(id) {
        Some(MailboxStatus::Active) => Ok(id),
        Some(MailboxStatus::Suspended) => Err(Reply::new(450, "4.2.1", "Mailbox takes no mail for now")),
        None => Err(unknown()),
    }
}
