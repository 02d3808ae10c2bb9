//! Reading a message's sealed bytes, wherever they lie.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use postern_shared::crypto::seal::{Expected, ReadSealed};
use postern_shared::disk::DiskFile;
use postern_shared::id::{MailboxId, MessageId};

use super::catalog::{Catalog, Located, Standing};
use super::layout::RECORD_HEADER_BYTES;
use super::segment::Inner;
use super::{Damage, SpoolError, Step, large};

/// A sealed message to be opened by whoever holds the key. Stays readable when the message is deleted meanwhile.
#[derive(Debug)]
pub struct SealedBody {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    offset: u64,
    expected: Expected,
    served_bytes: u64,
    unconfirmed: bool,
}

impl SealedBody {
    pub(super) fn locate(inner: &Inner, mailbox: MailboxId, message: MessageId) -> Result<Self, SpoolError> {
        let (located, segment) = {
            let catalog = inner.catalog();
            let located = *catalog.served(mailbox, message).ok_or(SpoolError::Gone { mailbox, message })?;
            (located, segment_of(&catalog, &located))
        };
        let (file, path, offset) = match segment {
            Some(found) => found,
            None => {
                let path = large::path(&inner.large_dir, mailbox, message);
                let file = inner.disk.open_read(&path).map_err(SpoolError::io(Step::Read, &path))?;
                (file, path, 0)
            }
        };
        let expected = Expected {
            mailbox,
            message,
            sealed_bytes: located.sealed_bytes,
            trailer_bytes: located.trailer_bytes as usize,
        };
        let unconfirmed = located.standing == Standing::Unconfirmed;
        Ok(Self { file, path, offset, expected, served_bytes: located.served_bytes, unconfirmed })
    }

    /// What the record says of the message; an opener checks it.
    pub fn expected(&self) -> Expected {
        self.expected
    }

    /// Octets that the sealed message serves: as listed, without what is served before an unconfirmed one.
    pub fn served_bytes(&self) -> u64 {
        self.served_bytes
    }

    /// Whether it counts is not known; it is served with a field that says so.
    pub fn is_unconfirmed(&self) -> bool {
        self.unconfirmed
    }

    /// The finding that this message is damaged, with its place.
    pub fn damage(&self, what: impl Into<String>) -> Damage {
        Damage { path: self.path.clone(), offset: self.offset, what: what.into() }
    }
}

fn segment_of(catalog: &Catalog, located: &Located) -> Option<(Arc<dyn DiskFile>, PathBuf, u64)> {
    let place = located.place.filter(|_| !located.large)?;
    let segment = catalog.segments.get(&place.segment)?;
    Some((Arc::clone(&segment.file), segment.path.clone(), place.offset + RECORD_HEADER_BYTES as u64))
}

impl ReadSealed for SealedBody {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.expected.sealed_bytes) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.file.read_exact_at(buffer, self.offset + offset)
    }
}
