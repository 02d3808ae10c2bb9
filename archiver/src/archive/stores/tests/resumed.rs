use postern_shared::disk::{Disk, RealDisk, SimulatedDisk};

use super::bench::{Bench, all, commit, content, message, opened, rebuild, verify};
use super::damage::files;
use super::maintenance::patience;
use crate::archive::store::Damages;
use crate::archive::stores::Stores;

/// 1,600 messages in many packs: a rebuild is told how far it is three times.
pub(super) fn many() -> (Bench, SimulatedDisk, Stores) {
    let (bench, disk, stores) = opened();
    for batch in 0..16 {
        let batch = (0..100).map(|n| message(content(batch * 100 + n, None), "anna"));
        commit(&stores, batch.collect()).unwrap();
    }
    (bench, disk, stores)
}

/// Begins a rebuild and ends it.
fn begin(stores: &Stores) {
    let current = stores.current().unwrap();
    let mut watch = patience(1);
    assert!(!current.store.rebuild(stores.ids(), &mut watch, &mut Damages::default()).unwrap());
}

const LOST: &str = "in the log and in no pack";

/// Goal: a rebuild that was interrupted looks at packs that were put back since, and forgets those that are gone.
#[test]
fn a_rebuild_goes_on_with_the_packs_that_it_has_seen() {
    let (bench, disk, stores) = many();
    let whole = all(&stores).unwrap();
    drop(stores);
    let gone = files(&disk, "packs").remove(2);
    let copy = disk.read(&gone, 1 << 20).unwrap();
    disk.remove(&gone).unwrap();
    let stores = bench.open(&disk).unwrap();
    begin(&stores);
    drop(stores);
    disk.create(&gone).unwrap().write_all_at(&[&copy], 0).unwrap();
    let stores = bench.open(&disk).unwrap();
    assert_eq!(rebuild(&stores), [""; 0]);
    assert_eq!(all(&stores).unwrap(), whole);
    begin(&stores);
    drop(stores);
    disk.remove(&gone).unwrap();
    let stores = bench.open(&disk).unwrap();
    let told = rebuild(&stores);
    assert!(told.iter().any(|what| what.contains(LOST)), "{told:?}");
    assert!(verify(&stores).iter().all(|(named, _)| named.is_none()));
    drop(stores);
    // So with keys.
    disk.create(&gone).unwrap().write_all_at(&[&copy], 0).unwrap();
    let keys = files(&disk, "keys").remove(0);
    let table = disk.read(&keys, 1 << 20).unwrap();
    disk.open(&keys).unwrap().write_all_at(&[&[0xff; 6400]], 96).unwrap();
    let stores = bench.open(&disk).unwrap();
    begin(&stores);
    disk.open(&keys).unwrap().write_all_at(&[&table], 0).unwrap();
    assert_eq!(rebuild(&stores), [""; 0]);
    assert_eq!(all(&stores).unwrap(), whole);
}

/// Goal: a rebuild that the store's opening began and did not end tells what is lost when it is gone on with, and all that was met.
#[test]
fn what_was_met_before_an_interruption_is_told() {
    let (bench, disk, stores) = many();
    drop(stores);
    let packs = files(&disk, "packs");
    disk.remove(&packs[1]).unwrap();
    disk.open(&packs[0]).unwrap().write_all_at(&[b"rotten"], 200).unwrap();
    let stores = bench.open(&disk).unwrap();
    begin(&stores);
    drop(stores);
    // As the automatic one leaves it: in the catalog's own place.
    let catalog = bench.catalog("0001");
    RealDisk.rename(&catalog.with_file_name("catalog.rebuilt.sqlite"), &catalog).unwrap();
    for suffix in ["-wal", "-shm"] {
        let of = |path: &std::path::Path| std::path::PathBuf::from(format!("{}{suffix}", path.display()));
        let from = of(&catalog.with_file_name("catalog.rebuilt.sqlite"));
        for left in [from, of(&catalog)] {
            assert!(!RealDisk.exists(&left).unwrap(), "{}", left.display());
        }
    }
    let stores = bench.open(&disk).unwrap();
    let told = stores.current().unwrap().store.damage().lines();
    assert!(told.iter().any(|what| what.contains(LOST)), "{told:?}");
    assert!(told.iter().any(|what| what.contains(&*packs[0].to_string_lossy())), "{told:?}");
}
