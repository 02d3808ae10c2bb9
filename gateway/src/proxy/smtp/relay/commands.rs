//! What each command of the client does.

use postern_shared::proto::smtp::command::{Command, LINE_BYTES_MAX, loses_step, parse};
use postern_shared::proto::smtp::line::Line;
use postern_shared::proto::smtp::parameters::{BodyType, MailParameters, RcptParameters};
use postern_shared::proto::smtp::path::Address;
use postern_shared::proto::smtp::reply::Reply;

use super::{Action, Asked, Opening, Relay, Transaction};
use crate::smtp_receiver::{Room, room_of};

const RECIPIENTS_MAX: usize = 1000;
/// Octets of their addresses: memory for a transaction. A thousand of usual length fit.
const RECIPIENT_OCTETS_MAX: usize = 128 * 1024;

impl Relay {
    pub(super) fn receive_line(&mut self, input: &[u8], actions: &mut Vec<Action>) -> usize {
        self.holding = false;
        let line = self.lines.read(input, LINE_BYTES_MAX);
        match line {
            Line::More(_) => {}
            Line::TooLong(start) if loses_step(start) => {
                self.refuse_line(start, Reply::new(500, "5.5.2", "Line too long"));
            }
            // Refused when its end is there.
            Line::TooLong(_) => {}
            Line::TooLongEnds(_) => self.refuse(Reply::new(500, "5.5.2", "Line too long")),
            Line::BareLf(line) => self.refuse_line(line, Reply::new(500, "5.5.2", "A line ends in CRLF")),
            Line::Whole(line) => match parse(line) {
                // Which recipients its message is for must be known first; the line stays where it is.
                Ok(Command::Bdat { .. }) if self.message.is_none() && self.asked > 0 => {
                    self.holding = true;
                    return 0;
                }
                Ok(command) => self.command(command, actions),
                Err(reply) => self.refuse_line(line, reply),
            },
        }
        line.used()
    }

    /// Refuses a line that is no command.
    fn refuse_line(&mut self, line: &[u8], reply: Reply) {
        self.refuse(reply);
        if loses_step(line) {
            self.leave(Reply::new(421, "4.7.0", "What follows cannot be told from commands"));
        }
    }

    fn command(&mut self, command: Command, actions: &mut Vec<Action>) {
        if self.message.is_some() {
            return self.command_between_chunks(command, actions);
        }
        match command {
            Command::Ehlo { name } => self.greet(name, true, actions),
            Command::Helo { name } => self.greet(name, false, actions),
            Command::Mail { from, parameters } => self.mail(from, parameters, actions),
            Command::Rcpt { to, parameters } => self.rcpt(to, &parameters, actions),
            Command::Data => self.data(actions),
            Command::Bdat { bytes, last } => self.first_chunk(bytes, last, actions),
            Command::Rset => {
                self.transaction = None;
                self.ask(Asked::Rset, "RSET\r\n".into(), actions);
            }
            Command::Noop => self.ask(Asked::Noop, "NOOP\r\n".into(), actions),
            Command::Quit => self.leave(Reply::new(221, "2.0.0", "Bye")),
            other => self.answer_here(&other),
        }
    }

    /// Between chunks only what ends them has a meaning (RFC 3030 §2).
    fn command_between_chunks(&mut self, command: Command, actions: &mut Vec<Action>) {
        match command {
            Command::Bdat { bytes, last } => self.next_chunk(bytes, last, actions),
            Command::Noop => self.say(Reply::new(250, "2.0.0", "Ok")),
            Command::Quit => {
                self.drop_message(actions);
                self.leave(Reply::new(221, "2.0.0", "Bye"));
            }
            Command::Rset | Command::Ehlo { .. } | Command::Helo { .. } => {
                self.drop_message(actions);
                if self.severed {
                    return self.leave(given_up());
                }
                self.command(command, actions);
            }
            _ => self.refuse(Reply::new(503, "5.5.1", "BDAT or RSET must follow BDAT")),
        }
    }

    fn answer_here(&mut self, command: &Command) {
        let reply = match command {
            Command::Vrfy => Reply::new(252, "2.5.0", "Send some mail and see"),
            Command::Help => Reply::new(214, "2.0.0", "RFC 5321; your mail goes to your provider's server"),
            Command::Auth { .. } => Reply::new(503, "5.5.1", "Logged in already"),
            Command::StartTls => Reply::new(503, "5.5.1", "TLS is on already"),
            _ => Reply::new(502, "5.5.1", "Not here"),
        };
        if reply.is_refusal() { self.refuse(reply) } else { self.say(reply) }
    }

    fn greet(&mut self, name: String, extended: bool, actions: &mut Vec<Action>) {
        // RFC 5321 §4.1.4: EHLO resets as RSET does.
        if self.transaction.take().is_some() {
            self.ask(Asked::OurRset, "RSET\r\n".into(), actions);
        }
        self.settings.helo = name;
        let mut lines = vec![self.settings.session.host_name.clone()];
        self.greeted |= extended;
        if extended {
            lines.extend(self.offer());
        }
        self.say(Reply { code: 250, enhanced: "", lines });
    }

    /// What both sides can do. PIPELINING and CHUNKING are ours: we undo them for a server that lacks them.
    fn offer(&self) -> Vec<String> {
        let server = &self.settings.extensions;
        let ours = self.settings.session.message_bytes_max;
        // 0 stands for no fixed limit (RFC 1870 §4).
        let size = server.size.filter(|size| *size > 0).map_or(ours, |size| size.min(ours));
        let offered = [
            (true, "PIPELINING"),
            (server.eightbitmime, "8BITMIME"),
            (server.smtputf8, "SMTPUTF8"),
            (true, "CHUNKING"),
            (server.dsn, "DSN"),
            (server.enhanced_status_codes, "ENHANCEDSTATUSCODES"),
        ];
        let names = offered.into_iter().filter(|(both, _)| *both).map(|(_, name)| name.to_owned());
        names.chain([format!("SIZE {size}")]).collect()
    }

    fn mail(&mut self, from: Option<Address>, parameters: MailParameters, actions: &mut Vec<Action>) {
        if self.messages >= self.settings.session.limits.messages_max {
            return self.leave(Reply::new(421, "4.7.0", "Enough messages for one session; come again"));
        }
        match self.judge_mail(&parameters) {
            Err(refusal) => self.refuse(refusal),
            Ok(room) => {
                let mail_from = from.map(|address| address.written).unwrap_or_default();
                let parameters = self.passed_on(parameters);
                let command = format!("MAIL FROM:<{mail_from}>{parameters}\r\n");
                self.transactions += 1;
                let number = self.transactions;
                self.transaction = Some(Transaction {
                    number,
                    mail_from,
                    smtputf8: parameters.smtputf8,
                    accepted: Vec::new(),
                    recipients: 0,
                    recipient_octets: 0,
                    room,
                });
                self.ask(Asked::Mail(number), command, actions);
            }
        }
    }

    /// How much the mailbox takes, or why this mail cannot be sent.
    fn judge_mail(&self, parameters: &MailParameters) -> Result<Room, Reply> {
        let server = &self.settings.extensions;
        let lacks = |what: &str| format!("Your provider's server does not take {what}");
        if self.transaction.is_some() {
            return Err(Reply::new(503, "5.5.1", "A transaction is open; RSET ends it"));
        }
        if parameters.smtputf8 && !server.smtputf8 {
            return Err(Reply::new(555, "5.6.7", lacks("SMTPUTF8: addresses must be ASCII")));
        }
        // A client that has not said EHLO again goes by our own offer; its content goes on as it is.
        let knows_better = self.greeted && !server.eightbitmime;
        if parameters.body == Some(BodyType::EightBitMime) && knows_better {
            return Err(Reply::new(555, "5.6.3", lacks("BODY=8BITMIME: content must be 7-bit")));
        }
        if parameters.wants_reports() && !server.dsn {
            return Err(Reply::new(555, "5.5.4", lacks("RET and ENVID")));
        }
        let session = &self.settings.session;
        let room = room_of(self.settings.mailbox, &*session.mailboxes)?;
        match parameters.size.and_then(|size| room.refuses(size, session.message_bytes_max)) {
            Some(refusal) => Err(refusal),
            None => Ok(room),
        }
    }

    /// Without what says nothing to a server that does not know it.
    fn passed_on(&self, parameters: MailParameters) -> MailParameters {
        let server = &self.settings.extensions;
        MailParameters {
            size: parameters.size.filter(|_| server.size.is_some()),
            body: parameters.body.filter(|_| server.eightbitmime),
            auth: parameters.auth.filter(|_| !server.auth.is_empty()),
            ..parameters
        }
    }

    fn rcpt(&mut self, to: Address, parameters: &RcptParameters, actions: &mut Vec<Action>) {
        let Some(transaction) = &mut self.transaction else {
            return self.refuse(Reply::new(503, "5.5.1", "MAIL first"));
        };
        let written = to.written;
        let octets = transaction.recipient_octets + written.len();
        // RFC 6531 §3.4, RFC 6533 §3.
        let is_ascii = written.is_ascii() && parameters.orcpt.as_deref().is_none_or(str::is_ascii);
        let refusal = if !is_ascii && !transaction.smtputf8 {
            Reply::new(553, "5.6.7", "Only ASCII without SMTPUTF8")
        } else if !parameters.is_empty() && !self.settings.extensions.dsn {
            Reply::new(555, "5.5.4", "Your provider's server does not take NOTIFY and ORCPT")
        } else if transaction.recipients >= RECIPIENTS_MAX || octets > RECIPIENT_OCTETS_MAX {
            Reply::new(452, "4.5.3", "Too many recipients; send to the rest in another transaction")
        } else {
            transaction.recipients += 1;
            transaction.recipient_octets = octets;
            let number = transaction.number;
            let command = format!("RCPT TO:<{written}>{parameters}\r\n");
            return self.ask(Asked::Rcpt(number, written), command, actions);
        };
        self.refuse(refusal);
    }

    fn data(&mut self, actions: &mut Vec<Action>) {
        if self.transaction.is_none() {
            return self.refuse(Reply::new(503, "5.5.1", "MAIL first"));
        }
        self.opening = Some(Opening::Data);
        self.ask(Asked::Data, "DATA\r\n".into(), actions);
    }
}

/// Behind a message that the server got half of.
pub(super) fn given_up() -> Reply {
    Reply::new(421, "4.3.0", "The connection with your provider's server had to be given up; come again")
}
