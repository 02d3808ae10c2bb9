//! Access tokens for sources: asked for at a token endpoint, over TLS, with a refresh token or as the client itself.
//!
//! | grant | source |
//! |---|---|
//! | refresh token | RFC 6749 §6 |
//! | client credentials | RFC 6749 §4.4 |
//! | the client's secret, as Basic or in the form | RFC 6749 §2.3.1 |
//! | signed assertions, consent of a person | No |
//!
//! Promises
//! - Redirects are not followed: a secret goes where the operator said, and nowhere else.
//! - An answer is bounded in time and size, and what is told of it holds no secret.
//!
//! Not here: who keeps refresh tokens (`profiles`), how a token logs in (`imap`, `pop3`).

mod http;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_shared::tls::client::Trust;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::form_urlencoded::{Serializer, byte_serialize};
use url::{Host, Url};
use zeroize::Zeroizing;

use super::SourceError;

/// The longest access token that still fits a line of SASL with a user name (12,288 octets as base64).
const ACCESS_TOKEN_BYTES_MAX: usize = 8192;
const REFRESH_TOKEN_BYTES_MAX: usize = 16 * 1024;
/// When a provider does not say how long a token is good.
const LIFE_USUAL: Duration = Duration::from_secs(300);
/// Whatever a provider says, a token is not used for longer.
const LIFE_MAX: Duration = Duration::from_secs(24 * 3600);
const WORDS_MAX: usize = 300;

/// Where tokens come from, and who asks.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Of the provider.
    pub endpoint: Endpoint,
    /// Which certificate of it is accepted.
    pub trust: Trust,
    /// Who asks.
    pub client_id: String,
    /// Proves it; none for a public client.
    pub client_secret: Option<SecretString>,
    /// Whether the secret stands in the form; else in the header (Basic).
    pub secret_in_body: bool,
    /// What is asked for.
    pub scopes: Vec<String>,
}

/// An `https://` address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// Checks an address; the error says what is wrong with it.
    pub fn new(url: Url) -> Result<Self, &'static str> {
        if url.scheme() != "https" || url.host().is_none() {
            return Err("the address must begin with https://");
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err("the address must not hold a user name, a password or a fragment");
        }
        Ok(Self(url))
    }

    /// Name or address of the host, as a connection and a certificate want it.
    pub fn host(&self) -> String {
        match self.0.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) => host.to_string(),
            None => String::new(),
        }
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.0.port().unwrap_or(443)
    }
}

/// What a provider gave.
#[derive(Debug)]
pub struct Tokens {
    /// Lets in.
    pub access: SecretString,
    /// For how long.
    pub life: Duration,
    /// The refresh token from now on, when it is another one.
    pub refresh: Option<SecretString>,
}

impl Settings {
    /// Asks for a token: with a refresh token, else as the client itself.
    pub async fn ask(&self, refresh: Option<&SecretString>) -> Result<Tokens, SourceError> {
        let answered = http::post(self, self.form(refresh), self.authorization()).await?;
        let read = tokens(&answered);
        read.map_err(|refusal| SourceError::OAuth {
            host: self.endpoint.host(),
            text: without_secrets(refusal.text, refresh.into_iter().chain(&self.client_secret)),
            temporary: refusal.temporary,
        })
    }

    fn form(&self, refresh: Option<&SecretString>) -> Zeroizing<String> {
        let mut form = Serializer::new(String::new());
        match refresh {
            Some(token) => {
                form.append_pair("grant_type", "refresh_token");
                form.append_pair("refresh_token", token.expose_secret());
            }
            None => {
                form.append_pair("grant_type", "client_credentials");
            }
        }
        if !self.scopes.is_empty() {
            form.append_pair("scope", &self.scopes.join(" "));
        }
        match &self.client_secret {
            Some(secret) if self.secret_in_body => {
                form.append_pair("client_id", &self.client_id);
                form.append_pair("client_secret", secret.expose_secret());
            }
            Some(_) => {}
            None => {
                form.append_pair("client_id", &self.client_id);
            }
        }
        Zeroizing::new(form.finish())
    }

    /// RFC 6749 §2.3.1: both are form-encoded before they are put together.
    fn authorization(&self) -> Option<Zeroizing<String>> {
        let secret = self.client_secret.as_ref().filter(|_| !self.secret_in_body)?;
        let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let pair =
            Zeroizing::new(format!("{}:{}", encoded(&self.client_id), encoded(secret.expose_secret())));
        Some(Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes()))))
    }
}

/// Leaves a token endpoint's words away when they repeat what was sent, as it is or as it was sent: they come into logs. What is told is
/// looked at, for an answer may write its letters in many ways.
pub(crate) fn without_secrets<'s>(
    text: String,
    secrets: impl IntoIterator<Item = &'s SecretString>,
) -> String {
    let repeats = |secret: &SecretString| {
        let secret = secret.expose_secret();
        let sent = Zeroizing::new(byte_serialize(secret.as_bytes()).collect::<String>());
        // As it is shown: without its white space and what is not printed.
        let shown = Zeroizing::new(letters(secret));
        let told = Zeroizing::new(letters(&text));
        !shown.is_empty() && told.contains(shown.as_str()) || text.contains(sent.as_str())
    };
    match secrets.into_iter().any(repeats) {
        true => "it refuses, and its words repeat a secret".into(),
        false => text,
    }
}

fn letters(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).collect()
}

#[derive(Deserialize)]
struct RawTokens {
    access_token: String,
    token_type: String,
    expires_in: Option<Seconds>,
    refresh_token: Option<String>,
}

/// Some providers write numbers as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(f64),
    Text(String),
}

#[derive(Deserialize)]
struct RawError {
    error: String,
    error_description: Option<String>,
}

/// Why a provider gave nothing.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    text: String,
    temporary: bool,
}

/// Reads a token endpoint's answer (RFC 6749 §5).
fn tokens(answered: &http::Answered) -> Result<Tokens, Refusal> {
    let refusal = |text: String, temporary| Err(Refusal { text, temporary });
    let status = answered.status;
    if let Ok(said) = serde_json::from_slice::<RawError>(&answered.body) {
        let words = said.error_description.as_deref().map(plain).filter(|words| !words.is_empty());
        let text = [Some(plain(&said.error)), words].into_iter().flatten().collect::<Vec<_>>().join(": ");
        let temporary = status == 429
            || status >= 500
            || ["temporarily_unavailable", "server_error"].contains(&said.error.as_str());
        return refusal(text, temporary);
    }
    match status {
        200 => {}
        429 | 500..=599 => return refusal(format!("it answers with status {status}"), true),
        300..=399 => {
            return refusal(format!("it sends us elsewhere (status {status}), which is not followed"), false);
        }
        _ => return refusal(format!("it answers with status {status}; check token_endpoint"), false),
    }
    // Where, but not what: the text may hold a token.
    let Ok(raw) = serde_json::from_slice::<RawTokens>(&answered.body) else {
        return refusal("its answer is not the JSON that was expected; check token_endpoint".into(), false);
    };
    if !raw.token_type.eq_ignore_ascii_case("bearer") {
        return refusal(format!("tokens of type {} are not known", plain(&raw.token_type)), false);
    }
    let (access, refresh) = (SecretString::from(raw.access_token), raw.refresh_token.map(SecretString::from));
    let fits = |token: &SecretString, max| {
        let token = token.expose_secret().as_bytes();
        (1..=max).contains(&token.len()) && token.iter().all(u8::is_ascii_graphic)
    };
    if !fits(&access, ACCESS_TOKEN_BYTES_MAX)
        || refresh.as_ref().is_some_and(|token| !fits(token, REFRESH_TOKEN_BYTES_MAX))
    {
        return refusal("a token is too long or holds strange characters".into(), false);
    }
    let life = raw.expires_in.and_then(|seconds| match seconds {
        Seconds::Number(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Seconds::Text(text) => Duration::try_from_secs_f64(text.parse().ok()?).ok(),
    });
    Ok(Tokens { access, life: life.unwrap_or(LIFE_USUAL).min(LIFE_MAX), refresh })
}

/// A provider's words as one short line.
fn plain(text: &str) -> String {
    let keep = |c: char| if c.is_control() || !c.is_ascii() { ' ' } else { c };
    let line: String = text.chars().take(WORDS_MAX).map(keep).collect();
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, body: &str) -> http::Answered {
        http::Answered { status, body: Zeroizing::new(body.as_bytes().to_vec()) }
    }

    #[test]
    fn answers_are_read_and_refusals_told() {
        let good = answered(
            200,
            r#"{"access_token":"at","token_type":"Bearer","expires_in":"60","refresh_token":"r2"}"#,
        );
        let found = tokens(&good).unwrap();
        assert_eq!((found.access.expose_secret(), found.life), ("at", Duration::from_secs(60)));
        assert_eq!(found.refresh.unwrap().expose_secret(), "r2");
        for (status, body, words, temporary) in [
            (
                400,
                r#"{"error":"invalid_grant","error_description":"expired\n"}"#,
                "invalid_grant: expired",
                false,
            ),
            (200, r#"{"error":"temporarily_unavailable"}"#, "temporarily_unavailable", true),
            (503, "", "status 503", true),
            (302, "", "elsewhere", false),
            (404, "no", "check token_endpoint", false),
            (200, "[]", "not the JSON", false),
            (200, r#"{"access_token":"a b","token_type":"bearer"}"#, "strange", false),
            (200, r#"{"access_token":"a","token_type":"mac"}"#, "type mac", false),
        ] {
            let refusal = tokens(&answered(status, body)).unwrap_err();
            assert!(refusal.text.contains(words) && refusal.temporary == temporary, "{refusal:?}");
        }
    }

    #[test]
    fn requests_hold_what_the_grant_wants() {
        let mut settings = Settings {
            endpoint: Endpoint::new(Url::parse("https://sso.test/token").unwrap()).unwrap(),
            trust: Trust::System,
            client_id: "me&you".into(),
            client_secret: Some("s+t".to_owned().into()),
            secret_in_body: true,
            scopes: vec!["mail".into(), "offline".into()],
        };
        let token = SecretString::from("r1");
        assert_eq!(
            *settings.form(Some(&token)),
            "grant_type=refresh_token&refresh_token=r1&scope=mail+offline&client_id=me%26you&client_secret=s%2Bt"
        );
        assert!(settings.authorization().is_none());
        settings.secret_in_body = false;
        assert_eq!(*settings.form(None), "grant_type=client_credentials&scope=mail+offline");
        let basic = settings.authorization().unwrap();
        assert_eq!(STANDARD.decode(&basic[6..]).unwrap(), b"me%26you:s%2Bt");
        assert!(!format!("{settings:?}").contains("s+t"));
        for (secret, words) in [
            ("s+t", "what s+t"),
            ("s+t", "what s%2Bt"),
            ("a\"b\\c", "no such secret: a\"b\\c"),
            ("a b&c=", "a+b%26c%3D is wrong"),
            ("a\tb", "it said a b"),
            ("geheim\u{fc}", "geheim  \u{fc}"),
        ] {
            let told = without_secrets(words.into(), [&SecretString::from(secret)]);
            assert_eq!(told, "it refuses, and its words repeat a secret", "{secret}");
        }
        assert_eq!(without_secrets("expired".into(), [&SecretString::from("s+t")]), "expired");
        for text in ["http://sso.test/", "https://a:b@sso.test/", "https://sso.test/#x"] {
            assert!(Endpoint::new(Url::parse(text).unwrap()).is_err(), "{text}");
        }
    }
}
