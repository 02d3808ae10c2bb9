//! What comes behind DATA and BDAT.

use postern_shared::proto::smtp::reply::Reply;

use super::{Action, Session};
use crate::smtp_receiver::transaction::{Body, Taken, Transaction};

impl Session {
    pub(super) fn receive_content(
        &mut self,
        mut body: Body,
        mut transaction: Transaction,
        input: &[u8],
        actions: &mut Vec<Action>,
    ) -> usize {
        let mut content = Vec::with_capacity(input.len() + 2);
        let taken = transaction.take(&mut body, input, &mut content);
        transaction.count(content.len(), self.settings.message_bytes_max);
        match taken {
            Taken::More(octets) => {
                hand_over(&mut transaction, content, actions);
                (self.transaction, self.body) = (Some(transaction), Some(body));
                octets
            }
            Taken::End(octets) => {
                self.end_of_part(&body, transaction, content, actions);
                octets
            }
        }
    }

    /// DATA is over, or one chunk is.
    pub(super) fn end_of_part(
        &mut self,
        body: &Body,
        mut transaction: Transaction,
        mut content: Vec<u8>,
        actions: &mut Vec<Action>,
    ) {
        if matches!(body, Body::Chunk { last: false, .. }) {
            hand_over(&mut transaction, content, actions);
            return match transaction.refused {
                // A refused chunk ends the transaction; chunks already on their way find none.
                Some(refusal) => self.refuse(refusal, actions),
                None => {
                    self.transaction = Some(transaction);
                    actions.push(Action::Reply(Reply::new(250, "2.0.0", "Chunk received")));
                }
            };
        }
        let normalised = transaction.finish(body, &mut content);
        hand_over(&mut transaction, content, actions);
        match transaction.refused {
            Some(refusal) => self.refuse(refusal, actions),
            None => {
                actions.push(Action::Commit(normalised));
                self.waiting = true;
            }
        }
    }
}

fn hand_over(transaction: &mut Transaction, content: Vec<u8>, actions: &mut Vec<Action>) {
    if transaction.refused.is_some() {
        if std::mem::take(&mut transaction.begun) {
            actions.push(Action::Abort);
        }
    } else if !content.is_empty() {
        actions.push(Action::Content(content));
    }
}
