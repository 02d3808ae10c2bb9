//! The spool: where sealed mail waits, durably, until an archiver has pulled it.
//!
//! Everything a crash can interrupt is behind the [`Spool`] trait; [`SegmentSpool`] is its one implementation.
//!
//! # On disk (integers big-endian)
//!
//! ```text
//! spool/segments/<16 hex digits>.seg     records of all mailboxes, in order of arrival; append-only
//! spool/segments/prepared.<number>       zeros, to become a segment
//! spool/large/<message id>-<mailbox>.msg one sealed message above 256 KiB each
//!
//! segment = segment header, record*, zeros in space that was prepared and is not used yet
//!
//! segment header, 32 bytes
//!   0   8  magic "PSTNSEG1"
//!   8   8  number of this segment (as in its name)
//!  16   8  octets of the segment before this one that count; what lies behind them was never acknowledged
//!  24   4  zero
//!  28   4  CRC-32C of bytes 0..28
//!
//! record = record header, body
//!
//! record header, 68 bytes
//!   0   4  magic "PSR1"
//!   4   1  kind: 1 message, 2 reference to a large file, 3 tombstone, 4 mark that a prepared message is committed
//!   5   1  flags: bit 0 of kinds 1 and 2, prepared: written before it was known whether the message counts; others zero
//!   6   2  zero
//!   8   8  mailbox id
//!  16  16  message id
//!  32   8  time of arrival (kinds 1 and 2), of this record (kinds 3 and 4), milliseconds since 1970
//!  40   8  octets that serving the message takes, 0 (kinds 3 and 4)
//!  48   8  octets of the sealed message: of the body (kind 1), of the large file's message (kind 2), 0 (kinds 3 and 4)
//!  56   4  octets of its sealed trailer, 0 (kinds 3 and 4)
//!  60   4  CRC-32C of the body (kind 1), of the large file's message (kind 2; 0 before that was kept), 0 (kinds 3 and 4)
//!  64   4  CRC-32C of bytes 0..64
//!
//! body = the sealed message (kind 1), nothing (kinds 2, 3 and 4); see `postern_shared::crypto::seal`
//!
//! large file = the sealed message, then a record header of kind 2: the same 68 bytes as in the segment
//! ```
//!
//! # Prepared messages
//!
//! The proxy stores its copy of a message before another server is asked to take it, and decides
//! afterwards. Its record has the flag *prepared*, and until the decision nobody is shown it:
//!
//! | decision | on disk | from then on |
//! |---|---|---|
//! | [`Spool::confirm`] | a mark, kind 4 | a message like any other |
//! | [`Spool::delete`] | a tombstone | gone |
//! | [`Spool::keep_unconfirmed`], or a restart | nothing | shown, marked unconfirmed, until it is deleted |
//!
//! A message is committed when any record of its id has no flag, or any mark speaks of it, wherever they lie; it is deleted
//! when a tombstone does, whatever else there is; it is unconfirmed otherwise. When a committed one is moved, the flag is
//! left off. Marks are moved as tombstones are, while an older segment exists. The footer of a large file is never written
//! again: it counts only where the file's record is lost, and then a message whose mark was swept is unconfirmed again.
//! A segment without flags and marks is as it was before there were any; to versions before that, records with them are
//! damage.
//!
//! Promises
//! - [`Spool::append`] resolves to `Ok` only when every record of the batch, and every large file it refers to, would
//!   survive a power cut. After an error none of them is served, now or after a restart.
//! - A prepared message that was stored is never lost undecided; a confirmed one stays confirmed, one that was deleted gone.
//! - One sync serves all batches that wait for it (group commit), whatever their mailboxes.
//! - A torn tail is cut at start. Damage inside a segment costs only the records it touches; it is reported with file
//!   and offset, and what lies behind it is served.
//! - A plain copy of the directory taken at any moment restores to everything acknowledged before the copy began:
//!   nothing is removed before a grace period has passed, records are found by scanning, double ids are folded,
//!   a reference whose file is missing is reported and left out, a whole large file without reference is adopted.
//! - No key is here: whoever reads the disk learns mailbox, time and size.
//!
//! Not here: sealing (`intake`), who may read (`pop3_server`), which mailboxes exist (`mailbox`).

mod catalog;
mod commits;
mod large;
mod layout;
#[cfg(test)]
mod power_cut;
mod prepare;
mod reader;
mod recover;
mod segment;
mod settled;
mod sweep;
#[cfg(test)]
mod tests;
mod writer;

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use postern_shared::clock::UnixMillis;
use postern_shared::crypto::seal::Sealed;
pub use postern_shared::disk::Damage;
use postern_shared::id::{MailboxId, MessageId};

pub use large::LargeFile;
pub use reader::SealedBody;
pub use segment::SegmentSpool;
pub use settled::settled_bytes;

/// Content above this many octets streams to a file of its own instead of waiting in memory.
pub const INLINE_BYTES_MAX: usize = 256 * 1024;

/// How a spool behaves; the defaults suit a server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A segment that has reached this size is closed and a new one begun.
    pub segment_bytes: u64,
    /// Free bytes below which nothing is accepted any more.
    pub reserve_bytes: u64,
    /// How long dead files stay, for those who are just copying the directory.
    pub grace: Duration,
    /// A segment that has grown to this size, message by message, has the next one prepared.
    pub prepare_after_bytes: u64,
    /// How long a confirmation may wait for something else to be written with.
    pub confirm_delay: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            segment_bytes: 64 * 1024 * 1024,
            reserve_bytes: 64 * 1024 * 1024,
            grace: Duration::from_secs(3600),
            prepare_after_bytes: 1024 * 1024,
            confirm_delay: Duration::ZERO,
        }
    }
}

/// Durable storage of sealed messages.
pub trait Spool: std::fmt::Debug + Send + Sync + 'static {
    /// A file for a message too long to wait in memory. Dropped without being appended, it is removed.
    fn large_file(&self, mailbox: MailboxId, message: MessageId) -> Result<LargeFile, SpoolError>;
    /// Stores the batch as one: all of it or nothing.
    fn append(&self, batch: Vec<NewRecord>) -> Receipt;
    /// Decides that a prepared message counts; in a moment ([`Settings::confirm_delay`]), or as soon as something else is
    /// written, or somebody asks what there is. On an error it is still undecided.
    fn confirm(&self, mailbox: MailboxId, message: MessageId) -> Receipt;
    /// Says that nobody will decide on a prepared message any more: from now on it waits, unconfirmed, as it would after a
    /// restart. What was handed over before is decided first.
    fn keep_unconfirmed(&self, mailbox: MailboxId, message: MessageId);
    /// Deletes those messages for good, prepared ones as well; ids that are not there are passed over.
    fn delete(&self, mailbox: MailboxId, messages: &[MessageId]) -> Receipt;
    /// What waits in a mailbox, in order of arrival. Prepared messages do not. May block for the disk.
    fn entries(&self, mailbox: MailboxId) -> Vec<Entry>;
    /// How much waits in a mailbox.
    fn usage(&self, mailbox: MailboxId) -> Usage;
    /// A message's sealed bytes.
    fn open(&self, mailbox: MailboxId, message: MessageId) -> Result<SealedBody, SpoolError>;
    /// Removes what is dead past its grace period and compacts what is sparse. Blocks; call it now and then.
    fn sweep(&self) -> Result<Swept, SpoolError>;
    /// Whether commits move.
    fn pulse(&self) -> Pulse;
    /// What was found damaged since the start.
    fn damage(&self) -> Vec<Damage>;
    /// Adds what was found by whoever opened a message.
    fn report(&self, damage: Damage);
}

/// A sealed message to be stored.
#[derive(Debug)]
pub struct NewRecord {
    /// Whose it is.
    pub mailbox: MailboxId,
    /// Which it is.
    pub message: MessageId,
    /// When it arrived.
    pub received: UnixMillis,
    /// Its lengths.
    pub sealed: Sealed,
    /// Its bytes.
    pub body: NewBody,
    /// Whether it counts is decided later.
    pub prepared: bool,
}

/// The bytes of a message to be stored.
#[derive(Debug)]
pub enum NewBody {
    /// In memory.
    Inline {
        /// The sealed message, in pieces.
        pieces: Vec<Vec<u8>>,
        /// Its CRC-32C.
        crc: u32,
    },
    /// Already in a file of its own.
    Large(LargeFile),
}

impl NewBody {
    /// A body in memory; its checksum is taken here, where the session works and not where all wait.
    pub fn inline(pieces: Vec<Vec<u8>>) -> Self {
        let crc = pieces.iter().fold(0, |crc, piece| crc32c::crc32c_append(crc, piece));
        Self::Inline { pieces, crc }
    }
}

impl NewRecord {
    fn inline_bytes(&self) -> u64 {
        match &self.body {
            NewBody::Inline { pieces, .. } => pieces.iter().map(|piece| piece.len() as u64).sum(),
            NewBody::Large(_) => 0,
        }
    }
}

/// A message that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Which it is; also its POP3 unique-id.
    pub message: MessageId,
    /// Octets that serving it takes, [`UNCONFIRMED`](postern_shared::proto::mime::trace::UNCONFIRMED) before it included.
    pub served_bytes: u64,
    /// When it arrived.
    pub received: UnixMillis,
    /// It was prepared, and nobody said whether it counts.
    pub unconfirmed: bool,
}

/// How much waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Messages.
    pub messages: u64,
    /// Octets that serving all of them takes.
    pub served_bytes: u64,
    /// When the oldest arrived.
    pub oldest: Option<UnixMillis>,
    /// Messages among them that are unconfirmed.
    pub unconfirmed: u64,
    /// Prepared messages, which are not among them.
    pub undecided: u64,
}

/// How commits go. One that stands shows as the same number twice, with somebody waiting each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulse {
    /// Commits begun since the start.
    pub commits_begun: u64,
    /// One is under way, or something waits to be committed.
    pub waits: bool,
    /// Whether anything is taken at all.
    pub is_open: bool,
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Files removed.
    pub files_removed: u64,
    /// Messages moved out of sparse segments.
    pub messages_moved: u64,
}

/// The step of a commit that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Creating a file.
    Create,
    /// Writing.
    Write,
    /// Making it durable.
    Sync,
    /// Reading back.
    Read,
    /// Listing or removing files.
    Sweep,
}

/// Why the spool could not do what it was asked for.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// The file system is as good as full.
    #[error("spool has {free_bytes} bytes free, message needs {needed_bytes}")]
    Full {
        /// What is free beyond the reserve.
        free_bytes: u64,
        /// What was asked for.
        needed_bytes: u64,
    },
    /// The disk failed.
    #[error("{step:?} failed on {path}: {source}")]
    Io {
        /// What was tried.
        step: Step,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// There is no such message.
    #[error("message {message} is not in mailbox {mailbox}")]
    Gone {
        /// The mailbox asked.
        mailbox: MailboxId,
        /// The message asked for.
        message: MessageId,
    },
    /// It was decided on before, or was never prepared.
    #[error("message {message} of mailbox {mailbox} does not wait for a decision")]
    NotPrepared {
        /// The mailbox asked.
        mailbox: MailboxId,
        /// The message asked for.
        message: MessageId,
    },
    /// The spool is shutting down.
    #[error("the spool is closed")]
    Closed,
}

impl SpoolError {
    fn io(step: Step, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::Io { step, path, source: Arc::new(source) }
    }
}

/// Resolves when what was asked for is on disk, or is certain not to be.
#[derive(Debug)]
pub struct Receipt(tokio::sync::oneshot::Receiver<Result<(), SpoolError>>);

impl Receipt {
    /// Waits without a runtime, for programs that have none.
    pub fn wait(self) -> Result<(), SpoolError> {
        self.0.blocking_recv().unwrap_or(Err(SpoolError::Closed))
    }
}

impl Future for Receipt {
    type Output = Result<(), SpoolError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|sent| sent.unwrap_or(Err(SpoolError::Closed)))
    }
}
