//! A small POP3 client.

use std::net::SocketAddr;

use anyhow::{Result, bail, ensure};

use crate::{Security, Wire};

/// A session, logged in or not.
#[derive(Debug)]
pub struct Pop3Client {
    /// The connection, for what this client does not do.
    pub wire: Wire,
}

impl Pop3Client {
    /// Connects and secures.
    pub fn connect(address: SocketAddr, security: Security) -> Result<Self> {
        let mut client = Self { wire: Wire::connect(address, security == Security::Implicit)? };
        client.ok()?;
        if security == Security::StartTls {
            client.command("STLS")?;
            client.wire.start_tls()?;
        }
        Ok(client)
    }

    /// Connects and logs in.
    pub fn login(address: SocketAddr, security: Security, user: &str, password: &str) -> Result<Self> {
        let mut client = Self::connect(address, security)?;
        client.command(&format!("USER {user}"))?;
        client.command(&format!("PASS {password}"))?;
        Ok(client)
    }

    /// Sends a command; the text behind +OK, or an error with the one behind -ERR.
    pub fn command(&mut self, line: &str) -> Result<String> {
        self.wire.send(format!("{line}\r\n").as_bytes())?;
        self.ok()
    }

    fn ok(&mut self) -> Result<String> {
        let line = self.wire.line()?;
        match line.strip_prefix("+OK") {
            Some(text) => Ok(text.trim().to_owned()),
            None => bail!("{line}"),
        }
    }

    /// Sends a command whose answer has lines; the lines, dots undone.
    pub fn lines(&mut self, line: &str) -> Result<Vec<String>> {
        let bytes = self.content(line)?;
        Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
    }

    /// Sends a command whose answer is a message; its bytes, dots undone (RFC 1939 §3).
    pub fn content(&mut self, line: &str) -> Result<Vec<u8>> {
        self.command(line)?;
        let mut out = Vec::new();
        loop {
            let line = self.wire.raw_line()?;
            if line == b".\r\n" {
                return Ok(out);
            }
            out.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
    }

    /// The numbers and sizes of LIST.
    pub fn list(&mut self) -> Result<Vec<(usize, u64)>> {
        let rows = self.lines("LIST")?;
        rows.iter()
            .map(|row| {
                let mut words = row.split(' ');
                let mut next = || words.next().unwrap_or("").parse::<u64>();
                Ok((usize::try_from(next()?)?, next()?))
            })
            .collect()
    }

    /// Retrieves every message and checks each against its listed size.
    pub fn retrieve_all(&mut self) -> Result<Vec<Vec<u8>>> {
        let mut messages = Vec::new();
        for (number, size) in self.list()? {
            let message = self.content(&format!("RETR {number}"))?;
            ensure!(
                message.len() as u64 == size,
                "message {number}: {} bytes, LIST says {size}",
                message.len()
            );
            messages.push(message);
        }
        Ok(messages)
    }

    /// Ends the session; deletions take effect.
    pub fn quit(mut self) -> Result<()> {
        self.command("QUIT").map(drop)
    }
}

/// What follows the trace fields that the gateway puts before a message.
pub fn without_trace(served: &[u8]) -> &[u8] {
    postern_shared::proto::mime::trace::split(served).1
}
