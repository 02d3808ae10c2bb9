//! SMTP sessions, from every state.
//!
//! The first octet chooses TLS and whether events come as a driver sends them; then each octet is a thing that happens: a
//! line or octets from the peer, cut anywhere, or an event.

use std::sync::Arc;

use postern_gateway::intake::IntakeError;
use postern_gateway::smtp_receiver::{
    Action, Event, MailboxStatus, Mailboxes, Session, SessionLimits, SessionSettings,
};
use postern_shared::id::{MailboxId, MessageId};
use postern_shared::proto::smtp::reply::Reply;

use super::octets::Octets;
use super::smtp::has_whole_line_ends;

/// The longest message here; small, so that the limit is met.
const MESSAGE_BYTES_MAX: u64 = 300;
/// The longest line a session may leave unread.
const LINE_BYTES_MAX: usize = 12 * 1024;

const LINES: [&str; 24] = [
    "EHLO x\r\n",
    "HELO y\r\n",
    "MAIL FROM:<a@b.example>\r\n",
    "MAIL FROM:<> SIZE=100 SMTPUTF8\r\n",
    "RCPT TO:<mbx-000000000000000a@gateway.example.com>\r\n",
    "RCPT TO:<mbx-000000000000000b+x=y.example@gateway.example.com>\r\n",
    "RCPT TO:<x@y.example>\r\n",
    "DATA\r\n",
    ".\r\n",
    "\r\n.\r\n",
    "text\r\n..dots\n\r",
    "BDAT 5\r\nabcde",
    "BDAT 3\r\n",
    "BDAT 0 LAST\r\n",
    "BDAT 2 LAST\r\n\r\n",
    "RSET\r\n",
    "NOOP\r\n",
    "STARTTLS\r\n",
    "QUIT\r\n",
    "HELP\r\n",
    // A route and "secret"; only a user name; a cancelled exchange; no login of ours.
    "AUTH PLAIN AGElaCVtYngtMDAwMDAwMDAwMDAwMDAwYQBzZWNyZXQ=\r\n",
    "AUTH LOGIN YSVoJW1ieC0wMDAwMDAwMDAwMDAwMDBh\r\n",
    "*\r\n",
    "AUTH CRAM-MD5\r\n",
];

#[derive(Debug)]
struct Two;

impl Mailboxes for Two {
    fn status(&self, id: MailboxId) -> Option<MailboxStatus> {
        match id.to_bytes()[7] {
            0xa => Some(MailboxStatus::Active),
            0xb => Some(MailboxStatus::Suspended),
            _ => None,
        }
    }
}

/// A session with a driver that checks what it is told to do.
struct Driver {
    session: Session,
    unread: Vec<u8>,
    /// Whether events come only when they were asked for.
    orderly: bool,
    /// The message the intake holds.
    open: Option<Vec<u8>>,
    /// It failed, and the session may not know yet.
    failed: bool,
    asked: Option<Asked>,
    closed: bool,
    stored: usize,
    promised: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Tls,
    Stored,
    Login,
}

/// Whatever is said and happens, in any order and cut anywhere: no panic; the session takes input or says what it waits for,
/// and leaves no more than a line unread; content has whole line ends and is bounded; `250` follows a commit that
/// succeeded, one each; nothing is done for a peer that is gone.
pub(super) fn run(data: &[u8]) {
    let mut octets = Octets::new(data);
    let flags = octets.next().unwrap_or_default();
    let settings = Arc::new(SessionSettings {
        host_name: "gateway.example.com".into(),
        domain: "gateway.example.com".into(),
        mailboxes: Arc::new(Two),
        message_bytes_max: MESSAGE_BYTES_MAX,
        limits: SessionLimits::default(),
        product: "Postern",
    });
    let mut driver = Driver {
        session: Session::new(settings, flags & 1 == 1).beside_proxy((flags & 4 == 0).then_some('%')),
        unread: Vec::new(),
        orderly: flags & 2 == 0,
        open: None,
        failed: false,
        asked: None,
        closed: false,
        stored: 0,
        promised: 0,
    };
    while let Some(what) = octets.next() {
        match what % 37 {
            line @ 0..24 => driver.hear(LINES[usize::from(line)].as_bytes()),
            24..30 => driver.hear(octets.piece()),
            30 => driver.hear(&[b'x'; 15_000]),
            // Numbers of events begin at 26.
            other => driver.happens(other - 4, octets.below(4)),
        }
    }
    if driver.orderly {
        assert!(driver.promised <= driver.stored, "{} promised, {} stored", driver.promised, driver.stored);
    }
}

impl Driver {
    fn hear(&mut self, octets: &[u8]) {
        // What the kernel would hold for a driver that does not read; its size is not the session's doing.
        if self.unread.len() < 10_000 {
            self.unread.extend_from_slice(octets);
        }
        loop {
            let mut actions = Vec::new();
            let taken = self.session.receive(&self.unread, &mut actions);
            assert!(taken <= self.unread.len());
            self.unread.drain(..taken);
            let still = taken == 0 && actions.is_empty();
            self.perform(actions, taken);
            if still {
                break;
            }
        }
        let may_wait = self.session.is_waiting() || self.closed;
        assert!(
            may_wait || self.unread.len() < LINE_BYTES_MAX,
            "{} octets are left unread",
            self.unread.len()
        );
        assert!(may_wait || !self.unread.contains(&b'\n'), "a whole line is left unread");
    }

    fn happens(&mut self, what: u8, how: usize) {
        let asked = self.asked;
        let event = match what {
            27 if asked == Some(Asked::Tls) || !self.orderly => {
                // As a driver does: what was read in clear is dropped.
                self.unread.clear();
                Event::TlsStarted
            }
            32 if asked == Some(Asked::Login) || !self.orderly => Event::LoggedIn(match how {
                0 => Ok(()),
                1 => Err(Reply::new(451, "4.3.0", "Not now")),
                _ => Err(Reply::new(535, "5.7.8", "Wrong")),
            }),
            28 | 29 if asked == Some(Asked::Stored) || !self.orderly => {
                let fine = how != 0 && !self.failed;
                self.stored += usize::from(fine);
                Event::Stored(if fine { Ok(vec![MessageId::from_bytes([7; 16])]) } else { Err(fault(how)) })
            }
            30 if self.open.is_some() || !self.orderly => {
                (self.open, self.failed) = (None, true);
                Event::Failed(fault(how))
            }
            31 if (self.asked.is_none() && !self.closed) || !self.orderly => {
                if how < 2 {
                    Event::Idle
                } else {
                    Event::Shutdown
                }
            }
            _ => return,
        };
        if !matches!(event, Event::Failed(_)) {
            self.asked = None;
        }
        let mut actions = Vec::new();
        self.session.handle(event, &mut actions);
        self.perform(actions, 0);
        self.hear(b"");
    }

    fn perform(&mut self, actions: Vec<Action>, taken: usize) {
        let mut content_bytes = 0;
        for action in actions {
            assert!(!self.closed || !self.orderly, "{action:?} for a peer that is gone");
            match action {
                Action::Reply(reply) => {
                    let wire = reply.to_bytes();
                    assert!(wire.ends_with(b"\r\n") && wire.len() < 4096);
                    self.promised += usize::from(String::from_utf8_lossy(&wire).contains("on disk as"));
                }
                Action::Begin(envelope) => {
                    assert!(self.open.is_none() || !self.orderly, "a message within a message");
                    assert!(!envelope.recipients.is_empty());
                    (self.open, self.failed) = (Some(Vec::new()), false);
                }
                Action::Content(content) => {
                    content_bytes += content.len();
                    assert!(self.open.is_some() || self.failed || !self.orderly, "content of no message");
                    self.open.iter_mut().for_each(|open| open.extend_from_slice(&content));
                }
                Action::Commit(_) => {
                    assert!(self.open.is_some() || self.failed || !self.orderly, "a commit of no message");
                    if let Some(content) = self.open.take().filter(|_| self.orderly) {
                        has_whole_line_ends(&content);
                        assert!(content.len() as u64 <= MESSAGE_BYTES_MAX + 2);
                    }
                    self.asked = Some(Asked::Stored);
                }
                Action::Abort => {
                    assert!(self.open.is_some() || self.failed || !self.orderly, "an end of no message");
                    self.open = None;
                }
                Action::StartTls => self.asked = Some(Asked::Tls),
                Action::LogIn(credentials) => {
                    assert!(self.open.is_none() || !self.orderly, "a login within a message");
                    assert!(credentials.user().contains('%'));
                    self.asked = Some(Asked::Login);
                }
                Action::Pause => {}
                Action::HandOver | Action::Close => self.closed = true,
            }
        }
        assert!(content_bytes <= 2 * taken + 4, "{content_bytes} octets made of {taken}");
    }
}

fn fault(how: usize) -> IntakeError {
    match how {
        0 => IntakeError::Full { free_bytes: 0, needed_bytes: 1 },
        1 => IntakeError::MailboxGone { mailbox: MailboxId::from_bytes([0; 8]) },
        _ => IntakeError::Temporary { reason: "x".into() },
    }
}

/// Dialogues as octets: numbers of [`LINES`], and of events.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let smuggled = b"first\n.\r\nMAIL FROM:<evil@example.org>\r\nDATA\r\nevil\r\n.\r\n";
    let mut raw = vec![0, 0, 2, 4, 7, 24, u8::try_from(smuggled.len()).unwrap_or(0)];
    raw.extend_from_slice(smuggled);
    raw.extend([32, 1, 18]);
    vec![
        vec![1, 0, 2, 4, 7, 10, 9, 32, 1, 18],
        vec![0, 0, 17, 31, 0, 0, 3, 4, 5, 6, 7, 10, 9, 32, 2],
        vec![1, 0, 2, 4, 11, 12, 11, 13, 32, 1, 15, 13],
        vec![1, 0, 2, 4, 7, 34, 0, 10, 9, 2, 4, 14, 32, 0],
        vec![1, 0, 2, 4, 7, 30, 30, 9, 35, 0],
        vec![3, 32, 1, 31, 0, 34, 1, 2, 35, 3, 0],
        // Logins: refused, cancelled, of no known kind, taken.
        vec![1, 0, 20, 36, 2, 21, 22, 23, 20, 36, 0],
        raw,
    ]
}
