//! `[tls]` and `[acme]`: where the certificate comes from.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::reference::{choice, table};
use super::{Wrong, checked_domain};

/// Let's Encrypt (RFC 8555 §7.1.1).
const PRODUCTION: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// Its rehearsal stage: nobody trusts its certificates, and failures there cost none of the few that are allowed.
const STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";
/// What Let's Encrypt takes for one certificate.
const NAMES_MAX: usize = 100;

/// What to serve TLS with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// A certificate made at first start.
    SelfSigned,
    /// PEM files.
    Files {
        /// The chain, leaf first.
        certificate: PathBuf,
        /// The private key.
        key: PathBuf,
    },
    /// What `certificate import` has stored.
    Imported,
    /// What an authority issues, as `[acme]` says.
    Acme,
}

impl Tls {
    /// The `mode` in the configuration.
    pub const fn mode(&self) -> &'static str {
        match self {
            Self::SelfSigned => "self-signed",
            Self::Files { .. } => "files",
            Self::Imported => "imported",
            Self::Acme => "acme",
        }
    }
}

/// The authority that issues certificates, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// Its directory.
    pub directory_url: String,
    /// A directory to rehearse with before.
    pub staging_url: Option<String>,
    /// Where it may write to: `mailto:…`.
    pub contact: Vec<String>,
    /// Whether the operator agrees to its terms of service.
    pub accept_terms: bool,
    /// The names of the certificate.
    pub names: Vec<String>,
    /// A file with the authorities (PEM) that vouch for the directory's own certificate, instead of the machine's.
    pub trust: Option<PathBuf>,
}

table! {
    /// `[tls]`
    pub(super) struct RawTls {
        /// self-signed: made at first start. files: PEM files, taken anew when they change. imported: what `postern-gateway
        /// certificate import` stored. acme: from Let's Encrypt or another authority, see `[acme]`.
        [Restart] mode: RawTlsMode = RawTlsMode::SelfSigned,
        /// With mode = "files": the certificate with its chain (PEM), the leaf first.
        [Reload] certificate: Option<PathBuf> = None,
        /// With mode = "files": the private key (PEM).
        [Reload] key: Option<PathBuf> = None,
    }
}

#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawTlsMode {
    #[default]
    SelfSigned,
    Files,
    #[serde(alias = "pkcs12")]
    Imported,
    Acme,
}

table! {
    /// `[acme]`
    pub(super) struct RawAcme {
        /// Whether you agree to the authority's terms of service; without that there is no certificate.
        [Restart] accept_terms: bool = false,
        /// Addresses to which the authority may write.
        [Restart] contact: OneOrMany = OneOrMany::default(),
        /// The names in the certificate, 100 at most. Without any, host_name.
        [Restart] names: OneOrMany = OneOrMany::default(),
        /// The authority's directory (https).
        [Restart] directory_url: String = PRODUCTION.to_owned(),
        /// A directory to rehearse with first; "" for none. When left out, that of Let's Encrypt when directory_url is Let's
        /// Encrypt's, else none.
        [Restart] staging_url: Option<String> = None,
        /// An authority of your own: a PEM file with the root certificate behind directory_url, instead of the machine's.
        [Restart] trust: Option<PathBuf> = None,
    }
}

choice! {
    RawTlsMode: "`\"self-signed\"`, `\"files\"`, `\"imported\"` or `\"acme\"`",
    OneOrMany: "text, or list of texts",
}

/// A text, or a list of them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a text or a list of texts")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl Default for OneOrMany {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl OneOrMany {
    fn into_list(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::Many(list) => list,
        }
    }
}

impl RawTls {
    pub(super) fn check(self, acme: &Acme) -> Result<Tls, Wrong> {
        match (self.mode, self.certificate, self.key) {
            (RawTlsMode::Files, Some(certificate), Some(key)) => Ok(Tls::Files { certificate, key }),
            (RawTlsMode::Files, ..) => Err(("tls.mode", "mode \"files\" needs certificate and key".into())),
            (RawTlsMode::Acme, None, None) if !acme.accept_terms => {
                let message =
                    "mode \"acme\" wants accept_terms = true: read your authority's terms of service first";
                Err(("acme.accept_terms", message.into()))
            }
            (RawTlsMode::SelfSigned, None, None) => Ok(Tls::SelfSigned),
            (RawTlsMode::Imported, None, None) => Ok(Tls::Imported),
            (RawTlsMode::Acme, None, None) => Ok(Tls::Acme),
            _ => Err(("tls.mode", "certificate and key are for mode = \"files\"".into())),
        }
    }
}

impl RawAcme {
    pub(super) fn check(self, host_name: &str) -> Result<Acme, Wrong> {
        let directory_url = checked_url("acme.directory_url", &self.directory_url)?;
        let staging_url = match self.staging_url.as_deref() {
            Some("") => None,
            Some(url) => Some(checked_url("acme.staging_url", url)?),
            None => (directory_url == PRODUCTION).then(|| STAGING.to_owned()),
        };
        let contact: Result<Vec<String>, Wrong> =
            self.contact.into_list().iter().map(|text| checked_contact(text)).collect();
        let mut names = Vec::new();
        for name in self.names.into_list() {
            let name = checked_domain("acme.names", &name)?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if names.is_empty() {
            names.push(host_name.to_owned());
        }
        if names.len() > NAMES_MAX {
            return Err((
                "acme.names",
                format!("{} names are too many; {NAMES_MAX} are allowed", names.len()),
            ));
        }
        let (accept_terms, trust) = (self.accept_terms, self.trust);
        Ok(Acme { directory_url, staging_url, contact: contact?, accept_terms, names, trust })
    }
}

fn checked_url(key: &'static str, text: &str) -> Result<String, Wrong> {
    let wrong = || (key, format!("{text:?} is not a URL like {PRODUCTION}"));
    let uri: hyper::Uri = text.parse().map_err(|_| wrong())?;
    let good = uri.scheme_str() == Some("https") && uri.host().is_some_and(|host| !host.is_empty());
    if good { Ok(text.to_owned()) } else { Err(wrong()) }
}

/// Authorities want URLs (RFC 8555 §7.3); people write addresses.
pub(crate) fn checked_contact(text: &str) -> Result<String, Wrong> {
    let address = text.strip_prefix("mailto:").unwrap_or(text);
    let good = address
        .split_once('@')
        .is_some_and(|(user, domain)| !user.is_empty() && checked_domain("acme.contact", domain).is_ok());
    if !good || !address.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(("acme.contact", format!("{text:?} is not an address like admin@example.com")));
    }
    Ok(format!("mailto:{address}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acme(text: &str) -> Result<Acme, Wrong> {
        toml::from_str::<RawAcme>(text).unwrap().check("gateway.example.com")
    }

    #[test]
    fn only_lets_encrypt_has_a_stage_of_its_own() {
        let default = acme("").unwrap();
        assert_eq!(
            (default.directory_url.as_str(), default.staging_url.as_deref()),
            (PRODUCTION, Some(STAGING))
        );
        assert_eq!(default.names, ["gateway.example.com"]);
        let own = acme("directory_url = 'https://ca.example.com:9000/acme/dir'").unwrap();
        assert_eq!(own.staging_url, None);
        assert_eq!(acme("staging_url = ''").unwrap().staging_url, None);
        let both = "directory_url = 'https://ca/d'\nstaging_url = 'https://ca/s'";
        assert_eq!(acme(both).unwrap().staging_url.as_deref(), Some("https://ca/s"));
    }

    #[test]
    fn people_write_addresses_and_authorities_get_urls() {
        let contact = |text: &str| acme(&format!("contact = {text}")).map(|acme| acme.contact);
        assert_eq!(contact("'a@example.com'").unwrap(), ["mailto:a@example.com"]);
        assert_eq!(contact("['mailto:a@example.com', 'b@example.com']").unwrap().len(), 2);
        for wrong in ["'a'", "'@example.com'", "'a@b c'", "'a b@example.com'"] {
            assert_eq!(contact(wrong).unwrap_err().0, "acme.contact", "{wrong}");
        }
        assert_eq!(acme("names = 'a b'").unwrap_err().0, "acme.names");
        assert_eq!(acme("names = ['A.example.com', 'a.example.com']").unwrap().names, ["a.example.com"]);
        for wrong in ["http://ca.example.com/dir", "ca.example.com", "https://"] {
            assert_eq!(acme(&format!("directory_url = '{wrong}'")).unwrap_err().0, "acme.directory_url");
        }
    }

    #[test]
    fn the_terms_must_be_accepted() {
        let check = |tls: &str, agreed: bool| {
            let acme = acme(&format!("accept_terms = {agreed}")).unwrap();
            toml::from_str::<RawTls>(tls).unwrap().check(&acme)
        };
        assert_eq!(check("mode = 'acme'", false).unwrap_err().0, "acme.accept_terms");
        assert_eq!(check("mode = 'acme'", true).unwrap(), Tls::Acme);
        assert_eq!(check("mode = 'pkcs12'", false).unwrap(), Tls::Imported);
        assert_eq!(check("mode = 'imported'\nkey = 'k'", false).unwrap_err().0, "tls.mode");
    }
}
