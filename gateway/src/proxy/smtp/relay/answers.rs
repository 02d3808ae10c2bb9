//! What each answer of the server does.

use postern_shared::proto::smtp::answer::Answer;
use postern_shared::proto::smtp::reply::Reply;

use super::{Action, Asked, Due, Opening, Relay, mirrored};

impl Relay {
    pub(super) fn answer(&mut self, answer: Answer, actions: &mut Vec<Action>) {
        let Some(Due::Answer(asked)) = self.due.front() else {
            return self.unasked(answer, actions);
        };
        let makes_sense = match asked {
            Asked::Data => answer.code == 354 || answer.code >= 400,
            _ => answer.is_ok() || answer.code >= 400,
        };
        if !makes_sense {
            tracing::warn!(%answer, ?asked, "the server's answer makes no sense there");
            return self.lose_server("Your provider's server does not make sense", actions);
        }
        let Some(Due::Answer(asked)) = self.due.pop_front() else { return };
        self.asked -= 1;
        if answer.code == 421 && !matches!(asked, Asked::End) {
            return self.dismissed(answer, actions);
        }
        self.take(asked, answer, actions);
    }

    fn take(&mut self, asked: Asked, answer: Answer, actions: &mut Vec<Action>) {
        let is_ok = answer.is_ok();
        match asked {
            Asked::Mail(number) => {
                if !is_ok && self.transaction.as_ref().is_some_and(|open| open.number == number) {
                    self.transaction = None;
                }
                self.pay(answer, actions);
            }
            Asked::Rcpt(number, address) => {
                if let Some(open) = self.transaction.as_mut().filter(|open| is_ok && open.number == number) {
                    open.accepted.push(address);
                }
                self.pay(answer, actions);
            }
            Asked::Data => self.data_answered(answer, actions),
            Asked::EmptyEnd => {
                self.transaction = None;
                let nobody = Reply::new(554, "5.5.1", "No valid recipients");
                actions.push(Action::Reply(if is_ok { nobody } else { mirrored(answer) }));
            }
            Asked::Chunk if is_ok => {}
            Asked::Chunk => self.chunk_refused(answer, actions),
            Asked::End => self.end_answered(answer, actions),
            Asked::Rset | Asked::OurRset if !is_ok => {
                self.lose_server("Your provider's server does not forget a transaction", actions);
            }
            Asked::Rset | Asked::Noop => self.pay(answer, actions),
            Asked::OurRset => {}
        }
    }

    /// The client gets what it is owed first.
    fn pay(&mut self, answer: Answer, actions: &mut Vec<Action>) {
        actions.push(Action::Reply(mirrored(answer)));
    }

    fn data_answered(&mut self, answer: Answer, actions: &mut Vec<Action>) {
        if answer.code != 354 {
            match self.opening.take() {
                Some(Opening::Chunk { octets, last }) => {
                    self.swallow(octets, last, mirrored(answer), actions);
                }
                _ => self.pay(answer, actions),
            }
            return;
        }
        let has_recipients =
            self.transaction.as_ref().is_some_and(|transaction| !transaction.accepted.is_empty());
        if has_recipients {
            // To a client that sends chunks nobody says "go on".
            let by_data = matches!(self.opening, Some(Opening::Data));
            self.go_ahead = by_data.then(|| mirrored(answer));
            return self.begin(actions);
        }
        // RFC 2920 §3.1: a server that has refused every recipient of a flight may say 354 all the same.
        self.opening = None;
        self.due.push_front(Due::Answer(Asked::EmptyEnd));
        self.asked += 1;
        actions.push(Action::Server(b".\r\n".to_vec()));
    }

    /// An answer to nothing.
    fn unasked(&mut self, answer: Answer, actions: &mut Vec<Action>) {
        if answer.code == 421 {
            return self.dismissed(answer, actions);
        }
        tracing::warn!(%answer, "the server answered what nobody had asked");
        if answer.code >= 400 && self.message.is_some() {
            // It has had enough of the message before its end.
            self.refuse_message(mirrored(answer), actions);
            self.sever(actions);
            return self.end_between_chunks(actions);
        }
        self.lose_server("Your provider's server does not make sense", actions);
    }
}
