//! What each command does.

use postern_shared::proto::smtp::command::Command;
use postern_shared::proto::smtp::content::DataDecoder;
use postern_shared::proto::smtp::parameters::MailParameters;
use postern_shared::proto::smtp::path::Address;
use postern_shared::proto::smtp::reply::Reply;

use super::{Action, Helo, Session};
use crate::intake::{Envelope, Recipient};
use crate::smtp_receiver::policy::{Client, Room, judge};
use crate::smtp_receiver::transaction::{Body, Transaction};

const RECIPIENTS_MAX: usize = 1000;
/// Octets of their addresses: memory for a transaction. A thousand of usual length fit.
const RECIPIENT_OCTETS_MAX: usize = 128 * 1024;
/// Each mailbox of a transaction gets a sealed copy, so their number bounds its memory.
const MAILBOXES_MAX: usize = 50;

impl Session {
    pub(super) fn command(&mut self, command: Command, actions: &mut Vec<Action>) {
        let chunking = self.transaction.as_ref().is_some_and(|transaction| transaction.chunks.is_some());
        let ends_chunking =
            matches!(command, Command::Bdat { .. } | Command::Rset | Command::Quit | Command::Noop);
        let greets = matches!(command, Command::Ehlo { .. } | Command::Helo { .. });
        if chunking && !ends_chunking && !greets {
            return self.refuse(Reply::new(503, "5.5.1", "BDAT or RSET must follow BDAT"), actions);
        }
        let reply = match command {
            Command::Ehlo { name } => self.greet(Helo { name, extended: true }, actions),
            Command::Helo { name } => self.greet(Helo { name, extended: false }, actions),
            Command::Mail { .. } if self.messages >= self.settings.limits.messages_max => {
                let enough = Reply::new(421, "4.7.0", "Enough messages for one session; come again");
                return self.close(enough, actions);
            }
            Command::Mail { from, parameters } => self.mail(from, &parameters),
            Command::Rcpt { parameters, .. } if !parameters.is_empty() => no_reports(),
            Command::Rcpt { to, .. } => self.rcpt(&to),
            Command::Data => return self.data(actions),
            Command::Bdat { bytes, last } => return self.bdat(bytes, last, actions),
            Command::Rset => {
                self.drop_transaction(actions);
                Reply::new(250, "2.0.0", "Ok")
            }
            Command::Noop => Reply::new(250, "2.0.0", "Ok"),
            Command::Vrfy => Reply::new(252, "2.5.0", "Send some mail and see"),
            Command::Expn => Reply::new(502, "5.5.1", "Not here"),
            Command::Help => {
                Reply::new(214, "2.0.0", "RFC 5321; this host takes journal mail for its own mailboxes")
            }
            Command::Auth { mechanism, initial } => return self.auth(mechanism, initial.as_ref(), actions),
            Command::StartTls => return self.start_tls(actions),
            Command::Quit => return self.close(Reply::new(221, "2.0.0", "Bye"), actions),
        };
        self.answer(reply, actions);
    }

    fn greet(&mut self, helo: Helo, actions: &mut Vec<Action>) -> Reply {
        // RFC 5321 §4.1.4: EHLO resets as RSET does.
        self.drop_transaction(actions);
        let mut lines = vec![self.settings.host_name.clone()];
        if helo.extended {
            lines.extend(
                ["PIPELINING", "8BITMIME", "SMTPUTF8", "CHUNKING", "ENHANCEDSTATUSCODES"].map(str::to_owned),
            );
            lines.push(format!("SIZE {}", self.settings.message_bytes_max));
            if self.can_start_tls {
                lines.push("STARTTLS".into());
            }
            lines.extend(self.login_offer());
        }
        self.helo = Some(helo);
        Reply { code: 250, enhanced: "", lines }
    }

    fn mail(&mut self, from: Option<Address>, parameters: &MailParameters) -> Reply {
        if self.helo.is_none() {
            return Reply::new(503, "5.5.1", "EHLO first");
        }
        if self.transaction.is_some() {
            return Reply::new(503, "5.5.1", "A transaction is open; RSET ends it");
        }
        let octets_max = self.settings.message_bytes_max;
        if let Some(refusal) = parameters.size.and_then(|size| Room::default().refuses(size, octets_max)) {
            return refusal;
        }
        let mail_from = from.map(|address| address.written).unwrap_or_default();
        // Who submitted it elsewhere (RFC 4954 §5) is taken where logins are offered, and means nothing here.
        if parameters.wants_reports() || (parameters.auth.is_some() && !self.offers_login()) {
            return no_reports();
        }
        let MailParameters { size, smtputf8, .. } = *parameters;
        self.transaction = Some(Transaction { mail_from, smtputf8, size, ..Transaction::default() });
        Reply::new(250, "2.1.0", "Ok")
    }

    fn rcpt(&mut self, to: &Address) -> Reply {
        let may_log_in = self.offers_login();
        let Some(transaction) = &mut self.transaction else {
            return Reply::new(503, "5.5.1", "MAIL first");
        };
        if !to.written.is_ascii() && !transaction.smtputf8 {
            return Reply::new(553, "5.6.7", "Only ASCII without SMTPUTF8");
        }
        let octets = transaction.recipient_octets + to.written.len();
        if transaction.recipients.len() >= RECIPIENTS_MAX || octets > RECIPIENT_OCTETS_MAX {
            return Reply::new(452, "4.5.3", "Too many recipients; send to the rest in another transaction");
        }
        let client =
            Client { address: self.client, secured: self.secured, may_log_in, size: transaction.size };
        match judge(to, client, &self.settings.domain, &*self.settings.mailboxes) {
            Ok((mailbox, _)) if transaction.is_one_mailbox_too_many(mailbox, MAILBOXES_MAX) => {
                Reply::new(452, "4.5.3", "Too many mailboxes; send to the rest in another transaction")
            }
            Ok((mailbox, room)) => {
                transaction.room = transaction.room.and(room);
                transaction.recipient_octets = octets;
                transaction.recipients.push(Recipient { mailbox, address: to.written.clone() });
                Reply::new(250, "2.1.5", "Ok")
            }
            Err(refusal) => refusal,
        }
    }

    fn start_tls(&mut self, actions: &mut Vec<Action>) {
        if !self.can_start_tls {
            return self.refuse(Reply::new(503, "5.5.1", "TLS is on already"), actions);
        }
        self.drop_transaction(actions);
        actions.push(Action::Reply(Reply::new(220, "2.0.0", "Go ahead")));
        actions.push(Action::StartTls);
        self.waiting = true;
    }

    fn data(&mut self, actions: &mut Vec<Action>) {
        let refusal = match &self.transaction {
            None => Reply::new(503, "5.5.1", "MAIL first"),
            Some(transaction) if transaction.recipients.is_empty() => {
                Reply::new(554, "5.5.1", "No valid recipients")
            }
            Some(_) => {
                actions.push(Action::Reply(Reply::new(354, "", "End data with <CR><LF>.<CR><LF>")));
                self.begin(actions);
                self.body = Some(Body::Data(DataDecoder::default()));
                return;
            }
        };
        self.refuse(refusal, actions);
    }

    fn begin(&mut self, actions: &mut Vec<Action>) {
        if let Some(transaction) = &mut self.transaction
            && !transaction.begun
            && transaction.refused.is_none()
        {
            transaction.begun = true;
            actions.push(Action::Begin(Envelope {
                mail_from: transaction.mail_from.clone(),
                recipients: transaction.recipients.clone(),
            }));
        }
    }

    /// The octets follow whatever we think of them, so even a refused chunk is taken to its end (RFC 3030 §2).
    fn bdat(&mut self, bytes: u64, last: bool, actions: &mut Vec<Action>) {
        let out_of_order =
            self.transaction.as_ref().is_none_or(|transaction| transaction.recipients.is_empty());
        let transaction = self.transaction.get_or_insert_default();
        if out_of_order {
            transaction
                .refused
                .get_or_insert_with(|| Reply::new(503, "5.5.1", "MAIL and a valid RCPT first"));
        }
        let announced = transaction.content_bytes.saturating_add(bytes);
        transaction.check(announced, self.settings.message_bytes_max);
        transaction.chunks.get_or_insert_default();
        self.begin(actions);
        let body = Body::Chunk { left: bytes, last };
        match self.transaction.take() {
            Some(transaction) if bytes == 0 => self.end_of_part(&body, transaction, Vec::new(), actions),
            transaction => (self.transaction, self.body) = (transaction, Some(body)),
        }
    }
}

/// RFC 3461 and RFC 4954 §5 are not offered.
fn no_reports() -> Reply {
    Reply::new(555, "5.5.4", "Unknown parameter")
}
