//! What IMAP servers say.

use postern_archiver::sources::imap::Login;
use postern_archiver::sources::imap::session::{Event, Options, Session};
use postern_shared::proto::imap::{
    Command, LINE_OCTETS_MAX, ReadError, Reader, Received, Response, UidSet, utf7,
};
use postern_shared::proto::pop3::client::TlsStart;
use postern_shared::proto::sasl::PlainCredentials;

use super::octets::{Octets, pieces};

const PASSWORD: &str = "kept-secret";

pub(super) fn response_seeds() -> Vec<Vec<u8>> {
    [
        "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\na1 NO [AUTHENTICATIONFAILED] x\r\n+ eHh4\r\n",
        "* 12 FETCH (UID 5 FLAGS (\\Seen) INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" BODY[] {5}\r\nabcde)\r\n",
        "* LIST (\\Sent) \"/\" {6}\r\na\"\r\nb}\r\n* STATUS \"Entw&APw-rfe\" (MESSAGES 2 HIGHESTMODSEQ 5)\r\n",
        "* VANISHED (EARLIER) 1:5,7\r\n* 3 EXPUNGE\r\n* NAMESPACE ((\"\" \"/\")) NIL ((\"x\" NIL \"Y\" (\"z\")))\r\n",
        "* 1 FETCH (ENVELOPE (NIL (\"a\" {1}\r\nx)) BODY[] \"q\\\"\" MODSEQ (5))\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

type Found = Result<Vec<(Option<Response>, Vec<u8>)>, ReadError>;

fn read(input: &[&[u8]]) -> Found {
    let mut reader = Reader::default();
    let (mut found, mut content) = (Vec::new(), Vec::new());
    for piece in input {
        let mut rest = *piece;
        loop {
            let (used, received) = reader.next(rest)?;
            rest = &rest[used..];
            match received {
                None => break,
                Some(Received::ContentBegins(_)) => {}
                Some(Received::Content(octets)) => content.extend_from_slice(octets),
                Some(Received::Line) => {
                    assert!(reader.line().len() <= LINE_OCTETS_MAX);
                    let response = Response::parse(reader.line());
                    if let Err(error) = &response {
                        assert!(!error.to_string().chars().any(char::is_control));
                    }
                    found.push((response.ok(), std::mem::take(&mut content)));
                }
            }
        }
        assert!(rest.is_empty(), "all of it is used");
    }
    Ok(found)
}

/// The same responses and contents, or the same error, at any piece border; names and sets are what is read of them again.
pub(super) fn response(data: &[u8]) {
    let rest = data.get(1..).unwrap_or_default();
    assert_eq!(read(&[rest]), read(&pieces(data)), "at any border");
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(name) = utf7::decode(text) {
        assert_eq!(utf7::decode(&utf7::encode(&name)), Some(name));
    }
    if let Some(set) = UidSet::parse(text) {
        assert_eq!(UidSet::parse(&set.to_string()), Some(set));
    }
}

const SAID: [&str; 22] = [
    "* OK hi\r\n",
    "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR COMPRESS=DEFLATE] hi\r\n",
    "* PREAUTH hi\r\n",
    "* BYE\r\n",
    "* CAPABILITY IMAP4rev1 AUTH=SCRAM-SHA-256 ENABLE QRESYNC ID NAMESPACE\r\n",
    "p1 OK\r\n",
    "p2 OK [CAPABILITY IMAP4rev1 LITERAL-]\r\n",
    "p3 OK\r\n",
    "p4 OK\r\n",
    "p5 OK\r\n",
    "p6 OK\r\n",
    "p3 NO [UNAVAILABLE]\r\n",
    "p4 BAD\r\n",
    "+ \r\n",
    "+ cj1hLHM9WA==\r\n",
    "* 1 FETCH (UID 1 BODY[] {3}\r\nabc)\r\n",
    "* 1 FETCH (UID 1 BODY[] {3}\r\n",
    "* LIST () \"/\" {3}\r\na b\r\n",
    "* ENABLED UTF8=ACCEPT\r\n",
    "* 4 EXISTS\r\n",
    "* 9 FETCH (",
    "\r\n",
];

pub(super) fn session_seeds() -> Vec<Vec<u8>> {
    // To the first command, in clear and under TLS from the start.
    vec![vec![0, 0, 5, 25, 4, 6, 7, 8, 9, 10, 26, 27, 15, 28], vec![1, 1, 5, 4, 6, 7, 8, 9, 26, 28, 13, 29]]
}

/// Whatever a server says, in whatever pieces: everything is used or an event or an error says why not; output is bounded;
/// nothing that could carry the password is sent before TLS.
pub(super) fn session(data: &[u8]) {
    let mut octets = Octets::new(data);
    let flags = octets.next().unwrap_or_default();
    let implicit = flags & 1 == 1;
    let credentials = PlainCredentials { user: "anna".into(), password: PASSWORD.to_owned().into() };
    let login = Login { credentials: credentials.into(), act_as: None, mechanism: None };
    let tls = if implicit { TlsStart::Implicit } else { TlsStart::Stls };
    let (verified, compress) = (flags & 2 == 0, flags & 4 == 4);
    let options = Options { tls, login, verified, window: usize::from(flags >> 3 & 3), compress };
    let Ok(mut session) = Session::new(options) else { panic!("the credentials are fine") };
    let mut secure = implicit;
    while let Some(what) = octets.next() {
        let heard = match what % 32 {
            line @ 0..22 => hear(&mut session, SAID[usize::from(line)].as_bytes()),
            22..25 => hear(&mut session, octets.piece()),
            25 => {
                session.tls_established();
                secure = true;
                true
            }
            26 => {
                session.command(Command::new("NOOP"), "NOOP");
                true
            }
            27 => {
                session.command(Command::new("EXAMINE ").string(octets.piece()), "EXAMINE");
                true
            }
            28 => {
                session.idle();
                true
            }
            29 => {
                session.end_idle();
                true
            }
            30 => {
                session.cancel_pending();
                true
            }
            _ => {
                session.logout();
                true
            }
        };
        let output = session.take_output();
        assert!(output.len() <= 40 * data.len() + 500);
        assert!(
            secure || ["p1 STARTTLS\r\n", ""].contains(&String::from_utf8_lossy(&output).as_ref()),
            "said in clear"
        );
        assert!(!format!("{session:?}").contains(PASSWORD));
        if !heard {
            return;
        }
    }
}

/// `false` when the session is over.
fn hear(session: &mut Session, mut input: &[u8]) -> bool {
    loop {
        match session.receive(input) {
            Err(error) => {
                assert!(!error.to_string().contains(PASSWORD));
                return false;
            }
            Ok((used, None)) => {
                assert_eq!(used, input.len(), "everything is used");
                return true;
            }
            // What came in clear behind it is dropped; what comes compressed is not decompressed here.
            Ok((_, Some(Event::StartTls | Event::Deflate))) => return true,
            Ok((used, Some(event))) => {
                if let Event::Content(piece) = event {
                    assert!(!piece.is_empty() && piece.len() <= used);
                }
                input = &input[used..];
            }
        }
    }
}
