//! Runs the dialogues in `tests/dialogues/smtp` against the pure session.
//!
//! A dialogue is a text file; `#` begins a comment, and a session in clear begins with the greeting. Each is run twice:
//! with the input as it stands, and octet by octet.
//!
//! ```text
//! proxy %                the session stands beside a proxy with that divider; it knows whoever has the password "right"
//! tls                    the session is under TLS from the start
//! limit 1000             the longest message, in octets
//! client 192.0.2.1       the client's address; without this line it is not known
//! refuse begin | content | commit      the intake's disk is full at that step
//! C: text                a line the client sends, CRLF behind it; lines after each other arrive together
//! c: text                the same without the CRLF
//! S: text                a reply line must be exactly this; a trailing … stands for anything
//! handshake              the TLS handshake is done; what was sent in clear behind STARTTLS never reaches the session
//! handed over            the connection is the proxy's
//! closed                 the session has closed the connection
//! stored: text           exactly these octets are stored, envelope first: <from> -> to, to | content
//! nothing stored         no message is
//! ```
//!
//! In `C:` and `stored:` the escapes `\r \n \0 \\ \xHH` stand for octets, and `\*N text` for N times the text to the line's end.
//! The domain is gateway.example.com. `mbx-000000000000000a` is active, `mbx-000000000000000b` suspended; by their policies
//!
//! ```text
//! …c     takes mail from 192.0.2.0/24 and 2001:db8::/32 only
//! …d     under TLS only
//! …e     up to 100 octets
//! …f     while less than 200 octets wait in it; 150 do
//! …1f    while less than 3 messages wait in it; 3 do
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern_shared::disk::{Disk, RealDisk};
use postern_shared::id::{MailboxId, MessageId};
use postern_shared::proto::mime::trace::Normalised;
use postern_shared::proto::sasl::Credentials;
use postern_shared::proto::smtp::reply::Reply;
use secrecy::ExposeSecret;

use super::policy::{MailboxStatus, Mailboxes};
use super::session::{Action, Event, Session, SessionLimits, SessionSettings};
use crate::intake::{Envelope, IntakeError};
use crate::mailbox::Policy;
use crate::spool::Usage;

#[derive(Debug)]
pub(super) struct FewMailboxes;

impl Mailboxes for FewMailboxes {
    fn status(&self, id: MailboxId) -> Option<MailboxStatus> {
        match id.to_string().as_str() {
            "mbx-000000000000000a" => Some(MailboxStatus::Active),
            "mbx-000000000000000b" => Some(MailboxStatus::Suspended),
            "mbx-000000000000000c" | "mbx-000000000000000d" | "mbx-000000000000000e" => {
                Some(MailboxStatus::Active)
            }
            "mbx-000000000000000f" | "mbx-000000000000001f" => Some(MailboxStatus::Active),
            _ => None,
        }
    }

    fn policy(&self, id: MailboxId) -> Arc<Policy> {
        let networks = || ["192.0.2.0/24", "2001:db8::/32"].map(|text| text.parse().unwrap()).to_vec();
        Arc::new(match id.to_string().as_str() {
            "mbx-000000000000000c" => Policy { networks: networks(), ..Policy::default() },
            "mbx-000000000000000d" => Policy { require_tls: true, ..Policy::default() },
            "mbx-000000000000000e" => Policy { message_bytes_max: Some(100), ..Policy::default() },
            "mbx-000000000000000f" => Policy { quota_bytes: Some(200), ..Policy::default() },
            "mbx-000000000000001f" => Policy { quota_messages: Some(3), ..Policy::default() },
            _ => Policy::default(),
        })
    }

    fn usage(&self, _id: MailboxId) -> Usage {
        Usage { messages: 3, served_bytes: 150, ..Usage::default() }
    }
}

pub(super) fn settings(message_bytes_max: u64) -> Arc<SessionSettings> {
    Arc::new(SessionSettings {
        host_name: "gateway.example.com".into(),
        domain: "gateway.example.com".into(),
        mailboxes: Arc::new(FewMailboxes),
        message_bytes_max,
        limits: SessionLimits::default(),
        product: "Postern",
    })
}

/// What a driver would be, with an intake in memory.
pub(super) struct Stage {
    pub(super) session: Session,
    pub(super) replies: Vec<u8>,
    pub(super) stored: Vec<(Envelope, Vec<u8>)>,
    /// What had to be made whole, for each message stored.
    pub(super) normalised: Vec<Normalised>,
    pub(super) closed: bool,
    pub(super) handshake_pending: bool,
    pub(super) handed_over: bool,
    incoming: Option<(Envelope, Vec<u8>)>,
    failure: Option<IntakeError>,
    refuse: Option<String>,
}

impl Stage {
    pub(super) fn new(session: Session) -> Self {
        let replies = session.greeting().to_bytes();
        Self {
            session,
            replies,
            stored: Vec::new(),
            normalised: Vec::new(),
            closed: false,
            handshake_pending: false,
            handed_over: false,
            incoming: None,
            failure: None,
            refuse: None,
        }
    }

    /// Feeds octets as one read; what the session does not take yet is returned.
    pub(super) fn feed(&mut self, mut input: &[u8]) -> Vec<u8> {
        loop {
            let mut actions = Vec::new();
            let taken = self.session.receive(input, &mut actions);
            input = &input[taken..];
            let idle = taken == 0 && actions.is_empty();
            self.perform(actions);
            if idle || self.closed || self.handshake_pending {
                return input.to_vec();
            }
        }
    }

    pub(super) fn event(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.session.handle(event, &mut actions);
        self.perform(actions);
    }

    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Reply(reply) => self.replies.extend(reply.to_bytes()),
                Action::StartTls => self.handshake_pending = true,
                Action::Begin(_) if self.refuses("begin") => self.fail(),
                Action::Begin(envelope) => self.incoming = Some((envelope, Vec::new())),
                Action::Content(_) if self.refuses("content") => self.fail(),
                Action::Content(content) => {
                    if let Some((_, so_far)) = &mut self.incoming {
                        so_far.extend(content);
                    }
                }
                Action::Commit(normalised) => {
                    let result = match (self.incoming.take(), self.refuses("commit")) {
                        (Some(message), false) => {
                            self.stored.push(message);
                            self.normalised.push(normalised);
                            Ok(vec![MessageId::from_bytes([0; 16])])
                        }
                        _ => Err(self.failure.take().unwrap_or_else(full)),
                    };
                    self.event(Event::Stored(result));
                }
                Action::Abort => self.incoming = None,
                Action::LogIn(Credentials::Password(credentials))
                    if credentials.password.expose_secret() == "right" =>
                {
                    self.event(Event::LoggedIn(Ok(())));
                }
                Action::LogIn(_) => {
                    let refusal = Reply::new(535, "5.7.8", "Wrong user name or password");
                    self.event(Event::LoggedIn(Err(refusal)));
                }
                Action::Pause => {}
                Action::HandOver => (self.closed, self.handed_over) = (true, true),
                Action::Close => self.closed = true,
            }
        }
    }

    fn refuses(&self, step: &str) -> bool {
        self.refuse.as_deref() == Some(step)
    }

    fn fail(&mut self) {
        self.incoming = None;
        self.failure = Some(full());
        self.event(Event::Failed(full()));
    }
}

fn full() -> IntakeError {
    IntakeError::Full { free_bytes: 0, needed_bytes: 1 }
}

pub(crate) fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let (&kind, tail) = rest.split_first().expect("an escape");
        rest = tail;
        match kind {
            b'r' => out.push(b'\r'),
            b'n' => out.push(b'\n'),
            b'0' => out.push(0),
            b'x' => {
                out.push(u8::from_str_radix(std::str::from_utf8(&rest[..2]).unwrap(), 16).unwrap());
                rest = &rest[2..];
            }
            b'*' => {
                let text = std::str::from_utf8(rest).unwrap();
                let (times, what) = text.split_once(' ').unwrap();
                out.extend(what.repeat(times.parse().unwrap()).into_bytes());
                rest = b"";
            }
            other => out.push(other),
        }
    }
    out
}

fn shown((envelope, content): &(Envelope, Vec<u8>)) -> Vec<u8> {
    let to: Vec<&str> = envelope.recipients.iter().map(|recipient| recipient.address.as_str()).collect();
    [format!("<{}> -> {} | ", envelope.mail_from, to.join(", ")).as_bytes(), content].concat()
}

fn run(path: &Path, text: &str, octet_by_octet: bool) {
    let place =
        |number: usize| format!("{}:{} (octet by octet: {octet_by_octet})", path.display(), number + 1);
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    let limit = value("limit ").map_or(1_000_000, |limit| limit.parse().unwrap());
    let mut session = Session::new(settings(limit), text.lines().any(|line| line == "tls"));
    if let Some(client) = value("client ") {
        session = session.from_client(client.parse().unwrap());
    }
    session = session.beside_proxy(value("proxy ").and_then(|divider| divider.chars().next()));
    let mut stage = Stage::new(session);
    stage.refuse = value("refuse ").map(str::to_owned);
    let (mut unread, mut pending, mut stored) = (Vec::new(), Vec::new(), 0);
    for (number, line) in text.lines().enumerate() {
        let flush = |stage: &mut Stage, pending: &mut Vec<u8>, unread: &mut Vec<u8>| {
            let input = std::mem::take(pending);
            let step = if octet_by_octet { 1 } else { input.len().max(1) };
            for piece in input.chunks(step) {
                unread.extend_from_slice(piece);
                *unread = stage.feed(unread);
            }
        };
        match line.split_once(": ").unwrap_or((line.trim_end_matches(':'), "")) {
            ("C", sent) => pending.extend([&unescape(sent)[..], b"\r\n"].concat()),
            ("c", sent) => pending.extend(unescape(sent)),
            ("S", expected) => {
                flush(&mut stage, &mut pending, &mut unread);
                let end = stage.replies.windows(2).position(|end| end == b"\r\n");
                let end = end.unwrap_or_else(|| panic!("{}: no reply", place(number)));
                let reply = String::from_utf8(stage.replies.drain(..end + 2).collect()).unwrap();
                let reply = reply.trim_end();
                match expected.strip_suffix('…') {
                    Some(start) => assert!(reply.starts_with(start), "{}: {reply}", place(number)),
                    None => assert_eq!(reply, expected, "{}", place(number)),
                }
            }
            ("handshake", _) => {
                flush(&mut stage, &mut pending, &mut unread);
                assert!(std::mem::take(&mut stage.handshake_pending), "{}: no STARTTLS", place(number));
                unread.clear();
                stage.event(Event::TlsStarted);
            }
            ("handed over", _) => assert!(stage.handed_over, "{}", place(number)),
            ("closed", _) => assert!(stage.closed, "{}", place(number)),
            ("stored", expected) => {
                flush(&mut stage, &mut pending, &mut unread);
                let message =
                    stage.stored.get(stored).unwrap_or_else(|| panic!("{}: not stored", place(number)));
                let (found, expected) = (shown(message), unescape(expected));
                let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                assert!(found == expected, "{}: {}", place(number), lossy(&found[..found.len().min(400)]));
                stored += 1;
            }
            ("nothing stored", _) => assert!(stage.stored.is_empty(), "{}", place(number)),
            _ => assert!(is_setting(line), "{}: {line:?} is not understood", place(number)),
        }
    }
    assert_eq!(stage.stored.len(), stored, "{}: messages stored that are not spoken of", path.display());
    assert_eq!(
        String::from_utf8_lossy(&stage.replies),
        "",
        "{}: replies that are not spoken of",
        path.display()
    );
}

fn is_setting(line: &str) -> bool {
    line.is_empty()
        || line == "tls"
        || ["#", "limit ", "client ", "refuse ", "proxy "].iter().any(|start| line.starts_with(start))
}

#[test]
fn every_dialogue_goes_as_written() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/dialogues/smtp");
    let files = RealDisk.files(&dir).unwrap();
    assert!(files.len() >= 10);
    for path in files {
        let text = String::from_utf8(RealDisk.read(&path, 1 << 20).unwrap()).unwrap();
        run(&path, &text, false);
        run(&path, &text, true);
    }
}
