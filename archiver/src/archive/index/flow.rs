//! How much text may be on its way to tantivy at once.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tantivy::TantivyDocument;
use tantivy::schema::document::Document as IndexDocument;

use super::failed;
use crate::archive::ArchiveError;

/// Octets on their way; a document longer than that goes alone.
const BYTES_MAX: usize = 24 * 1024 * 1024;
/// When nothing moves for so long, the writer is dead.
const PATIENCE: Duration = Duration::from_secs(120);

/// Counts what is on its way.
#[derive(Debug, Default)]
pub(super) struct Flow {
    bytes: Mutex<usize>,
    moved: Condvar,
}

/// A document on its way; it counts until tantivy has taken it in.
#[derive(Debug)]
pub(super) struct Held {
    document: TantivyDocument,
    bytes: usize,
    flow: Arc<Flow>,
}

impl Flow {
    /// Waits until there is room for a document.
    pub(super) fn held(self: &Arc<Self>, document: TantivyDocument) -> Result<Held, ArchiveError> {
        let bytes = octets(&document);
        let on_their_way = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |on_their_way: &mut usize| *on_their_way > 0 && *on_their_way + bytes > BYTES_MAX;
        let waited = self.moved.wait_timeout_while(on_their_way, PATIENCE, full);
        let (mut on_their_way, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return Err(failed("its writer does not move; it is begun anew"));
        }
        *on_their_way += bytes;
        drop(on_their_way);
        Ok(Held { document, bytes, flow: Arc::clone(self) })
    }
}

fn octets(document: &TantivyDocument) -> usize {
    use tantivy::schema::Value as _;
    let values = document.iter_fields_and_values();
    values
        .map(|(_, value)| {
            let value = value.as_value();
            64 + value.as_str().map_or(0, str::len) + value.as_bytes().map_or(0, <[u8]>::len)
        })
        .sum()
}

impl IndexDocument for Held {
    type Value<'a> = <TantivyDocument as IndexDocument>::Value<'a>;
    type FieldsValuesIter<'a> = <TantivyDocument as IndexDocument>::FieldsValuesIter<'a>;

    fn iter_fields_and_values(&self) -> Self::FieldsValuesIter<'_> {
        self.document.iter_fields_and_values()
    }

    fn into_tantivy_document(mut self) -> TantivyDocument {
        std::mem::take(&mut self.document)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        *self.flow.bytes.lock().unwrap_or_else(PoisonError::into_inner) -= self.bytes;
        self.flow.moved.notify_all();
    }
}
