//! From the greeting to the first command.

use postern_shared::crypto::random;
use postern_shared::proto::imap::{Capabilities, Code, Command, Condition, Response, Text};
use postern_shared::proto::pop3::client::TlsStart;
use postern_shared::proto::sasl::{self, Answers, Credentials, Scram};
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::{Event, ImapError, Mechanism, Phase, Session};

/// A login in several steps.
#[derive(Debug)]
pub(super) enum Exchange {
    /// PLAIN: one response.
    Once(Option<Zeroizing<String>>),
    /// XOAUTH2 and OAUTHBEARER.
    Answers(Answers),
    /// SCRAM-SHA-256.
    Scram(Box<Scram>, u8),
    /// The command LOGIN: no challenges.
    Command,
}

impl Session {
    pub(super) fn greeting(&mut self, response: Response) -> Result<(), ImapError> {
        let Response::Status(condition, text) = response else {
            return Err(ImapError::Unsolicited("something else than a greeting"));
        };
        match (condition, self.options.tls) {
            (Condition::Ok, TlsStart::Stls) => {
                self.phase = Phase::StartTls;
                self.own(&Command::new("STARTTLS"), "STARTTLS");
            }
            (Condition::PreAuth, TlsStart::Stls) => return Err(ImapError::PreAuth),
            (Condition::Ok, TlsStart::Implicit) => match text.code {
                Some(Code::Capability(capabilities)) => {
                    self.capabilities = capabilities;
                    self.log_in()?;
                }
                _ => self.ask_capabilities(Phase::Capabilities),
            },
            // Logged in as whom? Not as the user whose mail is wanted, as far as anybody knows.
            (Condition::PreAuth, TlsStart::Implicit) => return Err(ImapError::Unsolicited("a login")),
            _ => return Err(ImapError::Greeting(text)),
        }
        Ok(())
    }

    pub(super) fn ask_capabilities(&mut self, phase: Phase) {
        self.phase = phase;
        self.own(&Command::new("CAPABILITY"), "CAPABILITY");
    }

    /// A command of the machine's own has ended.
    pub(super) fn own_ended(
        &mut self,
        command: &'static str,
        condition: Condition,
        text: Text,
    ) -> Result<Option<Event<'static>>, ImapError> {
        let done = condition == Condition::Ok;
        match self.phase {
            Phase::StartTls if done => {
                self.phase = Phase::Handshake;
                return Ok(Some(Event::StartTls));
            }
            Phase::StartTls => return Err(ImapError::StartTls(text)),
            Phase::Capabilities if done => self.log_in()?,
            Phase::CapabilitiesAgain if done => self.prepare(),
            Phase::Authenticate if done => self.authenticated(text)?,
            Phase::Authenticate => {
                let mechanism = self.mechanism().map_or("LOGIN", Mechanism::name);
                return Err(ImapError::Login { mechanism, text });
            }
            Phase::Prepare => {
                // Each of them can be done without.
                if self.under_way.is_empty() {
                    return Ok(self.prepared());
                }
            }
            Phase::Compress if done => {
                self.phase = Phase::Ready;
                // Told apart: the driver compresses, then commands may be given.
                return Ok(Some(Event::Deflate));
            }
            Phase::Compress => {
                self.phase = Phase::Ready;
                return Ok(Some(Event::LoggedIn));
            }
            Phase::Over => {}
            _ => return Err(ImapError::Refused { command, text }),
        }
        Ok(None)
    }

    /// The mechanism to log in by: the one that is wanted, else the best of those offered.
    fn mechanism(&self) -> Option<Mechanism> {
        let login = &self.options.login;
        let offers = |name: &str| self.capabilities.has(&format!("AUTH={name}"));
        let order: &[Mechanism] = match (&login.credentials, self.options.verified) {
            (Credentials::Bearer(_), _) => &[Mechanism::XOAuth2, Mechanism::OAuthBearer],
            // Servers offer SCRAM for users too of whom they keep another kind of hash: so not first, where none can listen.
            (_, true) => &[Mechanism::Plain, Mechanism::Login, Mechanism::ScramSha256],
            (_, false) => &[Mechanism::ScramSha256, Mechanism::Plain, Mechanism::Login],
        };
        let mut usable = order.iter().copied().filter(|mechanism| match mechanism {
            Mechanism::Login => !self.capabilities.has("LOGINDISABLED") && login.act_as.is_none(),
            mechanism => offers(mechanism.name()),
        });
        match login.mechanism {
            Some(wanted) => usable.find(|mechanism| *mechanism == wanted),
            None => usable.next(),
        }
    }

    fn log_in(&mut self) -> Result<(), ImapError> {
        let Some(mechanism) = self.mechanism() else {
            let offered: Vec<&str> =
                self.capabilities.iter().filter_map(|name| name.strip_prefix("AUTH=")).collect();
            let offered = if offered.is_empty() { "none".to_owned() } else { offered.join(", ") };
            return Err(ImapError::NoMechanism(offered));
        };
        self.phase = Phase::Authenticate;
        let credentials = self.options.login.credentials.clone();
        let act_as = self.options.login.act_as.clone();
        let answers = |mechanism| Answers::new(mechanism, &credentials).map(Exchange::Answers);
        let exchange = match (mechanism, &credentials) {
            (Mechanism::Login, Credentials::Password(credentials)) => {
                let command = Command::new("LOGIN ")
                    .string(credentials.user.as_bytes())
                    .text(" ")
                    .string(credentials.password.expose_secret().as_bytes());
                self.exchange = Some(Exchange::Command);
                self.own(&command, "LOGIN");
                return Ok(());
            }
            (Mechanism::ScramSha256, Credentials::Password(credentials)) => {
                let nonce = random::<18>().iter().map(|octet| format!("{octet:02x}")).collect();
                Some(Exchange::Scram(Box::new(Scram::new(credentials, act_as.as_deref(), nonce)?), 0))
            }
            (Mechanism::Plain, Credentials::Password(credentials)) => {
                Some(Exchange::Once(Some(credentials.encode_for(act_as.as_deref().unwrap_or_default()))))
            }
            (Mechanism::XOAuth2, _) => answers(sasl::Mechanism::XOAuth2),
            (Mechanism::OAuthBearer, _) => answers(sasl::Mechanism::OAuthBearer),
            _ => None,
        };
        let Some(mut exchange) = exchange else { return Err(ImapError::NoMechanism("others".into())) };
        let mut command = Command::new("AUTHENTICATE ").text(mechanism.name());
        if self.capabilities.has("SASL-IR") {
            let response = exchange.respond("")?.unwrap_or_default();
            command = command.text(" ").text(if response.is_empty() { "=" } else { &response });
        }
        self.exchange = Some(exchange);
        self.own(&command, "AUTHENTICATE");
        Ok(())
    }

    /// `+` during AUTHENTICATE.
    pub(super) fn answer_challenge(&mut self, challenge: &str) -> Result<(), ImapError> {
        // `*` gives up (RFC 3501 §6.2.2); the server's refusal follows.
        let response = match &mut self.exchange {
            Some(exchange) => exchange.respond(challenge)?.unwrap_or_else(|| Zeroizing::new("*".to_owned())),
            None => return Err(ImapError::Unsolicited("a challenge")),
        };
        self.say(&Zeroizing::new([response.as_bytes(), b"\r\n"].concat()));
        Ok(())
    }

    fn authenticated(&mut self, text: Text) -> Result<(), ImapError> {
        match self.exchange.take() {
            // Consent before the server proved that it knows the password counts for nothing.
            Some(Exchange::Scram(_, steps)) if steps < 3 => return Err(ImapError::Unsolicited("consent")),
            _ => {}
        }
        // What it can do before a login may be less or more than behind it (RFC 3501 §6.2.2).
        match text.code {
            Some(Code::Capability(capabilities)) => {
                self.capabilities = capabilities;
                self.prepare();
            }
            _ => {
                self.capabilities = Capabilities::default();
                self.ask_capabilities(Phase::CapabilitiesAgain);
            }
        }
        Ok(())
    }

    fn prepare(&mut self) {
        self.phase = Phase::Prepare;
        let has = |name: &str| self.capabilities.has(name);
        let mut commands = Vec::new();
        // Some servers let nobody read who does not say what he is.
        if has("ID") {
            commands.push((Command::new("ID (\"name\" \"Postern\")"), "ID"));
        }
        let wanted = [("QRESYNC", has("QRESYNC")), ("CONDSTORE", has("CONDSTORE") && !has("QRESYNC"))];
        let utf8 = [("UTF8=ACCEPT", has("UTF8=ACCEPT") || has("UTF8=ONLY"))];
        let enable: Vec<&str> =
            wanted.into_iter().chain(utf8).filter(|(_, is)| *is).map(|(name, _)| name).collect();
        if has("ENABLE") && !enable.is_empty() {
            commands.push((Command::new("ENABLE ").text(&enable.join(" ")), "ENABLE"));
        }
        if has("NAMESPACE") {
            commands.push((Command::new("NAMESPACE"), "NAMESPACE"));
        }
        // NOOP when there is nothing to ask for, so that there is one way on.
        if commands.is_empty() {
            commands.push((Command::new("NOOP"), "NOOP"));
        }
        for (command, name) in commands {
            self.own(&command, name);
        }
    }

    fn prepared(&mut self) -> Option<Event<'static>> {
        if self.options.compress && self.capabilities.has("COMPRESS=DEFLATE") {
            self.phase = Phase::Compress;
            self.own(&Command::new("COMPRESS DEFLATE"), "COMPRESS");
            return None;
        }
        self.phase = Phase::Ready;
        Some(Event::LoggedIn)
    }
}

impl Exchange {
    /// What the client says to a challenge; `None` when it has nothing more to say.
    fn respond(&mut self, challenge: &str) -> Result<Option<Zeroizing<String>>, ImapError> {
        Ok(match self {
            Self::Once(response) => response.take(),
            Self::Answers(answers) => answers.answer(challenge),
            Self::Command => None,
            Self::Scram(scram, step) => {
                *step = step.saturating_add(1);
                match *step {
                    1 => Some(scram.first()),
                    2 => Some(scram.proof(challenge)?),
                    3 => {
                        scram.verify(challenge)?;
                        Some(Zeroizing::default())
                    }
                    _ => None,
                }
            }
        })
    }
}
