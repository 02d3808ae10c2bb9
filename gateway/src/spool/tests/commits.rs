//! Who commits when something breaks.

use super::*;

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
        let held = spool.pulse();
        assert_eq!(held, Pulse { commits_begun: 1, waits: true, is_open: true });
        assert_eq!(spool.pulse(), held, "it stands as long as the clock does");
        let second = spool.append(vec![record(2, 30)]);
        clock.go_on.wait();
        first.join().unwrap().unwrap();
        second.wait().unwrap_err();
    });
    spool.append(vec![record(3, 30)]).wait().unwrap();
    assert_eq!(served(&spool), expect(&[(1, 30), (3, 30)]));
    assert_eq!(spool.pulse().commits_begun, 3);
}
