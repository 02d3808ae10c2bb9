//! Listening: accepting connections, keeping them within limits, TLS, deadlines, orderly shutdown.
//!
//! Knows no protocol: SMTP and POP3 give it a function for one connection, and the line to say when there are too many.
//!
//! Promises
//! - What a peer sent in clear is dropped when TLS begins (RFC 3207 §4.2, RFC 2595 §4): nothing injected before the
//!   handshake is ever taken for a command behind it.
//! - Memory per connection is bounded: [`Connection`] buffers at most [`BUFFER_BYTES_MAX`] unread octets.
//! - An error in accepting, for lack of file descriptors say, is waited out; it neither ends nor spins the listener.
//! - At shutdown no new connection is taken, and the others are told; they end after their current step, or are cut
//!   when the grace period is over.

mod connection;
mod limits;
mod listener;
mod session_id;

pub use connection::{BUFFER_BYTES_MAX, Connection, TlsDetails};
pub use limits::Limits;
pub use listener::{BindError, Door, Server, bind, serve};
pub use session_id::SessionId;
