//! What a mailbox takes, and from whom. Without a word of the operator it takes everything from everybody, so that a
//! journal rule works at once.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// More networks than any provider publishes for its mail.
const NETWORKS_MAX: usize = 1000;
const PRESET_NAME_CHARS_MAX: usize = 32;

/// What a mailbox takes, and from whom.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Networks that may send.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<IpNet>,
    /// More of them, each list loaded from a file under a name, and replaced when it is loaded again.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub presets: BTreeMap<String, Vec<IpNet>>,
    /// Whether mail is taken under TLS only.
    pub require_tls: bool,
    /// The longest message, in octets of content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_bytes_max: Option<u64>,
    /// Octets that may wait; mail beyond them is refused for now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota_bytes: Option<u64>,
    /// Messages that may wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota_messages: Option<u64>,
}

/// What an edit changes of a policy; what it does not name stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyEdit {
    /// Forgets all networks and presets, before others are added.
    pub any_network: bool,
    /// Networks to add.
    pub networks: Vec<IpNet>,
    /// Presets to add or replace.
    pub presets: BTreeMap<String, Vec<IpNet>>,
    /// Whether mail is taken under TLS only.
    pub require_tls: Option<bool>,
    /// The longest message, in octets of content.
    pub message_bytes_max: Option<Bound>,
    /// Octets that may wait.
    pub quota_bytes: Option<Bound>,
    /// Messages that may wait.
    pub quota_messages: Option<Bound>,
}

/// A new limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// There is none.
    None,
    /// That much.
    AtMost(u64),
}

impl Bound {
    fn value(self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::AtMost(value) => Some(value),
        }
    }
}

/// Why a policy cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Too many networks.
    #[error("a mailbox has at most {NETWORKS_MAX} networks, presets included; these would be {0}")]
    TooManyNetworks(usize),
    /// Not a name for a preset.
    #[error("{0:?} is no name for a preset: 1 to {PRESET_NAME_CHARS_MAX} letters, digits and hyphens")]
    BadPresetName(String),
    /// It would take away what is asked for.
    #[error("preset {0:?} has no networks; it would let nobody in")]
    EmptyPreset(String),
}

impl Policy {
    /// Whether it asks for nothing.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a client of that address may send; `None` is a client whose address is not known.
    pub fn allows(&self, client: Option<IpAddr>) -> bool {
        if self.networks.is_empty() && self.presets.is_empty() {
            return true;
        }
        // A listener on [::] sees IPv4 clients as ::ffff:a.b.c.d.
        let Some(client) = client.map(|client| client.to_canonical()) else { return false };
        self.presets.values().chain([&self.networks]).flatten().any(|network| network.contains(&client))
    }

    /// The policy with `edit` done to it.
    pub fn edited(&self, edit: &PolicyEdit) -> Result<Self, PolicyError> {
        let mut new = self.clone();
        if edit.any_network {
            new.networks.clear();
            new.presets.clear();
        }
        new.networks.extend(&edit.networks);
        tidy(&mut new.networks);
        for (name, networks) in &edit.presets {
            let is_name = (1..=PRESET_NAME_CHARS_MAX).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            if !is_name {
                return Err(PolicyError::BadPresetName(name.clone()));
            }
            if networks.is_empty() {
                return Err(PolicyError::EmptyPreset(name.clone()));
            }
            let mut networks = networks.clone();
            tidy(&mut networks);
            new.presets.insert(name.to_ascii_lowercase(), networks);
        }
        let count = new.networks.len() + new.presets.values().map(Vec::len).sum::<usize>();
        if count > NETWORKS_MAX {
            return Err(PolicyError::TooManyNetworks(count));
        }
        new.require_tls = edit.require_tls.unwrap_or(new.require_tls);
        for (limit, edit) in [
            (&mut new.message_bytes_max, edit.message_bytes_max),
            (&mut new.quota_bytes, edit.quota_bytes),
            (&mut new.quota_messages, edit.quota_messages),
        ] {
            *limit = edit.map_or(*limit, Bound::value);
        }
        Ok(new)
    }
}

/// As networks are compared: host bits cleared, mapped IPv4 as IPv4, each once.
fn tidy(networks: &mut Vec<IpNet>) {
    for network in networks.iter_mut() {
        let plain = match network {
            IpNet::V6(v6) if v6.prefix_len() >= 96 => v6
                .addr()
                .to_ipv4_mapped()
                .and_then(|addr| ipnet::Ipv4Net::new(addr, v6.prefix_len() - 96).ok().map(IpNet::V4)),
            _ => None,
        };
        *network = plain.unwrap_or(*network).trunc();
    }
    networks.sort_unstable();
    networks.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn allows(policy: &Policy, client: &str) -> bool {
        policy.allows(Some(client.parse().unwrap()))
    }

    #[test]
    fn networks_of_both_families_let_in_their_own_only() {
        let edit = PolicyEdit { networks: nets(&["192.0.2.7/24", "2001:db8::/32"]), ..Default::default() };
        let policy = Policy::default().edited(&edit).unwrap();
        for (client, allowed) in [
            ("192.0.2.255", true),
            ("192.0.3.0", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::", false),
            ("::ffff:192.0.2.1", true),
            ("::ffff:192.0.3.1", false),
        ] {
            assert_eq!(allows(&policy, client), allowed, "{client}");
        }
        assert!(!policy.allows(None), "an unknown client is in no network");
        assert!(Policy::default().allows(None), "an open policy asks nothing");
        let mapped = PolicyEdit { networks: nets(&["::ffff:192.0.2.0/120"]), ..Default::default() };
        assert!(allows(&Policy::default().edited(&mapped).unwrap(), "192.0.2.9"));
    }

    #[test]
    fn edits_add_replace_and_open() {
        let first = PolicyEdit {
            networks: nets(&["192.0.2.0/24", "192.0.2.1/24"]),
            presets: [("Google".into(), nets(&["198.51.100.0/24"]))].into(),
            quota_bytes: Some(Bound::AtMost(5)),
            require_tls: Some(true),
            ..PolicyEdit::default()
        };
        let policy = Policy::default().edited(&first).unwrap();
        assert_eq!(policy.networks, nets(&["192.0.2.0/24"]), "each once");
        let second = PolicyEdit {
            networks: nets(&["203.0.113.0/24"]),
            presets: [("google".into(), nets(&["198.51.101.0/24"]))].into(),
            ..PolicyEdit::default()
        };
        let policy = policy.edited(&second).unwrap();
        assert_eq!(policy.networks.len(), 2);
        assert!(allows(&policy, "198.51.101.1") && !allows(&policy, "198.51.100.1"), "a preset is replaced");
        assert_eq!((policy.quota_bytes, policy.require_tls), (Some(5), true), "what is not named stays");
        let open = PolicyEdit {
            any_network: true,
            quota_bytes: Some(Bound::None),
            require_tls: Some(false),
            ..PolicyEdit::default()
        };
        assert!(policy.edited(&open).unwrap().is_open());
        let replaced = policy.edited(&PolicyEdit { any_network: true, ..second }).unwrap();
        assert_eq!(replaced.networks, nets(&["203.0.113.0/24"]), "forgotten first, then added");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let preset = |name: &str, networks: Vec<IpNet>| PolicyEdit {
            presets: [(name.to_owned(), networks)].into(),
            ..PolicyEdit::default()
        };
        let refused = |edit: PolicyEdit| Policy::default().edited(&edit).unwrap_err();
        assert!(matches!(refused(preset("a b", nets(&["192.0.2.0/24"]))), PolicyError::BadPresetName(_)));
        assert!(matches!(refused(preset("google", Vec::new())), PolicyError::EmptyPreset(_)));
        let many = (0..=1000u32).map(|n| IpNet::from(IpAddr::from(n.to_be_bytes()))).collect();
        assert_eq!(refused(preset("many", many)), PolicyError::TooManyNetworks(1001));
    }
}
