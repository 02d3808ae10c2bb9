//! The recording proxy's SMTP side, from the moment a client is logged in at its provider's server: commands go on to the
//! server, its answers come back, and each message leaves a copy.
//!
//! [`Relay`] is the pure machine, with octets and events of both sides in and actions out; `driver` does what it says, `login`
//! begins it.
//!
//! One message (DESIGN decision 7):
//!
//! ```text
//! client                gateway                          server
//! MAIL, RCPT …     ──▶                            ──▶    answers are mirrored, recipient by recipient
//! DATA             ──▶                            ──▶
//!                  ◀──  354                       ◀──    354
//! content          ──▶  sealed as it comes        ──▶    content, without its end
//! end of data      ──▶  copy on disk, "prepared"
//!                                                 ──▶    end of data
//!                       copy confirmed            ◀──    250
//!                  ◀──  250
//! ```
//!
//! Promises
//! - The server gets the end of a message only behind a copy that would survive a power cut. Behind a 2xx of the server the
//!   copy counts; that it does is on disk within a moment (`spool`'s `confirm_delay`), for which the client does not wait: a
//!   crash in that moment, or a disk that fails, leaves the copy marked unconfirmed. A refusal is passed on once the copy is
//!   gone; and where nobody knows what the server did, the copy stays, marked, and the client is told so.
//! - What was refused, or left halfway by either side or by us, leaves no copy and is never ended at the server: the
//!   connection is cut instead, for octets sent cannot be called back.
//! - The envelope of a copy names the recipients that the server took, and no others.
//! - Answers are matched with what was asked, one by one. A server that says more than it was asked, or what makes no sense,
//!   loses the session.
//! - Line ends are made whole, dots stuffed anew: what ends a message is decided here, the same for copy and server.
//! - Memory is bounded: content is handed on as it comes, and neither side is read faster than the other one takes.
//! - Every wait has an end: `listen`'s `Patience` for the client, the proxy's settings for the server.
//!
//! | what | source | passes through |
//! |---|---|---|
//! | MAIL RCPT DATA RSET NOOP | RFC 5321 | yes |
//! | EHLO HELO | RFC 5321 | answered here: what both sides can do; a RSET goes to the server |
//! | VRFY EXPN HELP | RFC 5321 §3.5 | answered without telling anything (252, 502, 214) |
//! | QUIT | RFC 5321 | answered here, and said to the server |
//! | PIPELINING | RFC 2920 | yes, to servers that offer it; to others one command at a time |
//! | SIZE | RFC 1870 | yes, the smaller of both limits |
//! | 8BITMIME, SMTPUTF8 | RFC 6152, 6531 | yes, where the server offers them; until EHLO behind the login BODY is left out |
//! | CHUNKING | RFC 3030 | yes; as DATA where the server lacks it (or PIPELINING) |
//! | DSN | RFC 3461 | yes, where the server offers it and the client says EHLO again behind its login |
//! | ENHANCEDSTATUSCODES | RFC 2034 | as the server writes them |
//! | AUTH= of MAIL | RFC 4954 §5 | yes, where the server still offers AUTH |
//! | BINARYMIME | RFC 3030 | no: POP3 could not carry the copy |
//! | AUTH, STARTTLS | | no: both are behind us |
//!
//! Not here: logging in at either side (`smtp_receiver`, `upstream`), sealing (`intake`), what a mailbox takes
//! (`smtp_receiver::policy`).

mod content;
mod driver;
mod login;
mod relay;
#[cfg(test)]
mod tests;

pub use driver::ServerPatience;
pub use login::{Recording, SmtpProxy};
pub use relay::{Action, Awaited, Event, Relay, RelaySettings};
