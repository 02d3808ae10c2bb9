//! Whose mail it is, and how that is known.
//!
//! Recipients come from the best evidence there is, in this order: sub-address in RCPT TO, journal envelope,
//! `X-Envelope-To`, `X-Original-To`, `X-Gm-Original-To`, `Delivered-To`, and only then the message's own `To` and `Cc`,
//! which say what the sender wrote and not who got it.
//!
//! Mail that a client sent through the gateway's proxy has a real envelope: the recipients its server accepted, each with the
//! role that the message gives it, or as Bcc where it gives none. Its account is a sender. Of mail that a client fetched, the
//! account is a recipient, beside those whom the rules above find: it is known who has it, not who else.

use std::collections::HashSet;

use super::header::Header;
use super::journal::{JournalEnvelope, RecipientKind};
use super::trace::{Capture, Trace};

const PARTICIPANTS_MAX: usize = 100_000;
/// So that a flood of senders leaves room for those who received it.
const SENDERS_MAX: usize = 1000;

/// Somebody who sent or received a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Participant {
    /// Lower case.
    pub address: String,
    /// What they were.
    pub role: Role,
    /// How that is known.
    pub evidence: Evidence,
    /// The list they were expanded from.
    pub expanded_from: Option<String>,
}

/// What somebody was to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Role {
    Sender,
    To,
    Cc,
    Bcc,
    Recipient,
}

impl Role {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::To => "to",
            Self::Cc => "cc",
            Self::Bcc => "bcc",
            Self::Recipient => "recipient",
        }
    }
}

/// How a participant is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the room's header lists them")]
pub enum Evidence {
    RcptSubaddress,
    SmtpEnvelope,
    Account,
    JournalEnvelope,
    EnvelopeTo,
    OriginalTo,
    GmOriginalTo,
    DeliveredTo,
    Header,
    ReversePath,
}

impl Evidence {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RcptSubaddress => "rcpt-subaddress",
            Self::SmtpEnvelope => "smtp-envelope",
            Self::Account => "proxied-account",
            Self::JournalEnvelope => "journal-envelope",
            Self::EnvelopeTo => "x-envelope-to",
            Self::OriginalTo => "x-original-to",
            Self::GmOriginalTo => "x-gm-original-to",
            Self::DeliveredTo => "delivered-to",
            Self::Header => "header",
            Self::ReversePath => "reverse-path",
        }
    }
}

/// Everybody in `message`, which came with this trace and in this journal report, senders first, each address once
/// for each role.
pub fn participants(
    trace: Option<&Trace>,
    report: Option<&JournalEnvelope>,
    message: &[u8],
) -> Vec<Participant> {
    let header = Header::parse(message);
    let mut found = Found::default();
    senders(trace, report, &header, &mut found);
    recipients(trace, report, &header, &mut found);
    found.all
}

/// Each once for each role. Who writes a message chooses how many there are, so looking for one must not cost more the
/// more there are.
#[derive(Default)]
struct Found {
    all: Vec<Participant>,
    known: HashSet<(String, Role)>,
}

impl Found {
    fn add(&mut self, address: &str, role: Role, evidence: Evidence, expanded_from: Option<String>) {
        let address = address.trim().to_lowercase();
        let max = if role == Role::Sender { SENDERS_MAX } else { PARTICIPANTS_MAX };
        if self.all.len() < max
            && address.contains('@')
            && address.len() <= 998
            && self.known.insert((address.clone(), role))
        {
            self.all.push(Participant { address, role, evidence, expanded_from });
        }
    }
}

fn senders(trace: Option<&Trace>, report: Option<&JournalEnvelope>, header: &Header, found: &mut Found) {
    match report {
        Some(report) => {
            for sender in report.sender.iter().chain(&report.on_behalf_of) {
                found.add(sender, Role::Sender, Evidence::JournalEnvelope, None);
            }
        }
        None => {
            for address in header.all("From").flat_map(addresses) {
                found.add(&address, Role::Sender, Evidence::Header, None);
            }
            if let Some(trace) = trace {
                if let Some(account) = account(trace, Capture::SmtpProxy) {
                    found.add(account, Role::Sender, Evidence::Account, None);
                }
                found.add(&trace.mail_from, Role::Sender, Evidence::ReversePath, None);
            }
        }
    }
}

fn recipients(trace: Option<&Trace>, report: Option<&JournalEnvelope>, header: &Header, found: &mut Found) {
    if let Some(account) = trace.and_then(|trace| account(trace, Capture::Pop3Proxy)) {
        found.add(account, Role::Recipient, Evidence::Account, None);
    }
    let before = found.all.len();
    match trace {
        Some(trace) if trace.capture == Capture::SmtpProxy => accepted(trace, header, found),
        _ => {
            let recipients = trace.iter().flat_map(|trace| &trace.recipients);
            for address in recipients.filter_map(|rcpt| sub_address(rcpt)) {
                found.add(&address, Role::Recipient, Evidence::RcptSubaddress, None);
            }
        }
    }
    if let Some(report) = report {
        for who in &report.recipients {
            let role = match who.kind {
                RecipientKind::To => Role::To,
                RecipientKind::Cc => Role::Cc,
                RecipientKind::Bcc => Role::Bcc,
                RecipientKind::Recipient => Role::Recipient,
            };
            found.add(&who.address, role, Evidence::JournalEnvelope, who.expanded_from.clone());
            // What was forwarded was first addressed to somebody: it is their mail as well.
            if let Some(original) = &who.forwarded_from {
                found.add(original, role, Evidence::JournalEnvelope, None);
            }
        }
    }
    let ours: HashSet<String> =
        trace.iter().flat_map(|trace| &trace.recipients).map(|rcpt| rcpt.to_ascii_lowercase()).collect();
    let fields = [
        ("X-Envelope-To", Evidence::EnvelopeTo),
        ("X-Original-To", Evidence::OriginalTo),
        ("X-Gm-Original-To", Evidence::GmOriginalTo),
        ("Delivered-To", Evidence::DeliveredTo),
    ];
    for (name, evidence) in fields {
        if found.all.len() > before {
            return;
        }
        for address in header.all(name).flat_map(addresses) {
            // The journal mailbox's own address says nothing about whose mail it is.
            if !ours.contains(&address.to_ascii_lowercase()) {
                found.add(&address, Role::Recipient, evidence, None);
            }
        }
    }
    if found.all.len() == before {
        for (name, role) in [("To", Role::To), ("Cc", Role::Cc), ("Bcc", Role::Bcc)] {
            for address in header.all(name).flat_map(addresses) {
                found.add(&address, role, Evidence::Header, None);
            }
        }
    }
}

/// The recipients that a server accepted from a client.
fn accepted(trace: &Trace, header: &Header, found: &mut Found) {
    let named = |name| header.all(name).flat_map(addresses).map(|address| address.to_lowercase());
    let (to, cc): (HashSet<String>, HashSet<String>) = (named("To").collect(), named("Cc").collect());
    let bcc: HashSet<String> =
        trace.proxied.iter().flat_map(|proxied| &proxied.bcc).map(|address| address.to_lowercase()).collect();
    for recipient in &trace.recipients {
        let address = recipient.to_lowercase();
        let role = match &address {
            address if bcc.contains(address) => Role::Bcc,
            address if to.contains(address) => Role::To,
            address if cc.contains(address) => Role::Cc,
            _ => Role::Recipient,
        };
        found.add(&address, role, Evidence::SmtpEnvelope, None);
    }
}

/// Whose account it was, when that is an address: `anna@example.com` out of `anna@example.com%smtp.example.com`.
fn account(trace: &Trace, capture: Capture) -> Option<&str> {
    let proxied = trace.proxied.as_ref().filter(|_| trace.capture == capture)?;
    Some(proxied.account.rsplit_once('%').map_or(proxied.account.as_str(), |(user, _)| user))
}

/// `anna@example.com` out of `mbx-…+anna=example.com@gateway.example.com`.
fn sub_address(rcpt: &str) -> Option<String> {
    let (local, _) = rcpt.rsplit_once('@')?;
    let (_, detail) = local.split_once('+')?;
    let (local, domain) = detail.rsplit_once('=')?;
    (!local.is_empty() && !domain.is_empty()).then(|| format!("{local}@{domain}"))
}

/// The addresses of an address list (RFC 5322 §3.4), as far as they can be told: display names and comments skipped.
fn addresses(list: &str) -> Vec<String> {
    members(list).flatten().collect()
}

/// The members of an address list, groups dissolved; `None` for one that is no address.
pub(super) fn members(list: &str) -> impl Iterator<Item = Option<String>> {
    let mut found = Vec::new();
    let (mut plain, mut angle) = (String::new(), None::<String>);
    let (mut quoted, mut escaped, mut comment) = (false, false, 0_u32);
    // A quoted string is a display name, unless an @ follows.
    let mut quotation = None::<String>;
    for c in list.chars().chain([',']) {
        if escaped {
            escaped = false;
            quotation.iter_mut().for_each(|text| text.push(c));
            continue;
        }
        if !quoted && let Some(text) = quotation.take().filter(|_| c == '@') {
            angle.as_mut().unwrap_or(&mut plain).push_str(&format!("\"{text}\""));
        }
        match c {
            '\\' if quoted || comment > 0 => escaped = true,
            '"' if comment == 0 => {
                quoted = !quoted;
                if quoted {
                    quotation = Some(String::new());
                }
            }
            _ if quoted => quotation.iter_mut().for_each(|text| text.push(c)),
            '(' => comment += 1,
            ')' if comment > 0 => comment -= 1,
            _ if comment > 0 => {}
            '<' => angle = Some(String::new()),
            '>' => plain = angle.take().unwrap_or_default() + ">",
            ':' if angle.is_none() => plain.clear(),
            ',' | ';' if angle.is_none() => {
                let address = plain.trim_end_matches('>').trim().to_owned();
                if !address.is_empty() || plain.contains('>') {
                    let is_address = address.contains('@') && !address.contains(char::is_whitespace);
                    found.push(is_address.then_some(address));
                }
                plain.clear();
            }
            c if angle.is_some() => angle.iter_mut().for_each(|angle| angle.push(c)),
            c if !plain.ends_with('>') => plain.push(c),
            _ => {}
        }
    }
    if quoted || comment > 0 || angle.is_some() {
        found.push(None);
    }
    found.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(message: &str, report: Option<&JournalEnvelope>) -> Vec<(String, &'static str, &'static str)> {
        participants(None, report, message.as_bytes())
            .into_iter()
            .map(|who| (who.address, who.role.as_str(), who.evidence.as_str()))
            .collect()
    }

    #[test]
    fn the_best_evidence_wins() {
        let message =
            "From: Anna <ANNA@example.com>\r\nTo: list@example.com\r\nDelivered-To: bob@example.com\r\n\r\n";
        assert_eq!(
            told(message, None),
            [
                ("anna@example.com".into(), "sender", "header"),
                ("bob@example.com".into(), "recipient", "delivered-to")
            ]
        );
        let report = JournalEnvelope::parse("Sender: x@example.com\r\nBcc: c@example.com\r\n");
        assert_eq!(
            told(message, Some(&report)),
            [
                ("x@example.com".into(), "sender", "journal-envelope"),
                ("c@example.com".into(), "bcc", "journal-envelope")
            ]
        );
        let plain = "From: a@x\r\nTo: b@x, \"c, d\" <e@x>\r\nCc: g:f@x;\r\n\r\n";
        let roles: Vec<_> = told(plain, None).into_iter().map(|(address, role, _)| (address, role)).collect();
        assert_eq!(
            roles,
            [("a@x".into(), "sender"), ("b@x".into(), "to"), ("e@x".into(), "to"), ("f@x".into(), "cc")]
        );
    }

    #[test]
    fn address_lists_are_read_leniently() {
        assert_eq!(addresses("a@x (comment, with <b@x>), <c@x>,, d e@x"), ["a@x", "c@x"]);
        assert_eq!(addresses("undisclosed-recipients:;"), Vec::<String>::new());
        assert_eq!(addresses("\"q\\\"uote@x\" <z@x> trailing"), ["z@x"]);
        assert_eq!(addresses("\"john.doe\"@x, <\"c\\\"d\"@x>"), ["\"john.doe\"@x", "\"c\"d\"@x"]);
    }

    #[test]
    fn sub_addresses_carry_a_whole_address() {
        assert_eq!(sub_address("mbx-1+anna=b=example.com@g").as_deref(), Some("anna=b@example.com"));
        assert_eq!(sub_address("mbx-1@g"), None);
        assert_eq!(sub_address("mbx-1+anna@g"), None);
    }

    /// Goal: how long a message takes does not grow with the square of the addresses its writer puts into it.
    /// Method: more than are kept; comparing each with each would take minutes.
    #[test]
    fn a_flood_of_addresses_is_bounded() {
        let recipients: String = (0..100_000).map(|n| format!("To: a{n}@b.example\n")).collect();
        let report = JournalEnvelope::parse(&format!("Sender: x@y.example\n{recipients}"));
        let told = participants(None, Some(&report), b"");
        assert_eq!(told.len(), PARTICIPANTS_MAX);
        let list: Vec<String> = (0..150_000).map(|n| format!("{n}@b")).collect();
        let message = format!("From: {}\r\nTo: anna@b.example\r\n\r\n", list[..100_000].join(","));
        let told = participants(None, None, message.as_bytes());
        assert_eq!(told.len(), SENDERS_MAX + 1);
        assert_eq!(told[SENDERS_MAX].address, "anna@b.example");
        let message = format!("To: {}\r\n\r\n", list[..120_000].join(","));
        assert_eq!(participants(None, None, message.as_bytes()).len(), PARTICIPANTS_MAX);
    }
}
