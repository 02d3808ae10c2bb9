//! A mailbox in memory, with messages of different fates; for tests.

use std::sync::Mutex;

use postern_shared::crypto::keys::PrivateKey;
use postern_shared::id::{MailboxId, MessageId};
use secrecy::{ExposeSecret, SecretString};

use super::maildrop::{Accounts, DeleteError, Entry, LoginError, Maildrops, ReadError, ServedMessage};

pub(super) const PASSWORD: &str = "open sesame";

pub(super) fn mailbox() -> MailboxId {
    MailboxId::from_bytes([0, 0, 0, 0, 0, 0, 0, 0xa])
}

pub(super) struct OneAccount;

impl Accounts for OneAccount {
    fn unlock(&self, user: &str, password: &SecretString) -> Result<(MailboxId, PrivateKey), LoginError> {
        if user.parse() == Ok(mailbox()) && password.expose_secret() == PASSWORD {
            Ok((mailbox(), PrivateKey::generate()))
        } else {
            Err(LoginError::WrongPassword)
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Whole,
    Damaged,
    DamagedInTheMiddle,
    Gone,
}

#[derive(Debug)]
struct Message {
    entry: Entry,
    fate: Fate,
    content: Vec<u8>,
}

#[derive(Debug, Default)]
pub(super) struct InMemory {
    messages: Mutex<Vec<Message>>,
    pub(super) deletes_fail: bool,
}

impl InMemory {
    /// Puts a message in; the first has the id 1.
    pub(super) fn push(&mut self, fate: Fate, content: Vec<u8>) {
        let messages = self.messages.get_mut().unwrap();
        let mut id = [0; 16];
        id[15] = u8::try_from(messages.len() + 1).unwrap();
        let entry = Entry { id: MessageId::from_bytes(id), served_bytes: content.len() as u64 };
        messages.push(Message { entry, fate, content });
    }

    /// Adds a line to the message put in last.
    pub(super) fn push_line(&mut self, line: &str) {
        let message = self.messages.get_mut().unwrap().last_mut().expect("a message before its lines");
        message.content.extend_from_slice(format!("{line}\r\n").as_bytes());
        message.entry.served_bytes = message.content.len() as u64;
    }

    /// The numbers of the messages that are there.
    pub(super) fn left(&self) -> Vec<u8> {
        self.messages.lock().unwrap().iter().map(|message| message.entry.id.to_bytes()[15]).collect()
    }
}

pub(super) struct Pieces {
    id: MessageId,
    content: Vec<u8>,
    at: usize,
    fate: Fate,
}

impl ServedMessage for Pieces {
    fn next_piece(&mut self) -> Result<Option<&[u8]>, ReadError> {
        // More than the driver collects before it sends, so that the fault comes amid the content.
        if self.fate == Fate::DamagedInTheMiddle && self.at > 100_000 {
            return Err(ReadError::Damaged { id: self.id, what: "a hole".into() });
        }
        // Odd and small, so that borders fall everywhere; but long messages would take too long that way.
        let piece = if self.content.len() < 1_000_000 { 7 } else { 65_536 };
        let start = self.at;
        self.at = self.content.len().min(start + piece);
        Ok((start < self.at).then(|| &self.content[start..self.at]))
    }
}

impl Maildrops for InMemory {
    type Message = Pieces;

    fn snapshot(&self, of: MailboxId) -> Vec<Entry> {
        assert_eq!(of, mailbox());
        self.messages.lock().unwrap().iter().map(|message| message.entry).collect()
    }

    fn open(&self, _: MailboxId, id: MessageId, _: &PrivateKey) -> Result<Pieces, ReadError> {
        let messages = self.messages.lock().unwrap();
        match messages.iter().find(|message| message.entry.id == id) {
            None | Some(Message { fate: Fate::Gone, .. }) => Err(ReadError::Gone { id }),
            Some(Message { fate: Fate::Damaged, .. }) => {
                Err(ReadError::Damaged { id, what: "segment 7 at byte 9".into() })
            }
            Some(Message { fate, content, .. }) => {
                Ok(Pieces { id, content: content.clone(), at: 0, fate: *fate })
            }
        }
    }

    async fn delete(&self, mailbox: MailboxId, ids: &[MessageId]) -> Result<(), DeleteError> {
        tokio::task::yield_now().await;
        if self.deletes_fail {
            return Err(DeleteError { mailbox, what: "disk full".into() });
        }
        self.messages.lock().unwrap().retain(|message| !ids.contains(&message.entry.id));
        Ok(())
    }
}
