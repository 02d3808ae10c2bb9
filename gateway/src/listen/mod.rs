//! Listening: accepting connections, keeping them within limits, TLS, deadlines, orderly shutdown.
//!
//! Knows no protocol of mail: SMTP and POP3 give it a function for one connection, and the line to say when there are too many.
//! What answers short questions over HTTP (monitoring, challenges) gives [`serve_http`] the answers.
//!
//! Promises
//! - What a peer sent in clear is dropped when TLS begins (RFC 3207 §4.2, RFC 2595 §4): nothing injected before the
//!   handshake is ever taken for a command behind it.
//! - Memory per connection is bounded: [`Connection`] buffers at most [`BUFFER_BYTES_MAX`] unread octets.
//! - An error in accepting, for lack of file descriptors say, is waited out; it neither ends nor spins the listener.
//! - A peer that is slow, silent or half through a handshake holds one place of [`Limits`] for a bounded time
//!   ([`Patience`], [`Handshakes`]) and nothing else. Places are counted over all listeners of a protocol: mail and
//!   archivers have separate places, so that a flood at one does not shut out the other.
//! - Tables of addresses are bounded and forget ([`Remembered`]).
//! - At shutdown no new connection is taken, and the others are told; they end after their current step, or are cut
//!   when the grace period is over.

mod connection;
mod descriptors;
mod entrance;
mod handshake;
mod limits;
mod listener;
mod pace;
mod plain_http;
mod remembered;
mod replaceable;
mod session_id;
mod wire;

pub use connection::Connection;
pub use descriptors::allow_many_descriptors;
pub use entrance::Entrance;
pub use handshake::{HANDSHAKE_DEADLINE, HANDSHAKES_AT_ONCE, Handshakes};
pub use limits::{Exceeded, Limits, NoPlace, Place, Quota, Refusals, network};
pub use listener::{BindError, Door, Server, bind, serve};
pub use pace::{Awaited, Pace, Patience};
pub use plain_http::serve_http;
pub use remembered::Remembered;
pub use replaceable::Replaceable;
pub use session_id::SessionId;
pub(crate) use wire::Wire;
pub use wire::{BUFFER_BYTES_MAX, TlsDetails};
