//! Where the access tokens of accounts come from whose clients can only send passwords.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use postern_shared::proto::sasl::Mechanism;
use secrecy::SecretString;

use super::Account;

/// A broker of access tokens.
pub trait Tokens: fmt::Debug + Send + Sync {
    /// Whether the account's password is a proxy password, which its server does not know.
    fn is_bound(&self, account: &Account) -> bool;

    /// A token for the account, when the proxy password is right; nothing is asked of anybody before it is.
    fn token<'t>(
        &'t self,
        account: &'t Account,
        password: SecretString,
    ) -> Pin<Box<dyn Future<Output = Result<Token, NoToken>> + Send + 't>>;
}

/// A token, and what to send it by first.
#[derive(Debug, Clone)]
pub struct Token {
    /// The token.
    pub token: SecretString,
    /// What the provider wants.
    pub mechanism: Mechanism,
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoToken {
    /// The proxy password is wrong.
    #[error("the proxy password is wrong")]
    WrongPassword,
    /// Somebody must give consent again.
    #[error("the provider no longer honours the consent: {0}")]
    Revoked(String),
    /// It may come later.
    #[error("no token for now: {0}")]
    Unavailable(String),
}
