//! From the greeting to the open maildrop.

use secrecy::ExposeSecret;

use super::{Client, ClientError, Phase, Reading, TlsStart};
use crate::proto::pop3::{COMMAND_OCTETS_MAX, Capabilities, Reply};

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
                let password = self.options.credentials.password.clone();
                self.say(&["PASS ", password.expose_secret()]);
                self.phase = Phase::Pass;
            }
            Phase::AuthPlain { .. } | Phase::Pass => {
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
        if self.capabilities.sasl_plain {
            let response = self.options.credentials.encode();
            let initial_sent = "AUTH PLAIN ".len() + response.len() + 2 <= COMMAND_OCTETS_MAX;
            if initial_sent {
                self.say(&["AUTH PLAIN ", &response]);
            } else {
                self.say(&["AUTH PLAIN"]);
            }
            self.phase = Phase::AuthPlain { initial_sent };
        } else if self.capabilities.user || !self.capabilities_known {
            let user = self.options.credentials.user.clone();
            self.say(&["USER ", &user]);
            self.phase = Phase::User;
        } else {
            return Err(ClientError::NoLogin);
        }
        Ok(())
    }
}
