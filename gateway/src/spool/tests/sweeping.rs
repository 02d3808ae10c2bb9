//! Giving space back.

use super::*;

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
