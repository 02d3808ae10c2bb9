//! The spool and the registry as this room wants them: messages opened with the session's key, trace fields first, and
//! before those the field that says that a message is unconfirmed; the sizes the spool lists include it.

use std::sync::Arc;

use postern_shared::crypto::keys::PrivateKey;
use postern_shared::crypto::seal::{OpenError, Opener};
use postern_shared::id::{MailboxId, MessageId};
use postern_shared::proto::mime::trace::UNCONFIRMED;
use secrecy::SecretString;

use super::maildrop::{Accounts, DeleteError, Entry, LoginError, Maildrops, ReadError, ServedMessage};
use crate::mailbox::Registry;
use crate::spool::{Damage, SealedBody, Spool, SpoolError};

impl Accounts for Registry {
    fn unlock(&self, user: &str, password: &SecretString) -> Result<(MailboxId, PrivateKey), LoginError> {
        Self::unlock(self, user, password).ok_or(LoginError::WrongPassword)
    }
}

/// Maildrops in the spool.
#[derive(Debug)]
pub struct SpooledMaildrops {
    spool: Arc<dyn Spool>,
}

impl SpooledMaildrops {
    /// What that spool holds.
    pub fn new(spool: Arc<dyn Spool>) -> Self {
        Self { spool }
    }
}

impl Maildrops for SpooledMaildrops {
    type Message = SpooledMessage;

    fn snapshot(&self, mailbox: MailboxId) -> Vec<Entry> {
        let entries = self.spool.entries(mailbox);
        entries
            .into_iter()
            .map(|entry| Entry { id: entry.message, served_bytes: entry.served_bytes })
            .collect()
    }

    fn open(&self, mailbox: MailboxId, id: MessageId, key: &PrivateKey) -> Result<SpooledMessage, ReadError> {
        let body = self.spool.open(mailbox, id).map_err(|error| match error {
            SpoolError::Gone { .. } => ReadError::Gone { id },
            other => ReadError::Io { id, what: other.to_string() },
        })?;
        let (expected, served_bytes) = (body.expected(), body.served_bytes());
        let unconfirmed = body.is_unconfirmed();
        let place = Place { spool: Arc::clone(&self.spool), id, damage: body.damage("") };
        let opener = Opener::new(body, expected, key).map_err(|error| place.error(&error))?;
        if opener.trailer().served_bytes() != served_bytes {
            return Err(place.damaged("the record gives another size than the sealed message".into()));
        }
        let before = if unconfirmed { UNCONFIRMED } else { &[] };
        let trace = [before, &opener.trailer().trace_fields].concat();
        Ok(SpooledMessage { place, opener, trace, trace_sent: false })
    }

    async fn delete(&self, mailbox: MailboxId, ids: &[MessageId]) -> Result<(), DeleteError> {
        let deleted = self.spool.delete(mailbox, ids).await;
        deleted.map_err(|error| DeleteError { mailbox, what: error.to_string() })
    }
}

/// A message of the spool, being read.
#[derive(Debug)]
pub struct SpooledMessage {
    place: Place,
    opener: Opener<SealedBody>,
    trace: Vec<u8>,
    trace_sent: bool,
}

impl ServedMessage for SpooledMessage {
    fn next_piece(&mut self) -> Result<Option<&[u8]>, ReadError> {
        if !std::mem::replace(&mut self.trace_sent, true) && !self.trace.is_empty() {
            return Ok(Some(&self.trace));
        }
        let Self { place, opener, .. } = self;
        opener.next_chunk().map_err(|error| place.error(&error))
    }
}

/// Where a message lies, and who is told when it cannot be opened.
#[derive(Debug)]
struct Place {
    spool: Arc<dyn Spool>,
    id: MessageId,
    damage: Damage,
}

impl Place {
    fn error(&self, error: &OpenError) -> ReadError {
        match error {
            OpenError::Io(source) if source.kind() != std::io::ErrorKind::UnexpectedEof => {
                ReadError::Io { id: self.id, what: self.with(error.to_string()).to_string() }
            }
            _ => self.damaged(error.to_string()),
        }
    }

    /// Also for `status` and `doctor`: at start only headers are read, so nobody knows yet.
    fn damaged(&self, what: String) -> ReadError {
        let damage = self.with(what);
        let what = damage.to_string();
        self.spool.report(damage);
        ReadError::Damaged { id: self.id, what }
    }

    fn with(&self, what: String) -> Damage {
        Damage { what, ..self.damage.clone() }
    }
}
