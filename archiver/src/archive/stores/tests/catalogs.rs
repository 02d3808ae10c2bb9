use postern_shared::disk::{Disk, RealDisk};
use postern_shared::id::MessageId;

use super::bench::{Bench, all, commit, content, id, message, opened, read, verify};
use crate::archive::Placement;
use crate::archive::store::Damages;
use crate::archive::stores::{State, Stores};

fn one(stores: &Stores, n: usize, to: &str) -> MessageId {
    id(commit(stores, vec![message(content(n, None), to)]).unwrap()[0])
}

/// Alters a catalog's file under the store that has it open.
fn spoil(bench: &Bench, stores: &Stores, id: &str) {
    stores.get(id).unwrap().store.catalog().settle().unwrap();
    let file = RealDisk.open(&bench.catalog(id)).unwrap();
    let len = usize::try_from(file.len().unwrap()).unwrap();
    file.write_all_at(&[&vec![0x55; len]], 0).unwrap();
}

/// Goal: a catalog that is damaged while it serves costs its own store; it says what to do, and heals when that is done or at the next start.
#[test]
fn a_damaged_catalog_stops_no_other_store() {
    for by_hand in [true, false] {
        let (bench, disk, stores) = opened();
        let old = one(&stores, 1, "anna");
        stores.create_next().unwrap();
        let new = one(&stores, 2, "anna");
        stores.set_state("0001", State::WriteProtected).unwrap();
        spoil(&bench, &stores, "0001");
        let newest = one(&stores, 3, "anna");
        for (id, n) in [(new, 2), (newest, 3)] {
            assert_eq!(read(&stores, id).unwrap(), content(n, None));
        }
        let said = read(&stores, old).unwrap_err().to_string();
        assert!(said.contains("rebuild --store"), "{said}");
        let shown = stores.shown().unwrap();
        assert!(shown[0].error.as_ref().unwrap().contains("rebuild"), "{shown:?}");
        assert_eq!(shown[1].error, None);
        let stores = if by_hand {
            let attached = stores.get("0001").unwrap();
            assert!(
                attached.store.rebuild(stores.ids(), &mut |_, _, _| false, &mut Damages::default()).unwrap()
            );
            stores
        } else {
            drop(stores);
            bench.open(&disk).unwrap()
        };
        assert_eq!(all(&stores).unwrap().len(), 3);
        assert_eq!(stores.shown().unwrap()[0].error, None);
        drop(stores);
        assert_eq!(all(&bench.open(&disk).unwrap()).unwrap().len(), 3, "and is not rebuilt for ever");
    }
}

/// Goal: the current store's catalog fails with words that say what to do, and is rebuilt at the next start.
#[test]
fn a_damaged_catalog_of_the_current_store_heals() {
    let (bench, disk, stores) = opened();
    let first = one(&stores, 1, "anna");
    spoil(&bench, &stores, "0001");
    let error = commit(&stores, vec![message(content(2, None), "anna")]).unwrap_err().to_string();
    assert!(error.contains("rebuild --store"), "{error}");
    drop(stores);
    let stores = bench.open(&disk).unwrap();
    assert_eq!(read(&stores, first).unwrap(), content(1, None));
    one(&stores, 2, "anna");
}

fn uids(stores: &Stores, archive: &str) -> Vec<(u32, u32)> {
    let place = Placement { archive: archive.into(), folder: "Inbox".into() };
    let mut uids = Vec::new();
    for attached in stores.open_stores() {
        let catalog = attached.store.catalog();
        for folder in catalog.folders(Some(archive)).unwrap() {
            let found = catalog.in_folder(&place, 0, 10).unwrap();
            uids.extend(found.into_iter().map(|message| (folder.uid_validity, message.uid)));
        }
    }
    uids.sort_unstable();
    uids
}

/// Goal: UIDs are given once, and a folder has one UIDVALIDITY, whatever store is away meanwhile.
#[test]
fn no_uid_is_given_twice_while_a_store_is_away() {
    for rebuilt in [false, true] {
        let (bench, disk, stores) = opened();
        let validity = 1_800_000_000;
        one(&stores, 1, "anna");
        one(&stores, 2, "anna");
        stores.create_next().unwrap();
        // Into the older store, which has it.
        one(&stores, 1, "bob");
        bench.clock.advance(std::time::Duration::from_secs(1000));
        stores.set_state("0001", State::Disabled).unwrap();
        drop(stores);
        let stores = bench.open(&disk).unwrap();
        if rebuilt {
            let current = stores.current().unwrap();
            assert!(
                current.store.rebuild(stores.ids(), &mut |_, _, _| false, &mut Damages::default()).unwrap()
            );
        }
        one(&stores, 3, "anna");
        one(&stores, 4, "bob");
        assert_eq!(uids(&stores, "anna"), [(validity, 3)]);
        assert_eq!(uids(&stores, "bob"), [(validity, 2)]);
        assert!(
            stores.current().unwrap().store.catalog().folders(None).unwrap().iter().all(|f| f.messages > 0)
        );
        stores.set_state("0001", State::Normal).unwrap();
        assert_eq!(uids(&stores, "anna"), [(validity, 1), (validity, 2), (validity, 3)]);
        assert_eq!(uids(&stores, "bob"), [(validity, 1), (validity, 2)]);
    }
}

/// Goal: a message whose UID another one has is in its folder all the same.
#[test]
fn a_taken_uid_leaves_no_message_out() {
    let (bench, disk, stores) = opened();
    one(&stores, 1, "anna");
    let catalog = rusqlite::Connection::open(bench.catalog("0001")).unwrap();
    catalog.execute("UPDATE folders SET uid_next = 1", []).unwrap();
    one(&stores, 2, "anna");
    assert_eq!(uids(&stores, "anna").len(), 2);
    assert_eq!(verify(&stores), []);
    drop((catalog, stores));
    bench.forget_catalogs();
    let stores = bench.open(&disk).unwrap();
    assert_eq!(uids(&stores, "anna").len(), 2, "after a rebuild too");
    assert_eq!(verify(&stores), [], "and that is no damage");
    assert_eq!(all(&stores).unwrap().len(), 2);
}
