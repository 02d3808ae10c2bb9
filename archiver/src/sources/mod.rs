//! Where mail comes from. A source is opened for one run, tells what waits, hands it over, and is told what is safe.
//!
//! | file | what |
//! |---|---|
//! | [`dial`] | from a host name to a TLS connection, each step with its deadline and its own error |
//! | `wire` | octets to a server and from it, each wait with its deadline |
//! | [`account`] | what profiles drive: accounts that keep their mail |
//! | [`gateway`] | a Postern gateway, over POP3 |
//! | [`imap`] | IMAP servers |
//! | [`pop3`] | any POP3 server, which keeps its mail |
//! | [`files`] | Maildir and mbox |
//! | [`oauth`] | access tokens for those that take them |
//! | [`ews`] | Exchange on-premises |
//! | [`error`] | what can go wrong, in words an operator can act on |
//!
//! A run, whatever the source:
//!
//! 1. open it (`GatewaySource::connect`), then [`Source::list`] what waits after the cursor that the last run left;
//! 2. [`Source::request`] what is wanted, then [`Source::hand_over`] until there is nothing more;
//! 3. archive each message; when the archive's commit is on disk, and not before, [`Source::acknowledge`] it;
//! 4. [`Source::finish`]: only what this returns as deleted is gone at the source.
//!
//! A source that empties itself (a gateway) has no cursor: what is acknowledged is deleted. One that keeps its mail (IMAP,
//! POP3 at a provider) is an [`Account`], which tells what is new behind the cursor that the last run kept.
//! Either way a run that dies is repeated from what was archived: a message can come twice, never be lost.
//!
//! Promises
//! - Nothing is deleted that was not acknowledged.
//! - No credential leaves before TLS is up with a certificate that the profile trusts.
//! - Memory: messages are handed on piece by piece. What is longer than a bound is passed over with a word, and stays at the
//!   source.
//! - No server can hold a run for ever: every wait has a deadline, and a message that comes slower than 16 KiB a second ends
//!   the session.
//!
//! Not here: unwrapping and storing (`intake`, `archive`), when to run (`profiles`).

pub mod account;
pub mod dial;
pub mod error;
pub mod ews;
pub mod files;
pub mod gateway;
pub mod imap;
pub mod oauth;
pub mod pop3;
#[cfg(test)]
pub(crate) mod scripted;
mod wire;

use std::fmt;
use std::future::Future;

use serde::{Deserialize, Serialize};

pub use account::Account;
pub use error::SourceError;

/// What names a message at its source, across runs: a POP3 unique-id, `UIDVALIDITY/UID`, an EWS item id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ItemId(pub String);

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How far a source that keeps its mail was read; opaque to everybody else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub String);

/// A message that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Which.
    pub id: ItemId,
    /// Its size in octets, as the source claims.
    pub octets: u64,
}

/// What came of a message asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Which.
    pub id: ItemId,
    /// Its octets, exactly as the source has them; or why there are none.
    pub content: Result<Vec<u8>, NotFetched>,
}

/// Why the source goes on without this message. It stays where it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotFetched {
    /// It is not there any more: somebody deleted or moved it.
    #[error("it is gone from the source")]
    Gone,
    /// The source will not or cannot hand it over.
    #[error("the source refuses it: {0}")]
    Refused(String),
    /// It is longer than a message may be here.
    #[error("it has {octets} octets or more, at most {octets_max} are taken")]
    TooLong {
        /// Octets it has at least.
        octets: u64,
        /// The bound.
        octets_max: u64,
    },
}

/// How a run ended at the source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Finished {
    /// What the source confirmed as deleted.
    pub deleted: Vec<ItemId>,
    /// What was acknowledged and yet not deleted, and why.
    pub kept: Vec<(ItemId, String)>,
    /// Where the next run begins, for a source that keeps its mail.
    pub cursor: Option<Cursor>,
}

/// A source, opened for one run. After an error it must not be used any more; nothing was deleted then.
pub trait Source: Send {
    /// What waits behind `after`, oldest first; everything when there is no cursor or the source has none.
    fn list(
        &mut self,
        after: Option<&Cursor>,
    ) -> impl Future<Output = Result<Vec<Waiting>, SourceError>> + Send;

    /// Asks for messages that [`Source::list`] named; does not wait. They come in this order.
    ///
    /// # Errors
    /// [`SourceError::NotListed`] when one was not listed.
    fn request(&mut self, wanted: &[ItemId]) -> Result<(), SourceError>;

    /// Hands over the next message asked for, or why it does not come; `false` when there is no further one. After an error
    /// it was that message's.
    fn hand_over(
        &mut self,
        sink: &mut (impl account::Sink + ?Sized),
    ) -> impl Future<Output = Result<bool, SourceError>> + Send;

    /// The same, with its content in memory.
    fn next(&mut self) -> impl Future<Output = Result<Option<Fetched>, SourceError>> + Send {
        async {
            let mut whole = Whole::default();
            self.hand_over(&mut whole).await?;
            Ok(whole.fetched)
        }
    }

    /// These are safe in the archive and may go; does not wait. Takes effect at [`Source::finish`].
    ///
    /// # Errors
    /// [`SourceError::NotListed`] when one was not listed.
    fn acknowledge(&mut self, safe: &[ItemId]) -> Result<(), SourceError>;

    /// Ends the run: what was acknowledged is deleted, or the cursor moved behind it.
    fn finish(self) -> impl Future<Output = Result<Finished, SourceError>> + Send;
}

/// Keeps one message.
#[derive(Debug, Default)]
struct Whole {
    content: Vec<u8>,
    fetched: Option<Fetched>,
}

impl account::Sink for Whole {
    async fn begins(&mut self, _octets: u64) -> std::io::Result<()> {
        self.content.clear();
        Ok(())
    }

    async fn piece(&mut self, octets: &[u8]) -> std::io::Result<()> {
        self.content.extend_from_slice(octets);
        Ok(())
    }

    async fn ends(&mut self, item: account::Item) -> std::io::Result<()> {
        self.fetched = Some(Fetched { id: item.id, content: Ok(std::mem::take(&mut self.content)) });
        Ok(())
    }

    async fn missing(&mut self, id: ItemId, why: NotFetched) -> std::io::Result<()> {
        self.fetched = Some(Fetched { id, content: Err(why) });
        Ok(())
    }
}
