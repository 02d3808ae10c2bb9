use proptest::prelude::*;

use super::command::{Command, parse};
use super::content::{ChunkDecoder, DataDecoder, LineEnds, Progress};
use super::reply::Reply;
use crate::proto::sasl::Mechanism;

/// Decodes `input` cut at `cuts`; the content, and what stood behind the end when there was one.
fn decode(input: &[u8], cuts: &[usize]) -> (Vec<u8>, Option<Vec<u8>>, LineEnds) {
    let mut decoder = DataDecoder::default();
    let mut out = Vec::new();
    let mut start = 0;
    for cut in cuts.iter().copied().chain([input.len()]) {
        if let Progress::End(at) = decoder.decode(&input[start..cut], &mut out) {
            return (out, Some(input[start + at..].to_vec()), decoder.line_ends());
        }
        start = cut;
    }
    (out, None, decoder.line_ends())
}

#[test]
fn data_ends_at_crlf_dot_crlf_and_dots_are_undone() {
    let (content, rest, ends) = decode(b"a\r\n..b\r\n.c\r\n.\r\nQUIT\r\n", &[]);
    assert_eq!(content, b"a\r\n.b\r\nc\r\n");
    assert_eq!(rest.unwrap(), b"QUIT\r\n");
    assert_eq!(ends, LineEnds::default());
    assert_eq!(decode(b".\r\n", &[]).0, b"", "an empty message");
}

/// Goal: no end-of-data that another server might see ends ours (smtpsmuggling, CVE-2023-51764 and relatives).
/// Method: each variant in the middle, a second transaction behind it, cut at every octet.
#[test]
fn no_smuggled_end_of_data_ends_it() {
    let variants: [(&[u8], &[u8]); 11] = [
        (b"\n.\n", b"\r\n.\r\n"),
        (b"\n.\r", b"\r\n.\r\n"),
        (b"\r.\n", b"\r\n.\r\n"),
        (b"\r.\r", b"\r\n.\r\n"),
        (b"\n.\r\n", b"\r\n.\r\n"),
        (b"\r.\r\n", b"\r\n.\r\n"),
        (b"\r\n.\n", b"\r\n\r\n"),
        (b"\r\n.\r", b"\r\n\r\n"),
        (b"\r\n.\r\r\n", b"\r\n\r\n\r\n"),
        (b"\r\r\n.\r\r\n", b"\r\n\r\n\r\n\r\n"),
        (b"\r\n\0.\r\n", b"\r\n\0.\r\n"),
    ];
    for (variant, becomes) in variants {
        let input = [b"text", variant, b"MAIL FROM:<evil@example.org>\r\n.\r\nRSET\r\n"].concat();
        let expected = [b"text", becomes, b"MAIL FROM:<evil@example.org>\r\n"].concat();
        for cut in 0..=input.len() {
            let (content, rest, _) = decode(&input, &[cut]);
            assert_eq!(content, expected, "{:?} cut at {cut}", String::from_utf8_lossy(variant));
            assert_eq!(rest.as_deref(), Some(&b"RSET\r\n"[..]), "{:?}", String::from_utf8_lossy(variant));
        }
    }
}

#[test]
fn bare_line_ends_are_counted() {
    let (_, _, ends) = decode(b"a\rb\nc\r\rd\r\n.\r\n", &[]);
    assert_eq!(ends, LineEnds { bare_cr: 3, bare_lf: 1 });
}

fn chunks(pieces: &[&[u8]]) -> (Vec<u8>, bool, LineEnds) {
    let mut decoder = ChunkDecoder::default();
    let mut out = Vec::new();
    pieces.iter().for_each(|piece| decoder.decode(piece, &mut out));
    let added = decoder.finish(&mut out);
    (out, added, decoder.line_ends())
}

#[test]
fn chunks_keep_dots_and_end_in_crlf() {
    assert_eq!(chunks(&[b"a\r\n.\r", b"\nb\r\n"]), (b"a\r\n.\r\nb\r\n".to_vec(), false, LineEnds::default()));
    assert_eq!(chunks(&[b"a"]), (b"a\r\n".to_vec(), true, LineEnds::default()));
    assert_eq!(chunks(&[b"a\r"]), (b"a\r\n".to_vec(), false, LineEnds { bare_cr: 1, bare_lf: 0 }));
    assert_eq!(
        chunks(&[b"\n", b"\r", b"x\r\n"]),
        (b"\r\n\r\nx\r\n".to_vec(), false, LineEnds { bare_cr: 1, bare_lf: 1 })
    );
    assert_eq!(chunks(&[]), (Vec::new(), false, LineEnds::default()));
}

fn code(line: &str) -> u16 {
    parse(line.as_bytes()).map_or_else(|reply| reply.code, |_| 0)
}

#[test]
fn a_local_part_may_carry_an_address() {
    let rcpt = |octets: usize| code(&format!("RCPT TO:<{}@example.net>", "a".repeat(octets)));
    assert_eq!((rcpt(64), rcpt(65), rcpt(320), rcpt(321)), (0, 0, 0, 501));
    assert_eq!(
        code(
            "RCPT TO:<SRS0=HHH=TT=example.org=anna.with.a.name.as.long.as.they.come.in.that.place@example.net>"
        ),
        0
    );
}

#[test]
fn commands_are_read_in_any_case_with_their_parameters() {
    let Ok(Command::Mail { from: Some(from), parameters }) =
        parse(b"mail FROM:<Anna@Example.com> size=1234 BODY=8BITMIME SMTPUTF8")
    else {
        panic!("MAIL is refused")
    };
    assert_eq!((from.local.as_str(), from.domain.as_str()), ("Anna", "Example.com"));
    assert_eq!((parameters.size, parameters.smtputf8), (Some(1234), true));
    assert!(matches!(parse(b"MAIL FROM:<>  "), Ok(Command::Mail { from: None, .. })));
    assert!(matches!(parse(b"bdat 86 last"), Ok(Command::Bdat { bytes: 86, last: true })));
    let rcpt = |line: &str| match parse(line.as_bytes()) {
        Ok(Command::Rcpt { to, .. }) => (to.local, to.domain, to.written),
        other => panic!("{line}: {other:?}"),
    };
    let written = "mbx-dead1234beef5678+anna=example.com@g.example";
    assert_eq!(rcpt(&format!("RCPT TO:<{written}>")).2, written);
    assert_eq!(rcpt("RCPT TO:<@a.example,@b.example:c@d.example>").2, "c@d.example");
    assert_eq!(rcpt("RCPT TO:<\"a b>\\\"c\"@[127.0.0.1]>").0, "a b>\"c");
    assert_eq!(rcpt("RCPT TO:<Postmaster>").1, "");
}

#[test]
fn a_login_is_read_and_not_shown() {
    let Ok(Command::Auth { mechanism, initial }) = parse(b"auth plain  dGltAHRpbQBzZWNyZXQ=") else {
        panic!("AUTH is refused")
    };
    assert_eq!(mechanism, Ok(Mechanism::Plain));
    assert!(!format!("{initial:?}").contains("dGlt"));
    assert!(matches!(parse(b"AUTH CRAM-MD5"), Ok(Command::Auth { mechanism: Err(_), initial: None })));
}

#[test]
fn what_is_no_command_is_refused() {
    for (line, expected) in [
        ("", 500),
        ("NONSENSE", 500),
        ("EHLO", 501),
        ("EHLO a b", 501),
        ("DATA now", 501),
        ("MAIL FROM:a@b", 501),
        ("MAIL FROM:<a@b", 501),
        ("MAIL FROM:<a@@b>x", 501),
        ("MAIL FROM:<a b@c.example>", 501),
        ("MAIL FROM:<a@b.example> SIZE=x", 501),
        ("MAIL FROM:<a@b.example> HOLDFOR=1", 555),
        ("RCPT TO:<>", 501),
        ("RCPT TO:<a@b..c>", 501),
        ("RCPT TO:<a@b.example> SIZE=1", 555),
        ("AUTH", 501),
        ("AUTH PLAIN a b", 501),
        ("AUTH PLAIN ä", 553),
        ("BDAT", 501),
        ("BDAT -1", 501),
        ("BDAT 5 FIRST", 501),
        ("NOOP a\0b", 500),
        ("NOOP a\rb", 500),
        ("NOOP ä", 553),
        ("MAIL FROM:<ä@b.example>", 553),
    ] {
        assert_eq!(code(line), expected, "{line:?}");
    }
    assert_eq!(code("MAIL FROM:<ä@b.example> SMTPUTF8"), 0);
    assert_eq!(parse(b"NOOP \xff").unwrap_err().code, 500);
}

#[test]
fn replies_cannot_be_broken_by_what_a_peer_wrote() {
    let reply = Reply { code: 550, enhanced: "5.1.1", lines: vec!["a\r\n250 b".into(), "c".into()] };
    assert_eq!(reply.to_bytes(), b"550-5.1.1 a??250 b\r\n550 5.1.1 c\r\n");
    assert_eq!(Reply::new(220, "", "hello").to_bytes(), b"220 hello\r\n");
}

fn line_like() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(b'x'), Just(0)], 0..60)
}

proptest! {
    /// Goal: where the network cuts the stream changes nothing.
    #[test]
    fn any_cut_gives_the_same(input in line_like(), cuts in proptest::collection::vec(0usize..60, 0..6)) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(input.len())).collect();
        cuts.sort_unstable();
        prop_assert_eq!(decode(&input, &cuts), decode(&input, &[]));
        let mut pieces = Vec::new();
        let mut start = 0;
        for cut in cuts {
            pieces.push(&input[start..cut]);
            start = cut;
        }
        pieces.push(&input[start..]);
        prop_assert_eq!(chunks(&pieces), chunks(&[&input]));
    }

    /// Goal: content never holds a bare CR or LF, so nothing downstream can be smuggled.
    #[test]
    fn content_has_whole_line_ends_only(input in line_like()) {
        let whole = |content: Vec<u8>| {
            let text = String::from_utf8(content).unwrap().replace("\r\n", "");
            !text.contains(['\r', '\n'])
        };
        prop_assert!(whole(decode(&input, &[]).0));
        prop_assert!(whole(chunks(&[&input]).0));
    }

    #[test]
    fn garbage_lines_are_refused_without_a_panic(line in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&line);
        let _ = parse(&[b"MAIL FROM:<", &line[..]].concat());
        let _ = parse(&[b"RCPT TO:<", &line[..]].concat());
    }
}
