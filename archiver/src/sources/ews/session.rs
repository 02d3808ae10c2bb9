//! A login and a connection: requests go out with the account's proof, and come back answered or refused.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use postern_shared::clock::{Clock, SystemClock, UnixMillis};
use postern_shared::crypto::random;
use postern_shared::proto::sasl::PlainCredentials;
use postern_shared::tls::client::{Trust, client_config};
use rustls::ClientConfig;
use secrecy::SecretString;

use super::auth::ntlm::{self, Challenge, Circumstances};
use super::auth::{ClientCredentials, Login, TokenError, basic, bearer, ntlm_field, token};
use super::common::Common;
use super::http::{Answered, Client, Sent, Target};
use super::settings::{Limits, Settings};
use super::soap::answer::printable;
use super::{EwsError, online};
use crate::sources::SourceError;

/// Octets of what a server says beside a status.
const WORDS_OCTETS_MAX: usize = 64 * 1024;
/// Octets of a token endpoint's answer.
const TOKEN_OCTETS_MAX: usize = 256 * 1024;

/// A login at one host.
pub(super) struct Session {
    pub(super) client: Client,
    login: Login,
    limits: Limits,
    clock: SystemClock,
    pub(super) common: Common,
}

impl Session {
    pub(super) fn new(target: Target, settings: &Settings, limits: &Limits) -> Result<Self, SourceError> {
        let client = Client::new(target, tls(&settings.trust)?, limits);
        let (login, common) = (settings.login.clone(), settings.common.clone());
        Ok(Self { client, login, limits: limits.clone(), clock: SystemClock::new(), common })
    }

    pub(super) fn login(&self) -> &Login {
        &self.login
    }

    pub(super) fn now(&self) -> UnixMillis {
        self.clock.wall()
    }

    pub(super) fn fault(&self, error: EwsError) -> SourceError {
        SourceError::Ews { host: self.client.host().to_owned(), error: Box::new(error) }
    }

    /// Posts to a path; any answer but a refused login.
    pub(super) async fn post(
        &mut self,
        path: &str,
        fields: &HeaderMap,
        body: &str,
    ) -> Result<Answered, SourceError> {
        let mut sent = posted(path, fields, body);
        let mut again = true;
        loop {
            let was_known = match self.login.clone() {
                Login::Ntlm(_) if self.client.is_logged_in() => true,
                Login::Ntlm(credentials) => {
                    sent.fields.insert(AUTHORIZATION, self.shake_hands(path, &credentials).await?);
                    false
                }
                Login::Basic(credentials) => {
                    let field = basic(&credentials).ok_or_else(|| self.unusable())?;
                    sent.fields.insert(AUTHORIZATION, field);
                    false
                }
                Login::Bearer(token) => {
                    let field = bearer(&token).ok_or_else(|| self.unusable())?;
                    sent.fields.insert(AUTHORIZATION, field);
                    false
                }
                Login::ClientCredentials(client) => {
                    let known = self.common.token().is_some();
                    let field = self.access_token(&client).await?;
                    sent.fields.insert(AUTHORIZATION, field);
                    known
                }
            };
            let shaken = matches!(self.login, Login::Ntlm(_)) && sent.fields.contains_key(AUTHORIZATION);
            // The end of the handshake belongs to the connection that it began on.
            let answered =
                if shaken { self.client.send_here(&sent).await } else { self.client.send(&sent).await };
            if shaken {
                sent.fields.remove(AUTHORIZATION);
            }
            let answered = answered?;
            if answered.status != 401 {
                self.client.logged_in();
                return Ok(answered);
            }
            // What was good once may have run out: a connection made anew, a token taken back.
            if !(was_known && again) {
                return Err(self.refused(&answered));
            }
            again = false;
            self.common.forget_token();
            self.client.forget_login();
            // What is left unread would end the connection.
            drop(answered.body.up_to(WORDS_OCTETS_MAX).await?);
        }
    }

    /// Posts to a path without a login; whether the server asks for one of this kind.
    pub(super) async fn post_openly(&mut self, path: &str, body: &str) -> Result<Asked, SourceError> {
        let answered = self.client.send(&posted(path, &HeaderMap::new(), body)).await?;
        if answered.status != 401 {
            return Ok(Asked::Answered(answered));
        }
        let scheme = self.login.scheme();
        let offered = offers(&answered.fields).any(|offer| {
            offer.split_whitespace().next().is_some_and(|offer| offer.eq_ignore_ascii_case(scheme))
        });
        if !offered {
            return Err(self.refused(&answered));
        }
        drop(answered.body.up_to(WORDS_OCTETS_MAX).await?);
        Ok(Asked::ForLogin)
    }

    /// Gets something without a login.
    pub(super) async fn get(&mut self, path: &str) -> Result<Answered, SourceError> {
        let mut fields = HeaderMap::new();
        fields.insert(ACCEPT, HeaderValue::from_static("application/json"));
        self.client
            .send(&Sent { method: Method::GET, path: path.to_owned(), fields, body: Bytes::new() })
            .await
    }

    /// NTLM's first two messages; the third.
    async fn shake_hands(
        &mut self,
        path: &str,
        credentials: &PlainCredentials,
    ) -> Result<HeaderValue, SourceError> {
        let first = ntlm_field(&ntlm::negotiate()).ok_or_else(|| self.unusable())?;
        let mut fields = HeaderMap::new();
        fields.insert(AUTHORIZATION, first);
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/xml; charset=utf-8"));
        let sent = Sent { method: Method::POST, path: path.to_owned(), fields, body: Bytes::new() };
        let answered = self.client.send(&sent).await?;
        let challenge = offers(&answered.fields).find_map(|offer| {
            let (scheme, data) = offer.split_once(' ')?;
            let data = scheme.eq_ignore_ascii_case("NTLM").then(|| data.trim())?;
            STANDARD.decode(data).ok()
        });
        let Some(challenge) = challenge.filter(|_| answered.status == 401) else {
            return Err(match answered.status {
                401 => self.refused(&answered),
                _ => self.status(&answered, "the login"),
            });
        };
        drop(answered.body.up_to(WORDS_OCTETS_MAX).await?);
        let proof = Challenge::parse(&challenge).and_then(|challenge| {
            let with = Circumstances {
                nonce: random(),
                now: self.clock.wall(),
                service: format!("HTTP/{}", self.client.host()),
                certificate_hash: self.client.certificate_hash(),
            };
            ntlm::authenticate(&challenge, credentials, &with)
        });
        let proof = proof.map_err(|error| self.fault(error.into()))?;
        ntlm_field(&proof).ok_or_else(|| self.unusable())
    }

    async fn access_token(&mut self, client: &ClientCredentials) -> Result<HeaderValue, SourceError> {
        let token = match self.common.token() {
            Some(token) => token,
            None => {
                let (token, lasts) = fetch_token(client, &self.limits).await?;
                self.common.keep_token(token.clone(), lasts);
                token
            }
        };
        bearer(&token).ok_or_else(|| self.unusable())
    }

    fn unusable(&self) -> SourceError {
        SourceError::Login {
            host: self.client.host().to_owned(),
            user: self.login.user().to_owned(),
            text: "user name, password or token hold what HTTP cannot carry".into(),
        }
    }

    /// Status 401: a wrong password, or another kind of login is wanted.
    fn refused(&mut self, answered: &Answered) -> SourceError {
        if online::answered(&answered.fields) {
            return self.fault(EwsError::Online(String::new()));
        }
        let (host, scheme) = (self.client.host().to_owned(), self.login.scheme());
        let names = |offer: &str| printable(offer.split_whitespace().next().unwrap_or_default());
        let offered: Vec<String> = offers(&answered.fields).map(names).collect();
        self.client.close();
        if !offered.iter().any(|offer| offer.eq_ignore_ascii_case(scheme)) {
            let offered = if offered.is_empty() { "nothing".to_owned() } else { offered.join(", ") };
            return self.fault(EwsError::NotOffered { asked: scheme, offered });
        }
        let text = format!("HTTP status 401 (by {scheme})");
        SourceError::Login { host, user: self.login.user().to_owned(), text }
    }

    /// A status that nothing comes of.
    pub(super) fn status(&self, answered: &Answered, what: &str) -> SourceError {
        let status = answered.status;
        if online::answered(&answered.fields) && matches!(status, 403 | 404 | 410) {
            return self.fault(EwsError::Online(format!(" (it answers with HTTP status {status})")));
        }
        if let (300..=399, Some(location)) = (status, answered.field(hyper::header::LOCATION)) {
            return self.fault(EwsError::Redirected(printable(location)));
        }
        let hint = match status {
            403 => {
                "; EWS may be switched off for the account or the organisation (Get-CASMailbox, Get-OrganizationConfig: \
                    EwsEnabled, EwsApplicationAccessPolicy), or refused for this address"
            }
            404 => "; there is no EWS at this url, usually it ends in /EWS/Exchange.asmx",
            413 => "; a request is too long for it",
            _ => "",
        };
        self.fault(EwsError::Status { what: what.to_owned(), status, hint: hint.to_owned() })
    }
}

/// What came of a request without a login.
pub(super) enum Asked {
    /// An answer.
    Answered(Answered),
    /// The server wants the login.
    ForLogin,
}

fn posted(path: &str, fields: &HeaderMap, body: &str) -> Sent {
    let mut fields = fields.clone();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/xml; charset=utf-8"));
    fields.insert(ACCEPT, HeaderValue::from_static("text/xml"));
    let body = Bytes::copy_from_slice(body.as_bytes());
    Sent { method: Method::POST, path: path.to_owned(), fields, body }
}

fn offers(fields: &HeaderMap) -> impl Iterator<Item = &str> {
    fields.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok())
}

/// Reads files: the machine's authorities, or those of the trust.
pub(super) fn tls(trust: &Trust) -> Result<Arc<ClientConfig>, SourceError> {
    let mut config = client_config(trust)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

async fn fetch_token(
    credentials: &ClientCredentials,
    limits: &Limits,
) -> Result<(SecretString, std::time::Duration), SourceError> {
    let host = credentials.endpoint.host_str().unwrap_or_default().to_owned();
    let fault = |error: TokenError| SourceError::Ews { host: host.clone(), error: Box::new(error.into()) };
    let target =
        Target::of(&credentials.endpoint).ok_or_else(|| fault(TokenError::Malformed(host.clone())))?;
    let path = target.path.clone();
    let mut client = Client::new(target, tls(&credentials.trust)?, limits);
    let mut fields = HeaderMap::new();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    fields.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let body = Bytes::from_owner(token::form(credentials));
    let answered = client.send(&Sent { method: Method::POST, path, fields, body }).await?;
    let status = answered.status;
    let body = zeroize::Zeroizing::new(answered.body.up_to(TOKEN_OCTETS_MAX).await?);
    let granted = token::granted(credentials.endpoint.as_str(), status, &body);
    granted.map_err(|error| fault(error.without(&credentials.client_secret)))
}
