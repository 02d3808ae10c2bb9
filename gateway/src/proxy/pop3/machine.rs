//! The relay as a pure machine: octets of both sides in, octets for both sides and recordings out.
//!
//! Call [`Relay::from_client`] and [`Relay::from_server`] with what was read and not used yet, whenever there is something
//! new; both say how much they used. Do the actions in their order. [`Action::Record`], [`Action::Begin`] and
//! [`Action::Finish`] must be answered by [`Relay::recorded`], in their order. Until [`Action::Begin`] or [`Action::Finish`] is,
//! nothing of the server's is used; while [`Action::Record`] is done, the messages behind it may come ([`Relay::takes_responses`]).
//!
//! What the server sent, or what was recorded, may make room for what is there already: call both until neither uses anything.
//!
//! Every request's response has a place in one queue (`awaited`), in the order of the requests, whoever asked and whoever
//! answers. So the client gets its responses in order and exactly one for each command, and what the server sends is always
//! the response to the first in the queue, or nothing that we asked for. Messages that are whole and wait for their copy stand
//! in a second queue (`committing`) before that one; nothing but such messages passes while it has any.

use std::collections::VecDeque;

use postern_shared::proto::pop3::dot::Decoded;
use postern_shared::proto::pop3::{
    COMMAND_OCTETS_MAX, DotDecoder, MessageNumber, Reply, ResponseCode, UidlToken,
};

pub use super::action::{Action, End, Options, Unrecorded};
use super::capabilities::CapabilityList;
use super::first_line::{LINE_OCTETS_MAX, line_end, passed};
use super::message::{Message, Reader, Way};
use super::numbers::{Numbers, Refused};
use super::request::Request;
use super::transfer::Committing;

/// Responses awaited at once: few enough that requests never fill the server's buffers while it writes responses.
const AWAITED_MAX: usize = 64;

/// What the first response in the queue is.
#[derive(Debug)]
pub(super) enum Awaited {
    /// Ours.
    Here(Vec<u8>),
    Line,
    Listing,
    Capabilities,
    /// For us alone.
    UniqueId(MessageNumber),
    Message(MessageNumber, Reader),
    Quit,
}

/// How much of it came.
#[derive(Debug)]
pub(super) enum Reading {
    Status,
    Listing(DotDecoder),
    Capabilities(Box<CapabilityList>),
    Message(Box<Message>),
}

/// How far the client's QUIT got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quit {
    Unsaid,
    /// It waits for all that the client asked for before.
    Said,
    /// The server was asked, or it will not be.
    Done,
}

/// What was asked of the recorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Begin,
    Finish,
}

/// One client's session behind its login.
#[derive(Debug)]
pub struct Relay {
    pub(super) options: Options,
    pub(super) awaited: VecDeque<Awaited>,
    /// Whole messages whose copies are not known to be on disk yet, in the order of their responses.
    pub(super) committing: VecDeque<Committing>,
    pub(super) reading: Reading,
    pub(super) asked: Option<Asked>,
    /// What is known to be recorded, of the messages of this session.
    pub(super) recorded: Numbers,
    /// What the server sent and we could not record.
    pub(super) refused: Refused,
    /// The deletion that waits for its message to be recorded; nothing behind it is asked for before.
    pub(super) deleting: Option<MessageNumber>,
    /// Without pipelining: the message that is asked for when its unique-id was told.
    next: Option<(MessageNumber, Reader)>,
    /// The unique-id of the message that comes next.
    uidl: Option<UidlToken>,
    /// Its unique-id was asked for, and refused.
    uidl_refused: bool,
    /// The server has not shown yet that it knows no UIDL.
    knows_uidl: bool,
    /// The rest of a line that is too long is not looked at.
    skipping: bool,
    quit: Quit,
    client_gone: bool,
    /// Why the server says nothing more.
    server_lost: Option<End>,
    /// What the server sent next has to wait for `committing`.
    pub(super) waiting: bool,
    pub(super) closed: bool,
    pub(super) progress: u64,
}

impl Relay {
    /// A session whose client and server both believe that the client has just logged in.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            awaited: VecDeque::new(),
            committing: VecDeque::new(),
            reading: Reading::Status,
            asked: None,
            recorded: Numbers::default(),
            refused: Refused::default(),
            deleting: None,
            next: None,
            uidl: None,
            uidl_refused: false,
            knows_uidl: true,
            skipping: false,
            quit: Quit::Unsaid,
            client_gone: false,
            server_lost: None,
            waiting: false,
            closed: false,
            progress: 0,
        }
    }

    /// Whether nothing is under way: the place between two commands.
    pub fn is_idle(&self) -> bool {
        self.awaited.is_empty()
            && self.committing.is_empty()
            && self.deleting.is_none()
            && self.asked.is_none()
    }

    /// How many steps the server has taken through its responses: a number that grows as long as it answers.
    pub fn progress(&self) -> u64 {
        self.progress
    }

    /// Whether another command would be looked at.
    pub fn takes_commands(&self) -> bool {
        let room =
            if self.options.pipelining { self.awaited.len() < AWAITED_MAX } else { self.awaited.is_empty() };
        room && self.deleting.is_none() && self.quit == Quit::Unsaid && !self.client_gone && !self.closed
    }

    /// Whether more of the server's would be looked at before something was recorded.
    pub fn takes_responses(&self) -> bool {
        let holds_up = self.waiting || self.server_lost.is_some() || self.awaited.is_empty();
        self.asked.is_none() && (self.committing.is_empty() || !holds_up)
    }

    /// Whether all that is under way is one copy.
    pub fn waits_for_one(&self) -> bool {
        self.awaited.is_empty() && self.committing.len() == 1
    }

    /// Takes whole lines of `input`, as long as commands are taken; says how many octets it used.
    pub fn from_client(&mut self, input: &[u8], actions: &mut Vec<Action>) -> usize {
        let mut used = 0;
        while self.takes_commands() {
            let rest = &input[used..];
            let Some(end) = memchr::memchr(b'\n', rest) else {
                if rest.len() >= COMMAND_OCTETS_MAX {
                    self.skipping = true;
                    used = input.len();
                }
                break;
            };
            used += end + 1;
            let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
            let too_long = std::mem::take(&mut self.skipping);
            let request = if too_long { Request::too_long() } else { Request::read(line) };
            self.request(request, actions);
        }
        used
    }

    /// The client closed its side. What it asked for before is still done.
    pub fn client_closed(&mut self, actions: &mut Vec<Action>) {
        self.client_gone = true;
        self.settle(actions);
    }

    /// Takes what the server sent; says how many octets it used.
    pub fn from_server(&mut self, input: &[u8], actions: &mut Vec<Action>) -> usize {
        let mut used = 0;
        self.waiting = false;
        while used < input.len() && self.asked.is_none() && !self.closed {
            let rest = &input[used..];
            let n = match &mut self.reading {
                Reading::Status => self.status(rest, actions),
                Reading::Listing(decoder) => {
                    let (n, whole) = listing(decoder, rest);
                    answer(&rest[..n], actions);
                    if whole {
                        self.done(actions);
                    }
                    n
                }
                Reading::Capabilities(list) => match list.take(rest) {
                    Ok((n, None)) => n,
                    Ok((n, Some(list))) => {
                        answer(&list, actions);
                        self.done(actions);
                        n
                    }
                    Err(_) => {
                        self.broken(End::Garbage, actions);
                        0
                    }
                },
                Reading::Message(_) => self.message(rest, actions),
            };
            used += n;
            if n == 0 && self.asked.is_none() {
                break;
            }
        }
        // What it sent before it went was looked at.
        if let Some(why) = self.server_lost
            && self.committing.is_empty()
            && self.asked.is_none()
            && !self.closed
        {
            self.broken(why, actions);
        }
        used
    }

    /// The server will say nothing more, for that reason. What it sent before that is still dealt with.
    pub fn server_lost(&mut self, why: End, actions: &mut Vec<Action>) {
        if self.committing.is_empty() {
            self.broken(why, actions);
        } else {
            self.server_lost = Some(why);
        }
    }

    fn request(&mut self, request: Request, actions: &mut Vec<Action>) {
        let awaited = match request {
            Request::Refused(reply) => {
                let mut line = Vec::new();
                reply.write(&mut line);
                Awaited::Here(line)
            }
            Request::Line(text) => {
                ask(&text, actions);
                Awaited::Line
            }
            Request::Listing(text) => {
                ask(&text, actions);
                Awaited::Listing
            }
            Request::Capabilities => {
                ask("CAPA", actions);
                Awaited::Capabilities
            }
            Request::Quit => {
                self.quit = Quit::Said;
                return self.settle(actions);
            }
            Request::Retrieve { number, body_lines } => {
                return self.fetch(number, Reader::Client { body_lines }, actions);
            }
            Request::Delete(number) => {
                self.deleting = Some(number);
                return self.settle(actions);
            }
        };
        self.awaited.push_back(awaited);
        self.settle(actions);
    }

    /// Asks for a message, and for its unique-id before.
    fn fetch(&mut self, number: MessageNumber, reader: Reader, actions: &mut Vec<Action>) {
        if self.knows_uidl {
            ask(&format!("UIDL {number}"), actions);
            self.awaited.push_back(Awaited::UniqueId(number));
            if !self.options.pipelining {
                self.next = Some((number, reader));
                return;
            }
        }
        ask(&format!("RETR {number}"), actions);
        self.awaited.push_back(Awaited::Message(number, reader));
    }

    /// Does what the state of the queue allows: answers of our own, and the deletion or the QUIT that waits.
    pub(super) fn settle(&mut self, actions: &mut Vec<Action>) {
        if !self.committing.is_empty() {
            return;
        }
        while let Some(Awaited::Here(_)) = self.awaited.front()
            && let Some(Awaited::Here(line)) = self.awaited.pop_front()
        {
            answer(&line, actions);
        }
        if let Some(number) = self.deleting {
            if self.recorded.contains(number) {
                self.delete(number, actions);
            } else if self.awaited.is_empty() {
                self.fetch(number, Reader::Nobody, actions);
            }
        }
        if self.quit == Quit::Said && self.is_idle() {
            self.say_quit(actions);
        }
        if self.client_gone && self.is_idle() {
            self.close(End::ClientGone, actions);
        }
    }

    /// At QUIT a server removes what is marked, and some what was fetched. Nobody has what was fetched and not recorded, so a server
    /// that sent such a message is left without.
    fn say_quit(&mut self, actions: &mut Vec<Action>) {
        self.quit = Quit::Done;
        if self.refused.is_empty() {
            ask("QUIT", actions);
            return self.awaited.push_back(Awaited::Quit);
        }
        let told = Reply::err("Nothing was deleted: not all messages could be recorded; try again later");
        let mut line = Vec::new();
        told.with(ResponseCode::SysTemp).write(&mut line);
        answer(&line, actions);
        self.close(End::NotDeleted, actions);
    }

    pub(super) fn delete(&mut self, number: MessageNumber, actions: &mut Vec<Action>) {
        self.deleting = None;
        ask(&format!("DELE {number}"), actions);
        self.awaited.push_back(Awaited::Line);
    }

    /// The first line of a response.
    fn status(&mut self, input: &[u8], actions: &mut Vec<Action>) -> usize {
        if !self.may_pass(input) {
            self.waiting = true;
            return 0;
        }
        let Some(end) = line_end(input) else {
            if input.len() >= LINE_OCTETS_MAX {
                self.broken(End::LineTooLong, actions);
            }
            return 0;
        };
        let used = end + 1;
        let Some(said) = Reply::parse(input[..end].trim_ascii_end()) else {
            self.broken(End::Garbage, actions);
            return 0;
        };
        let line = &*passed(&input[..used]);
        let Some(first) = self.awaited.pop_front() else {
            // What a server says before it closes for lack of patience.
            if !said.ok {
                answer(line, actions);
            }
            self.close(End::Unasked, actions);
            return 0;
        };
        self.progress += 1;
        match first {
            Awaited::UniqueId(number) => self.unique_id(number, &said, actions),
            Awaited::Message(number, reader) => {
                let uidl = self.uidl.take();
                let uidl_refused = std::mem::take(&mut self.uidl_refused);
                if said.ok {
                    self.knows_uidl &= !uidl_refused;
                    self.awaited.push_front(first);
                    self.begin((number, uidl), reader, &said, line, actions);
                } else if reader == Reader::Nobody && self.options.pass_unrecorded {
                    self.delete(number, actions);
                } else {
                    if reader == Reader::Nobody {
                        self.deleting = None;
                    }
                    answer(line, actions);
                    self.settle(actions);
                }
            }
            Awaited::Quit => {
                answer(line, actions);
                self.close(End::Quit, actions);
            }
            Awaited::Here(_) | Awaited::Line | Awaited::Listing | Awaited::Capabilities => {
                answer(line, actions);
                match first {
                    Awaited::Listing if said.ok => self.reading = Reading::Listing(DotDecoder::new()),
                    Awaited::Capabilities if said.ok => {
                        self.reading = Reading::Capabilities(Box::default());
                    }
                    _ => {
                        self.settle(actions);
                        return used;
                    }
                }
                self.awaited.push_front(first);
            }
        }
        used
    }

    fn unique_id(&mut self, number: MessageNumber, said: &Reply, actions: &mut Vec<Action>) {
        let mut words = said.text.split_ascii_whitespace();
        let right = said.ok && words.next().and_then(|word| word.parse().ok()) == Some(number);
        self.uidl = words.next().filter(|_| right).and_then(|token| token.parse().ok());
        self.uidl_refused = !said.ok;
        if let Some((number, reader)) = self.next.take() {
            ask(&format!("RETR {number}"), actions);
            self.awaited.push_back(Awaited::Message(number, reader));
        }
    }

    /// The first response in the queue was whole.
    pub(super) fn done(&mut self, actions: &mut Vec<Action>) {
        self.progress += 1;
        self.awaited.pop_front();
        self.reading = Reading::Status;
        self.settle(actions);
    }

    /// The server will give no usable answer any more. The client is told, where its next response has not begun.
    fn broken(&mut self, why: End, actions: &mut Vec<Action>) {
        let (begun, drained) = match &self.reading {
            Reading::Status => (false, false),
            Reading::Listing(_) | Reading::Capabilities(_) => (true, false),
            Reading::Message(message) => {
                if message.way == (Way::Streamed { recorded: true }) {
                    actions.push(Action::Abandon);
                }
                let streamed = matches!(message.way, Way::Streamed { .. });
                (streamed && message.reader.is_client(), message.way == Way::Drained)
            }
        };
        let unanswered = self.awaited.iter().skip(usize::from(drained)).any(Awaited::is_the_clients);
        if !begun && (unanswered || self.deleting.is_some() || self.quit == Quit::Said) {
            let told = Reply::err(format!("The mail server failed: {why}")).with(ResponseCode::SysTemp);
            let mut line = Vec::new();
            told.write(&mut line);
            answer(&line, actions);
        }
        self.close(why, actions);
    }

    pub(super) fn close(&mut self, why: End, actions: &mut Vec<Action>) {
        if !std::mem::replace(&mut self.closed, true) {
            actions.push(Action::Close(why));
        }
    }
}

impl Awaited {
    fn is_the_clients(&self) -> bool {
        !matches!(self, Self::UniqueId(_) | Self::Message(_, Reader::Nobody))
    }
}

/// Octets of a list: how many belong to it, and whether that was all.
fn listing(decoder: &mut DotDecoder, input: &[u8]) -> (usize, bool) {
    let mut used = 0;
    loop {
        let (n, decoded) = decoder.next(&input[used..]);
        used += n;
        match decoded {
            Decoded::Content(_) => {}
            Decoded::End => return (used, true),
            Decoded::NeedMore => return (used, false),
        }
    }
}

/// To the client, in one piece with what goes there before it.
pub(super) fn answer(octets: &[u8], actions: &mut Vec<Action>) {
    match actions.last_mut() {
        _ if octets.is_empty() => {}
        Some(Action::Answer(before)) => before.extend_from_slice(octets),
        _ => actions.push(Action::Answer(octets.to_vec())),
    }
}

/// To the server, likewise: commands that came in one piece go in one piece.
fn ask(text: &str, actions: &mut Vec<Action>) {
    let line = format!("{text}\r\n").into_bytes();
    let before = actions.iter_mut().rev().find_map(|action| match action {
        Action::Ask(before) => Some(before),
        _ => None,
    });
    match before {
        Some(before) => before.extend_from_slice(&line),
        None => actions.push(Action::Ask(line)),
    }
}
