//! What is sent to a provider and what it may answer: values only, no network, no clock.
//!
//! | grant | source |
//! |---|---|
//! | refresh token | RFC 6749 §6 |
//! | authorization code with PKCE (S256) and state | RFC 6749 §4.1, RFC 7636 |
//! | device code | RFC 8628 |
//! | password, implicit, client credentials | no |

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use postern_shared::crypto::digest::sha256;
use postern_shared::crypto::random;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::form_urlencoded::{Serializer, byte_serialize};
use zeroize::Zeroizing;

use super::http::Answered;
use super::provider::Provider;

/// The longest access token that still fits a line of SASL with a user name (12,288 octets as base64).
const ACCESS_TOKEN_BYTES_MAX: usize = 8192;
const REFRESH_TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Whatever a provider says, a token is not used for longer.
const LIFE_MAX: Duration = Duration::from_secs(24 * 3600);
const WORDS_MAX: usize = 300;

/// A request, ready to be sent. Wiped when dropped.
pub(super) struct Asked {
    pub(super) body: Zeroizing<String>,
    pub(super) authorization: Option<Zeroizing<String>>,
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asked(..)")
    }
}

/// How this request proves who sends it.
#[derive(Debug)]
pub(super) enum Proof {
    /// Not at all.
    Public,
    /// By the client's secret.
    Secret { secret: SecretString, in_body: bool },
    /// By a signed assertion (RFC 7523 §2.2), made for this request.
    Assertion(SecretString),
}

/// What is asked of the token endpoint or the device endpoint.
#[derive(Debug)]
pub(super) enum Grant<'g> {
    Refresh { refresh_token: &'g SecretString },
    Code { code: &'g SecretString, redirect_uri: &'g str, verifier: &'g SecretString },
    Device { device_code: &'g SecretString },
    DeviceAuthorization,
}

impl Grant<'_> {
    /// The request for it.
    pub(super) fn ask(&self, provider: &Provider, proof: &Proof) -> Asked {
        let mut form = Serializer::new(String::new());
        match self {
            Self::Refresh { refresh_token } => {
                form.append_pair("grant_type", "refresh_token");
                form.append_pair("refresh_token", refresh_token.expose_secret());
            }
            Self::Code { code, redirect_uri, verifier } => {
                form.append_pair("grant_type", "authorization_code");
                form.append_pair("code", code.expose_secret());
                form.append_pair("redirect_uri", redirect_uri);
                form.append_pair("code_verifier", verifier.expose_secret());
            }
            Self::Device { device_code } => {
                form.append_pair("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
                form.append_pair("device_code", device_code.expose_secret());
            }
            Self::DeviceAuthorization => {
                form.append_pair("scope", &provider.scopes.join(" "));
            }
        }
        let mut authorization = None;
        match proof {
            Proof::Public => {
                form.append_pair("client_id", &provider.client_id);
            }
            Proof::Secret { secret, in_body: true } => {
                form.append_pair("client_id", &provider.client_id);
                form.append_pair("client_secret", secret.expose_secret());
            }
            Proof::Secret { secret, in_body: false } => {
                authorization = Some(basic(&provider.client_id, secret));
            }
            Proof::Assertion(assertion) => {
                form.append_pair("client_id", &provider.client_id);
                form.append_pair(
                    "client_assertion_type",
                    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                );
                form.append_pair("client_assertion", assertion.expose_secret());
            }
        }
        Asked { body: Zeroizing::new(form.finish()), authorization }
    }
}

/// RFC 6749 §2.3.1: both are form-encoded before they are put together.
fn basic(client_id: &str, secret: &SecretString) -> Zeroizing<String> {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = Zeroizing::new(format!("{}:{}", encoded(client_id), encoded(secret.expose_secret())));
    Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())))
}

/// What binds an authorization code to who asked for it: state (RFC 6749 §10.12) and PKCE's verifier (RFC 7636 §4.1).
#[derive(Debug)]
pub(super) struct Binds {
    pub(super) state: SecretString,
    pub(super) verifier: SecretString,
}

impl Binds {
    /// 256 random bits each.
    pub(super) fn new() -> Self {
        let text = || SecretString::from(URL_SAFE_NO_PAD.encode(*Zeroizing::new(random::<32>())));
        Self { state: text(), verifier: text() }
    }

    /// Where a person consents; `None` when the provider has no such place.
    pub(super) fn authorization_url(&self, provider: &Provider, redirect_uri: &str) -> Option<String> {
        let mut url = provider.authorization_endpoint.as_ref()?.url().clone();
        let challenge = URL_SAFE_NO_PAD.encode(sha256(self.verifier.expose_secret().as_bytes()).0);
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &provider.client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("scope", &provider.scopes.join(" "))
            .append_pair("state", self.state.expose_secret())
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .extend_pairs(&provider.consent_parameters);
        Some(url.into())
    }
}

/// What a token endpoint gave.
#[derive(Debug)]
pub(super) struct Tokens {
    pub(super) access_token: SecretString,
    /// For how long the access token is good; `None` when the provider does not say.
    pub(super) life: Option<Duration>,
    /// The refresh token from now on, when it is another one.
    pub(super) refresh_token: Option<SecretString>,
    /// What was granted, when it is not what was asked for.
    pub(super) scopes: Option<Vec<String>>,
}

/// What a device endpoint gave (RFC 8628 §3.2).
#[derive(Debug)]
pub(super) struct DeviceCode {
    pub(super) device_code: SecretString,
    pub(super) user_code: String,
    pub(super) verification_uri: String,
    /// The same with the code in it.
    pub(super) complete_uri: Option<String>,
    pub(super) life: Duration,
    pub(super) interval: Duration,
}

/// Why a provider gave nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It says why (RFC 6749 §5.2).
    Said { error: String, words: String },
    /// It says no, and not why: RFC 6749 §5.2 wants a reason; Glewlwyd 2.7 gives none for a refresh token that it has forgotten.
    Unexplained { status: u16 },
    /// It is busy or broken.
    Later { words: String, retry_after: Option<Duration> },
    /// What it says is not understood.
    NotUnderstood(String),
}

impl Refusal {
    /// Leaves the words away when the answer repeats what was sent: they come into logs.
    pub(super) fn without(self, grant: &Grant<'_>, answered: &Answered) -> Self {
        let secret = match grant {
            Grant::Refresh { refresh_token: secret }
            | Grant::Code { code: secret, .. }
            | Grant::Device { device_code: secret } => secret.expose_secret(),
            Grant::DeviceAuthorization => return self,
        };
        if memchr::memmem::find(&answered.body, secret.as_bytes()).is_none() {
            return self;
        }
        match self {
            Self::Said { error, .. } if !error.contains(secret) => {
                Self::Said { error, words: "its words repeat a secret".into() }
            }
            Self::Unexplained { status } => Self::Unexplained { status },
            Self::Later { retry_after, .. } => {
                Self::Later { words: "its words repeat a secret".into(), retry_after }
            }
            _ => Self::NotUnderstood("its words repeat a secret".into()),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Said { error, words } if words.is_empty() => f.write_str(error),
            Self::Said { error, words } => write!(f, "{error}: {words}"),
            Self::Unexplained { status } => write!(f, "status {status}: without a reason"),
            Self::Later { words, .. } | Self::NotUnderstood(words) => f.write_str(words),
        }
    }
}

#[derive(Deserialize)]
struct RawTokens {
    access_token: String,
    token_type: String,
    expires_in: Option<Seconds>,
    refresh_token: Option<String>,
    scope: Option<String>,
}

/// Some providers write numbers as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(f64),
    Text(String),
}

impl Seconds {
    fn duration(&self) -> Option<Duration> {
        let seconds = match self {
            Self::Number(seconds) => *seconds,
            Self::Text(text) => text.parse().ok()?,
        };
        Duration::try_from_secs_f64(seconds).ok()
    }
}

#[derive(Deserialize)]
struct RawDeviceCode {
    device_code: String,
    user_code: String,
    /// Google writes `verification_url`.
    #[serde(alias = "verification_url")]
    verification_uri: String,
    #[serde(alias = "verification_url_complete")]
    verification_uri_complete: Option<String>,
    expires_in: Seconds,
    interval: Option<Seconds>,
}

#[derive(Deserialize)]
struct RawError {
    error: String,
    error_description: Option<String>,
}

/// Reads a token endpoint's answer (RFC 6749 §5).
pub(super) fn tokens(answered: &Answered) -> Result<Tokens, Refusal> {
    let RawTokens { access_token, token_type, expires_in, refresh_token, scope } = read(answered)?;
    let (access_token, refresh_token) =
        (SecretString::from(access_token), refresh_token.map(SecretString::from));
    if !token_type.eq_ignore_ascii_case("bearer") {
        return Err(Refusal::NotUnderstood(format!("tokens of type {} are not known", plain(&token_type))));
    }
    let fits = |token: &SecretString, max| {
        let token = token.expose_secret().as_bytes();
        (1..=max).contains(&token.len()) && token.iter().all(u8::is_ascii_graphic)
    };
    if !fits(&access_token, ACCESS_TOKEN_BYTES_MAX)
        || refresh_token.as_ref().is_some_and(|token| !fits(token, REFRESH_TOKEN_BYTES_MAX))
    {
        return Err(Refusal::NotUnderstood("a token is too long or holds strange characters".into()));
    }
    let scopes = scope.map(|scope| scope.split_ascii_whitespace().map(plain).collect());
    let life = expires_in.and_then(|seconds| seconds.duration()).map(|life| life.min(LIFE_MAX));
    Ok(Tokens { access_token, life, refresh_token, scopes })
}

/// Reads a device endpoint's answer (RFC 8628 §3.2).
pub(super) fn device_code(answered: &Answered) -> Result<DeviceCode, Refusal> {
    let raw: RawDeviceCode = read(answered)?;
    let link = |text: String| text.starts_with("https://").then(|| plain(&text));
    let link_wanted = || Refusal::NotUnderstood("the provider's link for the code is not https://".into());
    // RFC 8628 §3.5: five seconds when the provider says nothing.
    let interval = raw.interval.and_then(|seconds| seconds.duration()).unwrap_or(Duration::from_secs(5));
    Ok(DeviceCode {
        device_code: raw.device_code.into(),
        user_code: plain(&raw.user_code),
        verification_uri: link(raw.verification_uri).ok_or_else(link_wanted)?,
        complete_uri: raw.verification_uri_complete.and_then(link),
        life: raw.expires_in.duration().unwrap_or(Duration::from_secs(600)).min(Duration::from_secs(3600)),
        interval: interval.clamp(Duration::from_secs(1), Duration::from_secs(60)),
    })
}

fn read<T: serde::de::DeserializeOwned>(answered: &Answered) -> Result<T, Refusal> {
    let said = serde_json::from_slice::<RawError>(&answered.body).ok();
    let status = answered.status;
    let words =
        said.as_ref().and_then(|said| said.error_description.as_deref()).map(plain).unwrap_or_default();
    match (status, said) {
        (429 | 500..=599, _) => {
            let words =
                format!("it answers with status {status}{}{words}", if words.is_empty() { "" } else { ": " });
            Err(Refusal::Later { words, retry_after: answered.retry_after })
        }
        // Some say it with 200.
        (_, Some(said)) if ["temporarily_unavailable", "server_error"].contains(&said.error.as_str()) => {
            Err(Refusal::Later { words: said.error, retry_after: answered.retry_after })
        }
        (_, Some(said)) => Err(Refusal::Said { error: plain(&said.error), words }),
        (200, None) => serde_json::from_slice(&answered.body).map_err(|error| {
            // Where, but not what: the text may hold a token.
            let place = format!("line {}, column {}", error.line(), error.column());
            Refusal::NotUnderstood(format!("its answer is not the JSON that was expected ({place})"))
        }),
        (300..=399, None) => Err(Refusal::NotUnderstood(format!(
            "it sends us elsewhere (status {status}), which is not followed; check the endpoint"
        ))),
        (400, None) => Err(Refusal::Unexplained { status }),
        (401 | 403, None) => {
            Err(Refusal::Said { error: format!("status {status}"), words: "without a reason".into() })
        }
        (_, None) => {
            Err(Refusal::NotUnderstood(format!("it answers with status {status}; check the endpoint")))
        }
    }
}

/// A provider's words as one short line: they come into logs, onto terminals, and into replies.
pub(super) fn plain(text: &str) -> String {
    let keep = |c: char| if c.is_control() || !c.is_ascii() { ' ' } else { c };
    let mut line: String = text.chars().take(WORDS_MAX).map(keep).collect();
    line.truncate(line.trim_end().len());
    line
}
