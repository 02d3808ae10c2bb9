//! The relay's part that moves messages: held, streamed or drained, and what the recorder says of it.

use std::sync::Arc;

use postern_shared::crypto::digest::Digest;
use postern_shared::proto::pop3::{MessageNumber, Reply, ResponseCode, UidlToken};

use super::machine::{Action, Asked, End, Reading, Relay, Unrecorded, answer};
use super::message::{About, Held, Message, Reader, Taken, Way};

/// Copies that are made at once: enough that they share a sync.
pub(super) const COMMITTING_MAX: usize = 8;
/// While they have this much, no further message begins.
const COMMITTING_OCTETS_MAX: usize = 512 * 1024;

/// A whole message whose copy is on its way to the disk.
#[derive(Debug)]
pub(super) struct Committing {
    number: MessageNumber,
    reader: Reader,
    held: Arc<Held>,
}

impl Relay {
    /// What came of the first [`Action::Record`], [`Action::Begin`] or [`Action::Finish`] that was not answered.
    pub fn recorded(&mut self, outcome: Result<(), Unrecorded>, actions: &mut Vec<Action>) {
        if let Some(committing) = self.committing.pop_front() {
            return self.committed(committing, outcome, actions);
        }
        let (Some(asked), Reading::Message(message)) = (self.asked.take(), &mut self.reading) else { return };
        let number = message.about.number;
        let pass = self.options.pass_unrecorded;
        match (asked, outcome) {
            (Asked::Begin, Err(Unrecorded)) if !pass => self.refuse(ResponseCode::SysTemp, actions),
            (Asked::Begin, outcome) => self.stream(outcome.is_ok(), actions),
            (Asked::Finish, Ok(())) => {
                self.recorded.insert(number);
                self.whole(actions);
            }
            (Asked::Finish, Err(Unrecorded)) if pass => self.whole(actions),
            (Asked::Finish, Err(Unrecorded)) if message.reader == Reader::Client => {
                self.close(End::NotRecorded, actions);
            }
            (Asked::Finish, Err(Unrecorded)) => {
                self.refuse(ResponseCode::SysTemp, actions);
                self.done(actions);
            }
        }
    }

    /// Whether another message may come while those before it are recorded.
    pub(super) fn has_room(&self) -> bool {
        let octets: usize = self.committing.iter().map(|message| message.held.octets()).sum();
        self.committing.len() < COMMITTING_MAX && octets < COMMITTING_OCTETS_MAX
    }

    /// What came of the first message that waited for its copy.
    fn committed(&mut self, message: Committing, outcome: Result<(), Unrecorded>, actions: &mut Vec<Action>) {
        let Committing { number, reader, held } = message;
        self.progress += 1;
        if outcome.is_ok() {
            self.recorded.insert(number);
        }
        match reader {
            _ if outcome.is_err() && !self.options.pass_unrecorded => {
                self.say_refused(number, reader, ResponseCode::SysTemp, actions);
            }
            Reader::Client => match Arc::try_unwrap(held) {
                Ok(held) => answer_with(held.into_raw(), actions),
                Err(held) => answer(held.raw(), actions),
            },
            Reader::Nobody => self.delete(number, actions),
        }
        self.settle(actions);
    }

    /// The last [`Action::Write`] failed, and nothing of the message will be recorded.
    pub fn write_failed(&mut self, actions: &mut Vec<Action>) {
        // What came of Finish says it as well.
        if self.asked.is_some() || self.closed {
            return;
        }
        let Reading::Message(message) = &mut self.reading else { return };
        if self.options.pass_unrecorded {
            message.way = Way::Streamed { recorded: false };
        } else if message.reader == Reader::Client {
            self.close(End::NotRecorded, actions);
        } else {
            self.refuse(ResponseCode::SysTemp, actions);
        }
    }

    /// A message begins.
    pub(super) fn begin(
        &mut self,
        (number, uidl): (MessageNumber, Option<UidlToken>),
        reader: Reader,
        said: &Reply,
        line: &[u8],
        actions: &mut Vec<Action>,
    ) {
        let announced_octets = announced_octets(said);
        let about = About { number, uidl, announced_octets };
        self.reading = Reading::Message(Box::new(Message::begin(about, reader, line)));
        if announced_octets.is_some_and(|octets| octets > self.options.message_octets_max) {
            self.too_long(actions);
        }
    }

    /// Takes octets of a message; says how many.
    pub(super) fn message(&mut self, input: &[u8], actions: &mut Vec<Action>) -> usize {
        let octets_max = self.options.message_octets_max;
        let alone = self.committing.is_empty();
        let Reading::Message(message) = &mut self.reading else { return 0 };
        let (used, whole) = match message.way {
            Way::Held => {
                // What is to be refused or streamed has to wait for its turn.
                let room = if alone { u64::MAX } else { octets_max.saturating_sub(message.octets()) };
                let input = &input[..input.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
                let (used, taken) = message.hold(input, &self.options.memory, self.options.held_octets_max);
                if taken == Taken::NoRoom && !alone {
                    self.waiting = true;
                } else if taken == Taken::NoRoom {
                    actions.push(Action::Begin(message.about.clone()));
                    self.asked = Some(Asked::Begin);
                } else if message.octets() > octets_max {
                    self.too_long(actions);
                }
                (used, taken == Taken::Whole)
            }
            Way::Streamed { recorded } => {
                let (used, whole, content, octets) = message.pass(input);
                if recorded && !content.is_empty() {
                    actions.push(Action::Write(content));
                }
                if message.reader == Reader::Client {
                    answer(&octets, actions);
                }
                if recorded && message.octets() > octets_max {
                    self.too_long(actions);
                }
                (used, whole)
            }
            Way::Drained => message.skip(input),
        };
        if whole && !self.closed {
            self.ended(actions);
        }
        used
    }

    /// All octets of a message came.
    fn ended(&mut self, actions: &mut Vec<Action>) {
        let Reading::Message(message) = &mut self.reading else { return };
        let (about, sha256) = (message.about.clone(), message.sha256());
        match message.way {
            Way::Held => self.commit(about, sha256, actions),
            Way::Streamed { recorded: true } => {
                self.asked = Some(Asked::Finish);
                actions.push(Action::Finish { about, sha256 });
            }
            Way::Streamed { recorded: false } => self.whole(actions),
            Way::Drained => self.done(actions),
        }
    }

    fn commit(&mut self, about: About, sha256: Digest, actions: &mut Vec<Action>) {
        let Reading::Message(message) = std::mem::replace(&mut self.reading, Reading::Status) else { return };
        let (number, reader) = (about.number, message.reader);
        let held = Arc::new(message.into_held());
        actions.push(Action::Record { about, sha256, held: Arc::clone(&held) });
        self.committing.push_back(Committing { number, reader, held });
        self.done(actions);
    }

    fn stream(&mut self, recorded: bool, actions: &mut Vec<Action>) {
        let Reading::Message(message) = &mut self.reading else { return };
        let (content, octets) = message.stream(recorded);
        if !content.is_empty() {
            actions.push(Action::Write(content));
        }
        if message.reader == Reader::Client {
            answer(&octets, actions);
        }
    }

    /// The message is longer than any that is recorded.
    fn too_long(&mut self, actions: &mut Vec<Action>) {
        let Reading::Message(message) = &mut self.reading else { return };
        let way = message.way;
        actions.push(Action::TooLong(message.about.clone()));
        if way == (Way::Streamed { recorded: true }) {
            actions.push(Action::Abandon);
            message.way = Way::Streamed { recorded: false };
        }
        match (self.options.pass_unrecorded, way, message.reader) {
            (true, Way::Held, _) => self.stream(false, actions),
            (true, ..) => {}
            (false, Way::Streamed { .. }, Reader::Client) => self.close(End::NotRecorded, actions),
            (false, ..) => self.refuse(ResponseCode::SysPerm, actions),
        }
    }

    /// Nothing of the message was shown yet, and nothing will be: the client gets a reason instead.
    fn refuse(&mut self, code: ResponseCode, actions: &mut Vec<Action>) {
        let Reading::Message(message) = &mut self.reading else { return };
        message.drain();
        let (number, reader) = (message.about.number, message.reader);
        self.say_refused(number, reader, code, actions);
    }

    fn say_refused(
        &mut self,
        number: MessageNumber,
        reader: Reader,
        code: ResponseCode,
        actions: &mut Vec<Action>,
    ) {
        let what = match reader {
            Reader::Client => "was not recorded, so it cannot be read",
            Reader::Nobody => "was not deleted: it could not be recorded",
        };
        let advice = if code == ResponseCode::SysTemp { "try again later" } else { "it is too long" };
        let mut line = Vec::new();
        Reply::err(format!("Message {number} {what}; {advice}")).with(code).write(&mut line);
        if reader == Reader::Nobody {
            self.deleting = None;
        }
        answer(&line, actions);
    }

    /// The message was recorded, or goes through all the same.
    fn whole(&mut self, actions: &mut Vec<Action>) {
        let Reading::Message(message) = std::mem::replace(&mut self.reading, Reading::Status) else { return };
        let (number, reader) = (message.about.number, message.reader);
        if reader == Reader::Client {
            answer(&message.into_raw(), actions);
        } else {
            self.delete(number, actions);
        }
        self.done(actions);
    }
}

/// How long the server says that a message is.
pub(super) fn announced_octets(said: &Reply) -> Option<u64> {
    said.text.split_ascii_whitespace().next().and_then(|word| word.parse().ok())
}

/// To the client, as [`answer`] does, without a copy when nothing goes there before it.
fn answer_with(octets: Vec<u8>, actions: &mut Vec<Action>) {
    match actions.last() {
        Some(Action::Answer(_)) => answer(&octets, actions),
        _ => actions.push(Action::Answer(octets)),
    }
}
