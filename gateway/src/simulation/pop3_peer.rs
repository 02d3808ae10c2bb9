//! An archiver, and the server's side of its connection.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use postern_shared::crypto::keys::PrivateKey;
use postern_shared::disk::SimulatedDisk;
use postern_shared::disk::simulated::Dice;
use postern_shared::id::{MailboxId, MessageId};
use postern_shared::proto::sasl::PlainCredentials;
use secrecy::{ExposeSecret, SecretString};

use super::ledger::Ledger;
use super::node::Node;
use crate::pop3_server::SpooledMaildrops;
use crate::pop3_server::maildrop::{DeleteError, LoginError, Maildrop, Maildrops};
use crate::pop3_server::sending::Sending;
use crate::pop3_server::session::{Action, Event, LoginRefusal, Session};

type Message = <SpooledMaildrops as Maildrops>::Message;
type Deletion = Pin<Box<dyn Future<Output = Result<(), DeleteError>>>>;

/// A response that the archiver waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Line,
    Login,
    Sizes,
    UniqueIds,
    /// The message of that index in its list.
    Content(usize),
    /// The answer to QUIT.
    Farewell,
}

impl Expected {
    fn has_many_lines(self) -> bool {
        matches!(self, Self::Sizes | Self::UniqueIds | Self::Content(_))
    }
}

/// An archiver and its session.
pub(super) struct Pop3Peer {
    mailbox: MailboxId,
    knows_password: bool,
    expected: VecDeque<Expected>,
    listed: Vec<(MessageId, u64)>,
    sizes: Vec<u64>,
    marked: Vec<MessageId>,
    next: usize,
    on_the_wire: Vec<u8>,
    responses: Vec<u8>,
    has_left: bool,
    session: Session,
    unread: Vec<u8>,
    key: Option<PrivateKey>,
    /// Who else holds the maildrop is known when it logs in.
    held: bool,
    sending: Option<Sending<Message>>,
    deleting: Option<(Vec<MessageId>, Deletion)>,
    closed: bool,
}

impl Pop3Peer {
    /// An archiver that comes for `mailbox`, with the wrong password once in a while.
    pub(super) fn connect(mailbox: MailboxId, password: &SecretString, dice: &mut Dice) -> Self {
        let session = Session::new(true);
        let mut actions = Vec::new();
        session.greet(&mut actions);
        let knows_password = !dice.once_in(8);
        let password = if knows_password { password.expose_secret() } else { "wrong" };
        let mut peer = Self {
            mailbox,
            knows_password,
            expected: [Expected::Line, Expected::Line, Expected::Login].into(),
            listed: Vec::new(),
            sizes: Vec::new(),
            marked: Vec::new(),
            next: 0,
            on_the_wire: format!("USER {mailbox}\r\nPASS {password}\r\n").into_bytes(),
            responses: Vec::new(),
            has_left: false,
            session,
            unread: Vec::new(),
            key: None,
            held: false,
            sending: None,
            deleting: None,
            closed: false,
        };
        for action in actions {
            if let Action::Send(octets) = action {
                peer.responses.extend(octets);
            }
        }
        peer
    }

    pub(super) fn is_over(&self) -> bool {
        self.deleting.is_none() && (self.closed || self.has_left)
    }

    /// The archiver goes without a word; a deletion that is under way is finished all the same.
    pub(super) fn vanish(&mut self) {
        self.has_left = true;
        self.sending = None;
    }

    /// The mailbox it comes for.
    pub(super) fn mailbox(&self) -> MailboxId {
        self.mailbox
    }

    /// The mailbox whose maildrop it holds.
    pub(super) fn holds(&self) -> Option<MailboxId> {
        self.session.maildrop().map(Maildrop::mailbox)
    }

    /// The archiver reads and speaks, the network carries some octets, the server takes them.
    pub(super) fn step(
        &mut self,
        dice: &mut Dice,
        node: &Node,
        held: bool,
        ledger: &mut Ledger,
        disk: &SimulatedDisk,
        log: &mut Vec<String>,
    ) {
        if self.has_left {
            return;
        }
        self.held = held;
        while self.read_response(ledger, log) {}
        if self.expected.is_empty() && !self.has_left {
            self.speak(dice);
        }
        let most = if dice.once_in(3) { dice.index(9) } else { 4000 };
        let carried = self.on_the_wire.len().min(most);
        self.unread.extend(self.on_the_wire.drain(..carried));
        self.serve(dice, node, ledger, disk, log);
    }

    /// Takes one whole response, when it is there.
    fn read_response(&mut self, ledger: &Ledger, log: &mut Vec<String>) -> bool {
        let Some(line_end) = memchr::memmem::find(&self.responses, b"\r\n") else { return false };
        let expected = *self.expected.front().expect("nothing is said unasked");
        let is_ok = self.responses.starts_with(b"+OK");
        let mut end = line_end + 2;
        if is_ok && expected.has_many_lines() {
            let Some(last) = memchr::memmem::find(&self.responses[line_end..], b"\r\n.\r\n") else {
                return false;
            };
            end = line_end + last + 5;
        }
        self.expected.pop_front();
        let response: Vec<u8> = self.responses.drain(..end).collect();
        let first = String::from_utf8_lossy(&response[..line_end]).into_owned();
        let lines: &[u8] = response.get(line_end + 2..end.saturating_sub(3)).unwrap_or_default();
        match expected {
            Expected::Login if !is_ok => {
                let in_use = first.contains("[IN-USE]");
                log.push(format!("pop3: {}", if in_use { "in use" } else { "not let in" }));
                self.vanish();
            }
            Expected::Line | Expected::Login => assert!(is_ok, "{first}"),
            Expected::Sizes => {
                self.sizes = second_words(lines).iter().map(|size| size.parse().unwrap()).collect();
            }
            Expected::UniqueIds => {
                let ids = second_words(lines);
                assert_eq!(ids.len(), self.sizes.len());
                self.listed =
                    ids.iter().map(|id| id.parse().unwrap()).zip(self.sizes.iter().copied()).collect();
            }
            Expected::Content(index) => {
                assert!(is_ok, "message {index}: {first}");
                let (id, size) = self.listed[index];
                ledger.check_served(self.mailbox, id, size, &unstuffed(lines));
                log.push(format!("pop3: message {index} retrieved, {size} octets"));
            }
            Expected::Farewell => {
                log.push(format!("pop3: farewell {is_ok}, {} marked", self.marked.len()));
                self.vanish();
            }
        }
        true
    }

    fn speak(&mut self, dice: &mut Dice) {
        if self.listed.is_empty() && self.next == 0 {
            self.next = 1;
            return self.say("LIST\r\nUIDL\r\n", &[Expected::Sizes, Expected::UniqueIds]);
        }
        if dice.once_in(12) {
            self.marked.clear();
            return self.say("RSET\r\n", &[Expected::Line]);
        }
        let index = self.next - 1;
        if index >= self.listed.len() || dice.once_in(15) {
            return self.say("QUIT\r\n", &[Expected::Farewell]);
        }
        self.next += 1;
        let number = index + 1;
        // Whoever deletes has read before; and sometimes the next command comes along (RFC 2449).
        if dice.once_in(3) {
            self.say(&format!("RETR {number}\r\n"), &[Expected::Content(index)]);
        } else {
            self.marked.push(self.listed[index].0);
            let both = format!("RETR {number}\r\nDELE {number}\r\n");
            self.say(&both, &[Expected::Content(index), Expected::Line]);
        }
    }

    fn say(&mut self, text: &str, expected: &[Expected]) {
        self.on_the_wire.extend_from_slice(text.as_bytes());
        self.expected.extend(expected);
    }

    /// The server goes on with what it has.
    pub(super) fn serve(
        &mut self,
        dice: &mut Dice,
        node: &Node,
        ledger: &mut Ledger,
        disk: &SimulatedDisk,
        log: &mut Vec<String>,
    ) {
        self.poll_deletion(node, ledger, disk, log);
        if self.has_left || !self.send_on(dice, disk) {
            return;
        }
        while self.deleting.is_none() && self.sending.is_none() && !self.closed {
            let Some(end) = memchr::memchr(b'\n', &self.unread) else { return };
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            let mut actions = Vec::new();
            self.session.handle(Event::Line(line.strip_suffix(b"\r\n").unwrap()), &mut actions);
            self.perform(actions, node, ledger, disk, log);
        }
    }

    /// Sends some of the message that is on its way; `true` when none is.
    fn send_on(&mut self, dice: &mut Dice, disk: &SimulatedDisk) -> bool {
        while let Some(sending) = &mut self.sending {
            let batch = match sending.batch(Vec::new()) {
                Ok(batch) => batch,
                Err(error) => {
                    assert!(!disk.is_powered(), "{error}");
                    self.vanish();
                    return false;
                }
            };
            if batch.is_empty() {
                self.sending = None;
            }
            self.responses.extend(batch);
            if dice.once_in(3) {
                return false;
            }
        }
        true
    }

    fn perform(
        &mut self,
        actions: Vec<Action>,
        node: &Node,
        ledger: &mut Ledger,
        disk: &SimulatedDisk,
        log: &mut Vec<String>,
    ) {
        for action in actions {
            let mut more = Vec::new();
            match action {
                Action::Send(octets) => self.responses.extend(octets),
                // Piece by piece, as a driver does it.
                Action::SendList(mut list) => loop {
                    let mut piece = Vec::new();
                    let complete = self.session.write_list(&mut list, 100, &mut piece);
                    self.responses.extend(piece);
                    if complete {
                        break;
                    }
                },
                Action::SendMessage { entry, body_lines } => {
                    let key = self.key.as_ref().expect("somebody has logged in");
                    match node.maildrops.open(self.mailbox, entry.id, key) {
                        Ok(message) => {
                            self.responses
                                .extend(format!("+OK {} octets\r\n", entry.served_bytes).into_bytes());
                            self.sending = Some(Sending::new(message, entry, body_lines));
                        }
                        Err(error) => {
                            assert!(!disk.is_powered(), "{error}");
                            self.closed = true;
                        }
                    }
                }
                Action::Authenticate(credentials) => {
                    let outcome = self.log_in(&credentials, node, ledger);
                    self.session.handle(Event::Login(outcome), &mut more);
                }
                Action::Delete(mailbox, ids) => {
                    assert_eq!(ids, self.marked, "what is deleted is what was marked");
                    ledger.deleting(&ids, None);
                    let (maildrops, of) = (Arc::clone(&node.maildrops), ids.clone());
                    let deletion = Box::pin(async move { maildrops.delete(mailbox, &of).await });
                    self.deleting = Some((ids, deletion));
                    self.poll_deletion(node, ledger, disk, log);
                }
                Action::Pause => {}
                Action::Close => self.closed = true,
                Action::StartTls => unreachable!("TLS is on"),
                Action::LogInElsewhere(_) | Action::HandOver => unreachable!("there is no proxy"),
            }
            self.perform(more, node, ledger, disk, log);
        }
    }

    fn log_in(
        &mut self,
        credentials: &PlainCredentials,
        node: &Node,
        ledger: &Ledger,
    ) -> Result<Maildrop, LoginRefusal> {
        let found = node.registry.unlock(&credentials.user, &credentials.password);
        assert_eq!(found.is_some(), self.knows_password && node.registry.show(self.mailbox).is_ok());
        let (mailbox, key) = found.ok_or(LoginRefusal::Denied(LoginError::WrongPassword))?;
        let lock = node.locks.take(mailbox);
        assert_eq!(lock.is_none(), self.held, "one session at a time holds a maildrop");
        let maildrop = Maildrop::new(lock.ok_or(LoginRefusal::InUse)?, node.maildrops.snapshot(mailbox));
        let (certain, in_doubt) = ledger.count(mailbox);
        let (listed, _) = maildrop.totals();
        assert!((certain..=certain + in_doubt).contains(&listed), "{listed} listed, {certain} stored");
        self.key = Some(key);
        Ok(maildrop)
    }

    fn poll_deletion(
        &mut self,
        node: &Node,
        ledger: &mut Ledger,
        disk: &SimulatedDisk,
        log: &mut Vec<String>,
    ) {
        let Some((ids, deletion)) = &mut self.deleting else { return };
        let Poll::Ready(result) = deletion.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
            return;
        };
        let done = result.is_ok();
        if done || disk.is_powered() {
            ledger.deleting(ids, Some(done));
        }
        log.push(format!("pop3: {} {}", ids.len(), if done { "deleted" } else { "not removed" }));
        self.deleting = None;
        let mut actions = Vec::new();
        self.session.handle(Event::Deleted(result), &mut actions);
        self.perform(actions, node, ledger, disk, log);
    }
}

fn second_words(lines: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(lines).unwrap();
    text.lines().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect()
}

fn unstuffed(lines: &[u8]) -> Vec<u8> {
    let undotted =
        lines.split_inclusive(|byte| *byte == b'\n').map(|line| line.strip_prefix(b".").unwrap_or(line));
    undotted.collect::<Vec<_>>().concat()
}
