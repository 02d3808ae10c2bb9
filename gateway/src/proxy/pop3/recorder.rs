//! Records the messages of one session, each once.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use postern_shared::crypto::digest::Digest;
use postern_shared::disk::Disk;
use postern_shared::id::MailboxId;
use postern_shared::proto::mime::trace::Normalised;
use postern_shared::proto::pop3::UidlToken;

use super::machine::Unrecorded;
use super::message::{About, Held};
use super::seen::{Claim, Claimed, Seen, Table};
use crate::intake::{Envelope, Incoming, Intake, IntakeError, Origin, Provenance, Proxied, Recipient};
use crate::listen::TlsDetails;
use crate::monitoring::{self, ProxyProtocol, metrics};
use crate::smtp_receiver::{Mailboxes, takes};

/// Whose messages they are, and how they come.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// Where copies go.
    pub(super) mailbox: MailboxId,
    /// `user%host`.
    pub(super) account: String,
    /// `host:port`.
    pub(super) server: String,
    pub(super) server_tls: Option<(String, String)>,
    pub(super) client: SocketAddr,
    pub(super) tls: Option<TlsDetails>,
}

/// What all sessions record with.
#[derive(Debug)]
pub struct Recording<I> {
    /// The way into the spool.
    pub intake: I,
    /// What was recorded before.
    pub seen: Seen,
    /// Which mailboxes take mail.
    pub mailboxes: Arc<dyn Mailboxes>,
    /// The spool's file system: what is announced must fit.
    pub disk: Arc<dyn Disk>,
    /// Where that is.
    pub data_dir: PathBuf,
    /// What must stay free.
    pub reserve_bytes: u64,
}

/// Why a message was not recorded; for the log.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Intake(#[from] IntakeError),
    #[error("{0}")]
    NotTaken(&'static str),
    #[error("the disk has no room for {octets} octets")]
    NoRoom { octets: u64 },
}

/// Records what one session streams, one message at a time; what it holds, its [`Copier`] records.
#[derive(Debug)]
pub(super) struct Recorder<I: Intake> {
    copier: Arc<Copier<I>>,
    incoming: Option<I::Incoming>,
    octets: u64,
}

/// Makes the copies of one session.
#[derive(Debug)]
pub(super) struct Copier<I> {
    recording: Arc<Recording<I>>,
    table: Arc<Table>,
    source: Source,
    recorded: AtomicU64,
}

impl<I: Intake> Recorder<I> {
    pub(super) fn new(recording: Arc<Recording<I>>, source: Source) -> Self {
        let table = recording.seen.table(source.mailbox);
        let copier = Copier { recording, table, source, recorded: AtomicU64::new(0) };
        Self { copier: Arc::new(copier), incoming: None, octets: 0 }
    }

    /// What records messages that are all there.
    pub(super) fn copier(&self) -> &Arc<Copier<I>> {
        &self.copier
    }

    /// A message begins that will be recorded while it comes.
    pub(super) fn begin(&mut self, about: &About) -> Result<(), Unrecorded> {
        self.octets = 0;
        let octets = about.announced_octets.unwrap_or(0);
        let Recording { disk, data_dir, reserve_bytes, .. } = &*self.copier.recording;
        let begun = match disk.free_bytes(data_dir) {
            Ok(free) if free < octets.saturating_add(*reserve_bytes) => Err(Failure::NoRoom { octets }),
            _ => self.copier.take(about),
        };
        self.incoming = Some(begun.map_err(|failure| self.copier.failed(about, &failure))?);
        Ok(())
    }

    /// The next piece of it.
    pub(super) async fn write(&mut self, piece: &[u8]) -> Result<(), Unrecorded> {
        let Some(incoming) = &mut self.incoming else { return Ok(()) };
        self.octets += piece.len() as u64;
        if let Err(error) = incoming.write(piece).await {
            self.incoming = None;
            let Source { account, server, .. } = &self.copier.source;
            tracing::error!(%account, %server, %error, "a message could not be recorded while it came");
            metrics().proxied(ProxyProtocol::Pop3, monitoring::Proxied::Failed);
            return Err(Unrecorded);
        }
        Ok(())
    }

    /// That was all of it. `Ok` once it is on disk.
    pub(super) async fn finish(&mut self, about: &About, sha256: Digest) -> Result<(), Unrecorded> {
        let incoming = self.incoming.take().ok_or(Unrecorded)?;
        let copier = &*self.copier;
        let claimed = match copier.claim(about, sha256).await {
            // What came is dropped, and leaves nothing behind.
            Claim::Known => return copier.is_known(about),
            Claim::Free(claimed) => claimed,
        };
        copier.commit(incoming, self.octets).await.map_err(|failure| copier.failed(about, &failure))?;
        copier.is_recorded(claimed);
        Ok(())
    }

    /// Nothing of what came is recorded.
    pub(super) fn abandon(&mut self) {
        self.incoming = None;
    }

    /// A message goes by that is longer than any that is recorded.
    pub(super) fn too_long(&self, about: &About) {
        let why = Failure::NotTaken("it is longer than any message that is recorded");
        let _ = self.copier.failed(about, &why);
    }
}

impl<I: Intake> Copier<I> {
    /// Records a message that is all there, unless it is known. `Ok` once it is on disk.
    pub(super) async fn record(&self, about: &About, sha256: Digest, held: &Held) -> Result<(), Unrecorded> {
        let claimed = match self.claim(about, sha256).await {
            Claim::Known => return self.is_known(about),
            Claim::Free(claimed) => claimed,
        };
        let written = async {
            let mut incoming = self.take(about)?;
            let mut octets = 0;
            for piece in held.content() {
                octets += piece.len() as u64;
                incoming.write(piece).await?;
            }
            self.commit(incoming, octets).await
        };
        written.await.map_err(|failure| self.failed(about, &failure))?;
        self.is_recorded(claimed);
        Ok(())
    }

    /// How many copies were made.
    pub(super) fn recorded(&self) -> u64 {
        self.recorded.load(Ordering::Relaxed)
    }

    async fn claim(&self, about: &About, sha256: Digest) -> Claim {
        let Source { mailbox, account, .. } = &self.source;
        let entry = self.recording.seen.entry(*mailbox, account, about.uidl.as_ref(), sha256);
        self.table.claim(entry).await
    }

    fn check(&self, octets: u64) -> Result<(), Failure> {
        takes(self.source.mailbox, octets, &*self.recording.mailboxes).map_err(Failure::NotTaken)
    }

    fn take(&self, about: &About) -> Result<I::Incoming, Failure> {
        self.check(about.announced_octets.unwrap_or(0))?;
        let Source { mailbox, account, server, server_tls, client, tls } = self.source.clone();
        // Whom the message was sent to is not known; whose maildrop it was in, the account tells.
        let recipients = vec![Recipient { mailbox, address: String::new() }];
        let uidl = about.uidl.as_ref().map(UidlToken::to_string);
        let provenance = Provenance {
            peer: client,
            helo: String::new(),
            protocol: "POP3S",
            tls,
            origin: Origin::Pop3Proxy(Proxied { account, server, server_tls, uidl }),
        };
        Ok(self.recording.intake.begin(Envelope { mail_from: String::new(), recipients }, provenance)?)
    }

    async fn commit(&self, incoming: I::Incoming, octets: u64) -> Result<(), Failure> {
        self.check(octets)?;
        // The server's octets are kept as they are: whatever stands in a line, only CRLF ended one.
        let messages = incoming.commit(Normalised::default()).await?;
        let Source { mailbox, account, server, .. } = &self.source;
        let id = messages.first().ok_or(Failure::NotTaken("it went to no mailbox"))?;
        tracing::info!(%id, %mailbox, %account, %server, octets, "fetched message on disk");
        Ok(())
    }

    fn is_recorded(&self, claimed: Claimed) {
        claimed.recorded();
        self.recorded.fetch_add(1, Ordering::Relaxed);
        metrics().proxied(ProxyProtocol::Pop3, monitoring::Proxied::Recorded);
        metrics().proxy.account_message(&self.source.account);
    }

    fn is_known(&self, about: &About) -> Result<(), Unrecorded> {
        let Source { account, server, .. } = &self.source;
        tracing::debug!(%account, %server, number = %about.number, "message known");
        metrics().proxied(ProxyProtocol::Pop3, monitoring::Proxied::Known);
        Ok(())
    }

    fn failed(&self, about: &About, why: &Failure) -> Unrecorded {
        let Source { mailbox, account, server, .. } = &self.source;
        let number = about.number;
        let uidl = about.uidl.as_ref().map(UidlToken::as_str);
        tracing::error!(%mailbox, %account, %server, %number, uidl, %why, "a fetched message could not be recorded");
        metrics().proxied(ProxyProtocol::Pop3, monitoring::Proxied::Failed);
        Unrecorded
    }
}
