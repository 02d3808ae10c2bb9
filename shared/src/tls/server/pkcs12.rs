//! PKCS#12 files (RFC 7292), as Windows and many authorities hand out: key, certificate and chain under a password. Old
//! ones (RC2, triple DES) can be read as well.

use p12_keystore::Pkcs12Archive;
use p12_keystore::error::Error;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::chain;
use super::identity::Identity;

/// Why no certificate can be taken from a PKCS#12 file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Pkcs12Error {
    /// The password opens nothing.
    #[error("the password is wrong, or the file is damaged")]
    WrongPassword,
    /// An encryption that is not known here.
    #[error(
        "its encryption is not supported ({0}); convert it with: openssl pkcs12 -legacy -in FILE -nodes -out all.pem, \
         and import all.pem"
    )]
    Unsupported(String),
    /// Something else.
    #[error("this is no PKCS#12 file: {0}")]
    NotPkcs12(String),
    /// No key.
    #[error("it holds no private key; export it again with the private key")]
    NoKey,
    /// Several.
    #[error("it holds {0} private keys; export the one of this server alone")]
    ManyKeys(usize),
    /// The key's certificate is missing.
    #[error("none of its {0} certificates belongs to its private key")]
    NoCertificate(usize),
}

impl Identity {
    /// Reads a PKCS#12 file: its one key, the certificate that belongs to it, and the chain, in order.
    pub fn from_pkcs12(file: &[u8], password: &str) -> Result<Self, Pkcs12Error> {
        let mut archive = Pkcs12Archive::from_pkcs12(file, password).map_err(|error| explained(&error))?;
        let key = match archive.keys.len() {
            0 => return Err(Pkcs12Error::NoKey),
            1 => archive.keys.remove(0).key,
            many => return Err(Pkcs12Error::ManyKeys(many)),
        };
        let key = PrivateKeyDer::try_from(key.as_der().to_vec())
            .map_err(|error| Pkcs12Error::NotPkcs12(error.to_owned()))?;
        let certificates: Vec<CertificateDer<'static>> =
            archive.certs.iter().map(|bag| CertificateDer::from(bag.cert.as_der().to_vec())).collect();
        for (at, leaf) in certificates.iter().enumerate() {
            let mut others = certificates.clone();
            others.remove(at);
            let chain = chain::ordered(leaf.clone(), others);
            if let Ok(identity) = Self::new(chain, key.clone_key()) {
                return Ok(identity);
            }
        }
        Err(Pkcs12Error::NoCertificate(certificates.len()))
    }
}

fn explained(error: &Error) -> Pkcs12Error {
    match error {
        // Where there is no checksum, a wrong password shows in what it decrypts to.
        Error::MacError(_) | Error::UnpadError => Pkcs12Error::WrongPassword,
        Error::UnsupportedEncryptionScheme | Error::UnsupportedMacAlgorithm | Error::Pkcs5Error(_) => {
            Pkcs12Error::Unsupported(error.to_string())
        }
        other => Pkcs12Error::NotPkcs12(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::clock::{Clock, SystemClock};
    use crate::disk::{Disk, RealDisk};

    fn fixture(name: &str) -> Vec<u8> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/certificates");
        RealDisk.read(&dir.join(name), 100_000).unwrap()
    }

    /// Goal: whatever the encryption, the same key and the same chain come out, in order and without the root.
    /// Method: files that openssl made, with the chain in the wrong order.
    #[test]
    fn new_and_old_files_are_read() {
        for name in ["aes256.p12", "rc2-40.p12", "3des.pfx"] {
            let identity = Identity::from_pkcs12(&fixture(name), "secret").unwrap();
            assert_eq!(identity.leaf().unwrap().names, ["gateway.example.com", "localhost"], "{name}");
            let subjects: Vec<String> = identity.links().into_iter().map(|link| link.subject).collect();
            assert_eq!(subjects, ["CN=gateway.example.com", "CN=Postern Test Intermediate"], "{name}");
            assert!(identity.is_ordered());
            let now = SystemClock::new().wall();
            identity.verify_with(&fixture("root.pem"), "gateway.example.com", now).unwrap();
            assert!(identity.verify_with(&fixture("root.pem"), "other.example.com", now).is_err());
            assert!(
                identity.verify("gateway.example.com", now).is_err(),
                "the machine does not know the root"
            );
        }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let error = |name, password| Identity::from_pkcs12(&fixture(name), password).unwrap_err();
        for name in ["aes256.p12", "rc2-40.p12", "3des.pfx"] {
            assert!(matches!(error(name, "wrong"), Pkcs12Error::WrongPassword), "{name}");
        }
        assert!(matches!(error("no-key.p12", "secret"), Pkcs12Error::NoKey));
        assert!(error("rc4.p12", "secret").to_string().contains("openssl pkcs12 -legacy"));
        assert!(matches!(error("root.pem", "secret"), Pkcs12Error::NotPkcs12(_)));
        for cut in 0..fixture("aes256.p12").len() {
            let whole = fixture("aes256.p12");
            assert!(Identity::from_pkcs12(&whole[..cut], "secret").is_err(), "cut at {cut}");
        }
    }

    /// Goal: a chain in the wrong order is put right, and a bundle holds what it was made of.
    #[test]
    fn a_bundle_is_read_back() {
        let path = Path::new("all.pem");
        let read = |pem: &[u8]| Identity::from_pem(pem, path, pem, path);
        let right = read(&fixture("right.pem")).unwrap();
        let again = read(right.bundle().as_bytes()).unwrap();
        assert_eq!(again.chain(), right.chain());
        let mixed = [fixture("right.pem"), fixture("root.pem")].concat();
        assert_eq!(read(&mixed).unwrap().in_order().chain(), right.chain(), "the root is left out");
        assert!(read(&fixture("wrong-order.pem")).is_err(), "the first one is not the key's");
        assert!(!format!("{right:?} {:?}", right.bundle()).contains("PRIVATE"));
    }
}
