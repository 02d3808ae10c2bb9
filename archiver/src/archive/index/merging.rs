//! Which parts of an index are merged: those of about the same length, as tantivy does, up to a length.
//!
//! What is kept to be shown is copied whole when parts are merged, and is in memory meanwhile, by the kernel's count. A part that is
//! long enough is left as it is, until much of it was replaced or shredded.

use tantivy::index::{SegmentComponent, SegmentMeta};
use tantivy::indexer::{LogMergePolicy, MergeCandidate, MergePolicy};

use super::files::Files;

/// Segments of which so much was replaced are merged, so that what was replaced or shredded goes.
const REPLACED_RATIO: f32 = 0.2;
/// What is kept to be shown, of one segment.
const SHOWN_BYTES_MAX: u64 = 64 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Bounded {
    files: Files,
    by_length: LogMergePolicy,
    shown_bytes_max: u64,
}

impl Bounded {
    pub(super) fn new(files: Files) -> Self {
        let mut by_length = LogMergePolicy::default();
        by_length.set_del_docs_ratio_before_merge(REPLACED_RATIO);
        Self { files, by_length, shown_bytes_max: SHOWN_BYTES_MAX }
    }

    fn may_grow(&self, segment: &SegmentMeta) -> bool {
        let replaced = segment.num_deleted_docs() as f32 > segment.max_doc() as f32 * REPLACED_RATIO;
        // One whose length is not to be had for a while is merged later.
        let shown = || self.files.bytes(&segment.relative_path(SegmentComponent::Store)).unwrap_or(u64::MAX);
        replaced || shown() <= self.shown_bytes_max
    }
}

impl MergePolicy for Bounded {
    fn compute_merge_candidates(&self, segments: &[SegmentMeta]) -> Vec<MergeCandidate> {
        let growing: Vec<_> = segments.iter().filter(|segment| self.may_grow(segment)).cloned().collect();
        self.by_length.compute_merge_candidates(&growing)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use postern_shared::disk::{Disk, RealDisk};
    use tantivy::indexer::NoMergePolicy;
    use tantivy::schema::{STORED, STRING, Schema};
    use tantivy::{Index, IndexWriter, Term, doc};

    use super::*;

    /// Goal: what is long is left alone, until much of it is replaced; the short ones are merged.
    #[test]
    fn long_parts_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let files = Files::open(&disk, dir.path()).unwrap();
        let mut schema = Schema::builder();
        let field = schema.add_text_field("text", STRING | STORED);
        let index = Index::open_or_create(files.clone(), schema.build()).unwrap();
        let mut writer: IndexWriter = index.writer_with_num_threads(1, 15_000_000).unwrap();
        writer.set_merge_policy(Box::new(NoMergePolicy));
        // Ten short ones, and a long one of ten documents.
        for number in 0..20 {
            let text = format!("{number} {}", "x".repeat(number));
            writer.add_document(doc!(field => text)).unwrap();
            if number < 10 || number == 19 {
                writer.commit().unwrap();
            }
        }
        let segments = || index.load_metas().unwrap().segments;
        let bytes =
            |segment: &SegmentMeta| files.bytes(&segment.relative_path(SegmentComponent::Store)).unwrap();
        let long = segments().iter().max_by_key(|segment| segment.num_docs()).unwrap().id();
        let shown_bytes_max =
            segments().iter().filter(|segment| segment.id() != long).map(bytes).max().unwrap();
        let policy = Bounded { shown_bytes_max, ..Bounded::new(files.clone()) };
        let merged = |segments: &[SegmentMeta]| -> Vec<_> {
            policy.compute_merge_candidates(segments).into_iter().flat_map(|candidate| candidate.0).collect()
        };
        assert_eq!((segments().len(), merged(&segments()).len()), (11, 10));
        assert!(!merged(&segments()).contains(&long));

        for number in 10..13 {
            writer.delete_term(Term::from_field_text(field, &format!("{number} {}", "x".repeat(number))));
        }
        writer.commit().unwrap();
        assert!(merged(&segments()).contains(&long), "what was replaced goes");
        assert!(files.bytes(Path::new("no such file")).is_err());
    }
}
