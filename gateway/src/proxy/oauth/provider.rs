//! An OAuth provider as the settings describe it, checked.

use std::fmt;
use std::path::PathBuf;

use postern_shared::proto::sasl::Mechanism;
use postern_shared::tls::client::Trust;
use secrecy::SecretString;
use url::{Host, Url};

use crate::proxy::route::Host as MailHost;

/// Where Microsoft 365 takes and hands out mail.
pub const MICROSOFT365_HOSTS: &[&str] =
    &["outlook.office365.com", "smtp.office365.com", "outlook.office.com", "smtp-mail.outlook.com"];
/// Where Google does.
pub const GOOGLE_HOSTS: &[&str] = &[
    "pop.gmail.com",
    "smtp.gmail.com",
    "imap.gmail.com",
    "pop.googlemail.com",
    "smtp.googlemail.com",
    "imap.googlemail.com",
];

/// Where tokens come from, and as whom they are asked for.
#[derive(Debug, Clone)]
pub struct Provider {
    /// What operators call it.
    pub name: String,
    /// Where a person consents with a browser (RFC 6749 §3.1).
    pub authorization_endpoint: Option<Endpoint>,
    /// Where tokens are asked for (RFC 6749 §3.2).
    pub token_endpoint: Endpoint,
    /// Where a device code is asked for (RFC 8628 §3.1).
    pub device_endpoint: Option<Endpoint>,
    /// Where tokens are given back (RFC 7009).
    pub revocation_endpoint: Option<Endpoint>,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// Who we are there.
    pub client_id: String,
    /// How we prove it.
    pub credential: Credential,
    /// Its mail servers' names: an account is the same at all of them, and bound at the first.
    pub hosts: Vec<MailHost>,
    /// How mail servers of this provider take the token.
    pub mechanism: Mechanism,
    /// Which certificates are accepted at the endpoints.
    pub trust: Trust,
    /// Where the browser is sent after consent.
    pub redirect: Redirect,
    /// What the authorization endpoint is told besides.
    pub consent_parameters: Vec<(String, String)>,
    /// Where a person takes consent back, in words.
    pub consent_page: Option<String>,
    /// Whether the device flow is the one to take when nobody says.
    pub prefers_device: bool,
}

/// An address at a provider: `https://` always.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// Reads an address; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("{text:?} is no address: {error}"))?;
        if url.scheme() != "https" {
            return Err(format!("{text:?} must begin with https://"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(format!("{text:?} must not hold a user name, a password or a fragment"));
        }
        Ok(Self(url))
    }

    /// The address.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// Name or address of the host, as a connection and a certificate want it.
    pub fn host(&self) -> String {
        match self.0.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) => host.to_string(),
            // Every https address has one.
            None => String::new(),
        }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.0.port().unwrap_or(443)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a client proves to a provider who it is.
#[derive(Debug, Clone)]
pub enum Credential {
    /// Not at all: a public client (RFC 6749 §2.1), protected by PKCE and the device code alone.
    Public,
    /// By a secret.
    Secret {
        /// Where it is.
        secret: SecretSource,
        /// In the request's body instead of the `Authorization` field (RFC 6749 §2.3.1).
        in_body: bool,
    },
    /// By a signature with the key of a certificate (RFC 7523 §2.2).
    Certificate {
        /// PEM, the leaf first.
        certificate: PathBuf,
        /// PEM, RSA.
        key: PathBuf,
        /// How it is signed.
        algorithm: Algorithm,
    },
}

/// A secret, or the file that holds it: a file is read each time, so that it can be replaced under a running gateway.
#[derive(Debug, Clone)]
pub enum SecretSource {
    /// The secret itself.
    Here(SecretString),
    /// A file with the secret and perhaps a line end.
    File(PathBuf),
}

/// Signature algorithms for client assertions (RFC 7518 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// RSASSA-PSS with SHA-256.
    #[default]
    Ps256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
}

impl Algorithm {
    /// Its name in a JWT's header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ps256 => "PS256",
            Self::Rs256 => "RS256",
        }
    }
}

/// Where the browser is sent after consent (RFC 6749 §3.1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redirect {
    /// To the machine on which the operator works (RFC 8252 §7.3). Without a port a free one is taken, which providers
    /// allow for clients registered as native applications.
    Loopback {
        /// The address.
        url: Url,
        /// It was written without a path.
        bare: bool,
    },
    /// To somewhere else: what the browser's address bar says then is pasted.
    Elsewhere(Url),
}

impl Redirect {
    /// Reads an address; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("{text:?} is no address: {error}"))?;
        if url.fragment().is_some() {
            return Err(format!("{text:?} must not hold a fragment"));
        }
        let loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        match url.scheme() {
            "http" if loopback => Ok(Self::Loopback { bare: url.path() == "/" && !text.ends_with('/'), url }),
            "https" => Ok(Self::Elsewhere(url)),
            _ => Err(format!("{text:?} must be http:// at localhost, 127.0.0.1 or [::1], or https://")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_https() {
        let endpoint = Endpoint::parse("https://login.example.com/oauth2/token?x=1").unwrap();
        assert_eq!((endpoint.host().as_str(), endpoint.port()), ("login.example.com", 443));
        assert_eq!(Endpoint::parse("https://[::1]:8443/t").unwrap().host(), "::1");
        for wrong in
            ["", "token", "http://login.example.com/", "http://127.0.0.1/", "https://a:b@h/", "https://h/#f"]
        {
            assert!(Endpoint::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_browser_is_sent_to_loopback_or_https() {
        for loopback in ["http://localhost", "http://127.0.0.1:8400/cb", "http://[::1]/"] {
            assert!(matches!(Redirect::parse(loopback), Ok(Redirect::Loopback { .. })), "{loopback}");
        }
        assert!(matches!(Redirect::parse("https://gateway.example.com/cb"), Ok(Redirect::Elsewhere(_))));
        for wrong in ["http://gateway.example.com/", "urn:ietf:wg:oauth:2.0:oob", "http://localhost/#x", "x"]
        {
            assert!(Redirect::parse(wrong).is_err(), "{wrong}");
        }
    }
}
