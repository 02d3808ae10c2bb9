//! Whose mail it is, and how that is known.
//!
//! Recipients come from the best evidence there is, in this order: sub-address in RCPT TO, journal envelope,
//! `X-Envelope-To`, `X-Original-To`, `X-Gm-Original-To`, `Delivered-To`, and only then the message's own `To` and `Cc`,
//! which say what the sender wrote and not who got it.

use super::header::Header;
use super::journal::{JournalEnvelope, RecipientKind};
use super::trace::Trace;

const PARTICIPANTS_MAX: usize = 100_000;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    let mut all = Vec::new();
    senders(trace, report, &header, &mut all);
    recipients(trace, report, &header, &mut all);
    all.truncate(PARTICIPANTS_MAX);
    all
}

fn add(
    all: &mut Vec<Participant>,
    address: &str,
    role: Role,
    evidence: Evidence,
    expanded_from: Option<String>,
) {
    let address = address.trim().to_lowercase();
    let known = |who: &Participant| who.address == address && who.role == role;
    if address.contains('@') && address.len() <= 998 && !all.iter().any(known) {
        all.push(Participant { address, role, evidence, expanded_from });
    }
}

fn senders(
    trace: Option<&Trace>,
    report: Option<&JournalEnvelope>,
    header: &Header,
    all: &mut Vec<Participant>,
) {
    match report {
        Some(report) => {
            for sender in report.sender.iter().chain(&report.on_behalf_of) {
                add(all, sender, Role::Sender, Evidence::JournalEnvelope, None);
            }
        }
        None => {
            for address in header.all("From").flat_map(addresses) {
                add(all, &address, Role::Sender, Evidence::Header, None);
            }
            if let Some(trace) = trace {
                add(all, &trace.mail_from, Role::Sender, Evidence::ReversePath, None);
            }
        }
    }
}

fn recipients(
    trace: Option<&Trace>,
    report: Option<&JournalEnvelope>,
    header: &Header,
    all: &mut Vec<Participant>,
) {
    let before = all.len();
    for address in trace.iter().flat_map(|trace| &trace.recipients).filter_map(|rcpt| sub_address(rcpt)) {
        add(all, &address, Role::Recipient, Evidence::RcptSubaddress, None);
    }
    if let Some(report) = report {
        for who in &report.recipients {
            let role = match who.kind {
                RecipientKind::To => Role::To,
                RecipientKind::Cc => Role::Cc,
                RecipientKind::Bcc => Role::Bcc,
                RecipientKind::Recipient => Role::Recipient,
            };
            add(all, &who.address, role, Evidence::JournalEnvelope, who.expanded_from.clone());
            // What was forwarded was first addressed to somebody: it is their mail as well.
            if let Some(original) = &who.forwarded_from {
                add(all, original, role, Evidence::JournalEnvelope, None);
            }
        }
    }
    let fields = [
        ("X-Envelope-To", Evidence::EnvelopeTo),
        ("X-Original-To", Evidence::OriginalTo),
        ("X-Gm-Original-To", Evidence::GmOriginalTo),
        ("Delivered-To", Evidence::DeliveredTo),
    ];
    for (name, evidence) in fields {
        if all.len() > before {
            return;
        }
        for address in header.all(name).flat_map(addresses) {
            // The journal mailbox's own address says nothing about whose mail it is.
            if trace.is_none_or(|trace| !is_ours(&address, trace)) {
                add(all, &address, Role::Recipient, evidence, None);
            }
        }
    }
    if all.len() == before {
        for (name, role) in [("To", Role::To), ("Cc", Role::Cc), ("Bcc", Role::Bcc)] {
            for address in header.all(name).flat_map(addresses) {
                add(all, &address, role, Evidence::Header, None);
            }
        }
    }
}

fn is_ours(address: &str, trace: &Trace) -> bool {
    trace.recipients.iter().any(|rcpt| rcpt.eq_ignore_ascii_case(address))
}

/// `anna@example.com` out of `mbx-…+anna=example.com@gateway.example.com`.
fn sub_address(rcpt: &str) -> Option<String> {
    let (local, _) = rcpt.rsplit_once('@')?;
    let (_, detail) = local.split_once('+')?;
    let (local, domain) = detail.rsplit_once('=')?;
    (!local.is_empty() && !domain.is_empty()).then(|| format!("{local}@{domain}"))
}

/// The addresses of an address list (RFC 5322 §3.4), as far as they can be told: quoted strings and comments skipped.
fn addresses(list: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut plain, mut angle) = (String::new(), None::<String>);
    let (mut quoted, mut escaped, mut comment) = (false, false, 0_u32);
    for c in list.chars().chain([',']) {
        if escaped {
            escaped = false;
            continue;
        }
        match c {
            '\\' if quoted || comment > 0 => escaped = true,
            '"' if comment == 0 => quoted = !quoted,
            _ if quoted => {}
            '(' => comment += 1,
            ')' if comment > 0 => comment -= 1,
            _ if comment > 0 => {}
            '<' => angle = Some(String::new()),
            '>' => plain = angle.take().unwrap_or_default() + ">",
            ':' if angle.is_none() => plain.clear(),
            ',' | ';' if angle.is_none() => {
                let address = plain.trim_end_matches('>').trim().to_owned();
                if address.contains('@') && !address.contains(char::is_whitespace) {
                    found.push(address);
                }
                plain.clear();
            }
            c if angle.is_some() => angle.iter_mut().for_each(|angle| angle.push(c)),
            c if !plain.ends_with('>') => plain.push(c),
            _ => {}
        }
    }
    found
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
    }

    #[test]
    fn sub_addresses_carry_a_whole_address() {
        assert_eq!(sub_address("mbx-1+anna=b=example.com@g").as_deref(), Some("anna=b@example.com"));
        assert_eq!(sub_address("mbx-1@g"), None);
        assert_eq!(sub_address("mbx-1+anna@g"), None);
    }
}
