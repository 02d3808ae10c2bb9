use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern_shared::clock::{Clock, ManualClock, UnixMillis};
use postern_shared::crypto::digest::sha256;
use postern_shared::disk::{Disk, Fault, FaultyDisk, RealDisk, Step};
use proptest::prelude::*;

use super::*;

mod upkeep;

struct Bench {
    dir: tempfile::TempDir,
}

fn extract(content: &[u8], _report: Option<&[u8]>) -> IndexFields {
    crate::intake::index_fields(content, None)
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::at(UnixMillis(1_800_000_000_000)))
}

fn disk() -> Arc<dyn Disk> {
    Arc::new(RealDisk)
}

impl Bench {
    fn new() -> Self {
        let bench = Self { dir: tempfile::tempdir().unwrap() };
        Instance::create(&disk(), &clock(), &bench.path(), "main", &KeepKey::File(None)).unwrap();
        bench
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("main")
    }

    fn open(&self) -> Instance {
        self.open_on(&disk()).unwrap()
    }

    fn open_on(&self, disk: &Arc<dyn Disk>) -> Result<Instance, ArchiveError> {
        Instance::open(disk, &clock(), &self.path(), "main", &Opener::KeyFile(None), extract)
    }

    fn store(&self) -> PathBuf {
        self.path().join("stores/0001")
    }

    fn only_file(&self, dir: &str) -> PathBuf {
        let mut files = RealDisk.files(&self.store().join(dir)).unwrap();
        assert_eq!(files.len(), 1);
        files.remove(0)
    }
}

fn message(n: usize, to: &str) -> NewMessage {
    let content = format!(
        "From: Anna <anna@example.com>\r\nTo: {to}\r\nSubject: Report {n}\r\nMessage-ID: <{n}@x>\r\n\
         Date: Mon, {:02} Jan 2026 10:00:00 +0000\r\n\r\nnumber {n} with Größe\r\n",
        1 + n % 28
    );
    let index = extract(content.as_bytes(), None);
    NewMessage {
        content: content.into_bytes(),
        fold_key: None,
        evidence: None,
        mail_from: Some("anna@example.com".into()),
        participants: Vec::new(),
        filed_in: vec![placement(to)],
        internal_date: None,
        flags: Vec::new(),
        quarantined: None,
        sha256: None,
        untrusted_fields: Vec::new(),
        source: Source { profile: "p".into(), uidl: n.to_string(), received: None, trace: None },
        index,
    }
}

fn placement(archive: &str) -> Placement {
    Placement { archive: archive.into(), folder: "Journal/Incoming".into() }
}

/// A journal report of message `n` as one of its copies travelled.
fn reported(n: usize, to: &str, travelled: &str, report: &str) -> NewMessage {
    let plain = message(n, to);
    let content = [format!("Received: {travelled}\r\n").as_bytes(), &plain.content].concat();
    NewMessage {
        content,
        fold_key: Some(sha256(format!("fold {n}").as_bytes())),
        evidence: Some(Evidence::Report { prefix: report.as_bytes().to_vec(), suffix: b"end".to_vec() }),
        ..plain
    }
}

fn archived(outcomes: &[Outcome]) -> Vec<String> {
    outcomes.iter().map(|outcome| outcome.id().to_string()).collect()
}

fn search(instance: &Instance, text: &str, archive: Option<&str>) -> Vec<Hit> {
    let query = Query {
        text: text.into(),
        archive: archive.map(Into::into),
        limit: 100,
        offset: 0,
        ..Query::default()
    };
    instance.search(&query).unwrap()
}

/// All messages, by id.
fn all(instance: &Instance) -> BTreeMap<String, Vec<u8>> {
    let hits = search(instance, "*", None);
    hits.into_iter().map(|hit| (hit.id.to_string(), instance.message(&hit.id.to_string()).unwrap())).collect()
}

#[test]
fn what_is_committed_comes_back_and_is_found() {
    let bench = Bench::new();
    let instance = bench.open();
    let ids = archived(&instance.commit(vec![message(1, "anna"), message(2, "bob")]).unwrap());
    assert_eq!(instance.message(&ids[0]).unwrap(), message(1, "anna").content);
    assert_eq!(search(&instance, "report 2", None)[0].id.to_string(), ids[1]);
    assert_eq!(search(&instance, "groesse", None).len(), 0);
    assert_eq!(search(&instance, "grosse", None).len(), 2, "accents are folded");
    assert_eq!(search(&instance, "GRÖß*", None).len(), 2);
    assert_eq!(search(&instance, "from:anna@example.com -subject:\"Report 1\"", None).len(), 1);
    assert_eq!(search(&instance, "after:2026-01-03", None).len(), 1, "message 2 is of the 3rd");
    assert_eq!(search(&instance, "*", Some("bob"))[0].folder, "bob/Journal/Incoming");
    assert_eq!(search(&instance, "*", Some("carol")).len(), 0);
    assert!(matches!(
        instance.search(&Query { text: "\"".into(), archive: None, limit: 1, offset: 0, ..Query::default() }),
        Err(ArchiveError::Query(_))
    ));
    drop(instance);

    let instance = bench.open();
    assert_eq!(all(&instance).len(), 2);
    assert_eq!(instance.stats().unwrap().leaves, 2);
    assert!(matches!(instance.message("nonsense"), Err(ArchiveError::NoMessage(_))));
}

#[test]
fn pages_follow_one_another_newest_first() {
    let bench = Bench::new();
    let instance = bench.open();
    instance.commit((0..10).map(|n| message(n, "anna")).collect()).unwrap();
    let page = |offset| {
        let query = Query { text: "*".into(), archive: None, limit: 4, offset, ..Query::default() };
        instance.search(&query).unwrap().into_iter().map(|hit| hit.subject).collect::<Vec<_>>()
    };
    assert_eq!(page(0), ["Report 9", "Report 8", "Report 7", "Report 6"]);
    assert_eq!(page(8), ["Report 1", "Report 0"]);
}

/// Goal: what is seen again is folded, and what is new about it is added.
#[test]
fn a_second_arrival_folds_and_adds_its_recipients() {
    let bench = Bench::new();
    let instance = bench.open();
    let first = archived(&instance.commit(vec![message(1, "anna")]).unwrap());
    assert_eq!(archived(&instance.commit(vec![message(1, "anna")]).unwrap()), first);
    let mut for_bob = message(1, "anna");
    for_bob.filed_in = vec![placement("bob")];
    assert!(matches!(
        instance.commit(vec![for_bob.clone(), for_bob]).unwrap()[..],
        [Outcome::Duplicate(_), Outcome::Duplicate(_)]
    ));
    let hit = search(&instance, "*", None).remove(0);
    assert_eq!(hit.folders, ["anna/Journal/Incoming", "bob/Journal/Incoming"]);
    assert_eq!(search(&instance, "number", Some("bob")).len(), 1, "the index follows");
    assert_eq!(instance.stats().unwrap().messages, 1);
}

/// Goal: bifurcated reports are one message with all recipients, and every report stays as it was.
#[test]
fn copies_that_travelled_apart_are_one_message() {
    let bench = Bench::new();
    let instance = bench.open();
    let outcomes = instance
        .commit(vec![reported(1, "anna", "by a", "report a"), reported(1, "bob", "by b", "report b")])
        .unwrap();
    assert!(matches!(outcomes[..], [Outcome::Archived(a), Outcome::Duplicate(b)] if a.id == b.id));
    let id = archived(&outcomes).remove(0);
    let content = reported(1, "anna", "by a", "").content;
    assert_eq!(instance.message(&id).unwrap(), content);
    assert_eq!(instance.report(&id).unwrap(), [b"report a", &content[..], b"end"].concat());
    assert_eq!(search(&instance, "*", Some("bob")).len(), 1);
    // The same two once more, as after a crash before DELE: nothing is new.
    let before = RealDisk.open_read(&bench.only_file("packs")).unwrap().len().unwrap();
    instance.commit(vec![reported(1, "bob", "by b", "report b")]).unwrap();
    assert_eq!(RealDisk.open_read(&bench.only_file("packs")).unwrap().len().unwrap(), before);
    // A plain message never folds into one with other octets.
    let plain = NewMessage { evidence: None, ..reported(1, "anna", "by c", "") };
    assert!(matches!(instance.commit(vec![plain]).unwrap()[..], [Outcome::Archived(_)]));
}

#[test]
fn a_message_without_report_says_so() {
    let bench = Bench::new();
    let instance = bench.open();
    let id = archived(&instance.commit(vec![message(1, "anna")]).unwrap()).remove(0);
    assert!(matches!(instance.report(&id), Err(ArchiveError::NoReport(_))));
}

/// Goal: a crash between packs and catalog loses nothing.
/// Method: put the catalog of before the second commit back under the packs of after it.
#[test]
fn a_catalog_that_lags_is_caught_up_from_the_packs() {
    let bench = Bench::new();
    let first = message(1, "anna");
    bench.open().commit(vec![first.clone()]).unwrap();
    let catalog = bench.store().join("catalog.sqlite");
    let before = RealDisk.read(&catalog, 1 << 30).unwrap();
    let for_bob = NewMessage { filed_in: vec![placement("bob")], ..first.clone() };
    bench.open().commit(vec![message(2, "bob"), for_bob]).unwrap();
    restore(&catalog, &before);

    let instance = bench.open();
    let mut found: Vec<_> = all(&instance).into_values().collect();
    found.sort_by_key(Vec::len);
    let mut expected = vec![first.content, message(2, "bob").content];
    expected.sort_by_key(Vec::len);
    assert_eq!(found, expected);
    assert_eq!(search(&instance, "*", Some("bob")).len(), 2, "the addition is entered as well");
    assert_eq!(instance.stats().unwrap().leaves, 2);
}

fn restore(path: &Path, bytes: &[u8]) {
    for suffix in ["", "-wal", "-shm"] {
        let file = PathBuf::from(format!("{}{suffix}", path.display()));
        if RealDisk.exists(&file).unwrap() {
            RealDisk.remove(&file).unwrap();
        }
    }
    RealDisk.create(path).unwrap().write_all_at(&[bytes], 0).unwrap();
}

/// Goal: catalog and index are conveniences: packs and keys alone hold everything.
#[test]
fn catalog_and_index_are_rebuilt_when_missing_or_damaged() {
    let bench = Bench::new();
    bench.open().commit((0..5).map(|n| message(n, "anna")).collect()).unwrap();
    let whole = all(&bench.open());
    let leaves = RealDisk.read(&bench.store().join("log/leaves"), 1000).unwrap();
    let catalog = bench.store().join("catalog.sqlite");

    RealDisk.remove(&catalog).unwrap();
    RealDisk.remove_dir_all(&bench.store().join("index")).unwrap();
    RealDisk.open(&bench.store().join("log/leaves")).unwrap().set_len(7).unwrap();
    assert_eq!(all(&bench.open()), whole);
    assert_eq!(RealDisk.read(&bench.store().join("log/leaves"), 1000).unwrap(), leaves);

    // The index knows messages by numbers that the new catalog gives out anew.
    RealDisk.remove(&catalog).unwrap();
    assert_eq!(all(&bench.open()), whole);
    assert_eq!(search(&bench.open(), "\"number 3\"", None)[0].subject, "Report 3");

    restore(&catalog, &[0x55; 8192]);
    let meta = RealDisk.dirs(&bench.store().join("index")).unwrap().remove(0).join("meta.json");
    RealDisk.open(&meta).unwrap().set_len(3).unwrap();
    assert_eq!(all(&bench.open()), whole);
}

/// Goal: a commit that was cut anywhere leaves everything before it, and can be made again.
#[test]
fn a_torn_commit_is_cut_wherever_it_tears() {
    let bench = Bench::new();
    bench.open().commit(vec![message(1, "anna")]).unwrap();
    let pack = bench.only_file("packs");
    let catalog = bench.store().join("catalog.sqlite");
    let (before, catalog_before) =
        (RealDisk.read(&pack, 1 << 20).unwrap(), RealDisk.read(&catalog, 1 << 30).unwrap());
    bench.open().commit(vec![message(2, "anna")]).unwrap();
    let after = RealDisk.read(&pack, 1 << 20).unwrap();
    let leaves = bench.store().join("log/leaves");
    for cut in (before.len()..after.len()).step_by(13) {
        restore(&catalog, &catalog_before);
        RealDisk.remove(&pack).unwrap();
        RealDisk.create(&pack).unwrap().write_all_at(&[&after[..cut]], 0).unwrap();
        // Leaves are written behind the packs.
        RealDisk.open(&leaves).unwrap().set_len(32).unwrap();
        let instance = bench.open();
        assert_eq!(instance.stats().unwrap().messages, 1, "cut at {cut}");
        assert!(matches!(instance.commit(vec![message(2, "anna")]).unwrap()[..], [Outcome::Archived(_)]));
        assert_eq!(all(&instance).len(), 2, "cut at {cut}");
        assert_eq!(instance.stats().unwrap().damage, [""; 0], "cut at {cut}");
    }
}

/// Goal: damage is told with file and offset, and costs only what it touches.
#[test]
fn a_damaged_object_is_named_and_the_others_are_read() {
    let bench = Bench::new();
    let instance = bench.open();
    let ids = archived(&instance.commit((0..3).map(|n| message(n, "anna")).collect()).unwrap());
    drop(instance);
    let pack = bench.only_file("packs");
    // Inside the first object's body, which is the first message's record.
    RealDisk.open(&pack).unwrap().write_all_at(&[&[0xee; 4]], 32 + 48 + 10).unwrap();
    let instance = bench.open();
    let error = instance.message(&ids[0]).unwrap_err().to_string();
    assert!(error.contains(pack.to_str().unwrap()) && error.contains("at byte 32"), "{error}");
    assert_eq!(instance.message(&ids[1]).unwrap(), message(1, "anna").content);

    drop(instance);
    RealDisk.remove(&bench.store().join("catalog.sqlite")).unwrap();
    let instance = bench.open();
    assert_eq!(instance.stats().unwrap().messages, 2, "what is left");
    let damage = instance.stats().unwrap().damage;
    assert!(
        damage.len() == 2 && damage[1].contains("leaf 0"),
        "the record, and that a message is lost: {damage:?}"
    );
    assert!(instance.message(&ids[2]).is_ok());
    assert!(instance.message(&ids[0]).is_err());
}

#[test]
fn a_destroyed_key_makes_its_message_unreadable_and_no_other() {
    let bench = Bench::new();
    let instance = bench.open();
    let ids = archived(&instance.commit(vec![message(1, "anna"), message(2, "anna")]).unwrap());
    drop(instance);
    // The first key record is the first message's; slot 0 is not used.
    RealDisk.open(&bench.only_file("keys")).unwrap().write_all_at(&[&[0; 64]], 32 + 64).unwrap();
    let instance = bench.open();
    assert!(matches!(instance.message(&ids[0]), Err(ArchiveError::Store(StoreError::NoKey { .. }))));
    assert_eq!(instance.message(&ids[1]).unwrap(), message(2, "anna").content);
}

/// Goal: whatever step of a commit fails, nothing of it is there, and the next one works.
#[test]
fn a_failed_commit_leaves_nothing() {
    for step in [Step::Write, Step::Sync] {
        for skip in 0..3 {
            let bench = Bench::new();
            bench.open().commit(vec![message(1, "anna")]).unwrap();
            // Each commit writes and syncs keys, pack and leaves, in this order.
            let fault = Fault::nth(step, skip, std::io::ErrorKind::StorageFull);
            let instance =
                bench.open_on(&(Arc::new(FaultyDisk::new(disk(), fault)) as Arc<dyn Disk>)).unwrap();
            instance.commit(vec![message(2, "anna")]).unwrap_err();
            assert_eq!(all(&instance).len(), 1, "{step:?} {skip}");
            instance.commit(vec![message(3, "anna")]).unwrap();
            assert_eq!(all(&instance).len(), 2, "{step:?} {skip}");
            drop(instance);
            let instance = bench.open();
            assert_eq!(all(&instance).len(), 2, "{step:?} {skip}, opened again");
            assert_eq!(instance.stats().unwrap().leaves, 2);
        }
    }
}

/// Goal: packs, keys and log tell nothing of the mail. Catalog and index beside them are in clear, and in no backup.
#[test]
fn neither_content_nor_its_hash_is_in_packs_keys_and_log() {
    let bench = Bench::new();
    let content = message(1, "anna").content;
    bench.open().commit(vec![message(1, "anna")]).unwrap();
    for dir in ["packs", "keys", "log"] {
        for file in RealDisk.files(&bench.store().join(dir)).unwrap() {
            let bytes = RealDisk.read(&file, 1 << 20).unwrap();
            for secret in [&b"number 1"[..], b"anna@example.com", &sha256(&content).0] {
                assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{}", file.display());
            }
        }
    }
}

#[test]
fn users_have_addresses_of_their_own() {
    let bench = Bench::new();
    let instance = bench.open();
    instance.add_user("anna", &["Anna@Example.com".into(), "a@example.com".into()]).unwrap();
    let error = |id: &str, email: &str| instance.add_user(id, &[email.into()]).unwrap_err().to_string();
    assert!(error("anna", "x@example.com").contains("already"));
    assert!(error("bob", "ANNA@example.com").contains("belongs to user \"anna\""));
    assert!(error("unassigned", "x@example.com").contains("archive without user"));
    assert!(error("Bob", "x@example.com").contains("is no id"));
    assert!(error("../bob", "x@example.com").contains("is no id"));
    assert!(error("bob", "no address").contains("no e-mail address"));
    let instance = {
        drop(instance);
        bench.open()
    };
    assert_eq!(instance.owner("A@EXAMPLE.COM").as_deref(), Some("anna"));
    assert_eq!(instance.users().len(), 1);
}

#[test]
fn an_instance_is_created_once_and_opened_with_its_own_key() {
    let bench = Bench::new();
    assert!(matches!(
        Instance::create(&disk(), &clock(), &bench.path(), "main", &KeepKey::File(None)),
        Err(ArchiveError::InstanceExists(_))
    ));
    let other = Bench::new();
    let copy = |name: &str| {
        let bytes = RealDisk.read(&other.path().join(name), 10_000).unwrap();
        postern_shared::disk::write_atomic(&RealDisk, &bench.path().join(name), &bytes).unwrap();
    };
    copy("master.key");
    let error = bench.open_on(&disk()).unwrap_err().to_string();
    assert!(error.contains("master.key") && error.contains("another instance"), "{error}");
    copy("keys.json");
    let error = bench.open_on(&disk()).unwrap_err().to_string();
    assert!(error.contains("store.json") && error.contains("another instance"), "{error}");
}

#[test]
fn an_instance_is_open_once() {
    let bench = Bench::new();
    let held = bench.open();
    assert!(matches!(bench.open_on(&disk()), Err(ArchiveError::InstanceInUse(_))));
    drop(held);
    bench.open();
}

#[test]
fn the_audit_log_grows_by_whole_lines() {
    let bench = Bench::new();
    bench.open().audit().record("search", &serde_json::json!({ "query": "x" })).unwrap();
    bench.open().audit().record("message get", &serde_json::json!({ "id": "1" })).unwrap();
    let text = String::from_utf8(RealDisk.read(&bench.path().join("audit.log"), 10_000).unwrap()).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((lines[0]["what"].as_str(), lines[1]["what"].as_str()), (Some("search"), Some("message get")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    /// Goal: whatever arrives again and whenever it is opened again, an archive holds each message once, with the
    /// union of its placements.
    #[test]
    fn behaves_like_a_map(batches in proptest::collection::vec(
        (proptest::collection::vec((0usize..12, 0usize..3), 1..6), any::<bool>()), 1..8)) {
        let bench = Bench::new();
        let mut instance = bench.open();
        let mut model: BTreeMap<Vec<u8>, std::collections::BTreeSet<String>> = BTreeMap::new();
        for (batch, reopen) in batches {
            let messages: Vec<NewMessage> = batch.iter().map(|(n, who)| {
                let archive = ["anna", "bob", "carol"][*who];
                NewMessage { filed_in: vec![placement(archive)], ..message(*n, "anna") }
            }).collect();
            for message in &messages {
                model.entry(message.content.clone()).or_default().insert(format!("{}/Journal/Incoming", message.filed_in[0].archive));
            }
            instance.commit(messages).unwrap();
            if reopen {
                drop(instance);
                instance = bench.open();
            }
        }
        let found: BTreeMap<Vec<u8>, std::collections::BTreeSet<String>> = search(&instance, "*", None).into_iter()
            .map(|hit| (instance.message(&hit.id.to_string()).unwrap(), hit.folders.into_iter().collect())).collect();
        prop_assert_eq!(found, model);
    }
}
