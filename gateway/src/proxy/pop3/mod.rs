//! The relay between a mail client and its POP3 server, from the login on: what the client fetches is recorded.
//!
//! | file | what |
//! |---|---|
//! | [`login`] | from a login in `pop3_server` to a relay |
//! | [`machine`], `action`, `transfer`, [`message`] | the relay, pure: octets of both sides in; octets for both and recordings out |
//! | `request`, `capabilities`, `numbers` | a client's line; what of CAPA is passed on; which messages are recorded |
//! | `first_line`, `shown` | what of a response's first line passes; what of a message TOP shows |
//! | `driver` | does the machine's actions: both connections, deadlines |
//! | `recorder` | records messages, each once |
//! | [`seen`] | which were recorded before, on disk |
//!
//! | command | standard | passes |
//! |---|---|---|
//! | STAT LIST UIDL NOOP RSET | RFC 1939 | yes |
//! | RETR | RFC 1939 | once recorded; `UIDL n` is asked with it |
//! | TOP of up to 100 lines | RFC 1939 | yes: a preview is never recorded, though a short message may be whole in it |
//! | TOP of more | RFC 1939 | as RETR, recorded whole; the client gets of it what it asked for |
//! | DELE | RFC 1939 | once recorded in this session; a message that was not is fetched first |
//! | QUIT | RFC 1939 | behind all copies, and the server's answer is the client's; never said for a client that went without it |
//! | CAPA | RFC 2449 | asked each time; STLS, SASL, USER, IMPLEMENTATION and what is unknown are left out |
//! | pipelining | RFC 2449 §6.6 | what comes in one piece goes in one piece, where the server's CAPA has it; else one at a time |
//! | UTF8, LANG | RFC 6856 | yes, as commands behind the login; UTF8 said before it stays with the gateway |
//! | LAST | RFC 1460 | yes |
//! | anything else | | no: whether its response has several lines must be known |
//!
//! A message of up to 256 KiB is held until all of it is there and its copy is on disk, or known to be; so a failure is told
//! before anything was sent. A longer one (or any, when too many are held) is streamed to the client and the spool at once,
//! and its last octets wait for the disk. Those are the five that make up `<CRLF>.<CRLF>`, so the client lacks a line's end.
//!
//! While the copy of a held message goes to the disk, the messages behind it come already: copies of one session are made at
//! once, up to eight, and share a sync. Each still goes to the client behind its own copy, in order; anything but a further held
//! message waits until all those copies are there.
//!
//! What is recorded is what the client gets, dots undone: in POP3 only CRLF ends a line, so a bare CR or LF stays what it is
//! (for SMTP, where it is made CRLF, see `smtp_receiver`), and the spool serves it back octet for octet.
//!
//! Promises
//! - A client gets no message to its end before its copy is on disk, and the server no DELE: whatever fails, and whatever
//!   either side sends. With `on_recording_failure = "pass"` the operator chose otherwise; that is logged and counted.
//! - One copy for each (account, unique-id, content), in whatever session, but for a crash amid it, which may double one.
//! - The server gets no QUIT before the copies of all it sent are on disk, and none when one could not be made: at QUIT it removes
//!   what is marked, and some remove what was fetched (RFC 2449 §6.7). The client is told that nothing was deleted.
//! - A message that breaks off is never recorded, and given no end.
//! - Of a response's first line a client gets 512 octets (RFC 2449 §4); one past 2048 ends the session.
//! - Each command gets one response, in order; what a server sends unasked is a response to nothing, and ends the session.
//! - What goes to the server is written here, from what was understood of the client's line.
//! - A session's memory is bounded (two connections' buffers, messages held of 512 KiB and one more), and all sessions'
//!   messages held together.
//!
//! Not here: logins (`pop3_server`, `proxy::gate`), sealing (`intake`).

mod action;
mod capabilities;
mod driver;
mod first_line;
pub mod login;
pub mod machine;
pub mod message;
mod numbers;
mod recorder;
mod request;
pub mod seen;
mod shown;
mod transfer;

pub use login::Pop3Proxy;
pub use recorder::Recording;

#[cfg(test)]
mod dialogues;
#[cfg(test)]
mod model;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod tests;
