//! From a target to a connection with a provider's server that is logged in.
//!
//! | file | what |
//! |---|---|
//! | `dial` | names to addresses, connections, TLS; drives the logins |
//! | `link` | one connection, in clear or under TLS |
//! | `login` | what both protocols' logins have in common |
//! | `smtp_login`, `pop3_login` | the logins themselves: pure |
//! | `capabilities` | a POP3 server's CAPA list |
//! | `error` | why there is no connection that is logged in |
//!
//! Standards: RFC 5321, 3207, 4954 (SMTP), RFC 1939, 2449, 2595, 3206, 5034 (POP3), RFC 8314 (implicit TLS).
//!
//! Promises
//! - No credential leaves before TLS is up and the server's certificate is verified as the settings say; a server that
//!   offers no TLS gets none.
//! - What a server says before TLS counts for nothing behind it; one that says more than it was asked for is refused
//!   (RFC 3207 §4.2, RFC 2595 §4).
//! - A connection goes to the very address that was judged after the name was resolved.
//! - Whatever a server sends, or does not send, memory and time are bounded.
//!
//! Not here: who may use the proxy (`gate`), which targets are allowed (`targets`); what is relayed then.

mod capabilities;
mod dial;
mod error;
mod link;
mod login;
mod pop3_login;
mod smtp_login;
#[cfg(test)]
pub(in crate::proxy) mod tests;

use postern_shared::proto::smtp::extensions::Extensions;

pub use capabilities::Capabilities;
pub use dial::Dialer;
pub use error::{FailureStep, LoginError, RefusalKind, ServerRefusal, UpstreamError};
pub use link::Link;
pub use login::{Identity, Login, Progress};
pub use pop3_login::Pop3Login;
pub use smtp_login::SmtpLogin;

/// An SMTP server that took the login.
#[derive(Debug)]
pub struct SmtpServer {
    /// The connection.
    pub link: Link,
    /// What it says it can do, asked again after the login.
    pub extensions: Extensions,
}

/// A POP3 server that took the login.
#[derive(Debug)]
pub struct Pop3Server {
    /// The connection.
    pub link: Link,
    /// What it says it can do, asked again after the login.
    pub capabilities: Capabilities,
}
