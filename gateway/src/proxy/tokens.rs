//! Where the access tokens of accounts come from whose clients can only send passwords.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use postern_shared::proto::sasl::Mechanism;
use secrecy::SecretString;

use super::Account;

/// A broker of access tokens.
pub trait Tokens: fmt::Debug + Send + Sync {
    /// Whether the account's password is a proxy password, which its server does not know. So it is at every host of the same
    /// provider, for every spelling of the user, when the binding is damaged, and after it was revoked until it is forgotten.
    fn is_bound(&self, account: &Account) -> bool;

    /// One name for an account, bound or not, however it is written and at whatever host of its provider.
    fn name_of(&self, account: &Account) -> String;

    /// A token for the account, when the proxy password is right; nothing is asked of anybody before it is. Who must wait
    /// when its turn comes is told so, and costs nothing. A wrong password is for the caller to count.
    fn token<'t>(
        &'t self,
        account: &'t Account,
        password: SecretString,
        admission: Admission,
    ) -> Pin<Box<dyn Future<Output = Result<Token, NoToken>> + Send + 't>>;

    /// The server did not take this token: it is never given again, the next [`Tokens::token`] asks the provider.
    fn refused(&self, account: &Account, token: &SecretString);
}

/// How a login waits for its turn to have its password checked.
pub struct Admission {
    /// The address has logged in to the account before: it goes ahead of strangers.
    pub known: bool,
    /// Asked when the turn comes, on the thread that checks: whether others have guessed wrongly meanwhile.
    pub must_wait: Box<dyn FnOnce() -> bool + Send>,
}

impl Admission {
    /// A stranger who need not wait.
    pub fn anybody() -> Self {
        Self { known: false, must_wait: Box::new(|| false) }
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").field("known", &self.known).finish_non_exhaustive()
    }
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
    /// Wrong passwords came while this one waited for its turn; it was not looked at.
    #[error("too many wrong passwords; the login must wait")]
    MustWait,
    /// Somebody must give consent again.
    #[error("the provider no longer honours the consent: {0}")]
    Revoked(String),
    /// It may come later.
    #[error("no token for now: {0}")]
    Unavailable(String),
}
