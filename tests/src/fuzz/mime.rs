//! Messages as far as an archive must understand them.

use std::collections::HashSet;
use std::ops::Range;

use postern_shared::proto::mime::fold::fold_key;
use postern_shared::proto::mime::header::Header;
use postern_shared::proto::mime::journal::{JournalEnvelope, Original, Unwrapped, unwrap};
use postern_shared::proto::mime::multipart::parts;
use postern_shared::proto::mime::participants::participants;
use postern_shared::proto::mime::trace::{Capture, Proxied, Trace, split, untrusted_fields, write};

use super::octets::Octets;

const BOUNDARY: &str = "--=_fuzz";

/// Fields and parts lie inside the message, in order and apart, and what is copied of them is no longer than twice the
/// message; participants are addresses, each once for each role.
pub(super) fn message(data: &[u8]) {
    header_is_inside(&Header::parse(data), data.len());
    parts_are_inside(data, 0..data.len(), 0);
    assert_eq!(fold_key(data), fold_key(data));
    let names = untrusted_fields(data);
    assert!(names.len() <= 32 && names.iter().all(|name| name.chars().count() <= 80));
    let people = participants(None, None, data);
    let mut known = HashSet::new();
    for who in &people {
        assert!(who.address.contains('@') && who.address.len() <= 998);
        assert!(known.insert((who.address.as_str(), who.role)), "{who:?} twice");
    }
}

fn header_is_inside(header: &Header, len: usize) {
    let mut at = 0;
    let mut copied = 0;
    for field in &header.fields {
        assert!(at <= field.range.start && field.range.start < field.range.end);
        at = field.range.end;
        copied += field.name.len() + field.value.len();
    }
    assert!(at <= header.body && header.body <= len);
    assert!(copied <= 2 * len);
}

fn parts_are_inside(message: &[u8], entity: Range<usize>, depth: usize) {
    let found = parts(message, entity.clone());
    assert!(found.len() <= 1000);
    let mut at = entity.start;
    for part in found {
        header_is_inside(&part.header, entity.len());
        assert!(at <= part.body.start && part.body.start <= part.body.end && part.body.end <= entity.end);
        assert!(!part.media_type().is_empty() || part.header.first("Content-Type").is_some());
        at = part.body.end;
        if depth < 3 {
            parts_are_inside(message, part.body, depth + 1);
        }
    }
}

/// Whatever calls itself a journal report gives an original inside it; and whatever is put into a report comes out again
/// to the octet.
pub(super) fn report(data: &[u8]) {
    match unwrap(data) {
        Unwrapped::Report(report) => {
            for original in std::iter::once(&report.original).chain(&report.clear_copy) {
                assert!(original.bytes(data).len() <= data.len());
            }
            assert!(!report.envelope.is_empty() && report.envelope.recipients.len() <= 100_000);
            let people = participants(None, Some(&report.envelope), report.original.bytes(data));
            assert!(people.len() <= 100_000);
        }
        Unwrapped::Malformed { why } => assert!(!why.is_empty()),
        Unwrapped::Plain => {}
    }
    let text = String::from_utf8_lossy(data);
    let envelope = JournalEnvelope::parse(&text);
    assert!(envelope.recipients.len() + envelope.unknown.len() <= 100_000);
    if text.contains(BOUNDARY) {
        return;
    }
    let wrapped = [
        b"X-MS-Journal-Report:\r\nContent-Type: multipart/mixed; boundary=\"=_fuzz\"\r\n\r\n--=_fuzz\r\n\r\nSender: a@b.example\r\n\
          --=_fuzz\r\nContent-Type: message/rfc822\r\n\r\n",
        data,
        b"\r\n--=_fuzz--\r\n",
    ]
    .concat();
    let Unwrapped::Report(report) = unwrap(&wrapped) else { panic!("no report") };
    assert!(matches!(report.original, Original::Slice(_)));
    assert!(report.original.bytes(&wrapped) == data, "not what was put in");
}

/// Trace fields read and written read the same from then on; and whatever a peer says, what is written is read again, with
/// the message behind it untouched.
pub(super) fn trace(data: &[u8]) {
    let (found, rest) = split(data);
    assert!(data.ends_with(rest));
    if let Some(found) = found {
        let once = write(&found);
        let (read, behind) = split(&once);
        assert!(behind.is_empty());
        assert_eq!(read.map(|read| write(&read)), Some(once));
    }
    let mut octets = Octets::new(data);
    let mut word = || String::from_utf8_lossy(octets.piece()).into_owned();
    // As the session takes them: a name of printable ASCII, paths of one line.
    let helo: String = word().chars().filter(char::is_ascii_graphic).collect();
    let trace =
        Trace { helo, mail_from: word(), recipients: (0..3).map(|_| word()).collect(), ..known_trace() };
    let proxied = Proxied {
        account: word(),
        server: word(),
        server_tls: None,
        uidl: Some(word()),
        bcc: (0..3).map(|_| word()).collect(),
    };
    let proxied = Trace { proxied: Some(proxied), unconfirmed: true, ..trace.clone() };
    let sent = Trace { capture: Capture::SmtpProxy, ..proxied.clone() };
    let fetched = Trace { capture: Capture::Pop3Proxy, helo: String::new(), ..proxied };
    for trace in [trace, sent, fetched] {
        let written = [write(&trace), data.to_vec()].concat();
        let (read, behind) = split(&written);
        assert!(behind == data, "the message is not what it was");
        let read = read.unwrap_or_else(|| panic!("written and not read: {trace:?}"));
        assert_eq!(
            (read.helo, read.recipients.len(), read.unconfirmed),
            (trace.helo, trace.recipients.len(), trace.unconfirmed)
        );
        let bcc = |proxied: Option<Proxied>| proxied.map(|proxied| proxied.bcc.len());
        assert_eq!(bcc(read.proxied), bcc(trace.proxied));
    }
}

const TRACE: &str = "Return-Path: <anna@example.com>\r\n\
    Received: from mail.example.com ([192.0.2.1]:50000)\r\n by gateway.example.com (Postern)\r\n \
    with ESMTPS (TLSv1.3 TLS_AES_256_GCM_SHA384)\r\n \
    id 01ARZ3NDEKTSV4RRFFQ69G5FAV; Tue, 17 Jul 2018 12:13:28 +0000\r\n\
    X-Postern-Id: 01ARZ3NDEKTSV4RRFFQ69G5FAV\r\nX-Postern-Mailbox: mbx-dead1234beef5678\r\n\
    X-Postern-Capture: journal\r\nX-Postern-Received-At: 2018-07-17T12:13:28.5Z\r\n\
    X-Postern-Rcpt: mbx-dead1234beef5678+anna=example.com@gateway.example.com\r\n\
    X-Postern-Normalised: bare-cr=1 bare-lf=0 final-crlf=0\r\nX-Postern-Size: 1234\r\n\
    X-Postern-Content-SHA256:\r\n e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\r\n";

const PROXIED: &str = "X-Postern-Account: anna@example.com%mail.example.com\r\n\
    X-Postern-Server: mail.example.com:587 (TLSv1.3 TLS_AES_256_GCM_SHA384)\r\nX-Postern-Bcc: carol@example.net\r\n";

fn sent() -> String {
    TRACE.replace("X-Postern-Capture: journal\r\n", &format!("X-Postern-Capture: smtp-proxy\r\n{PROXIED}"))
}

const FETCHED: &str = "Received: from mail.example.com:995\r\n by gateway.example.com (Postern)\r\n \
    with POP3S (TLSv1.3 TLS_AES_256_GCM_SHA384)\r\n \
    id 01ARZ3NDEKTSV4RRFFQ69G5FAV; Tue, 17 Jul 2018 12:13:28 +0000\r\n\
    X-Postern-Id: 01ARZ3NDEKTSV4RRFFQ69G5FAV\r\nX-Postern-Mailbox: mbx-dead1234beef5678\r\n\
    X-Postern-Capture: pop3-proxy\r\nX-Postern-Account: anna%mail.example.com\r\n\
    X-Postern-Server: mail.example.com:995 (TLSv1.3 TLS_AES_256_GCM_SHA384)\r\nX-Postern-UIDL: c0ffee\r\n\
    X-Postern-Client: [192.0.2.1]:50000 POP3S (TLSv1.3 TLS_AES_256_GCM_SHA384)\r\n\
    X-Postern-Received-At: 2018-07-17T12:13:28.5Z\r\nX-Postern-Size: 1234\r\n\
    X-Postern-Content-SHA256:\r\n e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\r\n";

fn known_trace() -> Trace {
    split(TRACE.as_bytes()).0.unwrap_or_else(|| panic!("the seed is no trace"))
}

pub(super) fn trace_seeds() -> Vec<Vec<u8>> {
    for seed in [sent(), FETCHED.to_owned()] {
        assert!(split(seed.as_bytes()).0.is_some(), "the seed is no trace: {seed}");
    }
    vec![
        format!("{TRACE}Subject: x\r\n\r\nbody").into_bytes(),
        format!("{TRACE}{TRACE}").into_bytes(),
        format!("X-Postern-Unconfirmed: \r\n{}Subject: x\r\n\r\nbody", sent()).into_bytes(),
        format!("{FETCHED}Subject: x\r\n\r\nbody").into_bytes(),
        b"\x05mail\r\n\x03a\r\nX-Postern-Size: 1\r\n\x0abob@b.example".to_vec(),
    ]
}

/// The reports among the project's own fixtures, and what they do not show.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/journal");
    let mut files: Vec<_> =
        std::fs::read_dir(dir).into_iter().flatten().flatten().map(|file| file.path()).collect();
    files.sort();
    let reports = files.iter().filter(|file| file.extension().is_some_and(|kind| kind == "eml"));
    let mut seeds: Vec<Vec<u8>> = reports.filter_map(|file| std::fs::read(file).ok()).collect();
    let nested = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n".repeat(20);
    seeds.push(nested.into_bytes());
    seeds.push(
        b"From: \"a, b\" <A@b.example>, (x@y) c@d.example\r\nTo: g: e@f.example;, h@i.example\r\n\
          Delivered-To: j@k.example\r\nX-Postern-Id: x\r\nSubject: =?utf-8?B?w6Q=?=\r\n\tfolded\r\n\r\nbody"
            .to_vec(),
    );
    seeds
}
