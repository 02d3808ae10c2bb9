use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_shared::clock::UnixMillis;
use postern_shared::crypto::digest::sha256;
use postern_shared::disk::{Disk, RealDisk};
use postern_shared::id::{MailboxId, MessageId};
use postern_shared::proto::mime::trace::{self, Capture, Normalised, Trace};
use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::archive::{AttachmentText, Evidence, NewMessage, QUARANTINE};
use crate::profiles::Assign;

/// What a fixture says of itself: the `.json` beside the `.eml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    /// report, plain or malformed
    kind: String,
    subject: Option<String>,
    /// role, address, evidence, and the list it was expanded from
    #[serde(default)]
    participants: Vec<String>,
    /// Which octets the original has: those of `original.eml` when it says nothing.
    original: Option<String>,
    /// Words that are in the clear copy only.
    found_by: Option<String>,
    why: Option<String>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures")
}

fn read(path: &Path) -> Vec<u8> {
    RealDisk.read(path, 1 << 20).unwrap()
}

fn journal(name: &str) -> Vec<u8> {
    read(&fixtures().join("journal").join(name).with_extension("eml"))
}

fn arrival(assign: &Assign) -> Arrival<'_> {
    Arrival { profile: "p", uidl: "1", via: Via::Gateway(assign), flags: &[], internal_date: None }
}

fn prepared(raw: &[u8]) -> NewMessage {
    prepare(raw.to_vec(), &arrival(&Assign::Envelope {}), |_| None).unwrap()
}

fn trace_of(message: &[u8], recipients: &[&str]) -> Trace {
    Trace {
        id: MessageId::from_bytes([1; 16]),
        mailbox: MailboxId::from_bytes([2; 8]),
        capture: Capture::Journal,
        proxied: None,
        unconfirmed: false,
        received_at: UnixMillis(1_767_607_200_000),
        mail_from: "reverse@example.com".into(),
        helo: "mail.example.com".into(),
        peer: "192.0.2.1:25".parse().unwrap(),
        by: "gateway.example.com".into(),
        protocol: "ESMTPS".into(),
        tls: None,
        tls_server_name: None,
        recipients: recipients.iter().map(|rcpt| (*rcpt).to_owned()).collect(),
        normalised: Normalised::default(),
        authentication: Vec::new(),
        content_bytes: message.len() as u64,
        content_sha256: sha256(message),
    }
}

/// As the gateway's proxy takes it from a client, with the recipients that the server accepted.
fn sent(message: &[u8], recipients: &[&str], bcc: &[&str]) -> Trace {
    let proxied = trace::Proxied {
        account: "anna@example.com%smtp.example.com".into(),
        server: "smtp.example.com:587".into(),
        server_tls: None,
        uidl: None,
        bcc: bcc.iter().map(|address| (*address).to_owned()).collect(),
    };
    Trace { capture: Capture::SmtpProxy, proxied: Some(proxied), ..trace_of(message, recipients) }
}

fn served(message: &[u8], recipients: &[&str]) -> Vec<u8> {
    [&trace::write(&trace_of(message, recipients))[..], message].concat()
}

/// Goal: every kind of report unwraps to its original, to the octet, and to its recipients.
#[test]
fn every_fixture_is_what_it_says() {
    let original = read(&fixtures().join("original.eml"));
    let mut seen = 0;
    for path in RealDisk.files(&fixtures().join("journal")).unwrap() {
        if path.extension().is_none_or(|kind| kind != "eml") {
            continue;
        }
        seen += 1;
        let name = path.display();
        let message = read(&path);
        let expected: Expected = serde_json::from_slice(&read(&path.with_extension("json"))).unwrap();
        let found = prepared(&message);
        if expected.kind == "malformed" {
            assert_eq!(
                (&found.content, found.filed_in[0].archive.as_str()),
                (&message, QUARANTINE),
                "{name}"
            );
            assert!(found.quarantined.unwrap().contains(&expected.why.unwrap()), "{name}");
            continue;
        }
        assert_eq!(found.quarantined, None, "{name}");
        assert_eq!(Some(&found.index.subject), expected.subject.as_ref(), "{name}");
        let participants: Vec<String> = found.participants.iter().map(shown).collect();
        assert_eq!(participants, expected.participants, "{name}");
        match &found.evidence {
            None => assert_eq!((expected.kind.as_str(), &found.content), ("plain", &message), "{name}"),
            Some(evidence) => {
                assert_eq!(expected.kind, "report", "{name}");
                assert_eq!(
                    evidence.report(&found.content),
                    message,
                    "{name}: the report can be put together again"
                );
                assert!(
                    expected.original.is_some() || found.content == original,
                    "{name}: the original's octets"
                );
            }
        }
        if let Some(words) = expected.found_by {
            assert!(found.index.body.contains(&words), "{name}: {}", found.index.body);
            let content = String::from_utf8(found.content).unwrap();
            assert!(!content.contains(&words), "{name}: the encrypted original is what is archived");
        }
    }
    assert!(seen >= 25, "{seen} fixtures");
}

/// Goal: a gateway's message that is not in memory becomes what it would be if it were: its fields are believed and taken off, and
/// when it is not what the gateway got it is refused.
#[test]
fn a_long_message_of_a_gateway_is_prepared_like_a_short_one() {
    let message = [&b"From: anna@example.com\r\nSubject: long\r\n\r\n"[..], &[b'x'; 3_000_000]].concat();
    let (assign, raw) = (Assign::Envelope {}, served(&message, &["bob@example.com"]));
    let owner = |address: &str| (address == "bob@example.com").then(|| "bob".to_owned());
    let (head, octets) = (&raw[..2_000_000], &raw);
    assert!(!may_be_report(head, Via::Gateway(&assign)));
    let (long, before) = prepare_long(head, octets, &arrival(&assign), owner).unwrap();
    let short = prepare(raw.clone(), &arrival(&assign), owner).unwrap();
    assert_eq!((&raw[usize::try_from(before).unwrap()..], &short.content), (&message[..], &message));
    assert_eq!((&long.source, &long.mail_from), (&short.source, &short.mail_from));
    assert_eq!((&long.participants, &long.filed_in), (&short.participants, &short.filed_in));
    for spoil in [raw.len() - 1, raw.len() - 1_000_000] {
        let mut spoilt = raw.clone();
        spoilt[spoil] ^= 1;
        let refused = prepare_long(&spoilt[..2_000_000], &spoilt, &arrival(&assign), owner).unwrap_err();
        assert!(matches!(refused, LongError::Altered(_)), "{refused}");
    }
    let shorter = raw[..raw.len() - 1].to_vec();
    assert!(prepare_long(head, &shorter, &arrival(&assign), owner).is_err());
    let report = [&trace::write(&trace_of(b"x", &[]))[..], &journal("to-cc-bcc")].concat();
    assert!(may_be_report(&report, Via::Gateway(&assign)));
}

fn shown(who: &crate::archive::AddressEvidence) -> String {
    let list = who.expanded_from.as_ref().map(|list| format!(" from {list}")).unwrap_or_default();
    format!("{} {} {}{list}", who.role, who.address, who.evidence)
}

#[test]
fn the_encrypted_original_keeps_its_clear_copy_in_the_report() {
    let found = prepared(&journal("rights-protected"));
    assert!(String::from_utf8(found.content.clone()).unwrap().contains("message.rpmsg"));
    let report = String::from_utf8(found.evidence.unwrap().report(&found.content)).unwrap();
    assert!(report.contains("The clear text of it."));
}

/// Goal: copies of one message that a server split are one; others are not.
#[test]
fn bifurcated_reports_have_one_fold_key() {
    let (a, b) = (prepared(&journal("bifurcated-a")), prepared(&journal("bifurcated-b")));
    assert_ne!(a.content, b.content);
    assert!(a.fold_key.is_some());
    assert_eq!(a.fold_key, b.fold_key);
    assert_ne!(a.fold_key, prepared(&journal("rights-protected")).fold_key);
}

fn filed(raw: &[u8], assign: &Assign) -> Vec<String> {
    let owner = |address: &str| {
        let users = [("anna@example.com", "anna"), ("bob@example.com", "bob"), ("dave@example.com", "dave")];
        users.iter().find(|(known, _)| *known == address).map(|(_, user)| (*user).to_owned())
    };
    let found = prepare(raw.to_vec(), &arrival(assign), owner).unwrap();
    found
        .filed_in
        .into_iter()
        .map(|placement| format!("{}/{}", placement.archive, placement.folder))
        .collect()
}

#[test]
fn mail_is_filed_by_its_envelope() {
    let envelope = Assign::Envelope {};
    assert_eq!(
        filed(&journal("to-cc-bcc"), &envelope),
        ["anna/Journal/Outgoing", "bob/Journal/Incoming", "dave/Journal/Incoming"]
    );
    assert_eq!(filed(b"From: x@y\r\nTo: z@y\r\n\r\n", &envelope), ["unassigned/Journal"]);
    let one = Assign::User { user: "carol".into() };
    assert_eq!(filed(&journal("to-cc-bcc"), &one), ["carol/Journal/Incoming"]);
    assert_eq!(filed(&journal("no-original"), &one), ["quarantine/Raw"]);
    // The best evidence: the sub-address that Postfix was told to send to.
    let plain = read(&fixtures().join("original.eml"));
    let recipients = ["mbx-0202020202020202+dave=example.com@gateway.example.com"];
    assert_eq!(
        filed(&served(&plain, &recipients), &envelope),
        ["anna/Journal/Outgoing", "dave/Journal/Incoming"]
    );
}

#[test]
fn the_gateways_fields_come_off_and_a_senders_own_stay() {
    let message = b"X-Postern-Rcpt: bob@example.com\r\nFrom: anna@example.com\r\n\r\nx\r\n";
    let found = prepared(&served(message, &["mbx-0202020202020202@gateway.example.com"]));
    assert_eq!(found.content, message);
    let block = found.source.trace.unwrap();
    assert_eq!(
        [block.as_bytes(), message].concat(),
        served(message, &["mbx-0202020202020202@gateway.example.com"])
    );
    assert_eq!(prepared(message).source.trace, None, "a message from elsewhere has none");
    assert_eq!(found.source.received, Some(UnixMillis(1_767_607_200_000)));
    assert_eq!(found.mail_from.as_deref(), Some("reverse@example.com"));
    assert!(
        found.participants.iter().all(|who| who.address != "bob@example.com"),
        "a forged field is no evidence"
    );
    assert_eq!(found.untrusted_fields, ["X-Postern-Rcpt"], "but that it was forged is recorded");
}

/// Goal: mail that a client sent through the proxy belongs to those its server took it for, hidden ones included, and
/// what the gateway knows of it is kept.
#[test]
fn proxied_mail_is_filed_by_the_envelope_its_server_accepted() {
    let message = b"From: Sales <sales@example.com>\r\nTo: Bob <bob@example.com>, list@example.net\r\n\
        Cc: carol@example.com\r\nSubject: x\r\n\r\nx\r\n";
    let recipients = ["BOB@example.com", "carol@example.com", "dave@example.com", "erin@example.net"];
    let trace = sent(message, &recipients, &["dave@example.com"]);
    let raw = [&trace::write(&trace)[..], message].concat();
    let found = prepared(&raw);
    assert_eq!(found.content, message);
    let participants: Vec<String> = found.participants.iter().map(shown).collect();
    assert_eq!(
        participants,
        [
            "sender sales@example.com header",
            "sender anna@example.com proxied-account",
            "sender reverse@example.com reverse-path",
            "to bob@example.com smtp-envelope",
            "cc carol@example.com smtp-envelope",
            "bcc dave@example.com smtp-envelope",
            "recipient erin@example.net smtp-envelope",
        ]
    );
    let block = found.source.trace.unwrap();
    for field in
        ["X-Postern-Capture: smtp-proxy", "X-Postern-Server: smtp.example.com:587", "X-Postern-Bcc: dave@"]
    {
        assert!(block.contains(field), "{block}");
    }
    assert_eq!(
        filed(&raw, &Assign::Envelope {}),
        ["anna/Journal/Outgoing", "bob/Journal/Incoming", "dave/Journal/Incoming"]
    );

    // The gateway does not know whether the server took it; that is kept as well.
    let unconfirmed = prepared(&[trace::UNCONFIRMED, &raw].concat());
    assert_eq!(
        (&unconfirmed.content[..], unconfirmed.participants.len()),
        (&message[..], participants.len())
    );
    assert_eq!(unconfirmed.source.trace.unwrap().as_bytes(), [trace::UNCONFIRMED, block.as_bytes()].concat());
}

/// Goal: fetched mail belongs to whoever fetched it, and to those it names.
#[test]
fn fetched_mail_is_filed_by_its_account() {
    let message = b"From: eve@example.net\r\nTo: list@example.net, bob@example.com\r\n\r\nx\r\n";
    let sent = sent(message, &[], &[]);
    let trace = Trace { capture: Capture::Pop3Proxy, mail_from: String::new(), helo: String::new(), ..sent };
    let raw = [&trace::write(&trace)[..], message].concat();
    let participants: Vec<String> = prepared(&raw).participants.iter().map(shown).collect();
    assert_eq!(
        participants,
        [
            "sender eve@example.net header",
            "recipient anna@example.com proxied-account",
            "to list@example.net header",
            "to bob@example.com header",
        ]
    );
    assert_eq!(filed(&raw, &Assign::Envelope {}), ["anna/Journal/Incoming", "bob/Journal/Incoming"]);
}

#[test]
fn a_message_altered_between_gateway_and_here_is_refused() {
    let message = b"From: anna@example.com\r\n\r\nx\r\n";
    let whole = served(message, &[]);
    let mut bent = whole.clone();
    *bent.last_mut().unwrap() ^= 1;
    for altered in [&whole[..whole.len() - 1], &bent[..], &[&whole[..], b"more"].concat()] {
        assert!(prepare(altered.to_vec(), &arrival(&Assign::Envelope {}), |_| None).is_err());
    }
}

#[test]
fn what_has_no_header_goes_raw_to_quarantine() {
    for message in [&b""[..], b"\r\n\r\nbody", b"no field at all\r\n", b"\xff\xfe\x00", b": x\r\n\r\n"] {
        let found = prepared(&served(message, &[]));
        assert_eq!((&found.content[..], found.filed_in[0].archive.as_str()), (message, QUARANTINE));
    }
}

/// Goal: bombs end, in bounded memory, and are archived whole.
#[test]
fn bombs_cost_little() {
    let open =
        |depth: usize| format!("Content-Type: multipart/mixed; boundary=b{depth}\r\n\r\n--b{depth}\r\n");
    let nested: String = (0..5_000).map(open).collect();
    let parts =
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n".to_owned() + &"--b\r\n\r\nx\r\n".repeat(100_000);
    let header = "Subject: x\r\n".to_owned() + &"X: y\r\n".repeat(300_000);
    let line = format!("Subject: {}\r\n\r\n{}\r\n", "s".repeat(2_000_000), "l".repeat(5_000_000));
    let report = format!("X-MS-Journal-Report:\r\n{nested}");
    for bomb in [nested, parts, header, line, report] {
        let found = prepared(bomb.as_bytes());
        assert_eq!(found.content, bomb.as_bytes());
        assert!(found.index.body.len() <= 1 << 20 && found.index.subject.len() <= 1 << 16);
    }
}

/// Goal: messages within messages, however many, as they are and encoded, cost neither stack nor memory.
/// Method: on a stack of 2 MiB, as a daemon's threads have; dropping what a library makes of it has ended the whole process.
#[test]
fn messages_within_messages_end() {
    let level = "Content-Type:message/rfc822\r\n\r\n";
    let nested = format!("Subject: outer\r\n{}Subject: inner\r\n\r\ntext\r\n", level.repeat(1_000_000));
    let encoded = |inner: &str| {
        let inner = STANDARD.encode(inner);
        format!(
            "Subject: outer\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n{inner}"
        )
    };
    let hidden = encoded(&level.repeat(800_000));
    let spaced =
        format!("Subject: outer\r\n{}", "Content-Type: (x) message / (y)\r\n rfc822\r\n\r\n".repeat(500_000));
    let digests: String = (0..200_000)
        .map(|n| format!("Content-Type: multipart/digest; boundary=b{n}\r\n\r\n--b{n}\r\n\r\n"))
        .collect();
    let mut layers = "Subject: core\r\n\r\ntext".to_owned();
    for _ in 0..20 {
        layers = encoded(&layers);
    }
    let read = move || {
        let digests = format!("Subject: outer\r\n{digests}");
        // What is written so oddly is no message to anybody, and is not followed.
        for (bomb, followed) in
            [(nested, true), (hidden, true), (spaced, false), (digests, true), (layers, true)]
        {
            for read in [index_fields, index_fields_with_documents] {
                let fields = read(bomb.as_bytes(), None);
                assert_eq!(fields.subject, "outer");
                assert!(fields.attachments.len() < 20, "{}", fields.attachments.len());
                let marked =
                    fields.attachments.iter().any(|one| matches!(&one.text, AttachmentText::Missing(_)));
                assert_eq!(marked || fields.missing.is_some(), followed, "{fields:?}");
            }
        }
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(read).unwrap().join().unwrap();
}

/// Goal: 32 MB of empty parts, or of fields, become a few parts and fields, and the message says so.
#[test]
fn parts_and_fields_in_millions_are_left_out() {
    for part in ["--b\r\n\r\n", "--b\r\nContent-Type:a/b\r\n\r\n", "--b\r\nContent-Type:text/x\r\n\r\n"] {
        let head = "Subject: parts\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n";
        let fields = index_fields(format!("{head}{}", part.repeat(4_500_000)).as_bytes(), None);
        assert_eq!(fields.subject, "parts");
        let missing = fields.missing.unwrap();
        assert!(missing.contains("first 10000 parts"), "{missing}");
        assert_eq!(missing.contains("500 attached files"), part.contains("Content"), "{missing}");
        assert!(fields.attachments.len() <= 500 && fields.body.len() <= 10_000);
    }
    let fields = format!("Subject: fields\r\n{}\r\ntext", "To: a@example.com\r\n".repeat(1_500_000));
    let read = index_fields(fields.as_bytes(), None);
    assert_eq!((read.subject.as_str(), read.to.matches("example").count()), ("fields", 8));
}

/// Goal: what is bent is read as far as it goes, and what says it is encoded is decoded.
#[test]
fn text_of_bent_messages_is_found() {
    for (message, body, attached) in [
        ("Content-Type: multipart/mixed\r\n\r\nno boundary", "no boundary", ""),
        ("Content-Type: multipart/mixed; boundary=b\r\n\r\nno part", "no part", ""),
        // A boundary that comes out of its encoding with a line end, in both ways.
        (
            "Content-Type: multipart/mixed; boundary*=utf-8''x%0D%0Ay\r\n\r\n--x\r\ny\r\n\r\nfound",
            "--x\r\ny\r\n\r\nfound",
            "",
        ),
        (
            "Content-Type: multipart/mixed; boundary=\"=?utf-8?q?x=0D=0Ay?=\"\r\n\r\n--x\r\ny\r\n\r\nfound",
            "--x\r\ny\r\n\r\nfound",
            "",
        ),
        ("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nopen", "open", ""),
        ("Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n\x1b$B;q9p\x1b(B", "資告", ""),
        (
            "Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nHello  world\r\n\
             --b\r\nContent-Type: text/html\r\n\r\n<p>Hello <b>world</b></p>\r\n--b--",
            "Hello  world",
            "",
        ),
        (
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nbody\r\n--b\r\nContent-Type: text/plain; name=a.txt\r\n\
             Content-Transfer-Encoding: base64\r\n\r\nYXR0YWNoZWQ=\r\n--b--",
            "body",
            "attached",
        ),
        (
            "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: one\r\n\r\nof a digest\r\n--b--",
            "",
            "one\n\n\n\nof a digest",
        ),
        (
            "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nU3ViamVjdDogaW5uZXINCg0KdGV4dA==",
            "",
            "inner\n\n\n\ntext",
        ),
    ] {
        let fields = index_fields(format!("Subject: x\r\nMIME-Version: 1.0\r\n{message}").as_bytes(), None);
        assert_eq!((fields.body.as_str(), fields.missing), (body, None), "{message}");
        let text = fields.attachments.first().map(|attachment| match &attachment.text {
            AttachmentText::Text(text) => text.as_str(),
            other => panic!("{other:?}"),
        });
        assert_eq!(text.unwrap_or_default(), attached, "{message}");
    }
}

#[test]
fn html_is_found_by_its_text_and_attachments_by_their_names() {
    let message = b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nFrom: \"Anna A\" <anna@example.com>\r\n\
        Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n\
        <p>Hello <b>world</b></p><script>evil()</script>\r\n--b\r\nContent-Type: application/pdf\r\n\
        Content-Disposition: attachment; filename=\"report.pdf\"\r\n\r\nx\r\n--b--\r\n";
    let fields = index_fields(message, None);
    assert_eq!(fields.subject, "Grüße");
    assert_eq!(fields.from, "Anna A <anna@example.com>");
    assert!(fields.body.contains("Hello world") && !fields.body.contains("<p>"), "{}", fields.body);
    let attachment = &fields.attachments[..];
    assert_eq!(attachment.len(), 1);
    assert_eq!(attachment[0].name, "report.pdf");
    assert!(
        matches!(&attachment[0].text, AttachmentText::Missing(why) if why.contains("PDF")),
        "{attachment:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    /// Goal: whatever is bent in a report, nothing panics, and either the whole is archived or the report can be put
    /// together again.
    #[test]
    fn bent_reports_lose_nothing(which in 0usize..6, cuts in proptest::collection::vec((0usize..3000, any::<u8>()), 0..12), len in 0usize..3000) {
        let names = ["recipient", "to-cc-bcc", "ndr-wrapped", "rights-protected", "envelope-base64", "original-base64"];
        let mut message = journal(names[which]);
        for (at, byte) in cuts {
            let at = at % message.len();
            message[at] = byte;
        }
        message.truncate(message.len().saturating_sub(len / 3));
        let found = prepared(&message);
        match &found.evidence {
            Some(evidence @ (Evidence::Report { .. } | Evidence::Raw { .. })) => {
                prop_assert_eq!(evidence.report(&found.content), message);
            }
            None => prop_assert_eq!(found.content, message),
        }
    }
}
