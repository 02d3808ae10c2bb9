//! Octets to a server and from it, each wait with its deadline and its own error.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::SourceError;
use super::dial::Stream;

/// A stream and who is at its other end.
#[derive(Debug)]
pub(super) struct Wire {
    /// `None` only while TLS is being put on it, and for good when that failed.
    stream: Option<Stream>,
    host: String,
}

impl Wire {
    pub(super) fn new(host: &str, stream: Stream) -> Self {
        Self { stream: Some(stream), host: host.to_owned() }
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// The plain stream, for TLS to be put on.
    pub(super) fn take_stream(&mut self) -> Option<Stream> {
        self.stream.take()
    }

    /// The stream with TLS on it.
    pub(super) fn tls_established(&mut self, stream: Stream) {
        self.stream = Some(stream);
    }

    /// Sends all of it within `limit`; `during` says what for.
    pub(super) async fn send(
        &mut self,
        octets: &[u8],
        during: &'static str,
        limit: Duration,
    ) -> Result<(), SourceError> {
        let Some(stream) = &mut self.stream else { return Err(self.closed(during)) };
        let sent = timeout(limit, async {
            stream.write_all(octets).await?;
            stream.flush().await
        });
        match sent.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(source)) => Err(SourceError::Broken { host: self.host.clone(), during, source }),
            Err(_) => Err(SourceError::TimedOut { host: self.host.clone(), during, limit }),
        }
    }

    /// Waits for octets, `limit` at most; how many came, one at least.
    pub(super) async fn read(
        &mut self,
        buffer: &mut [u8],
        during: &'static str,
        limit: Duration,
    ) -> Result<usize, SourceError> {
        let Some(stream) = &mut self.stream else { return Err(self.closed(during)) };
        match timeout(limit, stream.read(buffer)).await {
            Ok(Ok(0)) => Err(self.closed(during)),
            Ok(Ok(len)) => Ok(len),
            // A peer that closes TLS without a farewell has closed the connection.
            Ok(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => Err(self.closed(during)),
            Ok(Err(source)) => Err(SourceError::Broken { host: self.host.clone(), during, source }),
            Err(_) => Err(SourceError::TimedOut { host: self.host.clone(), during, limit }),
        }
    }

    /// Ends the connection, as far as the peer plays along.
    pub(super) async fn close(mut self, limit: Duration) {
        if let Some(stream) = &mut self.stream {
            // The session is over; whether the peer hears the farewell makes no difference.
            let _ = timeout(limit, stream.shutdown()).await;
        }
    }

    fn closed(&self, during: &'static str) -> SourceError {
        SourceError::Closed { host: self.host.clone(), during }
    }
}
