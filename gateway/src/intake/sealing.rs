//! From a stream of content to sealed records on disk: one copy for each mailbox, all of them or none.

use std::sync::Arc;

use postern_shared::clock::{Clock, UnixMillis};
use postern_shared::crypto::seal::Sealer;
use postern_shared::id::{MailboxId, MessageId, MessageIds};
use postern_shared::proto::mime::trace::{self, Capture, Normalised, Trace};
use serde::Serialize;

use super::{Envelope, Incoming, Intake, IntakeError, Provenance, Recipient};
use crate::mailbox::{MailboxError, Receiving, Registry};
use crate::monitoring::metrics;
use crate::spool::{INLINE_BYTES_MAX, LargeFile, NewBody, NewRecord, Spool, SpoolError};

/// Sealed bytes of a long message are handed to the disk in pieces of at least this size.
const FLUSH_BYTES_MIN: usize = 256 * 1024;

/// The way into the spool.
#[derive(Debug, Clone)]
pub struct SealingIntake {
    parts: Arc<Parts>,
}

#[derive(Debug)]
struct Parts {
    registry: Arc<Registry>,
    spool: Arc<dyn Spool>,
    clock: Arc<dyn Clock>,
    ids: Arc<MessageIds>,
    host_name: String,
}

impl SealingIntake {
    /// An intake that names itself `host_name` in trace fields.
    pub fn new(
        registry: Arc<Registry>,
        spool: Arc<dyn Spool>,
        clock: Arc<dyn Clock>,
        ids: Arc<MessageIds>,
        host_name: String,
    ) -> Self {
        Self { parts: Arc::new(Parts { registry, spool, clock, ids, host_name }) }
    }
}

impl Intake for SealingIntake {
    type Incoming = SealingMessage;

    fn begin(&self, envelope: Envelope, provenance: Provenance) -> Result<SealingMessage, IntakeError> {
        let received = self.parts.clock.wall();
        let mut copies: Vec<Copy> = Vec::new();
        for recipient in envelope.recipients {
            match copies.iter_mut().find(|copy| copy.mailbox == recipient.mailbox) {
                Some(copy) => copy.recipients.push(recipient.address),
                None => copies.push(Copy::begin(&self.parts, recipient, received)?),
            }
        }
        let parts = Arc::clone(&self.parts);
        Ok(SealingMessage { parts, mail_from: envelope.mail_from, provenance, received, copies })
    }
}

/// A message on its way into the spool. Dropped before it is committed, it leaves nothing behind.
#[derive(Debug)]
pub struct SealingMessage {
    parts: Arc<Parts>,
    mail_from: String,
    provenance: Provenance,
    received: UnixMillis,
    copies: Vec<Copy>,
}

/// The copy for one mailbox. It names this mailbox's recipients only: mailboxes may belong to strangers.
#[derive(Debug)]
struct Copy {
    mailbox: MailboxId,
    message: MessageId,
    recipients: Vec<String>,
    /// Keeps the mailbox's keys until the message is on disk.
    receiving: Receiving,
    sealer: Sealer,
    sealed: Vec<u8>,
    large: Option<LargeFile>,
}

impl Incoming for SealingMessage {
    async fn write(&mut self, piece: &[u8]) -> Result<(), IntakeError> {
        for copy in &mut self.copies {
            copy.sealer.write(piece, &mut copy.sealed).map_err(temporary)?;
            if copy.sealer.content_bytes() > INLINE_BYTES_MAX as u64 && copy.sealed.len() >= FLUSH_BYTES_MIN {
                let spool = &*self.parts.spool;
                blocking(|| copy.flush(spool)).map_err(refusal)?;
            }
        }
        Ok(())
    }

    async fn commit(self, normalised: Normalised) -> Result<Vec<MessageId>, IntakeError> {
        let Self { parts, mail_from, provenance, received, copies } = self;
        let about =
            About { parts: &parts, mail_from: &mail_from, provenance: &provenance, received, normalised };
        let content_bytes = copies.first().map_or(0, |copy| copy.sealer.content_bytes());
        let mut messages = Vec::with_capacity(copies.len());
        let mut batch = Vec::with_capacity(copies.len());
        let mut receiving = Vec::with_capacity(copies.len());
        for copy in copies {
            messages.push(copy.message);
            receiving.push(copy.receiving.clone());
            batch.push(copy.finish(&about)?);
        }
        let handed_over = parts.clock.moment();
        parts.spool.append(batch).await.map_err(refusal)?;
        let waited = parts.clock.moment().since(handed_over);
        metrics().message_accepted(messages.len(), content_bytes, waited);
        // Until here no mailbox could be deleted or change its keys.
        drop(receiving);
        Ok(messages)
    }
}

/// What all copies of a message share.
struct About<'m> {
    parts: &'m Parts,
    mail_from: &'m str,
    provenance: &'m Provenance,
    received: UnixMillis,
    normalised: Normalised,
}

impl Copy {
    fn begin(parts: &Parts, recipient: Recipient, received: UnixMillis) -> Result<Self, IntakeError> {
        let Recipient { mailbox, address } = recipient;
        let receiving = parts.registry.receive(mailbox).map_err(|error| match error {
            MailboxError::Unknown(_) => IntakeError::MailboxGone { mailbox },
            other => temporary(other),
        })?;
        let message = parts.ids.next(received);
        let mut sealed = Vec::new();
        let sealer = Sealer::new(mailbox, message, receiving.recipients(), &mut sealed);
        Ok(Self { mailbox, message, recipients: vec![address], receiving, sealer, sealed, large: None })
    }

    /// Moves what is sealed to the message's own file.
    fn flush(&mut self, spool: &dyn Spool) -> Result<(), SpoolError> {
        let file = match &mut self.large {
            Some(file) => file,
            none => none.insert(spool.large_file(self.mailbox, self.message)?),
        };
        file.write(&self.sealed)?;
        self.sealed.clear();
        Ok(())
    }

    fn finish(mut self, about: &About<'_>) -> Result<NewRecord, IntakeError> {
        let trace = self.trace(about);
        let envelope = SealedEnvelope { mail_from: about.mail_from, recipients: &self.recipients };
        let envelope = serde_json::to_vec(&envelope).map_err(temporary)?;
        let (mailbox, message, received) = (self.mailbox, self.message, about.received);
        let sealed = self.sealer.finish(trace, envelope, &mut self.sealed).map_err(temporary)?;
        let body = match self.large {
            None => NewBody::Inline(self.sealed),
            Some(mut file) => {
                let durable = blocking(|| {
                    file.write(&self.sealed)?;
                    file.finish(mailbox, message, received, sealed)
                });
                durable.map_err(refusal)?;
                NewBody::Large(file)
            }
        };
        Ok(NewRecord { mailbox, message, received, sealed, body })
    }

    fn trace(&self, about: &About<'_>) -> Vec<u8> {
        let Provenance { peer, helo, protocol, tls } = about.provenance;
        trace::write(&Trace {
            id: self.message,
            mailbox: self.mailbox,
            capture: Capture::Journal,
            received_at: about.received,
            mail_from: about.mail_from.to_owned(),
            helo: helo.clone(),
            peer: *peer,
            by: about.parts.host_name.clone(),
            protocol: (*protocol).to_owned(),
            tls: tls.as_ref().map(|tls| (tls.version.clone(), tls.cipher.clone())),
            recipients: self.recipients.clone(),
            normalised: about.normalised,
            content_bytes: self.sealer.content_bytes(),
            content_sha256: self.sealer.content_sha256(),
        })
    }
}

/// The envelope as it is sealed behind the content: for those who hold the key and want more than the trace tells.
#[derive(Debug, Serialize)]
struct SealedEnvelope<'e> {
    mail_from: &'e str,
    recipients: &'e [String],
}

/// Runs what waits for the disk where other sessions do not wait with it.
fn blocking<R>(work: impl FnOnce() -> R) -> R {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

fn refusal(error: SpoolError) -> IntakeError {
    match error {
        SpoolError::Full { free_bytes, needed_bytes } => IntakeError::Full { free_bytes, needed_bytes },
        SpoolError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            IntakeError::Full { free_bytes: 0, needed_bytes: 0 }
        }
        other => temporary(other),
    }
}

fn temporary(error: impl std::fmt::Display) -> IntakeError {
    IntakeError::Temporary { reason: error.to_string() }
}
