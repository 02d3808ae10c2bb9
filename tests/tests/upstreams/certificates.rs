//! Certificates, judged by a client of others.

use anyhow::{Context as _, Result};
use postern_tests::Security::Implicit;
use postern_tests::clients::{Account, After, Trust, poplib};
use postern_tests::upstream::authority::NAMES;
use postern_tests::upstream::{Authority, Dovecot};

use crate::{PASSWORD, USER, all};

/// Goal: the good certificate is taken, and each bad one is refused for the reason it is bad for.
#[test]
fn bad_certificates_are_bad() -> Result<()> {
    if !all(&["dovecot", "python3", "openssl"]) {
        return Ok(());
    }
    let (authority, unknown) = (Authority::new()?, Authority::new()?);
    let certificates = [
        (authority.identity()?, None),
        (authority.expired(&NAMES)?, Some("certificate has expired")),
        (authority.issue(&["other.example.org"])?, Some("Hostname mismatch")),
        (authority.self_signed(&NAMES)?, Some("self-signed certificate")),
        (unknown.identity()?, Some("unable to get local issuer certificate")),
    ];
    for (identity, wrong) in certificates {
        let dovecot = Dovecot::with(&identity).user(USER, PASSWORD).start()?;
        let account = Account::new(dovecot.pop3s, Implicit, USER, PASSWORD);
        let trusting = |trust| poplib::fetch(&account.clone().trusting(trust), After::Keep);
        match wrong {
            None => drop(trusting(Trust::from(&authority))?),
            Some(wrong) => {
                let refused = trusting(Trust::from(&authority)).unwrap_err().to_string();
                assert!(refused.contains(wrong), "{wrong}: {refused}");
            }
        }
        // Each is what it is pinned as, and no other.
        trusting(Trust::Pinned(identity.fingerprint()?)).context("pinned")?;
        assert!(trusting(Trust::Pinned("00".repeat(32))).is_err());
    }
    Ok(())
}
