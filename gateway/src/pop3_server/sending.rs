//! A message on its way out: read piece by piece, byte-stuffed, counted.

use postern_shared::proto::pop3::{DotEncoder, TopCut};

use super::maildrop::{Entry, ReadError, ServedMessage};

/// Octets collected before they are sent; a piece and its stuffing come on top.
const BATCH_OCTETS: usize = 64 * 1024;

/// A message being sent, all of it or its top.
pub(crate) struct Sending<M> {
    message: M,
    entry: Entry,
    top: Option<TopCut>,
    encoder: Option<DotEncoder>,
    octets: u64,
}

impl<M: ServedMessage> Sending<M> {
    pub(crate) fn new(message: M, entry: Entry, body_lines: Option<u32>) -> Self {
        let encoder = Some(DotEncoder::new());
        Self { message, entry, top: body_lines.map(TopCut::new), encoder, octets: 0 }
    }

    /// `out` and behind it the next octets for the wire; none when all were given. Blocks for the disk.
    ///
    /// # Errors
    /// When the message cannot be read, or is not as long as it was listed: then the end of the response was not given.
    pub(crate) fn batch(&mut self, mut out: Vec<u8>) -> Result<Vec<u8>, ReadError> {
        while out.len() < BATCH_OCTETS
            && let Some(encoder) = &mut self.encoder
        {
            let complete = self.top.as_ref().is_some_and(TopCut::is_complete);
            let piece = if complete { None } else { self.message.next_piece()? };
            if let Some(piece) = piece {
                self.octets += piece.len() as u64;
                let wanted = self.top.as_mut().map_or(piece.len(), |top| top.wanted(piece));
                encoder.encode(&piece[..wanted], &mut out);
            } else {
                self.check_length(complete)?;
                if let Some(encoder) = self.encoder.take() {
                    encoder.finish(&mut out);
                }
            }
        }
        Ok(out)
    }

    fn check_length(&self, top_complete: bool) -> Result<(), ReadError> {
        let Entry { id, served_bytes } = self.entry;
        if top_complete || self.octets == served_bytes {
            return Ok(());
        }
        Err(ReadError::Damaged {
            id,
            what: format!("{} octets were read, {served_bytes} are listed", self.octets),
        })
    }
}
