//! Serving HTTP/1.1 (RFC 9112) to browsers and programs: what the gateway's console and the archiver's API have in common.
//!
//! | file | what |
//! |---|---|
//! | `accept` | connections of a listener, until it is told to end |
//! | `connection` | the requests of one connection |
//! | `paced` | a stream whose peer has to take what is sent within a time |
//!
//! Promises
//! - HTTP/1.1 only: what HTTP/2 brings along (multiplexing, header compression) has been a way to exhaust servers more than once.
//! - A request's header, and each packet of an answer, has its deadline; headers are bounded.
//! - When the listener ends, answers in progress have [`GRACE`] to end.
//!
//! Not here: TLS (`tls`), how many connections there may be, routes, deadlines of bodies and of whole answers.

mod accept;
mod connection;
mod paced;

pub use accept::{GRACE, accept};
pub use connection::{Pace, Peer, serve};
