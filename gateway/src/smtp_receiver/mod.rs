//! The receiving side of SMTP: from a peer's octets to one message in the spool.
//!
//! [`Session`] touches no socket, no file and no clock; it only answers "what must happen next?". `driver` does it and
//! reports back. `policy` judges recipients, and who may send to them.
//!
//! Promises
//! - `250` after the end of data follows only [`Event::Stored`], raised once every copy is on disk. A crash before that
//!   makes the peer retry: a duplicate is possible, a loss is not.
//! - Mail is taken for our own mailboxes only. There is no relaying, whoever asks.
//! - Our own faults are told as 4xx; 5xx says what will be as wrong tomorrow: an unknown mailbox, another domain, a
//!   message over the limit.
//! - Mail is taken for a mailbox only as its policy allows: from its networks, under TLS when it wants that, within its
//!   size and quota. A quota is told as 4xx: it has room again once the archiver has pulled.
//! - A name and its secret are asked for and taken under TLS only. Once the other server took them the connection is the
//!   proxy's ([`Relayed`]); what stood behind AUTH is its first input, and none of it was looked at before.
//! - A session ends: [`SessionLimits`] and `listen`'s `Patience` bound its messages, its errors, its time, and how slowly a
//!   message may come.
//! - What arrives in clear behind STARTTLS is dropped (RFC 3207 §4.2).
//! - Where nobody can tell commands from what is none (behind a BDAT that cannot be read, in a browser's request), the
//!   session ends.
//!
//! | what | source | supported |
//! |---|---|---|
//! | EHLO HELO MAIL RCPT DATA RSET NOOP QUIT | RFC 5321 | yes |
//! | VRFY EXPN HELP | RFC 5321 §3.5 | answered without telling anything (252, 502, 214) |
//! | PIPELINING | RFC 2920 | yes |
//! | SIZE | RFC 1870 | yes |
//! | 8BITMIME | RFC 6152 | yes: content is never changed |
//! | SMTPUTF8 | RFC 6531 | yes |
//! | CHUNKING | RFC 3030 | yes |
//! | BINARYMIME | RFC 3030 | no: POP3 could not carry it |
//! | ENHANCEDSTATUSCODES | RFC 2034 | yes |
//! | STARTTLS | RFC 3207 | yes |
//! | AUTH PLAIN LOGIN XOAUTH2 OAUTHBEARER | RFC 4954 | under TLS, for mail clients that go through the proxy; nobody logs in to deliver to a mailbox |
//! | DSN | RFC 3461 | no: nothing is ever sent on or bounced from here |
//! | a `postmaster` mailbox | RFC 5321 §4.5.1 | no: this host is an MX for sealed mailboxes; its operator is not reached through it |
//!
//! Not here: sealing (`intake`), TLS and limits (`listen`), what becomes of a client that logged in (`proxy`).

#[cfg(test)]
pub(crate) mod dialogues;
mod driver;
mod elsewhere;
#[cfg(test)]
mod handing_over;
#[cfg(test)]
mod hostile;
mod policy;
mod refusal;
mod session;
#[cfg(test)]
mod smuggling;
#[cfg(test)]
mod tests;
mod transaction;

pub use driver::SmtpServer;
pub use elsewhere::{Elsewhere, Pending, Relayed};
pub(crate) use policy::takes;
pub use policy::{MailboxStatus, Mailboxes, SpooledMailboxes};
pub(crate) use policy::{Room, mailbox_closed, room_of};
pub use session::{Action, Event, Session, SessionLimits, SessionSettings};
