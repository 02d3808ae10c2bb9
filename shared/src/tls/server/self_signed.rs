//! Self-signed certificates: made on the spot, kept, and made again with the same key before they expire.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use zeroize::Zeroizing;

use super::identity::{Identity, IdentityError};
use crate::clock::UnixMillis;
use crate::disk::{Disk, write_atomic};

const KEY_BYTES_MAX: u64 = 64 * 1024;
/// Archivers pin it, so it should not go stale behind their backs.
const SELF_SIGNED_VALIDITY: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// So long before its end another one is made. Archivers that pin the old one must be told then: there is no way to
/// prolong a certificate without changing its fingerprint.
pub const SELF_SIGNED_RENEWAL: Duration = Duration::from_secs(30 * 24 * 3600);

/// The files of the self-signed certificate and its key in `dir`.
pub fn self_signed_files(dir: &Path) -> (PathBuf, PathBuf) {
    (dir.join("self-signed.crt.pem"), dir.join("self-signed.key.pem"))
}

impl Identity {
    /// The self-signed certificate in `dir`; made there for `host_names` when there is none.
    pub fn self_signed(
        disk: &dyn Disk,
        dir: &Path,
        host_names: &[String],
        now: UnixMillis,
    ) -> Result<Self, IdentityError> {
        let (certificate, key) = self_signed_files(dir);
        let failed = |error: std::io::Error| failed(dir, &error);
        if !disk.exists(&certificate).map_err(failed)? {
            return Self::new_self_signed(disk, dir, host_names, now);
        }
        Self::from_pem_files(disk, &certificate, &key)
    }

    /// A new self-signed certificate in `dir` with a key of its own, whatever was there.
    pub fn new_self_signed(
        disk: &dyn Disk,
        dir: &Path,
        host_names: &[String],
        now: UnixMillis,
    ) -> Result<Self, IdentityError> {
        let (certificate, key) = self_signed_files(dir);
        let failed = |error: std::io::Error| failed(dir, &error);
        let private = KeyPair::generate().map_err(|error| failed(std::io::Error::other(error)))?;
        let certificate_pem =
            make(&private, host_names, now).map_err(|error| failed(std::io::Error::other(error)))?;
        disk.create_dir_all(dir).map_err(failed)?;
        // No moment shows a certificate beside another one's key: the old one goes first, the new one comes last.
        if disk.exists(&certificate).map_err(failed)? {
            disk.remove(&certificate).map_err(failed)?;
            disk.sync_dir(dir).map_err(failed)?;
        }
        let key_pem = Zeroizing::new(private.serialize_pem());
        write_atomic(disk, &key, key_pem.as_bytes()).map_err(failed)?;
        write_atomic(disk, &certificate, certificate_pem.as_bytes()).map_err(failed)?;
        tracing::info!(path = %certificate.display(), names = ?host_names, "made a self-signed certificate");
        Self::from_pem_files(disk, &certificate, &key)
    }

    /// The self-signed certificate in `dir` made anew with its names and its key, to last from `now` on.
    pub fn renewed_self_signed(
        &self,
        disk: &dyn Disk,
        dir: &Path,
        now: UnixMillis,
    ) -> Result<Self, IdentityError> {
        let (certificate, key) = self_signed_files(dir);
        let failed = |error: std::io::Error| failed(dir, &error);
        let key_pem = Zeroizing::new(disk.read(&key, KEY_BYTES_MAX).map_err(failed)?);
        let text = std::str::from_utf8(&key_pem).map_err(|error| failed(std::io::Error::other(error)))?;
        let names = self.leaf().map(|leaf| leaf.names).unwrap_or_default();
        let made = KeyPair::from_pem(text).and_then(|private| make(&private, &names, now));
        let certificate_pem = made.map_err(|error| failed(std::io::Error::other(error)))?;
        write_atomic(disk, &certificate, certificate_pem.as_bytes()).map_err(failed)?;
        Self::from_pem_files(disk, &certificate, &key)
    }
}

fn failed(dir: &Path, error: &std::io::Error) -> IdentityError {
    IdentityError::SelfSigned { dir: dir.into(), reason: error.to_string() }
}

fn make(key: &KeyPair, host_names: &[String], now: UnixMillis) -> Result<String, rcgen::Error> {
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
    Ok(params.self_signed(key)?.pem())
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

    /// Goal: renewal keeps names and key, so that a crash in its midst leaves a pair that fits; a new one has a new key.
    #[test]
    fn a_renewed_one_keeps_names_and_key() {
        let dir = tempfile::tempdir().unwrap();
        let first = Identity::self_signed(&RealDisk, dir.path(), &names(), NOW).unwrap();
        let key = || RealDisk.read(&self_signed_files(dir.path()).1, KEY_BYTES_MAX).unwrap();
        let (key_before, later) = (key(), NOW.plus(SELF_SIGNED_VALIDITY));
        let second = first.renewed_self_signed(&RealDisk, dir.path(), later).unwrap();
        assert_ne!(first.fingerprint(), second.fingerprint());
        assert_eq!(second.leaf().unwrap().names, names());
        assert_eq!(second.expires().unwrap(), later.plus(SELF_SIGNED_VALIDITY));
        assert_eq!(key(), key_before);
        let other = vec!["other.example.com".to_owned()];
        let third = Identity::new_self_signed(&RealDisk, dir.path(), &other, later).unwrap();
        assert_eq!(third.leaf().unwrap().names, other);
        assert_ne!(key(), key_before);
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
