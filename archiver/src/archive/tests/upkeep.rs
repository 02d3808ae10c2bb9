use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use postern_shared::clock::Moment;

use super::*;

/// Goal: an instance whose `instance.json` is missing is not taken for none: nothing is made or restored in its place.
#[test]
fn an_instance_without_its_file_is_not_written_over() {
    let bench = Bench::new();
    bench.open().commit(vec![message(1, "anna")]).unwrap();
    let path = bench.path().join("instance.json");
    let file = RealDisk.read(&path, 1000).unwrap();
    RealDisk.remove(&path).unwrap();
    let files = |dir: &Path| -> Vec<Vec<u8>> {
        let files = RealDisk.files(dir).unwrap();
        files.iter().map(|file| RealDisk.read(file, 1 << 20).unwrap()).collect()
    };
    let before = (files(&bench.path()), files(&bench.store()));
    let create =
        || Instance::create(&disk(), &clock(), &bench.path(), "main", &KeepKey::File(None)).map(|_| ());
    let open = || bench.open_on(&disk()).map(|_| ());
    for error in [create().unwrap_err(), open().unwrap_err()] {
        let said = error.to_string();
        assert!(said.contains("instance.json is missing") && said.contains("Put the file back"), "{said}");
    }
    assert!((files(&bench.path()), files(&bench.store())) == before);
    // Nor when only packs are left.
    for name in ["keys.json", "stores.json"] {
        let (from, to) = (bench.path().join(name), bench.path().join(format!("{name}.away")));
        RealDisk.rename(&from, &to).unwrap();
    }
    assert!(create().unwrap_err().to_string().contains("stores/0001"));
    for name in ["keys.json", "stores.json"] {
        let (from, to) = (bench.path().join(format!("{name}.away")), bench.path().join(name));
        RealDisk.rename(&from, &to).unwrap();
    }
    postern_shared::disk::write_atomic(&RealDisk, &path, &file).unwrap();
    assert_eq!(all(&bench.open()).len(), 1);
}

/// Goal: a detached store tells nothing of the mail in it to whoever has its directory only.
#[test]
fn a_detached_store_has_nothing_in_clear() {
    let bench = Bench::new();
    let instance = bench.open();
    let content = message(1, "anna").content;
    instance.commit(vec![message(1, "anna")]).unwrap();
    assert_eq!(search(&instance, "report", None).len(), 1);
    instance.create_store().unwrap();
    for name in ["catalog.damaged", "catalog.old", "catalog.old-wal"] {
        RealDisk.create(&bench.store().join(name)).unwrap().write_all_at(&[b"Subject: Report 1"], 0).unwrap();
    }
    let dir = instance.detach_store("0001").unwrap();
    assert_eq!(dir, bench.store());
    let mut dirs = vec![dir.clone()];
    while let Some(dir) = dirs.pop() {
        dirs.extend(RealDisk.dirs(&dir).unwrap());
        for file in RealDisk.files(&dir).unwrap() {
            let bytes = RealDisk.read(&file, 1 << 26).unwrap();
            for secret in [&b"Report"[..], b"number", b"anna@example.com", &sha256(&content).0] {
                assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{}", file.display());
            }
        }
    }
    assert!(!dir.join("index").exists() && !dir.join("catalog.sqlite").exists());
    instance.attach_store(&dir).unwrap();
    assert_eq!(search(&instance, "report", None).len(), 1, "both are made again");
}

/// Goal: catalogs that were put aside do not lie about for ever.
#[test]
fn catalogs_put_aside_are_removed() {
    let bench = Bench::new();
    bench.open().commit(vec![message(1, "anna")]).unwrap();
    let catalog = bench.store().join("catalog.sqlite");
    RealDisk.open(&catalog).unwrap().write_all_at(&[&[0x55; 4096]], 0).unwrap();
    let aside = bench.store().join("catalog.damaged");
    assert_eq!(all(&bench.open()).len(), 1);
    assert!(aside.exists());
    bench.open();
    assert!(!aside.exists());
}

/// Goal: recovery gives no key file to an instance that opens by its passphrase only.
#[test]
fn a_forgotten_passphrase_is_set_anew() {
    use secrecy::SecretString;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("main");
    let first = SecretString::from("correct horse");
    let keep = KeepKey::Passphrase(first, postern_shared::crypto::password::Argon2Cost::TESTS_ONLY);
    let (_, recovery) = Instance::create(&disk(), &clock(), &path, "main", &keep).unwrap();
    let recover =
        |passphrase: Option<&SecretString>| Instance::recover(&RealDisk, &path, None, &recovery, passphrase);
    assert!(recover(None).unwrap_err().to_string().contains("--passphrase-file"));
    assert!(!path.join("master.key").exists());
    let next = SecretString::from("battery staple");
    recover(Some(&next)).unwrap();
    assert!(Instance::needs_passphrase(&RealDisk, &path).unwrap());
    let open = |passphrase: &str| {
        let opener = Opener::Passphrase(SecretString::from(passphrase));
        Instance::open(&disk(), &clock(), &path, "main", &opener, extract).map(|_| ())
    };
    open("battery staple").unwrap();
    assert!(open("correct horse").is_err());
}

/// Goal: a lost list of stores is told, and stores that may have been detached take nothing.
#[test]
fn a_lost_list_of_stores_is_told() {
    let bench = Bench::new();
    let instance = bench.open();
    instance.commit(vec![message(1, "anna")]).unwrap();
    instance.create_store().unwrap();
    drop(instance);
    RealDisk.remove(&bench.path().join("stores.json")).unwrap();
    let instance = bench.open();
    let damage = instance.stats().unwrap().damage;
    assert!(damage.len() == 1 && damage[0].contains("stores.json"), "{damage:?}");
    let states: Vec<State> = instance.stores().unwrap().into_iter().map(|store| store.state).collect();
    assert_eq!(states, [State::WriteProtected, State::Current]);
    assert_eq!(all(&instance).len(), 1);
}

#[test]
fn a_store_is_not_for_a_few_messages() {
    let bench = Bench::new();
    let instance = bench.open();
    for (messages, bytes) in [(0, 1 << 40), (999, 1 << 40), (5000, 0), (5000, 1 << 20)] {
        let error = instance.set_roll_over(RollOver { messages, bytes }).unwrap_err();
        assert!(matches!(error, ArchiveError::RollOver { .. }), "{error}");
    }
    instance.set_roll_over(RollOver { messages: 1000, bytes: 64 << 20 }).unwrap();
}

/// Goal: an archive is read without this program's source: what it compresses with lies beside it, also in a backup.
#[test]
fn the_dictionary_is_kept_with_the_archive() {
    let bench = Bench::new();
    let instance = bench.open();
    let path = bench.path().join("dictionary-1.txt");
    let kept = RealDisk.read(&path, 1 << 20).unwrap();
    assert_eq!(kept, include_bytes!("../store/dictionary-1.txt"));
    let to = bench.dir.path().join("backup");
    instance.backup(&to, &mut |_, _, _| false).unwrap().unwrap();
    assert_eq!(RealDisk.read(&to.join("dictionary-1.txt"), 1 << 20).unwrap(), kept);
    drop(instance);
    RealDisk.remove(&path).unwrap();
    bench.open();
    assert!(path.exists(), "an instance of an earlier version gets it");
}

/// Goal: a verification that was ended before a rebuild begins anew: the rebuilt catalog numbers its messages anew.
#[test]
fn verify_goes_on_with_the_same_catalog_only() {
    let bench = Bench::new();
    let instance = bench.open();
    instance.commit((0..5).map(|n| message(n, "anna")).collect()).unwrap();
    let ended = |steps: u64| {
        let mut left = steps;
        let mut watch = |_: &str, _: u64, _: Option<u64>| {
            left -= 1;
            left == 0
        };
        let verified = instance.verify(None, false, &mut watch).unwrap();
        (verified.messages, verified.cancelled)
    };
    assert_eq!(ended(2), (2, true));
    assert_eq!(ended(2), (4, true), "it goes on");
    instance.rebuild(None, &mut |_, _, _| false).unwrap().unwrap();
    assert_eq!(ended(2), (2, true), "from the beginning");
    assert_eq!(ended(1000), (5, false));
}

/// A clock of which every look takes time, once it runs.
#[derive(Debug)]
struct Runs {
    step_ms: AtomicU64,
    now_ms: AtomicU64,
}

impl Clock for Runs {
    fn wall(&self) -> UnixMillis {
        UnixMillis(1_800_000_000_000)
    }

    fn moment(&self) -> Moment {
        let step = self.step_ms.load(Ordering::Relaxed);
        Moment::after_start(Duration::from_millis(self.now_ms.fetch_add(step, Ordering::Relaxed)))
    }
}

/// Goal: a search ends in time also while it shows where the hits are, and says what it found; and when nobody waits any more.
/// Method: every look at the clock takes ten seconds.
#[test]
fn a_search_ends_in_time() {
    let bench = Bench::new();
    let clock = Arc::new(Runs { step_ms: AtomicU64::new(0), now_ms: AtomicU64::new(0) });
    let running = Arc::clone(&clock) as Arc<dyn Clock>;
    let instance =
        Instance::open(&disk(), &running, &bench.path(), "main", &Opener::KeyFile(None), extract).unwrap();
    instance.commit((0..8).map(|n| message(n, "anna")).collect()).unwrap();
    let query = Query { text: "number".into(), limit: 100, ..Query::default() };
    let shown = |page: &HitPage| page.hits.iter().filter(|hit| !hit.snippets.is_empty()).count();
    let page = instance.find(&query).unwrap();
    assert_eq!((page.hits.len(), shown(&page)), (8, 8));
    clock.step_ms.store(10_000, Ordering::Relaxed);
    let page = instance.find(&query).unwrap();
    assert_eq!((page.total, page.hits.len()), (8, 8));
    assert!(shown(&page) < 4, "{} of 8 are shown", shown(&page));
    let ended = instance.find_watched(&query, &mut |_, _, _| false, &|| true);
    assert!(ended.unwrap_err().to_string().contains("too long"));
}
