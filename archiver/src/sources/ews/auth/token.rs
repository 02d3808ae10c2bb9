//! Access tokens by client credentials (RFC 6749 §4.4): the form, the answer, and how long it lasts. Values only.

use std::fmt;
use std::time::Duration;

use postern_shared::tls::client::Trust;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use crate::sources::ews::soap::answer::printable;
use crate::sources::oauth::without_secrets;

/// A token is renewed so long before it ends.
const EARLY: Duration = Duration::from_secs(60);
/// How long a token lasts whose answer does not tell.
const USUAL: Duration = Duration::from_secs(600);

/// An application that asks for tokens.
#[derive(Clone)]
pub struct ClientCredentials {
    /// Where it asks; `https`.
    pub endpoint: Url,
    /// Who it is.
    pub client_id: String,
    /// What proves it.
    pub client_secret: SecretString,
    /// What it asks for: `https://mail.example.com/.default` at Microsoft.
    pub scope: Option<String>,
    /// The same for AD FS, which takes a resource.
    pub resource: Option<String>,
    /// Which certificate the endpoint may have.
    pub trust: Trust,
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.client_id, self.endpoint)
    }
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The endpoint refuses it.
    #[error("{endpoint} gives no access token: {error}{text}")]
    Refused {
        /// Who was asked.
        endpoint: String,
        /// Its code (RFC 6749 §5.2), or HTTP's status.
        error: String,
        /// Its words.
        text: String,
        /// Whether it may give one later.
        temporary: bool,
    },
    /// Its answer is no token.
    #[error("{0} answers with something that is no access token")]
    Malformed(String),
}

impl TokenError {
    /// The same without words that repeat the secret.
    pub(crate) fn without(mut self, secret: &SecretString) -> Self {
        if let Self::Refused { error, text, .. } = &mut self {
            let told = format!("{error}{text}");
            let kept = without_secrets(told.clone(), [secret]);
            if kept != told {
                (*error, *text) = (kept, String::new());
            }
        }
        self
    }

    /// Whether it may go better later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Refused { temporary: true, .. })
    }
}

/// The form that is sent.
pub(crate) fn form(client: &ClientCredentials) -> Zeroizing<String> {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    form.append_pair("client_id", &client.client_id);
    form.append_pair("client_secret", client.client_secret.expose_secret());
    for (name, value) in [("scope", &client.scope), ("resource", &client.resource)] {
        if let Some(value) = value {
            form.append_pair(name, value);
        }
    }
    Zeroizing::new(form.finish())
}

#[derive(Deserialize)]
struct Granted {
    access_token: SecretString,
    #[serde(default)]
    token_type: String,
    /// AD FS of old writes it as a text.
    #[serde(default)]
    expires_in: serde_json::Value,
}

#[derive(Deserialize, Default)]
struct Denied {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

/// What came back: a token, and for how long it is to be used.
pub(crate) fn granted(
    endpoint: &str,
    status: u16,
    body: &[u8],
) -> Result<(SecretString, Duration), TokenError> {
    if status != 200 {
        let said: Denied = serde_json::from_slice(body).unwrap_or_default();
        let error =
            if said.error.is_empty() { format!("HTTP status {status}") } else { printable(&said.error) };
        let text = printable(&said.error_description);
        let text = if text.is_empty() { text } else { format!(": {text}") };
        let temporary = matches!(status, 408 | 429 | 500..=599);
        return Err(TokenError::Refused { endpoint: endpoint.to_owned(), error, text, temporary });
    }
    let malformed = || TokenError::Malformed(endpoint.to_owned());
    let granted: Granted = serde_json::from_slice(body).map_err(|_| malformed())?;
    let token = granted.access_token.expose_secret();
    let usable = !token.is_empty() && token.bytes().all(|octet| octet.is_ascii_graphic());
    if !usable || !(granted.token_type.is_empty() || granted.token_type.eq_ignore_ascii_case("bearer")) {
        return Err(malformed());
    }
    let seconds = match &granted.expires_in {
        serde_json::Value::String(text) => text.parse().ok(),
        value => value.as_u64(),
    };
    let lasts = seconds.map_or(USUAL, Duration::from_secs);
    Ok((granted.access_token, lasts.saturating_sub(EARLY)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let (token, lasts) =
            granted("e", 200, br#"{"access_token":"t0k","token_type":"Bearer","expires_in":3600}"#).unwrap();
        assert_eq!((token.expose_secret(), lasts.as_secs()), ("t0k", 3540));
        let (_, lasts) =
            granted("e", 200, br#"{"access_token":"t","token_type":"bearer","expires_in":"120"}"#).unwrap();
        assert_eq!(lasts.as_secs(), 60);
        for body in [
            r#"{"access_token":"a b"}"#,
            r#"{"access_token":""}"#,
            "{}",
            "x",
            r#"{"access_token":"a","token_type":"mac"}"#,
        ] {
            assert_eq!(
                granted("e", 200, body.as_bytes()).unwrap_err(),
                TokenError::Malformed("e".into()),
                "{body}"
            );
        }
        let error = granted(
            "e",
            400,
            br#"{"error":"invalid_client","error_description":"AADSTS7000215:\r\nInvalid"}"#,
        )
        .unwrap_err();
        assert_eq!(error.to_string(), "e gives no access token: invalid_client: AADSTS7000215: Invalid");
        assert!(!error.is_temporary());
        assert!(granted("e", 503, b"<html>").unwrap_err().is_temporary());
        let repeated = br#"{"error":"invalid_client","error_description":"wrong: a\"b\\c"}"#;
        let error = granted("e", 400, repeated).unwrap_err().without(&SecretString::from("a\"b\\c"));
        assert!(
            !error.to_string().contains("a\"b") && error.to_string().contains("repeat a secret"),
            "{error}"
        );
    }

    #[test]
    fn the_secret_is_in_the_form_and_nowhere_else() {
        let client = ClientCredentials {
            endpoint: Url::parse("https://login.example.com/token").unwrap(),
            client_id: "app".into(),
            client_secret: "se cret&".to_owned().into(),
            scope: Some("https://mail.example.com/.default".into()),
            resource: None,
            trust: Trust::System,
        };
        assert_eq!(
            form(&client).as_str(),
            "grant_type=client_credentials&client_id=app&client_secret=se+cret%26&\
             scope=https%3A%2F%2Fmail.example.com%2F.default"
        );
        assert!(!format!("{client:?}").contains("cret&"));
    }
}
