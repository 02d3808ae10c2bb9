//! A message's content on its way: out of what the client sends, into what the server is sent.

use postern_shared::proto::mime::trace::Normalised;
use postern_shared::proto::pop3::DotEncoder;
use postern_shared::proto::smtp::content::{ChunkDecoder, DataDecoder, LineEnds, Progress};

/// The longest chunk we make (RFC 3030); the last one is what is left.
const CHUNK_OCTETS: usize = 32 * 1024;

/// How content comes.
#[derive(Debug)]
pub(super) enum Inflow {
    /// By DATA.
    Data(DataDecoder),
    /// By BDAT: octets left of this chunk, and whether it is the last one.
    Chunks { decoder: ChunkDecoder, left: u64, last: bool },
}

/// How content goes on.
#[derive(Debug)]
pub(super) enum Outflow {
    /// By DATA; dots are stuffed as in POP3 (RFC 5321 §4.5.2, RFC 1939 §3).
    Data(DotEncoder),
    /// By BDAT: what has not been sent.
    Chunks { pending: Vec<u8> },
}

impl Inflow {
    pub(super) fn data() -> Self {
        Self::Data(DataDecoder::default())
    }

    pub(super) fn chunk(left: u64, last: bool) -> Self {
        Self::Chunks { decoder: ChunkDecoder::default(), left, last }
    }

    /// Decodes the next piece; how many octets of it were content, and whether DATA or the chunk is over.
    pub(super) fn take(&mut self, input: &[u8], content: &mut Vec<u8>) -> (usize, bool) {
        match self {
            Self::Data(decoder) => match decoder.decode(input, content) {
                Progress::More => (input.len(), false),
                Progress::End(at) => (at, true),
            },
            Self::Chunks { decoder, left, .. } => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                decoder.decode(&input[..here], content);
                *left -= here as u64;
                (here, *left == 0)
            }
        }
    }

    /// Whether nothing may follow what is being taken.
    pub(super) fn is_last(&self) -> bool {
        matches!(self, Self::Data(_) | Self::Chunks { last: true, .. })
    }

    /// Ends the content; what had to be made whole in it.
    pub(super) fn finish(&mut self, content: &mut Vec<u8>) -> Normalised {
        let (LineEnds { bare_cr, bare_lf }, final_crlf_added) = match self {
            Self::Data(decoder) => (decoder.line_ends(), false),
            Self::Chunks { decoder, .. } => {
                let added = decoder.finish(content);
                (decoder.line_ends(), added)
            }
        };
        Normalised { bare_cr, bare_lf, final_crlf_added }
    }
}

impl Outflow {
    /// Writes what goes to the server; how many answers it will give to that.
    pub(super) fn write(&mut self, content: &[u8], out: &mut Vec<u8>) -> usize {
        match self {
            Self::Data(encoder) => {
                encoder.encode(content, out);
                0
            }
            Self::Chunks { pending } => {
                pending.extend_from_slice(content);
                let whole = pending.len() - pending.len() % CHUNK_OCTETS;
                for chunk in pending[..whole].chunks(CHUNK_OCTETS) {
                    out.extend_from_slice(format!("BDAT {}\r\n", chunk.len()).as_bytes());
                    out.extend_from_slice(chunk);
                }
                pending.drain(..whole);
                whole / CHUNK_OCTETS
            }
        }
    }

    /// Writes the end, which the server answers.
    pub(super) fn finish(self, out: &mut Vec<u8>) {
        match self {
            Self::Data(encoder) => encoder.finish(out),
            Self::Chunks { pending } => {
                out.extend_from_slice(format!("BDAT {} LAST\r\n", pending.len()).as_bytes());
                out.extend_from_slice(&pending);
            }
        }
    }
}
