//! AUTH (RFC 4954): for mail clients whose user name says that they go through the proxy. Nobody logs in to deliver to a
//! mailbox.

use postern_shared::proto::sasl::{Credentials, Exchange, Mechanism, SaslError, Step, UnknownMechanism};
use postern_shared::proto::smtp::reply::Reply;
use secrecy::{ExposeSecret, SecretString};

use super::{Action, Session};
use crate::proxy::{BadRoute, Route};

/// Logins refused in one session before it ends.
const LOGIN_FAILURES_MAX: u32 = 3;

impl Session {
    /// Only where nobody can listen.
    pub(super) fn offers_login(&self) -> bool {
        self.secured && self.divider.is_some()
    }

    /// For EHLO.
    pub(super) fn login_offer(&self) -> Option<String> {
        let names = || Mechanism::ALL.map(Mechanism::name).join(" ");
        self.offers_login().then(|| format!("AUTH {}", names()))
    }

    /// Whether `input` begins with what may hold a password, and may be as long as a token.
    pub(crate) fn expects_secret(&self, input: &[u8]) -> bool {
        let is_auth = || input.get(..5).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH "));
        self.login.is_some() || (self.offers_login() && is_auth())
    }

    pub(super) fn auth(
        &mut self,
        mechanism: Result<Mechanism, UnknownMechanism>,
        initial: Option<&SecretString>,
        actions: &mut Vec<Action>,
    ) {
        let refusal = match mechanism {
            _ if self.divider.is_none() => Reply::new(502, "5.5.1", "Nobody logs in here"),
            // RFC 4954 §6, in the words of RFC 3207 §4.
            _ if !self.secured => Reply::new(538, "5.7.11", "Must issue a STARTTLS command first"),
            _ if self.helo.is_none() => Reply::new(503, "5.5.1", "EHLO first"),
            _ if self.transaction.is_some() => {
                Reply::new(503, "5.5.1", "A transaction is open; RSET ends it")
            }
            Err(unknown) => Reply::new(504, "5.5.4", capitalised(&unknown.to_string())),
            Ok(mechanism) => {
                let initial = initial.map(ExposeSecret::expose_secret);
                return match Exchange::begin(mechanism, initial) {
                    Ok((exchange, step)) => self.go_on(exchange, step, actions),
                    Err(error) => self.refuse(refusal_of(error), actions),
                };
            }
        };
        self.refuse(refusal, actions);
    }

    /// Takes the client's next line of an exchange.
    pub(super) fn respond(&mut self, mut exchange: Exchange, line: &[u8], actions: &mut Vec<Action>) {
        let step = std::str::from_utf8(line)
            .map_err(|_| SaslError::NotBase64)
            .and_then(|response| exchange.respond(response));
        match step {
            Ok(step) => self.go_on(exchange, step, actions),
            Err(error) => self.refuse(refusal_of(error), actions),
        }
    }

    fn go_on(&mut self, exchange: Exchange, step: Step, actions: &mut Vec<Action>) {
        match step {
            Step::Challenge(challenge) => {
                self.login = Some(exchange);
                actions.push(Action::Reply(Reply::new(334, "", challenge)));
            }
            Step::Done(credentials) => self.log_in(credentials, actions),
        }
    }

    fn log_in(&mut self, credentials: Credentials, actions: &mut Vec<Action>) {
        let divider = self.divider.unwrap_or_default();
        let refusal = match Route::parse(credentials.user(), divider) {
            Some(Ok(_)) => {
                actions.push(Action::LogIn(credentials));
                self.waiting = true;
                return;
            }
            Some(Err(error)) => error,
            None => BadRoute::Parts(divider),
        };
        self.refuse_login(Reply::new(535, "5.7.8", capitalised(&refusal.to_string())), actions);
    }

    pub(super) fn logged_in(&mut self, outcome: Result<(), Reply>, actions: &mut Vec<Action>) {
        self.waiting = false;
        match outcome {
            Ok(()) => {
                actions.push(Action::Reply(Reply::new(235, "2.7.0", "Logged in")));
                actions.push(Action::HandOver);
                self.closing = true;
            }
            Err(refusal) => self.refuse_login(refusal, actions),
        }
    }

    fn refuse_login(&mut self, refusal: Reply, actions: &mut Vec<Action>) {
        // What the other server cannot do for now is nobody's guess.
        self.login_failures += u32::from(refusal.code >= 500);
        actions.push(Action::Pause);
        if self.login_failures >= LOGIN_FAILURES_MAX {
            actions.push(Action::Reply(refusal));
            return self.close(Reply::new(421, "4.7.0", "Too many failed logins"), actions);
        }
        self.answer(refusal, actions);
    }
}

/// RFC 4954 §4, §6.
fn refusal_of(error: SaslError) -> Reply {
    let text = capitalised(&error.to_string());
    match error {
        SaslError::Cancelled => Reply::new(501, "5.7.0", text),
        SaslError::NotBase64 | SaslError::Malformed(_) => Reply::new(501, "5.5.2", text),
        SaslError::OtherIdentity => Reply::new(535, "5.7.8", text),
    }
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
