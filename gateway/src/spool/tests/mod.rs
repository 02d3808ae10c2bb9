//! The spool through its own trait: what it holds, now and after a restart, damaged or not. Failing disks, prepared segments,
//! sweeps and commits have files of their own; power cuts are in `power_cut`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use postern_shared::clock::{Clock, ManualClock};
use postern_shared::crypto::seal::ReadSealed;
use postern_shared::disk::{self, Disk, Fault, FaultyDisk, RealDisk};
use proptest::prelude::*;

use super::layout::{RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES};
use super::*;

mod commits;
mod copies;
mod faults;
mod prepared;
mod sweeping;
mod undecided;

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
            confirm_delay: Duration::ZERO,
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
        prepared: false,
    }
}

fn large_record(spool: &SegmentSpool, n: u8, len: usize) -> NewRecord {
    large_record_of(spool, n, len, false)
}

fn large_record_of(spool: &SegmentSpool, n: u8, len: usize, prepared: bool) -> NewRecord {
    let mut file = spool.large_file(mailbox(), id(n)).unwrap();
    for piece in body(n, len).chunks(1000) {
        file.write(&[piece]).unwrap();
    }
    file.finish(mailbox(), id(n), UnixMillis(u64::from(n)), LENGTHS, prepared).unwrap();
    NewRecord { body: NewBody::Large(file), prepared, ..record(n, 0) }
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
    let usage = Usage { messages: 3, served_bytes: 33, oldest: Some(UnixMillis(1)), ..Usage::default() };
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

#[derive(Debug, Clone)]
enum Op {
    Append { len: usize, large: bool },
    Delete { nth: usize },
    Prepare { len: usize, large: bool },
    Decide { nth: usize, decision: Decision },
    Restart,
    Sweep { pass_grace: bool },
}

#[derive(Debug, Clone, Copy)]
enum Decision {
    Confirm,
    Drop,
    Keep,
}

fn op() -> impl Strategy<Value = Op> {
    let message = || (0usize..3000, proptest::bool::weighted(0.2));
    let decision =
        prop_oneof![3 => Just(Decision::Confirm), 1 => Just(Decision::Drop), 1 => Just(Decision::Keep)];
    prop_oneof![
        6 => message().prop_map(|(len, large)| Op::Append { len, large }),
        5 => (0usize..64).prop_map(|nth| Op::Delete { nth }),
        5 => message().prop_map(|(len, large)| Op::Prepare { len, large }),
        4 => (0usize..8, decision).prop_map(|(nth, decision)| Op::Decide { nth, decision }),
        1 => Just(Op::Restart),
        3 => any::<bool>().prop_map(|pass_grace| Op::Sweep { pass_grace }),
    ]
}

/// What a spool should hold.
#[derive(Debug, Default, Clone)]
struct Model {
    /// Every message there ever was.
    seen: BTreeSet<MessageId>,
    served: BTreeMap<MessageId, Vec<u8>>,
    unconfirmed: BTreeSet<MessageId>,
    undecided: BTreeMap<MessageId, Vec<u8>>,
}

impl Model {
    fn restart(&mut self) {
        self.unconfirmed.extend(self.undecided.keys());
        self.served.append(&mut self.undecided);
    }

    fn check(&self, spool: &SegmentSpool) -> Result<(), TestCaseError> {
        prop_assert_eq!(&served(spool), &self.served);
        let entries = spool.entries(mailbox());
        let unconfirmed: BTreeSet<MessageId> =
            entries.iter().filter(|entry| entry.unconfirmed).map(|entry| entry.message).collect();
        prop_assert_eq!(&unconfirmed, &self.unconfirmed);
        let usage = Usage {
            messages: self.served.len() as u64,
            served_bytes: entries.iter().map(|entry| entry.served_bytes).sum(),
            oldest: entries.first().map(|entry| entry.received),
            unconfirmed: self.unconfirmed.len() as u64,
            undecided: self.undecided.len() as u64,
        };
        prop_assert_eq!(spool.usage(mailbox()), usage);
        for message in self.undecided.keys() {
            let opened = spool.open(mailbox(), *message);
            prop_assert!(opened.is_err(), "{:?}", opened);
        }
        Ok(())
    }

    /// Does it to the spool as well.
    fn apply(&mut self, op: &Op, n: u8, spool: &SegmentSpool) {
        match *op {
            Op::Append { len, large } | Op::Prepare { len, large } => {
                let prepared = matches!(op, Op::Prepare { .. });
                let new = if large {
                    large_record_of(spool, n, len, prepared)
                } else {
                    NewRecord { prepared, ..record(n, len) }
                };
                spool.append(vec![new]).wait().unwrap();
                self.seen.insert(id(n));
                let held = if prepared { &mut self.undecided } else { &mut self.served };
                held.insert(id(n), body(n, len));
            }
            Op::Delete { nth } => {
                if let Some(message) = self.served.keys().nth(nth).copied() {
                    spool.delete(mailbox(), &[message]).wait().unwrap();
                    self.served.remove(&message);
                    self.unconfirmed.remove(&message);
                }
            }
            Op::Decide { nth, decision } => {
                let Some(message) = self.undecided.keys().nth(nth).copied() else { return };
                let body = self.undecided.remove(&message).unwrap();
                match decision {
                    Decision::Confirm => spool.confirm(mailbox(), message).wait().unwrap(),
                    Decision::Drop => return spool.delete(mailbox(), &[message]).wait().unwrap(),
                    Decision::Keep => {
                        spool.keep_unconfirmed(mailbox(), message);
                        self.unconfirmed.insert(message);
                    }
                }
                self.served.insert(message, body);
            }
            Op::Restart | Op::Sweep { .. } => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Goal: whatever is done in whatever order, the spool serves what a plain map would hold.
    #[test]
    fn behaves_like_a_map(ops in proptest::collection::vec(op(), 1..80), prepared in any::<bool>()) {
        let mut bench = Bench::new();
        bench.settings.prepare_after_bytes = if prepared { 0 } else { u64::MAX };
        let mut spool = bench.open();
        let mut model = Model::default();
        for (n, op) in (0u8..).zip(ops) {
            match op {
                Op::Restart => {
                    drop(spool);
                    spool = bench.open();
                    model.restart();
                }
                Op::Sweep { pass_grace } => {
                    spool.sweep().unwrap();
                    if pass_grace {
                        bench.clock.advance(Duration::from_secs(61));
                    }
                }
                other => model.apply(&other, n, &spool),
            }
            model.check(&spool)?;
        }
        drop(spool);
        let spool = bench.open();
        model.restart();
        model.check(&spool)?;
        prop_assert_eq!(spool.damage(), []);
    }
}
