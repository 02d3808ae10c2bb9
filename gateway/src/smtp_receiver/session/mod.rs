//! The pure machine: events and octets in, actions out.
//!
//! Promises: those of `smtp_receiver`. Not here: decoding content (`transaction`), I/O (`driver`).

mod commands;
mod content;
mod login;

use std::net::IpAddr;
use std::sync::Arc;

use postern_shared::id::MessageId;
use postern_shared::proto::mime::trace::Normalised;
use postern_shared::proto::sasl::{self, Credentials, Exchange};
use postern_shared::proto::smtp::command::{LINE_BYTES_MAX, loses_step, parse};
use postern_shared::proto::smtp::line::{Line, LineReader};
use postern_shared::proto::smtp::reply::Reply;

use super::policy::Mailboxes;
use super::transaction::{Body, Transaction};
use crate::intake::{Envelope, IntakeError};

/// What one session may do before it must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// Messages taken; the peer may come again.
    pub messages_max: u64,
    /// Refused commands after which a peer is sent away; refused recipients count too, so that nobody tries out ids.
    pub errors_max: u32,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self { messages_max: 100_000, errors_max: 20 }
    }
}

/// What all sessions of a listener share.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// For the greeting.
    pub host_name: String,
    /// The domain of our mailboxes.
    pub domain: String,
    /// Which mailboxes there are.
    pub mailboxes: Arc<dyn Mailboxes>,
    /// The longest message, in octets of content.
    pub message_bytes_max: u64,
    /// What else there is an end to.
    pub limits: SessionLimits,
    /// What the greeting calls this program.
    pub product: &'static str,
}

/// What has happened.
#[derive(Debug)]
pub enum Event {
    /// TLS is on; everything said before is forgotten.
    TlsStarted,
    /// The intake failed to take content.
    Failed(IntakeError),
    /// The intake is done: every copy is on disk, or none.
    Stored(Result<Vec<MessageId>, IntakeError>),
    /// The login elsewhere is done, or refused with these words.
    LoggedIn(Result<(), Reply>),
    /// The peer took too long: nothing came, or too little.
    Idle,
    /// The daemon is stopping.
    Shutdown,
}

/// What must happen next, in this order.
#[derive(Debug)]
pub enum Action {
    /// Send a reply. May wait for others to be sent with it.
    Reply(Reply),
    /// Begin a TLS handshake, dropping what was read; then report [`Event::TlsStarted`].
    StartTls,
    /// Announce a message to the intake. A failure is reported as [`Event::Failed`].
    Begin(Envelope),
    /// Hand content to the intake. A failure is reported as [`Event::Failed`].
    Content(Vec<u8>),
    /// Commit the message; then report [`Event::Stored`].
    Commit(Normalised),
    /// Drop the message.
    Abort,
    /// Log in where the user's name says; then report [`Event::LoggedIn`].
    LogIn(Credentials),
    /// Wait a little: whoever guesses passwords should not guess fast.
    Pause,
    /// Once all replies are sent the connection, with what is unread, is the proxy's.
    HandOver,
    /// End the connection once all replies are sent.
    Close,
}

/// One connection's state.
///
/// Call order: [`Session::greeting`] once; then [`Session::receive`] with whatever was read, until it takes nothing any
/// more, doing all actions after each call; [`Session::handle`] for everything else. While [`Session::is_waiting`] for
/// an event that it asked for, it takes no input.
#[derive(Debug)]
pub struct Session {
    settings: Arc<SessionSettings>,
    /// Who is on the other side, when it is known.
    client: Option<IpAddr>,
    secured: bool,
    can_start_tls: bool,
    /// What stands in the names of those who may log in; `None` where nobody may.
    divider: Option<char>,
    login: Option<Exchange>,
    login_failures: u32,
    helo: Option<Helo>,
    transaction: Option<Transaction>,
    body: Option<Body>,
    lines: LineReader,
    waiting: bool,
    closing: bool,
    errors: u32,
    messages: u64,
}

#[derive(Debug, Clone)]
struct Helo {
    name: String,
    extended: bool,
}

impl Session {
    /// A session on a connection under TLS (`secured`) or in clear; there STARTTLS is offered.
    pub fn new(settings: Arc<SessionSettings>, secured: bool) -> Self {
        Self {
            settings,
            client: None,
            secured,
            can_start_tls: !secured,
            divider: None,
            login: None,
            login_failures: 0,
            helo: None,
            transaction: None,
            body: None,
            lines: LineReader::default(),
            waiting: false,
            closing: false,
            errors: 0,
            messages: 0,
        }
    }

    /// With the client's address, for mailboxes that ask for it.
    #[must_use]
    pub fn from_client(self, client: IpAddr) -> Self {
        Self { client: Some(client), ..self }
    }

    /// Beside a proxy, whose user names hold the `divider`.
    #[must_use]
    pub fn beside_proxy(self, divider: Option<char>) -> Self {
        Self { divider, ..self }
    }

    /// What is said first.
    pub fn greeting(&self) -> Reply {
        Reply::new(220, "", format!("{} ESMTP {}", self.settings.host_name, self.settings.product))
    }

    /// Whether it waits for [`Event::TlsStarted`], [`Event::Stored`] or [`Event::LoggedIn`].
    pub fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// Whether what comes next is content of a message.
    pub fn is_in_content(&self) -> bool {
        self.body.is_some()
    }

    /// What the peer called itself, and the protocol it speaks (RFC 3848, RFC 6531 §3.7.1).
    pub fn client(&self) -> (String, &'static str) {
        let utf8 = self.transaction.as_ref().is_some_and(|transaction| transaction.smtputf8);
        let (name, extended) = self.helo.as_ref().map_or(("", false), |helo| (&helo.name, helo.extended));
        let protocol = match (extended, utf8, self.secured) {
            (false, ..) => "SMTP",
            (true, false, false) => "ESMTP",
            (true, false, true) => "ESMTPS",
            (true, true, false) => "UTF8SMTP",
            (true, true, true) => "UTF8SMTPS",
        };
        (name.to_owned(), protocol)
    }

    /// Takes input; returns how many octets it took. 0 means: more is needed, or an action must be done first.
    pub fn receive(&mut self, input: &[u8], actions: &mut Vec<Action>) -> usize {
        if self.waiting || self.closing || input.is_empty() {
            return 0;
        }
        match (self.body.take(), self.transaction.take()) {
            (Some(body), Some(transaction)) => self.receive_content(body, transaction, input, actions),
            (_, transaction) => {
                self.transaction = transaction;
                self.receive_line(input, actions)
            }
        }
    }

    /// Takes anything but input.
    pub fn handle(&mut self, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::TlsStarted => {
                (self.waiting, self.secured, self.can_start_tls) = (false, true, false);
                (self.helo, self.transaction, self.login) = (None, None, None);
            }
            Event::Failed(error) => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.begun = false;
                    transaction.refused.get_or_insert_with(|| error.reply());
                }
            }
            Event::Stored(result) => {
                self.waiting = false;
                self.messages += u64::from(result.is_ok());
                actions.push(Action::Reply(match result {
                    Ok(messages) => stored(&messages),
                    Err(error) => error.reply(),
                }));
            }
            Event::LoggedIn(outcome) => self.logged_in(outcome, actions),
            Event::Idle => {
                self.close(Reply::new(421, "4.4.2", "Too slow, or nothing came for too long"), actions);
            }
            Event::Shutdown => self.close(Reply::new(421, "4.3.2", "Shutting down"), actions),
        }
    }

    fn close(&mut self, reply: Reply, actions: &mut Vec<Action>) {
        self.drop_transaction(actions);
        actions.push(Action::Reply(reply));
        actions.push(Action::Close);
        self.closing = true;
    }

    fn drop_transaction(&mut self, actions: &mut Vec<Action>) {
        if self.transaction.take().is_some_and(|transaction| transaction.begun) {
            actions.push(Action::Abort);
        }
    }

    fn receive_line(&mut self, input: &[u8], actions: &mut Vec<Action>) -> usize {
        let octets_max = if self.expects_secret(input) { sasl::LINE_OCTETS_MAX } else { LINE_BYTES_MAX };
        let line = self.lines.read(input, octets_max);
        let exchange = if matches!(line, Line::More(_)) { None } else { self.login.take() };
        match line {
            Line::More(_) => {}
            Line::TooLong(start) if loses_step(start) && exchange.is_none() => {
                self.refuse_line(start, Reply::new(500, "5.5.2", "Line too long"), actions);
            }
            // Refused when its end is there.
            Line::TooLong(_) => self.login = exchange,
            Line::TooLongEnds(_) => self.refuse(Reply::new(500, "5.5.2", "Line too long"), actions),
            Line::Whole(line) => match exchange {
                Some(exchange) => self.respond(exchange, line, actions),
                None => match parse(line) {
                    Ok(command) => self.command(command, actions),
                    Err(reply) => self.refuse_line(line, reply, actions),
                },
            },
            Line::BareLf(_) if exchange.is_some() => {
                self.refuse(Reply::new(501, "5.5.2", "A line ends in CRLF"), actions);
            }
            Line::BareLf(line) => {
                self.refuse_line(line, Reply::new(500, "5.5.2", "A line ends in CRLF"), actions);
            }
        }
        line.used()
    }

    /// Refuses a line that is no command.
    fn refuse_line(&mut self, line: &[u8], reply: Reply, actions: &mut Vec<Action>) {
        self.refuse(reply, actions);
        if loses_step(line) && !self.closing {
            self.close(Reply::new(421, "4.7.0", "What follows cannot be told from commands"), actions);
        }
    }

    fn refuse(&mut self, reply: Reply, actions: &mut Vec<Action>) {
        // What is refused only for now is our trouble more often than the peer's.
        self.errors += u32::from(reply.code >= 500);
        if self.errors > self.settings.limits.errors_max {
            return self.close(Reply::new(421, "4.7.0", "Too many errors"), actions);
        }
        actions.push(Action::Reply(reply));
    }

    fn answer(&mut self, reply: Reply, actions: &mut Vec<Action>) {
        if reply.is_refusal() { self.refuse(reply, actions) } else { actions.push(Action::Reply(reply)) }
    }
}

fn stored(messages: &[MessageId]) -> Reply {
    let ids: Vec<String> = messages.iter().take(4).map(ToString::to_string).collect();
    Reply::new(250, "2.0.0", format!("Ok: on disk as {}", ids.join(" ")))
}
