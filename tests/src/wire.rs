//! A blocking connection that speaks lines, in clear or under TLS. Trusts any certificate: tests run on loopback.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use postern_shared::tls::client::{Trust, client_config};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

/// How a connection is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Not at all.
    Clear,
    /// By STARTTLS or STLS.
    StartTls,
    /// From the first byte.
    Implicit,
}

/// A connection.
#[derive(Debug)]
pub struct Wire {
    stream: Option<BufReader<Stream>>,
}

#[derive(Debug)]
enum Stream {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Clear(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// No answer in this time fails the test instead of hanging it.
const DEADLINE: Duration = Duration::from_secs(60);

impl Wire {
    /// Connects; under TLS at once when `implicit`.
    pub fn connect(address: SocketAddr, implicit: bool) -> Result<Self> {
        Self::over(TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?, implicit)
    }

    /// The same over a connection that is there.
    pub fn over(stream: TcpStream, implicit: bool) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        let mut wire = Self { stream: Some(BufReader::new(Stream::Clear(stream))) };
        if implicit {
            wire.start_tls()?;
        }
        Ok(wire)
    }

    /// Goes on under TLS; an error when the peer said more in clear than was read, for that would be lost.
    pub fn start_tls(&mut self) -> Result<()> {
        let stream = self.stream.take().context("the connection is gone")?;
        let said = String::from_utf8_lossy(stream.buffer());
        anyhow::ensure!(said.is_empty(), "said in clear before TLS: {said:?}");
        let Stream::Clear(tcp) = stream.into_inner() else { anyhow::bail!("TLS is on already") };
        let config = Arc::new(client_config(&Trust::Any)?);
        let connection = ClientConnection::new(config, ServerName::try_from("localhost")?)?;
        let tls = StreamOwned::new(connection, tcp);
        self.stream = Some(BufReader::new(Stream::Tls(Box::new(tls))));
        Ok(())
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let stream = self.stream.as_mut().context("the connection is gone")?.get_mut();
        stream.write_all(bytes)?;
        Ok(stream.flush()?)
    }

    /// The next line, without its line end; an error at the end of the stream.
    pub fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        let n = self.stream.as_mut().context("the connection is gone")?.read_until(b'\n', &mut line)?;
        anyhow::ensure!(n > 0, "the peer closed the connection");
        while line.last().is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
            line.pop();
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// Bytes as they come; none at the end of the stream.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        Ok(self.stream.as_mut().context("the connection is gone")?.read(buffer)?)
    }

    /// The next line as bytes, with its line end.
    pub fn raw_line(&mut self) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        let n = self.stream.as_mut().context("the connection is gone")?.read_until(b'\n', &mut line)?;
        anyhow::ensure!(n > 0, "the peer closed the connection");
        Ok(line)
    }
}
