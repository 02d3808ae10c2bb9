//! SMTP relay sessions, from every state.
//!
//! The first octet chooses what the server can do; then each octet is a thing that happens: a line or octets from the client or
//! from the server, cut anywhere, or an event.

use std::sync::Arc;

use postern_gateway::intake::IntakeError;
use postern_gateway::proxy::smtp::{Action, Event, Relay, RelaySettings};
use postern_gateway::smtp_receiver::{MailboxStatus, Mailboxes, SessionLimits, SessionSettings};
use postern_shared::id::MailboxId;
use postern_shared::proto::smtp::extensions::Extensions;

use super::octets::Octets;
use super::smtp::has_whole_line_ends;

/// The longest message here; small, so that the limit is met.
const MESSAGE_BYTES_MAX: u64 = 300;
/// The longest line that may be left unread.
const LINE_BYTES_MAX: usize = 2048;

const CLIENT: [&str; 16] = [
    "EHLO x\r\n",
    "MAIL FROM:<a@b.example> SIZE=100 BODY=8BITMIME\r\n",
    "MAIL FROM:<>\r\nRCPT TO:<x@y.example>\r\nDATA\r\n",
    "RCPT TO:<x@y.example>\r\n",
    "RCPT TO:<z@y.example> NOTIFY=NEVER\r\n",
    "DATA\r\n",
    ".\r\n",
    "\r\n.\r\n",
    "text\r\n..dots\n\r",
    "BDAT 5\r\nabcde",
    "BDAT 3\r\n",
    "BDAT 0 LAST\r\n",
    "BDAT 2 LAST\r\n\r\n",
    "RSET\r\n",
    "NOOP\r\nHELP\r\n",
    "QUIT\r\n",
];

const SERVER: [&str; 10] = [
    "250 2.0.0 Ok\r\n",
    "250 a\r\n250 b\r\n354 c\r\n",
    "354 go\r\n",
    "550-5.1.1 No\r\n550 5.1.1 such\r\n",
    "452 4.3.1 Later\r\n",
    "421 4.3.2 Bye\r\n",
    "250-",
    "+OK\r\n",
    "334 \r\n",
    "250 \x1b[1m\u{7f}\r\n",
];

#[derive(Debug)]
struct Any;

impl Mailboxes for Any {
    fn status(&self, _id: MailboxId) -> Option<MailboxStatus> {
        Some(MailboxStatus::Active)
    }
}

/// A relay with a driver that checks what it is told to do.
struct Driver {
    relay: Relay,
    from_client: Vec<u8>,
    from_server: Vec<u8>,
    /// The message the intake holds.
    open: Option<Vec<u8>>,
    failed: bool,
    /// A copy that is not decided on.
    prepared: bool,
    /// The intake fails.
    full: bool,
    severed: bool,
    closed: bool,
}

/// Whatever either side says and whatever happens, cut anywhere: no panic; input is taken or there is something to wait for;
/// what the intake gets has whole line ends and is bounded; copies are begun, stored and decided on in that order, one at a
/// time; nothing is said to a server that is cut; behind the end nothing is done, and nothing is left undecided.
pub(super) fn run(data: &[u8]) {
    let mut octets = Octets::new(data);
    let flags = octets.next().unwrap_or_default();
    let extensions = Extensions {
        pipelining: flags & 1 == 0,
        chunking: flags & 2 == 0,
        smtputf8: flags & 4 == 0,
        eightbitmime: flags & 8 == 0,
        dsn: flags & 16 == 0,
        size: (flags & 32 == 0).then_some(200),
        ..Extensions::default()
    };
    let session = Arc::new(SessionSettings {
        host_name: "gateway.example.com".into(),
        domain: "gateway.example.com".into(),
        mailboxes: Arc::new(Any),
        message_bytes_max: MESSAGE_BYTES_MAX,
        limits: SessionLimits::default(),
        product: "Postern",
    });
    let mailbox = MailboxId::from_bytes([0, 0, 0, 0, 0, 0, 0, 0xa]);
    let mut driver = Driver {
        relay: Relay::new(RelaySettings { session, mailbox, extensions, helo: "x".into() }),
        from_client: Vec::new(),
        from_server: Vec::new(),
        open: None,
        failed: false,
        prepared: false,
        full: false,
        severed: false,
        closed: false,
    };
    while let Some(what) = octets.next() {
        match what % 42 {
            line @ 0..16 => driver.hear(CLIENT[usize::from(line)].as_bytes(), b""),
            line @ 16..26 => driver.hear(b"", SERVER[usize::from(line) - 16].as_bytes()),
            26..30 => driver.hear(octets.piece(), b""),
            30..33 => driver.hear(b"", octets.piece()),
            33 => driver.hear(&[b'x'; 5000], b""),
            34 => driver.hear(b"", &[b'2'; 13_000]),
            35 => driver.full = !driver.full,
            other => driver.happens(other),
        }
    }
}

impl Driver {
    fn hear(&mut self, client: &[u8], server: &[u8]) {
        if self.from_client.len() < 10_000 {
            self.from_client.extend_from_slice(client);
        }
        if !self.severed {
            self.from_server.extend_from_slice(server);
        }
        while !self.closed {
            let mut actions = Vec::new();
            let used = self.relay.receive_server(&self.from_server, &mut actions);
            self.from_server.drain(..used);
            let heard = used > 0 || !actions.is_empty();
            self.perform(actions);
            let mut actions = Vec::new();
            let taken = self.relay.receive_client(&self.from_client, &mut actions);
            self.from_client.drain(..taken);
            let heard = heard || taken > 0 || !actions.is_empty();
            self.perform(actions);
            if !heard {
                assert!(self.from_server.is_empty(), "answers are left unread");
                let wants = self.relay.wants_client();
                assert!(!wants || self.from_client.len() < LINE_BYTES_MAX, "a whole line is left unread");
                assert!(wants || self.relay.awaited().is_some(), "it waits for nobody");
                return;
            }
        }
    }

    fn happens(&mut self, what: u8) {
        let event = match what {
            36 => Event::ServerGone,
            37 if self.relay.awaited().is_some() => Event::ServerSilent,
            38 => Event::ClientGone,
            39 if self.relay.wants_client() => Event::Idle,
            40 => Event::Shutdown,
            _ => return,
        };
        self.handle(event);
        self.hear(b"", b"");
    }

    fn handle(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.relay.handle(event, &mut actions);
        self.perform(actions);
    }

    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            assert!(!self.closed, "{action:?} behind the end");
            match action {
                Action::Reply(reply) => assert!(reply.to_bytes().ends_with(b"\r\n")),
                Action::Server(octets) => assert!(!octets.is_empty()),
                Action::Begin(envelope, _) => {
                    assert!(self.open.is_none() && !self.prepared && !envelope.recipients.is_empty());
                    self.failed = self.full;
                    self.open = (!self.full).then(Vec::new);
                    self.handle(Event::Begun(if self.full { Err(fault()) } else { Ok(()) }));
                }
                Action::Content(_) if self.full && self.open.is_some() => {
                    (self.open, self.failed) = (None, true);
                    self.handle(Event::Failed(fault()));
                }
                Action::Content(content) => {
                    assert!(self.open.is_some() || self.failed, "content of no message");
                    self.open.iter_mut().for_each(|open| open.extend_from_slice(&content));
                }
                Action::Prepare(_) => match self.open.take().filter(|_| !self.full) {
                    Some(content) => {
                        has_whole_line_ends(&content);
                        assert!(content.len() as u64 <= MESSAGE_BYTES_MAX + 2);
                        self.prepared = true;
                        self.handle(Event::Prepared(Ok(())));
                    }
                    None => self.handle(Event::Prepared(Err(fault()))),
                },
                Action::Confirm => {
                    self.decide();
                    self.handle(Event::Confirmed);
                }
                Action::Discard => {
                    self.decide();
                    self.handle(Event::Discarded);
                }
                Action::Keep => self.decide(),
                Action::Abort => assert!(self.open.take().is_some(), "an end of no message"),
                Action::Sever => {
                    self.severed = true;
                    self.from_server.clear();
                }
                Action::Close => {
                    assert!(self.open.is_none() && !self.prepared, "something is left");
                    self.closed = true;
                }
            }
        }
    }

    fn decide(&mut self) {
        assert!(std::mem::take(&mut self.prepared), "nothing to decide on");
    }
}

fn fault() -> IntakeError {
    IntakeError::Full { free_bytes: 0, needed_bytes: 1 }
}

/// Dialogues as octets: numbers of [`CLIENT`], of [`SERVER`] behind them, and of events.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    vec![
        vec![0, 0, 2, 17, 8, 7, 16, 15],
        vec![1, 1, 16, 3, 16, 5, 18, 8, 7, 19],
        vec![0, 1, 3, 16, 16, 9, 11, 16, 13, 16],
        vec![2, 1, 3, 16, 16, 9, 18, 10, 13, 6],
        vec![0, 2, 17, 8, 7, 36],
        vec![0, 2, 17, 8, 21, 7],
        vec![0, 2, 17, 35, 8, 7],
        vec![0, 2, 16, 19, 18, 20],
        vec![0, 2, 17, 8, 38],
        vec![0, 2, 17, 40, 8, 7, 16],
    ]
}
