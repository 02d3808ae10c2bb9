//! Journal reports of Exchange and Microsoft 365 (MS-XJRNL).
//!
//! A report is a `multipart/mixed` message: a `text/plain` part with the envelope, and the original as `message/rfc822`.
//! Quirks that are met, each with a test in `tests/fixtures/journal`:
//!
//! | quirk | what is done |
//! |---|---|
//! | `X-MS-Journal-Report` is empty; on premises `X-MS-Exchange-Organization-Journal-Report` | either marks a report |
//! | Exchange 2003 writes `Content-Identifer: ExJournalReport`, also spelt right | marks a report |
//! | an undeliverable report comes back inside a non-delivery report | `multipart/report` is looked into |
//! | rights-protected mail: the original is encrypted, a second attachment is its clear copy | the first is archived, the second indexed, the report kept |
//! | the original has `Content-Transfer-Encoding: base64` or quoted-printable, which RFC 2046 §5.2.1 forbids | it is decoded |

mod envelope;
mod unwrap;

pub use envelope::{JournalEnvelope, JournalRecipient, RecipientKind};
pub use unwrap::{Original, Report, Unwrapped, unwrap};
