use postern_shared::disk::SimulatedDisk;
use postern_shared::disk::simulated::EntryOrder;

use super::bench::{Bench, all, commit, content, message, rebuild};
use super::resumed::many;
use crate::archive::store::Damages;
use crate::archive::stores::{Stores, Verification};

pub(super) fn filled(bench: &Bench, disk: &SimulatedDisk) -> Stores {
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
pub(super) fn patience(steps: u64) -> impl FnMut(&str, u64, Option<u64>) -> bool {
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

/// What lists show of a store.
pub(super) fn listed(stores: &Stores) -> impl PartialEq + std::fmt::Debug + use<> {
    let catalog = stores.current().unwrap().store.catalog();
    let mut all = Vec::new();
    for folder in catalog.folders(None).unwrap() {
        let place =
            crate::archive::Placement { archive: folder.archive.clone(), folder: folder.path.clone() };
        all.push((folder, catalog.in_folder(&place, 0, 1000).unwrap()));
    }
    (all, catalog.counts().unwrap())
}

#[test]
fn rebuild_gives_the_same_catalog() {
    let bench = Bench::new();
    let disk = SimulatedDisk::new(EntryOrder::Journal);
    let stores = filled(&bench, &disk);
    let current = stores.current().unwrap();
    let (before, epoch) = (listed(&stores), current.store.catalog().epoch().unwrap());
    let whole = all(&stores).unwrap();
    assert_eq!(rebuild(&stores), [""; 0]);
    assert_eq!(listed(&stores), before, "UIDs, flags and dates too");
    assert_ne!(current.store.catalog().epoch().unwrap(), epoch);
    assert_eq!(all(&stores).unwrap(), whole);
    commit(&stores, vec![message(content(500, Some(1)), "anna")]).unwrap();
    assert_eq!(all(&stores).unwrap().len(), whole.len() + 1);
}

/// Goal: a rebuild that is ended goes on where it was; the old catalog serves until then.
#[test]
fn rebuild_goes_on_where_it_was_ended() {
    let (_bench, _disk, stores) = many();
    let before = listed(&stores);
    let current = stores.current().unwrap();
    let epoch = current.store.catalog().epoch().unwrap();
    let rebuild = |steps: u64| {
        let mut told = 0;
        let mut watch = patience(steps);
        let mut counted = |what: &str, done: u64, total: Option<u64>| {
            told += 1;
            watch(what, done, total)
        };
        let damage = &mut Damages::default();
        let is_whole = current.store.rebuild(stores.ids(), &mut counted, damage).unwrap();
        assert!(damage.is_empty());
        (is_whole, told)
    };
    // 1,600 objects are entered in stretches of 500.
    assert_eq!(rebuild(1), (false, 1));
    assert_eq!(rebuild(1), (false, 1));
    assert_eq!(current.store.catalog().epoch().unwrap(), epoch, "the old one serves");
    assert_eq!(rebuild(100), (true, 1), "the third stretch only");
    assert_ne!(current.store.catalog().epoch().unwrap(), epoch);
    assert_eq!(listed(&stores), before);
    assert_eq!(rebuild(100), (true, 3), "from the beginning");
}
