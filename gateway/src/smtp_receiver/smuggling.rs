//! What peers send to make two servers see the end of a message in different places, against the pure session: each case
//! with the network's cut at every octet, and one octet at a time.

use postern_shared::proto::mime::trace::Normalised;

use super::dialogues::Stage;
use super::hostile::{ENVELOPE, codes, send, stage, with_every_cut};

/// What an attacker wants us to take for a transaction.
const SMUGGLED: &str = "MAIL FROM:<evil@example.org>\r\nRCPT TO:<mbx-000000000000000a@gateway.example.com>\r\n\
    DATA\r\nevil\r\n";

/// A stand-in for the end of data, and what it is in DATA: content, bare CRs, bare LFs.
const VARIANTS: [(&[u8], &[u8], u64, u64); 11] = [
    (b"\n.\n", b"\r\n.\r\n", 0, 2),
    (b"\n.\r", b"\r\n.\r\n", 1, 1),
    (b"\r.\n", b"\r\n.\r\n", 1, 1),
    (b"\r.\r", b"\r\n.\r\n", 2, 0),
    (b"\n.\r\n", b"\r\n.\r\n", 0, 1),
    (b"\r.\r\n", b"\r\n.\r\n", 1, 0),
    (b"\r\n.\n", b"\r\n\r\n", 0, 1),
    (b"\r\n.\r", b"\r\n\r\n", 1, 0),
    (b"\r\n.\r\r\n", b"\r\n\r\n\r\n", 1, 0),
    (b"\r\r\n.\r\r\n", b"\r\n\r\n\r\n\r\n", 2, 0),
    (b"\r\n\0.\r\n", b"\r\n\0.\r\n", 0, 0),
];

fn contents(stage: &Stage) -> Vec<&[u8]> {
    stage.stored.iter().map(|(_, content)| content.as_slice()).collect()
}

fn senders(stage: &Stage) -> Vec<&str> {
    stage.stored.iter().map(|(envelope, _)| envelope.mail_from.as_str()).collect()
}

/// Goal: no stand-in for `<CRLF>.<CRLF>` ends DATA; what is smuggled behind it is content, made whole and counted; the
/// message behind the real end is the second, and comes as it was sent.
#[test]
fn smuggled_transactions_in_data_are_content() {
    for (variant, becomes, bare_cr, bare_lf) in VARIANTS {
        let shown = variant.escape_ascii();
        let real = format!(".\r\n{ENVELOPE}DATA\r\nsecond\r\n.\r\nQUIT\r\n");
        let head = format!("{ENVELOPE}DATA\r\nfirst");
        let input = [head.as_bytes(), variant, SMUGGLED.as_bytes(), real.as_bytes()].concat();
        let expected = [b"first", becomes, SMUGGLED.as_bytes()].concat();
        with_every_cut(&input, 1_000_000, |stage, cut| {
            assert_eq!(contents(stage), [&expected[..], b"second\r\n"], "{shown} {cut}");
            assert_eq!(senders(stage), ["a@example.com"; 2], "{shown} {cut}");
            let whole = Normalised { bare_cr, bare_lf, final_crlf_added: false };
            assert_eq!(stage.normalised, [whole, Normalised::default()], "{shown} {cut}");
            assert_eq!(codes(stage), [250, 250, 354, 250, 250, 250, 354, 250, 221], "{shown} {cut}");
        });
    }
}

/// Goal: where the cut falls twice within a stand-in, nothing changes.
#[test]
fn two_cuts_within_a_stand_in_change_nothing() {
    for (variant, becomes, ..) in VARIANTS {
        let head = format!("{ENVELOPE}DATA\r\nfirst");
        let input = [head.as_bytes(), variant, SMUGGLED.as_bytes(), b".\r\n"].concat();
        let around = head.len() - 1..head.len() + variant.len() + 2;
        for (one, two) in around.clone().flat_map(|one| around.clone().map(move |two| (one, two))) {
            let (one, two) = (one.min(two), one.max(two));
            let mut stage = stage(1_000_000);
            send(&mut stage, [&input[..one], &input[one..two], &input[two..]]);
            let expected = [b"first", becomes, SMUGGLED.as_bytes()].concat();
            assert_eq!(contents(&stage), [&expected[..]], "{} at {one}, {two}", variant.escape_ascii());
        }
    }
}

/// Goal: without a real end of data no message comes out, whatever stands in for one.
#[test]
fn without_a_real_end_there_is_no_message() {
    for (variant, ..) in VARIANTS {
        let head = format!("{ENVELOPE}DATA\r\nfirst");
        let input = [head.as_bytes(), variant, SMUGGLED.as_bytes(), variant, b"QUIT\r\n"].concat();
        with_every_cut(&input, 1_000_000, |stage, cut| {
            assert!(stage.stored.is_empty() && !stage.closed, "{} {cut}", variant.escape_ascii());
            assert_eq!(codes(stage), [250, 250, 354], "{} {cut}", variant.escape_ascii());
        });
    }
}

/// Goal: a message over the limit is refused as a whole: a stand-in behind the limit ends it neither.
#[test]
fn a_stand_in_behind_the_size_limit_ends_nothing() {
    for (variant, ..) in VARIANTS {
        let head = format!("{ENVELOPE}DATA\r\n{}", "x".repeat(200));
        let input = [head.as_bytes(), variant, SMUGGLED.as_bytes(), b".\r\nNOOP\r\n"].concat();
        with_every_cut(&input, 100, |stage, cut| {
            assert!(stage.stored.is_empty(), "{} {cut}", variant.escape_ascii());
            assert_eq!(codes(stage), [250, 250, 354, 552, 250], "{} {cut}", variant.escape_ascii());
        });
    }
}

/// Goal: in chunks nothing ends a message but LAST; dots stay, bare line ends are made whole and counted across chunk
/// borders; the transaction behind is the second.
/// Method: the stand-ins and a real `<CRLF>.<CRLF>` in the content, the border of two chunks at every octet of it.
#[test]
fn smuggled_transactions_in_chunks_are_content() {
    let real: (&[u8], &[u8], u64, u64) = (b"\r\n.\r\n", b"\r\n.\r\n", 0, 0);
    for (variant, _, bare_cr, bare_lf) in VARIANTS.into_iter().chain([real]) {
        let content = [b"first", variant, SMUGGLED.as_bytes()].concat();
        let expected = whole_line_ends(&content);
        for border in 0..=content.len() {
            let (one, two) = content.split_at(border);
            let input = [
                format!("{ENVELOPE}BDAT {border}\r\n").as_bytes(),
                one,
                format!("BDAT {} LAST\r\n", two.len()).as_bytes(),
                two,
                format!("{ENVELOPE}BDAT 8 LAST\r\nsecond\r\nQUIT\r\n").as_bytes(),
            ]
            .concat();
            for step in [1, 7, input.len()] {
                let mut stage = stage(1_000_000);
                send(&mut stage, input.chunks(step));
                let place = format!("{} border {border} step {step}", variant.escape_ascii());
                assert_eq!(contents(&stage), [&expected[..], b"second\r\n"], "{place}");
                let whole = Normalised { bare_cr, bare_lf, final_crlf_added: false };
                assert_eq!(stage.normalised, [whole, Normalised::default()], "{place}");
                assert_eq!(codes(&stage), [250, 250, 250, 250, 250, 250, 250, 221], "{place}");
            }
        }
    }
}

/// Each bare CR and LF as CRLF: found octet by octet, not by our decoder.
fn whole_line_ends(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, &byte) in content.iter().enumerate() {
        match byte {
            b'\n' if at > 0 && content[at - 1] == b'\r' => {}
            b'\r' | b'\n' => out.extend_from_slice(b"\r\n"),
            other => out.push(other),
        }
    }
    out
}

const SMUGGLED_OCTETS: &[u8] = SMUGGLED.as_bytes();

/// A confusion: what it is, what is sent behind HELO, the codes it is answered with, the contents stored.
type Confusion = (&'static str, String, &'static [u16], &'static [&'static [u8]]);

fn confusions() -> Vec<Confusion> {
    let after = |rest: &str| format!("{ENVELOPE}{rest}");
    vec![
        (
            "BDAT within DATA is content",
            after("DATA\r\nBDAT 3 LAST\r\nabc\r\n.\r\n"),
            &[250, 250, 354, 250],
            &[b"BDAT 3 LAST\r\nabc\r\n"],
        ),
        (
            "BDAT behind DATA finds no transaction",
            after("DATA\r\na\r\n.\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n"),
            &[250, 250, 354, 250, 503, 250],
            &[b"a\r\n"],
        ),
        (
            "DATA behind BDAT",
            after("BDAT 3\r\nabcDATA\r\nBDAT 5 LAST\r\nQUIT\n"),
            &[250, 250, 250, 503, 250],
            &[b"abcQUIT\r\n"],
        ),
        (
            "MAIL and RCPT behind BDAT",
            after(
                "BDAT 3\r\nabcMAIL FROM:<evil@example.org>\r\nRCPT TO:<mbx-000000000000000a@gateway.example.com>\r\nBDAT 0 LAST\r\n",
            ),
            &[250, 250, 250, 503, 503, 250],
            &[b"abc\r\n"],
        ),
        (
            "STARTTLS and VRFY behind BDAT",
            after("BDAT 3\r\nabcSTARTTLS\r\nVRFY x\r\nNOOP\r\nBDAT 0 LAST\r\n"),
            &[250, 250, 250, 503, 503, 250, 250],
            &[b"abc\r\n"],
        ),
        ("BDAT 0 LAST alone", after("BDAT 0 LAST\r\n"), &[250, 250, 250], &[b""]),
        (
            "BDAT 0 again and again",
            after("BDAT 0\r\nBDAT 0\r\nBDAT 2\r\nabBDAT 0\r\nBDAT 0 LAST\r\n"),
            &[250, 250, 250, 250, 250, 250, 250],
            &[b"ab\r\n"],
        ),
        (
            "LAST twice",
            after("BDAT 2 LAST\r\nabBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n"),
            &[250, 250, 250, 503, 250],
            &[b"ab\r\n"],
        ),
        (
            "commands in a chunk",
            after(&format!("BDAT {} LAST\r\n{SMUGGLED}", SMUGGLED.len())),
            &[250, 250, 250],
            &[SMUGGLED_OCTETS],
        ),
        (
            "a dot in a chunk ends nothing",
            after("BDAT 12\r\na\r\n.\r\nQUIT\r\nBDAT 3 LAST\r\n.\r\n"),
            &[250, 250, 250, 250],
            &[b"a\r\n.\r\nQUIT\r\n.\r\n"],
        ),
        (
            "BDAT before everything",
            "BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n".into(),
            &[503, 503, 250],
            &[],
        ),
        (
            "BDAT without RCPT",
            "MAIL FROM:<a@example.com>\r\nBDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n".into(),
            &[250, 503, 503, 250],
            &[],
        ),
        (
            "a transaction behind refused chunks",
            format!("BDAT 6 LAST\r\nQUIT\r\n{ENVELOPE}BDAT 2 LAST\r\nok"),
            &[503, 250, 250, 250],
            &[b"ok\r\n"],
        ),
        (
            "RSET between chunks",
            after(&format!("BDAT 3\r\nabcRSET\r\nBDAT 6 LAST\r\nQUIT\r\n{ENVELOPE}BDAT 2 LAST\r\nok")),
            &[250, 250, 250, 250, 503, 250, 250, 250],
            &[b"ok\r\n"],
        ),
        (
            "RSET within a chunk is content",
            after("BDAT 6\r\nRSET\r\nBDAT 0 LAST\r\n"),
            &[250, 250, 250, 250],
            &[b"RSET\r\n"],
        ),
        (
            "EHLO between chunks resets",
            after("BDAT 3\r\nabcHELO y\r\nBDAT 0 LAST\r\n"),
            &[250, 250, 250, 250, 503],
            &[],
        ),
        ("QUIT between chunks", after("BDAT 3\r\nabcQUIT\r\nBDAT 0 LAST\r\n"), &[250, 250, 250, 221], &[]),
        (
            "over the limit in the second chunk",
            after(
                "BDAT 60\r\n123456789012345678901234567890123456789012345678901234567890BDAT 48\r\nQUIT\r\nQUIT\r\nQUIT\r\nQUIT\r\nQUIT\r\nQUIT\r\nQUIT\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n",
            ),
            &[250, 250, 250, 552, 503, 250],
            &[],
        ),
        (
            "a size of more than 64 bits never ends",
            after("BDAT 99999999999999999999999 LAST\r\nQUIT\r\n.\r\nRSET\r\n"),
            &[250, 250],
            &[],
        ),
        ("a size just within 64 bits", after("BDAT 18446744073709551615\r\nQUIT\r\n"), &[250, 250], &[]),
        (
            "a size with many zeros before it",
            after("BDAT 000000000000000000000000006 LAST\r\nQUIT\r\nNOOP\r\n"),
            &[250, 250, 250, 250],
            &[b"QUIT\r\n"],
        ),
        ("a negative size", after("BDAT -6 LAST\r\nQUIT\r\n"), &[250, 250, 501, 421], &[]),
        ("no size", after("bdat\r\nQUIT\r\n"), &[250, 250, 501, 421], &[]),
        ("another word than LAST", after("BDAT 6 FIRST\r\nQUIT\r\n"), &[250, 250, 501, 421], &[]),
        ("words behind LAST", after("BDAT 6 LAST LAST\r\nQUIT\r\n"), &[250, 250, 501, 421], &[]),
        ("a tab before the size", after("BDAT\t6 LAST\r\nQUIT\r\n"), &[250, 250, 500, 421], &[]),
        ("a NUL in BDAT", after("BDAT 6\0LAST\r\nQUIT\r\n"), &[250, 250, 500, 421], &[]),
        ("BDAT ended by a bare LF", after("BDAT 6 LAST\nQUIT\r\n"), &[250, 250, 500, 421], &[]),
        ("BDAT with a bare CR", after("BDAT 6 LAST\rQUIT\r\n"), &[250, 250, 500, 421], &[]),
        (
            "BDAT in a line without end",
            after(&format!("BDAT 6{}LAST\r\nQUIT\r\n", " ".repeat(3000))),
            &[250, 250, 500, 421],
            &[],
        ),
    ]
}

/// Goal: a chunk's octets are content or nothing, never commands, however BDAT is abused; what was refused stores
/// nothing.
#[test]
fn confusions_of_bdat_are_told_apart() {
    for (what, input, expected, stored) in confusions() {
        with_every_cut(input.as_bytes(), 100, |stage, cut| {
            assert_eq!(codes(stage), expected, "{what}, {cut}");
            assert_eq!(contents(stage), stored, "{what}, {cut}");
            assert_eq!(
                stage.closed,
                expected.ends_with(&[421]) || expected.ends_with(&[221]),
                "{what}, {cut}"
            );
        });
    }
}
