//! The protocol as a pure machine: lines and reports in, actions out.
//!
//! Call [`Session::greet`] once, then [`Session::handle`] for every event, and do the actions in their order before the
//! next event. [`Action::StartTls`], [`Action::Authenticate`], [`Action::LogInElsewhere`] and [`Action::Delete`] must be
//! answered by their event before any further line; behind [`Action::HandOver`] there is none.

use postern_shared::id::{MailboxId, MessageId};
use postern_shared::proto::pop3::{Capability, Command, CommandError, MessageNumber, Reply, ResponseCode};
use postern_shared::proto::sasl::{Credentials, Exchange, Mechanism, PlainCredentials, SaslError, Step};
use secrecy::ExposeSecret;

use super::maildrop::{DeleteError, Entry, Maildrop};
pub use super::refusal::LoginRefusal;

/// Logins that may fail before the connection is closed.
pub const LOGIN_FAILURES_MAX: u32 = 3;
/// Lines that may be no usable command before somebody has logged in: an HTTP client talks itself out quickly.
pub const BAD_LINES_MAX: u32 = 10;

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// A line came, here without its CRLF.
    Line(&'a [u8]),
    /// A line came that was longer than any may be; it was skipped.
    LineTooLong,
    /// The handshake that [`Action::StartTls`] asked for succeeded.
    TlsEstablished,
    /// What came of [`Action::Authenticate`].
    Login(Result<Maildrop, LoginRefusal>),
    /// What came of [`Action::LogInElsewhere`]: nothing more to be said, or what the client is told.
    Elsewhere(Result<(), Reply>),
    /// What came of [`Action::Delete`].
    Deleted(Result<(), DeleteError>),
}

/// What must happen next.
#[derive(Debug)]
pub enum Action {
    /// Send these octets.
    Send(Vec<u8>),
    /// Send a list, by [`Session::write_list`].
    SendList(List),
    /// Send a message: `+OK` and content, or the reason why not.
    SendMessage {
        /// Which.
        entry: Entry,
        /// Only its header and so many lines of its body.
        body_lines: Option<u32>,
    },
    /// Send everything, drop every octet already received, shake hands. Report [`Event::TlsEstablished`].
    StartTls,
    /// Find out who it is, and lock the maildrop. Report [`Event::Login`].
    Authenticate(PlainCredentials),
    /// The name is the proxy's: log in where it says. Report [`Event::Elsewhere`].
    LogInElsewhere(Credentials),
    /// Send everything; the rest of the connection is the proxy's.
    HandOver,
    /// Let the time pass that a failed login costs.
    Pause,
    /// Delete these. Report [`Event::Deleted`].
    Delete(MailboxId, Vec<MessageId>),
    /// Send everything and close.
    Close,
}

/// Where the writing of a list stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    what: Listed,
    next: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listed {
    Sizes,
    UniqueIds,
}

impl Listed {
    fn line(self, number: MessageNumber, entry: &Entry) -> String {
        match self {
            Self::Sizes => format!("{number} {}", entry.served_bytes),
            Self::UniqueIds => format!("{number} {}", entry.id),
        }
    }
}

/// RFC 1939 §3; each state owns what only it needs.
#[derive(Debug)]
enum State {
    Authorization(Authorization),
    Transaction(Maildrop),
    /// Deleting; the lock is held until that is done.
    Update(Maildrop),
    Closed,
}

#[derive(Debug, Default)]
struct Authorization {
    user: Option<String>,
    /// The next line is a response in it.
    sasl: Option<Exchange>,
}

/// One client's session.
#[derive(Debug)]
pub struct Session {
    state: State,
    tls: bool,
    utf8: bool,
    login_failures: u32,
    bad_lines: u32,
    product: &'static str,
    /// What stands in the names that are the proxy's.
    divider: Option<char>,
}

impl Session {
    /// A session that begins; `tls` says whether TLS is already up.
    pub fn new(tls: bool) -> Self {
        let state = State::Authorization(Authorization::default());
        Self { state, tls, utf8: false, login_failures: 0, bad_lines: 0, product: "Postern", divider: None }
    }

    /// The same beside a proxy, whose user names hold the `divider`.
    #[must_use]
    pub fn beside_proxy(self, divider: Option<char>) -> Self {
        Self { divider, ..self }
    }

    /// The same under another name, in the greeting and in IMPLEMENTATION.
    #[must_use]
    pub fn called(self, product: &'static str) -> Self {
        Self { product, ..self }
    }

    /// The greeting. Without a timestamp, so nobody tries APOP.
    pub fn greet(&self, actions: &mut Vec<Action>) {
        reply(&Reply::ok(format!("{} ready", self.product)), actions);
    }

    /// The maildrop, once somebody has logged in.
    pub fn maildrop(&self) -> Option<&Maildrop> {
        match &self.state {
            State::Transaction(maildrop) | State::Update(maildrop) => Some(maildrop),
            State::Authorization(_) | State::Closed => None,
        }
    }

    /// Takes in what happened; appends what must be done.
    pub fn handle(&mut self, event: Event<'_>, actions: &mut Vec<Action>) {
        match event {
            Event::Line(line) => self.line(line, actions),
            Event::LineTooLong => {
                if let State::Authorization(authorization) = &mut self.state {
                    authorization.sasl = None;
                }
                self.bad_line(&CommandError::TooLong.to_string(), actions);
            }
            Event::TlsEstablished => {
                // What was said in clear is forgotten (RFC 2595 §4).
                let begun = Self::new(true).called(self.product).beside_proxy(self.divider);
                *self = Self { bad_lines: self.bad_lines, ..begun };
            }
            Event::Login(outcome) => self.login_done(outcome, actions),
            Event::Elsewhere(Ok(())) => {
                self.state = State::Closed;
                reply(&Reply::ok("Logged in"), actions);
                actions.push(Action::HandOver);
            }
            Event::Elsewhere(Err(refusal)) => self.login_failed(&refusal, true, actions),
            Event::Deleted(outcome) => {
                self.state = State::Closed;
                let answer = match outcome {
                    Ok(()) => Reply::ok("Bye"),
                    Err(_) => Reply::err("Messages marked were not deleted").with(ResponseCode::SysTemp),
                };
                reply(&answer, actions);
                actions.push(Action::Close);
            }
        }
    }

    /// Appends lines of `list` until `out` holds at least `octets`; `true` when the list, with its end, is complete.
    pub fn write_list(&self, list: &mut List, octets: usize, out: &mut Vec<u8>) -> bool {
        if let Some(maildrop) = self.maildrop() {
            for (number, entry) in maildrop.listed(list.next) {
                if out.len() >= octets {
                    list.next = number.index();
                    return false;
                }
                out.extend_from_slice(list.what.line(number, &entry).as_bytes());
                out.extend_from_slice(b"\r\n");
            }
        }
        out.extend_from_slice(b".\r\n");
        true
    }

    fn line(&mut self, line: &[u8], actions: &mut Vec<Action>) {
        if let State::Authorization(authorization) = &mut self.state
            && let Some(mut exchange) = authorization.sasl.take()
        {
            let step = exchange.respond(std::str::from_utf8(line).unwrap_or("*"));
            return self.sasl_step(exchange, step, actions);
        }
        match Command::parse(line, self.utf8) {
            Ok(command) => self.command(command, actions),
            Err(error) => self.bad_line(&error.to_string(), actions),
        }
    }

    fn command(&mut self, command: Command, actions: &mut Vec<Action>) {
        match (&mut self.state, command) {
            (_, Command::Capa) => actions.push(Action::Send(self.capabilities())),
            (State::Authorization(_), command) => self.authorization(command, actions),
            (State::Transaction(_), Command::Quit) => self.update(actions),
            (State::Transaction(maildrop), command) => transaction(maildrop, &command, actions),
            // Nothing is read any more once QUIT was.
            (State::Update(_) | State::Closed, _) => {}
        }
    }

    fn authorization(&mut self, command: Command, actions: &mut Vec<Action>) {
        let State::Authorization(authorization) = &mut self.state else { return };
        match command {
            Command::Quit => {
                self.state = State::Closed;
                reply(&Reply::ok("Bye"), actions);
                actions.push(Action::Close);
            }
            Command::Stls if self.tls => reply(&Reply::err("TLS is already active"), actions),
            Command::Stls => {
                reply(&Reply::ok("Begin TLS negotiation"), actions);
                actions.push(Action::StartTls);
            }
            Command::Utf8 => {
                self.utf8 = true;
                reply(&Reply::ok("UTF-8 mode"), actions);
            }
            Command::User(_)
            | Command::Pass(_)
            | Command::AuthList
            | Command::Auth { .. }
            | Command::AuthOther
                if !self.tls =>
            {
                authorization.user = None;
                self.bad_line("Use STLS first: no credentials are taken in clear", actions);
            }
            // Whether the name exists is not told before the password is there.
            Command::User(name) => {
                authorization.user = Some(name);
                reply(&Reply::ok("Send PASS"), actions);
            }
            Command::Pass(password) => match authorization.user.take() {
                Some(user) => {
                    self.log_in(Credentials::Password(PlainCredentials { user, password }), actions);
                }
                None => self.bad_line("Send USER first", actions),
            },
            Command::AuthList => {
                let names: String = self.mechanisms().iter().map(|name| format!("{name}\r\n")).collect();
                actions.push(Action::Send(format!("+OK Mechanisms follow\r\n{names}.\r\n").into_bytes()));
            }
            Command::Auth { mechanism, initial } if self.mechanisms().contains(&mechanism) => {
                let initial = initial.as_ref().map(ExposeSecret::expose_secret);
                match Exchange::begin(mechanism, initial) {
                    Ok((exchange, step)) => self.sasl_step(exchange, Ok(step), actions),
                    Err(error) => self.bad_line(&error.to_string(), actions),
                }
            }
            Command::Auth { .. } | Command::AuthOther => {
                let offered: Vec<_> = self.mechanisms().iter().map(|mechanism| mechanism.name()).collect();
                self.bad_line(&format!("AUTH is offered with {} only", offered.join(", ")), actions);
            }
            _ => self.bad_line("Log in first", actions),
        }
    }

    fn sasl_step(&mut self, exchange: Exchange, step: Result<Step, SaslError>, actions: &mut Vec<Action>) {
        match step {
            Ok(Step::Challenge(challenge)) => {
                if let State::Authorization(authorization) = &mut self.state {
                    authorization.sasl = Some(exchange);
                }
                actions.push(Action::Send(format!("+ {challenge}\r\n").into_bytes()));
            }
            Ok(Step::Done(credentials)) => self.log_in(credentials, actions),
            Err(error) => self.bad_line(&error.to_string(), actions),
        }
    }

    /// A name with the divider says where to log in; any other is a mailbox of the gateway.
    fn log_in(&mut self, credentials: Credentials, actions: &mut Vec<Action>) {
        if self.divider.is_some_and(|divider| credentials.user().contains(divider)) {
            return actions.push(Action::LogInElsewhere(credentials));
        }
        match credentials {
            Credentials::Password(credentials) => actions.push(Action::Authenticate(credentials)),
            Credentials::Bearer(_) => self.login_done(Err(LoginRefusal::NoPassword), actions),
        }
    }

    fn login_done(&mut self, outcome: Result<Maildrop, LoginRefusal>, actions: &mut Vec<Action>) {
        match outcome {
            Ok(maildrop) => {
                let (count, octets) = maildrop.totals();
                reply(&Reply::ok(format!("Maildrop has {count} messages, {octets} octets")), actions);
                self.state = State::Transaction(maildrop);
            }
            Err(refusal) => self.login_failed(&refusal.reply(), refusal != LoginRefusal::Busy, actions),
        }
    }

    fn login_failed(&mut self, why: &Reply, pause: bool, actions: &mut Vec<Action>) {
        self.login_failures += 1;
        if pause {
            actions.push(Action::Pause);
        }
        reply(why, actions);
        if self.login_failures >= LOGIN_FAILURES_MAX {
            self.close(actions);
        }
    }

    fn update(&mut self, actions: &mut Vec<Action>) {
        let State::Transaction(maildrop) = std::mem::replace(&mut self.state, State::Closed) else { return };
        let marked = maildrop.marked();
        if marked.is_empty() {
            reply(&Reply::ok("Bye"), actions);
            actions.push(Action::Close);
        } else {
            actions.push(Action::Delete(maildrop.mailbox(), marked));
            self.state = State::Update(maildrop);
        }
    }

    fn bad_line(&mut self, why: &str, actions: &mut Vec<Action>) {
        reply(&Reply::err(why.to_owned()), actions);
        if matches!(self.state, State::Authorization(_)) {
            self.bad_lines += 1;
            if self.bad_lines >= BAD_LINES_MAX {
                self.close(actions);
            }
        }
    }

    fn close(&mut self, actions: &mut Vec<Action>) {
        self.state = State::Closed;
        actions.push(Action::Close);
    }

    /// A mailbox of the gateway is opened by a password only; what the proxy takes, it can pass on.
    fn mechanisms(&self) -> &'static [Mechanism] {
        if self.divider.is_some() { &Mechanism::ALL } else { &[Mechanism::Plain] }
    }

    fn capabilities(&self) -> Vec<u8> {
        let mut list = vec![Capability::Top, Capability::Uidl];
        if self.tls {
            list.extend([Capability::User, Capability::Sasl(self.mechanisms())]);
        } else {
            list.push(Capability::Stls);
        }
        list.extend([
            Capability::Pipelining,
            Capability::RespCodes,
            Capability::AuthRespCode,
            Capability::Utf8,
            Capability::ExpireNever,
            Capability::Implementation(self.product),
        ]);
        let lines: String = list.iter().map(|capability| format!("{capability}\r\n")).collect();
        format!("+OK Capabilities follow\r\n{lines}.\r\n").into_bytes()
    }
}

fn transaction(maildrop: &mut Maildrop, command: &Command, actions: &mut Vec<Action>) {
    let no_such = || Reply::err("No such message");
    let one = |maildrop: &Maildrop, number: MessageNumber, what: Listed| {
        maildrop.message(number).map_or_else(no_such, |entry| Reply::ok(what.line(number, &entry)))
    };
    let answer = match *command {
        Command::Stat => {
            let (count, octets) = maildrop.totals();
            Reply::ok(format!("{count} {octets}"))
        }
        Command::List(None) => return list(maildrop, Listed::Sizes, actions),
        Command::Uidl(None) => return list(maildrop, Listed::UniqueIds, actions),
        Command::List(Some(number)) => one(maildrop, number, Listed::Sizes),
        Command::Uidl(Some(number)) => one(maildrop, number, Listed::UniqueIds),
        Command::Retr(number) => match maildrop.message(number) {
            Some(entry) => return actions.push(Action::SendMessage { entry, body_lines: None }),
            None => no_such(),
        },
        Command::Top { number, body_lines } => match maildrop.message(number) {
            Some(entry) => {
                return actions.push(Action::SendMessage { entry, body_lines: Some(body_lines) });
            }
            None => no_such(),
        },
        Command::Dele(number) if maildrop.mark(number) => Reply::ok(format!("Message {number} marked")),
        Command::Dele(_) => no_such(),
        Command::Noop => Reply::ok(""),
        Command::Rset => {
            maildrop.unmark_all();
            Reply::ok("No message is marked")
        }
        _ => Reply::err("Not after login"),
    };
    reply(&answer, actions);
}

fn list(maildrop: &Maildrop, what: Listed, actions: &mut Vec<Action>) {
    let (count, _) = maildrop.totals();
    reply(&Reply::ok(format!("{count} messages")), actions);
    actions.push(Action::SendList(List { what, next: 0 }));
}

fn reply(reply: &Reply, actions: &mut Vec<Action>) {
    let mut line = Vec::new();
    reply.write(&mut line);
    actions.push(Action::Send(line));
}
