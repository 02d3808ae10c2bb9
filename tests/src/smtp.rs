//! A small SMTP client.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use postern_shared::proto::sasl::PlainCredentials;

use crate::{Security, Wire};

/// A session behind EHLO.
#[derive(Debug)]
pub struct SmtpClient {
    /// The connection, for what this client does not do.
    pub wire: Wire,
    /// The lines of the last EHLO reply.
    pub extensions: Vec<String>,
}

/// A reply: its code and its text lines, code and separator cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmtpReply {
    /// Three digits.
    pub code: u16,
    /// What follows them, a line each.
    pub lines: Vec<String>,
}

impl SmtpClient {
    /// Connects, secures, and greets.
    pub fn connect(address: SocketAddr, security: Security) -> Result<Self> {
        let mut client =
            Self { wire: Wire::connect(address, security == Security::Implicit)?, extensions: Vec::new() };
        ensure!(client.reply()?.code == 220, "no greeting");
        client.ehlo()?;
        if security == Security::StartTls {
            ensure!(client.command("STARTTLS")?.code == 220, "STARTTLS refused");
            client.wire.start_tls()?;
            client.ehlo()?;
        }
        Ok(client)
    }

    /// Greets, once more.
    pub fn ehlo(&mut self) -> Result<()> {
        let reply = self.command("EHLO client.example.org")?;
        ensure!(reply.code == 250, "EHLO refused: {reply:?}");
        self.extensions = reply.lines;
        Ok(())
    }

    /// Logs in by AUTH PLAIN.
    pub fn log_in(&mut self, user: &str, password: &str) -> Result<()> {
        let credentials = PlainCredentials { user: user.to_owned(), password: password.into() };
        let reply = self.command(&format!("AUTH PLAIN {}", &*credentials.encode()))?;
        ensure!(reply.code == 235, "login refused: {reply:?}");
        Ok(())
    }

    /// Sends a command line and reads its reply.
    pub fn command(&mut self, line: &str) -> Result<SmtpReply> {
        self.wire.send(format!("{line}\r\n").as_bytes())?;
        self.reply()
    }

    /// Reads a reply.
    pub fn reply(&mut self) -> Result<SmtpReply> {
        let mut lines = Vec::new();
        loop {
            let line = self.wire.line()?;
            let code = line
                .get(..3)
                .and_then(|code| code.parse().ok())
                .with_context(|| format!("no reply: {line:?}"))?;
            lines.push(line.get(4..).unwrap_or("").to_owned());
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(SmtpReply { code, lines });
            }
        }
    }

    /// Sends a message (CRLF lines) by DATA; the reply to its final dot, or the first refusal before it.
    pub fn send(&mut self, from: &str, to: &[&str], message: &[u8]) -> Result<SmtpReply> {
        let mail = self.command(&format!("MAIL FROM:<{from}>"))?;
        if mail.code != 250 {
            return Ok(mail);
        }
        for to in to {
            let rcpt = self.command(&format!("RCPT TO:<{to}>"))?;
            if rcpt.code != 250 {
                self.command("RSET")?;
                return Ok(rcpt);
            }
        }
        let data = self.command("DATA")?;
        if data.code != 354 {
            return Ok(data);
        }
        self.wire.send(&stuffed(message))?;
        self.reply()
    }

    /// Ends the session.
    pub fn quit(mut self) -> Result<()> {
        self.command("QUIT").map(drop)
    }
}

/// What some servers took for the end of data, and which is none (RFC 5321 §4.1.1.4): ways to smuggle.
pub const FALSE_ENDS: [&str; 11] = [
    "\n.\n",
    "\n.\r",
    "\r.\n",
    "\r.\r",
    "\n.\r\n",
    "\r.\r\n",
    "\r\n.\n",
    "\r\n.\r",
    "\r\n.\r\r\n",
    "\r\r\n.\r\r\n",
    "\r\n\0.\r\n",
];

/// A message as DATA carries it: dots doubled, final dot added (RFC 5321 §4.5.2).
pub fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 16);
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if line.first() == Some(&b'.') {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !out.is_empty() && !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}
