//! What a failing or full disk does.

use super::*;

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
