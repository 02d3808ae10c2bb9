use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use postern_shared::clock::{Clock, ManualClock};
use postern_shared::crypto::seal::ReadSealed;
use postern_shared::disk::{self, Disk, Fault, FaultyDisk, RealDisk};
use proptest::prelude::*;

use super::layout::{RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES};
use super::*;

const MAILBOX: [u8; 8] = [7; 8];

struct Bench {
    dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    settings: Settings,
}

impl Bench {
    fn new() -> Self {
        let settings = Settings {
            segment_bytes: 4096,
            reserve_bytes: 0,
            grace: Duration::from_secs(60),
            prepare_after_bytes: u64::MAX,
        };
        Self { dir: tempfile::tempdir().unwrap(), clock: Arc::default(), settings }
    }

    fn open(&self) -> SegmentSpool {
        self.open_on(Arc::new(RealDisk))
    }

    fn open_on(&self, disk: Arc<dyn Disk>) -> SegmentSpool {
        let clock: Arc<dyn Clock> = self.clock.clone();
        SegmentSpool::open(disk, clock, self.dir.path(), self.settings.clone()).unwrap()
    }

    fn segments(&self) -> Vec<PathBuf> {
        RealDisk.files(&self.dir.path().join("segments")).unwrap()
    }

    fn large(&self) -> Vec<PathBuf> {
        RealDisk.files(&self.dir.path().join("large")).unwrap()
    }
}

fn mailbox() -> MailboxId {
    MailboxId::from_bytes(MAILBOX)
}

fn id(n: u8) -> MessageId {
    MessageId::from_bytes([n; 16])
}

fn body(n: u8, len: usize) -> Vec<u8> {
    (0..len).map(|i| n ^ u8::try_from(i % 256).unwrap()).collect()
}

const LENGTHS: Sealed = Sealed { served_bytes: 11, trailer_bytes: 22 };

fn record(n: u8, len: usize) -> NewRecord {
    NewRecord {
        mailbox: mailbox(),
        message: id(n),
        received: UnixMillis(u64::from(n)),
        sealed: LENGTHS,
        body: NewBody::inline(vec![body(n, len)]),
    }
}

fn large_record(spool: &SegmentSpool, n: u8, len: usize) -> NewRecord {
    let mut file = spool.large_file(mailbox(), id(n)).unwrap();
    for piece in body(n, len).chunks(1000) {
        file.write(&[piece]).unwrap();
    }
    file.finish(mailbox(), id(n), UnixMillis(u64::from(n)), LENGTHS).unwrap();
    NewRecord { body: NewBody::Large(file), ..record(n, 0) }
}

/// What the spool serves: id to sealed bytes.
fn served(spool: &SegmentSpool) -> BTreeMap<MessageId, Vec<u8>> {
    let read = |entry: Entry| {
        let body = spool.open(mailbox(), entry.message).unwrap();
        let mut bytes = vec![0; usize::try_from(body.expected().sealed_bytes).unwrap()];
        body.read_exact_at(&mut bytes, 0).unwrap();
        assert!(body.read_exact_at(&mut [0], bytes.len() as u64).is_err(), "no reading past the message");
        (entry.message, bytes)
    };
    spool.entries(mailbox()).into_iter().map(read).collect()
}

fn expect(entries: &[(u8, usize)]) -> BTreeMap<MessageId, Vec<u8>> {
    entries.iter().map(|(n, len)| (id(*n), body(*n, *len))).collect()
}

fn overwrite(path: &Path, offset: u64, bytes: &[u8]) {
    RealDisk.open(path).unwrap().write_all_at(&[bytes], offset).unwrap();
}

fn len(path: &Path) -> u64 {
    RealDisk.open_read(path).unwrap().len().unwrap()
}

#[test]
fn what_is_appended_is_served_now_and_after_a_restart() {
    let bench = Bench::new();
    let spool = bench.open();
    spool.append(vec![record(1, 100), record(2, 0)]).wait().unwrap();
    spool.append(vec![large_record(&spool, 3, 5000)]).wait().unwrap();
    let expected = expect(&[(1, 100), (2, 0), (3, 5000)]);
    assert_eq!(served(&spool), expected);
    let usage = Usage { messages: 3, served_bytes: 33, oldest: Some(UnixMillis(1)) };
    assert_eq!(spool.usage(mailbox()), usage);
    drop(spool);

    let spool = bench.open();
    assert_eq!(served(&spool), expected);
    assert_eq!(spool.usage(mailbox()), usage);
    assert_eq!(spool.newest(), Some(id(3)));
    assert_eq!(spool.damage(), []);
    assert_eq!(spool.entries(MailboxId::from_bytes([8; 8])), []);
}

#[test]
fn segments_are_closed_when_full_and_all_are_read() {
    let bench = Bench::new();
    let spool = bench.open();
    for n in 0..10 {
        spool.append(vec![record(n, 1500)]).wait().unwrap();
    }
    assert_eq!(bench.segments().len(), 5, "two of these fit a segment of 4096 bytes");
    drop(spool);
    let expected = (0..10).map(|n| (n, 1500)).collect::<Vec<_>>();
    assert_eq!(served(&bench.open()), expect(&expected));
}

#[test]
fn deletions_last_and_unknown_ids_are_passed_over() {
    let bench = Bench::new();
    let spool = bench.open();
    spool.append(vec![record(1, 10), record(2, 10)]).wait().unwrap();
    let reader = spool.open(mailbox(), id(1)).unwrap();
    spool.delete(mailbox(), &[id(1), id(99)]).wait().unwrap();
    assert_eq!(served(&spool), expect(&[(2, 10)]));
    assert!(matches!(spool.open(mailbox(), id(1)), Err(SpoolError::Gone { .. })));
    let mut first = [0; 10];
    reader.read_exact_at(&mut first, 0).unwrap();
    assert_eq!(first[..], body(1, 10), "who is reading goes on reading");
    drop(spool);
    assert_eq!(served(&bench.open()), expect(&[(2, 10)]));
}

/// Goal: a crash at any moment of a write leaves everything acknowledged, and nothing half.
/// Method: cut the segment at every octet behind the last acknowledged record.
#[test]
fn a_torn_tail_is_cut_wherever_it_tears() {
    let bench = Bench::new();
    let spool = bench.open();
    spool.append(vec![record(1, 50)]).wait().unwrap();
    let acknowledged = len(&bench.segments()[0]);
    spool.append(vec![record(2, 60)]).wait().unwrap();
    drop(spool);
    let path = bench.segments()[0].clone();
    let whole = RealDisk.read(&path, 10_000).unwrap();
    for cut in acknowledged..whole.len() as u64 {
        RealDisk.remove(&path).unwrap();
        RealDisk.create(&path).unwrap().write_all_at(&[&whole], 0).unwrap();
        RealDisk.open(&path).unwrap().set_len(cut).unwrap();
        let spool = bench.open();
        assert_eq!(served(&spool), expect(&[(1, 50)]), "cut at {cut}");
        assert_eq!(len(&path), acknowledged, "cut at {cut}");
        assert_eq!(spool.damage(), []);
    }
}

/// Goal: the length may reach the disk before the content; then the tail is zeros, or its body is.
#[test]
fn a_tail_of_zeros_or_with_a_wrong_body_is_not_served() {
    let bench = Bench::new();
    let spool = bench.open();
    spool.append(vec![record(1, 50)]).wait().unwrap();
    let acknowledged = len(&bench.segments()[0]);
    spool.append(vec![record(2, 60)]).wait().unwrap();
    drop(spool);
    overwrite(&bench.segments()[0], acknowledged + RECORD_HEADER_BYTES as u64, &[0; 60]);
    assert_eq!(served(&bench.open()), expect(&[(1, 50)]));

    RealDisk.open(&bench.segments()[0]).unwrap().set_len(acknowledged + 4000).unwrap();
    let spool = bench.open();
    assert_eq!(served(&spool), expect(&[(1, 50)]));
    spool.append(vec![record(3, 10)]).wait().unwrap();
    drop(spool);
    assert_eq!(served(&bench.open()), expect(&[(1, 50), (3, 10)]));
}

/// Goal: damage costs only what it touches, and is reported with file and offset.
#[test]
fn damage_inside_a_segment_is_reported_and_what_follows_is_served() {
    let bench = Bench::new();
    let spool = bench.open();
    for n in 1..=3 {
        spool.append(vec![record(n, 200)]).wait().unwrap();
    }
    drop(spool);
    let second = (SEGMENT_HEADER_BYTES + RECORD_HEADER_BYTES + 200) as u64;
    overwrite(&bench.segments()[0], second + 20, b"garbage");
    let spool = bench.open();
    assert_eq!(served(&spool), expect(&[(1, 200), (3, 200)]));
    let damage = spool.damage();
    assert_eq!(damage.len(), 1);
    assert_eq!((&damage[0].path, damage[0].offset), (&bench.segments()[0], second));
    drop(spool);

    overwrite(&bench.segments()[0], 0, &[0xff; 8]);
    let spool = bench.open();
    assert_eq!(served(&spool), expect(&[(1, 200), (3, 200)]), "even without a segment header");
    assert_eq!(spool.damage()[0].offset, 0);
}

#[test]
fn a_closed_segment_cut_short_is_reported() {
    let bench = Bench::new();
    let spool = bench.open();
    for n in 1..=4 {
        spool.append(vec![record(n, 1900)]).wait().unwrap();
    }
    drop(spool);
    let first = &bench.segments()[0];
    RealDisk.open(first).unwrap().set_len(len(first) - 1).unwrap();
    let spool = bench.open();
    assert_eq!(served(&spool), expect(&[(1, 1900), (3, 1900), (4, 1900)]));
    assert!(spool.damage().iter().any(|damage| damage.what.contains("cut short")), "{:?}", spool.damage());
}

/// Goal: after a failed write or sync the sender is refused, nothing of it appears later, and the next one is stored.
#[test]
fn a_failed_write_or_sync_is_refused_and_leaves_nothing() {
    // Sync 0 is the new segment's header, sync 1 the first record, sync 2 the record that fails.
    for step in [disk::Step::Write, disk::Step::Sync] {
        let bench = Bench::new();
        let fault = Fault::nth(step, 2, io::ErrorKind::Other);
        let spool = bench.open_on(Arc::new(FaultyDisk::new(Arc::new(RealDisk), fault)));
        spool.append(vec![record(1, 30)]).wait().unwrap();
        let error = spool.append(vec![record(2, 30)]).wait().unwrap_err();
        assert!(matches!(error, SpoolError::Io { .. }), "{error}");
        assert_eq!(served(&spool), expect(&[(1, 30)]), "{step:?}");
        spool.append(vec![record(3, 30)]).wait().unwrap();
        assert_eq!(served(&spool), expect(&[(1, 30), (3, 30)]), "{step:?}");
        drop(spool);
        let spool = bench.open();
        assert_eq!(served(&spool), expect(&[(1, 30), (3, 30)]), "{step:?}, restarted");
        assert_eq!(spool.damage(), [], "{step:?}");
    }
}

/// Goal: even when what was refused cannot be cut off, a restart does not serve it.
#[test]
fn what_was_refused_stays_refused_when_it_cannot_be_cut_off() {
    let bench = Bench::new();
    let inner = FaultyDisk::new(Arc::new(RealDisk), Fault::nth(disk::Step::Sync, 2, io::ErrorKind::Other));
    let no_set_len =
        FaultyDisk::new(Arc::new(inner), Fault::from(disk::Step::SetLen, 0, io::ErrorKind::Other));
    let spool = bench.open_on(Arc::new(no_set_len));
    spool.append(vec![record(1, 30)]).wait().unwrap();
    spool.append(vec![record(2, 30)]).wait().unwrap_err();
    drop(spool);
    let spool = bench.open();
    assert_eq!(served(&spool), expect(&[(1, 30)]));
}

#[test]
fn a_disk_that_keeps_failing_is_refused_each_time_and_recovers() {
    let bench = Bench::new();
    let fault = Fault::from(disk::Step::Sync, 0, io::ErrorKind::Other);
    let spool = bench.open_on(Arc::new(FaultyDisk::new(Arc::new(RealDisk), fault)));
    for n in 1..5 {
        spool.append(vec![record(n, 30)]).wait().unwrap_err();
    }
    drop(spool);
    let spool = bench.open();
    assert_eq!(served(&spool), expect(&[]));
    spool.append(vec![record(9, 30)]).wait().unwrap();
    drop(spool);
    assert_eq!(served(&bench.open()), expect(&[(9, 30)]));
}

#[test]
fn a_nearly_full_disk_refuses_mail_but_deletes() {
    let bench = Bench::new();
    bench.open().append(vec![record(1, 30)]).wait().unwrap();
    let full = FaultyDisk::new(Arc::new(RealDisk), Fault::nearly_full(40));
    let spool = bench.open_on(Arc::new(full));
    let error = spool.append(vec![record(2, 30)]).wait().unwrap_err();
    assert!(matches!(error, SpoolError::Full { free_bytes: 40, needed_bytes: 98 }), "{error}");
    let mut large = spool.large_file(mailbox(), id(3)).unwrap();
    assert!(matches!(large.write(&[[0; 41]]), Err(SpoolError::Full { needed_bytes: 41, .. })));
    drop(large);
    assert_eq!(bench.large().len(), 0);
    spool.delete(mailbox(), &[id(1)]).wait().unwrap();
    assert_eq!(served(&spool), expect(&[]));
}

/// Goal: on a full disk, where senders keep trying, archivers can delete all the same.
#[test]
fn deletions_that_come_together_with_mail_work_on_a_full_disk() {
    let bench = Bench::new();
    bench.open().append(vec![record(1, 30)]).wait().unwrap();
    let full = FaultyDisk::new(Arc::new(RealDisk), Fault::nearly_full(40));
    let clock: Arc<dyn Clock> = bench.clock.clone();
    let spool =
        SegmentSpool::open_stepped(Arc::new(full), clock, bench.dir.path(), bench.settings.clone()).unwrap();
    let refused = spool.append(vec![record(2, 30)]);
    let deleted = spool.delete(mailbox(), &[id(1)]);
    spool.step();
    assert!(matches!(refused.wait(), Err(SpoolError::Full { .. })));
    deleted.wait().unwrap();
    assert_eq!(served(&spool), expect(&[]));
}

#[test]
fn a_large_file_without_its_record_is_removed_or_adopted() {
    let bench = Bench::new();
    let spool = bench.open();
    let unfinished = spool.large_file(mailbox(), id(1)).unwrap();
    assert_eq!(bench.large().len(), 1);
    drop(unfinished);
    assert_eq!(bench.large().len(), 0, "an abandoned transfer leaves nothing");

    // A crash between the file's sync and its record's: the copy is whole and its sender will come again.
    let whole = large_record(&spool, 2, 3000);
    // A crash while streaming.
    let mut half = spool.large_file(mailbox(), id(3)).unwrap();
    half.write(&[[1; 500]]).unwrap();
    std::mem::forget((whole, half));
    drop(spool);

    let spool = bench.open();
    assert_eq!(served(&spool), expect(&[(2, 3000)]));
    bench.clock.advance(Duration::from_secs(61));
    assert_eq!(spool.sweep().unwrap().files_removed, 1);
    assert_eq!(bench.large().len(), 1);
    spool.delete(mailbox(), &[id(2)]).wait().unwrap();
    drop(spool);
    assert_eq!(served(&bench.open()), expect(&[]), "an adopted one can be deleted like any other");
}

#[test]
fn a_missing_or_cut_large_file_is_reported() {
    let bench = Bench::new();
    let spool = bench.open();
    let batch = vec![large_record(&spool, 1, 3000), large_record(&spool, 2, 3000), record(3, 10)];
    spool.append(batch).wait().unwrap();
    drop(spool);
    RealDisk.remove(&bench.large()[0]).unwrap();
    RealDisk.open(&bench.large()[0]).unwrap().set_len(100).unwrap();
    let spool = bench.open();
    let listed: Vec<MessageId> = spool.entries(mailbox()).iter().map(|entry| entry.message).collect();
    assert_eq!(listed, [id(2), id(3)], "a cut one is listed, for its owner must learn of it");
    assert_eq!(spool.damage().len(), 2);
}

#[test]
fn dead_files_stay_for_the_grace_period_and_then_go() {
    let bench = Bench::new();
    let spool = bench.open();
    spool.append(vec![large_record(&spool, 1, 3000)]).wait().unwrap();
    for n in 2..9 {
        spool.append(vec![record(n, 1900)]).wait().unwrap();
    }
    assert_eq!(bench.segments().len(), 4);
    let all: Vec<MessageId> = (1..9).map(id).collect();
    spool.delete(mailbox(), &all).wait().unwrap();
    assert_eq!(spool.sweep().unwrap(), Swept::default());
    assert_eq!((bench.segments().len(), bench.large().len()), (4, 1));
    bench.clock.advance(Duration::from_secs(61));
    assert_eq!(spool.sweep().unwrap().files_removed, 4);
    assert_eq!((bench.segments().len(), bench.large().len()), (1, 0), "the newest segment stays");
    drop(spool);
    assert_eq!(served(&bench.open()), expect(&[]));
}

/// Goal: a segment full of zeros is used when it is ready, and nothing of it is taken for mail or for damage.
/// Method: messages one by one until a prepared segment is in use; then a copy of the directory, as after a crash.
#[test]
fn a_prepared_segment_is_used_and_its_zeros_are_not_served() {
    let mut bench = Bench::new();
    bench.settings.prepare_after_bytes = 0;
    let spool = bench.open();
    let mut count = 0;
    let in_use = |path: &PathBuf| path.extension().is_some_and(|end| end == "seg") && len(path) == 4096;
    while !bench.segments().iter().any(in_use) {
        assert!(count < 250, "it is ready after a while");
        spool.append(vec![record(count, 50)]).wait().unwrap();
        count += 1;
        std::thread::yield_now();
    }
    spool.append(vec![record(count, 50)]).wait().unwrap();
    let expected = expect(&(0..=count).map(|n| (n, 50)).collect::<Vec<_>>());
    let copy = Bench { dir: tempfile::tempdir().unwrap(), ..Bench::new() };
    for path in bench.segments() {
        let to = copy.dir.path().join("segments").join(path.file_name().unwrap());
        RealDisk.create_dir_all(to.parent().unwrap()).unwrap();
        let bytes = RealDisk.read(&path, u64::MAX).unwrap();
        RealDisk.create(&to).unwrap().write_all_at(&[&bytes], 0).unwrap();
    }
    let restored = copy.open();
    assert_eq!(restored.damage(), []);
    assert_eq!(served(&restored), expected);
    drop(spool);
    assert_eq!(served(&bench.open()), expected);
}

/// Goal: one forgotten message does not hold a segment's space, and no deletion is undone by moving it.
#[test]
fn a_sparse_segment_is_compacted_and_deletions_hold() {
    let bench = Bench::new();
    let spool = bench.open();
    for n in 0..20 {
        spool.append(vec![record(n, 600)]).wait().unwrap();
    }
    let before = bench.segments().len();
    let gone: Vec<MessageId> = (0..19).filter(|n| n % 6 != 0).map(id).collect();
    spool.delete(mailbox(), &gone).wait().unwrap();
    let expected = expect(&[(0, 600), (6, 600), (12, 600), (18, 600), (19, 600)]);
    assert!(spool.sweep().unwrap().messages_moved >= 3);
    assert_eq!(served(&spool), expected);
    drop(spool);
    let spool = bench.open();
    assert_eq!(served(&spool), expected, "with both copies of what was moved on disk");
    spool.delete(mailbox(), &[id(6)]).wait().unwrap();
    // The restart forgot when the files died, so the grace period begins again.
    for _ in 0..4 {
        spool.sweep().unwrap();
        bench.clock.advance(Duration::from_secs(61));
    }
    assert!(bench.segments().len() < before, "{} of {before} left", bench.segments().len());
    let expected = expect(&[(0, 600), (12, 600), (18, 600), (19, 600)]);
    assert_eq!(served(&spool), expected);
    drop(spool);
    assert_eq!(served(&bench.open()), expected);
}

/// Goal: on a full disk, where nothing can be moved out of a sparse segment, the dead ones behind it are removed.
#[test]
fn what_cannot_be_moved_does_not_hold_the_space_of_what_is_dead() {
    let bench = Bench::new();
    let spool = bench.open();
    for n in 0..20 {
        spool.append(vec![record(n, 600)]).wait().unwrap();
    }
    let gone: Vec<MessageId> = (1..19).map(id).collect();
    spool.delete(mailbox(), &gone).wait().unwrap();
    drop(spool);
    let full = FaultyDisk::new(Arc::new(RealDisk), Fault::nearly_full(40));
    let spool = bench.open_on(Arc::new(full));
    let before = bench.segments().len();
    for _ in 0..2 {
        assert!(matches!(spool.sweep().unwrap_err(), SpoolError::Full { .. }));
        bench.clock.advance(Duration::from_secs(61));
    }
    assert!(bench.segments().len() < before, "all {before} are still there");
    assert_eq!(served(&spool), expect(&[(0, 600), (19, 600)]));
}

/// Goal: one file that cannot be removed does not hold the space of the others.
#[test]
fn what_cannot_be_removed_does_not_hold_the_space_of_the_rest() {
    let bench = Bench::new();
    let fault = Fault::nth(disk::Step::Remove, 0, io::ErrorKind::Other);
    let spool = bench.open_on(Arc::new(FaultyDisk::new(Arc::new(RealDisk), fault)));
    for n in 1..4 {
        spool.append(vec![large_record(&spool, n, 3000)]).wait().unwrap();
    }
    spool.delete(mailbox(), &[id(1), id(2), id(3)]).wait().unwrap();
    bench.clock.advance(Duration::from_secs(61));
    spool.sweep().unwrap_err();
    assert_eq!(bench.large().len(), 1);
    spool.sweep().unwrap();
    assert_eq!(bench.large().len(), 0);
}

/// Goal: whatever fails at a prepared segment, mail goes to another one, and nothing of it is left behind.
#[test]
fn a_prepared_segment_that_cannot_be_used_costs_no_mail() {
    let free_of_prepared = |bench: &Bench| {
        bench.segments().iter().all(|path| path.extension().is_some_and(|extension| extension == "seg"))
    };
    // Write 0 is the first segment's header, 1 the record, 2 the zeros; syncs as well. Directories are synced but
    // once before.
    for (step, nth) in
        [(disk::Step::Write, 3), (disk::Step::Sync, 3), (disk::Step::Rename, 0), (disk::Step::SyncDir, 1)]
    {
        let mut bench = Bench::new();
        bench.settings.prepare_after_bytes = 0;
        let disk = FaultyDisk::new(Arc::new(RealDisk), Fault::nth(step, nth, io::ErrorKind::Other));
        let clock: Arc<dyn Clock> = bench.clock.clone();
        let settings = bench.settings.clone();
        let spool = SegmentSpool::open_stepped(Arc::new(disk), clock, bench.dir.path(), settings).unwrap();
        let append = |n: u8| {
            let receipt = spool.append(vec![record(n, 50)]);
            spool.step();
            receipt.wait()
        };
        append(1).unwrap();
        assert!(!free_of_prepared(&bench), "one is ready");
        append(2).unwrap_or_else(|error| panic!("{step:?}: {error}"));
        append(3).unwrap();
        let expected = expect(&[(1, 50), (2, 50), (3, 50)]);
        assert_eq!(served(&spool), expected, "{step:?}");
        drop(spool);
        let spool = bench.open();
        assert!(free_of_prepared(&bench), "{step:?}");
        assert_eq!((served(&spool), spool.damage()), (expected, Vec::new()), "{step:?}");
    }
}

/// A clock that holds the first commit until told to go on, and panics in the second.
#[derive(Debug)]
struct PanickingClock {
    inner: ManualClock,
    readings: std::sync::atomic::AtomicU64,
    go_on: std::sync::Barrier,
}

impl Clock for PanickingClock {
    fn wall(&self) -> UnixMillis {
        self.inner.wall()
    }

    fn moment(&self) -> postern_shared::clock::Moment {
        // Opening reads it once; a commit at its begin, when it looks for space, when it publishes, and at its end.
        match self.readings.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            1 => {
                self.go_on.wait();
                self.go_on.wait();
            }
            5 => panic!("on purpose"),
            _ => {}
        }
        self.inner.moment()
    }
}

/// Goal: a panic in the spool's thread costs its group, not the spool.
/// Method: one caller is held in its commit while a second hands over, so that the thread commits for that one.
#[test]
fn a_panic_in_a_commit_refuses_its_group_only() {
    let bench = Bench::new();
    let clock = Arc::new(PanickingClock {
        inner: ManualClock::default(),
        readings: std::sync::atomic::AtomicU64::new(0),
        go_on: std::sync::Barrier::new(2),
    });
    let spool =
        SegmentSpool::open(Arc::new(RealDisk), clock.clone(), bench.dir.path(), bench.settings.clone())
            .unwrap();
    std::thread::scope(|threads| {
        let first = threads.spawn(|| spool.append(vec![record(1, 30)]).wait());
        clock.go_on.wait();
        let second = spool.append(vec![record(2, 30)]);
        clock.go_on.wait();
        first.join().unwrap().unwrap();
        second.wait().unwrap_err();
    });
    spool.append(vec![record(3, 30)]).wait().unwrap();
    assert_eq!(served(&spool), expect(&[(1, 30), (3, 30)]));
}

#[derive(Debug, Clone)]
enum Op {
    Append { len: usize, large: bool },
    Delete { nth: usize },
    Restart,
    Sweep { pass_grace: bool },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0usize..3000, proptest::bool::weighted(0.2)).prop_map(|(len, large)| Op::Append { len, large }),
        4 => (0usize..64).prop_map(|nth| Op::Delete { nth }),
        1 => Just(Op::Restart),
        2 => any::<bool>().prop_map(|pass_grace| Op::Sweep { pass_grace }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Goal: whatever is done in whatever order, the spool serves what a plain map would hold.
    #[test]
    fn behaves_like_a_map(ops in proptest::collection::vec(op(), 1..60), prepared in any::<bool>()) {
        let mut bench = Bench::new();
        bench.settings.prepare_after_bytes = if prepared { 0 } else { u64::MAX };
        let mut spool = bench.open();
        let mut model = BTreeMap::new();
        for (n, op) in (0u8..).zip(ops) {
            match op {
                Op::Append { len, large } => {
                    let new = if large { large_record(&spool, n, len) } else { record(n, len) };
                    spool.append(vec![new]).wait().unwrap();
                    model.insert(id(n), body(n, len));
                }
                Op::Delete { nth } => {
                    if let Some(message) = model.keys().nth(nth).copied() {
                        spool.delete(mailbox(), &[message]).wait().unwrap();
                        model.remove(&message);
                    }
                }
                Op::Restart => {
                    drop(spool);
                    spool = bench.open();
                }
                Op::Sweep { pass_grace } => {
                    spool.sweep().unwrap();
                    if pass_grace {
                        bench.clock.advance(Duration::from_secs(61));
                    }
                }
            }
            prop_assert_eq!(&served(&spool), &model);
        }
        drop(spool);
        let spool = bench.open();
        prop_assert_eq!(&served(&spool), &model);
        prop_assert_eq!(spool.damage(), []);
    }
}
