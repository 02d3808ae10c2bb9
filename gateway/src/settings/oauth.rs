//! `[[proxy.provider]]`: OAuth providers, from a preset or spelled out.

use std::path::PathBuf;

use postern_shared::proto::sasl::Mechanism;
use postern_shared::tls::client::Trust;
use secrecy::SecretString;
use serde::Deserialize;

use super::Wrong;
use super::reference::{choice, entry};
use crate::proxy::Host;
use crate::proxy::oauth::{
    Algorithm, Credential, Endpoint, GOOGLE_HOSTS, MICROSOFT365_HOSTS, Provider, Redirect, SecretSource,
};

entry! {
    /// `[[proxy.provider]]`
    pub(super) struct RawProvider {
        /// What it is called: 1 to 64 letters, digits, hyphens, dots; each name once.
        [Reload] name: String,
        /// A provider that is known: its endpoints, scopes, hosts and consent need not be said.
        [Reload] preset: Option<Preset>,
        /// microsoft365 only: the tenant's id or domain; "common" when left out.
        [Reload] tenant: Option<String>,
        /// Where a browser asks for consent (https). Without a preset it or device_endpoint must be there.
        [Reload] authorization_endpoint: Option<String>,
        /// Where tokens come from (https). Must be there without a preset.
        [Reload] token_endpoint: Option<String>,
        /// Where a device asks for consent (https).
        [Reload] device_endpoint: Option<String>,
        /// Where tokens are revoked (https).
        [Reload] revocation_endpoint: Option<String>,
        /// What consent is asked for.
        [Reload] scopes: Option<Vec<String>>,
        /// The mail servers' host names: one consent serves at all of them, receiving and sending.
        [Reload] hosts: Option<Vec<String>>,
        /// What the provider calls this gateway. Must be there.
        [Reload] client_id: Option<String>,
        /// How the gateway proves itself: a secret. At most one of this, client_secret_file and client_certificate.
        [Reload] client_secret: Option<SecretString>,
        /// A file with that secret.
        [Reload] client_secret_file: Option<PathBuf>,
        /// How the gateway proves itself: a certificate (PEM) with an RSA key, which client_key names.
        [Reload] client_certificate: Option<PathBuf>,
        /// Its private key (PEM).
        [Reload] client_key: Option<PathBuf>,
        /// What that key signs with; "PS256" when left out.
        [Reload] assertion_algorithm: Option<RawAlgorithm>,
        /// How the mail servers take the token; "xoauth2" when left out.
        [Reload] mechanism: Option<RawMechanism>,
        /// Whose certificates are accepted at the endpoints; "system" when left out.
        [Reload] trust: Option<Trust>,
        /// Where a browser is sent after consent: http:// on this machine (without a port, a free one), or https://
        /// elsewhere. "http://127.0.0.1/" when neither this nor a preset says.
        [Reload] redirect_uri: Option<String>,
    }
}

choice! {
    Preset: "`\"microsoft365\"` or `\"google\"`",
    RawAlgorithm: "`\"PS256\"` or `\"RS256\"`",
    RawMechanism: "`\"xoauth2\"` or `\"oauthbearer\"`",
}

/// Providers that need little said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Preset {
    Microsoft365,
    Google,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum RawAlgorithm {
    #[serde(rename = "PS256")]
    Ps256,
    #[serde(rename = "RS256")]
    Rs256,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawMechanism {
    XOAuth2,
    OAuthBearer,
}

/// What a preset says where the table says nothing.
#[derive(Debug, Default)]
struct Defaults {
    authorization: Option<String>,
    token: Option<String>,
    device: Option<String>,
    revocation: Option<String>,
    scopes: Vec<&'static str>,
    hosts: &'static [&'static str],
    redirect: Option<&'static str>,
    consent: Vec<(&'static str, &'static str)>,
    consent_page: Option<&'static str>,
    prefers_device: bool,
    secret_in_body: bool,
}

/// `learn.microsoft.com`: "Authenticate an IMAP, POP or SMTP connection using OAuth". There is no revocation endpoint.
/// Loopback redirects are registered as `http://localhost`, without a port.
fn microsoft365(tenant: &str) -> Defaults {
    let at = |what| Some(format!("https://login.microsoftonline.com/{tenant}/oauth2/v2.0/{what}"));
    Defaults {
        authorization: at("authorize"),
        token: at("token"),
        device: at("devicecode"),
        revocation: None,
        scopes: vec![
            "https://outlook.office.com/SMTP.Send",
            "https://outlook.office.com/POP.AccessAsUser.All",
            "https://outlook.office.com/IMAP.AccessAsUser.All",
            "offline_access",
        ],
        hosts: MICROSOFT365_HOSTS,
        redirect: Some("http://localhost"),
        consent: Vec::new(),
        consent_page: Some(
            "https://myapps.microsoft.com, or in the Entra admin centre under Enterprise applications",
        ),
        prefers_device: true,
        secret_in_body: true,
    }
}

/// `developers.google.com`: "OAuth 2.0 for Mobile & Desktop Apps". The device flow is not allowed for the scope of mail, so
/// the browser is the way there; without `prompt=consent` a second consent gives no refresh token.
fn google() -> Defaults {
    let to_owned = |text: &str| Some(text.to_owned());
    Defaults {
        authorization: to_owned("https://accounts.google.com/o/oauth2/v2/auth"),
        token: to_owned("https://oauth2.googleapis.com/token"),
        device: to_owned("https://oauth2.googleapis.com/device/code"),
        revocation: to_owned("https://oauth2.googleapis.com/revoke"),
        scopes: vec!["https://mail.google.com/"],
        hosts: GOOGLE_HOSTS,
        redirect: None,
        consent: vec![("access_type", "offline"), ("prompt", "consent")],
        consent_page: Some("https://myaccount.google.com/connections"),
        prefers_device: false,
        secret_in_body: true,
    }
}

/// All tables, each name once.
pub(super) fn check_all(raw: Vec<RawProvider>) -> Result<Vec<Provider>, Wrong> {
    let mut providers: Vec<Provider> = Vec::with_capacity(raw.len());
    for provider in raw {
        let provider = provider.check()?;
        if providers.iter().any(|other| other.name == provider.name) {
            return Err(("proxy.provider.name", format!("{:?} stands there twice", provider.name)));
        }
        providers.push(provider);
    }
    Ok(providers)
}

impl RawProvider {
    fn check(self) -> Result<Provider, Wrong> {
        let named = (1..=64).contains(&self.name.len())
            && self.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !named {
            let message = format!("{:?} is not 1 to 64 letters, digits, hyphens, dots", self.name);
            return Err(("proxy.provider.name", message));
        }
        let wrong =
            |key: &'static str, message: String| (key, format!("{message} (provider {:?})", self.name));
        let defaults = match (self.preset, self.tenant.as_deref()) {
            (Some(Preset::Microsoft365), tenant) => {
                let tenant = tenant.unwrap_or("common");
                if tenant.is_empty()
                    || !tenant.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
                {
                    let message = format!("{tenant:?} is not a tenant's id or domain");
                    return Err(wrong("proxy.provider.tenant", message));
                }
                microsoft365(tenant)
            }
            (_, Some(_)) => {
                return Err(wrong(
                    "proxy.provider.tenant",
                    "only preset \"microsoft365\" has tenants".into(),
                ));
            }
            (Some(Preset::Google), None) => google(),
            (None, None) => Defaults::default(),
        };
        let endpoint = |key, own: Option<&String>, default: Option<&String>| {
            own.or(default)
                .map(|text| Endpoint::parse(text))
                .transpose()
                .map_err(|message| wrong(key, message))
        };
        let authorization_endpoint = endpoint(
            "proxy.provider.authorization_endpoint",
            self.authorization_endpoint.as_ref(),
            defaults.authorization.as_ref(),
        )?;
        let device_endpoint = endpoint(
            "proxy.provider.device_endpoint",
            self.device_endpoint.as_ref(),
            defaults.device.as_ref(),
        )?;
        let revocation_endpoint = endpoint(
            "proxy.provider.revocation_endpoint",
            self.revocation_endpoint.as_ref(),
            defaults.revocation.as_ref(),
        )?;
        let token_endpoint =
            endpoint("proxy.provider.token_endpoint", self.token_endpoint.as_ref(), defaults.token.as_ref())?
                .ok_or_else(|| {
                    wrong("proxy.provider.token_endpoint", "it is needed without a preset".into())
                })?;
        if authorization_endpoint.is_none() && device_endpoint.is_none() {
            let message = "it or device_endpoint is needed: nobody could consent".to_owned();
            return Err(wrong("proxy.provider.authorization_endpoint", message));
        }
        let scopes = self
            .scopes
            .clone()
            .unwrap_or_else(|| defaults.scopes.iter().map(|&scope| scope.into()).collect());
        if let Some(scope) = scopes.iter().find(|scope| !is_scope(scope)) {
            return Err(wrong("proxy.provider.scopes", format!("{scope:?} is not a scope")));
        }
        let hosts =
            self.hosts.clone().unwrap_or_else(|| defaults.hosts.iter().map(|&host| host.into()).collect());
        let host = |text: &String| Host::parse(text).ok_or_else(|| format!("{text:?} is no host name"));
        let hosts: Result<Vec<Host>, String> = hosts.iter().map(host).collect();
        let hosts = hosts.map_err(|message| wrong("proxy.provider.hosts", message))?;
        let client_id = self.client_id.clone().filter(|id| !id.is_empty()).ok_or_else(|| {
            wrong("proxy.provider.client_id", "it is needed: register the gateway at the provider".into())
        })?;
        let redirect = self.redirect_uri.as_deref().or(defaults.redirect).unwrap_or("http://127.0.0.1/");
        let redirect =
            Redirect::parse(redirect).map_err(|message| wrong("proxy.provider.redirect_uri", message))?;
        let credential =
            self.credential(defaults.secret_in_body).map_err(|(key, message)| wrong(key, message))?;
        let mechanism = match self.mechanism {
            Some(RawMechanism::OAuthBearer) => Mechanism::OAuthBearer,
            Some(RawMechanism::XOAuth2) | None => Mechanism::XOAuth2,
        };
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Ok(Provider {
            authorization_endpoint,
            token_endpoint,
            prefers_device: device_endpoint.is_some() && (defaults.prefers_device || self.preset.is_none()),
            device_endpoint,
            revocation_endpoint,
            scopes,
            client_id,
            credential,
            hosts,
            mechanism,
            trust: self.trust.unwrap_or(Trust::System),
            redirect,
            consent_parameters: defaults.consent.iter().map(owned).collect(),
            consent_page: defaults.consent_page.map(str::to_owned),
            name: self.name,
        })
    }

    fn credential(&self, in_body: bool) -> Result<Credential, Wrong> {
        let algorithm = match self.assertion_algorithm {
            Some(RawAlgorithm::Rs256) => Algorithm::Rs256,
            Some(RawAlgorithm::Ps256) | None => Algorithm::Ps256,
        };
        let secret = |secret| Ok(Credential::Secret { secret, in_body });
        match (&self.client_secret, &self.client_secret_file, &self.client_certificate, &self.client_key) {
            (None, None, None, None) => Ok(Credential::Public),
            (Some(here), None, None, None) => secret(SecretSource::Here(here.clone())),
            (None, Some(file), None, None) => secret(SecretSource::File(file.clone())),
            (None, None, Some(certificate), Some(key)) => {
                Ok(Credential::Certificate { certificate: certificate.clone(), key: key.clone(), algorithm })
            }
            (None, None, ..) => Err((
                "proxy.provider.client_certificate",
                "it needs client_key, and client_key needs it".into(),
            )),
            _ => {
                let message = "one of client_secret, client_secret_file, client_certificate is enough";
                Err(("proxy.provider.client_secret", message.into()))
            }
        }
    }
}

/// RFC 6749 §3.3: `%x21 / %x23-5B / %x5D-7E`.
fn is_scope(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<Provider, String> {
        #[derive(Deserialize)]
        struct Proxy {
            provider: Vec<RawProvider>,
        }
        let proxy: Proxy =
            toml::from_str(&format!("[[provider]]\n{text}")).map_err(|error| error.to_string())?;
        check_all(proxy.provider)
            .map(|mut all| all.remove(0))
            .map_err(|(key, message)| format!("{key}: {message}"))
    }

    #[test]
    fn presets_need_a_name_and_a_client_id() {
        let microsoft = checked("name = 'm'\npreset = 'microsoft365'\nclient_id = 'c'").unwrap();
        assert_eq!(
            microsoft.token_endpoint.to_string(),
            "https://login.microsoftonline.com/common/oauth2/v2.0/token"
        );
        assert_eq!(
            microsoft.hosts[..2],
            ["outlook.office365.com", "smtp.office365.com"].map(|host| Host::Name(host.into()))
        );
        assert!(microsoft.prefers_device && microsoft.scopes.contains(&"offline_access".to_owned()));
        let tenant =
            checked("name = 'm'\npreset = 'microsoft365'\nclient_id = 'c'\ntenant = 'contoso.com'").unwrap();
        assert!(tenant.device_endpoint.unwrap().to_string().contains("/contoso.com/oauth2/v2.0/devicecode"));
        let google = checked("name = 'g'\npreset = 'google'\nclient_id = 'c'\nclient_secret = 's'").unwrap();
        assert!(!google.prefers_device && google.consent_parameters.len() == 2);
        assert!(matches!(google.credential, Credential::Secret { in_body: true, .. }));
        assert!(!format!("{google:?}").contains("\"s\""), "no secret in debugging output");
    }

    #[test]
    fn a_provider_may_be_spelled_out() {
        let free = checked(
            "name = 'own'\ntoken_endpoint = 'https://sso.example.com/token'\ndevice_endpoint = 'https://sso.example.com/d'\n\
             client_id = 'c'\nclient_certificate = '/c.pem'\nclient_key = '/k.pem'\nassertion_algorithm = 'RS256'\n\
             mechanism = 'oauthbearer'\nhosts = ['Pop.example.com.', '192.0.2.1']\ntrust = 'file:/etc/ssl/own.pem'\nscopes = ['mail']",
        )
        .unwrap();
        assert!(matches!(free.credential, Credential::Certificate { algorithm: Algorithm::Rs256, .. }));
        assert_eq!(free.trust, Trust::Authorities("/etc/ssl/own.pem".into()));
        assert_eq!(
            free.hosts.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["pop.example.com", "192.0.2.1"]
        );
        assert_eq!(free.mechanism, Mechanism::OAuthBearer);
    }

    #[test]
    fn mistakes_are_named_with_key_and_provider() {
        let own = "name = 'own'\nclient_id = 'c'\ntoken_endpoint = 'https://h/t'\ndevice_endpoint = 'https://h/d'\n";
        for (text, expected) in [
            ("name = 'a b'", "provider.name"),
            ("name = 'm'\npreset = 'microsoft365'", "provider.client_id"),
            ("name = 'm'\nclient_id = 'c'", "provider.token_endpoint"),
            ("name = 'm'\nclient_id = 'c'\ntoken_endpoint = 'http://h/t'", "https"),
            ("name = 'm'\nclient_id = 'c'\ntoken_endpoint = 'https://h/t'", "nobody could consent"),
            ("name = 'g'\npreset = 'google'\ntenant = 't'", "provider.tenant"),
            ("name = 'm'\npreset = 'microsoft365'\ntenant = 'a/b'", "provider.tenant"),
            (&format!("{own}scopes = ['a b']"), "provider.scopes"),
            (&format!("{own}hosts = ['mail.example.com:995']"), "provider.hosts"),
            (&format!("{own}client_key = '/k'"), "provider.client_certificate"),
            (&format!("{own}client_secret = 's'\nclient_secret_file = '/f'"), "is enough (provider \"own\")"),
            (&format!("{own}redirect_uri = 'http://example.com'"), "provider.redirect_uri"),
            (&format!("{own}trust = 'sha256:12'"), "none of: system"),
            (&format!("{own}colour = 'red'"), "unknown field"),
        ] {
            let error = checked(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let twice = format!("{own}[[provider]]\n{own}");
        assert!(checked(&twice).unwrap_err().contains("twice"));
    }
}
