use postern_shared::disk::Disk;

use super::bench::{all, commit, content, id, instance, message, opened, read};
use crate::archive::ArchiveError;
use crate::archive::message::Outcome;
use crate::archive::stores::{RollOver, State, Stores};

fn states(stores: &Stores) -> Vec<(String, State)> {
    stores.shown().unwrap().into_iter().map(|shown| (shown.id, shown.state)).collect()
}

fn one(stores: &Stores, n: usize, to: &str) -> Outcome {
    commit(stores, vec![message(content(n, None), to)]).unwrap()[0]
}

#[test]
fn a_full_store_gives_way_to_another_one() {
    let (bench, disk, stores) = opened();
    stores.set_roll_over(RollOver { messages: 2, bytes: 1 << 40 }).unwrap();
    let ids: Vec<_> = (0..5).map(|n| id(one(&stores, n, "anna"))).collect();
    let expected =
        [("0001".to_owned(), State::Normal), ("0002".into(), State::Normal), ("0003".into(), State::Current)];
    assert_eq!(states(&stores), expected);
    drop(stores);
    let stores = bench.open(&disk).unwrap();
    assert_eq!(states(&stores), expected);
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(read(&stores, *id).unwrap(), content(n, None));
    }
    // UIDs go on growing over all of them.
    let uid = |stores: &Stores| {
        let place = crate::archive::Placement { archive: "anna".into(), folder: "Inbox".into() };
        let mut uids = Vec::new();
        for attached in stores.open_stores() {
            uids.extend(
                attached.store.catalog().in_folder(&place, 0, 10).unwrap().into_iter().map(|m| m.uid),
            );
        }
        uids.sort_unstable();
        uids
    };
    assert_eq!(uid(&stores), [1, 2, 3, 4, 5]);
    // By size too.
    stores.set_roll_over(RollOver { messages: 100, bytes: 1 }).unwrap();
    one(&stores, 9, "anna");
    assert_eq!(states(&stores).len(), 4);
}

/// Goal: what arrives again folds into the store that has it as long as that takes anything, and is never lost.
#[test]
fn what_arrives_again_folds_by_the_state_of_its_store() {
    let (_bench, _disk, stores) = opened();
    let first = id(one(&stores, 1, "anna"));
    stores.create_next().unwrap();
    let is_first = |outcome| matches!(outcome, Outcome::Duplicate(kept) if kept.id == first);
    assert!(is_first(one(&stores, 1, "bob")));
    stores.set_state("0001", State::WriteProtected).unwrap();
    assert!(is_first(one(&stores, 1, "bob")), "nothing is new");
    let Outcome::Archived(second) = one(&stores, 1, "carol") else { panic!("the store takes nothing") };
    assert_eq!(read(&stores, second.id).unwrap(), content(1, None));
    stores.set_state("0001", State::Disabled).unwrap();
    assert!(matches!(read(&stores, first), Err(ArchiveError::NoMessage(_))));
    assert!(matches!(stores.get("0001"), Err(ArchiveError::StoreClosed { .. })));
    stores.set_state("0001", State::Normal).unwrap();
    assert_eq!(read(&stores, first).unwrap(), content(1, None));
    assert!(matches!(stores.set_state("0002", State::Disabled), Err(ArchiveError::CurrentStore(_))));
    stores.set_state("0001", State::Current).unwrap();
    assert_eq!(states(&stores), [("0001".into(), State::Current), ("0002".into(), State::Normal)]);
}

#[test]
fn a_store_is_detached_and_attached_again() {
    let (bench, disk, stores) = opened();
    let first = id(one(&stores, 1, "anna"));
    assert!(matches!(stores.detach("0001"), Err(ArchiveError::CurrentStore(_))));
    stores.create_next().unwrap();
    one(&stores, 2, "anna");
    let dir = stores.detach("0001").unwrap();
    assert_eq!(dir, instance().join("stores/0001"));
    assert!(read(&stores, first).is_err());
    assert_eq!(all(&stores).unwrap(), [content(2, None)]);
    assert!(matches!(stores.detach("0009"), Err(ArchiveError::NoStore(_))));
    assert_eq!(stores.attach(&dir).unwrap(), "0001");
    assert!(matches!(stores.attach(&dir), Err(ArchiveError::StoreExists(_))));
    assert_eq!(states(&stores), [("0001".into(), State::WriteProtected), ("0002".into(), State::Current)]);
    assert_eq!(read(&stores, first).unwrap(), content(1, None));
    drop(stores);
    // A lost list of stores is made again from what lies there.
    disk.remove(&instance().join("stores.json")).unwrap();
    let stores = bench.open(&disk).unwrap();
    assert_eq!(all(&stores).unwrap().len(), 2);
    assert_eq!(stores.create_next().unwrap(), "0003");
}

/// Goal: batches that come at the same time are all archived, each message once.
#[test]
fn batches_that_come_together_are_each_archived_once() {
    let (bench, disk, stores) = opened();
    let commits = crate::archive::stores::Commits::default();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (stores, commits) = (&stores, &commits);
            scope.spawn(move || {
                for n in 0..6 {
                    let batch = [
                        message(content(n, Some(n)), &format!("user{thread}")),
                        message(content(100 + thread * 10 + n, Some(n)), "anna"),
                    ];
                    let batch = batch.map(|message| stores.ready(message, None).unwrap());
                    assert_eq!(stores.commit(commits, batch.into()).unwrap().len(), 2);
                }
            });
        }
    });
    let current = stores.current().unwrap();
    assert_eq!(current.store.catalog().counts().unwrap().messages, 6 + 24);
    assert_eq!(current.store.leaves(), 30);
    let whole = all(&stores).unwrap();
    drop((current, stores));
    bench.forget_catalogs();
    assert_eq!(all(&bench.open(&disk).unwrap()).unwrap(), whole);
}
