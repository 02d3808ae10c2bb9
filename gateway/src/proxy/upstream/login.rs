//! What both protocols' logins have in common.

use postern_shared::proto::sasl::{Answers, Credentials, Mechanism};
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::error::{LoginError, clean};

/// What a mechanism says last, `^A` in base64 (RFC 7628 §3.2.3), proves nothing.
const DUMMY_OCTETS: usize = 4;

/// What came of a piece of input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Send what is to be sent, and read on.
    GoOn,
    /// Shake hands now. What was read and not used is dropped.
    StartTls,
    /// Logged in; without credentials, ready to.
    Ready,
}

/// The client's side of a login. Touches no socket and reads no clock.
///
/// Call order: [`Login::receive`] with what was read and again with what it left; whenever it has used all,
/// [`Login::output`] is sent before more is read. After [`Progress::StartTls`] comes [`Login::tls_started`]; with implicit
/// TLS that is the first call. [`Progress::Ready`] and errors end it.
pub trait Login {
    /// How many octets of `input` were used, and what they led to.
    fn receive(&mut self, input: &[u8]) -> Result<(usize, Progress), LoginError>;
    /// The connection is under TLS now.
    fn tls_started(&mut self);
    /// What to send; wiped when dropped.
    fn output(&mut self) -> Zeroizing<Vec<u8>>;
    /// What the server answers to now, for people.
    fn awaits(&self) -> &'static str;
}

/// What somebody logs in with, and how.
#[derive(Debug, Clone)]
pub struct Identity {
    credentials: Credentials,
    /// Tried first when the server offers it.
    preferred: Option<Mechanism>,
}

impl Identity {
    /// What these credentials need; an error when they would break a line of either protocol.
    pub fn new(credentials: Credentials, preferred: Option<Mechanism>) -> Result<Self, LoginError> {
        let secret = match &credentials {
            Credentials::Password(plain) => plain.password.expose_secret(),
            Credentials::Bearer(bearer) => bearer.token.expose_secret(),
        };
        let fits = |text: &str| !text.is_empty() && !text.chars().any(char::is_control);
        if fits(credentials.user()) && fits(secret) {
            Ok(Self { credentials, preferred })
        } else {
            Err(LoginError::BadCredentials)
        }
    }

    /// Whose mail it is.
    pub fn user(&self) -> &str {
        self.credentials.user()
    }

    /// A server's words for people and logs; none of them when they hold what proves who we are, in any form in which it was
    /// sent: a server that echoes commands must not carry a password into a log.
    pub(super) fn clean(&self, words: &str) -> String {
        if self.reveals(words) { "(words that hold the password or token)".into() } else { clean(words) }
    }

    fn reveals(&self, words: &str) -> bool {
        let secret = match &self.credentials {
            Credentials::Password(plain) => plain.password.expose_secret(),
            Credentials::Bearer(bearer) => bearer.token.expose_secret(),
        };
        let sent =
            Mechanism::ALL.into_iter().filter_map(|mechanism| Answers::new(mechanism, &self.credentials));
        let mut sent = sent.flat_map(|mut answers| std::iter::from_fn(move || answers.answer("")));
        words.contains(secret)
            || sent.any(|response| response.len() > DUMMY_OCTETS && words.contains(&*response))
    }

    /// The password, when it is one.
    pub(super) fn password(&self) -> Option<&str> {
        match &self.credentials {
            Credentials::Password(plain) => Some(plain.password.expose_secret()),
            Credentials::Bearer(_) => None,
        }
    }

    /// The best mechanism of those offered: for passwords PLAIN, then LOGIN; for tokens the preferred one, then XOAUTH2,
    /// which more servers know, then OAUTHBEARER.
    pub(super) fn mechanism(&self, offered: &[Mechanism]) -> Option<Mechanism> {
        let fits = |mechanism: &Mechanism| {
            mechanism.takes_password() == self.password().is_some() && offered.contains(mechanism)
        };
        self.preferred.into_iter().chain(Mechanism::ALL).find(fits)
    }

    /// The line that begins AUTH, with the first response in it when the line then has at most `octets_max` octets, CRLF
    /// included; and what is left to say.
    pub(super) fn begin(
        &self,
        mechanism: Mechanism,
        octets_max: usize,
    ) -> Option<(Zeroizing<String>, Answers)> {
        let fresh = || Answers::new(mechanism, &self.credentials);
        let mut answers = fresh()?;
        let initial = answers.initial();
        let command = format!("AUTH {mechanism}");
        Some(match initial {
            Some(response) if command.len() + 1 + response.len() + 2 <= octets_max => {
                let mut line = Zeroizing::new(String::with_capacity(octets_max));
                line.push_str(&command);
                line.push(' ');
                line.push_str(&response);
                (line, answers)
            }
            _ => (Zeroizing::new(command), fresh()?),
        })
    }
}

/// What is to be sent, line by line.
#[derive(Debug, Default)]
pub(super) struct Output(Zeroizing<Vec<u8>>);

impl Output {
    pub(super) fn line(&mut self, parts: &[&str]) {
        // Grown by hand: a growing vector would leave copies of secrets behind.
        let more = parts.iter().map(|part| part.len()).sum::<usize>() + 2;
        let mut grown = Zeroizing::new(Vec::with_capacity(self.0.len() + more));
        grown.extend_from_slice(&self.0);
        parts.iter().for_each(|part| grown.extend_from_slice(part.as_bytes()));
        grown.extend_from_slice(b"\r\n");
        self.0 = grown;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self) -> Zeroizing<Vec<u8>> {
        std::mem::take(&mut self.0)
    }
}
