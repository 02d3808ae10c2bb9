//! A chain and its private key.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::leaf::Leaf;
use super::served::{Served, provider};
use super::{Bundle, Link, chain};
use crate::clock::UnixMillis;
use crate::crypto::digest::{Digest, sha256};
use crate::disk::Disk;
use crate::tls::client::{roots, system};

/// A certificate chain and its private key.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    certified: Arc<CertifiedKey>,
}

/// Why there is no certificate to serve with.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("cannot read the {what} {path}: {source}")]
    Unreadable {
        /// Certificate or private key.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file holds something else.
    #[error("{path} holds no {what} in PEM format: {reason}")]
    NotPem {
        /// Certificate or private key.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What was wrong.
        reason: String,
    },
    /// The two do not belong together, or rustls cannot use them.
    #[error("the certificate {certificate} and the private key {key} cannot be used: {reason}")]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What rustls said.
        reason: String,
    },
    /// A self-signed certificate could not be made or stored.
    #[error("cannot make the self-signed certificate in {dir}: {reason}")]
    SelfSigned {
        /// Where it was to be stored.
        dir: PathBuf,
        /// What went wrong.
        reason: String,
    },
}

const PEM_BYTES_MAX: u64 = 1024 * 1024;

impl Identity {
    /// Of a chain (leaf first) and the leaf's key; refused when they do not belong together.
    pub(super) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, rustls::Error> {
        let certified = CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider())?;
        Ok(Self { chain, key, certified: Arc::new(certified) })
    }

    /// Reads a chain (leaf first) and its private key (PKCS#8, PKCS#1 or SEC1) from PEM files, and tries them. Both may be
    /// the same file.
    pub fn from_pem_files(disk: &dyn Disk, certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        let read =
            |what: &'static str, path: &Path| {
                disk.read(path, PEM_BYTES_MAX)
                    .map(Zeroizing::new)
                    .map_err(|source| IdentityError::Unreadable { what, path: path.into(), source })
            };
        let certificate_pem = read("certificate", certificate)?;
        let key_pem = read("private key", key)?;
        Self::from_pem(&certificate_pem, certificate, &key_pem, key)
    }

    /// The same from what was read; the paths are for errors.
    pub fn from_pem(
        certificate_pem: &[u8],
        certificate: &Path,
        key_pem: &[u8],
        key: &Path,
    ) -> Result<Self, IdentityError> {
        let not_pem =
            |what, path: &Path, reason: String| IdentityError::NotPem { what, path: path.into(), reason };
        let chain = CertificateDer::pem_slice_iter(certificate_pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| not_pem("certificate", certificate, error.to_string()))?;
        if chain.is_empty() {
            return Err(not_pem("certificate", certificate, "it has no CERTIFICATE section".into()));
        }
        let private = PrivateKeyDer::from_pem_slice(key_pem)
            .map_err(|error| not_pem("private key", key, error.to_string()))?;
        Self::new(chain, private).map_err(|error| IdentityError::Unusable {
            certificate: certificate.into(),
            key: key.into(),
            reason: error.to_string(),
        })
    }

    /// With the chain in order: what does not lead from the leaf towards a root is left out, and so is the root.
    #[must_use]
    pub fn in_order(mut self) -> Self {
        let leaf = self.chain.remove(0);
        let others = std::mem::take(&mut self.chain);
        self.chain = chain::ordered(leaf, others);
        let signer = Arc::clone(&self.certified.key);
        self.certified = Arc::new(CertifiedKey::new(self.chain.clone(), signer));
        self
    }

    /// Key and chain as one PEM text.
    pub fn bundle(&self) -> Bundle {
        let kind = match &self.key {
            PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
            PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
            _ => "PRIVATE KEY",
        };
        Bundle::new(kind, self.key.secret_der(), self.chain.iter().map(AsRef::as_ref))
    }

    /// What listeners serve this one certificate with; see [`Served::server_config`].
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, rustls::Error> {
        let (chain, key, certified) = (self.chain.clone(), self.key.clone_key(), self.certified());
        Served::new(Self { chain, key, certified }).server_config()
    }

    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }

    /// SHA-256 of the leaf certificate (DER): what a client pins.
    pub fn fingerprint(&self) -> Digest {
        self.chain.first().map_or_else(|| sha256(&[]), |leaf| sha256(leaf))
    }

    /// When the leaf certificate expires.
    pub fn expires(&self) -> Option<UnixMillis> {
        self.leaf().map(|leaf| leaf.not_after)
    }

    /// What the leaf certificate says; `None` when it cannot be read.
    pub fn leaf(&self) -> Option<Leaf> {
        Leaf::read(self.chain.first()?)
    }

    /// The chain as it is shown, leaf first (DER).
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// What each certificate of the chain says.
    pub fn links(&self) -> Vec<Link> {
        self.chain.iter().filter_map(|der| Link::read(der)).collect()
    }

    /// Whether each certificate of the chain is vouched for by the one behind it.
    pub fn is_ordered(&self) -> bool {
        chain::is_ordered(&self.chain)
    }

    /// Whether a client that trusts this machine's authorities would accept the chain for `host_name`; else why not.
    pub fn verify(&self, host_name: &str, now: UnixMillis) -> Result<(), String> {
        let verifier = system(&Arc::new(provider())).map_err(|error| error.to_string())?;
        accepted(&verifier, &self.chain, host_name, now)
    }

    /// The same for a client that trusts the authorities in `authorities` (PEM) only.
    pub fn verify_with(&self, authorities: &[u8], host_name: &str, now: UnixMillis) -> Result<(), String> {
        let roots = roots(authorities).map_err(|error| error.to_string())?;
        let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider()));
        accepted(&*builder.build().map_err(|error| error.to_string())?, &self.chain, host_name, now)
    }
}

fn accepted(
    verifier: &WebPkiServerVerifier,
    chain: &[CertificateDer<'static>],
    host_name: &str,
    now: UnixMillis,
) -> Result<(), String> {
    let name = ServerName::try_from(host_name).map_err(|error| error.to_string())?;
    let (leaf, intermediates) = chain.split_first().ok_or("there is no certificate")?;
    let now = UnixTime::since_unix_epoch(Duration::from_millis(now.0));
    let verified = verifier.verify_server_cert(leaf, intermediates, &name, &[], now);
    verified.map(drop).map_err(|error| error.to_string())
}
