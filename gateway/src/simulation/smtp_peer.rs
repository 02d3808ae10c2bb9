//! A sender, and the server's side of its connection.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use postern_shared::disk::SimulatedDisk;
use postern_shared::disk::simulated::Dice;
use postern_shared::id::{MailboxId, MessageId};

use super::ledger::{Ledger, Token};
use super::node::{DOMAIN, Node};
use crate::intake::{Incoming, Intake, IntakeError, Origin, Provenance, SealingIntake};
use crate::smtp_receiver::{Action, Event, Session};

type Stored = Result<Vec<MessageId>, IntakeError>;

/// What the sender does when all replies that it waits for are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Greet,
    Envelope,
    /// Content, if it was asked for.
    Data,
    /// Content in chunks, if a recipient was taken.
    Chunks,
    /// The end of the transaction has been answered.
    Answered,
    Leave,
}

/// A sender and its session.
pub(super) struct SmtpPeer {
    next: Next,
    waits_for: usize,
    codes: Vec<u16>,
    on_the_wire: Vec<u8>,
    replies: Vec<u8>,
    token: Token,
    has_left: bool,
    session: Session,
    unread: Vec<u8>,
    intake: SealingIntake,
    mailboxes: BTreeSet<MailboxId>,
    incoming: Option<<SealingIntake as Intake>::Incoming>,
    failure: Option<IntakeError>,
    commit: Option<Pin<Box<dyn Future<Output = Stored>>>>,
    closed: bool,
}

impl SmtpPeer {
    pub(super) fn connect(node: &Node) -> Self {
        let session = Session::new(Arc::clone(&node.smtp), true);
        let replies = session.greeting().to_bytes();
        Self {
            next: Next::Greet,
            waits_for: 1,
            codes: Vec::new(),
            on_the_wire: Vec::new(),
            replies,
            token: 0,
            has_left: false,
            session,
            unread: Vec::new(),
            intake: node.intake.clone(),
            mailboxes: BTreeSet::new(),
            incoming: None,
            failure: None,
            commit: None,
            closed: false,
        }
    }

    /// Whether the server is done with it.
    pub(super) fn is_over(&self) -> bool {
        self.commit.is_none() && (self.closed || self.has_left)
    }

    /// The sender goes without a word; a commit that is under way is finished all the same.
    pub(super) fn vanish(&mut self) {
        self.has_left = true;
        self.incoming = None;
    }

    /// The sender reads and speaks, the network carries some octets, the server takes them.
    pub(super) fn step(
        &mut self,
        dice: &mut Dice,
        mailboxes: &[MailboxId],
        ledger: &mut Ledger,
        disk: &SimulatedDisk,
        log: &mut Vec<String>,
    ) {
        if self.has_left {
            return;
        }
        self.read_replies();
        if self.closed {
            return self.vanish();
        }
        if self.codes.len() >= self.waits_for && self.on_the_wire.is_empty() {
            self.speak(dice, mailboxes, ledger);
        }
        let most = if dice.once_in(3) { dice.index(40) } else { 40_000 };
        let carried = self.on_the_wire.len().min(most);
        self.unread.extend(self.on_the_wire.drain(..carried));
        self.serve(ledger, disk, log);
    }

    fn read_replies(&mut self) {
        while let Some(end) = memchr::memmem::find(&self.replies, b"\r\n") {
            let line: Vec<u8> = self.replies.drain(..end + 2).collect();
            if line[3] == b' ' {
                self.codes.push(std::str::from_utf8(&line[..3]).unwrap().parse().unwrap());
            }
        }
    }

    fn speak(&mut self, dice: &mut Dice, mailboxes: &[MailboxId], ledger: &mut Ledger) {
        let codes = std::mem::take(&mut self.codes);
        if codes.contains(&421) {
            return self.vanish();
        }
        match self.next {
            Next::Greet => self.say(b"EHLO sender.example.com\r\n", 1, Next::Envelope),
            Next::Answered if dice.once_in(3) => self.say(b"QUIT\r\n", 1, Next::Leave),
            Next::Envelope | Next::Answered => self.envelope(dice, mailboxes, ledger),
            Next::Data if codes.last() == Some(&354) => {
                let mut stuffed = Vec::new();
                for line in ledger.content(self.token).split_inclusive(|byte| *byte == b'\n') {
                    stuffed.extend_from_slice(if line.starts_with(b".") { b"." } else { b"" });
                    stuffed.extend_from_slice(line);
                }
                stuffed.extend_from_slice(b".\r\n");
                self.say(&stuffed, 1, Next::Answered);
            }
            // The first one is MAIL's.
            Next::Chunks if codes[1..].contains(&250) => {
                let content = ledger.content(self.token).to_vec();
                let (first, last) = content.split_at(dice.index(content.len()));
                let chunk = |bytes: &[u8], last: &str| {
                    [format!("BDAT {}{last}\r\n", bytes.len()).as_bytes(), bytes].concat()
                };
                self.say(&[chunk(first, ""), chunk(last, " LAST")].concat(), 2, Next::Answered);
            }
            Next::Data | Next::Chunks => self.say(b"RSET\r\n", 1, Next::Answered),
            Next::Leave => self.vanish(),
        }
    }

    fn envelope(&mut self, dice: &mut Dice, mailboxes: &[MailboxId], ledger: &mut Ledger) {
        self.token = ledger.new_content(dice);
        let mut text = "MAIL FROM:<sender@example.com>\r\n".to_owned();
        let recipients = 1 + dice.index(4);
        for _ in 0..recipients {
            let tag = ["", "+anna=example.com"][dice.index(2)];
            let mailbox = match mailboxes.get(dice.index(mailboxes.len() + 1)) {
                Some(mailbox) => mailbox.to_string(),
                None => "mbx-0000000000000000".to_owned(),
            };
            text.push_str(&format!("RCPT TO:<{mailbox}{tag}@{DOMAIN}>\r\n"));
        }
        match dice.below(8) {
            0 => self.say((text + "RSET\r\n").as_bytes(), recipients + 2, Next::Envelope),
            1 | 2 => self.say(text.as_bytes(), recipients + 1, Next::Chunks),
            _ => self.say((text + "DATA\r\n").as_bytes(), recipients + 2, Next::Data),
        }
    }

    fn say(&mut self, octets: &[u8], waits_for: usize, next: Next) {
        self.on_the_wire.extend_from_slice(octets);
        (self.waits_for, self.next) = (waits_for, next);
    }

    /// The server has heard nothing for too long, or stops.
    pub(super) fn event(
        &mut self,
        event: Event,
        ledger: &mut Ledger,
        disk: &SimulatedDisk,
        log: &mut Vec<String>,
    ) {
        if !self.session.is_waiting() && !self.closed {
            let mut actions = Vec::new();
            self.session.handle(event, &mut actions);
            self.perform(actions, ledger, disk, log);
        }
    }

    /// The server goes on with what it has: a commit that may be done, octets that have come.
    pub(super) fn serve(&mut self, ledger: &mut Ledger, disk: &SimulatedDisk, log: &mut Vec<String>) {
        self.poll_commit(ledger, disk, log);
        while !self.closed && !self.has_left {
            let mut actions = Vec::new();
            let taken = self.session.receive(&self.unread, &mut actions);
            self.unread.drain(..taken);
            if taken == 0 && actions.is_empty() {
                return;
            }
            self.perform(actions, ledger, disk, log);
        }
    }

    fn perform(
        &mut self,
        actions: Vec<Action>,
        ledger: &mut Ledger,
        disk: &SimulatedDisk,
        log: &mut Vec<String>,
    ) {
        for action in actions {
            match action {
                Action::Reply(reply) => self.replies.extend(reply.to_bytes()),
                Action::Begin(envelope) => {
                    self.mailboxes = envelope.recipients.iter().map(|recipient| recipient.mailbox).collect();
                    let (helo, protocol) = self.session.client();
                    let peer = ([192, 0, 2, 1], 25000).into();
                    let provenance = Provenance { peer, helo, protocol, tls: None, origin: Origin::Journal };
                    let begun = self.intake.begin(envelope, provenance);
                    self.failure = None;
                    match begun {
                        Ok(incoming) => self.incoming = Some(incoming),
                        Err(error) => self.fail(error, ledger, disk, log),
                    }
                }
                Action::Content(content) => {
                    let written = self.incoming.as_mut().map(|incoming| ready(incoming.write(&content)));
                    if let Some(Err(error)) = written {
                        self.fail(error, ledger, disk, log);
                    }
                }
                Action::Commit(normalised) => match self.incoming.take() {
                    Some(incoming) => {
                        ledger.committing(self.token, &self.mailboxes);
                        self.commit = Some(Box::pin(incoming.commit(normalised)));
                        self.poll_commit(ledger, disk, log);
                    }
                    None => {
                        let error = self.failure.take().expect("the intake failed");
                        self.handle(Event::Stored(Err(error)), ledger, disk, log);
                    }
                },
                Action::Abort => self.incoming = None,
                Action::Close => self.closed = true,
                Action::LogIn(_) | Action::Pause | Action::HandOver => unreachable!("nobody offers a login"),
                Action::StartTls => unreachable!("TLS is on"),
            }
        }
    }

    fn fail(&mut self, error: IntakeError, ledger: &mut Ledger, disk: &SimulatedDisk, log: &mut Vec<String>) {
        log.push(format!("smtp: token {} refused", self.token));
        self.incoming = None;
        self.failure = Some(error.clone());
        self.handle(Event::Failed(error), ledger, disk, log);
    }

    fn handle(&mut self, event: Event, ledger: &mut Ledger, disk: &SimulatedDisk, log: &mut Vec<String>) {
        let mut actions = Vec::new();
        self.session.handle(event, &mut actions);
        self.perform(actions, ledger, disk, log);
    }

    fn poll_commit(&mut self, ledger: &mut Ledger, disk: &SimulatedDisk, log: &mut Vec<String>) {
        let Some(commit) = &mut self.commit else { return };
        let Poll::Ready(result) = commit.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
            return;
        };
        self.commit = None;
        match &result {
            Ok(_) => ledger.stored(self.token, &self.mailboxes),
            Err(_) if disk.is_powered() => ledger.refused(self.token, &self.mailboxes, disk.is_read_only()),
            // Nobody hears the answer.
            Err(_) => {}
        }
        log.push(format!("smtp: token {} {}", self.token, if result.is_ok() { "stored" } else { "refused" }));
        self.handle(Event::Stored(result), ledger, disk, log);
    }
}

/// What comes of a future that has nothing to wait for.
fn ready<R>(future: impl Future<Output = R>) -> R {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => unreachable!("content is taken at once"),
    }
}
