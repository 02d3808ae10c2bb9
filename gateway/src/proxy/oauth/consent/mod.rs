//! How a person consents at a provider, once for an account.
//!
//! | file | flow |
//! |---|---|
//! | `device` | device code (RFC 8628): a short code, typed in on any machine |
//! | `browser` | authorization code with PKCE and state (RFC 6749 §4.1, 7636, 8252): a link; the browser comes back to a port on this machine, or its address bar is pasted |
//!
//! [`consent`] goes through one of them and gives the sealed [`Binding`]; what a person must see or do goes through
//! [`Prompt`]. So the command line uses it, and anything else that can show a link.
//!
//! Promises
//! - The refresh token leaves this room only sealed.
//! - An answer to somebody else's question (another state) is passed over, and disturbs nothing.

mod browser;
mod device;

use std::time::Duration;

use postern_shared::crypto::password::Argon2Cost;
use secrecy::SecretString;
use tokio::sync::mpsc;

use super::Account;
use super::binding::Binding;
use super::link::{AskError, Link};
use super::names::bound_as;
use super::protocol::Tokens;

/// Which way to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// A code to be typed in.
    Device,
    /// A link to be opened.
    Browser,
}

/// What a person must see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// Open the link, type in the code.
    Code {
        /// The link.
        link: String,
        /// The same with the code in it, when the provider has that.
        complete_link: Option<String>,
        /// The code.
        code: String,
        /// For how long it is good.
        life: Duration,
    },
    /// Open the link.
    Link {
        /// The link.
        link: String,
        /// Whether the browser comes back to this machine by itself, if it runs here.
        comes_back: bool,
    },
    /// What was pasted is not the address that the browser was sent to.
    NotThat,
}

/// Why there is no consent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsentError {
    /// The provider has no endpoint for this flow.
    #[error("the provider {0} has no {1}; take the other flow, or set it in [[proxy.provider]]")]
    NoEndpoint(String, &'static str),
    /// The person said no.
    #[error("the consent was refused at the provider ({0})")]
    Denied(String),
    /// Nobody consented in time.
    #[error("nobody consented in time; begin again")]
    Expired,
    /// The provider says no.
    #[error("the provider refuses ({0}); check [[proxy.provider]] and the registration there")]
    Refused(String),
    /// The provider cannot be asked.
    #[error("cannot ask the provider: {0}")]
    Failed(String),
    /// No refresh token came.
    #[error(
        "the provider gave no refresh token: it wants a scope for that (often offline_access), or for this client to be \
         allowed it"
    )]
    NoRefreshToken,
    /// The browser cannot come back.
    #[error("cannot listen at {0}: {1}")]
    CannotListen(String, std::io::Error),
    /// Sealing failed.
    #[error("the consent cannot be sealed: {0}")]
    Sealing(String),
}

impl From<AskError> for ConsentError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Refused(refusal) => Self::Refused(refusal.to_string()),
            other => Self::Failed(other.to_string()),
        }
    }
}

/// Lets a person consent, and seals what that gives under `password`.
///
/// `pasted` brings lines that the person pastes; only [`Flow::Browser`] reads them.
pub async fn consent(
    link: &Link,
    account: &Account,
    flow: Flow,
    password: SecretString,
    tell: &mut (dyn FnMut(Prompt) + Send),
    pasted: &mut mpsc::Receiver<SecretString>,
) -> Result<Binding, ConsentError> {
    let tokens = match flow {
        Flow::Device => device::tokens(link, tell).await?,
        Flow::Browser => browser::tokens(link, tell, pasted).await?,
    };
    let Tokens { refresh_token, scopes, .. } = tokens;
    let refresh_token = refresh_token.ok_or(ConsentError::NoRefreshToken)?;
    if let Some(scopes) = scopes {
        let missing: Vec<_> = link.provider.scopes.iter().filter(|scope| !scopes.contains(scope)).collect();
        tracing::debug!(?missing, "scopes that were asked for and are not named in the grant");
    }
    let (account, provider, now) =
        (bound_as(account, &link.provider), link.provider.clone(), link.clock.wall());
    let seal = move || {
        Binding::seal(&account, &provider, &refresh_token, &password, now, Argon2Cost::DEFAULT)
            .map_err(|error| ConsentError::Sealing(error.to_string()))
    };
    let sealed = tokio::task::spawn_blocking(seal).await;
    sealed.unwrap_or_else(|error| Err(ConsentError::Sealing(error.to_string())))
}
