//! Logging in over POP3 (RFC 1939, 2449, 2595, 5034).
//!
//! ```text
//! greeting, STLS, handshake, CAPA, AUTH or USER and PASS, CAPA        with implicit TLS from the greeting on under TLS
//! ```
//!
//! What a server can do is asked under TLS only; STLS is asked for without asking whether it is offered, and a server that
//! does not know it says no.

use postern_shared::proto::pop3::{COMMAND_OCTETS_MAX, Reply, ResponseCode};
use postern_shared::proto::sasl::{Answers, LINE_OCTETS_MAX, Mechanism};
use zeroize::Zeroizing;

use super::capabilities::Capabilities;
use super::error::{GREETING, LoginError, RefusalKind, ServerRefusal, clean};
use super::login::{Identity, Login, Output, Progress};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Greeting,
    Stls,
    Handshake,
    Capa,
    Auth,
    User,
    Pass,
    CapaAgain,
    Ready,
}

/// One login.
#[derive(Debug)]
pub struct Pop3Login {
    identity: Option<Identity>,
    tls: bool,
    phase: Phase,
    line: Vec<u8>,
    /// The list being read; the first line said `+OK`.
    list: Option<Capabilities>,
    capabilities: Capabilities,
    answers: Option<Answers>,
    /// Whether all that proves who it is was sent.
    proven: bool,
    out: Output,
}

impl Pop3Login {
    /// A login as `identity`; without one it ends before that.
    pub fn new(identity: Option<Identity>) -> Self {
        Self {
            identity,
            tls: false,
            phase: Phase::Greeting,
            line: Vec::new(),
            list: None,
            capabilities: Capabilities::default(),
            answers: None,
            proven: false,
            out: Output::default(),
        }
    }

    /// What the server said it can do, the last time it was asked.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// The same, at the end.
    pub fn into_capabilities(self) -> Capabilities {
        self.capabilities
    }

    fn say(&mut self, parts: &[&str], phase: Phase) {
        self.out.line(parts);
        self.phase = phase;
    }

    fn line(&mut self, line: &[u8]) -> Result<Progress, LoginError> {
        if let Some(list) = &mut self.list {
            if line != b"." {
                let fits = list.read_line(line);
                return if fits { Ok(Progress::GoOn) } else { Err(LoginError::Endless("CAPA")) };
            }
            self.capabilities = self.list.take().unwrap_or_default();
            return self.list_read();
        }
        let challenge = line.strip_prefix(b"+ ").or_else(|| (line == b"+").then_some(&b""[..]));
        if let (Phase::Auth, Some(challenge)) = (self.phase, challenge) {
            return self.challenged(challenge);
        }
        let said = || self.clean(&String::from_utf8_lossy(line));
        match Reply::parse(line) {
            Some(reply) => self.reply(&reply),
            None => Err(LoginError::NotPop3 { to: self.awaits(), said: said() }),
        }
    }

    fn clean(&self, words: &str) -> String {
        self.identity.as_ref().map_or_else(|| clean(words), |identity| identity.clean(words))
    }

    fn challenged(&mut self, challenge: &[u8]) -> Result<Progress, LoginError> {
        let text = String::from_utf8_lossy(challenge);
        let Some(response) = self.answers.as_mut().and_then(|answers| answers.answer(&text)) else {
            return Err(LoginError::Unexpected { to: self.awaits(), said: self.clean(&text) });
        };
        self.out.line(&[&response]);
        self.proven = !self.answers.as_ref().is_some_and(Answers::has_proof_left);
        Ok(Progress::GoOn)
    }

    fn reply(&mut self, reply: &Reply) -> Result<Progress, LoginError> {
        match self.phase {
            Phase::Greeting if reply.ok && self.tls => self.say(&["CAPA"], Phase::Capa),
            Phase::Greeting if reply.ok => self.say(&["STLS"], Phase::Stls),
            Phase::Stls if reply.ok => {
                self.phase = Phase::Handshake;
                return Ok(Progress::StartTls);
            }
            Phase::Stls if !is_temporary(reply.code) => return Err(LoginError::NoTls("STLS")),
            Phase::Capa | Phase::CapaAgain if reply.ok => self.list = Some(Capabilities::default()),
            // Older than CAPA: USER and PASS it may know.
            Phase::Capa => return self.list_read(),
            Phase::CapaAgain => return Ok(self.ready()),
            Phase::User if reply.ok => {
                let Some(identity) = &self.identity else { return Ok(self.ready()) };
                self.out.line(&["PASS ", identity.password().unwrap_or_default()]);
                (self.phase, self.proven) = (Phase::Pass, true);
            }
            Phase::Auth | Phase::Pass if reply.ok && self.proven => self.say(&["CAPA"], Phase::CapaAgain),
            Phase::Auth if reply.ok => {
                return Err(LoginError::Unexpected {
                    to: self.awaits(),
                    said: self.clean(&reply.to_string()),
                });
            }
            _ => return Err(self.refused(reply)),
        }
        Ok(Progress::GoOn)
    }

    fn list_read(&mut self) -> Result<Progress, LoginError> {
        if self.phase == Phase::CapaAgain {
            return Ok(self.ready());
        }
        let Some(identity) = &self.identity else { return Ok(self.ready()) };
        let offered = self.capabilities.mechanisms();
        let Some(mechanism) = identity.mechanism(&offered) else {
            let token = identity.password().is_none();
            // A server that announces no way at all may still know the oldest one.
            let takes_user = self.capabilities.has("USER") || !self.capabilities.has("SASL");
            if token || !takes_user {
                return Err(LoginError::NoMechanism { token, offered });
            }
            let user = identity.user().to_owned();
            self.say(&["USER ", &user], Phase::User);
            return Ok(Progress::GoOn);
        };
        // Microsoft's servers want XOAUTH2 in two steps.
        let octets_max = if mechanism == Mechanism::XOAuth2 { 0 } else { COMMAND_OCTETS_MAX };
        let (line, answers) = identity.begin(mechanism, octets_max).ok_or(LoginError::BadCredentials)?;
        self.proven = !answers.has_proof_left();
        self.answers = Some(answers);
        self.say(&[&line], Phase::Auth);
        Ok(Progress::GoOn)
    }

    fn refused(&self, reply: &Reply) -> LoginError {
        let logging_in = matches!(self.phase, Phase::Auth | Phase::Pass | Phase::User);
        let kind = match reply.code {
            Some(ResponseCode::InUse) => RefusalKind::InUse,
            code if is_temporary(code) => RefusalKind::Busy,
            Some(ResponseCode::Auth) => RefusalKind::Credentials,
            Some(_) => RefusalKind::Permanent,
            // Who announces AUTH-RESP-CODE marks every wrong password (RFC 3206 §6).
            None if logging_in && !self.capabilities.has("AUTH-RESP-CODE") => RefusalKind::Credentials,
            None if logging_in => RefusalKind::Busy,
            None => RefusalKind::Permanent,
        };
        LoginError::Refused(ServerRefusal { kind, to: self.awaits(), words: self.clean(&reply.to_string()) })
    }

    fn ready(&mut self) -> Progress {
        (self.identity, self.answers) = (None, None);
        self.phase = Phase::Ready;
        Progress::Ready
    }
}

fn is_temporary(code: Option<ResponseCode>) -> bool {
    matches!(code, Some(ResponseCode::SysTemp | ResponseCode::LoginDelay))
}

impl Login for Pop3Login {
    fn receive(&mut self, input: &[u8]) -> Result<(usize, Progress), LoginError> {
        if matches!(self.phase, Phase::Handshake | Phase::Ready) {
            return Ok((0, Progress::GoOn));
        }
        let to = self.awaits();
        let Some(lf) = memchr::memchr(b'\n', input) else {
            self.line.extend_from_slice(&input[..input.len().min(LINE_OCTETS_MAX + 1)]);
            let fits = self.line.len() <= LINE_OCTETS_MAX;
            return if fits { Ok((input.len(), Progress::GoOn)) } else { Err(LoginError::Endless(to)) };
        };
        let used = lf + 1;
        let mut line = std::mem::take(&mut self.line);
        if line.len() + used > LINE_OCTETS_MAX {
            return Err(LoginError::Endless(to));
        }
        line.extend_from_slice(&input[..lf]);
        let progress = self.line(line.strip_suffix(b"\r").unwrap_or(&line))?;
        let is_answered = !self.out.is_empty() || progress != Progress::GoOn;
        if is_answered && used < input.len() {
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
        (self.line, self.list) = (Vec::new(), None);
        if self.phase == Phase::Handshake {
            self.say(&["CAPA"], Phase::Capa);
        }
    }

    fn output(&mut self) -> Zeroizing<Vec<u8>> {
        self.out.take()
    }

    fn awaits(&self) -> &'static str {
        match self.phase {
            Phase::Greeting => GREETING,
            Phase::Stls | Phase::Handshake => "STLS",
            Phase::Capa | Phase::CapaAgain => "CAPA",
            Phase::Auth | Phase::User | Phase::Pass => "the login",
            Phase::Ready => "nothing",
        }
    }
}
