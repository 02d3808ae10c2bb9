//! SMTP (RFC 5321) as values: what a server reads and answers, and what a client understands of it.
//!
//! | file | what | source |
//! |---|---|---|
//! | [`reply`] | replies with enhanced status codes | RFC 5321 §4.2, RFC 3463 |
//! | [`mod@line`] | lines out of what a client sends | RFC 5321 §2.3.8 |
//! | [`command`] | command lines | RFC 5321 §4.1, 3030, 3207, 4954 |
//! | [`parameters`] | what follows MAIL and RCPT | RFC 1870, 3461, 4954, 6152, 6531 |
//! | [`path`] | reverse-paths and forward-paths | RFC 5321 §4.1.2, RFC 6531 §3.3 |
//! | [`answer`] | a server's replies, put together by a client | RFC 5321 §4.2, RFC 2034 |
//! | [`extensions`] | the answer to EHLO, read by a client | RFC 5321 §4.1.1.1 |
//! | [`content`] | mail data: end of data, dots, line ends | RFC 5321 §4.5.2, RFC 3030 |
//!
//! Strict where leniency would let two servers understand one stream differently (line ends, end of data, NUL),
//! lenient where nothing depends on it (case, spaces at a line's end, source routes).

pub mod answer;
pub mod command;
pub mod content;
pub mod extensions;
pub mod line;
pub mod parameters;
pub mod path;
pub mod reply;

#[cfg(test)]
mod tests;
