//! What the index gets of one message.
//!
//! A message may hold hundreds of documents, each made to hold up whoever reads it. So there is a bound for all of them together: what
//! is not read by then is marked, and the next message has its turn.

use std::collections::{BTreeSet, HashSet};
use std::sync::PoisonError;
use std::time::Duration;

use postern_shared::id::MessageId;

use crate::archive::catalog::Row;
use crate::archive::index::{Document, Hidden, guarded};
use crate::archive::message::{AddressEvidence, AttachmentText, IndexFields};
use crate::archive::reader::copy_content;
use crate::archive::search::seconds;
use crate::archive::stores::{Attached, Store};
use crate::archive::{ArchiveError, Instance, StoreError};

/// A longer message is indexed by its beginning.
const READ_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Of messages longer than this, one is read at a time.
const LONG_BYTES_MIN: u64 = 4 * 1024 * 1024;
/// Text of all attachments of a message.
const ATTACHED_TEXT_MAX: usize = 4 * 1024 * 1024;
/// For all documents of a message; one that is being read is read to its own end.
const DOCUMENTS_PATIENCE: Duration = Duration::from_secs(60);
/// Documents of a message that may break their reader.
const BREAKING_MAX: usize = 3;

/// Makes text of documents.
pub trait DocumentReader: std::fmt::Debug + Send + Sync {
    /// The text of the document `name`, or as much as can be had of it. Returns soon after `ended` says that nobody waits for it.
    fn read(&self, name: &str, octets: &[u8], ended: &dyn Fn() -> bool) -> Result<AttachmentText, NotRead>;
}

/// Why a document was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotRead {
    /// Nobody waits for it any more.
    Ended,
    /// It broke its reader, or took too long. Why.
    Broken(String),
    /// Nothing can be read at present. Why.
    NotNow(String),
}

/// Why a message was not indexed.
#[derive(Debug)]
pub(super) enum Halt {
    Ended,
    Failed(ArchiveError),
}

impl<E: Into<ArchiveError>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Instance {
    /// What the index gets of a message; one that cannot be read is still found by its place and date.
    pub(super) fn document(
        &self,
        attached: &Attached,
        seq: u64,
        id: MessageId,
        ended: &dyn Fn() -> bool,
    ) -> Result<Option<Document>, Halt> {
        let catalog = attached.store.catalog();
        let Some(row) = catalog.row(seq, None)? else { return Ok(None) };
        let participants = catalog.participants(seq)?;
        let fields = match attached.take_fresh(id) {
            Some(fields) => fields,
            None => {
                let extracted = guarded(|| self.extracted(attached, id, &row, ended));
                match extracted.unwrap_or_else(|panic| Err(Halt::Failed(panic))) {
                    Ok(fields) => fields,
                    Err(Halt::Failed(error)) if !passes(&error) => {
                        tracing::error!(id = %id, %error, "a message cannot be indexed");
                        by_its_row(&row)
                    }
                    Err(halt) => return Err(halt),
                }
            }
        };
        let bcc = self.hidden(&participants, &fields);
        let date = seconds(&row);
        Ok(Some(Document { seq, id, date, size: row.bytes, filed_in: row.folders, bcc, fields }))
    }

    fn extracted(
        &self,
        attached: &Attached,
        id: MessageId,
        row: &Row,
        ended: &dyn Fn() -> bool,
    ) -> Result<IndexFields, Halt> {
        let _one = (row.bytes > LONG_BYTES_MIN)
            .then(|| attached.reading_long.lock().unwrap_or_else(PoisonError::into_inner));
        let mut content = Vec::new();
        copy_content(&attached.store, id, &mut |piece| {
            // More is not looked at; see `intake::extract`.
            let room = READ_BYTES_MAX.saturating_sub(content.len());
            content.extend_from_slice(&piece[..piece.len().min(room)]);
            Ok(())
        })?;
        let report = bounded_report(&attached.store, id)?;
        let mut fields = (self.extract)(&content, report.as_deref());
        drop((content, report));
        self.read_documents(&mut fields, ended)?;
        Ok(fields)
    }

    /// Has the text of attached documents read.
    fn read_documents(&self, fields: &mut IndexFields, ended: &dyn Fn() -> bool) -> Result<(), Halt> {
        let started = self.stores.moment();
        let (mut room, mut breaking) = (ATTACHED_TEXT_MAX, 0);
        for attachment in &mut fields.attachments {
            if let AttachmentText::Document(octets) = &mut attachment.text {
                let octets = octets.take();
                let late =
                    self.stores.moment().since(started) >= DOCUMENTS_PATIENCE || breaking >= BREAKING_MAX;
                attachment.text = match (self.following.documents.get(), octets) {
                    _ if late => AttachmentText::Missing("reading this message's files took too long".into()),
                    (Some(reader), Some(octets)) => match reader.read(&attachment.name, &octets, ended) {
                        Ok(text) => text,
                        Err(NotRead::Broken(why)) => {
                            breaking += 1;
                            AttachmentText::Missing(why)
                        }
                        Err(NotRead::NotNow(why)) => return Err(ArchiveError::IndexWaits(why).into()),
                        Err(NotRead::Ended) => return Err(Halt::Ended),
                    },
                    _ => AttachmentText::Missing("nothing here reads documents".into()),
                };
            }
            bound(&mut attachment.text, &mut room);
        }
        Ok(())
    }

    /// Who received it without being named in it, and who may know.
    fn hidden(&self, participants: &[AddressEvidence], fields: &IndexFields) -> Vec<Hidden> {
        let header = [&fields.from, &fields.to, &fields.cc].map(|text| text.to_lowercase());
        let named: HashSet<&str> =
            header.iter().flat_map(|text| text.split([' ', ',', '<', '>', '"', '\'', ';'])).collect();
        let senders: BTreeSet<String> = participants
            .iter()
            .filter(|who| who.role == "sender")
            .filter_map(|who| self.owner(&who.address))
            .collect();
        let mut seen = HashSet::new();
        let unnamed = participants.iter().filter(|who| {
            who.role != "sender" && !named.contains(who.address.as_str()) && seen.insert(who.address.as_str())
        });
        let hidden = unnamed.map(|who| {
            let known_to = senders.iter().cloned().chain(self.owner(&who.address)).collect();
            Hidden { address: who.address.clone(), known_to }
        });
        hidden.collect()
    }
}

/// Whether it may be otherwise in a while. What the disk or a key has lost stays so, and is told by `verify`.
fn passes(error: &ArchiveError) -> bool {
    use std::io::ErrorKind;
    match error {
        ArchiveError::IndexWaits(_) | ArchiveError::Catalog(_) => true,
        ArchiveError::Store(StoreError::Io { source, .. }) => {
            // Too many open files, and no memory.
            matches!(source.raw_os_error(), Some(23 | 24 | 12))
                || matches!(
                    source.kind(),
                    ErrorKind::Interrupted | ErrorKind::TimedOut | ErrorKind::WouldBlock
                )
        }
        _ => false,
    }
}

fn by_its_row(row: &Row) -> IndexFields {
    IndexFields {
        subject: row.subject.clone(),
        from: row.from.clone(),
        to: row.to.clone(),
        missing: Some("the message cannot be read".into()),
        ..IndexFields::default()
    }
}

/// Takes what is over the bound of all attachments away, and says so.
fn bound(text: &mut AttachmentText, room: &mut usize) {
    if let AttachmentText::Text(found) | AttachmentText::Part(found, _) = text {
        if found.len() > *room {
            found.truncate(found.floor_char_boundary(*room));
            let why =
                format!("what follows the first {} MB of all attached files' text", ATTACHED_TEXT_MAX >> 20);
            *room -= found.len();
            *text = AttachmentText::Part(std::mem::take(found), why);
        } else {
            *room -= found.len();
        }
    }
}

/// The journal report, unless it is long: then a decrypted copy in it is not looked for.
fn bounded_report(store: &Store, id: MessageId) -> Result<Option<Vec<u8>>, ArchiveError> {
    let opened = store.opened(id)?.ok_or_else(|| ArchiveError::NoMessage(id.to_string()))?;
    let mut report = Vec::new();
    let mut whole = true;
    let found = store.copy_report(&opened, &mut |piece| {
        whole &= report.len() + piece.len() <= READ_BYTES_MAX;
        if whole {
            report.extend_from_slice(piece);
        }
        Ok(())
    })?;
    Ok((found && whole).then_some(report))
}
