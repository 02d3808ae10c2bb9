//! The pure machine between a client and its server.
//!
//! The client is owed one reply a command, in order; [`Due`] is that debt. An entry is paid at once when we know the reply, or
//! when the server gives its answer. `asked` counts the entries that wait for the server.
//!
//! Promises: those of `proxy::smtp`. Not here: I/O (`driver`), the content's coding (`content`).

mod answers;
mod commands;
mod ending;
mod message;

use std::collections::VecDeque;
use std::sync::Arc;

use postern_shared::id::MailboxId;
use postern_shared::proto::mime::trace::Normalised;
use postern_shared::proto::smtp::answer::{Answer, AnswerReader};
use postern_shared::proto::smtp::extensions::Extensions;
use postern_shared::proto::smtp::line::LineReader;
use postern_shared::proto::smtp::reply::Reply;

use message::Message;

use crate::intake::{Envelope, IntakeError};
use crate::smtp_receiver::{Room, SessionSettings};

/// Commands sent to the server and not answered: their answers must fit where they wait while we still write.
const ASKED_MAX: usize = 64;
/// Replies owed to the client.
const DUE_MAX: usize = 128;

/// What a session is made of.
#[derive(Debug, Clone)]
pub struct RelaySettings {
    /// Those of the listener.
    pub session: Arc<SessionSettings>,
    /// Where copies go.
    pub mailbox: MailboxId,
    /// What the server can do, asked for behind the login.
    pub extensions: Extensions,
    /// What the client called itself before its login.
    pub helo: String,
}

/// What has happened.
#[derive(Debug)]
pub enum Event {
    /// The intake has taken or refused the announcement of a message.
    Begun(Result<(), IntakeError>),
    /// The intake failed to take content.
    Failed(IntakeError),
    /// The copy is on disk, not decided on; or will never be.
    Prepared(Result<(), IntakeError>),
    /// The copy is confirmed, or stays unconfirmed because of our own trouble.
    Confirmed,
    /// The copy is gone, or stays unconfirmed because of our own trouble.
    Discarded,
    /// The server closed, or its connection broke.
    ServerGone,
    /// The server took too long for what [`Relay::awaited`] says.
    ServerSilent,
    /// The client closed, or its connection broke.
    ClientGone,
    /// The client took too long.
    Idle,
    /// The daemon is stopping.
    Shutdown,
}

/// What must happen next, in this order.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Send the client a reply. May wait for others to be sent with it.
    Reply(Reply),
    /// Send the server octets. May wait for others to be sent with them.
    Server(Vec<u8>),
    /// Announce a message to the intake; then report [`Event::Begun`]. The second value is the protocol (RFC 3848).
    Begin(Envelope, &'static str),
    /// Hand content to the intake. A failure is reported as [`Event::Failed`].
    Content(Vec<u8>),
    /// Store the message; then report [`Event::Prepared`].
    Prepare(Normalised),
    /// The server took the message; then report [`Event::Confirmed`].
    Confirm,
    /// The server did not take it; then report [`Event::Discarded`].
    Discard,
    /// Nobody knows: keep the copy, unconfirmed.
    Keep,
    /// Drop a message that was not stored.
    Abort,
    /// Cut the connection with the server: nothing more, not even what waits to be sent.
    Sever,
    /// End both connections, once all is sent.
    Close,
}

/// What the server is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// The answer to a command.
    Answer,
    /// The answer to the end of a message.
    EndOfData,
}

/// What the client is owed.
#[derive(Debug)]
enum Due {
    /// This.
    Say(Reply),
    /// What the server answers.
    Answer(Asked),
    /// This, and the end of the session.
    Leave(Reply),
}

/// What the server was asked.
#[derive(Debug)]
enum Asked {
    /// MAIL of that transaction.
    Mail(u64),
    /// RCPT of that transaction.
    Rcpt(u64, String),
    Data,
    /// The end of a message for nobody.
    EmptyEnd,
    /// A chunk that is not the last; the client is owed nothing for it.
    Chunk,
    /// The end of a message.
    End,
    Rset,
    /// A RSET that the client does not know of.
    OurRset,
    Noop,
}

/// From MAIL on.
#[derive(Debug)]
struct Transaction {
    number: u64,
    /// Empty for `<>`.
    mail_from: String,
    smtputf8: bool,
    /// Those that the server took.
    accepted: Vec<String>,
    /// Those that it was asked for.
    recipients: usize,
    recipient_octets: usize,
    /// How much the mailbox takes.
    room: Room,
}

/// DATA or the first BDAT on its way to becoming a message.
#[derive(Debug)]
enum Opening {
    Data,
    Chunk { octets: u64, last: bool },
}

/// One client and its server.
///
/// Call order: [`Relay::receive_client`] and [`Relay::receive_server`] with whatever was read, until they take nothing any
/// more, doing all actions after each call; [`Relay::handle`] for everything else. While [`Relay::is_waiting`] for an event
/// that it asked for, it takes no input and wants no other event but [`Event::Failed`].
#[derive(Debug)]
pub struct Relay {
    settings: RelaySettings,
    lines: LineReader,
    answers: AnswerReader,
    due: VecDeque<Due>,
    asked: usize,
    /// Counts answers, for deadlines.
    answered: u64,
    /// The client has said EHLO behind its login, and knows what the server can do.
    greeted: bool,
    transactions: u64,
    transaction: Option<Transaction>,
    opening: Option<Opening>,
    message: Option<Message>,
    /// What the server said to DATA, until the intake has begun.
    go_ahead: Option<Reply>,
    waiting: bool,
    /// The client's next line can be taken only when the server has answered.
    holding: bool,
    /// The connection with the server is cut.
    severed: bool,
    client_gone: bool,
    stopping: bool,
    /// No command is taken any more.
    leaving: bool,
    closed: bool,
    errors: u32,
    messages: u64,
}

impl Relay {
    /// A session behind the login.
    pub fn new(settings: RelaySettings) -> Self {
        Self {
            settings,
            lines: LineReader::default(),
            answers: AnswerReader::default(),
            due: VecDeque::new(),
            asked: 0,
            answered: 0,
            greeted: false,
            transactions: 0,
            transaction: None,
            opening: None,
            message: None,
            go_ahead: None,
            waiting: false,
            holding: false,
            severed: false,
            client_gone: false,
            stopping: false,
            leaving: false,
            closed: false,
            errors: 0,
            messages: 0,
        }
    }

    /// What the client called itself last.
    pub fn helo(&self) -> &str {
        &self.settings.helo
    }

    /// Whether it waits for what it asked the driver for.
    pub fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// Whether what the client sends next is content of a message.
    pub fn is_in_content(&self) -> bool {
        self.message.as_ref().is_some_and(Message::is_open)
    }

    /// Whether what the client says next may hold a password: a login once more, or the rest of one that is too long.
    pub fn expects_secret(&self, input: &[u8]) -> bool {
        let is_auth = || input.get(..5).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH "));
        !self.is_in_content() && (self.is_amid_line() || is_auth())
    }

    /// Whether a command has begun that is too long, and not ended.
    pub fn is_amid_line(&self) -> bool {
        self.lines.is_skipping()
    }

    /// Whether it would take octets of the client now; when not, it waits for the server.
    pub fn wants_client(&self) -> bool {
        let asked_max = if self.settings.extensions.pipelining { ASKED_MAX } else { 1 };
        let ready =
            !self.waiting && !self.leaving && !self.closed && !self.client_gone && self.opening.is_none();
        let ended = self.message.as_ref().is_some_and(Message::is_ended);
        let holding = self.holding && self.asked > 0;
        ready && !ended && !holding && self.asked < asked_max && self.due.len() < DUE_MAX
    }

    /// What the server is waited for, and a number that changes when it has answered.
    pub fn awaited(&self) -> Option<(Awaited, u64)> {
        let awaited = match self.due.front() {
            Some(Due::Answer(Asked::End)) => Awaited::EndOfData,
            Some(Due::Answer(_)) => Awaited::Answer,
            _ => return None,
        };
        Some((awaited, self.answered))
    }

    /// Takes octets of the client; returns how many. 0 means: more is needed, or something must happen first.
    pub fn receive_client(&mut self, input: &[u8], actions: &mut Vec<Action>) -> usize {
        if !self.wants_client() || input.is_empty() {
            return 0;
        }
        let taken = match self.message.take() {
            Some(message) if message.is_open() => self.receive_content(message, input, actions),
            message => {
                self.message = message;
                self.receive_line(input, actions)
            }
        };
        self.settle(actions);
        taken
    }

    /// Takes octets of the server, up to the end of one answer; returns how many. 0 means that an action must be done first.
    pub fn receive_server(&mut self, input: &[u8], actions: &mut Vec<Action>) -> usize {
        if self.severed || self.closed {
            return input.len();
        }
        if self.waiting || input.is_empty() {
            return 0;
        }
        let used = match self.answers.read(input) {
            Ok((used, answer)) => {
                if let Some(answer) = answer {
                    self.answered += 1;
                    self.answer(answer, actions);
                }
                used
            }
            Err(error) => {
                tracing::warn!(%error, "the server does not make sense");
                self.lose_server("Your provider's server does not make sense", actions);
                input.len()
            }
        };
        self.settle(actions);
        used
    }

    /// Takes anything but input.
    pub fn handle(&mut self, event: Event, actions: &mut Vec<Action>) {
        if self.closed {
            return;
        }
        match event {
            Event::Begun(result) => self.begun(result, actions),
            Event::Failed(error) => self.content_failed(&error, actions),
            Event::Prepared(result) => self.prepared(result, actions),
            Event::Confirmed | Event::Discarded => self.decided(),
            Event::ServerGone => {
                self.lose_server("The connection with your provider's server was lost", actions);
            }
            Event::ServerSilent => self.lose_server("Your provider's server took too long", actions),
            Event::ClientGone => {
                self.client_gone = true;
                self.lose_client(Reply::new(421, "4.4.2", "The client is gone"), actions);
            }
            Event::Idle => {
                self.lose_client(Reply::new(421, "4.4.2", "Too slow, or nothing came for too long"), actions);
            }
            Event::Shutdown => self.stopping = true,
        }
        self.settle(actions);
    }

    /// Owes a reply.
    fn say(&mut self, reply: Reply) {
        if !self.leaving {
            self.due.push_back(Due::Say(reply));
        }
    }

    /// Owes a reply, and the end of the session.
    fn leave(&mut self, reply: Reply) {
        if !self.leaving {
            self.due.push_back(Due::Leave(reply));
            self.leaving = true;
        }
    }

    /// Owes nothing any more but this, and the end of the session.
    fn leave_at_once(&mut self, reply: Reply) {
        self.due.clear();
        self.asked = 0;
        self.leaving = false;
        self.leave(reply);
    }

    /// Sends the server a command, whose answer is owed.
    fn ask(&mut self, asked: Asked, command: String, actions: &mut Vec<Action>) {
        self.due.push_back(Due::Answer(asked));
        self.asked += 1;
        actions.push(Action::Server(command.into_bytes()));
    }

    /// Refuses a command ourselves.
    fn refuse(&mut self, reply: Reply) {
        // What is refused only for now is our trouble more often than the client's.
        self.errors += u32::from(reply.code >= 500);
        if self.errors > self.settings.session.limits.errors_max {
            return self.leave(Reply::new(421, "4.7.0", "Too many errors"));
        }
        self.say(reply);
    }

    /// Pays what can be paid.
    fn settle(&mut self, actions: &mut Vec<Action>) {
        while !self.closed && !matches!(self.due.front(), None | Some(Due::Answer(_))) {
            match self.due.pop_front() {
                Some(Due::Say(reply)) => actions.push(Action::Reply(reply)),
                Some(Due::Leave(reply)) => {
                    actions.push(Action::Reply(reply));
                    self.close(actions);
                }
                Some(Due::Answer(_)) | None => {}
            }
        }
        let idle = self.due.is_empty() && self.message.is_none() && self.opening.is_none();
        if idle && !self.closed && (self.stopping || self.client_gone) {
            actions.push(Action::Reply(Reply::new(421, "4.3.2", "Shutting down")));
            self.close(actions);
        }
    }

    fn close(&mut self, actions: &mut Vec<Action>) {
        self.drop_message(actions);
        if !self.severed {
            actions.push(Action::Server(b"QUIT\r\n".to_vec()));
        }
        actions.push(Action::Close);
        self.closed = true;
    }
}

/// The server's answer, for the client.
fn mirrored(answer: Answer) -> Reply {
    Reply::from(answer)
}
