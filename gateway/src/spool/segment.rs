//! The spool on segment files: what callers hold. The work is done in `writer`, `recover` and `sweep`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use postern_shared::clock::{Clock, Moment};
use postern_shared::disk::Disk;
use postern_shared::id::{MailboxId, MessageId};

use super::catalog::Catalog;
use super::commits::Commits;
use super::writer::{Job, Writer};
use super::{
    Damage, Entry, LargeFile, NewBody, NewRecord, Pulse, Receipt, SealedBody, Settings, Spool, SpoolError,
    Step, Swept, Usage, large, recover, sweep,
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
    /// When the disk was last found to have plenty of space, and how much of that is left.
    plenty: Mutex<Option<(Moment, u64)>>,
}

impl Inner {
    pub(super) fn catalog(&self) -> MutexGuard<'_, Catalog> {
        // Every change is complete before it can panic, so a poisoned catalog is still right.
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn segment_path(&self, number: u64) -> PathBuf {
        self.segments_dir.join(format!("{number:016x}.seg"))
    }

    /// Refuses when `needed_bytes` would eat into the reserve. While there is plenty, the disk is not asked for every
    /// commit: should others fill it within that moment, the write itself fails, and is refused as well.
    pub(super) fn check_space(&self, needed_bytes: u64) -> Result<(), SpoolError> {
        const ASKED_AGAIN_AFTER: Duration = Duration::from_millis(100);
        const PLENTY_BYTES: u64 = 1024 * 1024 * 1024;
        let now = self.clock.moment();
        let mut known = self.plenty.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((asked, left)) = known.as_mut()
            && now.since(*asked) < ASKED_AGAIN_AFTER
            && *left >= needed_bytes
        {
            *left -= needed_bytes;
            return Ok(());
        }
        let wanted = PLENTY_BYTES + needed_bytes;
        let reserve = self.settings.reserve_bytes;
        *known = large::check_space(&*self.disk, &self.segments_dir, reserve, wanted)
            .is_ok()
            .then_some((now, PLENTY_BYTES));
        if known.is_some() {
            return Ok(());
        }
        large::check_space(&*self.disk, &self.segments_dir, reserve, needed_bytes)
    }

    /// The same for a sweep, which may use half of the reserve: it has to write before it can remove.
    pub(super) fn check_space_for_moves(&self, needed_bytes: u64) -> Result<(), SpoolError> {
        large::check_space(&*self.disk, &self.segments_dir, self.settings.reserve_bytes / 2, needed_bytes)
    }
}

/// The spool on segment files, with a writing thread of its own.
///
/// Dropping it finishes what was handed over and ends the thread.
#[derive(Debug)]
pub struct SegmentSpool {
    inner: Arc<Inner>,
    commits: Arc<Commits>,
    thread: Option<JoinHandle<()>>,
    one_sweep: Mutex<()>,
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
        let (inner, writer) = Self::recover(disk, clock, dir, settings, false)?;
        let delay = inner.settings.confirm_delay;
        let commits = Arc::new(Commits::new(writer, delay));
        let led = Arc::clone(&commits);
        let thread = std::thread::Builder::new()
            .name("spool-writer".into())
            .spawn(move || led.run())
            .map_err(SpoolError::io(Step::Create, dir))?;
        Ok(Self { inner, commits, thread: Some(thread), one_sweep: Mutex::new(()) })
    }

    /// The same without threads, for simulations: what is handed over waits until [`SegmentSpool::step`], so that a
    /// seed decides what is committed together, and everything is repeatable. Dropping it forgets what waits.
    pub fn open_stepped(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        settings: Settings,
    ) -> Result<Self, SpoolError> {
        let (inner, writer) = Self::recover(disk, clock, dir, settings, true)?;
        Ok(Self {
            inner,
            commits: Arc::new(Commits::stepped(writer)),
            thread: None,
            one_sweep: Mutex::new(()),
        })
    }

    /// Writes what waits, in groups as the thread would if all of it had just come in. Only of use to a stepped spool.
    pub fn step(&self) {
        self.commits.step();
    }

    fn recover(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        settings: Settings,
        stepped: bool,
    ) -> Result<(Arc<Inner>, Writer), SpoolError> {
        let (segments_dir, large_dir) = (dir.join("segments"), dir.join("large"));
        for dir in [&segments_dir, &large_dir] {
            disk.create_dir_all(dir).map_err(SpoolError::io(Step::Create, dir))?;
        }
        let inner = Inner {
            disk,
            clock,
            settings,
            segments_dir,
            large_dir,
            catalog: Mutex::default(),
            plenty: Mutex::default(),
        };
        let end = recover::recover(&inner)?;
        let inner = Arc::new(inner);
        let writer = Writer::new(Arc::clone(&inner), end, stepped)?;
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
        self.commits.submit(job(done));
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

    fn confirm(&self, mailbox: MailboxId, message: MessageId) -> Receipt {
        let (done, receipt) = tokio::sync::oneshot::channel();
        self.commits.submit_unhurried(Job::Confirm { mailbox, message, done });
        Receipt(receipt)
    }

    fn keep_unconfirmed(&self, mailbox: MailboxId, message: MessageId) {
        self.commits.submit(Job::Keep { mailbox, message });
    }

    fn entries(&self, mailbox: MailboxId) -> Vec<Entry> {
        self.commits.hurry();
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

    fn pulse(&self) -> Pulse {
        self.commits.pulse()
    }

    fn damage(&self) -> Vec<Damage> {
        self.inner.catalog().damage.clone()
    }

    fn report(&self, damage: Damage) {
        self.inner.catalog().report(damage);
    }
}

impl Drop for SegmentSpool {
    fn drop(&mut self) {
        self.commits.close();
        if let Some(thread) = self.thread.take() {
            // A panic in it was reported by the panic hook already.
            let _ = thread.join();
        }
    }
}
