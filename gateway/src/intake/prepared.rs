//! A proxied message between "stored" and "decided".

use std::sync::Arc;
use std::time::Duration;

use postern_shared::id::{MailboxId, MessageId};

use super::sealing::{Parts, refusal};
use super::{IntakeError, Prepared};
use crate::activity::{Kind, New, activity};
use crate::mailbox::Receiving;
use crate::monitoring::metrics;

/// A message in the spool that waits for its decision.
#[derive(Debug)]
pub struct PreparedMessage {
    pub(super) parts: Arc<Parts>,
    pub(super) mailbox: MailboxId,
    pub(super) message: MessageId,
    pub(super) content_bytes: u64,
    /// How long its record took to be on disk.
    pub(super) waited: Duration,
    /// Keeps the mailbox, and its keys, until the decision.
    pub(super) _receiving: Receiving,
    /// Nothing has to be said when this is dropped.
    pub(super) decided: bool,
}

impl Prepared for PreparedMessage {
    async fn confirm(mut self) -> Result<MessageId, IntakeError> {
        self.parts.spool.confirm(self.mailbox, self.message).await.map_err(refusal)?;
        self.decided = true;
        metrics().message_accepted(1, self.content_bytes, self.waited);
        let capture = New::of(Kind::Capture, "proxy", "stored").about(self.mailbox);
        activity().tell(self.parts.clock.wall(), capture.message(self.message, self.content_bytes));
        Ok(self.message)
    }

    async fn discard(mut self) -> Result<(), IntakeError> {
        self.parts.spool.delete(self.mailbox, &[self.message]).await.map_err(refusal)?;
        self.decided = true;
        Ok(())
    }

    fn keep_unconfirmed(self) -> MessageId {
        self.message
    }
}

impl Drop for PreparedMessage {
    fn drop(&mut self) {
        if !self.decided {
            tracing::warn!(mailbox = %self.mailbox, message = %self.message, "a proxied message is kept unconfirmed");
            self.parts.spool.keep_unconfirmed(self.mailbox, self.message);
        }
    }
}
