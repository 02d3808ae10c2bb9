//! Messages stored before it is known whether they count.

use postern_shared::proto::mime::trace::UNCONFIRMED;

use super::*;

fn prepared(n: u8, len: usize) -> NewRecord {
    NewRecord { prepared: true, ..record(n, len) }
}

/// What waits: number and whether it is unconfirmed.
fn listed(spool: &SegmentSpool) -> Vec<(u8, bool)> {
    spool.entries(mailbox()).iter().map(|entry| (entry.message.to_bytes()[0], entry.unconfirmed)).collect()
}

fn undecided(spool: &SegmentSpool) -> u64 {
    spool.usage(mailbox()).undecided
}

/// Goal: nobody is shown what may yet be refused.
#[test]
fn a_prepared_message_is_shown_when_it_is_confirmed() {
    let bench = Bench::new();
    let spool = bench.open();
    spool.append(vec![prepared(1, 100)]).wait().unwrap();
    spool.append(vec![large_record_of(&spool, 2, 3000, true)]).wait().unwrap();
    spool.append(vec![prepared(3, 100)]).wait().unwrap();
    assert_eq!((listed(&spool), undecided(&spool)), (vec![], 3));
    assert_eq!(spool.usage(mailbox()), Usage { undecided: 3, ..Usage::default() });
    assert_eq!(spool.newest(), Some(id(3)), "its id is used all the same");

    spool.confirm(mailbox(), id(1)).wait().unwrap();
    spool.confirm(mailbox(), id(2)).wait().unwrap();
    spool.delete(mailbox(), &[id(3)]).wait().unwrap();
    let expected = expect(&[(1, 100), (2, 3000)]);
    assert_eq!((served(&spool), undecided(&spool)), (expected.clone(), 0));
    drop(spool);
    let spool = bench.open();
    assert_eq!((served(&spool), listed(&spool)), (expected, vec![(1, false), (2, false)]));
    assert_eq!(spool.damage(), []);
}

/// Goal: what nobody can decide on any more is kept, says so, and stays as it is; the sizes say what will be served.
#[test]
fn an_undecided_message_is_unconfirmed_after_a_restart_and_ever_after() {
    let bench = Bench::new();
    let spool = bench.open();
    let batch =
        vec![prepared(1, 100), large_record_of(&spool, 2, 3000, true), prepared(3, 100), record(4, 100)];
    spool.append(batch).wait().unwrap();
    spool.keep_unconfirmed(mailbox(), id(3));
    assert_eq!(listed(&spool), [(3, true), (4, false)], "when it is said so, without a restart");
    drop(spool);
    for _ in 0..3 {
        let spool = bench.open();
        assert_eq!(listed(&spool), [(1, true), (2, true), (3, true), (4, false)]);
        let bytes = LENGTHS.served_bytes + UNCONFIRMED.len() as u64;
        assert_eq!(spool.entries(mailbox())[0].served_bytes, bytes);
        let usage = spool.usage(mailbox());
        assert_eq!((usage.served_bytes, usage.unconfirmed), (3 * bytes + LENGTHS.served_bytes, 3));
        assert!(spool.open(mailbox(), id(1)).unwrap().is_unconfirmed());
        // Nobody can know any more.
        let late = spool.confirm(mailbox(), id(1)).wait();
        assert!(matches!(late, Err(SpoolError::NotPrepared { .. })), "{late:?}");
    }
    let spool = bench.open();
    spool.delete(mailbox(), &[id(1), id(2)]).wait().unwrap();
    drop(spool);
    assert_eq!(listed(&bench.open()), [(3, true), (4, false)], "it can be deleted like any other");
}

#[test]
fn what_was_never_prepared_cannot_be_confirmed() {
    let bench = Bench::new();
    let spool = bench.open();
    spool.append(vec![record(1, 10), prepared(2, 10)]).wait().unwrap();
    spool.delete(mailbox(), &[id(2)]).wait().unwrap();
    spool.confirm(mailbox(), id(1)).wait().unwrap();
    for n in [2, 3] {
        let error = spool.confirm(mailbox(), id(n)).wait().unwrap_err();
        assert!(matches!(error, SpoolError::NotPrepared { .. }), "{error}");
        spool.keep_unconfirmed(mailbox(), id(n));
    }
    spool.keep_unconfirmed(mailbox(), id(1));
    assert_eq!(listed(&spool), [(1, false)], "what is decided stays decided");
}

/// Goal: who gives up while the disk is busy leaves nothing that is neither shown nor decided.
/// Method: the word that nobody will decide is handed over before the message is stored, before its confirmation and
/// before its deletion, and committed with them.
#[test]
fn who_gives_up_before_it_is_stored_leaves_it_unconfirmed() {
    let bench = Bench::new();
    let clock: Arc<dyn Clock> = bench.clock.clone();
    let spool =
        SegmentSpool::open_stepped(Arc::new(RealDisk), clock, bench.dir.path(), bench.settings.clone())
            .unwrap();
    drop(spool.append(vec![prepared(1, 10), prepared(2, 10), prepared(3, 10)]));
    spool.keep_unconfirmed(mailbox(), id(1));
    spool.step();
    assert_eq!((listed(&spool), undecided(&spool)), (vec![(1, true)], 2));
    drop((spool.confirm(mailbox(), id(2)), spool.delete(mailbox(), &[id(3)])));
    spool.keep_unconfirmed(mailbox(), id(2));
    spool.keep_unconfirmed(mailbox(), id(3));
    spool.step();
    assert_eq!((listed(&spool), undecided(&spool)), (vec![(1, true), (2, false)], 0));
}

/// Goal: a decision that the disk refuses is none, and what it was about is still there.
#[test]
fn a_decision_that_fails_leaves_the_message_undecided() {
    for confirm in [true, false] {
        let bench = Bench::new();
        // Sync 0 is the new segment's header, sync 1 the message, sync 2 the decision.
        let fault = Fault::nth(disk::Step::Sync, 2, io::ErrorKind::Other);
        let spool = bench.open_on(Arc::new(FaultyDisk::new(Arc::new(RealDisk), fault)));
        spool.append(vec![prepared(1, 10)]).wait().unwrap();
        let decide = || match confirm {
            true => spool.confirm(mailbox(), id(1)).wait(),
            false => spool.delete(mailbox(), &[id(1)]).wait(),
        };
        decide().unwrap_err();
        assert_eq!((listed(&spool), undecided(&spool)), (vec![], 1));
        assert_eq!(listed(&bench.open()), [(1, true)], "as the files tell it");
        decide().unwrap();
        assert_eq!(undecided(&spool), 0);
        drop(spool);
        assert_eq!(listed(&bench.open()), if confirm { vec![(1, false)] } else { vec![] });
    }
}

/// Goal: what another server has taken meanwhile is confirmed on a full disk as well, though mail waits that is refused.
#[test]
fn a_nearly_full_disk_confirms_and_drops() {
    let disk = disk::SimulatedDisk::new(disk::simulated::EntryOrder::Journal);
    let bench = Bench::new();
    let clock: Arc<dyn Clock> = bench.clock.clone();
    let settings = Settings { reserve_bytes: 4096, ..bench.settings.clone() };
    let spool =
        SegmentSpool::open_stepped(Arc::new(disk.clone()), clock, Path::new("/spool"), settings).unwrap();
    let stored = spool.append(vec![prepared(1, 30), prepared(2, 30)]);
    spool.step();
    stored.wait().unwrap();
    disk.limit_bytes(Some(disk.used_bytes() + 2048));
    bench.clock.advance(Duration::from_secs(1));
    let refused = spool.append(vec![record(3, 30)]);
    let decided = [spool.confirm(mailbox(), id(1)), spool.delete(mailbox(), &[id(2)])];
    spool.step();
    assert!(matches!(refused.wait(), Err(SpoolError::Full { .. })));
    decided.into_iter().for_each(|receipt| receipt.wait().unwrap());
    assert_eq!((listed(&spool), undecided(&spool)), (vec![(1, false)], 0));
}

/// Goal: moving a message out of a sparse segment keeps what is known of it, and marks outlive what they speak of.
/// Method: messages of every standing among many that are deleted; sweeps, restarts and grace periods until only the
/// newest segments are left.
#[test]
fn what_is_moved_keeps_its_standing() {
    let bench = Bench::new();
    let mut spool = bench.open();
    for n in 0..20 {
        let new = if n % 4 == 0 { prepared(n, 600) } else { record(n, 600) };
        spool.append(vec![new]).wait().unwrap();
    }
    // Marks far behind their messages.
    for n in [0, 8] {
        spool.confirm(mailbox(), id(n)).wait().unwrap();
    }
    spool.keep_unconfirmed(mailbox(), id(4));
    let gone: Vec<MessageId> = (0..19).filter(|n| n % 4 != 0).map(id).collect();
    spool.delete(mailbox(), &gone).wait().unwrap();
    let before = bench.segments();
    for round in 0..6 {
        for _ in 0..3 {
            spool.sweep().unwrap();
            bench.clock.advance(Duration::from_secs(61));
        }
        if round == 1 {
            assert_eq!(
                (listed(&spool), undecided(&spool)),
                (vec![(0, false), (4, true), (8, false), (19, false)], 2)
            );
            // What was moved undecided can still be decided.
            spool.confirm(mailbox(), id(12)).wait().unwrap();
        }
        if round >= 2 {
            drop(spool);
            spool = bench.open();
            let expected = [(0, false), (4, true), (8, false), (12, false), (16, true), (19, false)];
            assert_eq!(listed(&spool), expected, "round {round}");
            assert_eq!(spool.damage(), []);
            spool.append(vec![record(100 + round, 3000)]).wait().unwrap();
            spool.delete(mailbox(), &[id(100 + round)]).wait().unwrap();
        }
    }
    assert!(before[..3].iter().all(|path| !bench.segments().contains(path)), "all have moved");
    let body = spool.open(mailbox(), id(12)).unwrap();
    assert!(!body.is_unconfirmed());
}

/// Goal: a confirmed message stays so when the mark that says it is swept away.
/// Method: the message in the first segment, its mark in the second; the first is compacted and removed, then the second,
/// which is the oldest by then and takes its mark along.
#[test]
fn a_moved_message_needs_its_mark_no_more() {
    let bench = Bench::new();
    let spool = bench.open();
    let fill = |first: u8| {
        for n in first..first + 5 {
            spool.append(vec![record(n, 600)]).wait().unwrap();
        }
        (first..first + 5).map(id).collect::<Vec<_>>()
    };
    let sweep = || {
        for _ in 0..3 {
            spool.sweep().unwrap();
            bench.clock.advance(Duration::from_secs(61));
        }
    };
    spool.append(vec![prepared(1, 600)]).wait().unwrap();
    let first = fill(10);
    spool.confirm(mailbox(), id(1)).wait().unwrap();
    let old = bench.segments();
    assert_eq!(old.len(), 2);
    let second = fill(20);
    // What is deleted is so in a third.
    let third = fill(30);
    spool.delete(mailbox(), &first).wait().unwrap();
    sweep();
    assert!(!bench.segments().contains(&old[0]) && bench.segments().contains(&old[1]));
    spool.delete(mailbox(), &[second, third].concat()).wait().unwrap();
    sweep();
    assert!(old.iter().all(|path| !bench.segments().contains(path)), "{:?}", bench.segments());
    drop(spool);
    assert_eq!(listed(&bench.open()), [(1, false)]);
}

/// Goal: a whole large file that lost its record does not pass for a message that counts.
#[test]
fn an_adopted_file_tells_whether_it_was_prepared() {
    let bench = Bench::new();
    let spool = bench.open();
    // A crash between the file's sync and its record's.
    std::mem::forget((large_record_of(&spool, 1, 3000, true), large_record(&spool, 2, 3000)));
    // Its record is damaged, but not the mark.
    spool.append(vec![large_record_of(&spool, 3, 3000, true)]).wait().unwrap();
    spool.confirm(mailbox(), id(3)).wait().unwrap();
    drop(spool);
    overwrite(&bench.segments()[0], SEGMENT_HEADER_BYTES as u64 + 8, b"garbage");
    let spool = bench.open();
    assert_eq!(listed(&spool), [(1, true), (2, false), (3, false)]);
    assert_eq!(served(&spool), expect(&[(1, 3000), (2, 3000), (3, 3000)]));
}

/// Goal: a confirmation costs no write of its own while others are written; it is neither held for ever nor lost.
/// Method: a delay that is as good as endless, ended by each thing that may end it; then a short one.
#[test]
fn a_confirmation_goes_along_with_what_comes_next() {
    let mut bench = Bench::new();
    bench.settings.confirm_delay = Duration::from_secs(3600);
    let spool = bench.open();
    let confirm = |n: u8| {
        spool.append(vec![prepared(n, 100)]).wait().unwrap();
        spool.confirm(mailbox(), id(n))
    };
    let with_the_next = confirm(1);
    assert_eq!(undecided(&spool), 1);
    spool.append(vec![record(2, 100)]).wait().unwrap();
    with_the_next.wait().unwrap();
    let when_asked = confirm(3);
    assert_eq!(listed(&spool), [(1, false), (2, false), (3, false)]);
    when_asked.wait().unwrap();
    let dropped_in_between = confirm(4);
    spool.keep_unconfirmed(mailbox(), id(4));
    dropped_in_between.wait().unwrap();
    let at_the_end = confirm(5);
    drop(spool);
    at_the_end.wait().unwrap();

    bench.settings.confirm_delay = Duration::from_millis(1);
    let spool = bench.open();
    spool.append(vec![prepared(6, 100)]).wait().unwrap();
    spool.confirm(mailbox(), id(6)).wait().unwrap();
    drop(spool);
    let confirmed: Vec<(u8, bool)> = (1..=6).map(|n| (n, false)).collect();
    assert_eq!(listed(&bench.open()), confirmed);
}
