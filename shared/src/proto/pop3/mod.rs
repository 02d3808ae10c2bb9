//! POP3: commands, responses and multi-line content as values; and the client's side of a session as a pure
//! machine. No socket, no clock.
//!
//! | file | what |
//! |---|---|
//! | [`command`] | a client's line → [`Command`] |
//! | [`reply`] | `+OK` and `-ERR` lines with response codes, written and read |
//! | [`capability`] | the CAPA list, written and read |
//! | [`number`] | message numbers and unique-ids, valid by construction |
//! | [`dot`] | byte-stuffing of multi-line content, incremental both ways |
//! | [`top`] | where TOP's part of a message ends |
//! | [`client`] | the client machine |
//!
//! Standards: RFC 1939 (POP3), RFC 2449 (CAPA, response codes, line lengths, pipelining), RFC 2595 §4 (STLS),
//! RFC 3206 (`SYS/TEMP`, `SYS/PERM`, `AUTH`), RFC 5034 (AUTH; mechanisms in `sasl`), RFC 6856 (UTF8).
//!
//! Promises
//! - Whatever a peer sends is a value or an error naming what is wrong with it; nothing grows with a peer's
//!   appetite. Lines are bounded, content is handed on piece by piece.
//! - Content is exact: what the encoder sends, the decoder gives back, at any chunk border.
//! - Passwords are `SecretString` from the moment a line is parsed.
//!
//! Not here: APOP (MD5, and it cannot be proxied), LANG, KPOP; who may log in; how a message is stored.

pub mod capability;
pub mod client;
pub mod command;
pub mod dot;
pub mod number;
pub mod reply;
pub mod top;

pub use capability::{Capabilities, Capability};
pub use command::{Command, CommandError};
pub use dot::{DotDecoder, DotEncoder};
pub use number::{MessageNumber, UidlToken};
pub use reply::{Reply, ResponseCode};
pub use top::TopCut;

/// The longest command line, CRLF included (RFC 2449 §4), logins excepted.
pub const COMMAND_OCTETS_MAX: usize = 255;
/// The longest USER or PASS line, CRLF included: a proxy's user names hold an address, a host and a mailbox's id.
pub const LOGIN_OCTETS_MAX: usize = 1_024;
/// The longest AUTH line or continuation, CRLF included. RFC 5034 §4 asks for room for every response of the
/// mechanisms on offer.
pub const AUTH_OCTETS_MAX: usize = crate::proto::sasl::LINE_OCTETS_MAX;
/// The longest first line of a response, CRLF included (RFC 2449 §4).
pub const RESPONSE_OCTETS_MAX: usize = 512;
