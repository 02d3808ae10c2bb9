//! Client assertions: a client proves who it is by a signature instead of a secret (RFC 7523 §2.2, RFC 7519, RFC 7515).
//!
//! ```text
//! header  {"alg": "PS256" | "RS256", "typ": "JWT", "x5t#S256": base64url(SHA-256 of the certificate)}
//! claims  {"aud": token endpoint, "iss" = "sub": client id, "jti": random, "nbf" = "iat": now, "exp": now + 5 min}
//! ```

use std::path::Path;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postern_shared::clock::UnixMillis;
use postern_shared::crypto::digest::sha256;
use postern_shared::crypto::random;
use postern_shared::disk::Disk;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::SecretString;
use serde_json::json;
use zeroize::Zeroizing;

use super::provider::Algorithm;

const PEM_BYTES_MAX: u64 = 1024 * 1024;
/// Providers allow up to ten minutes; clocks differ.
const LIFE: Duration = Duration::from_secs(300);

/// A certificate and its key, ready to sign.
pub(super) struct Signer {
    thumbprint: String,
    key: RsaKeyPair,
}

impl Signer {
    /// Reads both files; the error names the one that is wrong.
    pub(super) fn read(disk: &dyn Disk, certificate: &Path, key: &Path) -> Result<Self, String> {
        let read = |path: &Path| {
            let pem = disk.read(path, PEM_BYTES_MAX).map(Zeroizing::new);
            pem.map_err(|error| format!("cannot read {}: {error}", path.display()))
        };
        let der = CertificateDer::from_pem_slice(&read(certificate)?)
            .map_err(|error| format!("{} holds no certificate: {error}", certificate.display()))?;
        let not_rsa = |reason: String| format!("{} holds no RSA key: {reason}", key.display());
        let private =
            PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| not_rsa(error.to_string()))?;
        let pair = match &private {
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            _ => return Err(not_rsa("it is of another kind".into())),
        };
        let pair = pair.map_err(|error| not_rsa(error.to_string()))?;
        Ok(Self { thumbprint: URL_SAFE_NO_PAD.encode(sha256(&der).0), key: pair })
    }

    /// An assertion for one request.
    pub(super) fn assertion(
        &self,
        algorithm: Algorithm,
        client_id: &str,
        audience: &str,
        now: UnixMillis,
    ) -> Result<SecretString, String> {
        let header = json!({ "alg": algorithm.name(), "typ": "JWT", "x5t#S256": self.thumbprint });
        let seconds = now.0 / 1000;
        let claims = json!({
            "aud": audience,
            "iss": client_id,
            "sub": client_id,
            "jti": URL_SAFE_NO_PAD.encode(random::<16>()),
            "nbf": seconds,
            "iat": seconds,
            "exp": seconds + LIFE.as_secs(),
        });
        let encode = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let encoding: &'static dyn RsaEncoding = match algorithm {
            Algorithm::Ps256 => &RSA_PSS_SHA256,
            Algorithm::Rs256 => &RSA_PKCS1_SHA256,
        };
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(encoding, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| "the client's key cannot sign".to_owned())?;
        Ok(SecretString::from(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(&signature))))
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{
        KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey,
    };
    use postern_shared::disk::{RealDisk, write_atomic};
    use secrecy::ExposeSecret;
    use serde_json::Value;

    use super::*;

    fn files(
        dir: &Path,
        algorithm: &'static rcgen::SignatureAlgorithm,
    ) -> (std::path::PathBuf, std::path::PathBuf) {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let certificate =
            rcgen::CertificateParams::new(vec!["gateway".to_owned()]).unwrap().self_signed(&key).unwrap();
        let paths = (dir.join("client.pem"), dir.join("client.key"));
        write_atomic(&RealDisk, &paths.0, certificate.pem().as_bytes()).unwrap();
        write_atomic(&RealDisk, &paths.1, key.serialize_pem().as_bytes()).unwrap();
        paths
    }

    #[test]
    fn assertions_are_what_providers_verify() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = files(dir.path(), &rcgen::PKCS_RSA_SHA256);
        let signer = Signer::read(&RealDisk, &certificate, &key).unwrap();
        for algorithm in [Algorithm::Ps256, Algorithm::Rs256] {
            let audience = "https://login.example.com/token";
            let jwt =
                signer.assertion(algorithm, "gateway-id", audience, UnixMillis(1_700_000_000_999)).unwrap();
            let parts: Vec<&str> = jwt.expose_secret().split('.').collect();
            let decoded = |at: usize| URL_SAFE_NO_PAD.decode(parts[at]).unwrap();
            let json = |at| serde_json::from_slice::<Value>(&decoded(at)).unwrap();
            assert_eq!(json(0)["alg"], algorithm.name());
            let der = CertificateDer::from_pem_slice(&RealDisk.read(&certificate, 9999).unwrap()).unwrap();
            assert_eq!(json(0)["x5t#S256"], URL_SAFE_NO_PAD.encode(sha256(&der).0));
            let claims = json(1);
            assert_eq!((&claims["iss"], &claims["aud"]), (&claims["sub"], &audience.into()));
            assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 300);
            let verification: &dyn aws_lc_rs::signature::VerificationAlgorithm = match algorithm {
                Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
                Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
            };
            let signed = format!("{}.{}", parts[0], parts[1]);
            let public = UnparsedPublicKey::new(verification, signer.key.public_key().as_ref());
            public.verify(signed.as_bytes(), &decoded(2)).expect("the signature holds");
            let again = signer.assertion(algorithm, "gateway-id", audience, UnixMillis(0)).unwrap();
            assert_ne!(again.expose_secret(), jwt.expose_secret(), "each is used once");
        }
    }

    #[test]
    fn files_that_are_no_rsa_pair_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = files(dir.path(), &rcgen::PKCS_ECDSA_P256_SHA256);
        let error = |certificate, key| Signer::read(&RealDisk, certificate, key).err().unwrap();
        assert!(error(&certificate, &key).contains("client.key holds no RSA key"));
        assert!(error(&key, &key).contains("client.key holds no certificate"));
        assert!(error(dir.path().join("none").as_path(), &key).contains("cannot read"));
    }
}
