//! A message on its way: from DATA or the first BDAT to the decision on its copy.

use postern_shared::proto::mime::trace::Normalised;
use postern_shared::proto::pop3::DotEncoder;
use postern_shared::proto::smtp::answer::Answer;
use postern_shared::proto::smtp::reply::Reply;

use super::commands::given_up;
use super::{Action, Asked, Due, Opening, Relay, mirrored};
use crate::intake::{Envelope, IntakeError, Recipient};
use crate::proxy::smtp::content::{Inflow, Outflow};
use crate::smtp_receiver::{mailbox_closed, room_of};

/// A message whose content comes, or has come.
#[derive(Debug)]
pub(super) struct Message {
    inflow: Inflow,
    stage: Stage,
    /// How the server gets it; `None` when it does not, or has got its end.
    outflow: Option<Outflow>,
    /// What it will be answered with, once it is certain to be refused.
    refused: Option<Reply>,
    /// The intake holds it.
    held: bool,
    octets: u64,
    /// The server's answer to its end, passed on once the copy is decided on.
    verdict: Option<Reply>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Content is coming.
    Open,
    /// A chunk is over, and it was not the last.
    Between,
    /// All content is there; the copy is on its way to the disk.
    Ended,
    /// The server has got the end.
    Sent,
    /// The server has answered; the copy is being decided on.
    Decided,
}

impl Message {
    fn new(inflow: Inflow, outflow: Option<Outflow>) -> Self {
        let held = outflow.is_some();
        Self { inflow, stage: Stage::Open, outflow, refused: None, held, octets: 0, verdict: None }
    }

    pub(super) fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// Whether all its content is there.
    pub(super) fn is_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended | Stage::Sent | Stage::Decided)
    }

    /// Whether the server has got its end and not answered.
    pub(super) fn is_sent(&self) -> bool {
        self.stage == Stage::Sent
    }

    /// Whether the client must go on before anything more is said.
    pub(super) fn is_between_chunks(&self) -> bool {
        self.stage == Stage::Between
    }
}

impl Relay {
    pub(super) fn first_chunk(&mut self, octets: u64, last: bool, actions: &mut Vec<Action>) {
        let known = self.transaction.as_ref().is_some_and(|transaction| !transaction.accepted.is_empty());
        if !known {
            return self.swallow(
                octets,
                last,
                Reply::new(503, "5.5.1", "MAIL and a valid RCPT first"),
                actions,
            );
        }
        self.opening = Some(Opening::Chunk { octets, last });
        if self.sends_chunks() {
            self.begin(actions);
        } else {
            self.ask(Asked::Data, "DATA\r\n".into(), actions);
        }
    }

    /// Chunks are sent without waiting for the answers to those before, which is what PIPELINING is.
    fn sends_chunks(&self) -> bool {
        self.settings.extensions.chunking && self.settings.extensions.pipelining
    }

    pub(super) fn begin(&mut self, actions: &mut Vec<Action>) {
        let Some(transaction) = &mut self.transaction else { return };
        let mailbox = self.settings.mailbox;
        // MAIL may be long ago.
        match room_of(mailbox, &*self.settings.session.mailboxes) {
            Ok(room) => transaction.room = room,
            Err(refusal) => return self.opened(Err(refusal), actions),
        }
        let recipient = |address: &String| Recipient { mailbox, address: address.clone() };
        let envelope = Envelope {
            mail_from: transaction.mail_from.clone(),
            recipients: transaction.accepted.iter().map(recipient).collect(),
        };
        // RFC 3848, RFC 6531 §4.3.
        let protocol = if transaction.smtputf8 { "UTF8SMTPSA" } else { "ESMTPSA" };
        actions.push(Action::Begin(envelope, protocol));
        self.waiting = true;
    }

    pub(super) fn begun(&mut self, result: Result<(), IntakeError>, actions: &mut Vec<Action>) {
        self.waiting = false;
        self.opened(result.map_err(|error| not_held(&error)), actions);
    }

    fn opened(&mut self, result: Result<(), Reply>, actions: &mut Vec<Action>) {
        let go_ahead = self.go_ahead.take();
        let Some(opening) = self.opening.take() else { return };
        let outflow = match opening {
            Opening::Chunk { .. } if self.sends_chunks() => Outflow::Chunks { pending: Vec::new() },
            _ => Outflow::Data(DotEncoder::new()),
        };
        let mut message = match opening {
            Opening::Data => Message::new(Inflow::data(), Some(outflow)),
            Opening::Chunk { octets, last } => Message::new(Inflow::chunk(octets, last), Some(outflow)),
        };
        if let Err(refusal) = result {
            message.held = false;
            if let Some(reply) = go_ahead {
                // The client has not been told to go on, and the server waits for content that will not come.
                drop(reply);
                self.sever(actions);
                self.say(refusal);
                return self.leave(given_up());
            }
            self.message = Some(message);
            self.refuse_message(refusal, actions);
        } else {
            self.message = Some(message);
            if let Some(reply) = go_ahead {
                self.say(reply);
            }
        }
        if let Some(message) = self.message.take() {
            self.open(message, actions);
        }
    }

    /// Takes a refused chunk to its end: its octets follow whatever is thought of them (RFC 3030 §2).
    pub(super) fn swallow(&mut self, octets: u64, last: bool, refusal: Reply, actions: &mut Vec<Action>) {
        let message = Message::new(Inflow::chunk(octets, last), None);
        self.open(Message { refused: Some(refusal), ..message }, actions);
    }

    /// Content may come. An empty chunk is over at once.
    pub(super) fn open(&mut self, message: Message, actions: &mut Vec<Action>) {
        match message.inflow {
            Inflow::Chunks { left: 0, .. } => self.end_of_part(message, Vec::new(), actions),
            _ => self.message = Some(message),
        }
    }

    pub(super) fn next_chunk(&mut self, octets: u64, is_last: bool, actions: &mut Vec<Action>) {
        let Some(mut message) = self.message.take() else { return };
        if let Inflow::Chunks { left, last, .. } = &mut message.inflow {
            (*left, *last) = (octets, is_last);
        }
        message.stage = Stage::Open;
        let announced = message.octets.saturating_add(octets);
        self.message = Some(message);
        self.check_size(announced, actions);
        if let Some(message) = self.message.take() {
            self.open(message, actions);
        }
    }

    fn check_size(&mut self, octets: u64, actions: &mut Vec<Action>) {
        let Some(transaction) = &self.transaction else { return };
        if let Some(refusal) = transaction.room.refuses(octets, self.settings.session.message_bytes_max) {
            self.refuse_message(refusal, actions);
        }
    }

    pub(super) fn receive_content(
        &mut self,
        mut message: Message,
        input: &[u8],
        actions: &mut Vec<Action>,
    ) -> usize {
        let mut content = Vec::with_capacity(input.len() + 2);
        let (taken, over) = message.inflow.take(input, &mut content);
        message.octets = message.octets.saturating_add(content.len() as u64);
        let octets = message.octets;
        self.message = Some(message);
        self.check_size(octets, actions);
        let Some(message) = self.message.take() else { return taken };
        if over {
            self.end_of_part(message, content, actions);
        } else {
            self.message = Some(message);
            self.pass_on(content, actions);
        }
        taken
    }

    /// To the intake and to the server.
    fn pass_on(&mut self, content: Vec<u8>, actions: &mut Vec<Action>) {
        let Some(message) = &mut self.message else { return };
        if content.is_empty() || message.refused.is_some() {
            return;
        }
        let mut out = Vec::new();
        let chunks = message.outflow.as_mut().map_or(0, |outflow| outflow.write(&content, &mut out));
        self.asked += chunks;
        self.due.extend((0..chunks).map(|_| Due::Answer(Asked::Chunk)));
        actions.push(Action::Content(content));
        if !out.is_empty() {
            actions.push(Action::Server(out));
        }
    }

    /// DATA is over, or one chunk is.
    fn end_of_part(&mut self, mut message: Message, mut content: Vec<u8>, actions: &mut Vec<Action>) {
        let is_last = message.inflow.is_last();
        let normalised = if is_last { message.inflow.finish(&mut content) } else { Normalised::default() };
        self.message = Some(message);
        self.pass_on(content, actions);
        let Some(message) = &mut self.message else { return };
        if message.refused.is_some() {
            self.end_refused(actions);
        } else if is_last {
            message.stage = Stage::Ended;
            actions.push(Action::Prepare(normalised));
            self.waiting = true;
        } else {
            message.stage = Stage::Between;
            self.say(Reply::new(250, "2.0.0", "Chunk received"));
        }
    }

    /// From now on the message is certain to be refused; what is still to come of it is dropped.
    pub(super) fn refuse_message(&mut self, reply: Reply, actions: &mut Vec<Action>) {
        let Some(message) = &mut self.message else { return };
        if message.refused.is_some() {
            return;
        }
        message.refused = Some(reply);
        if std::mem::take(&mut message.held) && !message.is_ended() {
            actions.push(Action::Abort);
        }
        // What went by DATA can only be taken back by cutting it off; chunks are forgotten by RSET.
        if matches!(message.outflow, Some(Outflow::Data(_))) {
            self.sever(actions);
        }
    }

    /// The intake has dropped the message already.
    pub(super) fn content_failed(&mut self, error: &IntakeError, actions: &mut Vec<Action>) {
        if let Some(message) = &mut self.message {
            message.held = false;
        }
        self.refuse_message(not_held(error), actions);
    }

    /// A message that is refused has come to the end of its content, or of a chunk: the transaction is over.
    pub(super) fn end_refused(&mut self, actions: &mut Vec<Action>) {
        let Some(message) = self.message.take() else { return };
        if let Some(reply) = message.refused {
            self.say(reply);
        }
        if self.severed {
            self.leave(given_up());
        } else if self.transaction.take().is_some() {
            // Also when none of it was sent: a chunk that follows is no message of its own (RFC 3030 §2).
            self.ask(Asked::OurRset, "RSET\r\n".into(), actions);
        }
    }

    pub(super) fn prepared(&mut self, result: Result<(), IntakeError>, actions: &mut Vec<Action>) {
        self.waiting = false;
        let is_stored = result.is_ok();
        if let Err(error) = result {
            self.refuse_message(not_held(&error), actions);
        }
        let Some(message) = &mut self.message else { return };
        match (&message.refused, message.outflow.take()) {
            (None, Some(outflow)) => {
                let mut end = Vec::new();
                outflow.finish(&mut end);
                message.stage = Stage::Sent;
                self.due.push_back(Due::Answer(Asked::End));
                self.asked += 1;
                actions.push(Action::Server(end));
            }
            (Some(refused), _) if is_stored => {
                let refused = refused.clone();
                self.sever(actions);
                self.decide(Action::Discard, refused, actions);
            }
            (_, outflow) => {
                message.outflow = outflow;
                self.end_refused(actions);
            }
        }
    }

    /// The server has answered the end of the message: the copy is to be decided on, then the client is told.
    pub(super) fn end_answered(&mut self, answer: Answer, actions: &mut Vec<Action>) {
        if answer.is_ok() {
            return self.decide(Action::Confirm, mirrored(answer), actions);
        }
        // Of chunks the first refusal says why.
        let before = self.message.as_mut().and_then(|message| message.refused.take());
        self.decide(Action::Discard, before.unwrap_or_else(|| mirrored(answer)), actions);
    }

    /// The server refuses what it has got of a message; it will refuse its end as well.
    pub(super) fn chunk_refused(&mut self, answer: Answer, actions: &mut Vec<Action>) {
        match &mut self.message {
            Some(message) if message.is_sent() => {
                message.refused.get_or_insert_with(|| mirrored(answer));
            }
            _ => self.refuse_message(mirrored(answer), actions),
        }
    }

    pub(super) fn decide(&mut self, decision: Action, verdict: Reply, actions: &mut Vec<Action>) {
        if let Some(message) = &mut self.message {
            message.stage = Stage::Decided;
            message.verdict = Some(verdict);
        }
        self.waiting = true;
        actions.push(decision);
    }

    pub(super) fn decided(&mut self) {
        self.waiting = false;
        self.transaction = None;
        let verdict = self.message.take().and_then(|message| message.verdict);
        self.messages += u64::from(verdict.as_ref().is_some_and(|verdict| !verdict.is_refusal()));
        let Some(verdict) = verdict else { return };
        if verdict.code == 421 {
            return self.leave(verdict);
        }
        self.say(verdict);
        if self.severed {
            self.leave(given_up());
        }
    }

    pub(super) fn sever(&mut self, actions: &mut Vec<Action>) {
        if !std::mem::replace(&mut self.severed, true) {
            actions.push(Action::Sever);
        }
        self.due.retain(|due| !matches!(due, Due::Answer(_)));
        self.asked = 0;
    }

    /// Ends a message that is not at its end.
    pub(super) fn drop_message(&mut self, actions: &mut Vec<Action>) {
        self.refuse_message(given_up(), actions);
        self.message = None;
        if self.opening.take().is_some() {
            // The server may be waiting for content already.
            self.sever(actions);
        }
    }
}

/// What a mail program is told: of a mailbox that is gone not that its recipient is unknown.
fn not_held(error: &IntakeError) -> Reply {
    match error {
        IntakeError::MailboxGone { .. } => mailbox_closed(),
        _ => error.reply(),
    }
}
