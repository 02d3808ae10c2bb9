//! One client's connection: lines in, octets out, TLS put on it in between.
//!
//! Output is collected and sent when it has grown or when no complete line is left in the input, so that pipelined
//! commands are answered in few packets (RFC 2449 §6.6).

use std::io;
use std::sync::Arc;

use postern_shared::clock::Clock;
use postern_shared::proto::pop3::AUTH_OCTETS_MAX;
use rustls::ServerConfig;
use zeroize::{Zeroize, Zeroizing};

use crate::listen::{Awaited, Connection, Pace, Patience};

/// Output that is sent without waiting for the input to run dry.
const OUTPUT_OCTETS: usize = 16 * 1024;

/// Room for a line of the usual length.
const LINE_OCTETS: usize = 256;

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

/// A connection, by lines.
#[derive(Debug)]
pub(super) struct Wire {
    connection: Connection,
    line: Line,
    skipping: bool,
    output: Vec<u8>,
    pace: Pace,
    clock: Arc<dyn Clock>,
}

impl Wire {
    /// A connection on which nothing was said yet. `patience` bounds the wait for each line, and the session until
    /// [`Wire::trust`].
    pub(super) fn new(connection: Connection, patience: Patience, clock: Arc<dyn Clock>) -> Self {
        let pace = Pace::new(patience, clock.moment());
        Self::paced(connection, pace, clock)
    }

    fn paced(connection: Connection, pace: Pace, clock: Arc<dyn Clock>) -> Self {
        Self { connection, line: Line::default(), skipping: false, output: Vec::new(), pace, clock }
    }

    /// The client has logged in: it may stay as long as it likes.
    pub(super) fn trust(&mut self) {
        self.pace.trust();
    }

    /// Whether TLS is up.
    pub(super) fn is_tls(&self) -> bool {
        self.connection.tls().is_some()
    }

    /// The line last received, without its end.
    pub(super) fn line(&self) -> &[u8] {
        let line = &self.line.0;
        line.strip_suffix(b"\r").unwrap_or(line)
    }

    /// Waits for the next line. LF ends it, with or without CR before it.
    pub(super) async fn receive(&mut self) -> io::Result<Received> {
        self.line.clear();
        self.pace.done();
        loop {
            if let Some(received) = self.take_line() {
                return Ok(received);
            }
            self.flush().await?;
            self.connection.shrink();
            self.line.shrink();
            let deadline = self.pace.wait(Awaited::Command, self.clock.moment());
            if deadline.is_zero() {
                // Also for a client that always has more to say.
                return Err(io::ErrorKind::TimedOut.into());
            }
            match self.connection.fill(deadline).await {
                Ok(true) => self.pace.came(0, self.clock.moment()),
                Ok(false) => return Ok(Received::End),
                // A peer that goes without closing TLS is gone just the same.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Received::End),
                Err(error) => return Err(error),
            }
        }
    }

    /// A complete line from what was read; without one, what is there of it is kept (or skipped, when too long).
    fn take_line(&mut self) -> Option<Received> {
        let unread = self.connection.unread();
        let (piece, ends) = match unread.iter().position(|&byte| byte == b'\n') {
            Some(lf) => (&unread[..lf], true),
            None => (unread, false),
        };
        // The limit counts CRLF; a line in `line` may still end in CR, but not in LF.
        let too_long = self.line.0.len() + piece.len() + 1 > AUTH_OCTETS_MAX;
        if !self.skipping && !too_long {
            self.line.extend(piece);
        } else {
            self.skipping = true;
        }
        let used = piece.len() + usize::from(ends);
        // Any line may hold a secret: whether one does, who reads it knows later.
        self.connection.wipe(used);
        if !ends {
            return None;
        }
        Some(if std::mem::take(&mut self.skipping) { Received::LineTooLong } else { Received::Line })
    }

    /// Sends `octets`, now or with what follows.
    pub(super) async fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        if octets.len() < OUTPUT_OCTETS {
            self.output.extend_from_slice(octets);
            return if self.output.len() >= OUTPUT_OCTETS { self.flush().await } else { Ok(()) };
        }
        self.flush().await?;
        // In pieces, so that a slow client runs into the deadline only when it takes next to nothing.
        for piece in octets.chunks(OUTPUT_OCTETS) {
            self.connection.send(piece).await?;
        }
        Ok(())
    }

    /// Sends what was collected. It may be given up halfway, at shutdown say, and nothing of it is sent twice.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() { Ok(()) } else { self.connection.send_from(&mut self.output).await }
    }

    /// Drops every octet received, and shakes hands.
    pub(super) async fn start_tls(mut self, config: Arc<ServerConfig>) -> io::Result<Self> {
        self.flush().await?;
        let connection = self.connection.start_tls(config).await?;
        Ok(Self::paced(connection, self.pace, self.clock))
    }

    /// Sends what was collected, and gives the connection away, with what was read and is no line taken yet.
    pub(super) async fn into_connection(mut self) -> io::Result<Connection> {
        self.flush().await?;
        Ok(self.connection)
    }

    /// Sends what was collected and says good-bye.
    pub(super) async fn close(mut self) -> io::Result<()> {
        self.flush().await?;
        self.connection.close().await;
        Ok(())
    }
}

/// Part of a line. Wiped wherever it stood, for it may hold a password; takes no memory while it is empty and nothing
/// comes, for most sessions are idle.
#[derive(Debug, Default)]
struct Line(Zeroizing<Vec<u8>>);

impl Line {
    fn extend(&mut self, piece: &[u8]) {
        let needed = self.0.len() + piece.len();
        if needed > self.0.capacity() {
            let mut longer = Zeroizing::new(Vec::with_capacity(needed.next_power_of_two().max(LINE_OCTETS)));
            longer.extend_from_slice(&self.0);
            self.0 = longer;
        }
        self.0.extend_from_slice(piece);
    }

    fn clear(&mut self) {
        self.0.zeroize();
        if self.0.capacity() > LINE_OCTETS {
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        if self.0.is_empty() {
            self.0 = Zeroizing::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use postern_shared::clock::SystemClock;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpSocket, TcpStream};

    use super::*;

    async fn connected(idle: Duration) -> (Wire, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (near, peer) = listener.accept().await.unwrap();
        let patience = Patience { command: idle, ..Patience::default() };
        (Wire::new(Connection::new(near, peer), patience, Arc::new(SystemClock::new())), far)
    }

    /// Goal: lines come whole at any chunk border, and one that is too long costs no memory and no later line.
    #[tokio::test]
    async fn lines_are_bounded_and_the_next_one_is_found() {
        let longest = "x".repeat(AUTH_OCTETS_MAX - 2);
        let input =
            format!("NOOP\r\nSTAT\n{longest}\r\n{longest}y\r\n{}\r\nQUIT\r\nhalf", longest.repeat(100));
        for step in [7, 1000, 200_000] {
            let (mut wire, mut far) = connected(Duration::from_secs(10)).await;
            far.set_nodelay(true).unwrap();
            let bytes = input.clone().into_bytes();
            let sending = tokio::spawn(async move {
                for piece in bytes.chunks(step) {
                    far.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
            });
            let mut found = Vec::new();
            loop {
                match wire.receive().await.unwrap() {
                    Received::Line => found.push(String::from_utf8(wire.line().to_vec()).unwrap()),
                    Received::LineTooLong => found.push("too long".into()),
                    Received::End => break,
                }
                assert!(wire.line.0.capacity() <= AUTH_OCTETS_MAX.next_power_of_two());
            }
            assert_eq!(wire.line.0.capacity(), LINE_OCTETS, "after a long line little is held");
            assert_eq!(found, ["NOOP", "STAT", &longest, "too long", "too long", "QUIT"], "{step}");
            sending.await.unwrap();
        }
    }

    /// Goal: a password stands nowhere once its line is done with, though more was sent behind it.
    #[tokio::test]
    async fn lines_are_wiped_where_they_came_in() {
        let (mut wire, mut far) = connected(Duration::from_secs(10)).await;
        far.write_all(b"PASS open sesame\r\nSTAT\r\n").await.unwrap();
        assert_eq!(wire.receive().await.unwrap(), Received::Line);
        assert_eq!(wire.line(), b"PASS open sesame");
        assert_eq!(wire.connection.used(), [0; 18]);
        assert_eq!(wire.receive().await.unwrap(), Received::Line);
        assert_eq!(wire.line(), b"STAT");
    }

    #[tokio::test]
    async fn a_silent_client_times_out() {
        let (mut wire, _far) = connected(Duration::from_millis(1)).await;
        assert_eq!(wire.receive().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    /// Goal: a shutdown amid an answer that a slow client is still reading repeats no octet of it: a message with some
    /// twice would be archived as another message.
    /// Method: buffers too small for the answer; waiting for the next line is dropped as at shutdown, then the
    /// connection is closed, and the client reads all.
    #[tokio::test]
    async fn what_was_sent_is_not_sent_again_when_waiting_is_given_up() {
        let small = || {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_send_buffer_size(1024).unwrap();
            socket.set_recv_buffer_size(1024).unwrap();
            socket
        };
        let listening = small();
        listening.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = listening.listen(1).unwrap();
        let mut far = small().connect(listener.local_addr().unwrap()).await.unwrap();
        let (near, peer) = listener.accept().await.unwrap();
        let clock = Arc::new(SystemClock::new());
        let mut wire = Wire::new(Connection::new(near, peer), Patience::default(), clock);
        let answer: Vec<u8> =
            (0..OUTPUT_OCTETS - 1).map(|at| b"abcdefghijklmnopqrstuvwxyz."[at % 27]).collect();
        wire.send(&answer).await.unwrap();
        assert!(tokio::time::timeout(Duration::ZERO, wire.receive()).await.is_err());
        let reading = tokio::spawn(async move {
            let mut received = Vec::new();
            far.read_to_end(&mut received).await.unwrap();
            received
        });
        wire.close().await.unwrap();
        assert!(reading.await.unwrap() == answer, "the answer came once, and whole");
    }
}
