//! How a session ends before the client says QUIT.

use postern_shared::proto::smtp::answer::Answer;
use postern_shared::proto::smtp::reply::Reply;

use super::{Action, Relay, mirrored};

impl Relay {
    /// The server cannot be talked with any more. The client's message, if there is one, is refused, unless nobody knows
    /// what the server made of it.
    pub(super) fn lose_server(&mut self, why: &'static str, actions: &mut Vec<Action>) {
        if self.severed {
            return;
        }
        self.sever(actions);
        if self.is_sent() {
            return self.leave_undecided(why, Reply::new(421, "4.4.2", why), actions);
        }
        if self.message.is_some() {
            self.refuse_message(
                Reply::new(451, "4.4.2", format!("{why}: the message was not sent")),
                actions,
            );
            return self.end_between_chunks(actions);
        }
        self.opening = None;
        // Whatever is owed, this is the answer to it.
        self.leave_at_once(Reply::new(421, "4.4.2", why));
    }

    /// The server ends the session (RFC 5321 §3.8).
    pub(super) fn dismissed(&mut self, answer: Answer, actions: &mut Vec<Action>) {
        let reply = mirrored(answer);
        self.sever(actions);
        // It need not be the end of the message that it answers: chunks may be before that.
        if self.is_sent() {
            return self.leave_undecided("Your provider's server ended the session", reply, actions);
        }
        if self.message.is_some() {
            self.refuse_message(Reply { code: 451, ..reply }, actions);
            return self.end_between_chunks(actions);
        }
        self.opening = None;
        self.leave_at_once(reply);
    }

    fn is_sent(&self) -> bool {
        self.message.as_ref().is_some_and(|message| message.is_sent())
    }

    /// Nobody knows what the server, which is cut off, made of the message.
    fn leave_undecided(&mut self, why: &str, last_word: Reply, actions: &mut Vec<Action>) {
        self.message = None;
        actions.push(Action::Keep);
        let text = format!(
            "{why}: the message may have been sent; look among the sent messages or ask the recipient before you send it \
             again"
        );
        self.say(Reply::new(451, "4.4.2", text));
        self.leave(last_word);
    }

    /// A client between chunks need not be waited for.
    pub(super) fn end_between_chunks(&mut self, actions: &mut Vec<Action>) {
        if self.message.as_ref().is_some_and(|message| message.is_between_chunks()) {
            self.end_refused(actions);
        }
    }

    /// What has come to its end is decided as if the client were there; all else ends.
    pub(super) fn lose_client(&mut self, last_word: Reply, actions: &mut Vec<Action>) {
        if self.message.as_ref().is_some_and(|message| message.is_ended()) {
            return;
        }
        self.drop_message(actions);
        self.leave_at_once(last_word);
    }
}
