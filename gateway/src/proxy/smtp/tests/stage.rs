//! What a driver would be, with an intake in memory, checking on the way that no promise is broken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use postern_shared::id::MailboxId;
use postern_shared::proto::smtp::extensions::Extensions;

use crate::intake::{Envelope, IntakeError};
use crate::proxy::smtp::{Action, Event, Relay, RelaySettings};
use crate::smtp_receiver::{MailboxStatus, Mailboxes, SessionLimits, SessionSettings};

/// What became of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Prepared,
    Confirmed,
    Discarded,
    Unconfirmed,
}

#[derive(Debug)]
pub(super) struct Copy {
    pub(super) envelope: Envelope,
    pub(super) content: Vec<u8>,
    pub(super) fate: Fate,
}

/// `…a` is active and `…b` suspended.
#[derive(Debug, Default)]
struct Two {
    /// So is `…a`, from now on.
    suspended: AtomicBool,
}

impl Mailboxes for Two {
    fn status(&self, id: MailboxId) -> Option<MailboxStatus> {
        match id.to_bytes()[7] {
            0xa if self.suspended.load(Ordering::Relaxed) => Some(MailboxStatus::Suspended),
            0xa => Some(MailboxStatus::Active),
            0xb => Some(MailboxStatus::Suspended),
            _ => None,
        }
    }
}

pub(super) fn session_settings(message_bytes_max: u64) -> Arc<SessionSettings> {
    Arc::new(SessionSettings {
        host_name: "gateway.example.com".into(),
        domain: "gateway.example.com".into(),
        mailboxes: Arc::new(Two::default()),
        message_bytes_max,
        limits: SessionLimits::default(),
        product: "Postern",
    })
}

/// Those of a server that can do everything.
pub(super) fn all_extensions() -> Extensions {
    Extensions {
        pipelining: true,
        chunking: true,
        smtputf8: true,
        eightbitmime: true,
        dsn: true,
        size: Some(0),
        starttls: false,
        auth: Vec::new(),
        enhanced_status_codes: true,
    }
}

pub(super) struct Stage {
    pub(super) relay: Relay,
    pub(super) to_client: Vec<u8>,
    pub(super) to_server: Vec<u8>,
    client_unread: Vec<u8>,
    server_unread: Vec<u8>,
    pub(super) copies: Vec<Copy>,
    incoming: Option<(Envelope, Vec<u8>)>,
    failure: Option<IntakeError>,
    pub(super) severed: bool,
    pub(super) closed: bool,
    /// The step at which the intake fails.
    pub(super) refuse: Option<String>,
    two: Arc<Two>,
}

impl Stage {
    pub(super) fn new(extensions: Extensions, message_bytes_max: u64, mailbox: &str) -> Self {
        let two = Arc::new(Two::default());
        let mailboxes = Arc::clone(&two);
        let session = SessionSettings { mailboxes, ..(*session_settings(message_bytes_max)).clone() };
        let relay = Relay::new(RelaySettings {
            session: Arc::new(session),
            mailbox: mailbox.parse().unwrap(),
            extensions,
            helo: "client.example.org".into(),
        });
        Self {
            relay,
            to_client: Vec::new(),
            to_server: Vec::new(),
            client_unread: Vec::new(),
            server_unread: Vec::new(),
            copies: Vec::new(),
            incoming: None,
            failure: None,
            severed: false,
            closed: false,
            refuse: None,
            two,
        }
    }

    /// The operator suspends the mailbox.
    pub(super) fn suspend(&self) {
        self.two.suspended.store(true, Ordering::Relaxed);
    }

    pub(super) fn client_says(&mut self, octets: &[u8]) {
        self.client_unread.extend_from_slice(octets);
        self.go_on();
    }

    pub(super) fn server_says(&mut self, octets: &[u8]) {
        if !self.severed {
            self.server_unread.extend_from_slice(octets);
        }
        self.go_on();
    }

    pub(super) fn event(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.relay.handle(event, &mut actions);
        self.perform(actions);
        self.go_on();
    }

    /// As the driver: the server first.
    fn go_on(&mut self) {
        loop {
            let mut actions = Vec::new();
            let used = self.relay.receive_server(&self.server_unread, &mut actions);
            self.server_unread.drain(..used);
            let heard = used > 0 || !actions.is_empty();
            self.perform(actions);
            let mut actions = Vec::new();
            let taken = self.relay.receive_client(&self.client_unread, &mut actions);
            self.client_unread.drain(..taken);
            let heard = heard || taken > 0 || !actions.is_empty();
            self.perform(actions);
            if !heard || self.closed {
                break;
            }
        }
        assert!(!self.relay.is_waiting(), "an action was not asked for");
        if self.relay.wants_client() {
            assert!(self.client_unread.len() < 2048, "{} octets are left unread", self.client_unread.len());
        }
    }

    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            assert!(!self.closed, "{action:?} behind the end");
            match action {
                Action::Reply(reply) => self.to_client.extend(reply.to_bytes()),
                // What stood behind content that the intake did not take goes nowhere.
                Action::Server(_) if self.severed => {}
                Action::Server(octets) => self.to_server.extend(octets),
                Action::Begin(..) if self.refuses("begin") => self.event_within(Event::Begun(Err(full()))),
                Action::Begin(..) if self.refuses("mailbox") => {
                    let mailbox = "mbx-000000000000000a".parse().unwrap();
                    self.event_within(Event::Begun(Err(IntakeError::MailboxGone { mailbox })));
                }
                Action::Begin(envelope, protocol) => {
                    assert!(self.incoming.is_none() && !envelope.recipients.is_empty());
                    assert!(["ESMTPSA", "UTF8SMTPSA"].contains(&protocol));
                    self.incoming = Some((envelope, Vec::new()));
                    self.failure = None;
                    self.event_within(Event::Begun(Ok(())));
                }
                Action::Content(_) if self.refuses("content") => {
                    if self.incoming.take().is_some() {
                        self.failure = Some(full());
                        self.event_within(Event::Failed(full()));
                    }
                }
                Action::Content(content) => self.incoming.as_mut().unwrap().1.extend(content),
                Action::Prepare(_) if self.refuses("prepare") || self.failure.is_some() => {
                    self.incoming = None;
                    self.event_within(Event::Prepared(Err(full())));
                }
                Action::Prepare(_) => {
                    let (envelope, content) = self.incoming.take().expect("a message to store");
                    self.copies.push(Copy { envelope, content, fate: Fate::Prepared });
                    self.event_within(Event::Prepared(Ok(())));
                }
                Action::Confirm => {
                    let fate = if self.refuses("confirm") { Fate::Unconfirmed } else { Fate::Confirmed };
                    self.decide(fate);
                    self.event_within(Event::Confirmed);
                }
                Action::Discard => {
                    self.decide(Fate::Discarded);
                    self.event_within(Event::Discarded);
                }
                Action::Keep => self.decide(Fate::Unconfirmed),
                Action::Abort => assert!(self.incoming.take().is_some(), "an end of no message"),
                Action::Sever => {
                    self.severed = true;
                    self.server_unread.clear();
                    self.to_server.clear();
                }
                Action::Close => self.closed = true,
            }
        }
    }

    fn event_within(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.relay.handle(event, &mut actions);
        self.perform(actions);
    }

    fn decide(&mut self, fate: Fate) {
        let copy = self.copies.last_mut().expect("a copy");
        assert_eq!(copy.fate, Fate::Prepared, "decided twice");
        copy.fate = fate;
    }

    fn refuses(&self, step: &str) -> bool {
        self.refuse.as_deref() == Some(step)
    }

    /// Whether the intake holds anything that has not come to its end.
    pub(super) fn holds_a_message(&self) -> bool {
        self.incoming.is_some()
    }
}

pub(super) fn full() -> IntakeError {
    IntakeError::Full { free_bytes: 0, needed_bytes: 1 }
}
