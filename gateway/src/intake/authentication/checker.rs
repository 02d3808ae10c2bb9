//! The methods themselves, by `mail-auth` and its resolver, and their results in words.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use mail_auth::arc::ArcError;
use mail_auth::dkim::DkimError;
use mail_auth::dmarc::Policy;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use mail_auth::hickory_resolver::system_conf::parse_resolv_conf;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{
    AuthenticatedMessage, DkimOutput, DkimResult, DmarcOutput, DmarcResult, Error, MessageAuthenticator,
    SpfOutput, SpfResult,
};
use postern_shared::disk::Disk;
use postern_shared::proto::mime::journal::{Original, Unwrapped, unwrap};

use super::{Arrived, Authenticator, Findings, Method};

const SIGNATURES_MAX: usize = 8;
const ARC_SETS_MAX: usize = 10;
const VALUE_CHARS_MAX: usize = 253;
const REASON_CHARS_MAX: usize = 120;
const RESOLV_CONF: &str = "/etc/resolv.conf";
const RESOLV_CONF_BYTES_MAX: u64 = 64 * 1024;

/// Checks messages, asking name servers.
#[derive(Clone)]
pub struct Checker(MessageAuthenticator);

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Checker")
    }
}

/// There is no name server to ask.
#[derive(Debug, thiserror::Error)]
#[error("no name server to ask: {reason}; name some in [authentication] resolvers, or say enabled = false")]
pub struct ResolverError {
    reason: String,
}

impl Checker {
    /// Asks these name servers, or when there are none those in `/etc/resolv.conf`. A question is asked twice within
    /// `deadline`.
    pub fn new(disk: &dyn Disk, servers: &[SocketAddr], deadline: Duration) -> Result<Self, ResolverError> {
        let wrong = |error: &dyn fmt::Display| ResolverError { reason: error.to_string() };
        let (config, mut options) = if servers.is_empty() {
            let text = disk
                .read(Path::new(RESOLV_CONF), RESOLV_CONF_BYTES_MAX)
                .map_err(|error| wrong(&format_args!("cannot read {RESOLV_CONF}: {error}")))?;
            parse_resolv_conf(text).map_err(|error| wrong(&format_args!("{RESOLV_CONF}: {error}")))?
        } else {
            let servers = servers.iter().map(|server| {
                let at = |mut connection: ConnectionConfig| {
                    connection.port = server.port();
                    connection
                };
                NameServerConfig::new(
                    server.ip(),
                    true,
                    vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())],
                )
            });
            (ResolverConfig::from_name_servers(servers.collect()), ResolverOpts::default())
        };
        options.timeout = deadline / 2;
        options.attempts = 2;
        options.use_hosts_file = ResolveHosts::Never;
        MessageAuthenticator::new(config, options).map(Self).map_err(|error| wrong(&error))
    }
}

impl Authenticator for Checker {
    fn authenticate(&self, arrived: Arrived, findings: Findings) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let resolver = self.0.clone();
        Box::pin(async move { check(&resolver, &arrived, &findings).await })
    }
}

async fn check(resolver: &MessageAuthenticator, arrived: &Arrived, findings: &Findings) {
    let spf = Box::pin(spf(resolver, arrived, findings));
    let Some(content) = &arrived.content else {
        spf.await;
        return;
    };
    let original = original(content);
    if original.is_some() {
        findings.expect(Method::OriginalDkim);
        findings.expect(Method::OriginalArc);
    }
    let none = |methods: &[Method]| {
        methods.iter().for_each(|method| findings.put(*method, vec!["none (no header)".into()]));
    };
    let Some(message) = Looked::at(content) else {
        none(&Method::OF_CONTENT);
        spf.await;
        return;
    };
    let whole = async {
        let dkim = message.dkim(resolver, findings, Method::Dkim);
        let arc = message.arc(resolver, findings, Method::Arc);
        let (spf, dkim, ()) = tokio::join!(spf, Box::pin(dkim), Box::pin(arc));
        let parameters = DmarcParameters::new(&message.parsed, &dkim, domain_of(arrived), &spf);
        let output = Box::pin(resolver.verify_dmarc(parameters)).await;
        findings.put(Method::Dmarc, vec![dmarc_words(&output)]);
    };
    let inner = async {
        let Some(original) = original.as_deref() else { return };
        match Looked::at(original) {
            Some(message) => {
                let dkim = message.dkim(resolver, findings, Method::OriginalDkim);
                let arc = message.arc(resolver, findings, Method::OriginalArc);
                tokio::join!(Box::pin(dkim), Box::pin(arc));
            }
            None => none(&[Method::OriginalDkim, Method::OriginalArc]),
        }
    };
    tokio::join!(Box::pin(whole), Box::pin(inner));
}

/// What a journal report reports.
fn original(content: &[u8]) -> Option<Cow<'_, [u8]>> {
    match unwrap(content) {
        Unwrapped::Report(report) => match report.original {
            Original::Slice(range) => content.get(range).map(Cow::Borrowed),
            Original::Decoded(octets) => Some(Cow::Owned(octets)),
        },
        _ => None,
    }
}

/// A message with as many signatures as are checked.
struct Looked<'m> {
    parsed: AuthenticatedMessage<'m>,
    signatures_left_out: usize,
}

impl<'m> Looked<'m> {
    fn at(content: &'m [u8]) -> Option<Self> {
        let mut parsed = AuthenticatedMessage::parse(content)?;
        let signatures_left_out = parsed.dkim_headers.len().saturating_sub(SIGNATURES_MAX);
        parsed.dkim_headers.truncate(SIGNATURES_MAX);
        parsed.errors.truncate(SIGNATURES_MAX);
        Some(Self { parsed, signatures_left_out })
    }

    async fn dkim(
        &self,
        resolver: &MessageAuthenticator,
        findings: &Findings,
        method: Method,
    ) -> Vec<DkimOutput<'_>> {
        let outputs = resolver.verify_dkim(&self.parsed).await;
        findings.put(method, dkim_words(&outputs, self.signatures_left_out));
        outputs
    }

    async fn arc(&self, resolver: &MessageAuthenticator, findings: &Findings, method: Method) {
        if self.parsed.ams_headers.len().max(self.parsed.as_headers.len()) > ARC_SETS_MAX {
            return findings.put(method, vec!["none (more sets than are checked)".into()]);
        }
        let output = resolver.verify_arc(&self.parsed).await;
        let mut words = signature_words(output.result());
        if let Some(last) = output.sets().last() {
            let seal = last.seal.header;
            words.push_str(&format!(" header.d={} header.s={}", value(&seal.d), value(&seal.s)));
        }
        findings.put(method, vec![words]);
    }
}

/// The domain that SPF speaks of.
fn domain_of(arrived: &Arrived) -> &str {
    arrived.mail_from.rsplit_once('@').map_or(&arrived.helo, |(_, domain)| domain)
}

async fn spf(resolver: &MessageAuthenticator, arrived: &Arrived, findings: &Findings) -> SpfOutput {
    let Arrived { helo, mail_from, host_name, .. } = arrived;
    let client: IpAddr = arrived.client.to_canonical();
    let (parameters, identity) = if mail_from.is_empty() {
        (SpfParameters::verify_ehlo(client, helo, host_name), "smtp.helo")
    } else {
        (SpfParameters::verify_mail_from(client, helo, host_name, mail_from), "smtp.mailfrom")
    };
    let output = resolver.verify_spf(parameters).await;
    let result = match output.result() {
        SpfResult::Pass => "pass",
        SpfResult::Fail => "fail",
        SpfResult::SoftFail => "softfail",
        SpfResult::Neutral => "neutral",
        SpfResult::TempError => "temperror",
        SpfResult::PermError => "permerror",
        SpfResult::None => "none",
    };
    let words = format!("{result} {identity}={}", value(domain_of(arrived)));
    findings.put(Method::Spf, vec![words]);
    output
}

fn dkim_words(outputs: &[DkimOutput<'_>], unchecked: usize) -> Vec<String> {
    let mut words: Vec<String> = outputs
        .iter()
        .map(|output| {
            let mut words = signature_words(output.result());
            if let Some(signature) = output.signature() {
                words.push_str(&format!(
                    " header.d={} header.s={}",
                    value(&signature.d),
                    value(&signature.s)
                ));
            }
            words
        })
        .collect();
    if unchecked > 0 {
        words.push(format!("none ({unchecked} more signatures not checked)"));
    }
    if words.is_empty() {
        words.push("none".into());
    }
    words
}

fn dmarc_words(output: &DmarcOutput) -> String {
    let mut words = match output.result() {
        DmarcResult::Pass => "pass".into(),
        DmarcResult::Fail(_) => {
            let policy = match output.policy() {
                Policy::Reject => "reject",
                Policy::Quarantine => "quarantine",
                _ => "none",
            };
            format!("fail (p={policy})")
        }
        DmarcResult::TempError(error) => format!("temperror ({})", reason(&error)),
        DmarcResult::PermError(error) => format!("permerror ({})", reason(&error)),
        DmarcResult::None => "none".into(),
    };
    if !output.domain().is_empty() {
        words.push_str(&format!(" header.from={}", value(output.domain())));
    }
    words
}

fn signature_words(result: &DkimResult) -> String {
    match result {
        DkimResult::Pass => "pass".into(),
        // An altered body is the very thing a signature is there to tell, so it is no syntax error (RFC 8601 §2.7.1).
        DkimResult::Neutral(
            error @ (Error::Dkim(DkimError::FailedBodyHashMatch) | Error::Arc(ArcError::FailedBodyHashMatch)),
        )
        | DkimResult::Fail(error) => format!("fail ({})", reason(error)),
        DkimResult::Neutral(error) => format!("neutral ({})", reason(error)),
        DkimResult::PermError(error) => format!("permerror ({})", reason(error)),
        DkimResult::TempError(error) => format!("temperror ({})", reason(error)),
        DkimResult::None => "none".into(),
    }
}

/// A name out of a message, which its sender chose: nothing in it can pass for another result.
fn value(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    text.chars().take(VALUE_CHARS_MAX).map(|c| if plain(c) { c } else { '?' }).collect()
}

fn reason(error: &Error) -> String {
    // AWS-LC never tells more than "Unspecified".
    if matches!(error, Error::Crypto(_)) {
        return "signature does not verify".into();
    }
    let plain = |c: char| c == ' ' || (c.is_ascii_graphic() && !matches!(c, '(' | ')' | '='));
    error.to_string().chars().take(REASON_CHARS_MAX).map(|c| if plain(c) { c } else { '?' }).collect()
}
