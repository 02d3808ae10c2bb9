//! From a stream of content to sealed records on disk: one copy for each mailbox, all of them or none.

use std::sync::Arc;

use postern_shared::clock::{Clock, UnixMillis};
use postern_shared::crypto::digest::{Digest, sha256};
use postern_shared::crypto::seal::{CHUNK_BYTES, Sealer};
use postern_shared::id::{MailboxId, MessageId, MessageIds};
use postern_shared::proto::mime::trace::{self, Capture, Normalised, Trace};
use serde::Serialize;
use tokio::sync::Semaphore;

use super::authentication::{Arrived, Authentication, Check};
use super::hidden::HeaderCopy;
use super::memory::{MEMORY_BYTES_MAX, Memory, Share};
use super::{
    Envelope, Incoming, Intake, IntakeError, Origin, PreparedMessage, Provenance, Proxied, Recipient,
};
use crate::activity::{Kind, New, activity};
use crate::mailbox::{MailboxError, Receiving, Registry};
use crate::monitoring::metrics;
use crate::spool::{INLINE_BYTES_MAX, LargeFile, NewBody, NewRecord, Spool, SpoolError};

/// Long messages made durable at once; the others wait for them without a thread.
const SYNCS_MAX: usize = 8;

/// The way into the spool.
#[derive(Debug, Clone)]
pub struct SealingIntake {
    parts: Arc<Parts>,
    authentication: Option<Authentication>,
}

#[derive(Debug)]
pub(super) struct Parts {
    registry: Arc<Registry>,
    pub(super) spool: Arc<dyn Spool>,
    pub(super) clock: Arc<dyn Clock>,
    ids: Arc<MessageIds>,
    host_name: String,
    memory: Memory,
    /// One at a time writes a chunk, where it stands: that seldom waits for the disk, and where it does, only one of the
    /// runtime's threads is kept from its other work (there are more, see `cli`).
    writing: Semaphore,
    syncing: Semaphore,
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
        let memory = Memory::new(MEMORY_BYTES_MAX);
        let (writing, syncing) = (Semaphore::new(1), Semaphore::new(SYNCS_MAX));
        let parts = Arc::new(Parts { registry, spool, clock, ids, host_name, memory, writing, syncing });
        Self { parts, authentication: None }
    }

    /// With results of SPF, DKIM, ARC and DMARC among the trace fields.
    #[must_use]
    pub fn with_authentication(self, authentication: Option<Authentication>) -> Self {
        Self { authentication, ..self }
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
                None => {
                    let mut copy = Copy::begin(&self.parts, recipient, received)?;
                    // Every session may have one open chunk; a message to many mailboxes asks for the others.
                    if !copies.is_empty() && !copy.open_chunk.grow_to(&self.parts.memory, CHUNK_BYTES) {
                        return Err(temporary("too many messages to several mailboxes are on their way"));
                    }
                    copies.push(copy);
                }
            }
        }
        let is_journal = provenance.origin == Origin::Journal;
        if !is_journal && copies.len() != 1 {
            return Err(temporary("a message that passes through the proxy goes to one mailbox"));
        }
        let parts = Arc::clone(&self.parts);
        // Of a client, or of a server that had the message before, SPF says nothing.
        let check = self.authentication.as_ref().filter(|_| is_journal).map(Authentication::begin);
        let header = matches!(provenance.origin, Origin::SmtpProxy(_)).then(HeaderCopy::default);
        let mail_from = envelope.mail_from;
        Ok(SealingMessage { parts, mail_from, provenance, received, copies, check, header })
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
    check: Option<Check>,
    /// Of mail that a client sends: who is not named in it.
    header: Option<HeaderCopy>,
}

/// A message sealed, but for what waits for the disk.
struct Finished {
    batch: Vec<NewRecord>,
    messages: Vec<MessageId>,
    content_bytes: u64,
    /// Until it is stored no mailbox may be deleted or change its keys, and the memory is in use.
    receiving: Vec<Receiving>,
    shares: Vec<(Share, Share)>,
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
    open_chunk: Share,
    /// What the sealed chunks that wait here may take.
    share: Share,
    large: Option<LargeFile>,
}

impl Incoming for SealingMessage {
    type Prepared = PreparedMessage;

    fn know_content_sha256(&mut self, sha256: Digest) {
        for copy in &mut self.copies {
            copy.sealer.know_content_sha256(sha256);
        }
    }

    async fn write(&mut self, piece: &[u8]) -> Result<(), IntakeError> {
        if let Some(check) = &mut self.check {
            check.write(piece);
        }
        if let Some(header) = &mut self.header {
            header.write(piece);
        }
        let Parts { memory, writing, spool, .. } = &*self.parts;
        for copy in &mut self.copies {
            let mut rest = piece;
            while !rest.is_empty() {
                rest = &rest[copy.sealer.write(rest).map_err(temporary)?..];
                if copy.must_flush(memory) {
                    let _permit = writing.acquire().await.map_err(temporary)?;
                    copy.flush(&**spool).map_err(refusal)?;
                }
            }
        }
        Ok(())
    }

    async fn commit(self, normalised: Normalised) -> Result<Vec<MessageId>, IntakeError> {
        let parts = Arc::clone(&self.parts);
        let (peer, protocol) = (self.provenance.peer.ip(), self.provenance.protocol);
        let Finished { batch, messages, content_bytes, receiving, shares } =
            self.finish(normalised, false).await?;
        let stored: Vec<_> =
            batch.iter().map(|record| (record.mailbox, record.message, record.sealed.served_bytes)).collect();
        let handed_over = parts.clock.moment();
        parts.spool.append(batch).await.map_err(refusal)?;
        let waited = parts.clock.moment().since(handed_over);
        metrics().message_accepted(messages.len(), content_bytes, waited);
        for (mailbox, message, bytes) in stored {
            let capture = New::of(Kind::Capture, protocol, "stored").from(peer);
            activity().tell(parts.clock.wall(), capture.about(mailbox).message(message, bytes));
        }
        drop((receiving, shares));
        Ok(messages)
    }

    async fn prepare(self, normalised: Normalised) -> Result<PreparedMessage, IntakeError> {
        let parts = Arc::clone(&self.parts);
        if self.provenance.origin == Origin::Journal {
            return Err(temporary("only mail that passes through the proxy is prepared"));
        }
        let Finished { batch, content_bytes, mut receiving, shares, .. } =
            self.finish(normalised, true).await?;
        let of = batch.first().map(|record| (record.mailbox, record.message)).zip(receiving.pop());
        let Some(((mailbox, message), receiving)) = of else {
            return Err(temporary("a message that goes nowhere"));
        };
        let handed_over = parts.clock.moment();
        let stored = parts.spool.append(batch);
        // Whoever waits here may be gone before it is stored; then it is kept.
        let mut prepared = PreparedMessage {
            parts: Arc::clone(&parts),
            mailbox,
            message,
            content_bytes,
            waited: std::time::Duration::ZERO,
            _receiving: receiving,
            decided: false,
        };
        if let Err(error) = stored.await {
            prepared.decided = true;
            return Err(refusal(error));
        }
        prepared.waited = parts.clock.moment().since(handed_over);
        drop(shares);
        Ok(prepared)
    }

    fn content_sha256(&self) -> Digest {
        // All copies have the same.
        self.copies.first().map_or_else(|| sha256(b""), |copy| copy.sealer.content_sha256())
    }
}

impl SealingMessage {
    async fn finish(self, normalised: Normalised, prepared: bool) -> Result<Finished, IntakeError> {
        let Self { parts, mail_from, provenance, received, copies, check, header } = self;
        let authentication = match check {
            Some(check) => check.finish(arrived(&parts, &mail_from, &provenance)).await,
            None => Vec::new(),
        };
        let recipients = copies.first().map_or(&[][..], |copy| &copy.recipients);
        let hidden = header.map(|header| header.hidden(recipients)).unwrap_or_default();
        let about = About {
            parts: &parts,
            mail_from: &mail_from,
            provenance: &provenance,
            received,
            normalised,
            authentication: &authentication,
            hidden: &hidden,
            prepared,
        };
        let content_bytes = copies.first().map_or(0, |copy| copy.sealer.content_bytes());
        let mut messages = Vec::with_capacity(copies.len());
        let mut batch = Vec::with_capacity(copies.len());
        let mut receiving = Vec::with_capacity(copies.len());
        let mut shares = Vec::with_capacity(copies.len());
        for mut copy in copies {
            messages.push(copy.message);
            receiving.push(copy.receiving.clone());
            shares.push((std::mem::take(&mut copy.open_chunk), std::mem::take(&mut copy.share)));
            let _permit = match copy.large {
                Some(_) => Some(parts.syncing.acquire().await.map_err(temporary)?),
                None => None,
            };
            batch.push(copy.finish(&about)?);
        }
        Ok(Finished { batch, messages, content_bytes, receiving, shares })
    }
}

/// What all copies of a message share.
struct About<'m> {
    parts: &'m Parts,
    mail_from: &'m str,
    provenance: &'m Provenance,
    received: UnixMillis,
    normalised: Normalised,
    authentication: &'m [String],
    /// Recipients that the message does not name.
    hidden: &'m [String],
    prepared: bool,
}

impl About<'_> {
    fn capture(&self) -> (Capture, Option<&Proxied>) {
        match &self.provenance.origin {
            Origin::Journal => (Capture::Journal, None),
            Origin::SmtpProxy(proxied) => (Capture::SmtpProxy, Some(proxied)),
            Origin::Pop3Proxy(proxied) => (Capture::Pop3Proxy, Some(proxied)),
        }
    }
}

fn arrived(parts: &Parts, mail_from: &str, provenance: &Provenance) -> Arrived {
    Arrived {
        client: provenance.peer.ip(),
        helo: provenance.helo.clone(),
        mail_from: mail_from.to_owned(),
        host_name: parts.host_name.clone(),
        content: None,
    }
}

impl Copy {
    fn begin(parts: &Parts, recipient: Recipient, received: UnixMillis) -> Result<Self, IntakeError> {
        let Recipient { mailbox, address } = recipient;
        let (receiving, encapsulation) = parts.registry.receive(mailbox).map_err(|error| match error {
            MailboxError::Unknown(_) => IntakeError::MailboxGone { mailbox },
            other => temporary(other),
        })?;
        let message = parts.ids.next(received);
        let sealer = Sealer::new(mailbox, message, &encapsulation);
        Ok(Self {
            mailbox,
            message,
            recipients: if address.is_empty() { Vec::new() } else { vec![address] },
            receiving,
            sealer,
            open_chunk: Share::default(),
            share: Share::default(),
            large: None,
        })
    }

    /// Whether sealed chunks have to leave memory: they belong to a long message, or there is no room for them.
    fn must_flush(&mut self, memory: &Memory) -> bool {
        let sealed = self.sealer.sealed_bytes();
        if self.large.is_some() || self.sealer.content_bytes() > INLINE_BYTES_MAX as u64 {
            return sealed > 0;
        }
        // Every message may have its open chunk; only whole ones count.
        sealed > 0 && !self.share.grow_to(memory, sealed)
    }

    /// Moves what is sealed to the message's own file.
    fn flush(&mut self, spool: &dyn Spool) -> Result<(), SpoolError> {
        let file = match &mut self.large {
            Some(file) => file,
            none => none.insert(spool.large_file(self.mailbox, self.message)?),
        };
        self.sealer.take_sealed(|pieces| file.write(pieces))?;
        self.share = Share::default();
        Ok(())
    }

    fn finish(self, about: &About<'_>) -> Result<NewRecord, IntakeError> {
        let trace = self.trace(about);
        let envelope = SealedEnvelope::of(about, &self.recipients);
        let envelope = serde_json::to_vec(&envelope).map_err(temporary)?;
        let (mailbox, message, received) = (self.mailbox, self.message, about.received);
        let (pieces, sealed) = self.sealer.finish(trace, envelope).map_err(temporary)?;
        let body = match self.large {
            None => NewBody::inline(pieces),
            Some(mut file) => {
                let durable = blocking(|| {
                    file.write(&pieces)?;
                    file.finish(mailbox, message, received, sealed, about.prepared)
                });
                durable.map_err(refusal)?;
                NewBody::Large(file)
            }
        };
        Ok(NewRecord { mailbox, message, received, sealed, body, prepared: about.prepared })
    }

    fn trace(&self, about: &About<'_>) -> Vec<u8> {
        let Provenance { peer, helo, protocol, tls, .. } = about.provenance;
        let (capture, proxied) = about.capture();
        let proxied = proxied.map(|proxied| trace::Proxied {
            account: proxied.account.clone(),
            server: proxied.server.clone(),
            server_tls: proxied.server_tls.clone(),
            uidl: proxied.uidl.clone(),
            bcc: about.hidden.to_vec(),
        });
        trace::write(&Trace {
            id: self.message,
            mailbox: self.mailbox,
            capture,
            proxied,
            unconfirmed: false,
            received_at: about.received,
            mail_from: about.mail_from.to_owned(),
            helo: helo.clone(),
            peer: *peer,
            by: about.parts.host_name.clone(),
            protocol: (*protocol).to_owned(),
            tls: tls.as_ref().map(|tls| (tls.version.clone(), tls.cipher.clone())),
            tls_server_name: tls.as_ref().and_then(|tls| tls.server_name.clone()),
            recipients: self.recipients.clone(),
            normalised: about.normalised,
            authentication: about.authentication.to_vec(),
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
    #[serde(flatten)]
    proxied: Option<SealedProxied<'e>>,
}

/// Of proxied mail, what the trace tells of the proxy.
#[derive(Debug, Serialize)]
struct SealedProxied<'e> {
    capture: &'static str,
    account: &'e str,
    server: &'e str,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_tls: Option<&'e (String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uidl: Option<&'e str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    bcc: &'e [String],
}

impl<'e> SealedEnvelope<'e> {
    fn of(about: &'e About<'e>, recipients: &'e [String]) -> Self {
        let (capture, proxied) = about.capture();
        let proxied = proxied.map(|proxied| SealedProxied {
            capture: capture.as_str(),
            account: &proxied.account,
            server: &proxied.server,
            server_tls: proxied.server_tls.as_ref(),
            uidl: proxied.uidl.as_deref(),
            bcc: about.hidden,
        });
        Self { mail_from: about.mail_from, recipients, proxied }
    }
}

/// Runs what waits for the disk where other sessions do not wait with it.
fn blocking<R>(work: impl FnOnce() -> R) -> R {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

pub(super) fn refusal(error: SpoolError) -> IntakeError {
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
