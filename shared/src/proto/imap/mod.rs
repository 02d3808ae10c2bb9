//! IMAP (RFC 3501, RFC 9051) as a client meets it: what a server sends → values, and what a client says → octets. No
//! socket, no clock, no state of a session.
//!
//! | file | what |
//! |---|---|
//! | [`reader`] | octets in any pieces → whole responses; long content is handed on while it comes |
//! | [`tokens`] | a response's atoms, strings and lists |
//! | [`response`] | a whole response → [`Response`] |
//! | [`fetch`] | what FETCH tells of a message |
//! | [`mailbox`] | LIST, STATUS and NAMESPACE |
//! | [`code`] | response codes in brackets |
//! | [`capability`] | what a server can do |
//! | [`set`] | sets of UIDs, written and read |
//! | [`utf7`] | mailbox names in modified UTF-7 |
//! | [`date`] | INTERNALDATE |
//! | [`command`] | a client's command, with literals where they are needed |
//!
//! | standard | read here | |
//! |---|---|---|
//! | RFC 3501, RFC 9051 | what an archiver asks for | not ENVELOPE, BODYSTRUCTURE: passed over; of SEARCH numbers |
//! | RFC 2342 NAMESPACE, RFC 2971 ID, RFC 5161 ENABLE | yes | |
//! | RFC 4315 UIDPLUS, RFC 7162 CONDSTORE and QRESYNC | yes | |
//! | RFC 5258 LIST-EXTENDED, RFC 5819 LIST-STATUS, RFC 6154 SPECIAL-USE | yes | XLIST (Google, before 2013) is read too |
//! | RFC 3516 BINARY | the literal8 | not asked for |
//! | RFC 7888 LITERAL+ and LITERAL- | written | |
//! | RFC 2221, RFC 2193 referrals | | No: nobody is followed to another server |
//!
//! Promises
//! - Whatever a server sends is a value or an error naming what is wrong with it, the same at any piece border.
//! - Nothing grows with a server's appetite: a response holds at most [`LINE_OCTETS_MAX`] octets beside a message's content,
//!   which is handed on and never kept.
//! - No text of a server's choice can write control characters into a log.

pub mod capability;
pub mod code;
pub mod command;
pub mod date;
pub mod fetch;
pub mod mailbox;
pub mod reader;
pub mod response;
pub mod set;
#[cfg(test)]
mod tests;
pub mod tokens;
pub mod utf7;

pub use capability::Capabilities;
pub use code::Code;
pub use command::Command;
pub use fetch::{Body, Fetch};
pub use mailbox::{ListEntry, MailboxStatus, Namespace};
pub use reader::{ReadError, Reader, Received};
pub use response::{Condition, Response, Text};
pub use set::{Uid, UidSet};
pub use tokens::BadResponse;

/// The most octets of a response, its literals among them but for content that is handed on. Answers for many messages
/// come as many responses; only lists of UIDs are long.
pub const LINE_OCTETS_MAX: usize = 256 * 1024;
