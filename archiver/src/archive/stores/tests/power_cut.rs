use postern_shared::disk::SimulatedDisk;
use postern_shared::disk::simulated::EntryOrder;

use super::bench::{Bench, all, commit, content, is_io, message};
use crate::archive::stores::{RollOver, Stores};

/// Batches as they come: messages that share attachments, one that comes again for somebody else, and enough to fill a pack
/// and a store.
fn batches() -> Vec<Vec<(usize, Option<usize>, &'static str)>> {
    vec![
        vec![(1, Some(1), "anna"), (2, None, "anna")],
        vec![(1, Some(1), "bob"), (3, Some(1), "bob"), (4, Some(2), "bob")],
        vec![(5, Some(3), "anna"), (6, Some(4), "anna"), (2, None, "bob")],
        vec![(7, Some(5), "anna"), (8, None, "anna")],
    ]
}

/// Commits until something fails; how many messages were acknowledged, by octets.
fn work(stores: &Stores) -> (Vec<Vec<u8>>, bool) {
    let mut acknowledged: Vec<Vec<u8>> = Vec::new();
    for batch in batches() {
        let messages: Vec<_> =
            batch.iter().map(|(n, attached, to)| message(content(*n, *attached), to)).collect();
        if let Err(error) = commit(stores, messages) {
            assert!(is_io(&error), "{error}");
            return (acknowledged, false);
        }
        acknowledged.extend(batch.iter().map(|(n, attached, _)| content(*n, *attached)));
        acknowledged.sort();
        acknowledged.dedup();
    }
    (acknowledged, true)
}

fn everything() -> Vec<Vec<u8>> {
    let mut everything: Vec<_> =
        batches().into_iter().flatten().map(|(n, attached, _)| content(n, attached)).collect();
    everything.sort();
    everything.dedup();
    everything
}

/// What is found of the catalogs when the power is back.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Catalogs {
    /// All that was entered.
    Whole,
    None,
}

/// Goal: whenever the power goes, what was acknowledged is there byte for byte, nothing is there twice or in half, and everything can be
/// archived again.
/// Method: cut behind every operation, in both orders of entries; catalogs are whole or gone.
#[test]
fn a_power_cut_takes_nothing_that_was_acknowledged() {
    let roll_over = RollOver { messages: 5, bytes: 1 << 40 };
    for (order, catalogs) in [(EntryOrder::Journal, Catalogs::Whole), (EntryOrder::Any, Catalogs::None)] {
        for cut in 0.. {
            let bench = Bench::new();
            let disk = SimulatedDisk::new(order);
            bench.create(&disk);
            let stores = bench.open(&disk).unwrap();
            stores.set_roll_over(roll_over).unwrap();
            disk.cut_power_after(cut);
            let (acknowledged, whole) = work(&stores);
            drop(stores);
            if catalogs == Catalogs::None {
                bench.forget_catalogs();
            }
            let at = format!("{order:?}, {catalogs:?}, cut after {cut}");
            // Catalogs that are opened grow, so each crash has one seed.
            let found = disk.crash(cut);
            let stores = bench.open(&found).unwrap_or_else(|error| panic!("{at}: {error}"));
            let left = all(&stores).unwrap_or_else(|error| panic!("{at}: {error}"));
            for content in &acknowledged {
                assert_eq!(left.iter().filter(|found| *found == content).count(), 1, "{at}");
            }
            let (again, done) = work(&stores);
            assert!(done, "{at}");
            assert_eq!(again, everything(), "{at}");
            assert_eq!(all(&stores).unwrap(), everything(), "{at}");
            let leaves: u64 = stores.open_stores().iter().map(|open| open.store.leaves()).sum();
            // What was torn may have left one of its own.
            assert!(leaves >= everything().len() as u64, "{at}: a leaf for each");
            if whole {
                break;
            }
        }
    }
}

/// Goal: a disk that fails at any operation, once, costs the batch at most; archiving goes on.
#[test]
fn any_operation_may_fail() {
    for fault in 0.. {
        let bench = Bench::new();
        let disk = SimulatedDisk::new(EntryOrder::Journal);
        bench.create(&disk);
        let stores = bench.open(&disk).unwrap();
        disk.fail_after(fault, std::io::ErrorKind::Other);
        let (acknowledged, _) = work(&stores);
        let left = all(&stores).unwrap();
        assert!(acknowledged.iter().all(|content| left.contains(content)), "fault {fault}");
        let was_hit = !disk.fault_is_pending();
        let (again, done) = work(&stores);
        // A failed cut may have closed the packs until they are opened anew.
        let stores = if done {
            assert_eq!(again, everything(), "fault {fault}");
            stores
        } else {
            drop(stores);
            bench.open(&disk).unwrap()
        };
        assert!(work(&stores).1, "fault {fault}");
        assert_eq!(all(&stores).unwrap(), everything(), "fault {fault}");
        drop(stores);
        bench.forget_catalogs();
        let stores = bench.open(&disk.crash(fault)).unwrap();
        assert_eq!(all(&stores).unwrap(), everything(), "fault {fault}, rebuilt");
        if !was_hit {
            break;
        }
    }
}

/// Goal: on a full disk nothing is acknowledged that is not there, and archiving goes on when there is room.
#[test]
fn a_full_disk_is_told_and_survived() {
    for room in (0..60_000).step_by(1500) {
        let bench = Bench::new();
        let disk = SimulatedDisk::new(EntryOrder::Journal);
        bench.create(&disk);
        let stores = bench.open(&disk).unwrap();
        disk.limit_bytes(Some(disk.used_bytes() + room));
        let (acknowledged, whole) = work(&stores);
        let left = all(&stores).unwrap();
        assert!(acknowledged.iter().all(|content| left.contains(content)), "room {room}");
        disk.limit_bytes(None);
        assert!(work(&stores).1, "room {room}");
        assert_eq!(all(&stores).unwrap(), everything(), "room {room}");
        if whole {
            return;
        }
    }
    panic!("there was never room enough");
}
