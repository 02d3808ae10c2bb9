//! One client's connection: lines in, octets out, TLS put on it in between.
//!
//! Output is collected and sent when it has grown or when no complete line is left in the input, so that pipelined
//! commands are answered in few packets (RFC 2449 §6.6).

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use postern_shared::proto::pop3::AUTH_OCTETS_MAX;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use zeroize::{Zeroize, Zeroizing};

const READ_OCTETS: usize = 4096;
/// Output that is sent without waiting for the input to run dry.
const OUTPUT_OCTETS: usize = 16 * 1024;

/// What came from the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// A line, in [`Wire::line`].
    Line,
    /// A line longer than any may be; it was skipped.
    LineTooLong,
    /// The client closed the connection; what stood there without a line end is dropped.
    End,
}

#[derive(Debug)]
enum Transport<S> {
    Clear(S),
    Tls(Box<TlsStream<S>>),
    /// A handshake is under way, or failed.
    Gone,
}

/// A connection over `S`.
#[derive(Debug)]
pub(super) struct Wire<S> {
    transport: Transport<S>,
    input: Zeroizing<Vec<u8>>,
    unread: Range<usize>,
    line: Zeroizing<Vec<u8>>,
    skipping: bool,
    output: Vec<u8>,
    idle: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Wire<S> {
    /// A connection in clear. `idle` bounds each wait for the client, to say something or to take something.
    pub(super) fn new(stream: S, idle: Duration) -> Self {
        Self {
            transport: Transport::Clear(stream),
            input: Zeroizing::new(vec![0; READ_OCTETS]),
            unread: 0..0,
            // Never grows, so no copy of a password is left behind.
            line: Zeroizing::new(Vec::with_capacity(AUTH_OCTETS_MAX)),
            skipping: false,
            output: Vec::new(),
            idle,
        }
    }

    /// The line last received, without its end.
    pub(super) fn line(&self) -> &[u8] {
        self.line.strip_suffix(b"\r").unwrap_or(&self.line)
    }

    /// Waits for the next line. LF ends it, with or without CR before it.
    pub(super) async fn receive(&mut self) -> io::Result<Received> {
        self.line.zeroize();
        loop {
            if let Some(received) = self.take_line() {
                return Ok(received);
            }
            self.flush().await?;
            let idle = self.idle;
            let read = match &mut self.transport {
                Transport::Clear(stream) => timeout(idle, stream.read(&mut self.input)).await,
                Transport::Tls(stream) => timeout(idle, stream.read(&mut self.input)).await,
                Transport::Gone => return Ok(Received::End),
            };
            let len = match read.map_err(|_| io::ErrorKind::TimedOut)? {
                // A peer that goes without closing TLS is gone just the same.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
                other => other?,
            };
            if len == 0 {
                return Ok(Received::End);
            }
            self.unread = 0..len;
        }
    }

    /// A complete line from what was read; without one, what is there of it is kept (or skipped, when too long).
    fn take_line(&mut self) -> Option<Received> {
        let unread = &self.input[self.unread.clone()];
        let (piece, ends) = match unread.iter().position(|&byte| byte == b'\n') {
            Some(lf) => (&unread[..lf], true),
            None => (unread, false),
        };
        // The limit counts CRLF; a line in `line` may still end in CR, but not in LF.
        let too_long = self.line.len() + piece.len() + 1 > AUTH_OCTETS_MAX;
        if !self.skipping && !too_long {
            self.line.extend_from_slice(piece);
        } else {
            self.skipping = true;
        }
        self.unread.start += piece.len() + usize::from(ends);
        if !ends {
            return None;
        }
        Some(if std::mem::take(&mut self.skipping) { Received::LineTooLong } else { Received::Line })
    }

    /// Sends `octets`, now or with what follows.
    pub(super) async fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        if octets.len() >= OUTPUT_OCTETS {
            self.flush().await?;
            return self.send_now(octets).await;
        }
        self.output.extend_from_slice(octets);
        if self.output.len() >= OUTPUT_OCTETS { self.flush().await } else { Ok(()) }
    }

    /// Sends what was collected.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        let output = std::mem::take(&mut self.output);
        self.send_now(&output).await?;
        self.output = output;
        self.output.clear();
        Ok(())
    }

    /// Drops every octet received, and shakes hands.
    pub(super) async fn start_tls(&mut self, config: Arc<ServerConfig>, limit: Duration) -> io::Result<()> {
        self.flush().await?;
        self.unread = 0..0;
        self.line.zeroize();
        self.skipping = false;
        let Transport::Clear(stream) = std::mem::replace(&mut self.transport, Transport::Gone) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let accepted = timeout(limit, TlsAcceptor::from(config).accept(stream)).await;
        let stream = accepted.map_err(|_| io::ErrorKind::TimedOut)??;
        self.transport = Transport::Tls(Box::new(stream));
        Ok(())
    }

    /// Sends what was collected and says good-bye.
    pub(super) async fn close(&mut self) -> io::Result<()> {
        self.flush().await?;
        let idle = self.idle;
        let closed = match &mut self.transport {
            Transport::Clear(stream) => timeout(idle, stream.shutdown()).await,
            Transport::Tls(stream) => timeout(idle, stream.shutdown()).await,
            Transport::Gone => return Ok(()),
        };
        closed.map_err(|_| io::ErrorKind::TimedOut)?
    }

    /// Writes in pieces, so that a slow client is idle only when it takes nothing at all.
    async fn send_now(&mut self, octets: &[u8]) -> io::Result<()> {
        for piece in octets.chunks(OUTPUT_OCTETS) {
            let idle = self.idle;
            let written = match &mut self.transport {
                Transport::Clear(stream) => timeout(idle, stream.write_all(piece)).await,
                Transport::Tls(stream) => timeout(idle, stream.write_all(piece)).await,
                Transport::Gone => return Err(io::ErrorKind::NotConnected.into()),
            };
            written.map_err(|_| io::ErrorKind::TimedOut)??;
        }
        match &mut self.transport {
            Transport::Clear(stream) => timeout(self.idle, stream.flush()).await,
            Transport::Tls(stream) => timeout(self.idle, stream.flush()).await,
            Transport::Gone => return Err(io::ErrorKind::NotConnected.into()),
        }
        .map_err(|_| io::ErrorKind::TimedOut)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: lines come whole at any chunk border, and one that is too long costs no memory and no later line.
    #[tokio::test]
    async fn lines_are_bounded_and_the_next_one_is_found() {
        let longest = "x".repeat(AUTH_OCTETS_MAX - 2);
        let input =
            format!("NOOP\r\nSTAT\n{longest}\r\n{longest}y\r\n{}\r\nQUIT\r\nhalf", longest.repeat(20));
        for step in [1, 7, 4096, 100_000] {
            let (near, mut far) = tokio::io::duplex(step);
            let mut wire = Wire::new(near, Duration::from_secs(10));
            let bytes = input.clone().into_bytes();
            let sending = tokio::spawn(async move { far.write_all(&bytes).await });
            let mut found = Vec::new();
            loop {
                match wire.receive().await.unwrap() {
                    Received::Line => found.push(String::from_utf8(wire.line().to_vec()).unwrap()),
                    Received::LineTooLong => found.push("too long".into()),
                    Received::End => break,
                }
                assert!(wire.line.capacity() <= AUTH_OCTETS_MAX);
            }
            assert_eq!(found, ["NOOP", "STAT", &longest, "too long", "too long", "QUIT"], "{step}");
            sending.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_silent_client_times_out() {
        let (near, _far) = tokio::io::duplex(100);
        let mut wire = Wire::new(near, Duration::from_millis(1));
        assert_eq!(wire.receive().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        wire.send(&[b'x'; 200]).await.unwrap();
        assert_eq!(wire.flush().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
