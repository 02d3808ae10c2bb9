use std::sync::Arc;

use postern_shared::clock::ManualClock;
use postern_shared::crypto::digest::sha256;
use postern_shared::disk::{Fault, FaultyDisk, RealDisk, Step};

use super::log::RECORD_BYTES;
use super::*;

const ANNA: &str = "anna%pop.example.com";

fn mailbox() -> MailboxId {
    MailboxId::from_bytes([0, 0, 0, 0, 0, 0, 0, 0xa])
}

fn open(dir: &Path, disk: impl Disk) -> Seen {
    Seen::open(Arc::new(disk), dir, Arc::new(ManualClock::default())).unwrap()
}

fn entry(seen: &Seen, n: u32) -> Entry {
    seen.entry(mailbox(), ANNA, None, sha256(&n.to_be_bytes()))
}

async fn is_known(seen: &Seen, n: u32) -> bool {
    matches!(seen.table(mailbox()).claim(entry(seen, n)).await, Claim::Known)
}

async fn record(seen: &Seen, n: u32) {
    match seen.table(mailbox()).claim(entry(seen, n)).await {
        Claim::Known => {}
        Claim::Free(claimed) => claimed.recorded(),
    }
}

fn file(dir: &Path) -> PathBuf {
    dir.join("proxy/seen").join(mailbox().to_string())
}

#[tokio::test]
async fn what_was_recorded_is_known_after_a_restart_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let seen = open(dir.path(), RealDisk);
    assert!(!is_known(&seen, 1).await, "asking does not make it known");
    for n in 0..10_000 {
        record(&seen, n).await;
    }
    for seen in [seen, open(dir.path(), RealDisk)] {
        assert!(is_known(&seen, 0).await && is_known(&seen, 9_999).await);
        assert!(!is_known(&seen, 10_000).await);
    }
    assert_eq!(RealDisk.open_read(&file(dir.path())).unwrap().len().unwrap(), 10_001 * RECORD_BYTES as u64);
}

#[test]
fn an_entry_depends_on_everything_and_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let seen = open(dir.path(), RealDisk);
    let uidl: UidlToken = "u1".parse().unwrap();
    let content = sha256(b"a");
    let all = [
        seen.entry(mailbox(), ANNA, Some(&uidl), content),
        seen.entry(mailbox(), ANNA, None, content),
        seen.entry(mailbox(), "anna%pop.example.comu1", None, content),
        seen.entry(mailbox(), ANNA, Some(&uidl), sha256(b"b")),
        seen.entry(MailboxId::from_bytes([0xb; 8]), ANNA, Some(&uidl), content),
        open(tempfile::tempdir().unwrap().path(), RealDisk).entry(mailbox(), ANNA, Some(&uidl), content),
    ];
    let different: std::collections::HashSet<_> = all.into_iter().collect();
    assert_eq!(different.len(), all.len());
    assert_eq!(
        open(dir.path(), RealDisk).entry(mailbox(), ANNA, Some(&uidl), content),
        all[0],
        "the key stays"
    );
}

/// Goal: no damage makes known what was not recorded, and it costs what it touches.
/// Method: every octet turned over, and the file cut everywhere; then another entry is written and read again.
#[tokio::test]
async fn damage_costs_doubles_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let seen = open(dir.path(), RealDisk);
    for n in 0..4 {
        record(&seen, n).await;
    }
    let whole = RealDisk.read(&file(dir.path()), 1000).unwrap();
    let mut damaged: Vec<Vec<u8>> = (0..whole.len()).map(|cut| whole[..cut].to_vec()).collect();
    damaged.extend((0..whole.len()).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        bytes
    }));
    damaged.push([whole.clone(), vec![0; 4096]].concat());
    for bytes in damaged {
        write_atomic(&RealDisk, &file(dir.path()), &bytes).unwrap();
        let seen = open(dir.path(), RealDisk);
        let mut known = 0;
        for n in 0..4 {
            known += u32::from(is_known(&seen, n).await);
        }
        let mark_is_whole = bytes.len() >= RECORD_BYTES && bytes[..RECORD_BYTES] == whole[..RECORD_BYTES];
        assert!(known >= u32::from(mark_is_whole && bytes.len() == whole.len()) * 3, "{known}");
        assert!(!is_known(&seen, 4).await);
        record(&seen, 5).await;
        let again = open(dir.path(), RealDisk);
        assert!(is_known(&again, 5).await, "{} octets", bytes.len());
        for n in 0..4 {
            assert_eq!(is_known(&again, n).await, is_known(&seen, n).await);
        }
    }
}

/// Goal: a disk that fails costs doubles after a restart; what was recorded is known until then, and the file stays whole.
#[tokio::test]
async fn a_failing_disk_costs_doubles_only() {
    for step in [Step::Create, Step::Write, Step::Open, Step::Read] {
        let dir = tempfile::tempdir().unwrap();
        let before = open(dir.path(), RealDisk);
        if matches!(step, Step::Open | Step::Read) {
            record(&before, 0).await;
        }
        let faulty = FaultyDisk::new(
            Arc::new(RealDisk),
            Fault::nth(
                step,
                u64::from(step == Step::Read || step == Step::Open),
                std::io::ErrorKind::StorageFull,
            ),
        );
        let seen = open(dir.path(), faulty);
        for n in 1..4 {
            record(&seen, n).await;
            assert!(is_known(&seen, n).await, "{step:?} {n}");
        }
        let again = open(dir.path(), RealDisk);
        assert!(is_known(&again, 3).await, "{step:?}");
        assert!(!is_known(&again, 4).await, "{step:?}");
    }
}

#[tokio::test]
async fn of_two_that_record_at_once_the_second_waits() {
    let dir = tempfile::tempdir().unwrap();
    let seen = Arc::new(open(dir.path(), RealDisk));
    let table = seen.table(mailbox());
    let Claim::Free(first) = table.claim(entry(&seen, 1)).await else { panic!("unknown") };
    let second = {
        let (table, entry) = (Arc::clone(&table), entry(&seen, 1));
        tokio::spawn(async move { table.claim(entry).await })
    };
    tokio::task::yield_now().await;
    assert!(!second.is_finished());
    drop(first);
    let Claim::Free(second) = second.await.unwrap() else { panic!("the first one failed") };
    let third = {
        let (table, entry) = (Arc::clone(&table), entry(&seen, 1));
        tokio::spawn(async move { table.claim(entry).await })
    };
    tokio::task::yield_now().await;
    second.recorded();
    assert!(matches!(third.await.unwrap(), Claim::Known));
}

#[tokio::test]
async fn memory_and_files_are_bounded_and_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let table = Arc::new(Table::new(Arc::new(RealDisk), dir.path().join("t"), 10));
    for n in 0..25 {
        let Claim::Free(claimed) = table.claim(Entry(n)).await else { panic!("unknown") };
        claimed.recorded();
    }
    assert!(matches!(table.claim(Entry(24)).await, Claim::Known));
    assert!(matches!(table.claim(Entry(1)).await, Claim::Free(_)), "forgotten");
    assert_eq!(RealDisk.read(&dir.path().join("t"), 1000).unwrap().len(), 6 * RECORD_BYTES);

    let clock = Arc::new(ManualClock::default());
    let seen = Seen::open(Arc::new(RealDisk), dir.path(), Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
    record(&seen, 1).await;
    let held = seen.table(mailbox());
    clock.advance(IDLE);
    seen.forget_idle();
    assert_eq!(seen.lock().len(), 1, "in use");
    drop(held);
    seen.forget_idle();
    assert!(seen.lock().is_empty());
    assert!(is_known(&seen, 1).await, "read again");
    seen.sweep(|id| id == mailbox()).unwrap();
    assert!(is_known(&seen, 1).await);
    seen.sweep(|_| false).unwrap();
    assert!(!is_known(&seen, 1).await && !RealDisk.exists(&file(dir.path())).unwrap());
}

#[test]
fn a_key_that_is_none_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let before = entry(&open(dir.path(), RealDisk), 1);
    write_atomic(&RealDisk, &dir.path().join("proxy/seen.key"), b"short").unwrap();
    let after = entry(&open(dir.path(), RealDisk), 1);
    assert_ne!(before, after);
    assert_eq!(entry(&open(dir.path(), RealDisk), 1), after);
}
