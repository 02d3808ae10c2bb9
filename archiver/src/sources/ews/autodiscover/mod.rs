//! From an address to the URL of its EWS (MS-OXDSCLI; the JSON of Autodiscover V2).
//!
//! Tried in this order, until one tells:
//!
//! 1. what the profile says, or nothing;
//! 2. `https://autodiscover.<domain>/autodiscover/autodiscover.json?…Protocol=EWS`, without a login;
//! 3. `https://<domain>/autodiscover/autodiscover.xml` and `https://autodiscover.<domain>/…`, with the login;
//! 4. the host of the SRV record `_autodiscover._tcp.<domain>`, with the login.
//!
//! The step over plain HTTP (MS-OXDSCLI §3.1.5.4) is left out: whoever sits on the line could answer there.
//!
//! Promises
//! - The login goes to hosts that are the mailbox's domain or under it, or that the profile lists; nowhere else, whatever
//!   redirects and records say. Neither does the URL that is found lead elsewhere.
//! - Redirects are followed a few times, over `https` only.

pub(super) mod pox;

use std::collections::HashSet;

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::RData;
use hyper::header::{HeaderMap, LOCATION};
use serde::Deserialize;
use tokio::time::timeout;
use url::Url;

use self::pox::{Pox, answer, request};
use super::http::Target;
use super::session::Session;
use super::settings::{Limits, Settings};
use super::soap::answer::printable;
use super::{EwsError, online};
use crate::sources::SourceError;

const PATH: &str = "/autodiscover/autodiscover.xml";
/// Answers that send the client elsewhere.
const HOPS_MAX: usize = 8;
const ANSWER_OCTETS_MAX: usize = 1024 * 1024;

/// Who may be given the login.
struct Rule<'a> {
    domain: &'a str,
    hosts: &'a [String],
    first: Option<&'a str>,
}

impl Rule<'_> {
    fn accepts(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let domain = self.domain.to_ascii_lowercase();
        let under = host.strip_suffix(&domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        under || self.first == Some(&host) || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(&host))
    }
}

/// One search.
struct Search<'a> {
    rule: Rule<'a>,
    settings: &'a Settings,
    limits: &'a Limits,
    /// What was tried, and what came of it.
    tried: Vec<String>,
    /// Nothing is asked twice.
    asked: HashSet<(String, String)>,
    hops: usize,
}

/// Where the mailbox's EWS is.
pub(super) async fn find(
    first: Option<&Url>,
    hosts: &[String],
    settings: &Settings,
    mailbox: &str,
    limits: &Limits,
) -> Result<Target, SourceError> {
    let domain = mailbox.rsplit_once('@').map_or("", |(_, domain)| domain);
    let first_host = first.and_then(Url::host_str);
    let rule = Rule { domain, hosts, first: first_host };
    let (tried, asked) = (Vec::new(), HashSet::new());
    let mut search = Search { rule, settings, limits, tried, asked, hops: 0 };
    let usual = [format!("https://{domain}{PATH}"), format!("https://autodiscover.{domain}{PATH}")];
    let usual: Vec<Url> = usual.iter().filter_map(|url| Url::parse(url).ok()).collect();
    let json = first.or(usual.last()).cloned();
    if let Some(found) = search.by_json(json.as_ref(), mailbox).await? {
        return Ok(found);
    }
    for url in first.into_iter().chain(&usual) {
        if let Some(found) = search.by_pox(url.clone(), mailbox).await? {
            return Ok(found);
        }
    }
    for url in search.records().await {
        if let Some(found) = search.by_pox(url, mailbox).await? {
            return Ok(found);
        }
    }
    let tried = search.tried.join("; ");
    let error = EwsError::Autodiscover { mailbox: mailbox.to_owned(), tried };
    Err(SourceError::Ews { host: domain.to_owned(), error: Box::new(error) })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Json {
    url: String,
}

impl Search<'_> {
    /// Autodiscover V2: no login is needed, so nothing is given away.
    async fn by_json(&mut self, at: Option<&Url>, mailbox: &str) -> Result<Option<Target>, SourceError> {
        let Some(mut url) = at.cloned() else { return Ok(None) };
        url.set_path(&format!("/autodiscover/autodiscover.json/v1.0/{mailbox}"));
        url.set_query(Some("Protocol=EWS"));
        let Some((target, mut session)) = self.session(&url)? else { return Ok(None) };
        let asked = timeout(self.limits.list, async {
            let answered = session.get(&target.path).await?;
            let status = answered.status;
            let body = answered.body.up_to(ANSWER_OCTETS_MAX).await?;
            Ok::<_, SourceError>((status, body))
        });
        let said = match asked.await {
            Ok(Ok((200, body))) => {
                serde_json::from_slice::<Json>(&body).map_err(|_| "no URL in its answer".into())
            }
            Ok(Ok((status, _))) => Err(format!("HTTP status {status}")),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer in time".to_owned()),
        };
        match said {
            Ok(json) => self.judge(&json.url),
            Err(why) => {
                self.tried.push(format!("{} (JSON): {why}", target.host));
                Ok(None)
            }
        }
    }

    async fn by_pox(&mut self, url: Url, mailbox: &str) -> Result<Option<Target>, SourceError> {
        let (mut url, mut mailbox) = (url, mailbox.to_owned());
        while self.hops < HOPS_MAX && self.asked.insert((url.to_string(), mailbox.clone())) {
            self.hops += 1;
            let Some((target, mut session)) = self.session(&url)? else { return Ok(None) };
            let said = timeout(self.limits.list, ask(&mut session, &target.path, &mailbox)).await;
            let said = match said {
                Ok(Ok(said)) => said,
                // Another host would refuse it too, and count the tries.
                Ok(Err(error @ SourceError::Login { .. })) => return Err(error),
                Ok(Err(error)) => {
                    self.tried.push(format!("{url}: {error}"));
                    return Ok(None);
                }
                Err(_) => {
                    self.tried.push(format!("{url}: no answer in time"));
                    return Ok(None);
                }
            };
            match said {
                Pox::Urls(urls) => {
                    for found in &urls {
                        if let Some(found) = self.judge(found)? {
                            return Ok(Some(found));
                        }
                    }
                    self.tried.push(format!("{url}: it names no EWS that could be used"));
                    return Ok(None);
                }
                Pox::OtherAddress(address) => {
                    self.tried.push(format!("{url}: the mailbox is {address}"));
                    let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
                    let Ok(next) = Url::parse(&format!("https://autodiscover.{domain}{PATH}")) else {
                        return Ok(None);
                    };
                    // Where the same host answers for both, it is asked first.
                    url = if self.rule.accepts(&format!("autodiscover.{domain}")) { next } else { url };
                    mailbox = address;
                }
                Pox::OtherUrl(next) => {
                    self.tried.push(format!("{url}: it redirects to {next}"));
                    let Ok(next) = Url::parse(&next) else { return Ok(None) };
                    url = next;
                }
                Pox::Error(text) => {
                    self.tried.push(format!("{url}: {text}"));
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }

    /// A way to that URL, if the login may go there.
    fn session(&mut self, url: &Url) -> Result<Option<(Target, Session)>, SourceError> {
        let Some(target) = Target::of(url) else {
            self.tried.push(format!("{url}: it is not https, so it is not asked"));
            return Ok(None);
        };
        if online::is_host(&target.host) {
            let error = Box::new(EwsError::Online(String::new()));
            return Err(SourceError::Ews { host: target.host, error });
        }
        if !self.rule.accepts(&target.host) {
            let why = "is not under the domain of the mailbox, so the login does not go there; list it in \
                       autodiscover_hosts if it is right";
            self.tried.push(format!("{} {why}", target.host));
            return Ok(None);
        }
        let session = Session::new(target.clone(), &self.settings.trust, &self.settings.login, self.limits)?;
        Ok(Some((target, session)))
    }

    /// What was found must be as good as what was asked.
    fn judge(&mut self, url: &str) -> Result<Option<Target>, SourceError> {
        let Ok(parsed) = Url::parse(url) else {
            self.tried.push(format!("{}: no URL", printable(url)));
            return Ok(None);
        };
        Ok(self.session(&parsed)?.map(|(target, _)| target))
    }

    /// Hosts of SRV records (RFC 2782), the best first. Nothing is verified in the DNS, so the rule decides.
    async fn records(&mut self) -> Vec<Url> {
        let name = format!("_autodiscover._tcp.{}.", self.rule.domain);
        let looked_up = async {
            let resolver = TokioResolver::builder_tokio().map_err(|error| error.to_string())?;
            let resolver = resolver.build().map_err(|error| error.to_string())?;
            resolver.srv_lookup(name.as_str()).await.map_err(|error| error.to_string())
        };
        let found = match timeout(self.limits.connect, looked_up).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                self.tried.push(format!("{name} (SRV): {}", printable(&error)));
                return Vec::new();
            }
            Err(_) => {
                self.tried.push(format!("{name} (SRV): no answer in time"));
                return Vec::new();
            }
        };
        let mut services: Vec<_> = found
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::SRV(service) => Some((service.priority, service.target.to_utf8(), service.port)),
                _ => None,
            })
            .collect();
        services.sort();
        let url = |(_, host, port): (u16, String, u16)| {
            Url::parse(&format!("https://{}:{port}{PATH}", host.trim_end_matches('.'))).ok()
        };
        services.into_iter().filter_map(url).take(4).collect()
    }
}

async fn ask(session: &mut Session, path: &str, mailbox: &str) -> Result<Pox, SourceError> {
    let answered = session.post(path, &HeaderMap::new(), &request(mailbox)).await?;
    match (answered.status, answered.field(LOCATION)) {
        (200, _) => {
            let body = answered.body.up_to(ANSWER_OCTETS_MAX).await?;
            Ok(answer(&body).unwrap_or_else(|error| Pox::Error(error.to_string())))
        }
        (301 | 302 | 303 | 307 | 308, Some(location)) => Ok(Pox::OtherUrl(printable(location))),
        _ => Err(session.status(&answered, "Autodiscover")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_goes_under_the_domain_or_where_it_may() {
        let hosts = ["mail.corp.example".to_owned()];
        let rule = Rule { domain: "Example.com", hosts: &hosts, first: Some("127.0.0.1") };
        for host in
            ["example.com", "autodiscover.EXAMPLE.com", "a.b.example.com.", "mail.corp.example", "127.0.0.1"]
        {
            assert!(rule.accepts(host), "{host}");
        }
        for host in
            ["evilexample.com", "example.com.evil.org", "corp.example", "x.mail.corp.example", "com", ""]
        {
            assert!(!rule.accepts(host), "{host}");
        }
    }
}
