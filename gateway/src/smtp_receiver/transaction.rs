//! One mail transaction: envelope, then content by DATA or BDAT.

use postern_shared::id::MailboxId;
use postern_shared::proto::mime::trace::Normalised;
use postern_shared::proto::smtp::content::{ChunkDecoder, DataDecoder, LineEnds, Progress};
use postern_shared::proto::smtp::reply::Reply;

use super::policy::Room;
use crate::intake::Recipient;

/// From MAIL to the end of data.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    /// Empty for `<>`.
    pub(super) mail_from: String,
    pub(super) smtputf8: bool,
    pub(super) recipients: Vec<Recipient>,
    /// Of their addresses.
    pub(super) recipient_octets: usize,
    /// BDAT has begun: only BDAT may follow (RFC 3030 §2).
    pub(super) chunks: Option<ChunkDecoder>,
    /// The intake holds a message for this transaction.
    pub(super) begun: bool,
    /// What the whole content will be answered with, once it is certain to be refused.
    pub(super) refused: Option<Reply>,
    pub(super) content_bytes: u64,
    /// The octets announced (RFC 1870).
    pub(super) size: Option<u64>,
    /// How much the mailboxes of the accepted recipients take.
    pub(super) room: Room,
}

/// Content coming in.
#[derive(Debug)]
pub(super) enum Body {
    Data(DataDecoder),
    Chunk { left: u64, last: bool },
}

/// What a piece of input was.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// That many octets were content, and more follows.
    More(usize),
    /// That many octets were content, and this part of it is over: DATA, or one chunk.
    End(usize),
}

impl Transaction {
    /// Decodes the next piece of input into `content`.
    pub(super) fn take(&mut self, body: &mut Body, input: &[u8], content: &mut Vec<u8>) -> Taken {
        match body {
            Body::Data(decoder) => match decoder.decode(input, content) {
                Progress::More => Taken::More(input.len()),
                Progress::End(at) => Taken::End(at),
            },
            Body::Chunk { left, .. } => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                self.chunks.get_or_insert_default().decode(&input[..here], content);
                *left -= here as u64;
                if *left == 0 { Taken::End(here) } else { Taken::More(here) }
            }
        }
    }

    /// Ends the content; what had to be made whole in it.
    pub(super) fn finish(&mut self, body: &Body, content: &mut Vec<u8>) -> Normalised {
        let (LineEnds { bare_cr, bare_lf }, final_crlf_added) = match (body, &mut self.chunks) {
            (Body::Data(decoder), _) => (decoder.line_ends(), false),
            (Body::Chunk { .. }, Some(chunks)) => {
                let added = chunks.finish(content);
                (chunks.line_ends(), added)
            }
            (Body::Chunk { .. }, None) => (LineEnds::default(), false),
        };
        Normalised { bare_cr, bare_lf, final_crlf_added }
    }

    /// Whether `mailbox` is none of this transaction's yet, and those are `max` already.
    pub(super) fn is_one_mailbox_too_many(&self, mailbox: MailboxId, max: usize) -> bool {
        let mut mailboxes: Vec<MailboxId> =
            self.recipients.iter().map(|recipient| recipient.mailbox).collect();
        mailboxes.sort_unstable();
        mailboxes.dedup();
        mailboxes.len() >= max && mailboxes.binary_search(&mailbox).is_err()
    }

    /// Counts content and refuses what is over the limit.
    pub(super) fn count(&mut self, octets: usize, octets_max: u64) {
        self.content_bytes = self.content_bytes.saturating_add(octets as u64);
        self.check(self.content_bytes, octets_max);
    }

    /// Refuses content of `octets` when it is over a limit.
    pub(super) fn check(&mut self, octets: u64, octets_max: u64) {
        let Some(refusal) = self.room.refuses(octets, octets_max) else { return };
        // What is too much for now may turn out to be too much for ever, however the content was cut into pieces.
        if self.refused.as_ref().is_none_or(|refused| refused.code == 452) {
            self.refused = Some(refusal);
        }
    }
}
