use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use postern_shared::clock::{Clock, ManualClock, UnixMillis};
use postern_shared::disk::{Disk, RealDisk};

use super::*;
use crate::archive::{
    AddressEvidence, Attachment, AttachmentText, HitPage, IndexFields, Instance, KeepKey, NewMessage, Opener,
    Order, Placement, Query, QueryError, Source,
};
use crate::intake::index_fields_with_documents;

mod trouble;

struct Bench {
    dir: tempfile::TempDir,
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
        let opener = Opener::KeyFile(None);
        Instance::open(&disk(), &clock(), &self.path(), "main", &opener, index_fields_with_documents).unwrap()
    }

    fn index(&self) -> PathBuf {
        self.path().join("stores/0001/index")
    }

    /// The files of the generation that serves.
    fn index_files(&self) -> Vec<PathBuf> {
        let dirs = RealDisk.dirs(&self.index()).unwrap();
        RealDisk.files(dirs.last().unwrap()).unwrap()
    }
}

fn message(content: &str, archive: &str) -> NewMessage {
    let content = content.replace('\n', "\r\n").into_bytes();
    NewMessage {
        index: index_fields_with_documents(&content, None),
        content,
        fold_key: None,
        evidence: None,
        mail_from: None,
        participants: Vec::new(),
        filed_in: vec![Placement { archive: archive.into(), folder: "Journal/Incoming".into() }],
        internal_date: None,
        flags: Vec::new(),
        quarantined: None,
        sha256: None,
        untrusted_fields: Vec::new(),
        source: Source { profile: "p".into(), uidl: String::new(), received: None, trace: None },
    }
}

fn letter(n: usize, subject: &str, body: &str) -> NewMessage {
    let date = format!("Date: Mon, {:02} Jan 2026 10:00:{:02} +0000", 1 + n % 28, n % 60);
    message(
        &format!(
            "From: Anna <anna@example.com>\nTo: bob@example.com\nSubject: {subject}\n{date}\nMessage-ID: <{n}@x>\n\n{body}\n"
        ),
        "anna",
    )
}

fn find(instance: &Instance, text: &str) -> Vec<String> {
    let query = Query { text: text.into(), limit: 100, ..Query::default() };
    instance.search(&query).unwrap().into_iter().map(|hit| hit.subject).collect()
}

fn pages(instance: &Instance, query: &Query, mut between: impl FnMut()) -> Vec<String> {
    let mut query = query.clone();
    let mut subjects = Vec::new();
    loop {
        let HitPage { hits, next, .. } = instance.find(&query).unwrap();
        subjects.extend(hits.into_iter().map(|hit| hit.subject));
        between();
        match next {
            Some(next) => query.cursor = Some(next),
            None => return subjects,
        }
    }
}

#[test]
fn many_languages_are_found() {
    let bench = Bench::new();
    let instance = bench.open();
    let texts = [
        ("german", "Größe und Straße"),
        ("french", "le résumé du contrat signé à Genève"),
        ("russian", "Годовой отчёт за прошлый год"),
        ("greek", "Η ετήσια έκθεση της εταιρείας"),
        ("japanese", "添付の年次報告書をご確認ください"),
        ("chinese", "请查收附件中的合同"),
        ("korean", "연간 보고서를 확인해 주세요"),
        ("thai", "กรุณาตรวจสอบรายงานประจำปี"),
        ("arabic", "يرجى مراجعة التقرير السنوي"),
        ("hindi", "कृपया वार्षिक रिपोर्ट देखें"),
    ];
    let batch = texts.iter().enumerate().map(|(n, (subject, body))| {
        let plain = letter(n, subject, body);
        let head = String::from_utf8(plain.content).unwrap();
        message(
            &head.replace("\r\n", "\n").replacen(
                "Message-ID",
                "Content-Type: text/plain; charset=utf-8\nMessage-ID",
                1,
            ),
            "anna",
        )
    });
    instance.commit(batch.collect()).unwrap();
    for (query, found) in [
        ("GROSSE strasse", "german"),
        ("resume geneve", "french"),
        ("\"contrat signe\"", "french"),
        ("отчет", "russian"),
        ("ΕΤΗΣΙΑ", "greek"),
        ("年次", "japanese"),
        ("報告書", "japanese"),
        ("合同", "chinese"),
        ("查", "chinese"),
        ("보고서", "korean"),
        ("รายงาน", "thai"),
        ("التقرير", "arabic"),
        ("रिपोर्ट", "hindi"),
        ("contr*", "french"),
    ] {
        assert_eq!(find(&instance, query), [found], "{query}");
    }
    assert!(find(&instance, "告報").is_empty(), "the order of characters counts");
}

#[test]
fn fields_phrases_and_operators_do_what_they_say() {
    let bench = Bench::new();
    let instance = bench.open();
    instance
        .commit(vec![
            letter(1, "Annual report", "figures of the year"),
            letter(2, "Report", "the annual one is late; annual\n\nreport of figures"),
            letter(3, "annual", "report"),
            letter(4, "Lunch", &"x".repeat(5000)),
        ])
        .unwrap();
    assert_eq!(
        find(&instance, "\"annual report\""),
        ["Report", "Annual report"],
        "no phrase goes from field to field"
    );
    assert_eq!(find(&instance, "subject:\"annual rep\"*"), ["Annual report"]);
    assert_eq!(find(&instance, "subject:(annual OR lunch)"), ["Lunch", "annual", "Annual report"]);
    assert_eq!(find(&instance, "report -figures"), ["annual"]);
    assert_eq!(find(&instance, "NOT (report OR annual)"), ["Lunch"]);
    assert_eq!(find(&instance, "size:>4kb"), ["Lunch"]);
    assert_eq!(find(&instance, "smaller:4kb lunch").len(), 0);
    assert_eq!(find(&instance, "on:2026-01-03..2026-01-04"), ["annual", "Report"]);
    assert_eq!(find(&instance, "with:anna@example.com to:bob after:2026-01-05"), ["Lunch"]);
    assert_eq!(find(&instance, "folder:incoming archive:anna lunch"), ["Lunch"]);
    assert_eq!(find(&instance, "id:<3@x>"), ["annual"]);
    let hit =
        instance.search(&Query { text: "lunch".into(), limit: 1, ..Query::default() }).unwrap().remove(0);
    assert_eq!(find(&instance, &format!("id:{}", hit.id).to_lowercase()), ["Lunch"]);
    let oldest = Query { text: "report".into(), limit: 2, order: Order::Oldest, ..Query::default() };
    assert_eq!(pages(&instance, &oldest, || ()), ["Annual report", "Report", "annual"]);
    let wrong = |text: &str, archive: Option<&str>| {
        let query =
            Query { text: text.into(), archive: archive.map(Into::into), limit: 1, ..Query::default() };
        instance.search(&query).unwrap_err()
    };
    assert!(matches!(wrong("form:anna", None), ArchiveError::Query(QueryError { at: 1, .. })));
    assert!(matches!(wrong("archive:bob", Some("anna")), ArchiveError::Query(_)));
}

/// Goal: pages show everything once, in order, whatever arrives between them, over several stores.
#[test]
fn pages_stay_in_place_while_mail_arrives() {
    for order in [Order::Newest, Order::Oldest, Order::Relevance] {
        let bench = Bench::new();
        let instance = bench.open();
        let body = |n: usize| format!("{} end", "budget ".repeat(1 + n % 7));
        instance.commit((0..15).map(|n| letter(n, &format!("old {n}"), &body(n))).collect()).unwrap();
        instance.create_store().unwrap();
        instance.commit((15..30).map(|n| letter(n, &format!("old {n}"), &body(n))).collect()).unwrap();
        let query = Query { text: "budget".into(), limit: 30, order, ..Query::default() };
        let whole = pages(&instance, &query, || ());
        assert_eq!(whole.iter().collect::<HashSet<_>>().len(), 30);

        let mut arrived = 30;
        let paged = pages(&instance, &Query { limit: 4, ..query }, || {
            if arrived >= 60 {
                return;
            }
            // Words become rarer and commoner, folders merge; some of it sorts before the page, some behind.
            let new = (arrived..arrived + 5)
                .map(|n| letter(n, &format!("new {n}"), &format!("budget {}", "other ".repeat(n))));
            instance.commit(new.collect()).unwrap();
            arrived += 5;
        });
        let old: Vec<&String> = paged.iter().filter(|subject| subject.starts_with("old")).collect();
        assert_eq!(old, whole.iter().collect::<Vec<_>>(), "{order:?}");
        assert_eq!(paged.iter().collect::<HashSet<_>>().len(), paged.len(), "{order:?}");
    }
}

#[test]
fn a_cursor_belongs_to_its_query() {
    let bench = Bench::new();
    let instance = bench.open();
    instance.commit((0..5).map(|n| letter(n, &format!("n{n}"), "word")).collect()).unwrap();
    let query = Query { text: "word".into(), limit: 2, ..Query::default() };
    let page = instance.find(&query).unwrap();
    assert_eq!((page.total, page.hits.len(), page.behind), (5, 2, 0));
    let next = page.next;
    for other in [
        Query { text: "words".into(), cursor: next.clone(), ..query.clone() },
        Query { archive: Some("anna".into()), cursor: next.clone(), ..query.clone() },
        Query { order: Order::Relevance, cursor: next.clone(), ..query.clone() },
        Query { cursor: Some("nonsense".into()), ..query.clone() },
        Query { cursor: next.map(|next| next.chars().rev().collect()), ..query },
    ] {
        assert!(matches!(instance.find(&other), Err(ArchiveError::Cursor(_))), "{other:?}");
    }
}

#[test]
fn a_better_fit_comes_first() {
    let bench = Bench::new();
    let instance = bench.open();
    instance
        .commit(vec![
            letter(1, "budget", "about the budget"),
            letter(2, "lunch", &format!("budget {}", "other words ".repeat(50))),
            letter(3, "nothing", "at all"),
        ])
        .unwrap();
    let query = Query { text: "budget".into(), limit: 9, order: Order::Relevance, ..Query::default() };
    assert_eq!(pages(&instance, &query, || ()), ["budget", "lunch"]);
}

/// Goal: nobody learns from a search who else received a message in secret, or where others file it.
#[test]
fn bcc_and_folders_are_found_by_those_who_may_know() {
    let bench = Bench::new();
    let instance = bench.open();
    for user in ["anna", "bob", "carol"] {
        instance.add_user(user, &[format!("{user}@example.com")]).unwrap();
    }
    let who = |address: &str, role: &str| AddressEvidence {
        address: format!("{address}@example.com"),
        role: role.into(),
        evidence: "journal-envelope".into(),
        expanded_from: None,
    };
    let filed = |archive: &str, folder: &str| Placement { archive: archive.into(), folder: folder.into() };
    let mut secret = letter(1, "secret", "text");
    secret.participants = vec![who("anna", "sender"), who("bob", "to"), who("carol", "bcc")];
    secret.filed_in = vec![filed("anna", "Outgoing"), filed("bob", "Lawsuit"), filed("carol", "Incoming")];
    instance.commit(vec![secret]).unwrap();
    let count = |text: &str, archive: Option<&str>| {
        let query =
            Query { text: text.into(), archive: archive.map(Into::into), limit: 9, ..Query::default() };
        let page = instance.find(&query).unwrap();
        assert_eq!(page.total, page.hits.len() as u64);
        page.hits.len()
    };
    for query in ["bcc:carol", "carol", "recipient:carol@example.com", "car*", "with:carol"] {
        assert_eq!(count(query, None), 1, "{query}");
        assert_eq!(count(query, Some("anna")), 1, "{query}");
        assert_eq!(count(query, Some("carol")), 1, "{query}");
        assert_eq!(count(query, Some("bob")), 0, "{query}");
    }
    assert_eq!(count("folder:lawsuit", None), 1);
    assert_eq!(count("folder:lawsuit", Some("bob")), 1);
    assert_eq!(count("folder:lawsuit", Some("anna")), 0);
    assert_eq!(count("-folder:lawsuit", Some("anna")), 1);
}

/// Reads what tests call a document: its octets are its text.
#[derive(Debug)]
struct Reader;

impl DocumentReader for Reader {
    fn read(&self, name: &str, octets: &[u8], _: &dyn Fn() -> bool) -> Result<AttachmentText, NotRead> {
        match name {
            "bomb.rtf" => Err(NotRead::Broken("reading it took too long".into())),
            _ => Ok(AttachmentText::Text(String::from_utf8_lossy(octets).into_owned())),
        }
    }
}

fn with_attachments(n: usize) -> NewMessage {
    let part = |name: &str, text: &str| {
        format!(
            "--b\nContent-Type: application/octet-stream\nContent-Disposition: attachment; filename=\"{name}\"\n\n{text}\n"
        )
    };
    message(
        &format!(
            "From: anna@example.com\nSubject: files {n}\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n\
             --b\n\nsee below\n{}{}{}--b--\n",
            part("report.rtf", "{\\rtf1 turnover of the quarter}"),
            part("bomb.rtf", "{\\rtf1 boom}"),
            part("photo.jpg", "binary"),
        ),
        "anna",
    )
}

#[test]
fn attached_documents_are_found_by_their_text_and_marked_without() {
    let bench = Bench::new();
    let instance = bench.open();
    instance.read_documents_with(Arc::new(Reader));
    instance.commit(vec![with_attachments(1), letter(2, "plain", "text")]).unwrap();
    let page = instance.find(&Query { text: "turnover".into(), limit: 9, ..Query::default() }).unwrap();
    let hit = &page.hits[0];
    assert_eq!(
        (hit.snippets[0].field.as_str(), hit.snippets[0].attachment.as_deref()),
        ("attachment", Some("report.rtf"))
    );
    assert_eq!(hit.text_missing.len(), 1);
    assert_eq!(
        (hit.text_missing[0].attachment.as_str(), hit.text_missing[0].why.as_str()),
        ("bomb.rtf", "reading it took too long")
    );
    assert_eq!(find(&instance, "filename:jpg has:attachment"), ["files 1"]);
    assert_eq!(find(&instance, "has:missing-text"), ["files 1"]);
    assert_eq!(find(&instance, "-has:attachment"), ["plain"]);
    assert_eq!(find(&instance, "attachment:quarter"), ["files 1"]);
    assert_eq!(find(&instance, "body:quarter").len(), 0);
}

/// Goal: whatever bit of the index is turned over, searches answer rightly or say what is wrong, and another index is built.
#[test]
fn a_damaged_index_is_found_out_and_built_anew() {
    let bench = Bench::new();
    {
        let instance = bench.open();
        instance.commit((0..20).map(|n| letter(n, &format!("n{n}"), "some words")).collect()).unwrap();
        assert_eq!(find(&instance, "words").len(), 20);
    }
    let names: BTreeSet<String> = bench
        .index_files()
        .iter()
        .map(|path| path.extension().map_or_else(String::new, |e| e.to_string_lossy().into_owned()))
        .collect();
    assert!(names.len() > 4, "{names:?}");
    for ending in names {
        for part in [1, 2, 3] {
            let files = bench.index_files().into_iter();
            let mut files = files.filter(|path| {
                path.extension().map_or_else(String::new, |e| e.to_string_lossy().into_owned()) == ending
            });
            let Some(path) = files.find(|path| !path.ends_with(".tantivy-writer.lock")) else { continue };
            flip(&path, part);
            let instance = bench.open();
            assert_eq!(find(&instance, "words").len(), 20, "{} at {part}", path.display());
            assert!(damaged(&instance).is_empty());
        }
    }
}

/// What is wrong with the indexes, each of which is read whole.
fn damaged(instance: &Instance) -> Vec<String> {
    let stores = instance.wanted_stores(None).unwrap();
    stores.iter().filter_map(|attached| attached.index.check().unwrap()).collect()
}

fn flip(path: &Path, quarter: u64) {
    let file = RealDisk.open(path).unwrap();
    let len = file.len().unwrap();
    if len > 0 {
        let mut octet = [0];
        file.read_exact_at(&mut octet, len * quarter / 4).unwrap();
        file.write_all_at(&[&[octet[0] ^ 0x10]], len * quarter / 4).unwrap();
    }
}

#[test]
fn damage_while_it_serves_is_marked_and_healed() {
    let bench = Bench::new();
    let instance = bench.open();
    instance.commit((0..20).map(|n| letter(n, &format!("n{n}"), "some words")).collect()).unwrap();
    assert_eq!(find(&instance, "words").len(), 20);
    let store =
        bench.index_files().into_iter().find(|path| path.extension().is_some_and(|e| e == "store")).unwrap();
    flip(&store, 2);
    assert_eq!(damaged(&instance).len(), 1);
    assert!(instance.index_states().unwrap()[0].damage.is_some());
    assert!(instance.rebuild_indexes(None, (true, false), &mut |_, _, _| false).unwrap());
    assert!(damaged(&instance).is_empty());
    let page = instance.find(&Query { text: "words".into(), limit: 30, ..Query::default() }).unwrap();
    assert_eq!((page.hits.len(), page.damaged.len()), (20, 0));
}

/// Goal: the old index serves while another one is built; building that is ended goes on, and new mail is in both.
#[test]
fn an_index_is_built_beside_the_one_that_serves() {
    let bench = Bench::new();
    let instance = bench.open();
    instance.commit((0..600).map(|n| letter(n, &format!("n{n}"), "some words")).collect()).unwrap();
    assert_eq!(find(&instance, "words").len(), 100);
    let mut looks = 0;
    let ended = instance.rebuild_indexes(None, (false, false), &mut |_, done, _| {
        looks += 1;
        let page = instance.find_now(&Query { text: "words".into(), limit: 1, ..Query::default() }).unwrap();
        assert_eq!(page.total, 600);
        done >= 300
    });
    assert!(!ended.unwrap() && looks > 1);
    instance.commit(vec![letter(700, "late", "some words")]).unwrap();
    let mut first = None;
    assert!(
        instance
            .rebuild_indexes(None, (false, false), &mut |_, done, total| {
                first.get_or_insert((done, total));
                false
            })
            .unwrap()
    );
    assert!(first.unwrap().1 < Some(600), "it went on: {first:?}");
    let page = instance.find(&Query { text: "words".into(), limit: 1, ..Query::default() }).unwrap();
    assert_eq!((page.total, page.behind), (601, 0));
    let dirs = RealDisk.dirs(&bench.index()).unwrap();
    assert_eq!(dirs.len(), 1, "{dirs:?}");
}

#[test]
fn a_follower_follows() {
    let bench = Bench::new();
    let instance = Arc::new(bench.open());
    let follower = Follower::start(&instance).unwrap();
    // It rings back before the search gives up; what the follower indexed, nobody else did.
    instance.commit((0..10).map(|n| letter(n, &format!("n{n}"), "words")).collect()).unwrap();
    let mut found = 0;
    while found < 10 {
        found = find(&instance, "words").len();
    }
    drop(follower);
    instance.commit(vec![letter(11, "late", "words")]).unwrap();
    assert_eq!(find(&instance, "words").len(), 11, "without a follower a search indexes");
}

#[test]
fn text_of_attached_messages_is_found() {
    let fields = index_fields_with_documents(
        b"Subject: outer\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n\
          Content-Type: message/rfc822\r\n\r\nSubject: inner\r\nFrom: carol@example.com\r\nMIME-Version: 1.0\r\n\
          Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\ndeep words\r\n--c\r\nContent-Type: text/csv\r\n\
          Content-Disposition: attachment; filename=\"a.csv\"\r\n\r\none;two\r\n--c--\r\n--b--\r\n",
        None,
    );
    assert_eq!(fields.body.trim(), "hello");
    let found: Vec<(&str, bool)> = fields
        .attachments
        .iter()
        .map(|Attachment { name, text }| {
            let has = |words: &str| matches!(text, AttachmentText::Text(text) if text.contains(words));
            (name.as_str(), has("deep words") && has("carol@example.com") || has("one;two"))
        })
        .collect();
    assert_eq!(found, [("inner", true), ("a.csv", true)]);
}
