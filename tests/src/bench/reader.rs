//! A raw POP3 reader that keeps many RETRs in flight and throws away what it reads, so that the server is what is
//! measured.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Result, ensure};
use memchr::memmem::Finder;

use super::rate;
use crate::pop3::Pop3Client;
use crate::{Security, Wire};

/// RETRs sent and not answered yet.
pub const IN_FLIGHT: usize = 64;

/// Where and as whom to read.
#[derive(Debug, Clone)]
pub struct Maildrop {
    /// Of POP3S.
    pub address: SocketAddr,
    /// USER
    pub user: String,
    /// PASS
    pub password: String,
}

impl Maildrop {
    /// Logged in, before the first RETR.
    pub fn login(&self) -> Result<Pop3Client> {
        Pop3Client::login(self.address, Security::Implicit, &self.user, &self.password)
    }

    /// Retrieves messages 1 to `count`, each of at least `bytes`; messages per second, login not counted.
    pub fn pull(&self, count: usize, bytes: usize) -> Result<f64> {
        let client = self.login()?;
        Self::timed(client, Instant::now(), count, bytes)
    }

    /// The same with the login.
    pub fn whole(&self, count: usize, bytes: usize) -> Result<f64> {
        let start = Instant::now();
        Self::timed(self.login()?, start, count, bytes)
    }

    fn timed(mut client: Pop3Client, start: Instant, count: usize, bytes: usize) -> Result<f64> {
        let read = retrieve(&mut client.wire, count)?;
        let taken = start.elapsed();
        ensure!(read >= count * bytes, "{read} bytes are too few for {count} messages of {bytes}");
        client.quit()?;
        Ok(rate(count, taken))
    }
}

/// The bytes of all replies. A reply ends where a line holds a dot alone (RFC 1939 §3).
pub(super) fn retrieve(wire: &mut Wire, count: usize) -> Result<usize> {
    const END: &[u8] = b"\r\n.\r\n";
    let end = Finder::new(END);
    let mut buffer = vec![0; 256 * 1024];
    // What is read and not known to belong to a finished reply: at most one octet less than END.
    let mut filled = 0;
    let (mut sent, mut answered, mut read) = (0, 0, 0);
    while answered < count {
        if sent - answered <= IN_FLIGHT / 2 {
            sent = request(wire, sent, count.min(answered + IN_FLIGHT))?;
        }
        let n = wire.read(&mut buffer[filled..])?;
        ensure!(n > 0, "the server closed the connection");
        read += n;
        filled += n;
        let mut at = 0;
        while let Some(found) = end.find(&buffer[at..filled]) {
            answered += 1;
            at += found + END.len();
        }
        let keep = at.max(filled.saturating_sub(END.len() - 1));
        buffer.copy_within(keep..filled, 0);
        filled -= keep;
    }
    Ok(read)
}

/// Sends RETR for the messages behind `sent` up to `last`.
fn request(wire: &mut Wire, sent: usize, last: usize) -> Result<usize> {
    if last > sent {
        let commands: String = (sent + 1..=last).map(|number| format!("RETR {number}\r\n")).collect();
        wire.send(commands.as_bytes())?;
    }
    Ok(last.max(sent))
}
