//! Logging in over SMTP (RFC 5321, 3207, 4954).
//!
//! ```text
//! greeting, EHLO, STARTTLS, handshake, EHLO, AUTH, EHLO         with implicit TLS from the greeting on under TLS
//! ```
//!
//! There is no falling back to HELO: a server that does not know EHLO knows no STARTTLS and no AUTH.

use postern_shared::proto::sasl::Answers;
use postern_shared::proto::smtp::answer::{Answer, AnswerReader, BadAnswer};
use postern_shared::proto::smtp::extensions::Extensions;
use zeroize::Zeroizing;

use super::error::{GREETING, LoginError, RefusalKind, ServerRefusal, clean};
use super::login::{Identity, Login, Output, Progress};

/// The longest command line (RFC 5321 §4.5.3.1.4): a longer first response goes on a line of its own (RFC 4954 §4).
const COMMAND_OCTETS_MAX: usize = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Greeting,
    EhloInClear,
    StartTls,
    Handshake,
    Ehlo,
    Auth,
    EhloAgain,
    Ready,
}

/// One login.
#[derive(Debug)]
pub struct SmtpLogin {
    name: String,
    identity: Option<Identity>,
    tls: bool,
    phase: Phase,
    reader: AnswerReader,
    extensions: Extensions,
    answers: Option<Answers>,
    /// Whether all that proves who it is was sent.
    proven: bool,
    out: Output,
}

impl SmtpLogin {
    /// A login as `identity` by a client that calls itself `name`; without one it ends before AUTH.
    pub fn new(name: &str, identity: Option<Identity>) -> Self {
        Self {
            name: name.to_owned(),
            identity,
            tls: false,
            phase: Phase::Greeting,
            reader: AnswerReader::default(),
            extensions: Extensions::default(),
            answers: None,
            proven: false,
            out: Output::default(),
        }
    }

    /// What the server said it can do, the last time it was asked.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// The same, at the end.
    pub fn into_extensions(self) -> Extensions {
        self.extensions
    }

    fn ehlo(&mut self, phase: Phase) {
        self.out.line(&["EHLO ", &self.name]);
        self.phase = phase;
    }

    fn refused(&self, answer: &Answer) -> LoginError {
        let kind = match answer.code {
            400..500 => RefusalKind::Busy,
            // 534: another kind of password or a step in a browser is wanted; 538: more encryption.
            500..=504 | 534 | 538 => RefusalKind::Permanent,
            _ if self.phase == Phase::Auth => RefusalKind::Credentials,
            _ => RefusalKind::Permanent,
        };
        let words = match answer.enhanced() {
            Some(enhanced) => format!("{} {enhanced} {}", answer.code, answer.text()),
            None => format!("{} {}", answer.code, answer.text()),
        };
        LoginError::Refused(ServerRefusal { kind, to: self.awaits(), words: self.clean(&words) })
    }

    fn clean(&self, words: &str) -> String {
        self.identity.as_ref().map_or_else(|| clean(words), |identity| identity.clean(words))
    }

    fn unexpected(&self, answer: &Answer) -> LoginError {
        LoginError::Unexpected { to: self.awaits(), said: self.clean(&answer.to_string()) }
    }

    fn step(&mut self, answer: &Answer) -> Result<Progress, LoginError> {
        match (self.phase, answer.code) {
            (Phase::Greeting, 220) if self.tls => self.ehlo(Phase::Ehlo),
            (Phase::Greeting, 220) => self.ehlo(Phase::EhloInClear),
            (Phase::EhloInClear, 250) if Extensions::read(answer).starttls => {
                self.out.line(&["STARTTLS"]);
                self.phase = Phase::StartTls;
            }
            // Also a server that does not know EHLO.
            (Phase::EhloInClear, 250 | 500..=504) => return Err(LoginError::NoTls("STARTTLS")),
            (Phase::StartTls, 220) => {
                self.phase = Phase::Handshake;
                return Ok(Progress::StartTls);
            }
            (Phase::Ehlo, 250) => {
                self.extensions = Extensions::read(answer);
                return self.authenticate();
            }
            (Phase::Auth, 334) => {
                let challenge = answer.lines.first().map_or("", String::as_str);
                let answers = self.answers.as_mut();
                let Some(response) = answers.and_then(|answers| answers.answer(challenge)) else {
                    return Err(self.unexpected(answer));
                };
                self.out.line(&[&response]);
                // LOGIN asks for the user first.
                self.proven = !self.answers.as_ref().is_some_and(Answers::has_proof_left);
            }
            (Phase::Auth, 235) if self.proven => self.ehlo(Phase::EhloAgain),
            (Phase::EhloAgain, 250) => {
                self.extensions = Extensions::read(answer);
                return Ok(self.ready());
            }
            // Whoever does not like to be asked again has said all before.
            (Phase::EhloAgain, 500..600) => return Ok(self.ready()),
            (_, 400..600) => return Err(self.refused(answer)),
            _ => return Err(self.unexpected(answer)),
        }
        Ok(Progress::GoOn)
    }

    fn authenticate(&mut self) -> Result<Progress, LoginError> {
        let Some(identity) = &self.identity else { return Ok(self.ready()) };
        let offered = &self.extensions.auth;
        let mechanism = identity.mechanism(offered).ok_or_else(|| LoginError::NoMechanism {
            token: identity.password().is_none(),
            offered: offered.clone(),
        })?;
        let (line, answers) =
            identity.begin(mechanism, COMMAND_OCTETS_MAX).ok_or(LoginError::BadCredentials)?;
        self.proven = !answers.has_proof_left();
        self.answers = Some(answers);
        self.out.line(&[&line]);
        self.phase = Phase::Auth;
        Ok(Progress::GoOn)
    }

    fn ready(&mut self) -> Progress {
        // Nothing of it is needed any more.
        (self.identity, self.answers) = (None, None);
        self.phase = Phase::Ready;
        Progress::Ready
    }
}

impl Login for SmtpLogin {
    fn receive(&mut self, input: &[u8]) -> Result<(usize, Progress), LoginError> {
        if matches!(self.phase, Phase::Handshake | Phase::Ready) {
            return Ok((0, Progress::GoOn));
        }
        let to = self.awaits();
        let (used, answer) = self.reader.read(input).map_err(|bad| match bad {
            BadAnswer::NotSmtp(said) => BadAnswer::NotSmtp(self.clean(&said)),
            other => other,
        })?;
        let progress = answer.map_or(Ok(Progress::GoOn), |answer| self.step(&answer))?;
        if used < input.len() {
            return Err(if progress == Progress::StartTls {
                LoginError::Injected
            } else {
                LoginError::Unasked(to)
            });
        }
        Ok((used, progress))
    }

    fn tls_started(&mut self) {
        self.tls = true;
        // What was said in clear counts for nothing.
        self.reader = AnswerReader::default();
        if self.phase == Phase::Handshake {
            self.ehlo(Phase::Ehlo);
        }
    }

    fn output(&mut self) -> Zeroizing<Vec<u8>> {
        self.out.take()
    }

    fn awaits(&self) -> &'static str {
        match self.phase {
            Phase::Greeting => GREETING,
            Phase::EhloInClear | Phase::Ehlo | Phase::EhloAgain => "EHLO",
            Phase::StartTls | Phase::Handshake => "STARTTLS",
            Phase::Auth => "the login",
            Phase::Ready => "nothing",
        }
    }
}
