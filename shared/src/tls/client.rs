//! Whom a client trusts.
//!
//! Whatever the trust, the handshake's signature is verified: the server proves that it holds the key of the
//! certificate it shows. A certificate that is not trusted is refused with its fingerprint ([`NotTrusted`]), so that an
//! operator who has compared it with the server's own can pin it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
};
use serde::{Deserialize, Serialize};

use crate::crypto::digest::{Digest, sha256};
use crate::crypto::equal_constant_time;
use crate::disk::read_regular;

/// The longest file of [`Trust::Authorities`]: many times what a machine's own authorities are.
const AUTHORITIES_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Which certificates are accepted. Written `system`, `any`, `sha256:` and 64 hexadecimal digits, or `file:` and a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Trust {
    /// What the machine's certificate authorities vouch for, by name (RFC 9525).
    System,
    /// Any. Whoever sits on the line can read along; only for tests and for closed networks.
    Any,
    /// Only the certificate with this SHA-256 (DER), whatever its names and dates.
    Pinned(Digest),
    /// What the certificate authorities in this PEM file vouch for, by name: one's own.
    Authorities(PathBuf),
}

/// The text names no trust.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is none of: system, any, sha256:<64 hexadecimal digits>, file:<PEM file with certificate authorities>"
)]
pub struct BadTrust(String);

impl FromStr for Trust {
    type Err = BadTrust;

    /// Colons between the digits, as `openssl x509 -fingerprint` prints them, are passed over.
    fn from_str(text: &str) -> Result<Self, BadTrust> {
        let bad = || BadTrust(text.chars().take(100).collect());
        match text {
            "system" => Ok(Self::System),
            "any" => Ok(Self::Any),
            _ => match text.split_once(':') {
                Some(("sha256", digits)) => {
                    digits.replace(':', "").parse().map(Self::Pinned).map_err(|_| bad())
                }
                Some(("file", path)) if !path.is_empty() => Ok(Self::Authorities(path.into())),
                _ => Err(bad()),
            },
        }
    }
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::Any => f.write_str("any"),
            Self::Pinned(digest) => write!(f, "sha256:{digest}"),
            Self::Authorities(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl TryFrom<String> for Trust {
    type Error = BadTrust;

    fn try_from(text: String) -> Result<Self, BadTrust> {
        text.parse()
    }
}

impl From<Trust> for String {
    fn from(trust: Trust) -> Self {
        trust.to_string()
    }
}

/// Why no connection can be made with this trust.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The machine has no certificate authorities.
    #[error("this machine trusts no certificate authority (is ca-certificates installed?){0}")]
    NoAuthorities(String),
    /// The file has none.
    #[error("no certificate authority can be read from {path} (PEM is wanted){reason}", path = .path.display())]
    File {
        /// Where they should be.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A file with authorities holds something else.
    #[error("no certificates of authorities in PEM format: {0}")]
    BadAuthority(String),
    /// rustls refuses the configuration.
    #[error("TLS cannot be configured: {0}")]
    Rustls(String),
}

/// A server's certificate is not trusted. Found in a failed handshake's error by [`not_trusted`].
#[derive(Debug, Clone, thiserror::Error)]
#[error("the certificate is not trusted ({reason}); it is {presented}", presented = Trust::Pinned(*.presented))]
pub struct NotTrusted {
    /// SHA-256 of the certificate the server showed.
    pub presented: Digest,
    /// What is wrong with it.
    pub reason: String,
}

/// The [`NotTrusted`] behind a failed handshake, if that was why.
pub fn not_trusted(error: &io::Error) -> Option<&NotTrusted> {
    let rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(found))) =
        error.get_ref()?.downcast_ref::<rustls::Error>()?
    else {
        return None;
    };
    found.downcast_ref()
}

/// What a client connects with: TLS 1.3 or 1.2, no client certificate. Reads the machine's authorities for
/// [`Trust::System`], and the file of [`Trust::Authorities`]: a regular one, for devices and pipes have no end.
pub fn client_config(trust: &Trust) -> Result<ClientConfig, TrustError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let rustls = |error: rustls::Error| TrustError::Rustls(error.to_string());
    let judge = match trust {
        Trust::System => Judge::Authorities(system(&provider)?),
        Trust::Any => Judge::Any,
        Trust::Pinned(digest) => Judge::Pinned(*digest),
        Trust::Authorities(path) => Judge::Authorities(authorities(path, &provider)?),
    };
    let verifier = Verifier { judge, provider: Arc::clone(&provider) };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(rustls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(config)
}

/// The authorities in a PEM text, each of which must be good.
pub(super) fn roots(authorities: &[u8]) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authorities) {
        let added = certificate.map_err(|error| error.to_string());
        added
            .and_then(|certificate| roots.add(certificate).map_err(|error| error.to_string()))
            .map_err(TrustError::BadAuthority)?;
    }
    if roots.is_empty() {
        return Err(TrustError::BadAuthority("it has no CERTIFICATE section".into()));
    }
    Ok(roots)
}

pub(super) fn system(provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, TrustError> {
    let found = rustls_native_certs::load_native_certs();
    let first = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
    verifier(found.certs, provider)?.ok_or(TrustError::NoAuthorities(first))
}

fn authorities(path: &Path, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, TrustError> {
    let unusable = |reason: String| TrustError::File { path: path.into(), reason };
    let pem = read_regular(path, AUTHORITIES_BYTES_MAX).map_err(|error| unusable(format!(": {error}")))?;
    let (mut certificates, mut reason) = (Vec::new(), String::new());
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        match certificate {
            Ok(certificate) => certificates.push(certificate),
            Err(error) => reason = format!(": {error}"),
        }
    }
    verifier(certificates, provider)?.ok_or_else(|| unusable(reason))
}

/// `None` when none of the certificates is an authority.
fn verifier(
    certificates: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<WebPkiServerVerifier>>, TrustError> {
    let mut roots = RootCertStore::empty();
    // A store may hold odd certificates that nobody uses: the others still serve.
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        return Ok(None);
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map(Some)
        .map_err(|error| TrustError::Rustls(error.to_string()))
}

#[derive(Debug)]
enum Judge {
    Authorities(Arc<WebPkiServerVerifier>),
    Any,
    Pinned(Digest),
}

#[derive(Debug)]
struct Verifier {
    judge: Judge,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let presented = sha256(end_entity);
        let reason = match &self.judge {
            Judge::Any => return Ok(ServerCertVerified::assertion()),
            Judge::Pinned(pin) if equal_constant_time(&pin.0, &presented.0) => {
                return Ok(ServerCertVerified::assertion());
            }
            Judge::Pinned(_) => "it is not the pinned one".to_owned(),
            Judge::Authorities(webpki) => {
                match webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
                    Ok(verified) => return Ok(verified),
                    Err(rustls::Error::InvalidCertificate(error)) => error.to_string(),
                    Err(error) => error.to_string(),
                }
            }
        };
        let refusal = NotTrusted { presented, reason };
        Err(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refusal)))))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rustls::sign::{CertifiedKey, SingleCertAndKey};
    use rustls::{ServerConfig, version};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;

    #[test]
    fn trusts_are_read_and_written() {
        let pin = format!("sha256:{}", "ab".repeat(32));
        for text in ["system", "any", &pin, "file:/etc/ssl/own ca.pem"] {
            assert_eq!(text.parse::<Trust>().unwrap().to_string(), text);
        }
        let openssl = format!("sha256:{}", ["AB"; 32].join(":"));
        assert_eq!(openssl.parse::<Trust>().unwrap().to_string(), pin);
        for text in ["", "all", "System", "sha256:", "sha256:abcd", &"ab".repeat(32), "md5:00", "file:"] {
            assert!(text.parse::<Trust>().is_err(), "{text}");
        }
    }

    fn certified() -> (CertifiedKey, CertifiedKey) {
        let make = || {
            let key = rcgen::KeyPair::generate().unwrap();
            let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            let certificate = params.self_signed(&key).unwrap();
            let private = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&private).unwrap();
            CertifiedKey::new(vec![certificate.der().clone()], signer)
        };
        (make(), make())
    }

    /// A handshake with a server that shows the certificate of `shown` and signs with the key of `signer`.
    async fn handshake(
        trust: &Trust,
        shown: &CertifiedKey,
        signer: &CertifiedKey,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> io::Result<()> {
        let key = CertifiedKey::new(shown.cert.clone(), Arc::clone(&signer.key));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        let (near, far) = tokio::io::duplex(16 * 1024);
        let accepting = tokio::spawn(TlsAcceptor::from(Arc::new(server)).accept(far));
        let name = ServerName::try_from("localhost").unwrap();
        let connected = TlsConnector::from(Arc::new(client_config(trust).unwrap())).connect(name, near).await;
        let result = connected.map(drop);
        // The server's view only matters in that it must not hang.
        let _ = accepting.await.unwrap();
        result
    }

    #[tokio::test]
    async fn a_pin_lets_in_its_certificate_only() {
        let (one, other) = certified();
        let pin = Trust::Pinned(sha256(&one.cert[0]));
        for version in [&version::TLS12, &version::TLS13] {
            handshake(&pin, &one, &one, version).await.unwrap();
            let error = handshake(&pin, &other, &other, version).await.unwrap_err();
            let refusal = not_trusted(&error).expect("a refusal with a fingerprint");
            assert_eq!(refusal.presented, sha256(&other.cert[0]));
            assert!(refusal.to_string().ends_with(&format!("it is sha256:{}", refusal.presented)));
        }
    }

    #[tokio::test]
    async fn any_takes_any_certificate_but_no_wrong_signature() {
        let (one, other) = certified();
        for version in [&version::TLS12, &version::TLS13] {
            handshake(&Trust::Any, &one, &one, version).await.unwrap();
            for trust in [Trust::Any, Trust::Pinned(sha256(&one.cert[0]))] {
                let error = handshake(&trust, &one, &other, version).await.unwrap_err();
                assert!(not_trusted(&error).is_none(), "{error}");
            }
        }
    }

    #[tokio::test]
    async fn the_system_does_not_know_a_self_signed_certificate() {
        if let Err(TrustError::NoAuthorities(_)) = client_config(&Trust::System) {
            println!("skipped: this machine has no certificate authorities");
            return;
        }
        let (one, _) = certified();
        let error = handshake(&Trust::System, &one, &one, &version::TLS13).await.unwrap_err();
        assert_eq!(not_trusted(&error).expect("a refusal").presented, sha256(&one.cert[0]));
    }

    /// Goal: own authorities vouch for what they signed, under its name only; a file without any is an error.
    #[tokio::test]
    async fn own_authorities_are_read_from_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = rcgen::CertifiedIssuer::self_signed(params, key).unwrap();
        let signed = |name: &str| {
            let key = rcgen::KeyPair::generate().unwrap();
            let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
            let certificate = params.signed_by(&key, &authority).unwrap();
            let private = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&private).unwrap();
            CertifiedKey::new(vec![certificate.der().clone()], signer)
        };
        let file = dir.path().join("ca.pem");
        let missing = client_config(&Trust::Authorities(file.clone())).unwrap_err();
        assert!(missing.to_string().contains("ca.pem"), "{missing}");
        let endless = client_config(&Trust::Authorities("/dev/zero".into())).unwrap_err();
        assert!(endless.to_string().contains("regular file"), "{endless}");
        crate::disk::write_atomic(&crate::disk::RealDisk, &file, authority.pem().as_bytes()).unwrap();
        let trust = Trust::Authorities(file);
        let (right, other) = (signed("localhost"), signed("elsewhere.example"));
        handshake(&trust, &right, &right, &version::TLS13).await.unwrap();
        let error = handshake(&trust, &other, &other, &version::TLS13).await.unwrap_err();
        assert_eq!(not_trusted(&error).expect("a refusal").presented, sha256(&other.cert[0]));
        let (stranger, _) = certified();
        assert!(handshake(&trust, &stranger, &stranger, &version::TLS13).await.is_err());
    }
}
