//! Trace fields, written and read.

use proptest::prelude::*;

use super::*;
use crate::crypto::digest::sha256;

fn trace() -> Trace {
    Trace {
        id: MessageId::from_bytes([1; 16]),
        mailbox: MailboxId::from_bytes([2; 8]),
        capture: Capture::Journal,
        proxied: None,
        unconfirmed: false,
        received_at: UnixMillis(1_531_829_608_500),
        mail_from: "anna@example.com".into(),
        helo: "mail.example.com".into(),
        peer: "192.0.2.1:50000".parse().unwrap(),
        by: "gateway.example.com".into(),
        protocol: "ESMTPS".into(),
        tls: Some(("TLSv1.3".into(), "TLS13_AES_256_GCM_SHA384".into())),
        tls_server_name: None,
        recipients: vec!["mbx-0202020202020202+bob=example.com@gateway.example.com".into(), "b@x".into()],
        normalised: Normalised { bare_cr: 1, bare_lf: 2, final_crlf_added: true },
        authentication: Vec::new(),
        content_bytes: 5,
        content_sha256: sha256(b"a\r\n\r\n"),
    }
}

fn proxied() -> Proxied {
    Proxied {
        account: "anna@example.com%smtp.example.com".into(),
        server: "[2001:db8::2]:587".into(),
        server_tls: Some(("TLSv1.3".into(), "TLS13_AES_256_GCM_SHA384".into())),
        uidl: None,
        bcc: vec!["carol@example.net".into()],
    }
}

fn sent() -> Trace {
    Trace { capture: Capture::SmtpProxy, proxied: Some(proxied()), ..trace() }
}

fn fetched() -> Trace {
    let uidl = Some("0000c0ffee".into());
    Trace {
        capture: Capture::Pop3Proxy,
        proxied: Some(Proxied { uidl, bcc: Vec::new(), ..proxied() }),
        mail_from: String::new(),
        helo: String::new(),
        protocol: "POP3S".into(),
        recipients: Vec::new(),
        ..trace()
    }
}

/// Goal: what the gateway puts before a message when it serves it is what is written for one that is not confirmed.
#[test]
fn the_unconfirmed_field_stands_before_all_others() {
    for known in [trace(), sent(), fetched()] {
        let unconfirmed = Trace { unconfirmed: true, ..known.clone() };
        assert_eq!(write(&unconfirmed), [UNCONFIRMED, &write(&known)].concat());
    }
}

/// Goal: of fetched mail nothing is claimed that the gateway cannot know.
#[test]
fn fetched_mail_comes_from_its_server_and_has_no_envelope() {
    let written = String::from_utf8(write(&fetched())).unwrap();
    assert!(written.starts_with(
        "Received: from [2001:db8::2]:587\r\n by gateway.example.com (Postern)\r\n with POP3S (TLSv1.3 "
    ));
    assert!(!written.contains("Return-Path") && !written.contains("X-Postern-Rcpt"), "{written}");
    assert!(written.contains("X-Postern-UIDL: 0000c0ffee\r\n"), "{written}");
}

#[test]
fn what_is_written_is_read_and_the_rest_is_untouched() {
    let message = b"X-Postern-Id: forged\r\nX-Postern-Content-SHA256: forged\r\n\r\nbody";
    for trace in [
        trace(),
        Trace { tls: None, normalised: Normalised::default(), mail_from: String::new(), ..trace() },
        Trace { tls_server_name: Some("gateway.example.com".into()), ..trace() },
        Trace { authentication: vec!["spf=none".into(), "dkim=pass header.d=example.com".into()], ..trace() },
        Trace { peer: "[2001:db8::1]:25".parse().unwrap(), recipients: Vec::new(), ..trace() },
        Trace { unconfirmed: true, ..trace() },
        sent(),
        Trace { unconfirmed: true, ..sent() },
        Trace {
            tls: None,
            proxied: Some(Proxied { bcc: Vec::new(), server_tls: None, ..proxied() }),
            ..sent()
        },
        fetched(),
        Trace { peer: "[2001:db8::1]:25".parse().unwrap(), tls: None, unconfirmed: true, ..fetched() },
    ] {
        let served = [&write(&trace)[..], message].concat();
        let (found, rest) = split(&served);
        assert_eq!((found, rest), (Some(trace), &message[..]));
    }
    assert_eq!(untrusted_fields(message), ["X-Postern-Id", "X-Postern-Content-SHA256"]);
}

/// Goal: a message that begins with a folded line, or with one of our fields, is not taken for more of ours.
#[test]
fn what_follows_the_last_field_is_the_message_whatever_it_begins_with() {
    for message in [&b" folded\r\n\r\n"[..], b"\tx", b"", b"\r\n", b"X-Postern-Size: 1\r\n\r\n", b"\n "] {
        let served = [&write(&trace())[..], message].concat();
        assert_eq!(split(&served), (Some(trace()), message));
    }
}

#[test]
fn lines_stay_short() {
    for known in [trace(), sent(), fetched()] {
        let written = write(&Trace { unconfirmed: true, ..known });
        assert!(written.split(|byte| *byte == b'\n').all(|line| line.len() <= 79));
    }
}

#[test]
fn a_message_from_elsewhere_has_no_trace() {
    for message in
        [&b""[..], b"Subject: x\r\n\r\nbody", b"Return-Path: <a@b>\r\nSubject: x\r\n\r\n", b"\xff\xfe\n"]
    {
        assert_eq!(split(message), (None, message));
    }
    // A block that is not whole is none.
    let written = write(&trace());
    let cut = &written[..written.len() - 80];
    assert_eq!(split(cut), (None, cut));
}

proptest! {
    /// Goal: nothing a peer says can add or end a field.
    #[test]
    fn no_field_can_be_injected(helo in ".*", from in ".*", rcpt in ".*", result in ".*", account in ".*", server in ".*") {
        let proxied = Proxied { bcc: vec![rcpt.clone()], uidl: Some(account.clone()), account, server, ..proxied() };
        let written = write(&Trace {
            helo,
            mail_from: from,
            recipients: vec![rcpt],
            authentication: vec![result],
            proxied: Some(proxied),
            ..sent()
        });
        let text = String::from_utf8(written).unwrap();
        let fields = text.split("\r\n").filter(|line| !line.is_empty() && !line.starts_with(' ')).count();
        prop_assert_eq!(fields, 15);
        prop_assert!(!text.replace("\r\n", "").contains(['\r', '\n', '\0']));
    }

    #[test]
    fn garbage_is_split_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = split(&bytes);
        let _ = untrusted_fields(&bytes);
        let _ = split(&[&write(&trace())[..80], &bytes].concat());
    }
}
