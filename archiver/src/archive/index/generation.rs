//! One index on disk: written by one, read by many.
//!
//! Its last commit says which change of which catalog it has followed up to, in the payload: `epoch:change:highest seq:CRC-32C`.
//! Documents on their way to tantivy are bounded in octets, whatever its own queues would take.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use postern_shared::disk::Disk;
use tantivy::indexer::{IndexWriterOptions, UserOperation};
use tantivy::schema::Value as _;
use tantivy::tokenizer::TextAnalyzer;
use tantivy::{
    DocAddress, Index, IndexReader, IndexWriter, ReloadPolicy, Searcher, TantivyDocument, Term as IndexTerm,
};

use super::fields::{Document, Fields, Shown, TOKENIZER, document, schema};
use super::files::Files;
use super::flow::{Flow, Held};
use super::merging::Bounded;
use super::words::Words;
use super::{failed, failed_in};
use crate::archive::ArchiveError;

/// tantivy wants at least 15 MB a thread; one thread leaves the other cores to archiving and extracting.
const WRITER_BYTES: usize = 50 * 1024 * 1024;
/// A long one keeps no short one, and memory is bounded.
const MERGES_MAX: usize = 2;

/// Which change of which catalog was indexed last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::archive) struct Watermark {
    pub(in crate::archive) epoch: String,
    pub(in crate::archive) change: u64,
    /// The highest number of a message in it: those above are new and replace nothing.
    pub(in crate::archive) highest: u64,
}

impl Watermark {
    fn payload(&self) -> String {
        let text = format!("{}:{}:{}", self.epoch, self.change, self.highest);
        format!("{text}:{:08x}", crc32c::crc32c(text.as_bytes()))
    }

    fn read(payload: &str) -> Option<Self> {
        let (text, sum) = payload.rsplit_once(':')?;
        if u32::from_str_radix(sum, 16).ok()? != crc32c::crc32c(text.as_bytes()) {
            return None;
        }
        let mut parts = text.splitn(3, ':');
        let epoch = parts.next()?.to_owned();
        Some(Self { epoch, change: parts.next()?.parse().ok()?, highest: parts.next()?.parse().ok()? })
    }
}

pub(in crate::archive) struct Generation {
    fields: Fields,
    files: Files,
    index: Index,
    reader: IndexReader,
    flow: Arc<Flow>,
    writing: Mutex<Writing>,
    reached: Mutex<Option<Watermark>>,
}

#[derive(Default)]
struct Writing {
    writer: Option<IndexWriter<Held>>,
    /// The highest number added or committed.
    highest: u64,
}

impl std::fmt::Debug for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Generation(..)")
    }
}

impl Generation {
    /// Opens the index in `dir`, an empty one when nothing is there.
    pub(super) fn open(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Self, ArchiveError> {
        let (schema, fields) = schema();
        let files = Files::open(disk, dir).map_err(failed_in)?;
        let index = Index::open_or_create(files.clone(), schema).map_err(failed_in)?;
        index.tokenizers().register(TOKENIZER, TextAnalyzer::from(Words));
        let reader =
            index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into().map_err(failed_in)?;
        let this = Self {
            fields,
            files,
            index,
            reader,
            flow: Arc::default(),
            writing: Mutex::default(),
            reached: Mutex::default(),
        };
        let committed = this.committed()?;
        this.writing().highest = committed.as_ref().map_or(0, |watermark| watermark.highest);
        *this.reached() = committed;
        Ok(this)
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What its last commit says.
    fn committed(&self) -> Result<Option<Watermark>, ArchiveError> {
        let metas = self.index.load_metas().map_err(failed_in)?;
        match metas.payload {
            None if metas.segments.is_empty() => Ok(None),
            None => Err(failed("its last commit does not say what it followed")),
            Some(payload) => match Watermark::read(&payload) {
                Some(watermark) => Ok(Some(watermark)),
                None => Err(failed("its last commit is damaged")),
            },
        }
    }

    /// The change of the catalog `epoch` that was indexed last; 0 when it followed another catalog.
    pub(in crate::archive) fn watermark(&self, epoch: &str) -> u64 {
        let reached = self.reached();
        reached.as_ref().filter(|reached| reached.epoch == epoch).map_or(0, |reached| reached.change)
    }

    /// What the last commit says, as this process has made it or found it.
    fn reached(&self) -> MutexGuard<'_, Option<Watermark>> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everything.
    pub(in crate::archive) fn clear(&self) -> Result<(), ArchiveError> {
        let mut writing = self.writing();
        writing.highest = 0;
        let writer = self.writer(&mut writing)?;
        writer.delete_all_documents().map_err(failed_in)?;
        let empty = Watermark { epoch: String::new(), change: 0, highest: 0 };
        let mut commit = writer.prepare_commit().map_err(failed_in)?;
        commit.set_payload(&empty.payload());
        commit.commit().map_err(failed_in)?;
        *self.reached() = None;
        self.reader.reload().map_err(failed_in)
    }

    fn writer<'w>(&self, writing: &'w mut Writing) -> Result<&'w mut IndexWriter<Held>, ArchiveError> {
        Ok(match &mut writing.writer {
            Some(writer) => writer,
            none => {
                let options = IndexWriterOptions::builder()
                    .num_worker_threads(1)
                    .memory_budget_per_thread(WRITER_BYTES)
                    .num_merge_threads(MERGES_MAX)
                    .build();
                let writer = self.index.writer_with_options(options).map_err(failed_in)?;
                writer.set_merge_policy(Box::new(Bounded::new(self.files.clone())));
                none.insert(writer)
            }
        })
    }

    /// The highest number of a message that was added.
    pub(in crate::archive) fn highest(&self) -> u64 {
        self.writing().highest
    }

    /// Adds a document, which replaces another when its number is not above `known`; it is found after the next commit.
    pub(in crate::archive) fn add(&self, added: Document, known: u64) -> Result<(), ArchiveError> {
        let seq = added.seq;
        let made = document(added, &self.fields);
        // Outside the lock, so that others make theirs meanwhile.
        let held = self.flow.held(made)?;
        let mut writing = self.writing();
        writing.highest = writing.highest.max(seq);
        let mut operations = Vec::with_capacity(2);
        if seq <= known {
            operations.push(UserOperation::Delete(IndexTerm::from_field_u64(self.fields.seq, seq)));
        }
        operations.push(UserOperation::Add(held));
        let ran = self.writer(&mut writing).and_then(|writer| writer.run(operations).map_err(failed_in));
        if ran.is_err() {
            self.forget(&mut writing);
        }
        ran.map(drop)
    }

    /// Commits what was added: the catalog `epoch` is followed up to `change`.
    pub(in crate::archive) fn commit(&self, epoch: &str, change: u64) -> Result<(), ArchiveError> {
        let mut writing = self.writing();
        let reached = Watermark { epoch: epoch.into(), change, highest: writing.highest };
        let committed = self.writer(&mut writing).and_then(|writer| {
            let mut commit = writer.prepare_commit().map_err(failed_in)?;
            commit.set_payload(&reached.payload());
            commit.commit().map_err(failed_in)
        });
        if let Err(error) = committed {
            self.forget(&mut writing);
            return Err(error);
        }
        drop(writing);
        self.reader.reload().map_err(failed_in)?;
        *self.reached() = Some(reached);
        Ok(())
    }

    /// Forgets what was added and not committed.
    pub(in crate::archive) fn roll_back(&self) {
        self.forget(&mut self.writing());
    }

    /// A writer that failed is not to be trusted; the next one is another.
    fn forget(&self, writing: &mut Writing) {
        writing.writer = None;
        writing.highest = self.committed().ok().flatten().map_or(0, |watermark| watermark.highest);
    }

    /// Lets what merges come to its end, and closes the writer.
    pub(in crate::archive) fn rest(&self) -> Result<(), ArchiveError> {
        let writer = self.writing().writer.take();
        writer.map_or(Ok(()), |writer| writer.wait_merging_threads().map_err(failed_in))?;
        self.reader.reload().map_err(failed_in)
    }

    pub(super) fn fields(&self) -> &Fields {
        &self.fields
    }

    pub(super) fn searcher(&self) -> Searcher {
        self.reader.searcher()
    }

    /// The message's number in the catalog, and what is kept of it to be shown.
    pub(super) fn shown(&self, searcher: &Searcher, at: DocAddress) -> Result<Shown, ArchiveError> {
        let document: TantivyDocument = searcher.doc(at).map_err(failed_in)?;
        let bytes =
            document.get_first(self.fields.shown).and_then(|value| value.as_bytes().map(<[u8]>::to_vec));
        let bytes = bytes.ok_or_else(|| failed("a document without content"))?;
        serde_json::from_slice(&bytes).map_err(failed)
    }

    /// A message's id, in halves.
    pub(super) fn id(&self, searcher: &Searcher, at: DocAddress) -> Result<[u64; 2], ArchiveError> {
        let columns = searcher.segment_reader(at.segment_ord).fast_fields();
        let half = |name| {
            let numbers = columns.u64(name).map_err(failed_in)?;
            numbers.first(at.doc_id).ok_or_else(|| failed("a document without an id"))
        };
        Ok([half("id_upper")?, half("id_lower")?])
    }

    /// Whether it has followed another catalog than `epoch` up to `last`, or this one before it was put back to an earlier day.
    pub(in crate::archive) fn is_of_another(&self, epoch: &str, last: u64) -> bool {
        let reached = self.reached();
        let reached = reached.as_ref().filter(|reached| reached.change > 0 || reached.highest > 0);
        reached.is_some_and(|reached| reached.epoch != epoch || reached.change > last)
    }

    /// A message's number in the catalog.
    pub(super) fn seq(&self, searcher: &Searcher, at: DocAddress) -> Result<u64, ArchiveError> {
        let numbers = searcher.segment_reader(at.segment_ord).fast_fields().u64("seq").map_err(failed_in)?;
        numbers.first(at.doc_id).ok_or_else(|| failed("a document without number"))
    }

    /// Reads all its files and compares them with their checksums; the damaged ones.
    pub(in crate::archive) fn damaged_files(&self) -> Result<BTreeSet<String>, ArchiveError> {
        let metas = self.index.load_metas().map_err(failed_in)?;
        let there = self.index.directory().list_managed_files();
        let mut damaged = BTreeSet::new();
        for path in metas.list_segment_files().intersection(&there) {
            if !self.files.is_whole(path).map_err(failed_in)? {
                damaged.insert(path.display().to_string());
            }
        }
        Ok(damaged)
    }

    /// Octets of its files.
    pub(in crate::archive) fn bytes(&self) -> Result<u64, ArchiveError> {
        let usage = self.searcher().space_usage().map_err(failed_in)?;
        Ok(usage.total().get_bytes())
    }
}
