//! The client's side of a POP3 session, as a pure machine.
//!
//! Bytes from the server go into [`Client::receive`], bytes for the server come out of [`Client::take_output`];
//! in between the machine says what happened. The order of calls:
//!
//! 1. [`Client::new`]; with [`TlsStart::Implicit`] the connection must already be TLS.
//! 2. Feed `receive` until [`Event::StartTls`] (only with [`TlsStart::Stls`]): drop every byte read so far,
//!    shake hands, call [`Client::tls_established`]. Feed on until [`Event::LoggedIn`].
//! 3. [`Client::list`], [`Client::retrieve`], [`Client::delete`], [`Client::quit`] in any number and order; each is
//!    answered by one event, in that order. With PIPELINING up to `window` commands are under way at once.
//!
//! After every call, send what `take_output` gives.
//!
//! Promises
//! - No credential is written before TLS is up. Nothing a server said before TLS is believed after it: not its
//!   capabilities (they are not even asked for), not what it sent behind its `+OK` to STLS (RFC 2595 §4).
//! - Every line, list and queue is bounded. Message content is handed on, never kept.
//! - An error ends the session: the machine must not be used any more.
//!
//! Not here: sockets, deadlines, trust in certificates, what to do with a message.

mod error;
mod event;
mod lines;
mod listing;
mod login;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use secrecy::ExposeSecret;
use zeroize::Zeroizing;

pub use error::ClientError;
pub use event::{Event, Options, TlsStart};
use lines::{Lines, Progress};
pub use listing::Listed;
use listing::Listing;

use super::dot::{Decoded, DotDecoder};
use super::reply::printable;
use super::{Capabilities, MessageNumber, Reply};
use crate::proto::sasl::{Answers, Credentials, Mechanism};

/// Lines of a CAPA response that are read.
const CAPABILITIES_MAX: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Greeting,
    Stls,
    Handshake,
    CapaBeforeLogin,
    Auth(Mechanism),
    User,
    Pass,
    CapaAfterLogin,
    Ready,
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    Uidl,
    List,
    Retr(MessageNumber),
    Dele(MessageNumber),
    Quit,
}

/// What the next bytes belong to.
#[derive(Debug)]
enum Reading {
    /// The first line of a response.
    Status,
    /// A list of capabilities, of which so many lines were read.
    Capabilities(usize),
    UniqueIds,
    Sizes,
    Content(MessageNumber, DotDecoder),
}

/// A session; see the module for the order of calls.
pub struct Client {
    options: Options,
    phase: Phase,
    reading: Reading,
    lines: Lines,
    capabilities: Capabilities,
    capabilities_known: bool,
    answers: Option<Answers>,
    listing: Listing,
    pending: VecDeque<Request>,
    under_way: VecDeque<Request>,
    output: Zeroizing<Vec<u8>>,
}

impl Client {
    /// A session in which nothing was said yet.
    ///
    /// # Errors
    /// [`ClientError::BadCredentials`] when they could not be sent in a line.
    pub fn new(options: Options) -> Result<Self, ClientError> {
        let secret = match &options.credentials {
            Credentials::Password(credentials) => credentials.password.expose_secret(),
            Credentials::Bearer(credentials) => credentials.token.expose_secret(),
        };
        for text in [options.credentials.user(), secret] {
            if text.is_empty() || text.chars().any(char::is_control) {
                return Err(ClientError::BadCredentials);
            }
        }
        Ok(Self {
            options,
            phase: Phase::Greeting,
            reading: Reading::Status,
            lines: Lines::default(),
            capabilities: Capabilities::default(),
            capabilities_known: false,
            answers: None,
            listing: Listing::default(),
            pending: VecDeque::new(),
            under_way: VecDeque::new(),
            output: Zeroizing::default(),
        })
    }

    /// The TLS handshake that [`Event::StartTls`] asked for succeeded, and the certificate is trusted.
    pub fn tls_established(&mut self) {
        if self.phase == Phase::Handshake {
            self.lines.clear();
            self.ask_capabilities(Phase::CapaBeforeLogin);
        }
    }

    /// Asks for the list of messages: [`Event::Listed`].
    pub fn list(&mut self) {
        self.request(Request::Uidl);
        self.request(Request::List);
    }

    /// Asks for a message: [`Event::MessageBegins`], content, [`Event::MessageEnds`], or
    /// [`Event::MessageRefused`].
    pub fn retrieve(&mut self, number: MessageNumber) {
        self.request(Request::Retr(number));
    }

    /// Marks a message for deletion: [`Event::Deleted`] or [`Event::DeleteRefused`].
    pub fn delete(&mut self, number: MessageNumber) {
        self.request(Request::Dele(number));
    }

    /// Deletes what is marked and ends the session: [`Event::Bye`].
    pub fn quit(&mut self) {
        self.request(Request::Quit);
    }

    /// Takes back every [`Client::retrieve`] that was not sent yet; how many. Those sent are still answered.
    pub fn cancel_retrieves(&mut self) -> usize {
        let before = self.pending.len();
        self.pending.retain(|request| !matches!(request, Request::Retr(_)));
        before - self.pending.len()
    }

    /// What must be sent to the server now. May hold the password: wiped when dropped.
    pub fn take_output(&mut self) -> Zeroizing<Vec<u8>> {
        std::mem::take(&mut self.output)
    }

    /// Whether an answer is awaited: the driver's deadline runs.
    pub fn is_waiting(&self) -> bool {
        !matches!(self.phase, Phase::Ready | Phase::Over) || !self.under_way.is_empty()
    }

    /// The command whose answer is awaited, for messages to people.
    pub fn waiting_for(&self) -> &'static str {
        match self.phase {
            Phase::Greeting => "the connection",
            Phase::Stls | Phase::Handshake => "STLS",
            Phase::CapaBeforeLogin | Phase::CapaAfterLogin => "CAPA",
            Phase::Auth(Mechanism::Plain) => "AUTH PLAIN",
            Phase::Auth(Mechanism::Login) => "AUTH LOGIN",
            Phase::Auth(Mechanism::XOAuth2) => "AUTH XOAUTH2",
            Phase::Auth(Mechanism::OAuthBearer) => "AUTH OAUTHBEARER",
            Phase::User => "USER",
            Phase::Pass => "PASS",
            Phase::Ready | Phase::Over => match self.under_way.front() {
                Some(Request::Uidl) => "UIDL",
                Some(Request::List) => "LIST",
                Some(Request::Retr(_)) => "RETR",
                Some(Request::Dele(_)) => "DELE",
                Some(Request::Quit) => "QUIT",
                None => "nothing",
            },
        }
    }

    /// Takes in what the server sent: how much of `input` was used, and what it led to.
    ///
    /// Call again with the rest until it gives no event; then everything was used.
    ///
    /// # Errors
    /// When the session cannot go on.
    pub fn receive<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Option<Event<'a>>), ClientError> {
        let mut used = 0;
        while used < input.len() {
            let rest = &input[used..];
            if self.phase == Phase::Handshake {
                return Ok((input.len(), None));
            }
            if let Reading::Content(number, decoder) = &mut self.reading {
                let number = *number;
                let (taken, decoded) = decoder.next(rest);
                used += taken;
                match decoded {
                    Decoded::Content(piece) => return Ok((used, Some(Event::Content(piece)))),
                    Decoded::NeedMore => continue,
                    Decoded::End => {
                        self.answered();
                        return Ok((used, Some(Event::MessageEnds(number))));
                    }
                }
            }
            if !self.is_waiting() {
                return Err(ClientError::Unsolicited(printable(rest)));
            }
            let (taken, progress) = self.lines.feed(rest);
            used += taken;
            match progress {
                Progress::NeedMore => {}
                Progress::TooLong => return Err(ClientError::LineTooLong { command: self.waiting_for() }),
                Progress::Line => {
                    if let Some(event) = self.line()? {
                        return Ok((used, Some(event)));
                    }
                }
            }
        }
        Ok((used, None))
    }

    fn line(&mut self) -> Result<Option<Event<'static>>, ClientError> {
        match self.reading {
            Reading::Status | Reading::Content(..) => self.status_line(),
            Reading::Capabilities(_) | Reading::UniqueIds | Reading::Sizes => self.list_line(),
        }
    }

    fn status_line(&mut self) -> Result<Option<Event<'static>>, ClientError> {
        let line = self.lines.line();
        if let (Phase::Auth(_), [b'+'] | [b'+', b' ', ..]) = (self.phase, line) {
            let challenge = std::str::from_utf8(&line[1..]).unwrap_or_default().trim();
            if let Some(response) = self.answers.as_mut().and_then(|answers| answers.answer(challenge)) {
                self.say(&[&response]);
                return Ok(None);
            }
        }
        let reply = Reply::parse(line)
            .ok_or_else(|| ClientError::NotPop3 { command: self.waiting_for(), said: printable(line) })?;
        if self.phase == Phase::Ready {
            return self.answer(reply);
        }
        self.login_step(reply)?;
        Ok(match self.phase {
            Phase::Handshake => Some(Event::StartTls),
            Phase::Ready => Some(Event::LoggedIn),
            _ => None,
        })
    }

    fn list_line(&mut self) -> Result<Option<Event<'static>>, ClientError> {
        let line = self.lines.line();
        if line == b"." {
            return self.list_end();
        }
        let line = line.strip_prefix(b".").unwrap_or(line);
        let messages_max = self.options.messages_max;
        match &mut self.reading {
            Reading::Capabilities(count) => {
                *count += 1;
                if *count > CAPABILITIES_MAX {
                    return Err(ClientError::EndlessCapabilities);
                }
                self.capabilities.read_line(line);
            }
            Reading::UniqueIds => self.listing.unique_id(line, messages_max)?,
            Reading::Sizes => self.listing.size(line, messages_max)?,
            Reading::Status | Reading::Content(..) => {}
        }
        Ok(None)
    }

    fn list_end(&mut self) -> Result<Option<Event<'static>>, ClientError> {
        match std::mem::replace(&mut self.reading, Reading::Status) {
            Reading::Capabilities(_) if self.phase == Phase::CapaBeforeLogin => {
                self.capabilities_known = true;
                self.log_in()?;
                Ok(None)
            }
            Reading::Capabilities(_) => {
                self.phase = Phase::Ready;
                Ok(Some(Event::LoggedIn))
            }
            Reading::Sizes => {
                self.answered();
                std::mem::take(&mut self.listing)
                    .finish(self.options.same_uidls)
                    .map(|(listed, left_out)| Some(Event::Listed(listed, left_out)))
            }
            _ => {
                self.answered();
                Ok(None)
            }
        }
    }

    /// The first line of the answer to the oldest request under way.
    fn answer(&mut self, reply: Reply) -> Result<Option<Event<'static>>, ClientError> {
        let command = self.waiting_for();
        let Some(request) = self.under_way.front().copied() else {
            return Err(ClientError::Unsolicited(reply.to_string()));
        };
        let event = match (request, reply.ok) {
            (Request::Retr(number), true) => {
                self.reading = Reading::Content(number, DotDecoder::new());
                return Ok(Some(Event::MessageBegins(number)));
            }
            (Request::Uidl, true) => {
                self.reading = Reading::UniqueIds;
                return Ok(None);
            }
            (Request::List, true) => {
                self.reading = Reading::Sizes;
                return Ok(None);
            }
            (Request::Retr(number), false) => Event::MessageRefused(number, reply),
            (Request::Dele(number), true) => Event::Deleted(number),
            (Request::Dele(number), false) => Event::DeleteRefused(number, reply),
            (Request::Quit, true) => Event::Bye,
            (Request::Uidl | Request::List | Request::Quit, false) => {
                return Err(ClientError::Refused { command, reply });
            }
        };
        self.answered();
        if request == Request::Quit {
            self.phase = Phase::Over;
        }
        Ok(Some(event))
    }

    /// The oldest request under way has its whole answer.
    fn answered(&mut self) {
        self.reading = Reading::Status;
        self.under_way.pop_front();
        self.send_requests();
    }

    fn request(&mut self, request: Request) {
        self.pending.push_back(request);
        self.send_requests();
    }

    fn send_requests(&mut self) {
        let window = if self.capabilities.pipelining { self.options.window.max(1) } else { 1 };
        while self.phase == Phase::Ready && self.under_way.len() < window {
            let Some(request) = self.pending.pop_front() else { break };
            match request {
                Request::Uidl => self.say(&["UIDL"]),
                Request::List => self.say(&["LIST"]),
                Request::Retr(number) => self.say(&["RETR ", &number.to_string()]),
                Request::Dele(number) => self.say(&["DELE ", &number.to_string()]),
                Request::Quit => self.say(&["QUIT"]),
            }
            self.under_way.push_back(request);
        }
    }

    /// Appends a line to the output. A buffer that must grow is replaced, so that the old one is wiped.
    fn say(&mut self, parts: &[&str]) {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let needed = self.output.len() + len + 2;
        if needed > self.output.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.next_power_of_two().max(256)));
            larger.extend_from_slice(&self.output);
            self.output = larger;
        }
        for part in parts {
            self.output.extend_from_slice(part.as_bytes());
        }
        self.output.extend_from_slice(b"\r\n");
    }
}

/// Without the output, which may hold the password.
impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("phase", &self.phase)
            .field("capabilities", &self.capabilities)
            .field("under_way", &self.under_way)
            .finish_non_exhaustive()
    }
}
