use postern_shared::disk::simulated::EntryOrder;
use postern_shared::disk::{Disk, SimulatedDisk};

use super::bench::{Bench, all, commit, content, instance, message};
use crate::archive::stores::backup::restore;
use crate::archive::stores::{Stores, Verification};

fn filled(bench: &Bench, disk: &SimulatedDisk) -> Stores {
    bench.create(disk);
    let stores = bench.open(disk).unwrap();
    for n in 0..8 {
        let batch = [("anna", n), ("bob", n), ("anna", n + 100)];
        let batch = batch.map(|(to, n)| message(content(n, Some(n % 100)), to));
        commit(&stores, batch.to_vec()).unwrap();
    }
    stores
}

/// Ends a work after so many steps.
fn patience(steps: u64) -> impl FnMut(&str, u64, Option<u64>) -> bool {
    let mut left = steps;
    move |_, _, _| {
        left = left.saturating_sub(1);
        left == 0
    }
}

/// Goal: a verification that is ended goes on where it was, and one that is not ended looks at everything.
#[test]
fn verify_goes_on_where_it_was_ended() {
    let bench = Bench::new();
    let disk = SimulatedDisk::new(EntryOrder::Journal);
    let stores = filled(&bench, &disk);
    let store = &stores.current().unwrap().store;
    let mut state = Verification::default();
    let mut saved = Verification::default();
    let mut rounds = 0;
    let mut steps = 0;
    loop {
        let mut watch = patience(3);
        let mut counted = |what: &str, done: u64, total: Option<u64>| {
            steps += 1;
            watch(what, done, total)
        };
        let mut save = |state: &Verification| {
            saved = state.clone();
            Ok(())
        };
        if store.verify(&mut state, &mut counted, &mut save).unwrap() {
            break;
        }
        // Another process would begin from what was saved.
        state = saved.clone();
        rounds += 1;
    }
    assert!(rounds > 3);
    assert_eq!((state.messages, state.findings.len()), (16, 0));
    // 16 messages with 8 parts and 8 additions: nothing is looked at twice.
    assert!(steps <= 16 + 16 + 8 + 8 + rounds, "{steps}");
}

#[test]
fn rebuild_gives_the_same_catalog_and_goes_on_where_it_was_ended() {
    let bench = Bench::new();
    let disk = SimulatedDisk::new(EntryOrder::Journal);
    let stores = filled(&bench, &disk);
    let current = stores.current().unwrap();
    let listed = |stores: &Stores| {
        let catalog = stores.current().unwrap().store.catalog();
        let mut all = Vec::new();
        for folder in catalog.folders(None).unwrap() {
            let place =
                crate::archive::Placement { archive: folder.archive.clone(), folder: folder.path.clone() };
            all.push((folder, catalog.in_folder(&place, 0, 1000).unwrap()));
        }
        (all, catalog.counts().unwrap())
    };
    let (before, epoch) = (listed(&stores), current.store.catalog().epoch().unwrap());
    let whole = all(&stores).unwrap();
    assert!(
        !current.store.rebuild(stores.ids(), &mut |_, _, _| true, &mut Vec::new()).unwrap()
            || whole.len() < 500
    );
    let mut damage = Vec::new();
    assert!(current.store.rebuild(stores.ids(), &mut |_, _, _| false, &mut damage).unwrap());
    assert_eq!(damage, []);
    assert_eq!(listed(&stores), before, "UIDs, flags and dates too");
    assert_ne!(current.store.catalog().epoch().unwrap(), epoch);
    assert_eq!(all(&stores).unwrap(), whole);
    commit(&stores, vec![message(content(500, Some(1)), "anna")]).unwrap();
    assert_eq!(all(&stores).unwrap().len(), whole.len() + 1);
}

/// Goal: compaction frees what nobody needs, and a power cut amid it costs nothing.
/// Method: parts whose messages are gone are what a commit leaves whose record was cut off; here they are made by forgetting their
/// users. The power goes behind every operation.
#[test]
fn compaction_frees_what_is_not_needed_and_survives_power_cuts() {
    for cut in 0.. {
        let bench = Bench::new();
        let disk = SimulatedDisk::new(EntryOrder::Any);
        let stores = filled(&bench, &disk);
        let whole = all(&stores).unwrap();
        let current = stores.current().unwrap();
        drop((current, stores));
        // The first pack has octets that are no object: half of it is altered, and rebuilt catalogs pass it over.
        bench.forget_catalogs();
        let stores = bench.open(&disk).unwrap();
        let current = stores.current().unwrap();
        disk.cut_power_after(cut);
        let compacted = current.store.compact(0, &mut |_, _, _| false);
        let is_over = compacted.is_ok();
        drop((current, stores));
        let found = disk.crash(cut);
        if cut % 2 == 0 {
            bench.forget_catalogs();
        }
        let stores = bench.open(&found).unwrap();
        assert_eq!(all(&stores).unwrap(), whole, "cut after {cut}");
        let state = &mut Verification::default();
        let current = stores.current().unwrap();
        current.store.verify(state, &mut |_, _, _| false, &mut |_| Ok(())).unwrap();
        assert_eq!(state.findings, [], "cut after {cut}");
        if is_over {
            break;
        }
    }
}

/// Goal: a backup taken while messages come in, ended and gone on with, restores to everything that was acknowledged before it began.
#[test]
fn a_backup_restores() {
    let bench = Bench::new();
    let disk = SimulatedDisk::new(EntryOrder::Journal);
    let stores = filled(&bench, &disk);
    stores.create_next().unwrap();
    commit(&stores, vec![message(content(300, Some(1)), "anna")]).unwrap();
    let whole = all(&stores).unwrap();
    for name in ["instance.json", "keys.json"] {
        postern_shared::disk::write_atomic(&disk, &instance().join(name), b"{}").unwrap();
    }
    let to = std::path::Path::new("/backup");
    assert!(stores.backup(&disk, "main", to, &mut patience(3)).unwrap().is_none());
    assert!(!disk.exists(&to.join("backup.json")).unwrap());
    let mut n = 400;
    let mut busy = |_: &str, _: u64, _: Option<u64>| {
        n += 1;
        commit(&stores, vec![message(content(n, Some(n)), "anna")]).unwrap();
        false
    };
    let backup = stores.backup(&disk, "main", to, &mut busy).unwrap().unwrap();
    assert!(backup.files.keys().all(|name| !name.contains("master.key") && !name.contains("catalog")));
    // A second one copies only what is new.
    let operations = disk.operations();
    stores.backup(&disk, "main", to, &mut |_, _, _| false).unwrap().unwrap();
    let second = disk.operations() - operations;

    let back = std::path::Path::new("/data/back");
    assert!(!restore(&disk, to, back, &mut patience(2)).unwrap());
    assert!(!disk.exists(&back.join("instance.json")).unwrap());
    assert!(restore(&disk, to, back, &mut |_, _, _| false).unwrap());
    let other = Bench::new();
    let restored = other.open_at(&disk, back).unwrap();
    let found = all(&restored).unwrap();
    assert!(whole.iter().all(|content| found.contains(content)));
    let state = &mut Verification::default();
    let current = restored.current().unwrap();
    current.store.verify(state, &mut |_, _, _| false, &mut |_| Ok(())).unwrap();
    assert_eq!(state.findings, []);
    assert!(second > 0);

    // Altered on its medium: refused, and named.
    let pack = disk.files(&to.join("stores/0001/packs")).unwrap().remove(0);
    disk.open(&pack).unwrap().write_all_at(&[b"x"], 100).unwrap();
    let third = std::path::Path::new("/data/third");
    let error = restore(&disk, to, third, &mut |_, _, _| false).unwrap_err().to_string();
    assert!(error.contains(pack.to_str().unwrap()), "{error}");
}
