//! From the greeting to the open maildrop.

use secrecy::ExposeSecret;

use super::{Client, ClientError, Phase, Reading, TlsStart};
use crate::proto::pop3::reply::printable;
use crate::proto::pop3::{COMMAND_OCTETS_MAX, Capabilities, Reply};
use crate::proto::sasl::{Answers, Credentials, Mechanism};

impl Client {
    pub(super) fn login_step(&mut self, reply: Reply) -> Result<(), ClientError> {
        let command = self.waiting_for();
        let accepted =
            |reply: Reply| if reply.ok { Ok(()) } else { Err(ClientError::Refused { command, reply }) };
        match self.phase {
            Phase::Greeting if !reply.ok => return Err(ClientError::Greeting(reply)),
            Phase::Greeting if self.options.tls == TlsStart::Stls => {
                self.say(&["STLS"]);
                self.phase = Phase::Stls;
            }
            Phase::Greeting => self.ask_capabilities(Phase::CapaBeforeLogin),
            Phase::Stls => {
                accepted(reply)?;
                self.phase = Phase::Handshake;
            }
            Phase::CapaBeforeLogin | Phase::CapaAfterLogin if reply.ok => {
                self.capabilities = Capabilities::default();
                self.reading = Reading::Capabilities(0);
            }
            // A server without CAPA: the rest of RFC 1939 it may still know.
            Phase::CapaBeforeLogin => self.log_in()?,
            Phase::CapaAfterLogin => self.phase = Phase::Ready,
            Phase::User => {
                accepted(reply)?;
                if let Credentials::Password(credentials) = self.options.credentials.clone() {
                    self.say(&["PASS ", credentials.password.expose_secret()]);
                }
                self.phase = Phase::Pass;
            }
            Phase::Auth(_) | Phase::Pass => {
                // Consent to what was not said yet is none.
                if reply.ok && self.answers.take().is_some_and(|answers| answers.has_proof_left()) {
                    return Err(ClientError::NotPop3 { command, said: printable(reply.text.as_bytes()) });
                }
                accepted(reply)?;
                self.ask_capabilities(Phase::CapaAfterLogin);
            }
            Phase::Handshake | Phase::Ready | Phase::Over => {}
        }
        Ok(())
    }

    pub(super) fn ask_capabilities(&mut self, phase: Phase) {
        self.say(&["CAPA"]);
        self.phase = phase;
    }

    pub(super) fn log_in(&mut self) -> Result<(), ClientError> {
        let (credentials, offers) = (self.options.credentials.clone(), self.capabilities);
        let fits = |mechanism: &Mechanism| {
            mechanism.takes_password() == matches!(credentials, Credentials::Password(_))
        };
        let user = offers.user || !self.capabilities_known;
        let mechanism = match self.options.mechanism {
            Some(wanted) if offers.sasl(wanted) && fits(&wanted) => Some(wanted),
            Some(wanted) => return Err(ClientError::NoMechanism(wanted.name())),
            // LOGIN is for servers that have no other.
            None => Mechanism::ALL
                .into_iter()
                .filter(fits)
                .find(|mechanism| offers.sasl(*mechanism) && (*mechanism != Mechanism::Login || !user)),
        };
        match mechanism {
            Some(mechanism) => self.authenticate(mechanism),
            None if user && matches!(credentials, Credentials::Password(_)) => {
                self.say(&["USER ", credentials.user()]);
                self.phase = Phase::User;
            }
            None if matches!(credentials, Credentials::Bearer(_)) => {
                return Err(ClientError::NoMechanism("XOAUTH2 or OAUTHBEARER"));
            }
            None => return Err(ClientError::NoLogin),
        }
        Ok(())
    }

    fn authenticate(&mut self, mechanism: Mechanism) {
        let mut answers = Answers::new(mechanism, &self.options.credentials);
        // Microsoft's servers take a token only when they have asked for it.
        let initial = match &mut answers {
            Some(answers) if mechanism == Mechanism::Plain => answers
                .clone()
                .initial()
                .filter(|response| "AUTH PLAIN ".len() + response.len() + 2 <= COMMAND_OCTETS_MAX),
            _ => None,
        };
        match initial {
            Some(response) => {
                self.say(&["AUTH ", mechanism.name(), " ", &response]);
                // Now it has been given.
                let _ = answers.as_mut().and_then(Answers::initial);
            }
            None => self.say(&["AUTH ", mechanism.name()]),
        }
        self.answers = answers;
        self.phase = Phase::Auth(mechanism);
    }
}
