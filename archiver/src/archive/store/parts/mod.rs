//! A message cut into what is stored once and what is its own.
//!
//! The body of each leaf of the MIME tree that is long enough becomes a part; header fields, boundaries and short bodies stay
//! the message's own. A part in base64 is decoded, so that the same attachment is the same part however its lines are
//! broken, but only after it was encoded again and compared octet for octet ([`base64::prove`]); everything else is kept as it
//! stands. Quoted-printable is: programs differ in where they break lines, and it compresses as well encoded.
//!
//! Promises
//! - The pieces, one behind the other, are the message: [`split`] leaves no gap and no overlap.
//! - Whatever a message holds, cutting it ends, in memory that does not grow with it.

mod base64;
mod split;

pub(in crate::archive) use base64::{Encoder as Base64Encoder, prove as prove_base64};
pub(in crate::archive) use split::{Piece, split};

use serde::{Deserialize, Serialize};

/// How a part's octets become octets of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::archive) enum Encoding {
    /// Base64 (RFC 4648 §4, padded) in lines.
    Base64 {
        /// Characters in each line but the last; a multiple of four.
        width: u16,
        /// Whether lines end in CRLF; else in LF.
        crlf: bool,
        /// Line ends behind the last line.
        tail: u16,
    },
}
