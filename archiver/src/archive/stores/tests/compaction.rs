use postern_shared::disk::simulated::EntryOrder;
use postern_shared::disk::{Disk, SimulatedDisk};
use postern_shared::id::MessageId;

use super::bench::{Bench, all, commit, content, id, message, opened, rebuild, verify};
use super::damage::files;
use super::maintenance::listed;
use crate::archive::stores::Stores;
use crate::archive::stores::compact::StoreCompacted;

/// Commits a message of which then only the part is left: the end of its record and its leaf were torn when the power went. Catalogs are
/// gone.
fn waste(bench: &Bench, disk: &SimulatedDisk, n: usize) {
    let stores = bench.open(disk).unwrap();
    commit(&stores, vec![message(content(n, Some(n)), "anna")]).unwrap();
    drop(stores);
    for (below, bytes) in [("packs", 10), ("log", 32)] {
        let file = disk.open(&files(disk, below).pop().unwrap()).unwrap();
        file.set_len(file.len().unwrap() - bytes).unwrap();
        file.sync_data().unwrap();
    }
    bench.forget_catalogs();
}

/// Several packs, some with parts that nobody needs; the first message has an addition in the last pack.
fn wasteful(bench: &Bench, disk: &SimulatedDisk) -> Vec<MessageId> {
    bench.create(disk);
    let mut ids = Vec::new();
    for n in 0..6 {
        let stores = bench.open(disk).unwrap();
        let batch = [("anna", n), ("bob", n), ("anna", n + 100)];
        let batch = batch.map(|(to, n)| message(content(n, Some(n % 100)), to));
        ids.extend(commit(&stores, batch.to_vec()).unwrap().into_iter().map(id));
        drop(stores);
        if n % 2 == 0 {
            waste(bench, disk, 1000 + n);
        }
    }
    let stores = bench.open(disk).unwrap();
    commit(&stores, vec![message(content(300, Some(300)), "anna")]).unwrap();
    commit(&stores, vec![message(content(0, Some(0)), "carol")]).unwrap();
    bench.forget_catalogs();
    ids
}

fn compact(stores: &Stores) -> Result<StoreCompacted, crate::archive::ArchiveError> {
    stores.current().unwrap().store.compact(1, &mut |_, _, _| false)
}

fn unused(stores: &Stores) -> u64 {
    let uses = stores.current().unwrap().store.catalog().pack_use().unwrap();
    uses.iter().map(|used| used.unused_bytes).sum()
}

/// Goal: compaction frees what nobody needs, and a power cut amid it costs nothing.
/// Method: parts whose messages' records were torn. The power goes behind every operation; catalogs are whole or gone.
#[test]
fn compaction_frees_what_is_not_needed_and_survives_power_cuts() {
    let made = Bench::new();
    let full = SimulatedDisk::new(EntryOrder::Any);
    wasteful(&made, &full);
    for cut in 0.. {
        let (bench, disk) = (Bench::new(), full.restart());
        let stores = bench.open(&disk).unwrap();
        let (whole, before) = (all(&stores).unwrap(), listed(&stores));
        assert!(whole.len() == 13 && unused(&stores) > 10_000);
        disk.cut_power_after(cut);
        let compacted = compact(&stores);
        let is_over = compacted.is_ok() && disk.is_powered();
        if let (Ok(compacted), true) = (&compacted, is_over) {
            assert!(compacted.packs >= 2 && compacted.bytes > 10_000 && compacted.is_whole, "{compacted:?}");
            assert!(!compacted.keeps_parts);
            assert_eq!(unused(&stores), 0);
            assert_eq!(verify(&stores), []);
        }
        drop(stores);
        let found = disk.crash(cut);
        if cut % 2 == 0 {
            bench.forget_catalogs();
        }
        let stores = bench.open(&found).unwrap();
        assert_eq!(all(&stores).unwrap(), whole, "cut after {cut}");
        assert_eq!(listed(&stores), before, "cut after {cut}");
        // What was torn is no object, and is there until its pack is gone.
        let of_messages = |(named, what): &(Option<MessageId>, String)| {
            named.is_some() || !["no object", "is altered", "header"].iter().any(|torn| what.contains(torn))
        };
        assert_eq!(verify(&stores).into_iter().find(of_messages), None, "cut after {cut}");
        assert!(compact(&stores).unwrap().is_whole, "cut after {cut}");
        assert_eq!((unused(&stores), all(&stores).unwrap()), (0, whole), "cut after {cut}");
        if is_over {
            return;
        }
    }
}

/// Goal: an addition that lies before its message, because that was moved, is entered by a rebuild.
#[test]
fn what_was_moved_behind_its_additions_is_rebuilt() {
    let bench = Bench::new();
    let disk = SimulatedDisk::new(EntryOrder::Journal);
    let ids = wasteful(&bench, &disk);
    let stores = bench.open(&disk).unwrap();
    let before = listed(&stores);
    compact(&stores).unwrap();
    let catalog = stores.current().unwrap().store.catalog();
    let message = catalog.record(ids[0]).unwrap().unwrap().place;
    let additions = catalog.additions(ids[0]).unwrap();
    let places: Vec<_> = additions.iter().map(|object| catalog.object(*object).unwrap().unwrap()).collect();
    assert!(places.iter().any(|place| *place < message), "{places:?} and {message:?}");
    drop(catalog);
    assert_eq!(rebuild(&stores), [""; 0]);
    assert_eq!(listed(&stores), before);
    assert_eq!(verify(&stores), []);
}

/// Goal: an ended compaction goes on.
#[test]
fn compaction_goes_on_where_it_was_ended() {
    let bench = Bench::new();
    let disk = SimulatedDisk::new(EntryOrder::Journal);
    wasteful(&bench, &disk);
    let stores = bench.open(&disk).unwrap();
    let whole = all(&stores).unwrap();
    let mut packs = 0;
    for rounds in 0.. {
        let mut left = 2;
        let mut watch = |_: &str, _: u64, _: Option<u64>| {
            left -= 1;
            left == 0
        };
        let done = stores.current().unwrap().store.compact(1, &mut watch).unwrap();
        packs += done.packs;
        assert_eq!(all(&stores).unwrap(), whole);
        if done.is_whole {
            assert!(rounds >= 2 && packs >= 2, "{rounds} {packs}");
            break;
        }
    }
    assert_eq!((unused(&stores), verify(&stores)), (0, Vec::new()));
}

/// Goal: parts of messages that cannot be read now are there when their keys are put back; those of messages that were shredded go.
#[test]
fn compaction_drops_no_part_that_a_lost_message_may_need() {
    let bench = Bench::new();
    let disk = SimulatedDisk::new(EntryOrder::Journal);
    wasteful(&bench, &disk);
    let whole = all(&bench.open(&disk).unwrap()).unwrap();
    let keys = files(&disk, "keys").remove(0);
    let first = 32 + 64;
    let table = disk.open(&keys).unwrap();
    let mut record = [0; 64];
    table.read_exact_at(&mut record, first).unwrap();

    table.write_all_at(&[&[0xee; 64]], first).unwrap();
    bench.forget_catalogs();
    let stores = bench.open(&disk).unwrap();
    assert!(all(&stores).unwrap().len() < whole.len());
    let compacted = compact(&stores).unwrap();
    assert!(compacted.keeps_parts && compacted.is_whole, "{compacted:?}");
    assert!(unused(&stores) > 0);
    drop(stores);
    table.write_all_at(&[&record], first).unwrap();
    let stores = bench.open(&disk).unwrap();
    rebuild(&stores);
    assert_eq!(all(&stores).unwrap(), whole);
    assert!(!compact(&stores).unwrap().keeps_parts);

    // The same with a record that was destroyed on purpose.
    table.write_all_at(&[&[0; 64]], first).unwrap();
    rebuild(&stores);
    let compacted = compact(&stores).unwrap();
    assert!(!compacted.keeps_parts, "{compacted:?}");
    assert_eq!(unused(&stores), 0);
    assert_eq!(all(&stores).unwrap().len(), whole.len() - 1);
}

/// Goal: a catalog that lost rows lets compaction remove nothing that the packs need.
#[test]
fn compaction_removes_no_pack_with_objects_that_the_catalog_lost() {
    let bench = Bench::new();
    let disk = SimulatedDisk::new(EntryOrder::Journal);
    wasteful(&bench, &disk);
    let stores = bench.open(&disk).unwrap();
    let whole = all(&stores).unwrap();
    let catalog = rusqlite::Connection::open(bench.catalog("0001")).unwrap();
    let lost = "DELETE FROM objects WHERE number IN (SELECT object FROM part_users WHERE seq = 1)";
    assert!(catalog.execute(lost, []).unwrap() > 0);
    drop(catalog);
    let error = compact(&stores).unwrap_err().to_string();
    assert!(error.contains("rebuild"), "{error}");
    rebuild(&stores);
    assert_eq!(all(&stores).unwrap(), whole);
}

/// Goal: a part is needed while any message uses it, also when the catalog lost the rows of both, and that message lies in another pack.
#[test]
fn compaction_keeps_a_part_whose_user_lost_its_record() {
    let (bench, _, stores) = opened();
    for n in 1..12 {
        commit(&stores, vec![message(content(n, Some(n)), "anna")]).unwrap();
    }
    commit(&stores, vec![message(content(50, Some(1)), "anna")]).unwrap();
    let whole = all(&stores).unwrap();
    let catalog = rusqlite::Connection::open(bench.catalog("0001")).unwrap();
    let number = |query: &str| catalog.query_row(query, [], |row| row.get::<_, i64>(0)).unwrap();
    let part = number("SELECT object FROM part_users WHERE seq = 1");
    let user = number(&format!(
        "SELECT object FROM messages WHERE seq = (SELECT max(seq) FROM part_users WHERE object = {part})"
    ));
    let pack = |object: i64| number(&format!("SELECT pack FROM objects WHERE number = {object}"));
    assert_ne!(pack(part), pack(user), "the record would keep the pack");
    let lost = format!(
        "DELETE FROM part_users WHERE object = {part} AND seq = 1; DELETE FROM objects WHERE number IN ({part}, {user});"
    );
    catalog.execute_batch(&lost).unwrap();
    drop(catalog);
    let error = compact(&stores).unwrap_err().to_string();
    assert!(error.contains("rebuild"), "{error}");
    rebuild(&stores);
    assert_eq!(all(&stores).unwrap(), whole);
}
