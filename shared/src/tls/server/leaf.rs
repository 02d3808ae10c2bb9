//! What a server's own certificate says.

use x509_parser::extensions::GeneralName;

use crate::clock::UnixMillis;

/// Names and dates of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Its DNS names and IP addresses (subject alternative names).
    pub names: Vec<String>,
    /// Valid from then on.
    pub not_before: UnixMillis,
    /// Valid until then.
    pub not_after: UnixMillis,
}

impl Leaf {
    /// Reads a certificate (DER); `None` when it is none.
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        let alternative = certificate.subject_alternative_name().ok().flatten();
        let names =
            alternative.iter().flat_map(|names| &names.value.general_names).filter_map(name).collect();
        let millis = |seconds: i64| UnixMillis(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000));
        let validity = certificate.validity();
        let (not_before, not_after) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        Some(Self { names, not_before: millis(not_before), not_after: millis(not_after) })
    }

    /// Whether it is for `host`; `*` stands for one label (RFC 9525 §6.3).
    pub fn covers(&self, host: &str) -> bool {
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent)),
            None => name.eq_ignore_ascii_case(host),
        })
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(octets) => {
            let v4 = <[u8; 4]>::try_from(*octets).map(std::net::IpAddr::from);
            let v6 = || <[u8; 16]>::try_from(*octets).map(std::net::IpAddr::from);
            v4.or_else(|_| v6()).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Identity;
    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn names_and_dates_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["gateway.example.com".to_owned(), "127.0.0.1".to_owned()];
        let now = UnixMillis(1_800_000_000_000);
        let identity = Identity::self_signed(&RealDisk, dir.path(), &names, now).unwrap();
        let leaf = identity.leaf().unwrap();
        assert_eq!(leaf.names, names);
        assert!(leaf.not_before < now && now < leaf.not_after);
        assert!(leaf.covers("Gateway.example.com") && !leaf.covers("example.com"));
        assert!(identity.verify("gateway.example.com", now).is_err(), "nobody vouches for it");
    }

    #[test]
    fn a_star_stands_for_one_label() {
        let names = vec!["*.example.com".to_owned()];
        let leaf = Leaf { names, not_before: UnixMillis(0), not_after: UnixMillis(1) };
        assert!(leaf.covers("gateway.example.com"));
        assert!(!leaf.covers("example.com") && !leaf.covers("a.b.example.com"));
    }
}
