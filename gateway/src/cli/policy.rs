//! A mailbox's policy on the command line, and networks from files.
//!
//! [`networks_of`] reads what providers publish of their mail servers:
//!
//! ```text
//! 192.0.2.0/24          # one network a line, comments behind '#' (or ';'); a plain address is a network of one
//!
//! [{"serviceArea": "Exchange", "ips": ["192.0.2.0/24", …], "tcpPorts": "25", …}, …]
//!                       Microsoft, endpoints.office.com: those of Exchange that speak on port 25
//!
//! {"prefixes": [{"ipv4Prefix": "192.0.2.0/24"}, {"ipv6Prefix": "2001:db8::/32"}, …], …}
//!                       Google, goog.json
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use ipnet::IpNet;
use postern_shared::config::ByteSize;
use postern_shared::disk::Disk;
use serde::Deserialize;

use crate::mailbox::{Bound, PolicyEdit};

/// Microsoft's list has some 100 KB.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What a mailbox takes, and from whom.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct PolicyArgs {
    /// Take mail from this network too (192.0.2.0/24, 2001:db8::/32); may be given several times. The first one closes
    /// the mailbox to all others.
    #[arg(long, value_name = "CIDR", value_parser = parse_network)]
    allow_network: Vec<IpNet>,
    /// Take mail from the networks in --networks-from too, kept under this name (microsoft365, google): loading a newer
    /// file under the same name replaces them.
    #[arg(long, value_name = "NAME", requires = "networks_from")]
    allow_preset: Option<String>,
    /// A file with networks: one a line, or the JSON that Microsoft (endpoints.office.com) or Google (goog.json)
    /// publishes.
    #[arg(long, value_name = "FILE", requires = "allow_preset")]
    networks_from: Option<PathBuf>,
    /// Forget all networks: take mail from everywhere, or only from those named with it.
    #[arg(long)]
    any_network: bool,
    /// Whether to take mail under TLS only.
    #[arg(long, value_name = "yes|no")]
    require_tls: Option<YesNo>,
    /// The longest message; the gateway's own limit holds besides.
    #[arg(long, value_name = "SIZE|none", value_parser = parse_size)]
    max_message_size: Option<Bound>,
    /// How much may wait; mail beyond is refused for now (452), and its sender comes again.
    #[arg(long, value_name = "SIZE|none", value_parser = parse_size)]
    quota: Option<Bound>,
    /// How many messages may wait.
    #[arg(long, value_name = "NUMBER|none", value_parser = parse_number)]
    quota_messages: Option<Bound>,
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum YesNo {
    Yes,
    No,
}

impl PolicyArgs {
    /// The edit that they ask for; reads the file that they name.
    pub(super) fn into_edit(self, disk: &dyn Disk) -> Result<PolicyEdit> {
        let mut presets = BTreeMap::new();
        if let (Some(name), Some(file)) = (self.allow_preset, self.networks_from) {
            let bytes = disk
                .read(&file, FILE_BYTES_MAX)
                .with_context(|| format!("cannot read the networks in {}", file.display()))?;
            let networks =
                networks_of(&bytes).with_context(|| format!("no networks in {}", file.display()))?;
            presets.insert(name, networks);
        }
        Ok(PolicyEdit {
            any_network: self.any_network,
            networks: self.allow_network,
            presets,
            require_tls: self.require_tls.map(|answer| answer == YesNo::Yes),
            message_bytes_max: self.max_message_size,
            quota_bytes: self.quota,
            quota_messages: self.quota_messages,
        })
    }
}

fn parse_network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| format!("{text:?} is not a network like 192.0.2.0/24 or 2001:db8::/32"))
}

fn parse_size(text: &str) -> Result<Bound, String> {
    parse_bound(text, |text| ByteSize::from_str(text).map(|size| size.0))
}

fn parse_number(text: &str) -> Result<Bound, String> {
    parse_bound(text, |text| text.parse().map_err(|_| format!("{text:?} is neither a number nor \"none\"")))
}

fn parse_bound(text: &str, parse: impl FnOnce(&str) -> Result<u64, String>) -> Result<Bound, String> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(Bound::None);
    }
    match parse(text)? {
        0 => Err("0 would let nothing in; suspend the mailbox instead, or say \"none\"".into()),
        value => Ok(Bound::AtMost(value)),
    }
}

/// One entry of Microsoft's list, as far as it matters here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    #[serde(default)]
    service_area: String,
    #[serde(default)]
    ips: Vec<String>,
    /// "80,443"
    tcp_ports: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Prefixes {
    prefixes: Vec<Prefix>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Prefix {
    ipv4_prefix: Option<String>,
    ipv6_prefix: Option<String>,
}

/// The networks in a file of any of the known shapes.
fn networks_of(bytes: &[u8]) -> Result<Vec<IpNet>> {
    let text = std::str::from_utf8(bytes).context("it is not text")?;
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let found: Vec<String> = match text.bytes().next() {
        Some(b'[') => {
            let endpoints: Vec<Endpoint> =
                serde_json::from_str(text).context("it is not the list that Microsoft publishes")?;
            let speaks_smtp = |endpoint: &Endpoint| {
                let ports = endpoint.tcp_ports.as_deref();
                ports.is_none_or(|ports| ports.split(',').any(|port| port.trim() == "25"))
            };
            let exchange = endpoints
                .into_iter()
                .filter(|endpoint| endpoint.service_area == "Exchange" && speaks_smtp(endpoint));
            exchange.flat_map(|endpoint| endpoint.ips).collect()
        }
        Some(b'{') => {
            let Prefixes { prefixes } =
                serde_json::from_str(text).context("it is not the list that Google publishes")?;
            prefixes
                .into_iter()
                .flat_map(|prefix| [prefix.ipv4_prefix, prefix.ipv6_prefix])
                .flatten()
                .collect()
        }
        _ => {
            let lines = text.lines().map(|line| line.split(['#', ';']).next().unwrap_or_default().trim());
            lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
        }
    };
    if found.is_empty() {
        bail!("it names none");
    }
    found.iter().map(|text| parse_network(text).map_err(anyhow::Error::msg)).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use postern_shared::disk::RealDisk;

    use super::*;

    fn networks_in(fixture: &str) -> Vec<String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/networks").join(fixture);
        let networks = networks_of(&RealDisk.read(&path, FILE_BYTES_MAX).unwrap()).unwrap();
        networks.iter().map(ToString::to_string).collect()
    }

    /// Goal: the lists that providers publish are read as they are, and only what sends mail is taken from them.
    #[test]
    fn networks_are_read_in_every_shape() {
        assert_eq!(
            networks_in("microsoft365.json"),
            ["192.0.2.0/25", "198.51.100.0/24", "2001:db8:400::/48", "203.0.113.0/24"]
        );
        assert_eq!(networks_in("google.json"), ["192.0.2.128/25", "2001:db8:4000::/36"]);
        assert_eq!(networks_in("plain.txt"), ["192.0.2.0/24", "2001:db8::/32", "198.51.100.7/32"]);
    }

    #[test]
    fn what_holds_no_networks_is_told() {
        let error = |text: &str| format!("{:#}", networks_of(text.as_bytes()).unwrap_err());
        assert!(error("# nothing\n").contains("it names none"));
        assert!(
            error("[{\"serviceArea\": \"Skype\", \"ips\": [\"192.0.2.0/24\"]}]").contains("it names none")
        );
        assert!(error("192.0.2.0/33").contains("192.0.2.0/33"));
        assert!(error("{\"a\": 1}").contains("Google"));
        assert!(error("[1]").contains("Microsoft"));
        assert!(networks_of(b"\xff").is_err());
    }

    #[test]
    fn limits_have_a_unit_or_are_none() {
        assert_eq!(parse_size("10 MiB"), Ok(Bound::AtMost(10 << 20)));
        assert_eq!(parse_size("None"), Ok(Bound::None));
        assert_eq!(parse_number("7"), Ok(Bound::AtMost(7)));
        assert!(parse_size("0").unwrap_err().contains("suspend"));
        assert!(parse_number("many").is_err());
    }
}
