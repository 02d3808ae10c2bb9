//! Chains: who vouches for whom, and putting certificates in that order.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::X509Certificate;

use crate::clock::UnixMillis;

/// One certificate of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Whose it is.
    pub subject: String,
    /// Who vouches for it.
    pub issuer: String,
    /// Valid until then.
    pub not_after: UnixMillis,
}

impl Link {
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        let certificate = parsed(der)?;
        let seconds = certificate.validity().not_after.timestamp();
        Some(Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            not_after: UnixMillis(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000)),
        })
    }
}

fn parsed(der: &[u8]) -> Option<X509Certificate<'_>> {
    x509_parser::parse_x509_certificate(der).ok().map(|(_, certificate)| certificate)
}

fn vouches(issuer: &[u8], subject: &[u8]) -> bool {
    let pair = parsed(issuer).zip(parsed(subject));
    pair.is_some_and(|(issuer, subject)| issuer.subject().as_raw() == subject.issuer().as_raw())
}

fn is_self_issued(der: &[u8]) -> bool {
    vouches(der, der)
}

/// `leaf`, then whoever of `others` vouches for it, and so on; without the root, which clients have, and without
/// strangers (RFC 8446 §4.4.2).
pub(super) fn ordered(
    leaf: CertificateDer<'static>,
    mut others: Vec<CertificateDer<'static>>,
) -> Vec<CertificateDer<'static>> {
    let mut chain = vec![leaf];
    while let Some(last) = chain.last()
        && !is_self_issued(last)
        && let Some(at) = others.iter().position(|other| vouches(other, last) && !is_self_issued(other))
    {
        let next = others.swap_remove(at);
        chain.push(next);
    }
    chain
}

/// Whether each certificate is vouched for by the one behind it.
pub(super) fn is_ordered(chain: &[CertificateDer<'static>]) -> bool {
    chain.windows(2).all(|pair| vouches(&pair[1], &pair[0]))
}
