//! What goes wrong while indexes follow and are searched, and that it costs nobody else.

use std::sync::atomic::AtomicUsize;

use super::*;
use crate::archive::Extract;

fn open_with(bench: &Bench, clock: &Arc<dyn Clock>, extract: Extract) -> Instance {
    Instance::open(&disk(), clock, &bench.path(), "main", &Opener::KeyFile(None), extract).unwrap()
}

/// A message with so many documents.
fn with_documents(subject: &str, count: usize) -> NewMessage {
    let files: String = (0..count)
        .map(|n| format!("--b\nContent-Type: application/rtf; name=\"{n}.rtf\"\n\n{{\\rtf1 document {n}}}\n"))
        .collect();
    message(
        &format!(
            "From: anna@example.com\nSubject: {subject}\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n{files}--b--\n"
        ),
        "anna",
    )
}

/// Takes 25 seconds for a document, or breaks at each.
#[derive(Debug)]
struct Slow {
    clock: Arc<ManualClock>,
    breaks: bool,
    asked: AtomicUsize,
}

impl DocumentReader for Slow {
    fn read(&self, _: &str, octets: &[u8], _: &dyn Fn() -> bool) -> Result<AttachmentText, NotRead> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.breaks {
            return Err(NotRead::Broken("it broke".into()));
        }
        self.clock.advance(Duration::from_secs(25));
        Ok(AttachmentText::Text(String::from_utf8_lossy(octets).into_owned()))
    }
}

/// Goal: a message full of documents that hold up their reader has its time, and the next message its turn.
#[test]
fn the_documents_of_a_message_have_one_bound() {
    for breaks in [false, true] {
        let bench = Bench::new();
        let clock = Arc::new(ManualClock::at(UnixMillis(1_800_000_000_000)));
        let as_clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let instance = open_with(&bench, &as_clock, index_fields_with_documents);
        let slow = Arc::new(Slow { clock, breaks, asked: AtomicUsize::new(0) });
        instance.read_documents_with(Arc::<Slow>::clone(&slow));
        instance.commit(vec![with_documents("harm", 10), letter(2, "after", "words")]).unwrap();
        assert_eq!(find(&instance, "words"), ["after"]);
        assert_eq!(slow.asked.load(Ordering::Relaxed), 3);
        assert_eq!(find(&instance, "document").len(), usize::from(!breaks));
        let page =
            instance.find(&Query { text: "has:missing-text".into(), limit: 9, ..Query::default() }).unwrap();
        assert_eq!(page.hits[0].text_missing.len(), if breaks { 10 } else { 7 });
        assert!(page.hits[0].text_missing.last().unwrap().why.contains("took too long"));
    }
}

/// There is no process to be had, until there is.
#[derive(Debug, Default)]
struct Absent {
    there: AtomicBool,
}

impl DocumentReader for Absent {
    fn read(&self, _: &str, octets: &[u8], _: &dyn Fn() -> bool) -> Result<AttachmentText, NotRead> {
        match self.there.load(Ordering::Relaxed) {
            true => Ok(AttachmentText::Text(String::from_utf8_lossy(octets).into_owned())),
            false => Err(NotRead::NotNow("too many open files".into())),
        }
    }
}

/// Goal: what passes is not written down as missing; it holds up one store's index, and says so.
#[test]
fn an_index_waits_for_what_passes_and_others_do_not() {
    let bench = Bench::new();
    let instance = bench.open();
    let reader = Arc::new(Absent::default());
    instance.read_documents_with(Arc::<Absent>::clone(&reader));
    instance.commit(vec![letter(1, "older", "words")]).unwrap();
    instance.create_store().unwrap();
    instance.commit(vec![letter(2, "before", "words"), with_documents("document", 1)]).unwrap();
    instance.create_store().unwrap();
    instance.commit(vec![letter(3, "newer", "words")]).unwrap();
    let query = Query { text: "*".into(), limit: 9, ..Query::default() };
    let page = instance.find(&query).unwrap();
    let mut subjects: Vec<&str> = page.hits.iter().map(|hit| hit.subject.as_str()).collect();
    subjects.sort_unstable();
    assert_eq!(subjects, ["before", "newer", "older"]);
    assert!(page.behind > 0 && page.damaged[0].contains("too many open files"), "{page:?}");
    reader.there.store(true, Ordering::Relaxed);
    let page = instance.find(&query).unwrap();
    assert_eq!((page.total, page.behind, page.damaged), (4, 0, Vec::new()));
    assert!(find(&instance, "has:missing-text").is_empty());
}

/// Goal: what is damaged is built anew, also when following fails in every round.
#[test]
fn a_follower_heals_what_is_damaged_whatever_fails() {
    let bench = Bench::new();
    let instance = Arc::new(bench.open());
    instance.read_documents_with(Arc::new(Absent::default()));
    instance.commit((0..20).map(|n| letter(n, &format!("n{n}"), "some words")).collect()).unwrap();
    assert_eq!(find(&instance, "words").len(), 20);
    let store =
        bench.index_files().into_iter().find(|path| path.extension().is_some_and(|e| e == "store")).unwrap();
    flip(&store, 2);
    instance.create_store().unwrap();
    instance.commit(vec![with_documents("document", 1)]).unwrap();
    let follower = Follower::start(&instance).unwrap();
    // It checks them when it begins.
    while RealDisk.dirs(&bench.index()).unwrap().iter().any(|dir| dir.ends_with("0001")) {
        std::thread::yield_now();
    }
    drop(follower);
    let page = instance.find_now(&Query { text: "words".into(), limit: 30, ..Query::default() }).unwrap();
    assert_eq!(page.hits.len(), 20);
}

fn falls_over(content: &[u8], report: Option<&[u8]>) -> IndexFields {
    assert!(memchr::memmem::find(content, b"fall over").is_none(), "as it was told");
    index_fields_with_documents(content, report)
}

/// Goal: one message at which extraction falls over costs its own text, and holds up no other.
#[test]
fn a_message_that_makes_extraction_fall_over_is_marked() {
    let bench = Bench::new();
    {
        let instance = bench.open();
        instance
            .commit(vec![
                letter(1, "one", "words"),
                letter(2, "bad", "words that fall over"),
                letter(3, "two", "words"),
            ])
            .unwrap();
    }
    let instance = open_with(&bench, &clock(), falls_over);
    assert_eq!(find(&instance, "words"), ["two", "one"]);
    assert_eq!(find(&instance, "has:missing-text subject:bad"), ["bad"]);
    assert!(instance.rebuild_indexes(None, (false, false), &mut |_, _, _| false).unwrap());
    assert_eq!(find(&instance, "*").len(), 3);
}

/// Goal: an index that cannot be opened for a reason that passes is there again when it has passed.
/// Method: a file that is a directory cannot be read, and nobody said that it is damaged.
#[test]
fn an_index_that_cannot_be_opened_is_not_thrown_away() {
    let bench = Bench::new();
    {
        let instance = bench.open();
        instance.commit((0..5).map(|n| letter(n, &format!("n{n}"), "some words")).collect()).unwrap();
        assert_eq!(find(&instance, "words").len(), 5);
    }
    let (meta, aside) = (bench.index().join("0001/meta.json"), bench.index().join("aside.json"));
    RealDisk.rename(&meta, &aside).unwrap();
    RealDisk.create_dir_all(&meta).unwrap();
    let instance = bench.open();
    let page = instance.find(&Query { text: "words".into(), limit: 9, ..Query::default() }).unwrap();
    assert!(
        page.hits.is_empty() && page.behind > 0 && page.damaged[0].contains("the index waits"),
        "{page:?}"
    );
    RealDisk.remove_dir_all(&meta).unwrap();
    RealDisk.rename(&aside, &meta).unwrap();
    assert_eq!(find(&instance, "words").len(), 5);
    let dirs = RealDisk.dirs(&bench.index()).unwrap();
    assert!(dirs.len() == 1 && dirs[0].ends_with("0001"), "{dirs:?}");
}

/// Goal: an index of another catalog serves until one has followed this one; it never shows text of another message.
#[test]
fn an_index_of_another_catalog_serves_until_another_is_built() {
    let (other, bench) = (Bench::new(), Bench::new());
    {
        let instance = other.open();
        instance.commit((0..20).map(|n| letter(n, &format!("other {n}"), "other words")).collect()).unwrap();
        assert_eq!(find(&instance, "words").len(), 20);
    }
    bench.open().commit((0..5).map(|n| letter(n, &format!("n{n}"), "own words")).collect()).unwrap();
    // It has none yet: nobody searched.
    RealDisk.rename(&other.index(), &bench.index()).unwrap();
    let instance = bench.open();
    let page = instance.find_now(&Query { text: "words".into(), limit: 30, ..Query::default() }).unwrap();
    assert_eq!((page.total, page.hits.len(), page.behind), (20, 5, 5));
    assert!(page.hits.iter().all(|hit| hit.snippets.is_empty()), "{page:?}");
    let mut looks = 0;
    let followed = instance.follow(&mut |what, _, _| {
        let query = Query { text: "words".into(), limit: 1, ..Query::default() };
        let total = instance.find_now(&query).unwrap().total;
        assert!(total == if what.starts_with("building") { 20 } else { 5 }, "{what}: {total}");
        looks += 1;
        false
    });
    assert!(followed.unwrap() && looks > 1);
    assert_eq!(find(&instance, "words"), ["n4", "n3", "n2", "n1", "n0"]);
    assert!(RealDisk.dirs(&bench.index()).unwrap()[0].ends_with("0002"));
}

/// Goal: no query takes more memory or time than is meant for one; what is too much is told.
#[test]
fn searches_have_bounds() {
    let bench = Bench::new();
    let instance = bench.open();
    let words: String = (0..50_100).map(|n| format!("a{n} ")).collect();
    instance.commit(vec![letter(1, "long", &words), letter(2, "short", "budget")]).unwrap();
    let refused = |query: Query| match instance.find(&query) {
        Err(ArchiveError::Query(error)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    for (limit, offset) in [(10, 1 << 40), (usize::MAX, 1), (1, 10_000)] {
        let told = refused(Query { text: "*".into(), limit, offset, ..Query::default() });
        assert!(told.contains("10000") && told.contains("cursor"), "{told}");
    }
    let far = Query { text: "*".into(), limit: 1, offset: 9_999, ..Query::default() };
    assert_eq!(instance.find(&far).unwrap().total, 2);
    for text in ["a*", "\"some a\"*", "b* OR a*"] {
        let told = refused(Query { text: text.into(), limit: 1, ..Query::default() });
        assert!(told.contains("too many words begin with a"), "{told}");
    }
    assert_eq!(find(&instance, "a1234* OR budg*").len(), 2);
}

/// A clock of a very slow machine: half a minute passes between two looks.
#[derive(Debug, Default)]
struct Crawling(AtomicU64);

impl Clock for Crawling {
    fn wall(&self) -> UnixMillis {
        UnixMillis(1_800_000_000_000)
    }

    fn moment(&self) -> postern_shared::clock::Moment {
        let looks = self.0.fetch_add(1, Ordering::Relaxed);
        postern_shared::clock::Moment::after_start(Duration::from_secs(31 * looks))
    }
}

#[test]
fn a_search_has_a_deadline() {
    let bench = Bench::new();
    let crawling: Arc<dyn Clock> = Arc::new(Crawling::default());
    let instance = open_with(&bench, &crawling, index_fields_with_documents);
    instance.commit(vec![letter(1, "one", "words"), letter(2, "two", "words")]).unwrap();
    let found = instance.find(&Query { text: "words".into(), limit: 1, ..Query::default() });
    assert!(
        matches!(&found, Err(ArchiveError::Query(error)) if error.to_string().contains("too long")),
        "{found:?}"
    );
    let behind = instance.index_states().unwrap()[0].behind;
    assert_eq!(behind, 0, "however slow, it follows to the end");
}

/// Goal: who archives waits for the index for a time alone, and not at all while another one follows.
#[test]
fn who_waits_for_the_index_waits_for_a_time() {
    let (bench, time) = (Bench::new(), Arc::new(ManualClock::at(UnixMillis(1_800_000_000_000))));
    let clock: Arc<dyn Clock> = time.clone();
    let opener = Opener::KeyFile(None);
    let instance =
        Instance::open(&disk(), &clock, &bench.path(), "main", &opener, index_fields_with_documents).unwrap();
    instance.commit((0..3).map(|n| letter(n, "subject", "words")).collect()).unwrap();
    let mut minutes = |_: &str, _: u64, _: Option<u64>| {
        time.advance(Duration::from_secs(60));
        false
    };
    instance.catch_up_for(Duration::from_secs(90), &mut minutes).unwrap();
    let behind = instance.behind().unwrap();
    assert!((1..3).contains(&behind), "{behind}");
    let attached = instance.stores.open_stores();
    let one = attached[0].catching_up.lock().unwrap();
    instance.catch_up_for(Duration::MAX, &mut |_, _, _| false).unwrap();
    assert_eq!(instance.behind().unwrap(), behind);
    drop(one);
    instance.catch_up_for(Duration::MAX, &mut |_, _, _| false).unwrap();
    assert_eq!(instance.behind().unwrap(), 0);
}
