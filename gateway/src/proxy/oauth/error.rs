//! Why there is no access token.

use std::path::PathBuf;

/// Why there is no access token. Nothing here holds a secret; a provider's words are one line of printable ASCII.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// The consent is gone: taken back, expired, or used up by somebody else.
    #[error(
        "the provider no longer accepts the consent for {account} ({words}); \
         run `postern-gateway oauth bind {account} --provider {provider}` again"
    )]
    ConsentGone {
        /// Whose.
        account: String,
        /// Which provider.
        provider: String,
        /// What it said.
        words: String,
    },
    /// The binding was revoked here, and is not forgotten.
    #[error(
        "the binding of {account} was revoked; run `postern-gateway oauth bind {account} --provider {provider}` to bind it \
         again, or `postern-gateway oauth revoke {account} --forget` to have passwords passed on to the mail server again"
    )]
    Revoked {
        /// Whose.
        account: String,
        /// Which provider.
        provider: String,
    },
    /// The settings no longer hold what the binding was made with.
    #[error(
        "[[proxy.provider]] {provider:?} {reason} since {account} was bound; put it back or run \
         `postern-gateway oauth bind {account} --provider …` again"
    )]
    ProviderChanged {
        /// Whose.
        account: String,
        /// Which provider.
        provider: String,
        /// What is different: "is missing", "has another token_endpoint".
        reason: &'static str,
    },
    /// The provider refuses for another reason, which is ours to mend: client id, secret, scopes.
    #[error(
        "the provider {provider} refuses ({words}); check [[proxy.provider]] and the registration there, or run \
         `postern-gateway oauth bind {account} --provider {provider}` again"
    )]
    Refused {
        /// Whose.
        account: String,
        /// Which provider.
        provider: String,
        /// What it said.
        words: String,
    },
    /// The provider cannot be reached, is busy, or does not speak sense.
    #[error("no access token from the provider {provider} for now: {reason}")]
    Unreachable {
        /// Which provider.
        provider: String,
        /// What went wrong.
        reason: String,
    },
    /// Client secret, key or certificate of the gateway itself cannot be read.
    #[error("the gateway cannot prove itself to the provider {provider}: {reason}")]
    Credential {
        /// Which provider.
        provider: String,
        /// What went wrong.
        reason: String,
    },
    /// The account was bound anew or revoked after the password was checked.
    #[error("{account} was bound anew or revoked meanwhile; log in again")]
    Replaced {
        /// Whose.
        account: String,
    },
    /// The file was altered: the password is right, and what it seals does not open.
    #[error(
        "the binding of {account} is damaged; run `postern-gateway oauth bind {account} --provider {provider}` again"
    )]
    Damaged {
        /// Whose.
        account: String,
        /// Which provider.
        provider: String,
    },
    /// Not a binding that this version writes.
    #[error("the binding of {account} cannot be used: {reason}")]
    Unusable {
        /// Whose.
        account: String,
        /// What is wrong.
        reason: String,
    },
    /// No such binding.
    #[error("{account} is not bound; `postern-gateway oauth list` shows which accounts are")]
    Unknown {
        /// Whose.
        account: String,
    },
    /// The disk failed.
    #[error("cannot write {path}: {reason}", path = .path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The process ends.
    #[error("the gateway is being stopped")]
    Ending,
    /// A part of the program failed.
    #[error("asking for an access token failed inside; see the log")]
    Inside,
}

impl BrokerError {
    /// Whether the same login may succeed later without anybody doing anything.
    pub fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Replaced { .. }
                | Self::Disk { .. }
                | Self::Ending
                | Self::Inside
        )
    }
}
