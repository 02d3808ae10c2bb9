//! SMTP's decoders.

use postern_shared::proto::smtp::command::{Command, parse};
use postern_shared::proto::smtp::content::{ChunkDecoder, DataDecoder, LineEnds, Progress};

use super::octets::pieces;
use crate::smtp::FALSE_ENDS;

/// A line is a command or is refused; a path that was taken is taken again as it was written, and means the same; a
/// refusal is one reply of one whole line.
pub(super) fn command(data: &[u8]) {
    one_command(data);
    // Straight to what is behind the verbs.
    for (verb, end) in [("RCPT TO:<", ">"), ("MAIL FROM:<", "> SMTPUTF8"), ("BDAT ", ""), ("EHLO ", "")] {
        one_command(&[verb.as_bytes(), data, end.as_bytes()].concat());
    }
}

fn one_command(line: &[u8]) {
    let same = |written: String, command: Command| {
        let again = parse(written.as_bytes());
        assert_eq!(format!("{again:?}"), format!("{:?}", Ok::<_, ()>(command)), "{written:?}");
    };
    match parse(line) {
        Ok(Command::Rcpt { to, parameters }) => {
            assert!(to.written.len() <= line.len() && !to.written.contains(['\r', '\n', '\0']));
            same(format!("RCPT TO:<{}>{parameters}", to.written), Command::Rcpt { to, parameters });
        }
        Ok(Command::Mail { from: Some(from), parameters }) => {
            same(
                format!("MAIL FROM:<{}>{parameters}", from.written),
                Command::Mail { from: Some(from), parameters },
            );
        }
        Ok(Command::Bdat { bytes, last }) => {
            same(format!("BDAT {bytes}{}", if last { " LAST" } else { "" }), Command::Bdat { bytes, last });
        }
        Ok(Command::Ehlo { name } | Command::Helo { name }) => {
            assert!(name.len() <= 255 && name.bytes().all(|octet| octet.is_ascii_graphic()));
        }
        Ok(_) => {}
        Err(reply) => {
            assert!((400..600).contains(&reply.code));
            let wire = reply.to_bytes();
            assert!(wire.ends_with(b"\r\n") && wire.iter().filter(|octet| **octet == b'\n').count() == 1);
        }
    }
}

/// What DATA is, whole or in pieces, is the same; holds whole line ends only; is at most twice as long; and what is stuffed
/// and sent again comes out the same, with nothing left to make whole.
pub(super) fn data(data: &[u8]) {
    let (content, end, ends) = decode(&[data]);
    let in_pieces = pieces(data);
    if let Some(&first) = data.first() {
        let parts = [&[std::slice::from_ref(&first)][..], &in_pieces].concat();
        assert_eq!(decode(&parts), (content.clone(), end, ends), "cut differently");
    }
    has_whole_line_ends(&content);
    assert!(content.len() <= 2 * data.len() + 2);
    assert_eq!(end, first_real_end(data), "only CRLF dot CRLF ends it");
    let again = decode(&[&crate::smtp::stuffed(&content)]);
    let mut expected = content;
    if !expected.is_empty() && !expected.ends_with(b"\r\n") {
        expected.extend_from_slice(b"\r\n");
    }
    assert_eq!(again.0, expected);
    assert!(again.1.is_some() && again.2 == LineEnds::default());
}

/// Found by eye: behind the first `CRLF . CRLF`, the start counting as a line's.
fn first_real_end(data: &[u8]) -> Option<usize> {
    if data.starts_with(b".\r\n") {
        return Some(3);
    }
    data.windows(5).position(|window| window == b"\r\n.\r\n").map(|at| at + 5)
}

fn decode(pieces: &[&[u8]]) -> (Vec<u8>, Option<usize>, LineEnds) {
    let mut decoder = DataDecoder::default();
    let (mut out, mut before) = (Vec::new(), 0);
    for piece in pieces {
        if let Progress::End(at) = decoder.decode(piece, &mut out) {
            assert!(at > 0 && at <= piece.len());
            return (out, Some(before + at), decoder.line_ends());
        }
        before += piece.len();
    }
    (out, None, decoder.line_ends())
}

/// The same for BDAT, where nothing ends the content and dots mean nothing.
pub(super) fn chunks(data: &[u8]) {
    let (content, added, ends) = chunked(&[data]);
    if let Some(&first) = data.first() {
        let parts = [&[std::slice::from_ref(&first)][..], &pieces(data)].concat();
        assert_eq!(chunked(&parts), (content.clone(), added, ends), "cut differently");
    }
    has_whole_line_ends(&content);
    assert!(content.len() <= 2 * data.len() + 2);
    assert!(content.is_empty() || content.ends_with(b"\r\n"));
    assert_eq!(chunked(&[&content]), (content.clone(), false, LineEnds::default()), "nothing is left to do");
}

fn chunked(pieces: &[&[u8]]) -> (Vec<u8>, bool, LineEnds) {
    let mut decoder = ChunkDecoder::default();
    let mut out = Vec::new();
    pieces.iter().for_each(|piece| decoder.decode(piece, &mut out));
    let added = decoder.finish(&mut out);
    (out, added, decoder.line_ends())
}

/// No bare CR and no bare LF: nothing downstream can be smuggled.
pub(super) fn has_whole_line_ends(content: &[u8]) {
    for (at, octet) in content.iter().enumerate() {
        match octet {
            b'\r' => assert_eq!(content.get(at + 1).unwrap_or(&b'\n'), &b'\n', "a bare CR at {at}"),
            b'\n' => assert!(at > 0 && content[at - 1] == b'\r', "a bare LF at {at}"),
            _ => {}
        }
    }
}

pub(super) fn command_seeds() -> Vec<Vec<u8>> {
    [
        "EHLO mail.example.com",
        "MAIL FROM:<Anna@Example.com> size=1234 BODY=8BITMIME SMTPUTF8",
        "MAIL FROM:<>",
        "RCPT TO:<mbx-dead1234beef5678+anna=example.com@gateway.example.com>",
        "RCPT TO:<@a.example,@b.example:c@d.example>",
        "RCPT TO:<\"a b>\\\"c\"@[127.0.0.1]>",
        "RCPT TO:<Postmaster>",
        "RCPT TO:<b@example.com> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob+2Bx@example.com",
        "MAIL FROM:<a@example.com> RET=HDRS ENVID=QQ314159 AUTH=<> BODY=7BIT",
        "AUTH PLAIN dGltAHRpbQBzZWNyZXQ=",
        "RCPT TO:<ä@[IPv6:::1]>",
        "BDAT 86 LAST",
        "BDAT 00000000000000000000000000000000012",
        "STARTTLS",
        "VRFY a b",
    ]
    .map(|line| line.as_bytes().to_vec())
    .to_vec()
}

pub(super) fn content_seeds() -> Vec<Vec<u8>> {
    let others = ["\r\n.\r\n", "\r\n..\r\n", "\r\n.x\r\n", ""];
    let variants = FALSE_ENDS.into_iter().chain(others);
    variants
        .map(|variant| format!("Subject: x\r\n\r\nfirst{variant}MAIL FROM:<>\r\n.\r\n").into_bytes())
        .collect()
}
