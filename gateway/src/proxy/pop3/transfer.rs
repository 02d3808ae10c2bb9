//! The relay's part that moves messages: held, streamed or drained, and what the recorder says of it.

use postern_shared::proto::pop3::{MessageNumber, Reply, ResponseCode, UidlToken};

use super::machine::{Action, Asked, End, Reading, Relay, Unrecorded, answer};
use super::message::{About, Message, Reader, Taken, Way};

impl Relay {
    /// What came of the last [`Action::Record`], [`Action::Begin`] or [`Action::Finish`].
    pub fn recorded(&mut self, outcome: Result<(), Unrecorded>, actions: &mut Vec<Action>) {
        let (Some(asked), Reading::Message(message)) = (self.asked.take(), &mut self.reading) else { return };
        let number = message.about.number;
        let pass = self.options.pass_unrecorded;
        match (asked, outcome) {
            (Asked::Begin, Err(Unrecorded)) if !pass => self.refuse(ResponseCode::SysTemp, actions),
            (Asked::Begin, outcome) => self.stream(outcome.is_ok(), actions),
            (Asked::Record | Asked::Finish, Ok(())) => {
                self.recorded.insert(number);
                self.whole(actions);
            }
            (Asked::Record | Asked::Finish, Err(Unrecorded)) if pass => self.whole(actions),
            (Asked::Finish, Err(Unrecorded)) if message.reader == Reader::Client => {
                self.close(End::NotRecorded, actions);
            }
            (Asked::Record | Asked::Finish, Err(Unrecorded)) => {
                self.refuse(ResponseCode::SysTemp, actions);
                self.done(actions);
            }
        }
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
        let announced_octets = said.text.split_ascii_whitespace().next().and_then(|word| word.parse().ok());
        let about = About { number, uidl, announced_octets };
        self.reading = Reading::Message(Box::new(Message::begin(about, reader, line)));
        if announced_octets.is_some_and(|octets| octets > self.options.message_octets_max) {
            self.too_long(actions);
        }
    }

    /// Takes octets of a message; says how many.
    pub(super) fn message(&mut self, input: &[u8], actions: &mut Vec<Action>) -> usize {
        let octets_max = self.options.message_octets_max;
        let Reading::Message(message) = &mut self.reading else { return 0 };
        let (used, whole) = match message.way {
            Way::Held => {
                let (used, taken) = message.hold(input, &self.options.memory, self.options.held_octets_max);
                if taken == Taken::NoRoom {
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
            Way::Held => {
                self.asked = Some(Asked::Record);
                actions.push(Action::Record { about, sha256 });
            }
            Way::Streamed { recorded: true } => {
                self.asked = Some(Asked::Finish);
                actions.push(Action::Finish { about, sha256 });
            }
            Way::Streamed { recorded: false } => self.whole(actions),
            Way::Drained => self.done(actions),
        }
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
        let number = message.about.number;
        let what = match message.reader {
            Reader::Client => "was not recorded, so it cannot be read",
            Reader::Nobody => "was not deleted: it could not be recorded",
        };
        let advice = if code == ResponseCode::SysTemp { "try again later" } else { "it is too long" };
        let mut line = Vec::new();
        Reply::err(format!("Message {number} {what}; {advice}")).with(code).write(&mut line);
        if message.reader == Reader::Nobody {
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
