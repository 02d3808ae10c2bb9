//! The OAuth broker: mail clients that can only do passwords, at providers that take none any more.
//!
//! An operator, or a user through a link, *binds* an account: consents at the provider once ([`consent`]) and gets a proxy
//! password for the mail client. At a login the proxy checks that password here, asks the provider for an access token,
//! and logs in with it by XOAUTH2 or OAUTHBEARER.
//!
//! | file | what |
//! |---|---|
//! | `provider` | a provider as the settings describe it |
//! | `binding` | a binding's file: sealing, opening |
//! | `broker` | all bindings; passwords, access tokens |
//! | `protocol` | requests and answers, as values |
//! | `link`, `http`, `assertion` | the way to a provider: who we are, TLS, one POST |
//! | `pooled` | the broker as the proxy's gate sees it |
//! | [`consent`] | how a person consents: device code, browser |
//!
//! Call order at a login: [`Broker::open`] where passwords are checked (it blocks), then [`Broker::access_token`].
//!
//! # On disk
//!
//! `data_dir/oauth/<first 32 hexadecimal digits of SHA-256(account)>.json`, JSON, version 1, replaced as a whole:
//!
//! | field | what |
//! |---|---|
//! | `version` | 1; others are refused |
//! | `account` | `user%host`, lower case, neither port nor mailbox |
//! | `provider` | the name in `[[proxy.provider]]` |
//! | `token_endpoint`, `client_id` | those of the consent; with others in the settings, the account must be bound anew |
//! | `scopes` | what was asked for |
//! | `created`, `used` | milliseconds since 1970: consent, and last access token (null: none yet) |
//! | `cost`, `salt` | Argon2id: `memory_kib`, `passes`, `lanes`; 16 octets as hexadecimal |
//! | `verifier` | 32 octets: HKDF-SHA-256(key, info "postern oauth v1 verifier") |
//! | `sealed` | 12 octets nonce, ciphertext, 16 octets tag: AES-256-GCM |
//!
//! `key` is Argon2id(proxy password, salt). The sealing key is HKDF-SHA-256(key, info "postern oauth v1 sealing"), the
//! plaintext `{"refresh_token": "…"}`. Associated data: version (u32, big endian), then account, provider, token_endpoint,
//! client_id and each scope, each behind its length (u64, big endian), then created (u64, big endian), then the salt. So
//! nobody who can write the file turns a consent to another account, or has a refresh token sent elsewhere.
//!
//! # Promises
//! - Nothing is asked of a provider, and no token is opened, before the proxy password was right. A wrong password and an
//!   account without a binding are the same: same answer, same computing.
//! - A refresh token that a provider replaces is on disk before the access token that came with it is used. Between the
//!   provider's answer and our sync a crash can lose it; then the account must be bound anew, and the client is told.
//! - An access token in memory is sealed under the binding's key: it serves only logins that have shown the password.
//! - Tokens go to the provider over verified TLS, and nowhere else: no redirect is followed.
//! - One request at a time for an account, 16 for a provider; every answer is bounded in time and size.
//! - Logs name accounts and providers, never a password, a token or a code.
//!
//! # Standards
//!
//! | what | supported |
//! |---|---|
//! | RFC 6749 authorization code, refresh token | yes |
//! | RFC 6749 password, client credentials, implicit | no |
//! | RFC 7636 PKCE | S256, always |
//! | RFC 8252 loopback redirect | yes |
//! | RFC 8628 device code | yes |
//! | RFC 7523 client assertion | RSA: PS256, RS256 |
//! | RFC 7009 revocation | no: only the password opens the refresh token; the CLI says where a person revokes |
//! | RFC 9449 DPoP, RFC 8705 mutual TLS | no |
//!
//! The protocol is our own code, three forms and three answers: the `oauth2` crate keeps tokens in plain strings, repeats
//! one client assertion for the fifteen minutes of a device flow, and brings a second family of `rand`, `sha2` and a
//! clock of its own.
//!
//! Not here: SASL (`postern_shared::proto::sasl`), the connection to the mail server (`proxy`), places and back-off for
//! logins (`login`).

mod assertion;
mod binding;
mod broker;
pub mod consent;
mod error;
mod http;
mod link;
mod pooled;
mod protocol;
mod provider;
#[cfg(test)]
mod tests;

use postern_shared::id::MailboxId;

pub use binding::Binding;
pub use broker::{AccessToken, Broker, OpenBinding};
pub use error::BrokerError;
pub use http::Deadlines;
pub use link::Link;
pub use pooled::PooledBroker;
pub use provider::{Algorithm, Credential, Endpoint, Provider, Redirect, SecretSource};

use super::route::{Account, BadRoute, Route};

/// What an account is called in bindings. Mail clients write it in upper and lower case as people please.
fn key_of(account: &Account) -> String {
    account.to_string().to_ascii_lowercase()
}

/// The account in a login name, with or without the mailbox at its end.
pub fn account_in(login: &str, divider: char) -> Result<Account, BadRoute> {
    let ends_in_mailbox =
        login.rsplit(divider).next().is_some_and(|last| last.trim().parse::<MailboxId>().is_ok());
    let any_mailbox = MailboxId::random();
    let whole = if ends_in_mailbox { login.to_owned() } else { format!("{login}{divider}{any_mailbox}") };
    Route::parse(&whole, divider).unwrap_or(Err(BadRoute::Parts(divider))).map(|route| route.account)
}
