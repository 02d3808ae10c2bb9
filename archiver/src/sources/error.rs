//! What can go wrong with a source, in words an operator can act on.

use std::io;
use std::time::Duration;

use postern_shared::crypto::digest::Digest;
use postern_shared::proto::imap::Code;
use postern_shared::proto::pop3::ResponseCode;
use postern_shared::proto::pop3::client::ClientError;
use postern_shared::tls::client::{Trust, TrustError};

use super::ItemId;
use super::account::FolderId;
use super::ews::EwsError;
use super::imap::ImapError;

/// Why a run cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The name has no address.
    #[error("cannot find the address of {host} (DNS): {source}")]
    Name {
        /// The host asked for.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// No address of the host takes connections.
    #[error("cannot connect to {address} (TCP): {source}")]
    Connect {
        /// Host and port, with the address tried last.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The host name cannot stand in a certificate.
    #[error("{host:?} is neither a host name nor an IP address")]
    BadHost {
        /// The text.
        host: String,
    },
    /// This machine cannot verify certificates the way the profile asks.
    #[error("cannot verify certificates: {0}")]
    Trust(#[from] TrustError),
    /// The server's certificate is not trusted.
    #[error(
        "the certificate of {host} is not trusted: {reason}. If it is the right one, put trust = \"{}\" into the \
         profile",
        Trust::Pinned(*.presented)
    )]
    NotTrusted {
        /// The host.
        host: String,
        /// SHA-256 of the certificate it showed.
        presented: Digest,
        /// What is wrong with it.
        reason: String,
    },
    /// The TLS handshake failed for another reason.
    #[error("the TLS handshake with {host} failed: {source}")]
    Tls {
        /// The host.
        host: String,
        /// What rustls or the system said.
        source: io::Error,
    },
    /// User name or password are wrong.
    #[error("{host} refuses the login of {user}: {text}")]
    Login {
        /// The host.
        host: String,
        /// The user name.
        user: String,
        /// What the server said.
        text: String,
    },
    /// Another client holds the maildrop, and has not let go in time.
    #[error("the maildrop {user} on {host} is held by another client; tried {attempts} times")]
    InUse {
        /// The host.
        host: String,
        /// The user name.
        user: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The server refused or broke the protocol.
    #[error("{host}: {error}")]
    Protocol {
        /// The host.
        host: String,
        /// What it did.
        error: ClientError,
    },
    /// An IMAP server refused or broke the protocol.
    #[error("{host}: {error}")]
    Imap {
        /// The host.
        host: String,
        /// What it did.
        error: Box<ImapError>,
    },
    /// An Exchange server refused or broke the protocol.
    #[error("{host}: {error}")]
    Ews {
        /// The host.
        host: String,
        /// What it did.
        error: Box<EwsError>,
    },
    /// A folder cannot be opened, or listed; the session is good for others still.
    #[error("{host} does not open the folder {folder}: {text}")]
    Folder {
        /// The host.
        host: String,
        /// Which.
        folder: FolderId,
        /// What the server said.
        text: String,
    },
    /// The source has more than this program is told to handle.
    #[error("{host} lists more than {max} {what}")]
    TooMany {
        /// The host.
        host: String,
        /// Of what.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// What was fetched could not be taken in.
    #[error("what was fetched could not be taken in: {0}")]
    Sink(io::Error),
    /// A file or directory cannot be read.
    #[error("{path}: {text}", path = .path.display())]
    Files {
        /// Which.
        path: std::path::PathBuf,
        /// What the system said.
        text: String,
    },
    /// There is no access token to log in with.
    #[error("no access token from {host}: {text}")]
    OAuth {
        /// The provider's host.
        host: String,
        /// What it said.
        text: String,
        /// Whether it may say something else later.
        temporary: bool,
    },
    /// The server closed the connection.
    #[error("{host} closed the connection while {during} was awaited")]
    Closed {
        /// The host.
        host: String,
        /// What was awaited.
        during: &'static str,
    },
    /// The connection broke.
    #[error("the connection to {host} broke while {during} was awaited: {source}")]
    Broken {
        /// The host.
        host: String,
        /// What was awaited.
        during: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The server was silent, or too slow.
    #[error("{host} took more than {limit:?} for {during}")]
    TimedOut {
        /// The host.
        host: String,
        /// What was awaited.
        during: &'static str,
        /// How long it was waited.
        limit: Duration,
    },
    /// The source has no way to wait.
    #[error("this source cannot tell when something happens; it must be asked again")]
    CannotWait,
    /// The caller named a message that the source did not list.
    #[error("the message {0} was not listed")]
    NotListed(ItemId),
}

impl SourceError {
    /// Whether the same run may succeed later without anybody changing anything.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Name { .. }
            | Self::Connect { .. }
            | Self::Tls { .. }
            | Self::InUse { .. }
            | Self::Closed { .. }
            | Self::Broken { .. }
            | Self::TimedOut { .. } => true,
            Self::Protocol { error, .. } => {
                matches!(error.code(), Some(ResponseCode::SysTemp | ResponseCode::LoginDelay))
            }
            Self::OAuth { temporary, .. } => *temporary,
            Self::Imap { error, .. } => match &**error {
                // A server that shuts down, or an access token that ran out.
                ImapError::Bye(_) => true,
                error => error.code().is_some_and(Code::is_temporary),
            },
            Self::Ews { error, .. } => error.is_temporary(),
            Self::Folder { .. }
            | Self::Files { .. }
            | Self::TooMany { .. }
            | Self::Sink(_)
            | Self::CannotWait
            | Self::BadHost { .. }
            | Self::Trust(_)
            | Self::NotTrusted { .. }
            | Self::Login { .. }
            | Self::NotListed(_) => false,
        }
    }
}
