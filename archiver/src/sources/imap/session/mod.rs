//! The client's side of an IMAP session, as a pure machine: octets in, octets and events out.
//!
//! The order of calls:
//!
//! 1. [`Session::new`]; with TLS from the first octet the connection must already be TLS.
//! 2. Feed [`Session::receive`] until [`Event::StartTls`] (only with STARTTLS): drop every octet read so far,
//!    shake hands, call [`Session::tls_established`]. Feed on until [`Event::LoggedIn`], or [`Event::Deflate`]: then both
//!    directions are compressed from the next octet on.
//! 3. [`Session::command`] in any number; up to `window` are under way at once. What is untagged comes as
//!    [`Event::Data`], the end of each command as [`Event::Done`], in the order of the commands.
//!
//! After every call, send what [`Session::take_output`] gives.
//!
//! Promises
//! - No credential is written before TLS is up. Nothing a server said before TLS counts after it (RFC 3501 §6.2.1): no
//!   capability, no mailbox, no PREAUTH, and nothing behind its answer to STARTTLS.
//! - Nobody is followed to another server (RFC 2221).
//! - Lines and queues are bounded; a message's content is handed on, never kept.
//! - An error ends the session: the machine must not be used any more.
//!
//! Not here: sockets, compression, deadlines, what commands mean (`imap`).

mod error;
mod login;
mod options;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use postern_shared::proto::imap::command::Pieces;
use postern_shared::proto::imap::{
    Capabilities, Code, Command, Condition, Fetch, Reader, Received, Response, Text, Uid,
};
use zeroize::Zeroizing;

pub use error::ImapError;
use login::Exchange;
pub use options::{Login, Mechanism, Options};

/// Untagged responses before TLS and login; more is somebody who keeps us busy.
const EARLY_RESPONSES_MAX: u32 = 100;

/// Names a command given to [`Session::command`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

/// What happened.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The server is ready for a TLS handshake. Drop what was read and not yet received.
    StartTls,
    /// Compression begins with the next octet in both directions; commands may be given.
    Deflate,
    /// Commands may be given.
    LoggedIn,
    /// Something untagged.
    Data(Response),
    /// A message's content begins: whose, if that was told already, and of how many octets. The [`Event::Data`] that
    /// follows the content tells the rest.
    ContentBegins(Option<Uid>, u64),
    /// The next piece of it.
    Content(&'a [u8]),
    /// The server waits in IDLE.
    Idles,
    /// A command has ended.
    Done(Ticket, Condition, Text),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Greeting,
    StartTls,
    Handshake,
    Capabilities,
    Authenticate,
    CapabilitiesAgain,
    /// ID, ENABLE and NAMESPACE are under way.
    Prepare,
    Compress,
    Ready,
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Of the machine's own, by the phase.
    Own,
    /// Given from outside.
    Given(Ticket),
    /// Given from outside, and waits until it is told to end.
    Idle(Ticket),
}

#[derive(Debug)]
struct UnderWay {
    tag: u64,
    purpose: Purpose,
    name: &'static str,
}

/// A session; see the module for the order of calls.
pub struct Session {
    options: Options,
    phase: Phase,
    reader: Reader,
    capabilities: Capabilities,
    enabled: Capabilities,
    namespaces: Option<Response>,
    exchange: Option<Exchange>,
    early: u32,
    tag: u64,
    tickets: u64,
    pending: VecDeque<(Command, Purpose, &'static str)>,
    under_way: VecDeque<UnderWay>,
    /// What is left of the command sent last, to be sent behind a `+`.
    held: Pieces,
    output: Zeroizing<Vec<u8>>,
}

impl Session {
    /// A session in which nothing was said yet.
    ///
    /// # Errors
    /// [`ImapError::BadCredentials`] when they could not be sent.
    pub fn new(options: Options) -> Result<Self, ImapError> {
        options.login.check()?;
        Ok(Self {
            options,
            phase: Phase::Greeting,
            reader: Reader::default(),
            capabilities: Capabilities::default(),
            enabled: Capabilities::default(),
            namespaces: None,
            exchange: None,
            early: 0,
            tag: 0,
            tickets: 0,
            pending: VecDeque::new(),
            under_way: VecDeque::new(),
            held: Pieces::new(),
            output: Zeroizing::default(),
        })
    }

    /// The TLS handshake that [`Event::StartTls`] asked for succeeded, and the certificate is trusted.
    pub fn tls_established(&mut self) {
        if self.phase == Phase::Handshake {
            self.reader.clear();
            self.capabilities = Capabilities::default();
            self.ask_capabilities(Phase::Capabilities);
        }
    }

    /// What the server offered behind the login.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// What was enabled.
    pub fn enabled(&self) -> &Capabilities {
        &self.enabled
    }

    /// Whether names of mailboxes are UTF-8, both ways (RFC 6855 §3).
    pub fn is_utf8(&self) -> bool {
        self.enabled.has("UTF8=ACCEPT")
    }

    /// The answer to NAMESPACE, if there was one.
    pub fn namespaces(&self) -> Option<&Response> {
        self.namespaces.as_ref()
    }

    /// Gives a command, whose name people are told when it takes too long.
    pub fn command(&mut self, command: Command, name: &'static str) -> Ticket {
        let ticket = self.ticket();
        self.give(command, Purpose::Given(ticket), name);
        ticket
    }

    /// Waits for changes (RFC 2177): [`Event::Idles`], then data, until [`Session::end_idle`]. Give it alone.
    pub fn idle(&mut self) -> Ticket {
        let ticket = self.ticket();
        self.give(Command::new("IDLE"), Purpose::Idle(ticket), "IDLE");
        ticket
    }

    /// Ends the waiting.
    pub fn end_idle(&mut self) {
        if matches!(self.under_way.front(), Some(UnderWay { purpose: Purpose::Idle(_), .. })) {
            self.output.extend_from_slice(b"DONE\r\n");
        }
    }

    /// Takes back every command that was not sent yet.
    pub fn cancel_pending(&mut self) {
        self.pending.clear();
    }

    /// How many commands were given and have not ended.
    pub fn outstanding(&self) -> usize {
        self.pending.len() + self.under_way.len()
    }

    /// How many commands were given.
    pub fn commands(&self) -> u64 {
        self.tickets
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    fn give(&mut self, command: Command, purpose: Purpose, name: &'static str) {
        self.pending.push_back((command, purpose, name));
        self.send_pending();
    }

    fn own(&mut self, command: &Command, name: &'static str) {
        self.write(command, Purpose::Own, name);
    }

    fn send_pending(&mut self) {
        let idles = |under_way: &UnderWay| matches!(under_way.purpose, Purpose::Idle(_));
        while self.phase == Phase::Ready
            && self.held.is_empty()
            && self.under_way.len() < self.options.window.max(1)
            && !self.under_way.iter().any(idles)
        {
            let Some((command, purpose, name)) = self.pending.pop_front() else { break };
            self.write(&command, purpose, name);
        }
    }

    fn write(&mut self, command: &Command, purpose: Purpose, name: &'static str) {
        self.tag += 1;
        let unasked = self.capabilities.literal_octets_unasked();
        self.held = command.write(&tag_text(self.tag), unasked, self.is_utf8());
        self.under_way.push_back(UnderWay { tag: self.tag, purpose, name });
        self.send_held();
    }

    fn send_held(&mut self) {
        if let Some(piece) = self.held.pop_front() {
            self.say(&piece);
        }
    }

    /// Appends to the output. A buffer that must grow is replaced, so that the old one is wiped.
    fn say(&mut self, octets: &[u8]) {
        let needed = self.output.len() + octets.len();
        if needed > self.output.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.next_power_of_two().max(256)));
            larger.extend_from_slice(&self.output);
            self.output = larger;
        }
        self.output.extend_from_slice(octets);
    }

    /// What must be sent to the server now. May hold the password: wiped when dropped.
    pub fn take_output(&mut self) -> Zeroizing<Vec<u8>> {
        std::mem::take(&mut self.output)
    }

    /// What is awaited, for messages to people.
    pub fn waiting_for(&self) -> &'static str {
        match self.phase {
            Phase::Greeting => "the connection",
            Phase::Handshake => "STARTTLS",
            _ => self.under_way.front().map_or("nothing", |under_way| under_way.name),
        }
    }

    /// Takes in what the server sent: how much of `input` was used, and what it led to.
    ///
    /// Call again with the rest until it gives no event; then everything was used.
    ///
    /// # Errors
    /// When the session cannot go on.
    pub fn receive<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Option<Event<'a>>), ImapError> {
        let mut used = 0;
        loop {
            if self.phase == Phase::Handshake {
                return Ok((input.len(), None));
            }
            let (taken, received) = self.reader.next(&input[used..])?;
            used += taken;
            let event = match received {
                None => return Ok((used, None)),
                Some(Received::ContentBegins(octets)) => {
                    if self.phase != Phase::Ready {
                        return Err(ImapError::Unsolicited("a message"));
                    }
                    Some(Event::ContentBegins(Fetch::uid_in(self.reader.begun()), octets))
                }
                Some(Received::Content(piece)) => Some(Event::Content(piece)),
                Some(Received::Line) => {
                    let response = Response::parse(self.reader.line())?;
                    self.response(response)?
                }
            };
            if event.is_some() {
                return Ok((used, event));
            }
        }
    }

    fn response(&mut self, response: Response) -> Result<Option<Event<'static>>, ImapError> {
        if self.phase == Phase::Greeting {
            return self.greeting(response).map(|()| None);
        }
        match response {
            Response::Continue(challenge) => self.go_on(&challenge),
            Response::Tagged { tag, condition, text } => self.tagged(&tag, condition, text),
            Response::Status(Condition::Bye, _) if self.phase == Phase::Over => Ok(None),
            Response::Status(Condition::Bye, text) => Err(ImapError::Bye(text)),
            Response::Status(Condition::PreAuth, _) => Err(ImapError::Unsolicited("a greeting")),
            other if self.phase == Phase::Ready => Ok(Some(Event::Data(other))),
            other => self.early(other).map(|()| None),
        }
    }

    /// Something untagged before commands are given. What came in clear does not count.
    fn early(&mut self, response: Response) -> Result<(), ImapError> {
        self.early += 1;
        if self.early > EARLY_RESPONSES_MAX {
            return Err(ImapError::Unsolicited("a hundred responses"));
        }
        match response {
            _ if self.phase == Phase::StartTls => {}
            Response::Capability(capabilities)
            | Response::Status(_, Text { code: Some(Code::Capability(capabilities)), .. }) => {
                self.capabilities = capabilities;
            }
            Response::Enabled(enabled) => self.enabled = enabled,
            namespaces @ Response::Namespace { .. } => self.namespaces = Some(namespaces),
            _ => {}
        }
        Ok(())
    }

    fn go_on(&mut self, challenge: &str) -> Result<Option<Event<'static>>, ImapError> {
        if !self.held.is_empty() {
            self.send_held();
            self.send_pending();
            return Ok(None);
        }
        if self.phase == Phase::Authenticate {
            return self.answer_challenge(challenge).map(|()| None);
        }
        match self.under_way.front() {
            Some(UnderWay { purpose: Purpose::Idle(_), .. }) => Ok(Some(Event::Idles)),
            _ => Err(ImapError::Unsolicited("a continuation request")),
        }
    }

    fn tagged(
        &mut self,
        tag: &str,
        condition: Condition,
        text: Text,
    ) -> Result<Option<Event<'static>>, ImapError> {
        // Servers may do several at once and end them in any order (RFC 3501 §5.5); before the login we wait for each.
        let at = self.under_way.iter().position(|next| tag_text(next.tag) == tag);
        let at = at.filter(|at| *at == 0 || self.phase == Phase::Ready);
        let Some(next) = at.and_then(|at| self.under_way.remove(at)) else {
            return Err(ImapError::Unsolicited("the end of another command"));
        };
        if next.tag == self.tag {
            // Refused before all of it was sent.
            self.held.clear();
        }
        match next.purpose {
            Purpose::Own => self.own_ended(next.name, condition, text),
            Purpose::Given(ticket) | Purpose::Idle(ticket) => {
                self.send_pending();
                Ok(Some(Event::Done(ticket, condition, text)))
            }
        }
    }

    /// Ends the session in good order: the server closes it.
    pub fn logout(&mut self) {
        self.pending.clear();
        if self.phase == Phase::Ready && self.held.is_empty() {
            self.own(&Command::new("LOGOUT"), "LOGOUT");
            self.phase = Phase::Over;
        }
    }
}

fn tag_text(tag: u64) -> String {
    format!("p{tag}")
}

/// Without the output, which may hold the password.
impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("phase", &self.phase)
            .field("capabilities", &self.capabilities)
            .field("under_way", &self.under_way)
            .finish_non_exhaustive()
    }
}
