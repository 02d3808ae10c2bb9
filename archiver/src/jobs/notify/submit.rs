//! One message to a mail server (RFC 5321, 6409).
//!
//! ```text
//! greeting, EHLO, STARTTLS, handshake, EHLO, AUTH, MAIL, RCPT for each, DATA, QUIT
//! ```
//!
//! With implicit TLS from the greeting on under TLS. What was said before TLS counts for nothing (RFC 3207 §4.2), and what a
//! server says behind its answer to STARTTLS ends the session.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use postern_shared::proto::sasl::{Answers, Credentials, Mechanism, PlainCredentials};
use postern_shared::proto::smtp::answer::{Answer, AnswerReader, BadAnswer};
use postern_shared::proto::smtp::extensions::Extensions;
use postern_shared::tls::client::{Trust, client_config};
use secrecy::ExposeSecret as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::settings::{MailTls, NotificationSettings};
use crate::sources::SourceError;
use crate::sources::dial::{self, Stream};

/// For a connection, and for each answer (RFC 5321 §4.5.3.2 allows minutes; what is told here can be told again).
const STEP: Duration = Duration::from_secs(60);
/// For all of it: a server may say an octet at a time.
const WHOLE: Duration = Duration::from_secs(5 * 60);

/// Why a message could not be handed over.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// No connection, or no TLS.
    #[error("{0}")]
    Dial(SourceError),
    /// The server's certificate is not trusted.
    #[error(
        "the certificate of {host} is not trusted: {reason}. If it is the right one, put trust = \"{}\" into [notifications]",
        .trust
    )]
    NotTrusted {
        /// The server.
        host: String,
        /// What would trust it.
        trust: Trust,
        /// What is wrong with it.
        reason: String,
    },
    /// The connection broke.
    #[error("{host}: the connection broke at {at}: {source}")]
    Broken {
        /// The server.
        host: String,
        /// During which command.
        at: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The server speaks something else.
    #[error("{host}: {why}")]
    NotSmtp {
        /// The server.
        host: String,
        /// What it did.
        why: BadAnswer,
    },
    /// It said something between its answer to STARTTLS and TLS.
    #[error("{host} said something between STARTTLS and TLS: somebody may be on the line")]
    Injected {
        /// The server.
        host: String,
    },
    /// It offers no TLS.
    #[error(
        "{host} does not offer STARTTLS; if it wants TLS from the beginning, set tls = \"implicit\" in [notifications]"
    )]
    NoTls {
        /// The server.
        host: String,
    },
    /// It offers no login that takes a password.
    #[error("{host} offers no login with a password (AUTH PLAIN or LOGIN)")]
    NoLogin {
        /// The server.
        host: String,
    },
    /// It said no.
    #[error("{host} refuses {at}: {said}")]
    Refused {
        /// The server.
        host: String,
        /// What.
        at: &'static str,
        /// Its words.
        said: String,
    },
}

impl From<SourceError> for SubmitError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::NotTrusted { host, presented, reason } => {
                Self::NotTrusted { host, trust: Trust::Pinned(presented), reason }
            }
            other => Self::Dial(other),
        }
    }
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// The server's words, with the id it gave the message.
    pub said: String,
    /// Recipients it refused, with its words.
    pub refused: Vec<String>,
}

/// Hands `message` over, within five minutes. It ends in CRLF and has no line that begins with a dot.
pub async fn submit(settings: &NotificationSettings, message: &[u8]) -> Result<Submitted, SubmitError> {
    let late = || SubmitError::Broken {
        host: settings.host.clone(),
        at: "the whole of it, however little it says at a time",
        source: io::ErrorKind::TimedOut.into(),
    };
    timeout(WHOLE, step_by_step(settings, message)).await.unwrap_or_else(|_| Err(late()))
}

async fn step_by_step(settings: &NotificationSettings, message: &[u8]) -> Result<Submitted, SubmitError> {
    let tcp = dial::tcp(&settings.host, settings.port, STEP).await?;
    let config = || client_config(&settings.trust).map(Arc::new).map_err(SourceError::Trust);
    let stream = match settings.tls {
        MailTls::Implicit => dial::tls(tcp, &settings.host, config()?, STEP).await?,
        MailTls::Starttls | MailTls::None => Stream::Plain(tcp),
    };
    let mut session = Session::new(&settings.host, stream);
    session.expect("its greeting", 220).await?;
    let mut extensions = session.hello().await?;
    if settings.tls == MailTls::Starttls {
        if !extensions.starttls {
            return Err(SubmitError::NoTls { host: settings.host.clone() });
        }
        session.ask("STARTTLS", "STARTTLS", 220).await?;
        let Session { stream: Stream::Plain(tcp), unread, host, .. } = session else {
            return Err(SubmitError::NoTls { host: settings.host.clone() });
        };
        if !unread.is_empty() {
            return Err(SubmitError::Injected { host });
        }
        session = Session::new(&host, dial::tls(tcp, &host, config()?, STEP).await?);
        extensions = session.hello().await?;
    }
    if let Some(credentials) = &settings.credentials {
        session.log_in(&extensions, credentials).await?;
    }
    let submitted = session.hand_over(settings, message).await?;
    // It has the message: how it says goodbye does not matter.
    let _ = session.ask("QUIT", "QUIT", 221).await;
    Ok(submitted)
}

struct Session {
    host: String,
    stream: Stream,
    reader: AnswerReader,
    unread: Vec<u8>,
}

impl Session {
    fn new(host: &str, stream: Stream) -> Self {
        Self { host: host.to_owned(), stream, reader: AnswerReader::default(), unread: Vec::new() }
    }

    fn broken(&self, at: &'static str) -> impl FnOnce(io::Error) -> SubmitError + use<> {
        let host = self.host.clone();
        move |source| SubmitError::Broken { host, at, source }
    }

    async fn answer(&mut self, at: &'static str) -> Result<Answer, SubmitError> {
        loop {
            let read = self.reader.read(&self.unread);
            let (used, answer) = read.map_err(|why| SubmitError::NotSmtp { host: self.host.clone(), why })?;
            self.unread.drain(..used);
            if let Some(answer) = answer {
                return Ok(answer);
            }
            let mut buffer = [0; 4096];
            let got = timeout(STEP, self.stream.read(&mut buffer))
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            match got.map_err(self.broken(at))? {
                0 => return Err(self.broken(at)(io::ErrorKind::UnexpectedEof.into())),
                n => self.unread.extend_from_slice(&buffer[..n]),
            }
        }
    }

    async fn send(&mut self, octets: &[u8], at: &'static str) -> Result<(), SubmitError> {
        let sending = async {
            self.stream.write_all(octets).await?;
            self.stream.flush().await
        };
        let sent = timeout(STEP, sending).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        sent.map_err(self.broken(at))
    }

    fn refused(&self, at: &'static str, answer: &Answer) -> SubmitError {
        SubmitError::Refused { host: self.host.clone(), at, said: answer.to_string() }
    }

    /// The answer, when it begins with the same digit.
    async fn expect(&mut self, at: &'static str, code: u16) -> Result<Answer, SubmitError> {
        let answer = self.answer(at).await?;
        if answer.code / 100 == code / 100 { Ok(answer) } else { Err(self.refused(at, &answer)) }
    }

    async fn ask(&mut self, line: &str, at: &'static str, code: u16) -> Result<Answer, SubmitError> {
        self.send(format!("{line}\r\n").as_bytes(), at).await?;
        self.expect(at, code).await
    }

    async fn hello(&mut self) -> Result<Extensions, SubmitError> {
        // An address literal that is true wherever it is read: mail clients do the same.
        let answer = self.ask("EHLO [127.0.0.1]", "EHLO", 250).await?;
        Ok(Extensions::read(&answer))
    }

    async fn log_in(
        &mut self,
        extensions: &Extensions,
        credentials: &PlainCredentials,
    ) -> Result<(), SubmitError> {
        const AT: &str = "the login";
        let password = Credentials::Password(credentials.clone());
        let wanted = [Mechanism::Plain, Mechanism::Login];
        let mechanism = wanted.into_iter().find(|mechanism| extensions.auth.contains(mechanism));
        let answers = mechanism.and_then(|mechanism| Some((mechanism, Answers::new(mechanism, &password)?)));
        let (mechanism, mut answers) =
            answers.ok_or_else(|| SubmitError::NoLogin { host: self.host.clone() })?;
        self.send(format!("AUTH {mechanism}\r\n").as_bytes(), AT).await?;
        loop {
            let mut answer = self.answer(AT).await?;
            let challenge = answer.lines.first().map_or("", String::as_str);
            match answer.code {
                235 if !answers.has_proof_left() => return Ok(()),
                334 => {
                    let response = answers.answer(challenge).ok_or_else(|| self.refused(AT, &answer))?;
                    self.send(response.as_bytes(), AT).await?;
                    self.send(b"\r\n", AT).await?;
                }
                _ => {
                    // A server that says what it was told: that is not for the log.
                    let secrets = [credentials.password.expose_secret(), credentials.encode().as_str()]
                        .map(|secret| answer.lines.iter().any(|line| line.contains(secret)));
                    if secrets.contains(&true) {
                        answer.lines.clear();
                    }
                    return Err(self.refused(AT, &answer));
                }
            }
        }
    }

    async fn hand_over(
        &mut self,
        settings: &NotificationSettings,
        message: &[u8],
    ) -> Result<Submitted, SubmitError> {
        self.ask(&format!("MAIL FROM:<{}>", settings.from), "the sender", 250).await?;
        let mut refused = Vec::new();
        for to in &settings.to {
            self.send(format!("RCPT TO:<{to}>\r\n").as_bytes(), "the recipient").await?;
            let answer = self.answer("the recipient").await?;
            if !answer.is_ok() {
                if refused.len() + 1 == settings.to.len() {
                    return Err(self.refused("every recipient", &answer));
                }
                refused.push(format!("{to}: {answer}"));
            }
        }
        self.ask("DATA", "DATA", 354).await?;
        self.send(message, "the message").await?;
        let answer = self.ask(".", "the message", 250).await?;
        Ok(Submitted { said: answer.to_string(), refused })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    use tokio::net::TcpListener;

    use super::*;

    /// What a server says to each line, by how the line begins; the greeting goes first.
    type Script = &'static [(&'static str, &'static str)];

    const WELL: Script = &[
        ("", "220 mail.example.com ESMTP"),
        ("EHLO", "250-mail.example.com\r\n250-STARTTLS\r\n250 SIZE 1000"),
        ("MAIL", "250 2.1.0 ok"),
        ("RCPT", "250 2.1.5 ok"),
        ("DATA", "354 go on"),
        (".", "250 2.0.0 queued as 4711"),
        ("QUIT", "221 bye"),
    ];

    /// Answers one client by `script`, what it does not name by [`WELL`]; everything that the client said.
    async fn serve(listener: TcpListener, script: Script) -> String {
        let (stream, _) = listener.accept().await.unwrap();
        let (reader, mut writer) = stream.into_split();
        let (mut lines, mut said, mut content) = (BufReader::new(reader).lines(), String::new(), false);
        let answer = |line: &str| {
            let fits = |(begins, _): &&(&str, &str)| {
                if line.is_empty() {
                    begins.is_empty()
                } else {
                    !begins.is_empty() && line.starts_with(begins)
                }
            };
            let found = script.iter().find(fits).or_else(|| WELL.iter().find(fits));
            found.map_or("500 what?", |(_, answer)| *answer)
        };
        let mut line = String::new();
        loop {
            if !content || line == "." {
                let answer = answer(&line);
                if answer.is_empty() || writer.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() {
                    return said;
                }
                content = answer.starts_with("354");
            }
            match lines.next_line().await {
                Ok(Some(next)) => line = next,
                _ => return said,
            }
            said += &format!("{line}\n");
        }
    }

    async fn told(script: Script, tls: MailTls) -> (Result<Submitted, SubmitError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let settings = NotificationSettings {
            host: "127.0.0.1".into(),
            port: listener.local_addr().unwrap().port(),
            tls,
            trust: Trust::Any,
            from: "a@example.com".into(),
            to: vec!["b@example.com".into(), "c@example.com".into()],
            credentials: None,
            repeat: Duration::MAX,
            gather: Duration::ZERO,
        };
        let serving = tokio::spawn(serve(listener, script));
        let submitted = submit(&settings, b"Subject: x\r\n\r\ntext\r\n").await;
        (submitted, serving.await.unwrap())
    }

    #[tokio::test]
    async fn a_message_is_handed_over() {
        let (submitted, said) = told(&[], MailTls::None).await;
        let submitted = submitted.unwrap();
        assert_eq!((submitted.said.as_str(), submitted.refused.len()), ("250 2.0.0 queued as 4711", 0));
        assert_eq!(
            said,
            "EHLO [127.0.0.1]\nMAIL FROM:<a@example.com>\nRCPT TO:<b@example.com>\nRCPT TO:<c@example.com>\nDATA\n\
             Subject: x\n\ntext\n.\nQUIT\n"
        );
        let (submitted, _) = told(&[("RCPT TO:<b@", "550 5.1.1 who?")], MailTls::None).await;
        assert_eq!(submitted.unwrap().refused, ["b@example.com: 550 5.1.1 who?"]);
    }

    const REFUSALS: &[(Script, MailTls, &str)] = &[
        (&[("", "554 go away")], MailTls::None, "refuses its greeting: 554 go away"),
        (&[("EHLO", "502 no")], MailTls::None, "refuses EHLO: 502 no"),
        (&[("MAIL", "550 5.7.1 not you")], MailTls::None, "refuses the sender: 550 5.7.1 not you"),
        (&[("RCPT", "550 5.1.1 who?")], MailTls::None, "refuses every recipient: 550 5.1.1 who?"),
        (&[("DATA", "451 later")], MailTls::None, "refuses DATA: 451 later"),
        (&[(".", "552 5.3.4 too big")], MailTls::None, "refuses the message: 552 5.3.4 too big"),
        (&[("", "HTTP/1.1 400 Bad Request")], MailTls::None, "does not speak SMTP"),
        (&[("MAIL", "")], MailTls::None, "the connection broke at the sender"),
        (&[("EHLO", "250 mail")], MailTls::Starttls, "does not offer STARTTLS"),
        (&[("STARTTLS", "454 later")], MailTls::Starttls, "refuses STARTTLS: 454 later"),
        (&[("STARTTLS", "220 go\r\n250 injected")], MailTls::Starttls, "between STARTTLS and TLS"),
    ];

    /// Goal: each way in which a server fails is an error that names server, step and its words; nothing hangs.
    #[tokio::test]
    async fn what_servers_refuse_is_told_in_their_words() {
        for (script, tls, says) in REFUSALS {
            let (submitted, said) = told(script, *tls).await;
            let error = submitted.unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("127.0.0.1"), "{says}: {error}");
            assert!(!said.contains("AUTH"), "{said}");
        }
    }
}
