//! From a target to a connection with a provider's server that is logged in.
//!
//! | file | what |
//! |---|---|
//! | [`link`] | one connection, in clear or under TLS |
//!
//! Promises
//! - No credential leaves before TLS is up and the server's certificate is verified as the settings say.
//! - What a server says before TLS counts for nothing behind it; one that says more than it was asked for right before the
//!   handshake is refused (RFC 3207 §4.2, RFC 2595 §4).
//! - Whatever a server sends, memory and time are bounded.
//!
//! Not here: who may use the proxy, and which targets are allowed (`gate`); what is relayed then (`smtp`, `pop3`).

mod link;

pub use link::Link;
