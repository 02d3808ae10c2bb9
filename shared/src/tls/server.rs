//! A server's certificate: made on the spot, or read from PEM files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedCipherSuite};
use zeroize::Zeroizing;

use super::client::system;
pub use super::leaf::Leaf;
use crate::clock::UnixMillis;
use crate::crypto::digest::{Digest, sha256};
use crate::disk::{Disk, write_atomic};

/// A certificate chain and its private key.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
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
/// Archivers pin it, so it should not go stale behind their backs.
const SELF_SIGNED_VALIDITY: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Written out, so that no new default of the library changes what is offered; each gives forward secrecy.
const CIPHER_SUITES: [SupportedCipherSuite; 9] = [
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// Best first: what is recorded of a connection today stays closed to tomorrow's quantum computers.
const KX_GROUPS: [&dyn SupportedKxGroup; 4] =
    [kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];

impl Identity {
    /// Reads a chain (leaf first) and its private key (PKCS#8, PKCS#1 or SEC1) from PEM files, and tries them.
    pub fn from_pem_files(disk: &dyn Disk, certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        let read =
            |what: &'static str, path: &Path| {
                disk.read(path, PEM_BYTES_MAX)
                    .map(Zeroizing::new)
                    .map_err(|source| IdentityError::Unreadable { what, path: path.into(), source })
            };
        let not_pem =
            |what, path: &Path, reason: String| IdentityError::NotPem { what, path: path.into(), reason };

        let pem = read("certificate", certificate)?;
        let chain = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| not_pem("certificate", certificate, error.to_string()))?;
        if chain.is_empty() {
            return Err(not_pem("certificate", certificate, "it has no CERTIFICATE section".into()));
        }
        let private = PrivateKeyDer::from_pem_slice(&read("private key", key)?)
            .map_err(|error| not_pem("private key", key, error.to_string()))?;
        let identity = Self { chain, key: private };
        identity.server_config().map_err(|error| IdentityError::Unusable {
            certificate: certificate.into(),
            key: key.into(),
            reason: error.to_string(),
        })?;
        Ok(identity)
    }

    /// The self-signed certificate in `dir`; made there for `host_names` when there is none.
    pub fn self_signed(
        disk: &dyn Disk,
        dir: &Path,
        host_names: &[String],
        now: UnixMillis,
    ) -> Result<Self, IdentityError> {
        let (certificate, key) = self_signed_files(dir);
        let failed = |reason: String| IdentityError::SelfSigned { dir: dir.into(), reason };
        if !disk.exists(&certificate).map_err(|error| failed(error.to_string()))? {
            let (certificate_pem, key_pem) =
                make(host_names, now).map_err(|error| failed(error.to_string()))?;
            disk.create_dir_all(dir).map_err(|error| failed(error.to_string()))?;
            // The key first: a certificate without its key would never be completed.
            write_atomic(disk, &key, key_pem.as_bytes()).map_err(|error| failed(error.to_string()))?;
            write_atomic(disk, &certificate, certificate_pem.as_bytes())
                .map_err(|error| failed(error.to_string()))?;
            tracing::info!(path = %certificate.display(), names = ?host_names, "made a self-signed certificate");
        }
        Self::from_pem_files(disk, &certificate, &key)
    }

    /// What listeners serve with: TLS 1.3 and 1.2, ephemeral key exchange and authenticated ciphers only, X25519MLKEM768
    /// preferred. There is no resumption of early data (0-RTT), no compression and no renegotiation in rustls.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, rustls::Error> {
        let provider = CryptoProvider {
            cipher_suites: CIPHER_SUITES.to_vec(),
            kx_groups: KX_GROUPS.to_vec(),
            ..aws_lc_rs::default_provider()
        };
        let config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        Ok(Arc::new(config))
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

    /// Whether a client that trusts this machine's authorities would accept the chain for `host_name`; else why not.
    pub fn verify(&self, host_name: &str, now: UnixMillis) -> Result<(), String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = system(&provider).map_err(|error| error.to_string())?;
        let name = ServerName::try_from(host_name).map_err(|error| error.to_string())?;
        let (leaf, intermediates) = self.chain.split_first().ok_or("there is no certificate")?;
        let now = UnixTime::since_unix_epoch(Duration::from_millis(now.0));
        let verified = verifier.verify_server_cert(leaf, intermediates, &name, &[], now);
        verified.map(drop).map_err(|error| error.to_string())
    }
}

/// The files of the self-signed certificate and its key in `dir`.
pub fn self_signed_files(dir: &Path) -> (PathBuf, PathBuf) {
    (dir.join("self-signed.crt.pem"), dir.join("self-signed.key.pem"))
}

fn make(host_names: &[String], now: UnixMillis) -> Result<(String, Zeroizing<String>), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(host_names.to_vec())?;
    params.distinguished_name = DistinguishedName::new();
    let common_name = host_names.first().map_or("postern", String::as_str);
    params.distinguished_name.push(DnType::CommonName, common_name);
    let at = |millis: u64| {
        time::OffsetDateTime::from_unix_timestamp(i64::try_from(millis / 1000).unwrap_or(0))
            .unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
    };
    // Clocks differ; a day of slack keeps the certificate valid on machines that lag behind.
    params.not_before = at(now.0.saturating_sub(24 * 3600 * 1000));
    params.not_after = at(now.plus(SELF_SIGNED_VALIDITY).0);
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), Zeroizing::new(key.serialize_pem())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn names() -> Vec<String> {
        vec!["gateway.example.com".into(), "127.0.0.1".into()]
    }

    #[test]
    fn the_self_signed_certificate_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let first = Identity::self_signed(&RealDisk, dir.path(), &names(), NOW).unwrap();
        let second = Identity::self_signed(&RealDisk, dir.path(), &names(), NOW).unwrap();
        assert_eq!(first.fingerprint(), second.fingerprint());
        assert_eq!(first.expires().unwrap(), NOW.plus(SELF_SIGNED_VALIDITY));
    }

    #[test]
    fn each_bad_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        Identity::self_signed(&RealDisk, dir.path(), &names(), NOW).unwrap();
        let (certificate, key) = self_signed_files(dir.path());
        let missing = dir.path().join("none.pem");
        let garbage = dir.path().join("garbage.pem");
        write_atomic(&RealDisk, &garbage, b"-----BEGIN NONSENSE-----").unwrap();
        let other = tempfile::tempdir().unwrap();
        Identity::self_signed(&RealDisk, other.path(), &names(), NOW).unwrap();
        let other_key = self_signed_files(other.path()).1;

        let error = |certificate: &Path, key: &Path| {
            Identity::from_pem_files(&RealDisk, certificate, key).unwrap_err().to_string()
        };
        assert!(error(&missing, &key).contains("none.pem"));
        assert!(error(&garbage, &key).contains("garbage.pem"));
        assert!(error(&certificate, &garbage).contains("garbage.pem"));
        let mismatch = error(&certificate, &other_key);
        assert!(mismatch.contains("cannot be used"), "{mismatch}");
    }
}
