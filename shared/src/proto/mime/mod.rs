//! Messages, as far as an archive must understand them, by offsets into their octets: nothing is ever re-serialised.
//!
//! | file | what | source |
//! |---|---|---|
//! | [`trace`] | what the gateway puts before a message | ours |
//! | [`header`] | header fields, unfolded | RFC 5322 §2.2 |
//! | [`multipart`] | parts by their boundaries, strictly | RFC 2046 §5.1 |
//! | [`entity`] | the same to find text in, forgiving | RFC 2045 §2.4 |
//! | [`fields`] | addresses, dates, media types, encoded words: the only door to mail-parser's parser | RFC 5322 §3.6, 2045, 2047, 2231 |
//! | [`journal`] | journal reports: recognised, unwrapped, their envelope | MS-XJRNL §2.1 |
//! | [`participants`] | whose mail it is, and how that is known | |
//! | [`hidden_recipients`] | who received it and is not named in it | RFC 5322 §3.6.3 |
//! | [`fold`] | what makes two copies one message | |
//!
//! Everything is bounded: octets of header, fields, parts, depth. What is over a bound is left as it is.
//!
//! Not here: text for the index (the archiver's `intake::extract`).

pub mod entity;
pub mod fields;
pub mod fold;
pub mod header;
mod hidden;
pub mod journal;
pub mod multipart;
pub mod participants;
pub mod trace;

pub use hidden::hidden_recipients;
