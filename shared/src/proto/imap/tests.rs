//! Responses as servers send them, as they should not, and cut anywhere.

use proptest::prelude::*;

use super::*;

/// Responses, each with the content that came before its end.
type Found = Vec<(Result<Response, BadResponse>, Vec<u8>)>;

/// All that `wire` holds, given in pieces of `step` octets; contents put together.
fn read(wire: &[u8], step: usize) -> Result<Found, ReadError> {
    let mut reader = Reader::default();
    let (mut found, mut content) = (Vec::new(), Vec::new());
    for piece in wire.chunks(step.max(1)) {
        let mut rest = piece;
        loop {
            let (used, received) = reader.next(rest)?;
            rest = &rest[used..];
            match received {
                None => break,
                Some(Received::ContentBegins(_)) => assert_eq!(content, b""),
                Some(Received::Content(octets)) => {
                    assert!(!octets.is_empty());
                    content.extend_from_slice(octets);
                }
                Some(Received::Line) => {
                    found.push((Response::parse(reader.line()), std::mem::take(&mut content)));
                }
            }
        }
        assert_eq!(rest, b"", "everything was used");
    }
    Ok(found)
}

fn one(line: &str) -> Response {
    let mut found = read(format!("{line}\r\n").as_bytes(), 1000).unwrap();
    assert_eq!(found.len(), 1, "{line}");
    found.remove(0).0.unwrap()
}

fn text(code: Option<Code>, words: &str) -> Text {
    Text { code, words: words.into() }
}

fn uid(number: u32) -> Uid {
    Uid::new(number).unwrap()
}

#[test]
fn status_responses_are_read() {
    let tagged = |condition, text| Response::Tagged { tag: "a1".into(), condition, text };
    assert_eq!(one("a1 OK done"), tagged(Condition::Ok, text(None, "done")));
    assert_eq!(one("a1 ok"), tagged(Condition::Ok, text(None, "")));
    assert_eq!(
        one("a1 NO [AUTHENTICATIONFAILED] wrong"),
        tagged(Condition::No, text(Some(Code::AuthenticationFailed), "[AUTHENTICATIONFAILED] wrong"))
    );
    let capabilities = ["IMAP4REV1", "AUTH=PLAIN", "LITERAL+"].into_iter().collect();
    assert_eq!(
        one("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN LITERAL+] hi {5}"),
        Response::Status(
            Condition::Ok,
            text(Some(Code::Capability(capabilities)), "[CAPABILITY IMAP4rev1 AUTH=PLAIN LITERAL+] hi {5}")
        ),
        "text is no literal"
    );
    for (line, code) in [
        ("* OK [UIDVALIDITY 7]", Code::UidValidity(uid(7))),
        ("* OK [UIDVALIDITY 0]", Code::Other("UIDVALIDITY".into())),
        ("* OK [UIDNEXT 4294967296]", Code::Other("UIDNEXT".into())),
        ("* OK [HIGHESTMODSEQ 715194045007]", Code::HighestModSeq(715_194_045_007)),
        ("* OK [BADCHARSET (\"]\" x)] y", Code::Other("BADCHARSET".into())),
        ("* OK [] y", Code::Other(String::new())),
    ] {
        let Response::Status(_, found) = one(line) else { panic!("{line}") };
        assert_eq!(found.code, Some(code), "{line}");
    }
    let Response::Status(_, found) = one("* OK [ALERT \u{1b}[31mred") else { panic!() };
    assert_eq!(found, text(None, "[ALERT \u{fffd}[31mred"));
    assert_eq!(one("+"), Response::Continue(String::new()));
    assert_eq!(one("+ UGFzc3dvcmQ6"), Response::Continue("UGFzc3dvcmQ6".into()));
    assert_eq!(one("+ {3}"), Response::Continue("{3}".into()), "no literal either");
}

#[test]
fn mailboxes_are_read() {
    let entry = |attributes: &[&str], delimiter, name: &[u8]| {
        let attributes = attributes.iter().map(|&name| name.to_owned()).collect();
        Response::List(ListEntry { attributes, delimiter, name: name.to_vec() })
    };
    assert_eq!(
        one("* LIST (\\HasNoChildren \\Sent) \"/\" \"Sent Items\""),
        entry(&["\\HasNoChildren", "\\Sent"], Some('/'), b"Sent Items")
    );
    assert_eq!(one("* LIST () NIL INBOX"), entry(&[], None, b"INBOX"));
    assert_eq!(one("* LIST () \"\\\\\" a\\b"), entry(&[], Some('\\'), b"a\\b"));
    assert_eq!(one("* LIST () \"/\" {7}\r\na\"\r\nb\0c"), entry(&[], Some('/'), b"a\"\r\nb\0c"));
    assert_eq!(one("* LIST () \"/\" a[b] (CHILDINFO (\"SUBSCRIBED\"))"), entry(&[], Some('/'), b"a[b]"));
    let status = MailboxStatus {
        name: b"INBOX".to_vec(),
        messages: Some(2),
        uid_next: Some(uid(5)),
        uid_validity: Some(uid(9)),
        highest_modseq: Some(0),
    };
    assert_eq!(
        one("* STATUS INBOX (MESSAGES 2 UIDNEXT 5 UIDVALIDITY 9 X (1 \"2\") HIGHESTMODSEQ 0 )"),
        Response::MailboxStatus(status)
    );
    let namespace =
        |prefix: &str| vec![Namespace { prefix: prefix.as_bytes().to_vec(), delimiter: Some('/') }];
    assert_eq!(
        one("* NAMESPACE ((\"\" \"/\")) ((\"~\" \"/\" \"X\" (\"Y\"))) NIL"),
        Response::Namespace { own: namespace(""), other: namespace("~"), shared: Vec::new() }
    );
    assert_eq!(one("* SEARCH 2 1 (MODSEQ 5)"), Response::Search(vec![uid(2), uid(1)]));
    assert_eq!(one("* SEARCH"), Response::Search(Vec::new()));
    assert_eq!(one("* SORT 1 2 3"), Response::Other("SORT".into()));
    assert!(Response::parse(b"* SEARCH 1 x").is_err() && Response::parse(b"* SEARCH 0").is_err());
}

#[test]
fn messages_are_read_and_their_content_is_handed_on() {
    let wire = b"* 12 FETCH (UID 5 FLAGS (\\Seen a]b) INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" RFC822.SIZE 6 \
        MODSEQ (624140003) BODY[HEADER.FIELDS (\"FROM\" {2}\r\nTO)] \"x\" ENVELOPE (NIL (\"a\" (\"b\"))) BODY[] {7}\r\n\
        a)\r\n\0{3 X-GM-LABELS (\"\\\\Inbox\" b))\r\n* 13 FETCH (BODY[]<0> \"\\\"b\" UID 6)\r\n* 14 fetch (body[] NIL)\r\n\
        * 15 FETCH (BODY[] {0}\r\n)\r\n* 9 EXISTS\r\n* 3 EXPUNGE\r\n* VANISHED (EARLIER) 300:310,405\r\n* 0 RECENT\r\n";
    for step in 1..wire.len() {
        let found = read(wire, step).unwrap();
        let responses: Vec<_> =
            found.iter().map(|(response, _)| response.as_ref().unwrap().clone()).collect();
        let contents: Vec<&[u8]> = found.iter().map(|(_, content)| content.as_slice()).collect();
        let first = Fetch {
            number: 12,
            uid: Some(uid(5)),
            flags: Some(vec!["\\Seen".into(), "a]b".into()]),
            internal_date: date::parse("17-Jul-1996 02:44:25 -0700"),
            size: Some(6),
            modseq: Some(624_140_003),
            body: Some(Body::HandedOn),
        };
        let second = Fetch {
            number: 13,
            uid: Some(uid(6)),
            body: Some(Body::Short(b"\"b".to_vec())),
            ..Fetch::default()
        };
        assert_eq!(responses[0], Response::Fetch(first));
        assert_eq!(contents[0], b"a)\r\n\0{3");
        assert_eq!(responses[1], Response::Fetch(second));
        assert_eq!(
            responses[2],
            Response::Fetch(Fetch { number: 14, body: Some(Body::Nil), ..Fetch::default() })
        );
        assert_eq!(
            responses[3],
            Response::Fetch(Fetch { number: 15, body: Some(Body::HandedOn), ..Fetch::default() })
        );
        let vanished = UidSet::parse("300:310,405").unwrap();
        assert_eq!(
            responses[4..],
            [
                Response::Exists(9),
                Response::Expunge(3),
                Response::Vanished { earlier: true, uids: vanished },
                Response::Other("RECENT".into())
            ]
        );
    }
}

#[test]
fn a_uid_told_before_the_content_is_known_in_time() {
    assert_eq!(Fetch::uid_in(b"* 12 FETCH (UID 5 BODY[] \0"), Some(uid(5)));
    assert_eq!(Fetch::uid_in(b"* 12 FETCH (FLAGS () UID 5 BODY[] \0"), Some(uid(5)));
    assert_eq!(Fetch::uid_in(b"* 12 FETCH (X \"UID 7 \" BODY[] \0"), None);
    assert_eq!(Fetch::uid_in(b"* 12 FETCH (BODY[] \0"), None);
    assert_eq!(Fetch::uid_in(b""), None);
    assert_eq!(Fetch::uid_in(b"* UID FETCH (BODY[] \0"), None, "no number, and nothing before it");
}

#[test]
fn what_is_no_response_is_refused() {
    for line in [
        "",
        "* ",
        "*",
        "hello",
        "a1 FETCH done",
        "a1 BYE",
        "220 smtp ESMTP",
        "+OK POP3",
        "* 1 FETCH (UID 0)",
        "* 1 FETCH (UID 1",
        "* 1 FETCH (UID 1) )(",
        "* 0 FETCH ()",
        "* 0 EXPUNGE",
        "* 4294967296 EXISTS",
        "* 1 FETCH (BODY[] x)",
        "* 1 FETCH (BODY[] {3+})",
        "* LIST (a",
        "* STATUS x (UIDNEXT 99999999999)",
        "* VANISHED 1:*",
    ] {
        let found = read(format!("{line}\r\n").as_bytes(), 100).unwrap();
        let refused = found[0].0.is_err();
        // What stands behind a whole list is passed over; what is no POP3 is a continuation in IMAP's eyes.
        assert!(refused || ["* 1 FETCH (UID 1) )(", "+OK POP3"].contains(&line), "{line}: {found:?}");
    }
}

#[test]
fn lines_without_an_end_are_refused() {
    let piece = [b'x'; 8192];
    for begin in ["* ", "* LIST () \"/\" {200000}\r\n", "* OK ", "+ "] {
        let mut reader = Reader::default();
        reader.next(begin.as_bytes()).unwrap();
        let error = (0..1000).find_map(|_| reader.next(&piece).err());
        assert!(matches!(error, Some(ReadError::TooLong(_))), "{begin}");
    }
    for literal in ["{262144}", "{999999999999999999}", "{9999999999999999999}"] {
        let wire = format!("* LIST () \"/\" {literal}\r\n");
        let refused = read(wire.as_bytes(), 10).map_or(true, |found| found[0].0.is_err());
        assert!(refused, "{literal}");
    }
    let nested = format!("* 1 FETCH (X {}{})\r\n", "(".repeat(60_000), ")".repeat(60_000));
    assert!(read(nested.as_bytes(), 4096).unwrap()[0].0.is_err());
    assert!(matches!(read(b"* LIST \0", 1), Err(ReadError::Zero(_))));
}

/// Octets in which what means something is frequent.
fn wire() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        4 => "[a-z0-9 ()\\[\\]\"{}~+*\\\\<>:,&\r\n]{1,3}".prop_map(String::into_bytes),
        8 => proptest::sample::select(vec![
            "* ", "a1 ", "OK ", "12 ", "FETCH (", "BODY[] ", "UID ", "{3}\r\n", "{0}\r\n", "abc", "\r\n", "FLAGS (", ")",
            "LIST (", "\"/\" ", "STATUS ", "VANISHED ", "(EARLIER) ", "1:3", "NAMESPACE ", "NIL ", "[", "]", "MODSEQ (",
            "INTERNALDATE \"", "CAPABILITY ", "RFC822.SIZE ", "+ ", "\0", "~{2}\r\n",
        ]).prop_map(|text: &str| text.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 1..4),
    ];
    proptest::collection::vec(token, 0..60).prop_map(|tokens| tokens.concat())
}

proptest! {
    /// Goal: any octets in any pieces make the same responses, or the same error, and nothing panics.
    #[test]
    fn piece_borders_do_not_matter(wire in wire(), step in 1..20_usize) {
        prop_assert_eq!(read(&wire, step), read(&wire, wire.len().max(1)));
    }

    /// Goal: a message's content is handed on as it is, whatever it holds, and the line goes on behind it.
    #[test]
    fn content_is_exact(content in proptest::collection::vec(any::<u8>(), 0..300), step in 1..50_usize) {
        let head = format!("* 1 FETCH (UID 4 BODY[] {{{}}}\r\n", content.len());
        let wire = [head.as_bytes(), &content, b" RFC822.SIZE 3)\r\n"].concat();
        let found = read(&wire, step).unwrap();
        prop_assert_eq!(found.len(), 1);
        let expected =
            Fetch { number: 1, uid: Some(uid(4)), size: Some(3), body: Some(Body::HandedOn), ..Fetch::default() };
        prop_assert_eq!(found[0].0.as_ref(), Ok(&Response::Fetch(expected)));
        prop_assert_eq!(&found[0].1, &content);
    }

    /// Goal: a name of any octets that a client writes is what a server that reads it so reads.
    #[test]
    fn names_survive_quoting(name in proptest::collection::vec(any::<u8>(), 0..40)) {
        let pieces = Command::new("X ").string(&name).write("a", usize::MAX, false);
        prop_assert_eq!(pieces.len(), 1);
        let written = String::from_utf8_lossy(&pieces[0]).replace('+', "");
        if std::str::from_utf8(&name).is_ok_and(|name| !name.contains('+')) {
            let written = written.strip_prefix("a X ").unwrap().strip_suffix("\r\n").unwrap();
            let mut tokens = tokens::Tokens::new(written.as_bytes());
            let read = tokens.string();
            prop_assert_eq!(read.as_deref(), Some(name.as_slice()));
        }
    }
}
