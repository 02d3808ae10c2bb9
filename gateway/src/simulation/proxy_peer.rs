//! The proxy's way into the spool. What the other server answers is chance.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use postern_shared::disk::SimulatedDisk;
use postern_shared::disk::simulated::Dice;
use postern_shared::id::{MailboxId, MessageId};
use postern_shared::proto::mime::trace::Normalised;

use super::ledger::{Fate, Ledger, Token};
use super::node::Node;
use crate::intake::{
    Envelope, Incoming, Intake, IntakeError, Origin, Prepared, PreparedMessage, Provenance, Proxied,
    Recipient, SealingMessage,
};
use crate::spool::INLINE_BYTES_MAX;

type Answer<T> = Pin<Box<dyn Future<Output = Result<T, IntakeError>>>>;

/// A message that a client sends through the proxy.
pub(super) struct ProxyPeer {
    token: Token,
    mailbox: MailboxId,
    stage: Stage,
}

enum Stage {
    Content(Box<SealingMessage>, usize),
    Preparing(Answer<PreparedMessage>),
    Prepared(PreparedMessage),
    Confirming(Answer<MessageId>),
    Discarding(Answer<()>),
    Over,
}

impl ProxyPeer {
    /// `None` when the mailbox takes no mail.
    pub(super) fn begin(
        node: &Node,
        mailbox: MailboxId,
        dice: &mut Dice,
        ledger: &mut Ledger,
    ) -> Option<Self> {
        let envelope = Envelope {
            mail_from: "anna@example.com".into(),
            recipients: vec![Recipient { mailbox, address: "bob@example.net".into() }],
        };
        let origin = Origin::SmtpProxy(Proxied {
            account: "anna%smtp.example.com".into(),
            server: "smtp.example.com:587".into(),
            server_tls: None,
            uidl: None,
        });
        let peer = ([192, 0, 2, 3], 25000).into();
        let provenance = Provenance { peer, helo: "client".into(), protocol: "ESMTPSA", tls: None, origin };
        let incoming = node.intake.begin(envelope, provenance).ok()?;
        Some(Self { token: ledger.new_content(dice), mailbox, stage: Stage::Content(Box::new(incoming), 0) })
    }

    /// Whether nothing more comes of it.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// The session dies, wherever it is.
    pub(super) fn vanish(&mut self, ledger: &mut Ledger, log: &mut Vec<String>) {
        if let Stage::Prepared(_) = &self.stage {
            ledger.proxied(self.token, self.mailbox, Fate::Kept);
            log.push(format!("proxy: token {} left undecided", self.token));
        }
        self.stage = Stage::Over;
    }

    /// The client sends more, or the other server answers.
    pub(super) fn step(
        &mut self,
        dice: &mut Dice,
        ledger: &mut Ledger,
        disk: &SimulatedDisk,
        log: &mut Vec<String>,
    ) {
        let (token, mailbox) = (self.token, self.mailbox);
        self.stage = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Content(incoming, sent) => self.content(incoming, sent, dice, ledger),
            Stage::Prepared(prepared) => match dice.below(8) {
                0..4 => {
                    ledger.proxied(token, mailbox, Fate::Confirming);
                    Stage::Confirming(Box::pin(prepared.confirm()))
                }
                4 | 5 => {
                    ledger.proxied(token, mailbox, Fate::InDoubt);
                    Stage::Discarding(Box::pin(prepared.discard()))
                }
                6 => {
                    prepared.keep_unconfirmed();
                    ledger.proxied(token, mailbox, Fate::Kept);
                    log.push(format!("proxy: token {token} left undecided"));
                    Stage::Over
                }
                // It takes its time.
                _ => Stage::Prepared(prepared),
            },
            other => other,
        };
        self.serve(ledger, disk, log);
    }

    fn content(
        &self,
        mut incoming: Box<SealingMessage>,
        sent: usize,
        dice: &mut Dice,
        ledger: &mut Ledger,
    ) -> Stage {
        let content = ledger.content(self.token);
        let end = content.len().min(sent + 1 + dice.index(200_000));
        let written =
            std::pin::pin!(incoming.write(&content[sent..end])).poll(&mut Context::from_waker(Waker::noop()));
        match written {
            Poll::Ready(Ok(())) if end < content.len() => Stage::Content(incoming, end),
            Poll::Ready(Ok(())) => {
                ledger.preparing(self.token, self.mailbox);
                Stage::Preparing(Box::pin(incoming.prepare(Normalised::default())))
            }
            Poll::Ready(Err(_)) => Stage::Over,
            Poll::Pending => unreachable!("content is taken at once"),
        }
    }

    /// The server goes on with what it waits for.
    pub(super) fn serve(&mut self, ledger: &mut Ledger, disk: &SimulatedDisk, log: &mut Vec<String>) {
        let powered = disk.is_powered();
        let (fate, word, next) = match &mut self.stage {
            Stage::Preparing(answer) => match poll(answer) {
                Poll::Pending => return,
                Poll::Ready(Ok(prepared)) => (Fate::Undecided, "prepared", Stage::Prepared(prepared)),
                Poll::Ready(Err(_)) => {
                    // A large file that the disk does not let go may be found by a restart.
                    let is_large = ledger.content(self.token).len() > INLINE_BYTES_MAX;
                    let lost = powered && !(is_large && disk.is_read_only());
                    (if lost { Fate::Absent } else { Fate::InDoubt }, "refused", Stage::Over)
                }
            },
            Stage::Confirming(answer) => match poll(answer) {
                Poll::Pending => return,
                Poll::Ready(Ok(_)) => (Fate::Stored, "confirmed", Stage::Over),
                Poll::Ready(Err(_)) => {
                    (if powered { Fate::Kept } else { Fate::Confirming }, "left undecided", Stage::Over)
                }
            },
            Stage::Discarding(answer) => match poll(answer) {
                Poll::Pending => return,
                Poll::Ready(Ok(())) => (Fate::Absent, "dropped", Stage::Over),
                Poll::Ready(Err(_)) => {
                    (if powered { Fate::Kept } else { Fate::InDoubt }, "left undecided", Stage::Over)
                }
            },
            Stage::Content(..) | Stage::Prepared(_) | Stage::Over => return,
        };
        ledger.proxied(self.token, self.mailbox, fate);
        log.push(format!("proxy: token {} {word}", self.token));
        self.stage = next;
    }
}

fn poll<T>(answer: &mut Answer<T>) -> Poll<Result<T, IntakeError>> {
    answer.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}
