//! The e-mail domain in the DNS: do senders find this gateway (RFC 5321 §5.1)?
//!
//! Never worse than `warn`: senders that are told where to deliver (a connector, a transport map) need no record.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use hickory_resolver::proto::rr::RData;
use hickory_resolver::{TokioResolver, net::NetError};

use serde_json::Value;

use super::{Finding, Verdict};
use crate::settings::Settings;

const CHECK: &str = "DNS of the e-mail domain";
const CHECK_NAMES: &str = "DNS of the certificate's names";
const DEADLINE: Duration = Duration::from_secs(8);

/// What the DNS says of a domain.
#[derive(Debug, Default)]
struct Records {
    /// Preference and host, lower case, without the root's dot.
    mx: Vec<(u16, String)>,
    /// Where mail goes: addresses of the first mail exchanger, or of the domain itself when there is none.
    addresses: Vec<IpAddr>,
}

pub(super) fn check(settings: &Settings) -> Finding {
    match look_up(&settings.email_domain) {
        Ok(records) => {
            let judged = judge(&settings.email_domain, &settings.host_name, &records);
            let smtp = &settings.listen.smtp.0;
            match unheard(&records, smtp.iter().any(SocketAddr::is_ipv6)) {
                Some(finding) if judged.verdict == Verdict::Ok => finding,
                _ => judged,
            }
        }
        Err(error) => {
            let found = format!("{} cannot be looked up: {error:#}", settings.email_domain);
            Finding::warn(CHECK, found, "see whether this machine reaches its resolver (/etc/resolv.conf)")
        }
    }
}

/// Whether each name of the certificate leads anywhere. `shown`: what `certificate show` answers.
pub(super) fn check_names(shown: &Value) -> Finding {
    let names = shown["names"].as_array().into_iter().flatten().filter_map(Value::as_str);
    // Addresses need no record, and a star has none.
    let names: Vec<&str> =
        names.filter(|name| name.parse::<IpAddr>().is_err() && !name.starts_with('*')).collect();
    let looked_up = asking(async |resolver| {
        let mut found = Vec::new();
        for name in &names {
            let addresses = nothing_is_an_answer(resolver.lookup_ip(format!("{name}.")).await)?;
            found.push(addresses.is_some_and(|addresses| addresses.iter().next().is_some()));
        }
        Ok(found)
    });
    judge_names(&names, looked_up)
}

fn judge_names(names: &[&str], found: Result<Vec<bool>>) -> Finding {
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            let advice = "see whether this machine reaches its resolver (/etc/resolv.conf)";
            return Finding::warn(CHECK_NAMES, format!("they cannot be looked up: {error:#}"), advice);
        }
    };
    let without = names.iter().zip(found).filter_map(|(name, found)| (!found).then_some(*name));
    let without = without.collect::<Vec<_>>().join(", ");
    match without.as_str() {
        "" => Finding::ok(CHECK_NAMES, format!("each has an address: {}", names.join(", "))),
        without => {
            let advice =
                "give it an A or AAAA record that points here; clients that verify connect by these names";
            Finding::warn(CHECK_NAMES, format!("without an address: {without}"), advice)
        }
    }
}

fn look_up(domain: &str) -> Result<Records> {
    asking(async |resolver| records(resolver, domain).await)
}

fn asking<T>(question: impl AsyncFnOnce(&TokioResolver) -> Result<T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut builder = TokioResolver::builder_tokio().context("no resolver is set up")?;
        builder.options_mut().timeout = Duration::from_secs(2);
        let resolver = builder.build()?;
        tokio::time::timeout(DEADLINE, question(&resolver)).await.context("no answer in time")?
    })
}

async fn records(resolver: &TokioResolver, domain: &str) -> Result<Records> {
    // The root's dot keeps the machine's search domains out.
    let found = nothing_is_an_answer(resolver.mx_lookup(format!("{domain}.")).await)?;
    let mut mx: Vec<(u16, String)> = found
        .iter()
        .flat_map(|found| found.answers())
        .filter_map(|record| match &record.data {
            RData::MX(mx) => {
                let host = mx.exchange.to_ascii().to_ascii_lowercase();
                Some((mx.preference, host.trim_end_matches('.').to_owned()))
            }
            _ => None,
        })
        .collect();
    mx.sort();
    let host = mx.first().map_or(domain, |(_, host)| host);
    let addresses = match host {
        "" => Vec::new(),
        host => nothing_is_an_answer(resolver.lookup_ip(format!("{host}.")).await)?
            .iter()
            .flat_map(|found| found.iter())
            .collect(),
    };
    Ok(Records { mx, addresses })
}

fn nothing_is_an_answer<T>(answer: Result<T, NetError>) -> Result<Option<T>, NetError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_no_records_found() || error.is_nx_domain() => Ok(None),
        Err(error) => Err(error),
    }
}

/// An IPv6 address in the DNS at which nobody listens: senders and authorities try it first.
fn unheard(records: &Records, listens_to_ipv6: bool) -> Option<Finding> {
    let address = records.addresses.iter().find(|address| address.is_ipv6() && !listens_to_ipv6)?;
    let found = format!("mail goes to {address} as well, and [listen] smtp takes IPv4 alone");
    let advice = "give it an address like \"[::]:25\" in place of \"0.0.0.0:25\", the other listeners too, or take the AAAA \
                  record out";
    Some(Finding::warn(CHECK, found, advice))
}

fn judge(domain: &str, host_name: &str, Records { mx, addresses }: &Records) -> Finding {
    let record = format!("give it the record: {domain}. MX 10 {host_name}.");
    let hosts =
        mx.iter().map(|(preference, host)| format!("{preference} {host}")).collect::<Vec<_>>().join(", ");
    let shown = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match mx.as_slice() {
        [] if addresses.is_empty() => {
            Finding::warn(CHECK, format!("{domain} has neither an MX record nor an address"), record)
        }
        [] => Finding::ok(CHECK, format!("{domain} has no MX record; senders go to its address {shown}")),
        [(_, host), ..] if host.is_empty() => {
            let found = format!("{domain} has the null MX record: it says that it takes no mail");
            Finding::warn(CHECK, found, record)
        }
        _ if !mx.iter().any(|(_, host)| host == host_name) => {
            let advice = format!("set host_name to the name in the record, or {record}");
            Finding::warn(
                CHECK,
                format!("mail for {domain} goes to {hosts}, not to host_name {host_name}"),
                advice,
            )
        }
        [(_, host), ..] if addresses.is_empty() => {
            let advice = format!("give {host} an A or AAAA record");
            Finding::warn(CHECK, format!("{domain} has MX {hosts}, and {host} has no address"), advice)
        }
        _ => Finding::ok(CHECK, format!("{domain} has MX {hosts}, which is {shown}")),
    }
}

#[cfg(test)]
mod tests {
    use hickory_resolver::Resolver;
    use hickory_resolver::config::{NameServerConfig, ResolverConfig};
    use hickory_resolver::net::runtime::TokioRuntimeProvider;
    use tokio::net::UdpSocket;

    use super::*;

    const A: u8 = 1;
    const MX: u8 = 15;

    /// The answer to a query (RFC 1035 §4): every name has MX 10 GateWay.example.com and the address 192.0.2.1.
    fn reply(query: &[u8]) -> Vec<u8> {
        let question = 12..query[12..].iter().position(|octet| *octet == 0).unwrap() + 12 + 5;
        let kind = query[question.end - 3];
        let data: &[u8] = match kind {
            A => &[192, 0, 2, 1],
            MX => b"\0\x0a\x07GateWay\x07example\x03com\0",
            _ => &[],
        };
        let mut out = query[..2].to_vec();
        out.extend([0x85, 0x80, 0, 1, 0, u8::from(!data.is_empty()), 0, 0, 0, 0]);
        out.extend(&query[question]);
        if !data.is_empty() {
            out.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 60, 0, u8::try_from(data.len()).unwrap()]);
            out.extend(data);
        }
        out
    }

    /// Goal: what the DNS answers is read: mail exchangers in lower case, the addresses of the first.
    #[tokio::test]
    async fn records_are_read_from_answers() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut server = NameServerConfig::udp([127, 0, 0, 1].into());
        server.connections[0].port = socket.local_addr().unwrap().port();
        tokio::spawn(async move {
            let mut query = [0; 1500];
            while let Ok((octets, peer)) = socket.recv_from(&mut query).await {
                socket.send_to(&reply(&query[..octets]), peer).await.unwrap();
            }
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let resolver =
            Resolver::builder_with_config(config, TokioRuntimeProvider::default()).build().unwrap();
        let found = records(&resolver, "mail.example.com").await.unwrap();
        assert_eq!(found.mx, [(10, "gateway.example.com".to_owned())]);
        assert_eq!(found.addresses, [IpAddr::from([192, 0, 2, 1])]);
    }

    #[test]
    fn names_without_an_address_are_named() {
        let names = ["a.example.com", "b.example.com"];
        assert_eq!(judge_names(&names, Ok(vec![true, true])).verdict, Verdict::Ok);
        let finding = judge_names(&names, Ok(vec![true, false]));
        assert_eq!(
            (finding.verdict, finding.found.as_str()),
            (Verdict::Warn, "without an address: b.example.com")
        );
        assert_eq!(judge_names(&names, Err(anyhow::anyhow!("no resolver"))).verdict, Verdict::Warn);
    }

    #[test]
    fn an_address_that_nobody_listens_to_is_told() {
        let both = ["192.0.2.1", "2001:db8::1"].map(|text| text.parse().unwrap()).to_vec();
        let both = Records { mx: Vec::new(), addresses: both };
        assert!(unheard(&both, true).is_none());
        let finding = unheard(&both, false).unwrap();
        assert!(finding.verdict == Verdict::Warn && finding.found.contains("2001:db8::1"), "{finding:?}");
        let old = Records { addresses: vec!["192.0.2.1".parse().unwrap()], ..Records::default() };
        assert!(unheard(&old, false).is_none());
    }

    #[test]
    fn records_are_judged() {
        let judged = |mx: &[(u16, &str)], addresses: &[[u8; 4]]| {
            let mx = mx.iter().map(|(preference, host)| (*preference, (*host).to_owned())).collect();
            let addresses = addresses.iter().map(|address| IpAddr::from(*address)).collect();
            judge("mail.example.com", "gateway.example.com", &Records { mx, addresses })
        };
        let here: &[[u8; 4]] = &[[192, 0, 2, 1]];
        assert_eq!(judged(&[(10, "gateway.example.com")], here).verdict, Verdict::Ok);
        assert_eq!(
            judged(&[(5, "other.example.com"), (10, "gateway.example.com")], here).verdict,
            Verdict::Ok
        );
        assert_eq!(judged(&[], here).verdict, Verdict::Ok, "an address is an implicit MX");
        let none = judged(&[], &[]);
        assert_eq!(none.verdict, Verdict::Warn);
        assert!(none.advice.unwrap().ends_with("mail.example.com. MX 10 gateway.example.com."));
        assert!(judged(&[(0, "")], &[]).found.contains("null MX"));
        assert!(judged(&[(10, "other.example.com")], here).found.contains("not to host_name"));
        assert!(judged(&[(10, "gateway.example.com")], &[]).found.contains("has no address"));
    }
}
