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
//! | `names` | what accounts are called, which host names are one provider's |
//! | `tombstone` | what is left of a binding that was revoked |
//! | `held` | what is held of every account, in memory |
//! | `broker` | all bindings, in memory and on disk; passwords |
//! | `refresh` | from an opened binding to an access token |
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
//! | `account` | `user%host`, lower case, NFKC, neither port nor mailbox; where a provider has several host names, the first (files of old: any, ASCII lower case only) |
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
//! After `oauth revoke` the same file is a tombstone: `version` 1, `account`, `provider` (null when the binding was damaged) and
//! `revoked`, milliseconds since 1970. Programs that know no tombstones take it for a damaged binding.
//!
//! # Promises
//! - The proxy password of a bound account goes to no server: however the user is written, at all host names of the provider,
//!   when the file is damaged, and after revoking, until an operator says that the account be forgotten.
//! - Nothing is asked of a provider, and no token is opened, before the proxy password was right. A wrong password and an
//!   account without a binding are the same: same answer, same computing. One that was revoked is told so.
//! - A refresh token that a provider replaces is on disk before the access token that came with it is used. Between the
//!   provider's answer and our sync a crash can lose it; then the account must be bound anew, and the client is told.
//! - An access token in memory is sealed under the binding's key: it serves only logins that have shown the password.
//! - At an orderly end what a provider has replaced is waited for and on disk, within a bound.
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
mod held;
mod http;
mod link;
mod names;
mod pooled;
mod protocol;
mod provider;
mod refresh;
#[cfg(test)]
mod tests;
mod tombstone;

use postern_shared::id::MailboxId;

pub use binding::Binding;
pub use broker::Broker;
pub use error::BrokerError;
pub use http::Deadlines;
pub use link::Link;
pub use names::account_key;
pub use pooled::PooledBroker;
pub use provider::{
    Algorithm, Credential, Endpoint, GOOGLE_HOSTS, MICROSOFT365_HOSTS, Provider, Redirect, SecretSource,
};
pub use refresh::{AccessToken, OpenBinding};
pub use tombstone::Tombstone;

use super::route::{Account, BadRoute, Route};

/// The account in a login name, with or without the mailbox at its end.
pub fn account_in(login: &str, divider: char) -> Result<Account, BadRoute> {
    let ends_in_mailbox =
        login.rsplit(divider).next().is_some_and(|last| last.trim().parse::<MailboxId>().is_ok());
    let any_mailbox = MailboxId::random();
    let whole = if ends_in_mailbox { login.to_owned() } else { format!("{login}{divider}{any_mailbox}") };
    Route::parse(&whole, divider).unwrap_or(Err(BadRoute::Parts(divider))).map(|route| route.account)
}
