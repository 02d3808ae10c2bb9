//! The index itself.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use postern_shared::disk::Disk;
use tantivy::collector::TopDocs;
use tantivy::directory::MmapDirectory;
use tantivy::schema::{
    FAST, Field as IndexField, INDEXED, IndexRecordOption, STORED, STRING, Schema, TextFieldIndexing,
    TextOptions,
};
use tantivy::tokenizer::{AsciiFoldingFilter, LowerCaser, RemoveLongFilter, SimpleTokenizer, TextAnalyzer};
use tantivy::{Index, IndexReader, IndexWriter, Order, TantivyDocument, Term as IndexTerm};

use super::parse::{Field, parse};
use super::query::build;
use super::{IndexFields, Query};
use crate::archive::ArchiveError;

const TOKENIZER: &str = "mail";
const TOKEN_BYTES_MAX: usize = 100;
/// tantivy wants at least 15 MB a thread; one thread leaves the other core to archiving.
const WRITER_BYTES: usize = 50 * 1024 * 1024;

/// The index's fields.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields {
    seq: IndexField,
    pub(super) archive: IndexField,
    pub(super) date: IndexField,
    pub(super) has_attachment: IndexField,
    text: [IndexField; 6],
}

impl Fields {
    pub(super) fn of(&self, field: Field) -> IndexField {
        let at = Field::ALL.iter().position(|other| *other == field).unwrap_or(0);
        self.text[at]
    }
}

/// A message to be indexed, in place of what was indexed for its number before.
#[derive(Debug)]
pub(in crate::archive) struct Document {
    pub(in crate::archive) seq: u64,
    pub(in crate::archive) archives: Vec<String>,
    /// Seconds since 1970: the message's date, or when it was captured.
    pub(in crate::archive) date: i64,
    pub(in crate::archive) fields: IndexFields,
}

pub(in crate::archive) struct TextIndex {
    fields: Fields,
    index: Index,
    reader: IndexReader,
    analyzer: TextAnalyzer,
    writer: Mutex<Option<IndexWriter>>,
}

impl std::fmt::Debug for TextIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TextIndex(..)")
    }
}

fn failed(error: impl std::fmt::Display) -> ArchiveError {
    ArchiveError::Index(error.to_string())
}

impl TextIndex {
    /// Opens the index in `dir`; one that is missing, damaged or of another layout is begun anew and follows.
    pub(in crate::archive) fn open(disk: &dyn Disk, dir: &Path) -> Result<Self, ArchiveError> {
        match Self::try_open(disk, dir) {
            Ok(index) => Ok(index),
            Err(error) => {
                tracing::warn!(path = %dir.display(), %error, "the index is begun anew");
                let aside = aside(dir);
                disk.rename(dir, &aside).map_err(failed)?;
                let index = Self::try_open(disk, dir)?;
                disk.remove_dir_all(&aside).map_err(failed)?;
                Ok(index)
            }
        }
    }

    fn try_open(disk: &dyn Disk, dir: &Path) -> Result<Self, ArchiveError> {
        disk.create_dir_all(dir).map_err(failed)?;
        let (schema, fields) = schema();
        let index =
            Index::open_or_create(MmapDirectory::open(dir).map_err(failed)?, schema).map_err(failed)?;
        let analyzer = TextAnalyzer::builder(SimpleTokenizer::default())
            .filter(RemoveLongFilter::limit(TOKEN_BYTES_MAX))
            .filter(LowerCaser)
            .filter(AsciiFoldingFilter)
            .build();
        index.tokenizers().register(TOKENIZER, analyzer.clone());
        let reader = index.reader().map_err(failed)?;
        let this = Self { fields, index, reader, analyzer, writer: Mutex::new(None) };
        this.watermark("")?;
        Ok(this)
    }

    /// The change of the catalog `epoch` that was indexed last; 0 when it followed another catalog.
    pub(in crate::archive) fn watermark(&self, epoch: &str) -> Result<u64, ArchiveError> {
        let payload = self.index.load_metas().map_err(failed)?.payload.unwrap_or_default();
        let number =
            payload.split_once(':').filter(|(followed, _)| *followed == epoch).map(|(_, number)| number);
        Ok(number.and_then(|number| number.parse().ok()).unwrap_or(0))
    }

    /// Forgets everything.
    pub(in crate::archive) fn clear(&self) -> Result<(), ArchiveError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let writer = self.writer(&mut writer)?;
        writer.delete_all_documents().map_err(failed)?;
        writer.commit().map_err(failed)?;
        self.reader.reload().map_err(failed)
    }

    fn writer<'w>(&self, writer: &'w mut Option<IndexWriter>) -> Result<&'w mut IndexWriter, ArchiveError> {
        Ok(match writer {
            Some(writer) => writer,
            none => none.insert(self.index.writer_with_num_threads(1, WRITER_BYTES).map_err(failed)?),
        })
    }

    /// Indexes documents and commits with the new watermark.
    pub(in crate::archive) fn update(
        &self,
        documents: Vec<Document>,
        (epoch, number): (&str, u64),
    ) -> Result<(), ArchiveError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let result = self.write(&mut writer, documents, &format!("{epoch}:{number}"));
        if result.is_err() {
            // A writer that failed is not to be trusted; the next update opens another.
            *writer = None;
        }
        result
    }

    fn write(
        &self,
        writer: &mut Option<IndexWriter>,
        documents: Vec<Document>,
        watermark: &str,
    ) -> Result<(), ArchiveError> {
        let writer = self.writer(writer)?;
        for document in documents {
            writer.delete_term(IndexTerm::from_field_u64(self.fields.seq, document.seq));
            writer.add_document(self.document(document)).map_err(failed)?;
        }
        let mut commit = writer.prepare_commit().map_err(failed)?;
        commit.set_payload(watermark);
        commit.commit().map_err(failed)?;
        self.reader.reload().map_err(failed)
    }

    fn document(&self, document: Document) -> TantivyDocument {
        let fields = &self.fields;
        let mut out = TantivyDocument::default();
        out.add_u64(fields.seq, document.seq);
        out.add_i64(fields.date, document.date);
        out.add_bool(fields.has_attachment, document.fields.has_attachment);
        for archive in &document.archives {
            out.add_text(fields.archive, archive);
        }
        let IndexFields { from, to, cc, subject, body, attachments, .. } = document.fields;
        for (field, text) in [
            (Field::From, from),
            (Field::To, to),
            (Field::Cc, cc),
            (Field::Subject, subject),
            (Field::Body, body),
        ] {
            out.add_text(fields.of(field), text);
        }
        for name in attachments {
            out.add_text(fields.of(Field::Attachment), name);
        }
        out
    }

    /// Numbers of messages that match, newest first.
    pub(in crate::archive) fn search(&self, query: &Query) -> Result<Vec<u64>, ArchiveError> {
        let terms = parse(&query.text)?;
        if query.limit == 0 {
            return Ok(Vec::new());
        }
        let built = build(&terms, query.archive.as_deref(), &self.fields, &self.analyzer);
        let searcher = self.reader.searcher();
        let collector = TopDocs::with_limit(query.limit)
            .and_offset(query.offset)
            .order_by_fast_field::<i64>("date", Order::Desc);
        let top = searcher.search(&built, &collector).map_err(failed)?;
        let mut found = Vec::with_capacity(top.len());
        for (_, address) in top {
            let segment = searcher.segment_reader(address.segment_ord);
            let numbers = segment.fast_fields().u64("seq").map_err(failed)?;
            found.extend(numbers.first(address.doc_id));
        }
        Ok(found)
    }
}

fn aside(dir: &Path) -> PathBuf {
    dir.with_file_name(format!("index.old.{}", hex::encode(postern_shared::crypto::random::<6>())))
}

fn schema() -> (Schema, Fields) {
    let indexing = TextFieldIndexing::default()
        .set_tokenizer(TOKENIZER)
        .set_index_option(IndexRecordOption::WithFreqsAndPositions);
    let text = TextOptions::default().set_indexing_options(indexing);
    let mut builder = Schema::builder();
    let fields = Fields {
        seq: builder.add_u64_field("seq", INDEXED | FAST | STORED),
        archive: builder.add_text_field("archive", STRING),
        date: builder.add_i64_field("date", INDEXED | FAST),
        has_attachment: builder.add_bool_field("has_attachment", INDEXED),
        text: Field::ALL.map(|field| builder.add_text_field(field.name(), text.clone())),
    };
    (builder.build(), fields)
}
