//! SMTP (RFC 5321) as values: what a server reads and answers, and what a client understands of it.
//!
//! | file | what | source |
//! |---|---|---|
//! | [`reply`] | replies with enhanced status codes | RFC 5321 §4.2, RFC 3463 |
//! | [`command`] | command lines and their parameters | RFC 5321 §4.1, 1870, 3030, 3207, 6152, 6531 |
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
pub mod path;
pub mod reply;

#[cfg(test)]
mod tests;
