//! An IMAP connection: octets between the socket and the pure session, compressed if that was agreed on.

use std::ops::Range;
use std::time::Duration;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use postern_shared::proto::imap::{Condition, Response, Text, Uid};

use super::session::{Event, ImapError, Session, Ticket};
use crate::sources::SourceError;
use crate::sources::dial::Stream;
use crate::sources::wire::Wire;

/// Read at once. A window of this size is all that is held of what the server runs ahead.
const READ_OCTETS: usize = 128 * 1024;

/// An event of the session that owns what it tells; content stays where it was read.
#[derive(Debug)]
pub(super) enum Happened {
    StartTls,
    LoggedIn,
    Data(Response),
    ContentBegins(Option<Uid>, u64),
    /// Where in [`Connection::octets`].
    Content(Range<usize>),
    Idles,
    Done(Ticket, Condition, Text),
}

/// Both directions' state of DEFLATE (RFC 4978).
struct Deflate {
    out: Compress,
    into: Decompress,
    /// What came and was not decompressed yet.
    raw: Vec<u8>,
    unread: Range<usize>,
}

pub(super) struct Connection {
    wire: Wire,
    pub(super) session: Session,
    deflate: Option<Box<Deflate>>,
    input: Vec<u8>,
    unread: Range<usize>,
}

impl Connection {
    pub(super) fn new(host: &str, stream: Stream, session: Session) -> Self {
        let input = vec![0; READ_OCTETS];
        Self { wire: Wire::new(host, stream), session, deflate: None, input, unread: 0..0 }
    }

    pub(super) fn host(&self) -> &str {
        self.wire.host()
    }

    /// The octets of [`Happened::Content`], until the next event.
    pub(super) fn octets(&self, range: &Range<usize>) -> &[u8] {
        self.input.get(range.clone()).unwrap_or_default()
    }

    /// What happens next. Waits at most `silence` for each sending and each piece received.
    pub(super) async fn event(&mut self, silence: Duration) -> Result<Happened, SourceError> {
        loop {
            self.send(silence).await?;
            if let Some(happened) = self.received()? {
                return Ok(happened);
            }
            // What was just received may have made the machine say something.
            self.send(silence).await?;
            self.read(silence).await?;
        }
    }

    /// The plain stream below, for TLS to be put on; everything read so far is dropped.
    pub(super) fn take_stream(&mut self) -> Option<Stream> {
        self.unread = 0..0;
        self.wire.take_stream()
    }

    /// The stream with TLS on it.
    pub(super) fn tls_established(&mut self, stream: Stream) {
        self.wire.tls_established(stream);
        self.session.tls_established();
    }

    /// Ends the connection, as far as the peer plays along.
    pub(super) async fn close(self, limit: Duration) {
        self.wire.close(limit).await;
    }

    pub(super) fn fault(&self, error: ImapError) -> SourceError {
        SourceError::Imap { host: self.host().to_owned(), error: Box::new(error) }
    }

    fn received(&mut self) -> Result<Option<Happened>, SourceError> {
        loop {
            let start = self.unread.start;
            let received = self.session.receive(&self.input[self.unread.clone()]);
            let host = self.wire.host();
            let fault = |error| SourceError::Imap { host: host.to_owned(), error: Box::new(error) };
            let (used, event) = received.map_err(fault)?;
            self.unread.start += used;
            let end = start + used;
            let Some(event) = event else {
                if self.inflate()? {
                    continue;
                }
                return Ok(None);
            };
            return Ok(Some(match event {
                Event::StartTls => Happened::StartTls,
                Event::Deflate => {
                    self.begin_deflate();
                    Happened::LoggedIn
                }
                Event::LoggedIn => Happened::LoggedIn,
                Event::Data(response) => Happened::Data(response),
                Event::ContentBegins(uid, octets) => Happened::ContentBegins(uid, octets),
                Event::Content(piece) => Happened::Content(end - piece.len()..end),
                Event::Idles => Happened::Idles,
                Event::Done(ticket, condition, text) => Happened::Done(ticket, condition, text),
            }));
        }
    }

    /// What was read behind the server's consent is compressed already.
    fn begin_deflate(&mut self) {
        let mut raw = vec![0; READ_OCTETS];
        let rest = &self.input[self.unread.clone()];
        raw[..rest.len()].copy_from_slice(rest);
        let unread = 0..rest.len();
        self.unread = 0..0;
        let (out, into) = (Compress::new(Compression::fast(), false), Decompress::new(false));
        self.deflate = Some(Box::new(Deflate { out, into, raw, unread }));
    }

    /// Decompresses what is there into the input, which is used up; whether anything came of it.
    fn inflate(&mut self) -> Result<bool, SourceError> {
        let Some(deflate) = &mut self.deflate else { return Ok(false) };
        let (before_in, before_out) = (deflate.into.total_in(), deflate.into.total_out());
        let raw = &deflate.raw[deflate.unread.clone()];
        let status = deflate.into.decompress(raw, &mut self.input, FlushDecompress::Sync);
        // Buffers' lengths, so they fit.
        let used = usize::try_from(deflate.into.total_in() - before_in).unwrap_or(0);
        let made = usize::try_from(deflate.into.total_out() - before_out).unwrap_or(0);
        deflate.unread.start += used;
        self.unread = 0..made;
        match status {
            Ok(Status::StreamEnd) | Err(_) if made == 0 => {
                Err(self.fault(ImapError::Unsolicited("compressed octets")))
            }
            _ => Ok(made > 0),
        }
    }

    async fn send(&mut self, limit: Duration) -> Result<(), SourceError> {
        let output = self.session.take_output();
        if output.is_empty() {
            return Ok(());
        }
        let during = self.session.waiting_for();
        let compressed = self.deflate.as_mut().map(|deflate| deflate.compressed(&output));
        self.wire.send(compressed.as_deref().unwrap_or(&output), during, limit).await
    }

    async fn read(&mut self, limit: Duration) -> Result<(), SourceError> {
        let during = self.session.waiting_for();
        let (buffer, unread) = match &mut self.deflate {
            Some(deflate) => (&mut deflate.raw, &mut deflate.unread),
            None => (&mut self.input, &mut self.unread),
        };
        *unread = 0..self.wire.read(buffer, during, limit).await?;
        Ok(())
    }
}

impl Deflate {
    /// A command, whole for the other side.
    fn compressed(&mut self, octets: &[u8]) -> Vec<u8> {
        let mut compressed = Vec::with_capacity(octets.len() / 2 + 64);
        let begun = self.out.total_in();
        loop {
            let used = usize::try_from(self.out.total_in() - begun).unwrap_or(0);
            compressed.reserve(256);
            let room = compressed.capacity() - compressed.len();
            let before = compressed.len();
            // Compressing into memory has no way to fail; what it did not take in is looked at again.
            let _ = self.out.compress_vec(&octets[used..], &mut compressed, FlushCompress::Sync);
            let all = self.out.total_in() - begun == octets.len() as u64;
            if all && compressed.len() - before < room {
                return compressed;
            }
        }
    }
}
