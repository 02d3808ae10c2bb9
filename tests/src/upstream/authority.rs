//! Certificates for servers: good ones of an authority that clients can be told to trust, and every kind of bad one.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use tempfile::TempDir;

use crate::foreign::run;

/// What test servers answer to.
pub const NAMES: [&str; 4] = ["localhost", "mail.test", "127.0.0.1", "::1"];

/// A certificate and its key, as PEM files.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Of the server alone.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Identity {
    /// The SHA-256 of the certificate (DER), 64 hexadecimal digits: what an operator pins.
    pub fn fingerprint(&self) -> Result<String> {
        let mut openssl = Command::new("openssl");
        openssl.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(&self.certificate);
        let said = String::from_utf8(run(&mut openssl)?.stdout)?;
        let digits = said.rsplit('=').next().unwrap_or_default();
        Ok(digits.trim().replace(':', "").to_lowercase())
    }

    /// Copies both into a server's directory.
    pub(super) fn copy_to(&self, dir: &Path) -> Result<()> {
        std::fs::copy(&self.certificate, dir.join("crt.pem"))?;
        std::fs::copy(&self.key, dir.join("key.pem"))?;
        Ok(())
    }
}

/// A certificate authority; its files and those of all it issued go with it.
#[derive(Debug)]
pub struct Authority {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one that nobody trusts yet.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Authority of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let dir = tempfile::Builder::new().prefix("authority").tempdir()?;
        std::fs::write(dir.path().join("ca.pem"), certificate.pem())?;
        Ok(Self { dir, issuer: Issuer::new(params, key) })
    }

    /// Its own certificate (PEM): what a client is given to trust.
    pub fn certificate(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// A good certificate for [`NAMES`].
    pub fn identity(&self) -> Result<Identity> {
        self.issue(&NAMES)
    }

    /// A good certificate for names and addresses.
    pub fn issue(&self, names: &[&str]) -> Result<Identity> {
        self.sign(&params(names)?)
    }

    /// One that ran out long ago.
    pub fn expired(&self, names: &[&str]) -> Result<Identity> {
        let mut params = params(names)?;
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        self.sign(&params)
    }

    /// One that nobody vouches for but itself; only its files are this authority's.
    pub fn self_signed(&self, names: &[&str]) -> Result<Identity> {
        let key = KeyPair::generate()?;
        let certificate = params(names)?.self_signed(&key)?;
        self.keep(&certificate, &key)
    }

    fn sign(&self, params: &CertificateParams) -> Result<Identity> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        self.keep(&certificate, &key)
    }

    fn keep(&self, certificate: &Certificate, key: &KeyPair) -> Result<Identity> {
        let dir = tempfile::Builder::new().prefix("identity").tempdir_in(self.dir.path())?.keep();
        let identity = Identity { certificate: dir.join("crt.pem"), key: dir.join("key.pem") };
        std::fs::write(&identity.certificate, certificate.pem())?;
        std::fs::write(&identity.key, key.serialize_pem())?;
        Ok(identity)
    }
}

fn params(names: &[&str]) -> Result<CertificateParams> {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names.clone())?;
    params.distinguished_name.push(DnType::CommonName, names.first().cloned().unwrap_or_default());
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}
