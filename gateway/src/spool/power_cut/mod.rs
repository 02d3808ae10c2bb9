//! What a power cut leaves of a spool, cut behind every single operation of the disk.
//!
//! `workload` does random things to a spool and writes down, in a `ledger`, what was promised; afterwards the ledger says
//! whether the spool holds it. Only the [`Spool`](super::Spool) trait is used, so nothing here depends on how it writes.
//!
//! `POSTERN_SOAK_ROUNDS=n` runs n different workloads instead of one, `POSTERN_SOAK_SEED=s` others.

mod ledger;
mod workload;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use postern_shared::clock::{Clock, ManualClock};
use postern_shared::disk::SimulatedDisk;
use postern_shared::disk::simulated::EntryOrder;

use super::{SegmentSpool, Settings, Spool, SpoolError};
use ledger::Ledger;
use workload::{Pace, Workload};

const DIR: &str = "/data/spool";
const ORDERS: [EntryOrder; 2] = [EntryOrder::Journal, EntryOrder::Any];

/// The seeds of the workloads.
fn workloads() -> std::ops::Range<u64> {
    let number = |variable, default| {
        std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (first, rounds) = (number("POSTERN_SOAK_SEED", 0_u64), number("POSTERN_SOAK_ROUNDS", 1_u64));
    let first = first.wrapping_mul(rounds);
    first..first.saturating_add(rounds)
}

/// With segments prepared, where that is repeatable.
fn settings(pace: Pace) -> Settings {
    let prepare_after_bytes = match pace {
        Pace::OneByOne => u64::MAX,
        Pace::InGroups => 1024,
    };
    Settings {
        segment_bytes: 8192,
        reserve_bytes: 0,
        grace: Duration::from_secs(60),
        prepare_after_bytes,
        confirm_delay: Duration::ZERO,
    }
}

fn open(disk: &SimulatedDisk, clock: &Arc<ManualClock>, pace: Pace) -> Result<SegmentSpool, SpoolError> {
    let (disk, clock): (_, Arc<dyn Clock>) = (Arc::new(disk.clone()), clock.clone());
    match pace {
        Pace::OneByOne => SegmentSpool::open(disk, clock, Path::new(DIR), settings(pace)),
        Pace::InGroups => SegmentSpool::open_stepped(disk, clock, Path::new(DIR), settings(pace)),
    }
}

/// One workload on one disk.
struct Run {
    clock: Arc<ManualClock>,
    workload: Workload,
    ledger: Ledger,
    pace: Pace,
}

impl Run {
    fn new(seed: u64, pace: Pace) -> Self {
        let clock = Arc::new(ManualClock::default());
        Self { workload: Workload::new(seed, Arc::clone(&clock)), clock, ledger: Ledger::default(), pace }
    }

    /// Works on `disk` until the power goes, or all is done.
    fn work(&mut self, disk: &SimulatedDisk, steps: usize) {
        if let Ok(spool) = open(disk, &self.clock, self.pace) {
            self.workload.run(&spool, self.pace, steps, &mut self.ledger, &|| disk.is_powered());
        }
        assert!(disk.is_powered() || self.ledger.lost_power_is_noted(), "an open spool notices");
    }

    /// Compares what `disk` holds with what was promised; what was in doubt is known from now on.
    fn check(&mut self, disk: &SimulatedDisk, context: &str) {
        let spool = open(disk, &self.clock, self.pace).unwrap_or_else(|error| panic!("{context}: {error}"));
        self.ledger.check(&spool, context);
    }
}

/// How many operations a whole workload takes.
fn operations_of(seed: u64, pace: Pace, order: EntryOrder, steps: usize) -> u64 {
    let disk = SimulatedDisk::new(order);
    Run::new(seed, pace).work(&disk, steps);
    disk.operations()
}

fn cut_everywhere(pace: Pace, steps: usize, seeds: u64) {
    for (workload, order) in workloads().flat_map(|seed| ORDERS.map(|order| (seed, order))) {
        for cut in 0..=operations_of(workload, pace, order, steps) {
            for seed in 0..seeds {
                let context =
                    format!("workload {workload}, {order:?}, {pace:?}, cut after {cut}, seed {seed}");
                cut_once(workload, pace, order, (steps, cut, seed * 1_000_003 + cut), &context);
            }
        }
    }
}

fn cut_once(
    workload: u64,
    pace: Pace,
    order: EntryOrder,
    (steps, cut, seed): (usize, u64, u64),
    context: &str,
) {
    let mut run = Run::new(workload, pace);
    let disk = SimulatedDisk::new(order).with_power_until(cut);
    run.work(&disk, steps);

    // The power goes again while the spool finds out what it holds; sometimes it has done so by then.
    let disk = disk.crash(seed);
    disk.cut_power_after(seed % 7);
    drop(open(&disk, &run.clock, pace));
    let disk = disk.crash(seed + 1);
    run.check(&disk, context);

    // Life goes on, through a restart of the program and another cut.
    run.work(&disk, 4);
    let disk = disk.restart();
    run.check(&disk, &format!("{context}, restarted"));
    run.work(&disk, 2);
    run.check(&disk.crash(seed + 2), &format!("{context}, cut again"));
}

/// Goal: whatever the disk has lost or torn when the power goes, everything acknowledged is there once and byte for byte,
/// what was deleted or refused is not, and nothing is half; also when the power goes again during recovery. What was
/// prepared and confirmed counts, what was dropped is gone, and what was undecided is there and says so.
/// Method: a workload of single jobs, cut behind each operation of the disk in turn.
#[test]
fn every_promise_holds_wherever_the_power_goes() {
    cut_everywhere(Pace::OneByOne, 24, 1);
}

/// Goal: the same for jobs that are committed together.
#[test]
fn every_promise_of_a_group_holds_wherever_the_power_goes() {
    cut_everywhere(Pace::InGroups, 12, 2);
}

/// Goal: after an error the sender's message does not appear, also when the power goes later.
/// Method: each operation of a workload fails once in turn; then it goes on, and the power goes somewhere.
#[test]
fn what_was_refused_does_not_appear_after_a_power_cut() {
    for (workload, order) in workloads().flat_map(|seed| ORDERS.map(|order| (seed, order))) {
        for pace in [Pace::OneByOne, Pace::InGroups] {
            let all = operations_of(workload, pace, order, 16);
            for fault in 0..all {
                let context = format!("workload {workload}, {order:?}, {pace:?}, fault at {fault}");
                let mut run = Run::new(workload, pace);
                let disk = SimulatedDisk::new(order);
                disk.fail_after(fault, std::io::ErrorKind::Other);
                run.work(&disk, 16);
                run.check(&disk.crash(fault), &format!("{context}, cut"));

                let mut run = Run::new(workload, pace);
                let disk = SimulatedDisk::new(order);
                disk.fail_after(fault, std::io::ErrorKind::Other);
                disk.cut_power_after(fault + 1 + (fault * 7) % 23);
                run.work(&disk, 16);
                run.check(&disk.crash(fault), &format!("{context}, cut soon"));
            }
        }
    }
}

/// Goal: what a restart of the program finds in the cache of the system and shows is not lost at a power cut later.
/// Method: the program dies behind each operation in turn, a new one works a little, then the power goes.
#[test]
fn what_a_restart_shows_stays() {
    for (workload, order) in workloads().flat_map(|seed| ORDERS.map(|order| (seed, order))) {
        for killed in 0..=operations_of(workload, Pace::OneByOne, order, 20) {
            let context = format!("workload {workload}, {order:?}, killed after {killed}");
            let mut run = Run::new(workload, Pace::OneByOne);
            let disk = SimulatedDisk::new(order).with_power_until(killed);
            run.work(&disk, 20);
            let disk = disk.restart();
            run.check(&disk, &context);
            run.work(&disk, 3);
            run.check(&disk.crash(killed), &format!("{context}, cut"));
        }
    }
}

/// Goal: a deleted message in a file of its own does not come back when its tombstone is swept away.
/// Method: each operation of the sweeps fails once in turn, then the power goes.
#[test]
fn a_tombstone_outlives_the_file_it_speaks_of() {
    for fault in 0.. {
        let disk = SimulatedDisk::new(EntryOrder::Any);
        let mut run = Run::new(7, Pace::InGroups);
        let spool = open(&disk, &run.clock, run.pace).unwrap();
        let powered = || disk.is_powered();
        run.workload.run(&spool, run.pace, 10, &mut run.ledger, &powered);
        // Twice, so that the first tombstones are not in the segment that is written to, which stays.
        run.workload.delete_everything(&spool, &mut run.ledger, &powered);
        run.workload.run(&spool, run.pace, 10, &mut run.ledger, &powered);
        run.workload.delete_everything(&spool, &mut run.ledger, &powered);
        disk.fail_after(fault, std::io::ErrorKind::Other);
        for _ in 0..6 {
            // One of them fails; the others do its work.
            let _ = spool.sweep();
            run.clock.advance(Duration::from_secs(61));
        }
        for seed in 0..4 {
            run.check(&disk.crash(seed), &format!("fault at {fault}, seed {seed}"));
        }
        if disk.fault_is_pending() {
            assert!(fault > 10, "there was something to sweep");
            break;
        }
    }
}
