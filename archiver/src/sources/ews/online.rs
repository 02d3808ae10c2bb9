//! Is it Exchange Online? There EWS is blocked by default since October 2026 and removed in April 2027.

use hyper::HeaderMap;

const HOSTS: [&str; 9] = [
    "outlook.office365.com",
    "outlook.office.com",
    "outlook.office365.us",
    "outlook-dod.office365.us",
    "partner.outlook.cn",
    "outlook.office.de",
    "outlook.com",
    "prod.outlook.com",
    "autodiscover-s.outlook.com",
];

/// Fields that only Exchange Online's front doors put into answers.
const FIELDS: [&str; 4] =
    ["x-firsthopcafeefz", "x-proxy-routingcorrectness", "x-rum-validated", "x-feefzinfo"];

/// Whether a host of that name is one of Exchange Online's.
pub(super) fn is_host(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    HOSTS
        .iter()
        .any(|known| host.strip_suffix(known).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

/// Whether an answer came from there.
pub(super) fn answered(fields: &HeaderMap) -> bool {
    FIELDS.iter().any(|name| fields.contains_key(*name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_hosts_are_known_and_others_are_not() {
        for host in [
            "outlook.office365.com",
            "Outlook.Office365.com.",
            "a.b.prod.outlook.com",
            "autodiscover-s.outlook.com",
        ] {
            assert!(is_host(host), "{host}");
        }
        for host in
            ["mail.example.com", "outlook.office365.com.example.com", "myoutlook.com", "office365.com"]
        {
            assert!(!is_host(host), "{host}");
        }
    }
}
