//! The pure machine: events and octets in, actions out.
//!
//! Promises: those of `smtp_receiver`. Not here: decoding content (`transaction`), I/O (`driver`).

mod commands;
mod content;

use std::net::IpAddr;
use std::sync::Arc;

use postern_shared::id::MessageId;
use postern_shared::proto::mime::trace::Normalised;
use postern_shared::proto::smtp::command::{LINE_BYTES_MAX, loses_step, parse};
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
    /// The peer took too long: nothing came, or too little.
    Idle,
    /// The daemon is stopping.
    Shutdown,
}

/// What must happen next, in this order.
#[derive(Debug, PartialEq, Eq)]
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
    helo: Option<Helo>,
    transaction: Option<Transaction>,
    body: Option<Body>,
    /// The line is too long; it is dropped up to its end.
    skipping: bool,
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
            helo: None,
            transaction: None,
            body: None,
            skipping: false,
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

    /// What is said first.
    pub fn greeting(&self) -> Reply {
        Reply::new(220, "", format!("{} ESMTP {}", self.settings.host_name, self.settings.product))
    }

    /// Whether it waits for [`Event::TlsStarted`] or [`Event::Stored`].
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
                (self.helo, self.transaction) = (None, None);
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
        let end = memchr::memchr(b'\n', &input[..input.len().min(LINE_BYTES_MAX)]);
        let Some(end) = end else {
            if input.len() < LINE_BYTES_MAX {
                // While skipping, nothing of the line is worth keeping.
                return if self.skipping { input.len() } else { 0 };
            }
            if !std::mem::replace(&mut self.skipping, true) && loses_step(input) {
                self.refuse_line(input, Reply::new(500, "5.5.2", "Line too long"), actions);
            }
            return LINE_BYTES_MAX;
        };
        let taken = end + 1;
        if std::mem::take(&mut self.skipping) {
            self.refuse(Reply::new(500, "5.5.2", "Line too long"), actions);
            return taken;
        }
        match input[..end].strip_suffix(b"\r") {
            None => {
                self.refuse_line(&input[..end], Reply::new(500, "5.5.2", "A line ends in CRLF"), actions);
            }
            Some(line) => match parse(line) {
                Ok(command) => self.command(command, actions),
                Err(reply) => self.refuse_line(line, reply, actions),
            },
        }
        taken
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
