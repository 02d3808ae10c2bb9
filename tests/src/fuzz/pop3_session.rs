//! POP3 sessions on the server's side, from every state.

use postern_gateway::pop3_server::maildrop::{DeleteError, Entry, Locks, LoginError, Maildrop};
use postern_gateway::pop3_server::session::{Action, Event, LoginRefusal, Session};
use postern_shared::id::{MailboxId, MessageId};
use postern_shared::proto::pop3::Reply;

use super::octets::Octets;

const MESSAGES: u8 = 3;

const LINES: [&str; 22] = [
    "CAPA",
    "USER x",
    "PASS y",
    "AUTH",
    "AUTH PLAIN",
    "AHgAeQ==",
    "AUTH PLAIN AHgAeQ==",
    "*",
    "STLS",
    "UTF8",
    "STAT",
    "LIST",
    "UIDL",
    "LIST 1",
    "RETR 1",
    "TOP 2 1",
    "DELE 1",
    "DELE 3",
    "RSET",
    "NOOP",
    "QUIT",
    "XYZZY",
];

/// What only a session beside the proxy takes.
const PROXY_LINES: [&str; 4] = ["USER x%h%mbx-000000000000000a", "AUTH LOGIN", "AUTH XOAUTH2", "eCV5"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Tls,
    Login,
    Elsewhere,
    Delete,
}

/// A session with a driver that checks what it is told to do.
struct Driver {
    session: Session,
    locks: Locks,
    /// Whether events come only when they were asked for.
    orderly: bool,
    secure: bool,
    asked: Option<Asked>,
    marked: bool,
    closed: bool,
}

/// Whatever is said and happens, in any order: no panic; every line is answered while the session lasts, in bounded output;
/// nobody is authenticated in clear; nothing is deleted but what was marked and at QUIT; nothing is done for a client that is
/// gone; the maildrop is free when the session is.
pub(super) fn run(data: &[u8]) {
    let mut octets = Octets::new(data);
    let flags = octets.next().unwrap_or_default();
    let secure = flags & 1 == 1;
    let mut driver = Driver {
        session: Session::new(secure).beside_proxy((flags & 4 == 4).then_some('%')),
        locks: Locks::default(),
        orderly: flags & 2 == 0,
        secure,
        asked: None,
        marked: false,
        closed: false,
    };
    let mut actions = Vec::new();
    driver.session.greet(&mut actions);
    driver.perform(actions);
    while let Some(what) = octets.next() {
        match what % 40 {
            line @ 0..22 => driver.line(LINES[usize::from(line)].as_bytes()),
            22..26 => driver.line(octets.piece()),
            26 => driver.read(Event::LineTooLong),
            line @ 32..36 => driver.line(PROXY_LINES[usize::from(line) - 32].as_bytes()),
            other => driver.happens(other, octets.below(6)),
        }
    }
    let Driver { session, locks, .. } = driver;
    drop(session);
    assert!(locks.take(mailbox()).is_some(), "the lock ends with the session");
}

impl Driver {
    fn line(&mut self, line: &[u8]) {
        self.read(Event::Line(line));
    }

    /// A driver reads nothing before what was asked for has happened, nor behind the end.
    fn read(&mut self, event: Event<'_>) {
        if !self.orderly || (self.asked.is_none() && !self.closed) {
            self.handle(event);
        }
    }

    fn happens(&mut self, what: u8, how: usize) {
        let orderly = self.orderly;
        let may = |asked| !orderly || self.asked == Some(asked);
        match what {
            27 if may(Asked::Tls) => {
                self.secure = true;
                self.asked = None;
                self.handle(Event::TlsEstablished);
            }
            28..=30 if may(Asked::Login) => {
                self.asked = None;
                let outcome = self.login(how);
                self.handle(Event::Login(outcome));
            }
            36..=39 if may(Asked::Elsewhere) => {
                self.asked = None;
                let refused = Reply::err("Not there");
                self.handle(Event::Elsewhere(if how < 3 { Ok(()) } else { Err(refused) }));
            }
            31 if may(Asked::Delete) => {
                self.asked = None;
                let failed = DeleteError { mailbox: mailbox(), what: "disk full".into() };
                self.handle(Event::Deleted(if how < 3 { Ok(()) } else { Err(failed) }));
            }
            _ => {}
        }
    }

    fn login(&self, how: usize) -> Result<Maildrop, LoginRefusal> {
        let entries = (1..=MESSAGES).map(entry).collect();
        match how {
            0 => Err(LoginRefusal::Denied(LoginError::WrongPassword)),
            1 => Err(LoginRefusal::Denied(LoginError::Temporary)),
            _ => match self.locks.take(mailbox()) {
                Some(lock) => Ok(Maildrop::new(lock, entries)),
                None => Err(LoginRefusal::InUse),
            },
        }
    }

    fn handle(&mut self, event: Event<'_>) {
        let is_line = matches!(event, Event::Line(_));
        let spoke =
            matches!(event, Event::Line(line) if line.len() >= 4 && line[..4].eq_ignore_ascii_case(b"DELE"));
        self.marked |= spoke;
        let mut actions = Vec::new();
        self.session.handle(event, &mut actions);
        assert!(!is_line || !self.orderly || !actions.is_empty(), "a line without an answer");
        self.perform(actions);
    }

    fn perform(&mut self, actions: Vec<Action>) {
        assert!(actions.len() <= 4, "{actions:?}");
        for action in actions {
            assert!(!self.closed || !self.orderly, "{action:?} for a client that is gone");
            match action {
                Action::Send(octets) => assert!(octets.ends_with(b"\r\n") && octets.len() < 1024),
                Action::SendList(mut list) => {
                    let mut out = Vec::new();
                    // One line at a time.
                    for _ in 0..=MESSAGES {
                        if self.session.write_list(&mut list, out.len() + 1, &mut out) {
                            break;
                        }
                    }
                    assert!(out.ends_with(b".\r\n") && out.len() < 200, "a list that ends");
                }
                Action::SendMessage { entry, .. } => {
                    assert!((1..=MESSAGES).contains(&entry.id.to_bytes()[15]));
                }
                Action::StartTls => {
                    assert!(!self.secure || !self.orderly);
                    self.asked = Some(Asked::Tls);
                }
                Action::Authenticate(_) => {
                    assert!(self.secure || !self.orderly, "in clear");
                    self.asked = Some(Asked::Login);
                }
                Action::Delete(_, messages) => {
                    assert!(self.marked && !messages.is_empty() && messages.len() <= usize::from(MESSAGES));
                    self.asked = Some(Asked::Delete);
                }
                Action::LogInElsewhere(credentials) => {
                    assert!(self.secure || !self.orderly, "in clear");
                    assert!(credentials.user().contains('%'), "a mailbox of the gateway");
                    self.asked = Some(Asked::Elsewhere);
                }
                Action::Pause => {}
                Action::HandOver | Action::Close => self.closed = true,
            }
        }
    }
}

fn mailbox() -> MailboxId {
    MailboxId::from_bytes([0xa; 8])
}

fn entry(number: u8) -> Entry {
    let mut id = [0; 16];
    id[15] = number;
    Entry { id: MessageId::from_bytes(id), served_bytes: u64::from(number) * 100 }
}

/// Dialogues as octets: numbers of [`LINES`], and of events.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    vec![
        vec![1, 0, 1, 2, 28, 3, 10, 11, 12, 13, 14, 15, 16, 17, 11, 18, 16, 20, 31, 0],
        vec![0, 9, 8, 27, 0, 4, 5, 28, 4, 16, 20, 31, 5],
        vec![1, 1, 2, 28, 0, 6, 29, 1, 4, 7, 1, 2, 30, 0],
        vec![0, 1, 2, 6, 21, 21, 21, 21, 21, 21, 21, 21, 21, 21],
        vec![5, 32, 2, 38, 33, 35, 35, 37, 0, 34, 5, 36],
        vec![3, 28, 3, 31, 0, 27, 0, 11, 26, 20, 31, 0],
    ]
}
