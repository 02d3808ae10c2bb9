//! SMTP load: sessions in threads, each on its own connection, each sending one message after the other.
//!
//! MAIL, RCPT and DATA go out together (RFC 2920); the next message waits for the reply to the final dot, as a mail
//! server that needs to know what became of each message does.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::rate;
use crate::smtp::{SmtpClient, stuffed};
use crate::{Security, messages};

/// Messages of a session that is to go on for long.
const SESSION_MESSAGES: usize = 1000;

/// What is sent, and how.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Connections at a time.
    pub sessions: usize,
    /// Octets of each message, before dot-stuffing.
    pub bytes: usize,
    /// In clear or by STARTTLS.
    pub security: Security,
    /// A connection of its own for every message, with its own handshake; else each session keeps its connection.
    pub reconnect: bool,
}

/// One session: a connection and the message that it repeats.
struct Sender {
    client: SmtpClient,
    /// Where and how to connect anew for the next message.
    reconnect: Option<(SocketAddr, Security)>,
    envelope: Vec<u8>,
    content: Vec<u8>,
}

impl Sender {
    fn connect(address: SocketAddr, to: &str, load: Load, number: usize) -> Result<Self> {
        let client = SmtpClient::connect(address, load.security)?;
        let reconnect = load.reconnect.then_some((address, load.security));
        Self::begin(client, reconnect, to, load, number)
    }

    fn begin(
        client: SmtpClient,
        reconnect: Option<(SocketAddr, Security)>,
        to: &str,
        load: Load,
        number: usize,
    ) -> Result<Self> {
        let envelope = format!("MAIL FROM:<sender@example.org>\r\nRCPT TO:<{to}>\r\nDATA\r\n").into_bytes();
        let mut sender =
            Self { client, reconnect, envelope, content: stuffed(&messages::sized(number, load.bytes)) };
        // The first message is a warm-up: the peer's process is there and has its files open.
        sender.send()?;
        Ok(sender)
    }

    fn send(&mut self) -> Result<()> {
        self.client.wire.send(&self.envelope)?;
        for expected in [250, 250, 354] {
            self.expect(expected)?;
        }
        self.client.wire.send(&self.content)?;
        self.expect(250)?;
        if let Some((address, security)) = self.reconnect {
            let next = SmtpClient::connect(address, security)?;
            std::mem::replace(&mut self.client, next).quit()?;
        }
        Ok(())
    }

    fn expect(&mut self, code: u16) -> Result<()> {
        let reply = self.client.reply()?;
        ensure!(reply.code == code, "{code} was expected: {reply:?}");
        Ok(())
    }
}

impl Load {
    /// Each session keeps its connection.
    pub const fn new(sessions: usize, bytes: usize, security: Security) -> Self {
        Self { sessions, bytes, security, reconnect: false }
    }

    /// With a connection of its own for every message.
    #[must_use]
    pub const fn reconnecting(self) -> Self {
        Self { reconnect: true, ..self }
    }

    /// Sends `count` messages over the sessions together, each session the same one again and again.
    pub fn repeat(self, address: SocketAddr, to: &str, count: usize) -> Result<()> {
        let session = |number| {
            let share = (number..count).step_by(self.sessions).len();
            if share == 0 {
                return Ok(());
            }
            let mut sender = Sender::connect(address, to, self, number)?;
            // Its first message is sent.
            (1..share).try_for_each(|_| sender.send())?;
            sender.client.quit()
        };
        in_threads(self.sessions, session).map(drop)
    }

    /// Sends to `to` for a time; messages acknowledged per second.
    pub fn run(self, address: SocketAddr, to: &str, time: Duration) -> Result<f64> {
        self.run_as(time, |number| Sender::connect(address, to, self, number))
    }

    /// The same for clients that log in first.
    pub fn run_logged_in(
        self,
        address: SocketAddr,
        (user, password): (&str, &str),
        to: &str,
        time: Duration,
    ) -> Result<f64> {
        self.run_as(time, |number| {
            let mut client = SmtpClient::connect(address, self.security)?;
            client.log_in(user, password)?;
            Sender::begin(client, None, to, self, number)
        })
    }

    fn run_as(self, time: Duration, connect: impl Fn(usize) -> Result<Sender> + Sync) -> Result<f64> {
        let barrier = Barrier::new(self.sessions);
        let session = |number| {
            let sender = connect(number);
            // Before `?`: the others wait here.
            barrier.wait();
            let mut sender = sender?;
            let start = Instant::now();
            let mut acknowledged = 0;
            while start.elapsed() < time {
                sender.send()?;
                acknowledged += 1;
            }
            let taken = start.elapsed();
            sender.client.quit()?;
            Ok((acknowledged, taken))
        };
        sum(&in_threads(self.sessions, session)?)
    }

    /// Sends to `to` until told to stop, and counts what is acknowledged.
    pub fn run_until(
        self,
        address: SocketAddr,
        to: &str,
        stop: &AtomicBool,
        acknowledged: &AtomicUsize,
    ) -> Result<()> {
        let session = |number| {
            while !stop.load(Ordering::Relaxed) {
                let mut sender = Sender::connect(address, to, self, number)?;
                // No server takes messages in one session for ever.
                for _ in 0..SESSION_MESSAGES {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    sender.send()?;
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                sender.client.quit()?;
            }
            Ok(())
        };
        in_threads(self.sessions, session).map(drop)
    }

    /// Sends `count` messages, each different, over the sessions together.
    pub fn fill(self, address: SocketAddr, to: &str, count: usize) -> Result<()> {
        let session = |number| {
            let mut client = SmtpClient::connect(address, self.security)?;
            for message in (number..count).step_by(self.sessions) {
                let reply =
                    client.send("sender@example.org", &[to], &messages::sized(message, self.bytes))?;
                ensure!(reply.code == 250, "{reply:?}");
            }
            client.quit()
        };
        in_threads(self.sessions, session).map(drop)
    }
}

/// Runs `session` with each number in a thread of its own.
pub(crate) fn in_threads<T: Send>(
    count: usize,
    session: impl Fn(usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let session = &session;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|number| scope.spawn(move || session(number))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().ok().context("a session panicked").and_then(|result| result))
            .collect()
    })
}

/// The rate of all sessions: their messages over the time until the last one ended.
pub(crate) fn sum(sessions: &[(usize, Duration)]) -> Result<f64> {
    let count = sessions.iter().map(|(count, _)| count).sum();
    let time = sessions.iter().map(|(_, time)| *time).max().context("no session")?;
    Ok(rate(count, time))
}
