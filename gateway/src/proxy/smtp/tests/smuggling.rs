//! What clients send to make the server see the end of a message where we see none, or the other way round.

use postern_shared::proto::smtp::extensions::Extensions;

use super::server::Server;
use super::stage::{Fate, Stage, all_extensions};

const ENVELOPE: &str = "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\n";
const SMUGGLED: &str = "MAIL FROM:<evil@example.org>\r\nRCPT TO:<c@example.net>\r\nDATA\r\nevil\r\n";
/// Those of `smtp_receiver`, and the real one.
const VARIANTS: [&[u8]; 11] = [
    b"\n.\n",
    b"\n.\r",
    b"\r.\n",
    b"\r.\r",
    b"\n.\r\n",
    b"\r.\r\n",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\r\n.\r\r\n",
    b"\r\r\n.\r\r\n",
    b"\r\n\0.\r\n",
];

/// Lets both sides talk until nothing more comes.
fn converse(stage: &mut Stage, server: &mut Server) {
    while !stage.to_server.is_empty() {
        let answers = server.take(&std::mem::take(&mut stage.to_server));
        stage.server_says(answers.as_bytes());
    }
}

fn run(extensions: &Extensions, pieces: &[&[u8]]) -> (Stage, Server) {
    let mut stage = Stage::new(extensions.clone(), 1_000_000, "mbx-000000000000000a");
    let mut server = Server::new([]);
    for piece in pieces {
        stage.client_says(piece);
        converse(&mut stage, &mut server);
    }
    (stage, server)
}

/// What the server got is what was recorded, message by message.
fn check(stage: &Stage, server: &Server, messages: usize, place: &str) {
    assert_eq!((server.ended.len(), stage.copies.len()), (messages, messages), "{place}");
    for (ended, copy) in server.ended.iter().zip(&stage.copies) {
        assert_eq!(ended.content, copy.content, "{place}");
        assert_eq!(ended.to, ["b@example.net"], "{place}");
        assert_eq!(copy.fate, Fate::Confirmed, "{place}");
        let without = String::from_utf8_lossy(&ended.content).replace("\r\n", "");
        assert!(!without.contains(['\r', '\n']), "{place}: a bare line end went on");
    }
}

fn servers() -> [Extensions; 3] {
    let all = all_extensions();
    [
        all.clone(),
        Extensions { chunking: false, ..all.clone() },
        Extensions { chunking: false, pipelining: false, ..all },
    ]
}

/// Goal: no stand-in for `<CRLF>.<CRLF>` ends a message at the server; what is smuggled behind it is content there as it is in
/// the copy; the message behind the real end is the second.
/// Method: cut at every octet, and octet by octet; against servers with and without PIPELINING.
#[test]
fn stand_ins_in_data_end_nothing_at_the_server() {
    for extensions in servers() {
        for variant in VARIANTS {
            let head = format!("{ENVELOPE}DATA\r\nfirst");
            let tail = format!(".\r\n{ENVELOPE}DATA\r\nsecond\r\n.\r\n");
            let input = [head.as_bytes(), variant, SMUGGLED.as_bytes(), tail.as_bytes()].concat();
            let place = variant.escape_ascii().to_string();
            for cut in 0..=input.len() {
                let (stage, server) = run(&extensions, &[&input[..cut], &input[cut..]]);
                check(&stage, &server, 2, &format!("{place} cut at {cut}"));
            }
            let octets: Vec<&[u8]> = input.chunks(1).collect();
            let (stage, server) = run(&extensions, &octets);
            check(&stage, &server, 2, &format!("{place} octet by octet"));
        }
    }
}

/// Goal: the same in chunks, where also the real end of data ends nothing.
#[test]
fn stand_ins_in_chunks_end_nothing_at_the_server() {
    for extensions in servers() {
        for variant in VARIANTS.into_iter().chain([&b"\r\n.\r\n"[..]]) {
            let content = [b"first", variant, SMUGGLED.as_bytes()].concat();
            for border in 0..=content.len() {
                let (one, two) = content.split_at(border);
                let input = [
                    format!("{ENVELOPE}BDAT {border}\r\n").as_bytes(),
                    one,
                    format!("BDAT {} LAST\r\n", two.len()).as_bytes(),
                    two,
                    format!("{ENVELOPE}BDAT 8 LAST\r\nsecond\r\n").as_bytes(),
                ]
                .concat();
                for step in [1, 7, input.len()] {
                    let pieces: Vec<&[u8]> = input.chunks(step).collect();
                    let (stage, server) = run(&extensions, &pieces);
                    let place = format!("{} border {border} step {step}", variant.escape_ascii());
                    check(&stage, &server, 2, &place);
                }
            }
        }
    }
}

/// Goal: a command holds nothing that the server would take for another one.
#[test]
fn commands_are_written_anew() {
    let lines: [&[u8]; 6] = [
        b"MAIL FROM:<a@example.com> AUTH=x\rRSET\r\n",
        b"MAIL FROM:<a@example.com>\nRSET\r\n",
        b"MAIL FROM:<a@example.com\0>\r\n",
        b"MAIL FROM:<\"a\tb\"@example.com>\r\n",
        b"MAIL FROM:<a@example.com> ENVID=a\x0bb\r\n",
        b"RCPT TO:<b@example.net> ORCPT=rfc822;b\x85c\r\n",
    ];
    for line in lines {
        let (_, server) = run(&all_extensions(), &[line, b"NOOP\r\n"]);
        let expected: &[&str] = &["NOOP"];
        let got: Vec<&str> =
            server.commands.iter().map(String::as_str).filter(|line| *line != "RSET").collect();
        assert_eq!(got, expected, "{}", line.escape_ascii());
    }
    // A source route is cut off, spaces are put where they belong.
    let (_, server) = run(&all_extensions(), &[b"mail from: <@x.example:a@example.com>   size=5\r\n"]);
    assert_eq!(server.commands, ["MAIL FROM:<a@example.com> SIZE=5"]);
}
