//! POP3's decoders, and the client's side of a session.

use postern_shared::proto::pop3::client::{Client, Event, Options, TlsStart};
use postern_shared::proto::pop3::dot::Decoded;
use postern_shared::proto::pop3::{
    Capabilities, Command, DotDecoder, DotEncoder, MessageNumber, RESPONSE_OCTETS_MAX, Reply, TopCut,
    UidlToken,
};
use postern_shared::proto::sasl::PlainCredentials;
use secrecy::{ExposeSecret, SecretString};

use super::octets::{Octets, pieces};

const MESSAGES_MAX: usize = 5;
const PASSWORD: &str = "open sesame 1001";

/// A line is a command or is refused; a command with a number means the same when it is written again; a password never
/// shows.
pub(super) fn command(data: &[u8]) {
    for utf8 in [false, true] {
        let Ok(command) = Command::parse(data, utf8) else { continue };
        let shown = format!("{command:?}");
        let written = match &command {
            Command::Pass(password) => {
                let password = password.expose_secret();
                assert!(password.len() < 12 || !shown.contains(password));
                format!("PASS {password}")
            }
            Command::User(name) => format!("USER {name}"),
            Command::Retr(number) => format!("RETR {number}"),
            Command::Dele(number) => format!("DELE {number}"),
            Command::List(Some(number)) => format!("LIST {number}"),
            Command::Top { number, body_lines } => format!("TOP {number} {body_lines}"),
            _ => continue,
        };
        let again = Command::parse(written.as_bytes(), utf8);
        assert_eq!(format!("{again:?}"), format!("Ok({shown})"), "{written:?}");
    }
}

/// A reply read and written is a line of printable ASCII that is not too long; once it was cut to what is kept of a text,
/// it reads the same for ever. The small values in lists do so, too.
pub(super) fn reply(data: &[u8]) {
    Capabilities::default().read_line(data);
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(number) = text.parse::<MessageNumber>() {
            assert_eq!(number.to_string().parse(), Ok(number));
            assert_eq!(MessageNumber::from_index(number.index()), Some(number));
        }
        if let Ok(uidl) = text.parse::<UidlToken>() {
            assert!(uidl.as_str() == text && text.len() <= 70);
        }
    }
    let again = |reply: &Reply| {
        let line = written(reply);
        Reply::parse(&line).unwrap_or_else(|| panic!("written and not read: {reply:?}"))
    };
    if let Some(reply) = Reply::parse(data) {
        // Signs that cannot be printed grow into several, then the end is cut off, then blanks at the end.
        let kept = again(&again(&reply));
        assert_eq!((kept.ok, kept.code), (reply.ok, reply.code));
        assert_eq!(again(&kept), kept);
    }
}

fn written(reply: &Reply) -> Vec<u8> {
    let mut line = Vec::new();
    reply.write(&mut line);
    assert!(line.len() <= RESPONSE_OCTETS_MAX && line.ends_with(b"\r\n"));
    line.truncate(line.len() - 2);
    assert!(line.iter().all(|octet| (b' '..=b'~').contains(octet)));
    line
}

/// What is stuffed is undone, wherever it is cut and whatever follows; garbage is decoded the same at any cut; TOP cuts a
/// message at the same place, whatever its pieces.
pub(super) fn content(data: &[u8]) {
    let mut stuffed = Vec::new();
    let mut encoder = DotEncoder::new();
    pieces(data).into_iter().for_each(|piece| encoder.encode(piece, &mut stuffed));
    encoder.finish(&mut stuffed);
    let plain = data.get(1..).unwrap_or_default();
    let mut expected = plain.to_vec();
    if !plain.is_empty() && !plain.ends_with(b"\r\n") {
        expected.extend_from_slice(b"\r\n");
    }
    let end = stuffed.len();
    stuffed.extend_from_slice(b"+OK\r\n.\r\n");
    assert_eq!(undone(&[&stuffed]), (expected.clone(), Some(end)), "whole");
    assert_eq!(undone(&stuffed.chunks(1).collect::<Vec<_>>()), (expected, Some(end)), "octet by octet");
    assert_eq!(undone(&[plain]), undone(&pieces(data)), "garbage");

    let lines = u32::from(data.first().copied().unwrap_or_default() % 5);
    let mut whole = TopCut::new(lines);
    let wanted = whole.wanted(plain);
    let mut cut = TopCut::new(lines);
    let in_pieces: usize = pieces(data).into_iter().map(|piece| cut.wanted(piece)).sum();
    assert_eq!((wanted, whole.is_complete()), (in_pieces, cut.is_complete()));
}

/// The content, and behind how many octets it ended.
fn undone(pieces: &[&[u8]]) -> (Vec<u8>, Option<usize>) {
    let mut decoder = DotDecoder::new();
    let (mut content, mut before) = (Vec::new(), 0);
    for piece in pieces {
        let mut rest = *piece;
        loop {
            let (used, decoded) = decoder.next(rest);
            rest = &rest[used..];
            before += used;
            match decoded {
                Decoded::Content(found) => {
                    assert!(!found.is_empty() && (used > 0 || found == b"\r"));
                    content.extend_from_slice(found);
                }
                Decoded::End => return (content, Some(before)),
                Decoded::NeedMore => break,
            }
        }
        assert!(rest.is_empty(), "all of it is used");
    }
    (content, None)
}

/// Credentials read are the credentials written.
pub(super) fn sasl_plain(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(read) = PlainCredentials::decode(text) {
        let again = PlainCredentials::decode(&read.encode());
        let again = again.unwrap_or_else(|error| panic!("written and not read: {error}"));
        assert_eq!(again.user, read.user);
        assert_eq!(again.password.expose_secret(), read.password.expose_secret());
    }
    let mut parts = text.splitn(2, ' ');
    let (user, password) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if !user.is_empty() && !password.is_empty() && !text.contains('\0') {
        let written = PlainCredentials { user: user.into(), password: SecretString::from(password) }.encode();
        assert_eq!(PlainCredentials::decode(&written).map(|read| read.user), Ok(user.to_owned()));
    }
}

const SAID: [&str; 20] = [
    "+OK ready\r\n",
    "-ERR no\r\n",
    "-ERR [IN-USE] held\r\n",
    "+OK\r\nUSER\r\nUIDL\r\nSASL PLAIN\r\nPIPELINING\r\n.\r\n",
    "+OK\r\nUIDL\r\nUSER\r\n.\r\n",
    "+ \r\n",
    "+OK\r\n1 a\r\n2 b\r\n.\r\n",
    "+OK\r\n1 100\r\n2 200\r\n.\r\n",
    "+OK\r\n.\r\n",
    "+OK\r\nSubject: x\r\n\r\n..x\r\n.\r\n",
    "+OK\r\n.",
    "\r\n",
    ".\r\n",
    "1 1\r\n",
    "1 99999999999999999999\r\n",
    "4294967296 x\r\n",
    "+OK [SYS/TEMP",
    "\n",
    "garbage",
    "\0\r\n",
];

/// Whatever a server says, in whatever pieces: everything is used or an event or an error says why not; lists and output
/// are bounded; nothing that could carry the password is sent before TLS.
pub(super) fn client(data: &[u8]) {
    let mut octets = Octets::new(data);
    let flags = octets.next().unwrap_or_default();
    let implicit = flags & 1 == 1;
    let credentials = PlainCredentials { user: "mbx-000000000000000a".into(), password: PASSWORD.into() };
    let tls = if implicit { TlsStart::Implicit } else { TlsStart::Stls };
    let (credentials, window, same_uidls) =
        (credentials.into(), usize::from(flags >> 1 & 7), flags & 16 == 16);
    let options =
        Options { tls, credentials, mechanism: None, window, messages_max: MESSAGES_MAX, same_uidls };
    let Ok(mut client) = Client::new(options) else { panic!("the credentials are fine") };
    let mut secure = implicit;
    while let Some(what) = octets.next() {
        let number = MessageNumber::from_index(octets.below(MESSAGES_MAX));
        let heard = match what % 32 {
            line @ 0..20 => hear(&mut client, SAID[usize::from(line)].as_bytes()),
            20..24 => hear(&mut client, octets.piece()),
            24 => hear(&mut client, &[b'x'; 2000]),
            25 | 26 => {
                client.tls_established();
                secure = true;
                true
            }
            27 => {
                client.list();
                true
            }
            28 => {
                number.into_iter().for_each(|number| client.retrieve(number));
                true
            }
            29 => {
                number.into_iter().for_each(|number| client.delete(number));
                true
            }
            30 => client.cancel_retrieves() < data.len(),
            _ => {
                client.quit();
                true
            }
        };
        let output = client.take_output();
        assert!(output.is_empty() || output.ends_with(b"\r\n"));
        assert!(output.len() <= 40 * data.len() + 500);
        assert!(
            secure || ["STLS\r\n", ""].contains(&String::from_utf8_lossy(&output).as_ref()),
            "said in clear"
        );
        assert!(!format!("{client:?}").contains(PASSWORD));
        if !heard {
            return;
        }
    }
}

/// `false` when the session is over.
fn hear(client: &mut Client, mut input: &[u8]) -> bool {
    loop {
        match client.receive(input) {
            Err(error) => {
                assert!(!error.to_string().contains(PASSWORD));
                return false;
            }
            Ok((used, None)) => {
                assert_eq!(used, input.len(), "everything is used");
                return true;
            }
            Ok((used, Some(event))) => {
                match event {
                    Event::Listed(listed, _) => assert!(listed.len() <= MESSAGES_MAX),
                    Event::Content(piece) => assert!(!piece.is_empty() && piece.len() <= used.max(1)),
                    // What came in clear behind it is dropped.
                    Event::StartTls => return true,
                    _ => {}
                }
                input = &input[used..];
            }
        }
    }
}

pub(super) fn command_seeds() -> Vec<Vec<u8>> {
    [
        "USER mbx-dead1234beef5678@gateway.example.com",
        "PASS two words and ä",
        "AUTH PLAIN AG1ieC0wMDAwMDAwMDAwMDAwMDBhAG9wZW4gc2VzYW1l",
        "AUTH PLAIN =",
        "RETR 4294967295",
        "TOP 1 0",
        "list 17  ",
        "UIDL",
        "QUIT",
    ]
    .map(|line| line.as_bytes().to_vec())
    .to_vec()
}

pub(super) fn reply_seeds() -> Vec<Vec<u8>> {
    let long = format!("-ERR [SYS/PERM] {}", "x ".repeat(300));
    [
        "+OK",
        "+OK 2 320",
        "-ERR [IN-USE] held",
        "-err [sys/temp/disk] later",
        "-ERR [WHAT] [AUTH",
        "1",
        "UIDL",
        "SASL X PLAIN",
        &long,
    ]
    .map(|line| line.as_bytes().to_vec())
    .to_vec()
}

pub(super) fn sasl_seeds() -> Vec<Vec<u8>> {
    ["AG1ieC0wMDAwMDAwMDAwMDAwMDBhAG9wZW4gc2VzYW1l", "YQBhAGI=", "AAA=", "=", "anna geheim", "a b c"]
        .map(|text| text.as_bytes().to_vec())
        .to_vec()
}

/// Numbers of [`SAID`], and requests; each is followed by an octet for a message's number.
pub(super) fn client_seeds() -> Vec<Vec<u8>> {
    vec![
        vec![
            9, 0, 0, 3, 0, 5, 0, 0, 0, 3, 0, 27, 0, 6, 0, 7, 0, 28, 0, 28, 1, 9, 0, 9, 0, 29, 0, 0, 0, 31, 0,
            0, 0,
        ],
        vec![8, 0, 0, 0, 0, 25, 0, 4, 0, 0, 0, 0, 0, 4, 0, 27, 0, 6, 0, 7, 0, 28, 0, 10, 0, 12, 0],
        vec![1, 0, 0, 4, 0, 0, 0, 1, 0],
        vec![7, 0, 0, 3, 0, 5, 0, 0, 0, 3, 0, 27, 0, 6, 0, 14, 0, 24, 0],
    ]
}
