//! A server's certificate: made on the spot, read from PEM or PKCS#12 files, and shown by all listeners at once.
//!
//! Promises
//! - An [`Identity`] is only made of a chain and a key that belong together and that rustls can use.
//! - [`Served::swap`] touches no open session; every handshake that begins later shows the new certificate, for sessions
//!   that could be resumed under the old one are forgotten.
//! - A private key appears in no `Debug` output.
//!
//! Not here: which source a program takes its certificate from, and when it looks again.

mod bundle;
mod chain;
mod identity;
mod leaf;
mod pkcs12;
mod self_signed;
mod served;

pub use bundle::Bundle;
pub use chain::Link;
pub use identity::{Identity, IdentityError};
pub use leaf::Leaf;
pub use pkcs12::Pkcs12Error;
pub use self_signed::{SELF_SIGNED_RENEWAL, self_signed_files};
pub use served::Served;
