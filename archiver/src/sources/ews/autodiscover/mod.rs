//! From an address to the URL of its EWS (MS-OXDSCLI; the JSON of Autodiscover V2).
//!
//! Tried in this order, until one tells:
//!
//! 1. what the profile says, or nothing;
//! 2. `https://autodiscover.<domain>/autodiscover/autodiscover.json?…Protocol=EWS`, without a login;
//! 3. `https://autodiscover.<domain>/autodiscover/autodiscover.xml`;
//! 4. `https://<domain>/autodiscover/autodiscover.xml`, and the host of the SRV record `_autodiscover._tcp.<domain>`.
//!
//! At the domain itself there often is a web site that somebody else runs, and whoever may write records or was given an old name
//! of the domain stands behind SRV records. So 4. is asked with NTLM only, whose proof is no password, or when the profile lists
//! the host; and a refusal there ends nothing.
//!
//! The step over plain HTTP (MS-OXDSCLI §3.1.5.4) is left out: whoever sits on the line could answer there. SOAP Autodiscover:
//! No; servers that have it have the others too.
//!
//! Promises
//! - The login goes to hosts that are the mailbox's domain or under it, or that the profile lists; nowhere else, whatever
//!   redirects and records say. Neither does the URL that is found lead elsewhere.
//! - A password or token goes nowhere by what 4. says, and to no host before that asked for it.
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
use super::auth::Login;
use super::http::Target;
use super::session::{Asked, Session};
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
    /// The login is a password or token, which whoever gets it can use.
    bare: bool,
}

/// Whose word it is that a host knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// The profile's, or that of the host which Exchange has for it.
    Good,
    /// A host's that may be anybody's: the domain's web site, a record.
    Doubtful,
}

impl Rule<'_> {
    fn accepts(&self, host: &str, word: Word) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let domain = self.domain.to_ascii_lowercase();
        let under = host.strip_suffix(&domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        let listed =
            self.first == Some(&host) || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(&host));
        listed || (under && (word == Word::Good || !self.bare))
    }

    /// Where Autodiscover is asked with the login, before SRV records.
    fn places(&self, first: Option<&Url>) -> Vec<(Url, Word)> {
        let domain = self.domain;
        let usual = [
            (format!("https://autodiscover.{domain}{PATH}"), Word::Good),
            (format!("https://{domain}{PATH}"), Word::Doubtful),
        ];
        let usual = usual.iter().filter_map(|(url, word)| Some((Url::parse(url).ok()?, *word)));
        first.map(|url| (url.clone(), Word::Good)).into_iter().chain(usual).collect()
    }
}

/// Whether nobody else needs to be asked: another host would refuse the login too, and count the tries. A host that may be
/// anybody's refuses what it likes.
fn ends_search(error: &SourceError, word: Word) -> bool {
    matches!(error, SourceError::Login { .. }) && word == Word::Good
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
    let bare = !matches!(settings.login, Login::Ntlm(_));
    let rule = Rule { domain, hosts, first: first.and_then(Url::host_str), bare };
    let places = rule.places(first);
    let (tried, asked) = (Vec::new(), HashSet::new());
    let mut search = Search { rule, settings, limits, tried, asked, hops: 0 };
    if let Some(found) = search.by_json(places.first().map(|(url, _)| url), mailbox).await? {
        return Ok(found);
    }
    for (url, word) in places {
        if let Some(found) = search.by_pox(url, word, mailbox).await? {
            return Ok(found);
        }
    }
    for url in search.records().await {
        if let Some(found) = search.by_pox(url, Word::Doubtful, mailbox).await? {
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
        let Some((target, mut session)) = self.session(&url, Word::Good)? else { return Ok(None) };
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
            Ok(json) => self.judge(&json.url, Word::Good),
            Err(why) => {
                self.tried.push(format!("{} (JSON): {why}", target.host));
                Ok(None)
            }
        }
    }

    async fn by_pox(&mut self, url: Url, word: Word, mailbox: &str) -> Result<Option<Target>, SourceError> {
        let (mut url, mut mailbox) = (url, mailbox.to_owned());
        while self.hops < HOPS_MAX && self.asked.insert((url.to_string(), mailbox.clone())) {
            self.hops += 1;
            let Some((target, mut session)) = self.session(&url, word)? else { return Ok(None) };
            let said = timeout(self.limits.list, ask(&mut session, &target.path, &mailbox)).await;
            let said = match said {
                Ok(Ok(said)) => said,
                Ok(Err(error)) if ends_search(&error, word) => return Err(error),
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
                        if let Some(found) = self.judge(found, word)? {
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
                    url = if self.rule.accepts(&format!("autodiscover.{domain}"), word) { next } else { url };
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
    fn session(&mut self, url: &Url, word: Word) -> Result<Option<(Target, Session)>, SourceError> {
        let Some(target) = Target::of(url) else {
            self.tried.push(format!("{url}: it is not https, so it is not asked"));
            return Ok(None);
        };
        if online::is_host(&target.host) {
            let error = Box::new(EwsError::Online(String::new()));
            return Err(SourceError::Ews { host: target.host, error });
        }
        if !self.rule.accepts(&target.host, word) {
            let why = match self.rule.accepts(&target.host, Word::Good) {
                true => "may be anybody's web site",
                false => "is not under the domain of the mailbox",
            };
            let so = "so the login does not go there; list it in autodiscover_hosts if it is right";
            self.tried.push(format!("{} {why}, {so}", target.host));
            return Ok(None);
        }
        let session = Session::new(target.clone(), self.settings, self.limits)?;
        Ok(Some((target, session)))
    }

    /// What was found must be as good as what was asked.
    fn judge(&mut self, url: &str, word: Word) -> Result<Option<Target>, SourceError> {
        let Ok(parsed) = Url::parse(url) else {
            self.tried.push(format!("{}: no URL", printable(url)));
            return Ok(None);
        };
        Ok(self.session(&parsed, word)?.map(|(target, _)| target))
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
    let request = request(mailbox);
    // Who does not ask for a login gets none.
    let answered = match session.post_openly(path, &request).await? {
        Asked::Answered(answered) => answered,
        Asked::ForLogin => session.post(path, &HeaderMap::new(), &request).await?,
    };
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
        let mut rule = Rule { domain: "Example.com", hosts: &hosts, first: Some("127.0.0.1"), bare: false };
        for host in
            ["example.com", "autodiscover.EXAMPLE.com", "a.b.example.com.", "mail.corp.example", "127.0.0.1"]
        {
            assert!(rule.accepts(host, Word::Good) && rule.accepts(host, Word::Doubtful), "{host}");
        }
        for host in
            ["evilexample.com", "example.com.evil.org", "corp.example", "x.mail.corp.example", "com", ""]
        {
            assert!(!rule.accepts(host, Word::Good), "{host}");
        }
        rule.bare = true;
        for host in ["example.com", "old.example.com", "autodiscover.example.com"] {
            assert!(rule.accepts(host, Word::Good) && !rule.accepts(host, Word::Doubtful), "{host}");
        }
        for host in ["mail.corp.example", "127.0.0.1"] {
            assert!(rule.accepts(host, Word::Doubtful), "{host}");
        }
    }

    /// Goal: Exchange's own host is asked before the domain's web site, and what that refuses ends nothing.
    #[test]
    fn the_web_site_is_asked_last() {
        let rule = Rule { domain: "example.com", hosts: &[], first: None, bare: false };
        let places: Vec<_> = rule
            .places(None)
            .into_iter()
            .map(|(url, word)| (url.host_str().unwrap().to_owned(), word))
            .collect();
        let expected = [("autodiscover.example.com", Word::Good), ("example.com", Word::Doubtful)];
        assert_eq!(places, expected.map(|(host, word)| (host.to_owned(), word)));
        let first = Url::parse("https://mail.example.com/autodiscover/autodiscover.xml").unwrap();
        assert_eq!(rule.places(Some(&first))[0], (first, Word::Good));
        let refused = SourceError::Login { host: "h".into(), user: "u".into(), text: String::new() };
        assert!(ends_search(&refused, Word::Good) && !ends_search(&refused, Word::Doubtful));
        let closed = SourceError::Closed { host: "h".into(), during: "an answer" };
        assert!(!ends_search(&closed, Word::Good));
    }
}
