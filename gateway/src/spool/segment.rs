//! The spool on segment files: what callers hold. The work is done in `writer`, `recover` and `sweep`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;

use postern_shared::clock::Clock;
use postern_shared::disk::Disk;
use postern_shared::id::{MailboxId, MessageId};

use super::catalog::Catalog;
use super::writer::{Job, Writer};
use super::{
    Damage, Entry, LargeFile, NewBody, NewRecord, Receipt, SealedBody, Settings, Spool, SpoolError, Step,
    Swept, Usage, large, recover, sweep,
};

/// The spool's parts that writer, readers and sweep share.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) settings: Settings,
    pub(super) segments_dir: PathBuf,
    pub(super) large_dir: PathBuf,
    catalog: Mutex<Catalog>,
}

impl Inner {
    pub(super) fn catalog(&self) -> MutexGuard<'_, Catalog> {
        // Every change is complete before it can panic, so a poisoned catalog is still right.
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn segment_path(&self, number: u64) -> PathBuf {
        self.segments_dir.join(format!("{number:016x}.seg"))
    }

    /// Refuses when `needed_bytes` would eat into the reserve.
    pub(super) fn check_space(&self, needed_bytes: u64) -> Result<(), SpoolError> {
        large::check_space(&*self.disk, &self.segments_dir, self.settings.reserve_bytes, needed_bytes)
    }
}

/// The spool on segment files, with one writing thread of its own.
///
/// Dropping it finishes what was handed over and ends the thread.
#[derive(Debug)]
pub struct SegmentSpool {
    inner: Arc<Inner>,
    jobs: Option<mpsc::Sender<Job>>,
    writing: Writing,
    one_sweep: Mutex<()>,
}

/// Who writes.
#[derive(Debug)]
enum Writing {
    Thread(Option<JoinHandle<()>>),
    Stepped(Mutex<(Writer, mpsc::Receiver<Job>)>),
}

impl SegmentSpool {
    /// Opens the spool in `dir`, which is created when missing; scans what is there and cuts a torn tail.
    ///
    /// The caller holds the data directory's lock: two spools on one directory would destroy it.
    pub fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        settings: Settings,
    ) -> Result<Self, SpoolError> {
        let (inner, mut writer) = Self::recover(disk, clock, dir, settings)?;
        let (jobs, queue) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("spool-writer".into())
            .spawn(move || writer.run(&queue))
            .map_err(SpoolError::io(Step::Create, dir))?;
        let writing = Writing::Thread(Some(thread));
        Ok(Self { inner, jobs: Some(jobs), writing, one_sweep: Mutex::new(()) })
    }

    /// The same without a thread, for simulations: what is handed over waits until [`SegmentSpool::step`], so that a
    /// seed decides what is committed together, and everything is repeatable. Dropping it forgets what waits.
    pub fn open_stepped(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        settings: Settings,
    ) -> Result<Self, SpoolError> {
        let (inner, writer) = Self::recover(disk, clock, dir, settings)?;
        let (jobs, queue) = mpsc::channel();
        let writing = Writing::Stepped(Mutex::new((writer, queue)));
        Ok(Self { inner, jobs: Some(jobs), writing, one_sweep: Mutex::new(()) })
    }

    /// Writes what waits, in groups as the thread would if all of it had just come in. Only of use to a stepped spool.
    pub fn step(&self) {
        if let Writing::Stepped(stepped) = &self.writing {
            let (writer, queue) = &mut *stepped.lock().unwrap_or_else(PoisonError::into_inner);
            writer.run_until_idle(queue);
        }
    }

    fn recover(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        settings: Settings,
    ) -> Result<(Arc<Inner>, Writer), SpoolError> {
        let (segments_dir, large_dir) = (dir.join("segments"), dir.join("large"));
        for dir in [&segments_dir, &large_dir] {
            disk.create_dir_all(dir).map_err(SpoolError::io(Step::Create, dir))?;
        }
        let inner =
            Inner { disk, clock, settings, segments_dir, large_dir, catalog: Mutex::new(Catalog::default()) };
        let end = recover::recover(&inner)?;
        let inner = Arc::new(inner);
        let writer = Writer::new(Arc::clone(&inner), end);
        Ok((inner, writer))
    }

    /// The greatest message id found, which later ids must exceed.
    pub fn newest(&self) -> Option<MessageId> {
        self.inner.catalog().newest()
    }

    fn submit(
        &self,
        job: impl FnOnce(tokio::sync::oneshot::Sender<Result<(), SpoolError>>) -> Job,
    ) -> Receipt {
        let (done, receipt) = tokio::sync::oneshot::channel();
        if let Some(jobs) = &self.jobs {
            // When the writer is gone, the job's sender is dropped with it and the receipt says "closed".
            let _ = jobs.send(job(done));
        }
        Receipt(receipt)
    }
}

impl Spool for SegmentSpool {
    fn large_file(&self, mailbox: MailboxId, message: MessageId) -> Result<LargeFile, SpoolError> {
        let Inner { disk, large_dir, settings, .. } = &*self.inner;
        LargeFile::create(disk, large_dir, mailbox, message, settings.reserve_bytes)
    }

    fn append(&self, batch: Vec<NewRecord>) -> Receipt {
        debug_assert!(
            batch.iter().all(|record| !matches!(&record.body, NewBody::Large(file) if !file.is_finished())),
            "a large file is durable before its record is"
        );
        self.submit(|done| Job::Append { batch, done })
    }

    fn delete(&self, mailbox: MailboxId, messages: &[MessageId]) -> Receipt {
        let messages = messages.to_vec();
        self.submit(|done| Job::Delete { mailbox, messages, done })
    }

    fn entries(&self, mailbox: MailboxId) -> Vec<Entry> {
        self.inner.catalog().entries(mailbox)
    }

    fn usage(&self, mailbox: MailboxId) -> Usage {
        self.inner.catalog().usage(mailbox)
    }

    fn open(&self, mailbox: MailboxId, message: MessageId) -> Result<SealedBody, SpoolError> {
        SealedBody::locate(&self.inner, mailbox, message)
    }

    fn sweep(&self) -> Result<Swept, SpoolError> {
        let _one = self.one_sweep.lock().unwrap_or_else(PoisonError::into_inner);
        sweep::sweep(&self.inner, |moves| {
            let receipt = self.submit(|done| Job::Move { moves, done });
            // The sweep waits for it.
            self.step();
            receipt
        })
    }

    fn damage(&self) -> Vec<Damage> {
        self.inner.catalog().damage.clone()
    }
}

impl Drop for SegmentSpool {
    fn drop(&mut self) {
        self.jobs = None;
        if let Writing::Thread(thread) = &mut self.writing
            && let Some(thread) = thread.take()
        {
            // A panic in the writer was reported by the panic hook already.
            let _ = thread.join();
        }
    }
}
