//! Segments made ready before they are needed.

use super::*;

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
