//! Serving mail over POP3: a locked view of one mailbox, handed out message by message, and deleted only when the
//! client says QUIT.
//!
//! | file | what |
//! |---|---|
//! | [`maildrop`] | what this room needs from others (accounts, messages), the exclusive lock, the snapshot |
//! | [`session`] | the protocol, pure: lines in, actions out |
//! | [`driver`] | does the actions: TLS, logins, streaming, deadlines |
//! | `refusal` | why a login is refused |
//! | [`elsewhere`] | what this room needs of the proxy: logging in elsewhere, and going on there |
//! | `wire`, `sending` | a client's connection; a message on its way out |
//!
//! | command | standard | supported |
//! |---|---|---|
//! | USER PASS STAT LIST RETR DELE NOOP RSET QUIT TOP UIDL | RFC 1939 | yes |
//! | APOP | RFC 1939 §7 | no: MD5, needs the password in clear on the server, and binds to the greeting |
//! | CAPA, response codes, pipelining | RFC 2449 | yes |
//! | EXPIRE NEVER | RFC 2449 §6.7 | yes: only the client's DELE deletes |
//! | LOGIN-DELAY | RFC 2449 §6.5 | no: an archiver may come as often as it likes |
//! | STLS | RFC 2595 §4 | yes; on the `pop3s` listener TLS is there from the start (RFC 8314) |
//! | `[SYS/TEMP]` `[SYS/PERM]` `[AUTH]` | RFC 3206 | yes |
//! | AUTH PLAIN | RFC 5034, 4616 | yes |
//! | AUTH LOGIN, XOAUTH2, OAUTHBEARER | `proto::sasl` | beside the proxy, for its names; a token opens no mailbox of the gateway |
//! | UTF8 | RFC 6856 §2 | yes; messages are served byte for byte in either mode, see below |
//! | LANG | RFC 6856 §3 | no: texts are English |
//!
//! RFC 6856 §2.1 would have messages with UTF-8 header fields downgraded (RFC 6857) for clients that did not say UTF8.
//! This is an archive's gateway: what it received is evidence, its size was announced and its hash stands in the trace
//! header, so it never changes a byte, in either mode.
//!
//! A user name that holds the proxy's divider is an account at another server: the session ends with its login, and the
//! connection goes to the proxy. Of what was said before, only the name is passed on: UTF8 is not (the server's own mode
//! stands), and what the server can do is asked by CAPA again, after the login.
//!
//! Promises
//! - No credential is accepted, and no way to send one announced, before TLS is up. What was sent in clear behind
//!   STLS is dropped (RFC 2595 §4).
//! - One session at a time holds a maildrop; another gets `[IN-USE]`. The lock ends with the session, however it ends.
//! - Message numbers, sizes and unique-ids do not change within a session; unique-ids never change.
//! - Sizes equal, to the octet, what RETR sends before byte-stuffing.
//! - DELE deletes at QUIT only, and QUIT says `+OK` only once that is on disk. A connection that drops deletes nothing.
//! - A response that began and cannot be completed is never given an end: the connection is closed instead, so that no
//!   client takes half a message for a whole one.
//! - The private key lives in memory for the session only, and is wiped after it.
//! - Guessing costs the guesser time, and neither intake nor memory: back-off per address and per mailbox
//!   ([`crate::login::guard`] says by which rules, and what they mean for lock-outs), few passwords checked at once, few waiting.
//! - A wrong password and a mailbox that does not exist are answered alike, after the same time and computing.
//! - Memory per session is bounded, whatever the size of messages and lists.
//!
//! Not here: who must wait and where passwords are checked (`login`), accounts elsewhere (`proxy`), passwords and keys at rest (`mailbox`), sealed messages (`spool`), accepting connections (`listen`).

pub mod driver;
pub mod elsewhere;
pub mod maildrop;
mod refusal;
pub(crate) mod sending;
pub mod session;
mod spooled;
mod wire;

pub use driver::{Pop3Server, REFUSAL, Settings};
pub use elsewhere::{Elsewhere, Relayed};
pub use maildrop::{Accounts, Maildrops};
pub use spooled::SpooledMaildrops;

#[cfg(test)]
mod dialogues;
#[cfg(test)]
mod endings;
#[cfg(test)]
mod handing_over;
#[cfg(test)]
mod in_memory;
#[cfg(test)]
mod tests;
