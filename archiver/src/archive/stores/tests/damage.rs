use std::path::PathBuf;

use postern_shared::disk::simulated::EntryOrder;
use postern_shared::disk::{Disk, SimulatedDisk};

use super::bench::{Bench, all, commit, content, flip, id, instance, message, read, verify};

fn files(disk: &SimulatedDisk, below: &str) -> Vec<PathBuf> {
    disk.files(&instance().join("stores/0001").join(below)).unwrap()
}

/// Goal: wherever a bit flips in packs, keys or leaves, no message is read other than it was; each that cannot be read is named by
/// verify, and the others are read.
#[test]
fn every_flipped_bit_is_found_and_named() {
    let bench = Bench::new();
    let disk = SimulatedDisk::new(EntryOrder::Journal);
    bench.create(&disk);
    let stores = bench.open(&disk).unwrap();
    let contents = [content(1, Some(1)), content(2, Some(1)), content(3, None)];
    let outcomes =
        commit(&stores, contents.iter().map(|content| message(content.clone(), "anna")).collect()).unwrap();
    let ids: Vec<_> = outcomes.into_iter().map(id).collect();
    assert_eq!(verify(&stores), []);
    drop(stores);
    for (below, step) in [("packs", 97), ("keys", 29), ("log", 11)] {
        let path = files(&disk, below).remove(0);
        let len = disk.open_read(&path).unwrap().len().unwrap();
        // Slot 0 of a key table is not used.
        let from = if below == "keys" { 32 + 64 } else { 0 };
        for at in (from..len).step_by(step) {
            let bent = disk.restart();
            flip(&bent, &path, at);
            let stores = bench.open(&bent).unwrap();
            let found = verify(&stores);
            assert!(!found.is_empty(), "{} at byte {at}", path.display());
            for (id, content) in ids.iter().zip(&contents) {
                match read(&stores, *id) {
                    Ok(read) => assert_eq!(read, *content, "{} at byte {at}", path.display()),
                    Err(_) => {
                        assert!(found.iter().any(|(named, _)| *named == Some(*id)), "{id}: {found:?}");
                    }
                }
            }
        }
    }
}

/// Goal: a part that is damaged is stored anew by the next message that brings it, and messages that come again are healed.
#[test]
fn what_arrives_again_does_not_rely_on_what_is_damaged() {
    let bench = Bench::new();
    let disk = SimulatedDisk::new(EntryOrder::Journal);
    bench.create(&disk);
    let stores = bench.open(&disk).unwrap();
    let first = id(commit(&stores, vec![message(content(1, Some(1)), "anna")]).unwrap().remove(0));
    drop(stores);
    // In the part, which lies before the record.
    flip(&disk, &files(&disk, "packs")[0], 32 + 48 + 3000);
    let stores = bench.open(&disk).unwrap();
    assert!(read(&stores, first).is_err());
    let second = id(commit(&stores, vec![message(content(2, Some(1)), "anna")]).unwrap().remove(0));
    assert_eq!(read(&stores, second).unwrap(), content(2, Some(1)));
    let again = id(commit(&stores, vec![message(content(1, Some(1)), "anna")]).unwrap().remove(0));
    assert_ne!(again, first, "it is archived anew");
    assert_eq!(read(&stores, again).unwrap(), content(1, Some(1)));
    assert_eq!(id(commit(&stores, vec![message(content(1, Some(1)), "bob")]).unwrap().remove(0)), again);
}

/// Goal: a catalog that is altered, of another day, or gone is no loss.
#[test]
fn catalogs_of_any_kind_are_no_loss() {
    let bench = Bench::new();
    let disk = SimulatedDisk::new(EntryOrder::Journal);
    bench.create(&disk);
    let real = postern_shared::disk::RealDisk;
    let stores = bench.open(&disk).unwrap();
    let archive = |n: usize| commit(&stores, vec![message(content(n, Some(n)), "anna")]).unwrap();
    archive(1);
    let attached = stores.current().unwrap();
    attached.store.catalog().settle().unwrap();
    let old = real.read(&bench.catalog("0001"), 1 << 30).unwrap();
    archive(2);
    archive(3);
    let whole = all(&stores).unwrap();
    drop((attached, stores));
    let replace = |bytes: &[u8]| {
        bench.forget_catalogs();
        real.create_dir_all(bench.catalog("0001").parent().unwrap()).unwrap();
        real.create(&bench.catalog("0001")).unwrap().write_all_at(&[bytes], 0).unwrap();
    };
    let middle = old.len() / 2;
    let altered = [&old[..middle], &[0x55; 4096], &old[middle..]].concat();
    for bytes in [&old[..], &altered, &[0x55; 9000], &old[..2000], b""] {
        replace(bytes);
        let found = bench.open(&disk);
        // Damage inside SQLite's pages may show when they are read only.
        let stores = found.unwrap();
        let read = all(&stores);
        if read.as_ref().ok() != Some(&whole) {
            let attached = stores.current().unwrap();
            let ids = stores.ids();
            assert!(attached.store.rebuild(ids, &mut |_, _, _| false, &mut Vec::new()).unwrap());
            assert_eq!(all(&stores).unwrap(), whole);
        }
    }
}

#[test]
fn a_missing_pack_is_told_and_its_number_not_given_again() {
    let bench = Bench::new();
    let disk = SimulatedDisk::new(EntryOrder::Journal);
    bench.create(&disk);
    let stores = bench.open(&disk).unwrap();
    for n in 0..5 {
        commit(&stores, vec![message(content(n, Some(n)), "anna")]).unwrap();
    }
    drop(stores);
    let packs = files(&disk, "packs");
    assert!(packs.len() > 1);
    let gone = packs.last().unwrap();
    disk.remove(gone).unwrap();
    let stores = bench.open(&disk).unwrap();
    let current = stores.current().unwrap();
    assert!(current.store.damage()[0].what.contains("missing"));
    assert!(!verify(&stores).is_empty());
    commit(&stores, vec![message(content(9, Some(9)), "anna")]).unwrap();
    assert!(!disk.exists(gone).unwrap());
}
