//! Runs against servers that fail in the midst of things.

mod deletions;

use std::path::Path;

use postern_shared::clock::ManualClock;
use postern_shared::disk::{Disk, RealDisk};
use postern_shared::proto::pop3::client::TlsStart;
use serde_json::{Value, json};

use super::*;
use crate::archive::{KeepKey, Opener};
use crate::intake::index_fields_with_documents;
use crate::profiles::job::{self, RunError, RunResult};
use crate::sources::account::{
    Account, Changes, Deleted, Folder, FolderId, Item, ItemSet, Owner, Sink, Woken,
};
use crate::sources::scripted::Server;
use crate::sources::{Cursor, ItemId, SourceError};

mod indexing;
mod power_cuts;
mod troubles;

struct Archive {
    /// Where it is, when it is to be gone with this.
    _dir: Option<tempfile::TempDir>,
    instance: Arc<Instance>,
    clock: Arc<ManualClock>,
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(UnixMillis(1_900_000_000_000)))
}

impl Archive {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let archive = Self::create_on(&disk, dir.path());
        Self { _dir: Some(dir), ..archive }
    }

    /// With a user.
    fn create_on(disk: &Arc<dyn Disk>, dir: &Path) -> Self {
        let time: Arc<dyn Clock> = clock();
        Instance::create(disk, &time, &dir.join("main"), "main", &KeepKey::File(None)).unwrap();
        let archive = Self::open_on(disk, dir);
        archive.instance.add_user("anna", &["anna@mail.test".to_owned()]).unwrap();
        archive
    }

    fn open_on(disk: &Arc<dyn Disk>, dir: &Path) -> Self {
        let (clock, at, opener) = (clock(), dir.join("main"), Opener::KeyFile(None));
        let time: Arc<dyn Clock> = clock.clone();
        let opened = Instance::open(disk, &time, &at, "main", &opener, index_fields_with_documents);
        Self { _dir: None, instance: Arc::new(opened.unwrap()), clock }
    }

    async fn run_in(&self, profile: &Profile, context: &Context) -> (RunResult, Result<RunResult, RunError>) {
        job::run_by(self.clock.clone(), &self.instance, profile, 16 * 1024 * 1024, context).await
    }

    async fn run(&self, profile: &Profile) -> RunResult {
        let (context, _told, _cancel) = Context::new();
        self.run_in(profile, &context).await.1.unwrap()
    }

    /// Runs an account that is no server's.
    async fn pull(&self, fake: &Fake) -> RunResult {
        self.pull_with(&json!({}), fake).await
    }

    /// The same by a profile that says this too.
    async fn pull_with(&self, more: &Value, opens: &impl Opens) -> RunResult {
        let (ran, result) = self.pull_by(more, opens).await;
        ran.unwrap();
        result
    }

    /// The same, and deletes there; whatever comes of it.
    async fn pull_and_delete(&self, opens: &impl Opens) -> RunResult {
        self.pull_by(&json!({ "after": { "delete": true } }), opens).await.1
    }

    async fn pull_by(&self, more: &Value, opens: &impl Opens) -> (Result<(), RunError>, RunResult) {
        let (shared, _goes_on) = self.shared(more);
        let ran = pull(&shared, Some("anna"), opens).await;
        let retries = shared.state.retries(0).unwrap().1;
        (ran, RunResult { retries, ..shared.tally.result() })
    }

    /// A run of a profile that says this too, and what it goes on with: without that it is cancelled.
    fn shared(&self, more: &Value) -> (Arc<Shared>, impl Sized + use<>) {
        let (context, told, cancel) = Context::new();
        let mut profile = json!({
            "name": "fake", "source": { "type": "imap", "host": "h", "username": "u", "password": "p" },
            "assign": { "mode": "user", "user": "anna" },
        });
        for (key, value) in more.as_object().unwrap() {
            profile[key] = value.clone();
        }
        let profile = Profile::from_json(profile).unwrap();
        let state = State::open(&RealDisk, &job::state_dir(&self.instance), &profile.name).unwrap();
        let clock: Arc<dyn Clock> = self.clock.clone();
        let shared = Shared {
            instance: Arc::clone(&self.instance),
            tally: Arc::new(Tally::new("fake", Arc::clone(&clock))),
            profile: Arc::new(profile),
            state: Arc::new(state),
            clock,
            context,
            account: "fake".into(),
            name: "fake".into(),
            message_octets_max: 1024,
        };
        (Arc::new(shared), (told, cancel))
    }
}

fn profile(kind: &str, server: &Server, after: &Value) -> Profile {
    let user = if kind == "gateway" { "mbx-dead1234beef5678" } else { "anna" };
    let mut profile = json!({
        "name": "mail",
        "source": {
            "type": kind, "host": "127.0.0.1", "port": server.port, "trust": server.trust.to_string(),
            "username": user, "password": "geheim",
        },
    });
    if kind != "gateway" {
        profile["assign"] = json!({ "mode": "user", "user": "anna" });
    }
    if !after.is_null() {
        profile["after"] = after.clone();
    }
    Profile::from_json(profile).unwrap()
}

fn login(user: &str) -> String {
    format!("S: +OK\nC: CAPA\nS: -ERR\nC: USER {user}\nS: +OK\nC: PASS geheim\nS: +OK\nC: CAPA\nS: -ERR\n")
}

fn list(messages: &[(&str, u64)]) -> String {
    let numbered = || messages.iter().zip(1..);
    let uidl: String = numbered().map(|((uidl, _), number)| format!("S: {number} {uidl}\n")).collect();
    let sizes: String = numbered().map(|((_, octets), number)| format!("S: {number} {octets}\n")).collect();
    format!("C: UIDL\nS: +OK\n{uidl}S: .\nC: LIST\nS: +OK\n{sizes}S: .\n")
}

fn gives(number: u32, subject: &str) -> String {
    format!("C: RETR {number}\nS: +OK\nS: Subject: {subject}\nS:\nS: {subject}\nS: .\n")
}

fn breaks(number: u32) -> String {
    format!("C: RETR {number}\nS: +OK\nRAW Subj\n")
}

const QUIT: &str = "C: QUIT\nS: +OK\n";

fn dele(number: u32) -> String {
    format!("C: DELE {number}\nS: +OK\n")
}

async fn serve(scripts: &[String]) -> Server {
    let scripts: Vec<&str> = scripts.iter().map(String::as_str).collect();
    Server::start(TlsStart::Implicit, &scripts).await
}

/// Goal: a message amid which a gateway hangs up keeps neither those behind it from coming nor those before it from leaving.
#[tokio::test]
async fn a_gateways_broken_message_keeps_no_other() {
    let login = login("mbx-dead1234beef5678");
    let all = list(&[("aa", 17), ("bb", 17), ("cc", 17)]);
    let left = list(&[("bb", 17), ("cc", 17)]);
    let server = serve(&[
        [&*login, &all, &gives(1, "a"), &breaks(2)].concat(),
        // First what is safe goes, in a session of its own.
        [&*login, &all, &dele(1), QUIT].concat(),
        [&*login, &left, &breaks(1)].concat(),
        [&*login, &left, &gives(2, "c"), &dele(2), QUIT].concat(),
    ])
    .await;
    let archive = Archive::new();
    let ran = archive.run(&profile("gateway", &server, &Value::Null)).await;
    assert_eq!(server.end().await, Ok(()));
    assert_eq!((ran.archived, ran.failed, ran.retries, ran.deleted_at_source), (2, 1, 1, 2), "{ran:?}");
    assert!(ran.errors[0].contains("message bb: the session broke twice"), "{ran:?}");
}

/// Goal: a gateway's message that is too long to be held comes octet for octet, by way of the disk, and leaves.
#[tokio::test]
async fn a_gateways_long_message_goes_over_the_disk() {
    let login = login("mbx-dead1234beef5678");
    let content = format!("Subject: long\r\n\r\n{}\r\n", "x".repeat(collect::HELD_OCTETS_MAX + 1));
    let all = list(&[("aa", content.len() as u64), ("bb", 17)]);
    let long = format!("C: RETR 1\nS: +OK\nRAW {}\nS: .\n", content.replace("\r\n", "\\r\\n"));
    let server = serve(&[[&*login, &all, &long, &gives(2, "b"), &dele(1), &dele(2), QUIT].concat()]).await;
    let archive = Archive::new();
    let ran = archive.run(&profile("gateway", &server, &Value::Null)).await;
    assert_eq!(server.end().await, Ok(()), "{ran:?}");
    assert_eq!((ran.archived, ran.deleted_at_source), (2, 2), "{ran:?}");
    let folder = crate::archive::Placement { archive: "unassigned".into(), folder: "Journal".into() };
    let held = archive.instance.in_folder(&folder, 0, 10).unwrap();
    let found: Vec<Vec<u8>> =
        held.iter().map(|held| archive.instance.message(&held.id.to_string()).unwrap()).collect();
    assert!(found.contains(&content.into_bytes()) && found.len() == 2);
}

/// Goal: what was archived while a profile kept everything at a gateway is deleted when the profile is changed, without being
/// fetched again.
#[tokio::test]
async fn what_a_gateway_kept_goes_when_the_profile_says_so() {
    let login = login("mbx-dead1234beef5678");
    let all = list(&[("aa", 17)]);
    let server =
        serve(&[[&*login, &all, &gives(1, "a"), QUIT].concat(), [&*login, &all, &dele(1), QUIT].concat()])
            .await;
    let archive = Archive::new();
    let ran = archive.run(&profile("gateway", &server, &json!({ "delete": false }))).await;
    assert_eq!((ran.archived, ran.deleted_at_source), (1, 0), "{ran:?}");
    let ran = archive.run(&profile("gateway", &server, &json!({ "delete": true }))).await;
    assert_eq!((ran.archived, ran.duplicates, ran.deleted_at_source), (0, 0, 1), "{ran:?}");
    assert_eq!(server.end().await, Ok(()));
}

/// Goal: a message at which a POP3 session breaks twice is left out; and what an earlier session fetched is fetched once more,
/// for it may be another by now, before it is deleted.
#[tokio::test]
async fn a_maildrops_broken_message_keeps_no_other() {
    let login = login("anna");
    let all = list(&[("a", 17), ("b", 17), ("c", 17)]);
    let server = serve(&[
        [&*login, &all, &gives(1, "a"), &breaks(2)].concat(),
        [&*login, &all, &breaks(2)].concat(),
        [&*login, &all, &gives(3, "c"), &gives(1, "a"), &dele(1), &dele(3), QUIT].concat(),
    ])
    .await;
    let archive = Archive::new();
    let ran = archive.run(&profile("pop3", &server, &json!({ "delete": true }))).await;
    assert_eq!(server.end().await, Ok(()), "{ran:?}");
    assert_eq!((ran.archived, ran.duplicates, ran.failed, ran.retries), (2, 0, 1, 1), "{ran:?}");
    assert_eq!((ran.deleted_at_source, ran.pending_deletions), (2, 0), "{ran:?}");
}

/// Goal: a unique-id that became another message's of the same size costs no message: the other one is archived before anything
/// is deleted, and has its own time.
#[tokio::test]
async fn a_unique_id_of_another_message_deletes_nothing_unseen() {
    let (login, all) = (login("anna"), list(&[("1", 17)]));
    let server = serve(&[
        [&*login, &all, &gives(1, "a"), QUIT].concat(),
        [&*login, &all, &gives(1, "b"), QUIT].concat(),
        [&*login, &all, &gives(1, "b"), &dele(1), QUIT].concat(),
    ])
    .await;
    let (archive, day) = (Archive::new(), Duration::from_secs(24 * 3600));
    let profile = profile("pop3", &server, &json!({ "delete": true, "days": 1 }));
    assert_eq!(archive.run(&profile).await.pending_deletions, 1);
    archive.clock.advance(day);
    let ran = archive.run(&profile).await;
    assert_eq!((ran.archived, ran.deleted_at_source, ran.pending_deletions), (1, 0, 1), "{ran:?}");
    archive.clock.advance(day);
    let ran = archive.run(&profile).await;
    assert_eq!((ran.archived, ran.deleted_at_source, ran.pending_deletions), (0, 1, 0), "{ran:?}");
    assert_eq!(server.end().await, Ok(()));
}

/// Goal: a unique-id that comes again behind our own deletion hides no message, though size and number are the same; neither does
/// one that all messages share.
#[tokio::test]
async fn unique_ids_that_come_again_hide_nothing() {
    for one_for_all in [false, true] {
        let login = login("anna");
        let all = if one_for_all { list(&[("x", 17), ("x", 17)]) } else { list(&[("1", 17)]) };
        let session = |subjects: [&str; 2]| match one_for_all {
            false => [&*login, &all, &gives(1, subjects[0]), &dele(1), QUIT].concat(),
            true => {
                let given = [gives(1, subjects[0]), gives(2, subjects[1])].concat();
                [&*login, &all, &given, &dele(1), &dele(2), QUIT].concat()
            }
        };
        let server = serve(&[session(["a", "b"]), session(["c", "d"]), session(["e", "f"])]).await;
        let archive = Archive::new();
        let profile = profile("pop3", &server, &json!({ "delete": true }));
        let each = if one_for_all { 2 } else { 1 };
        for run in 1..=3 {
            let ran = archive.run(&profile).await;
            assert_eq!((ran.archived, ran.deleted_at_source), (each, each), "run {run}: {ran:?}");
        }
        assert_eq!(server.end().await, Ok(()));
    }
}

/// Goal: what comes shorter than the server said is archived, told, and neither deleted there nor left so: it is fetched once more.
/// Then it comes whole, is archived too and deleted; or comes the same, and stays there for good, for nobody knows what is missing.
#[tokio::test]
async fn what_was_cut_stays_at_the_source_and_comes_once_more() {
    let (login, all) = (login("anna"), list(&[("a", 5000)]));
    let cut = gives(1, "a");
    let whole = format!("C: RETR 1\nS: +OK\nRAW Subject: a\\r\\n\\r\\n{}\\r\\n\nS: .\n", "x".repeat(4984));
    for is_whole in [false, true] {
        let (again, deleted) = if is_whole { (&whole, dele(1)) } else { (&cut, String::new()) };
        let server = serve(&[
            [&*login, &all, &cut, QUIT].concat(),
            [&*login, &all, QUIT].concat(),
            [&*login, &all, again, &deleted, QUIT].concat(),
        ])
        .await;
        let archive = Archive::new();
        let profile = profile("pop3", &server, &json!({ "delete": true }));
        let ran = archive.run(&profile).await;
        assert_eq!((ran.archived, ran.deleted_at_source, ran.pending_deletions), (1, 0, 0), "{ran:?}");
        assert!(ran.errors[0].contains("with 17 octets, of 5000 that the source claims"), "{ran:?}");
        assert_eq!((ran.failed, ran.retries), (1, 1), "{ran:?}");
        let ran = archive.run(&profile).await;
        assert_eq!((ran.archived, ran.duplicates, ran.retries), (0, 0, 1), "{ran:?}");
        archive.clock.advance(Duration::from_secs(600));
        let ran = archive.run(&profile).await;
        let came = u64::from(is_whole);
        assert_eq!((ran.archived, ran.deleted_at_source, ran.retries), (came, came, 0), "{ran:?}");
        assert_eq!(ran.errors.iter().any(|error| error.contains("stays at the source for you")), !is_whole);
        assert_eq!(server.end().await, Ok(()));
    }
}

/// Goal: a run that is cancelled waits out nobody's silence.
#[tokio::test]
async fn a_cancelled_run_ends_before_the_servers_silence() {
    for kind in ["pop3", "gateway", "imap"] {
        let server = serve(&["HANG\n".to_owned()]).await;
        let (context, _told, cancel) = Context::new();
        cancel.send_replace(true);
        let profile = profile(kind, &server, &Value::Null);
        let archive = Archive::new();
        let ran = tokio::time::timeout(Duration::from_secs(30), archive.run_in(&profile, &context)).await;
        assert!(ran.unwrap().0.cancelled, "{kind}");
    }
}

/// Goal: what was done until a run failed is told.
#[tokio::test]
async fn a_run_that_fails_has_a_result() {
    let (login, all) = (login("anna"), list(&[("a", 17)]));
    let rest = "C: DELE 1\nS: +OK\nC: QUIT\nS: -ERR disk full\n";
    let server = serve(&[[&*login, &all, &gives(1, "a"), rest].concat()]).await;
    let (context, _told, _cancel) = Context::new();
    let profile = profile("pop3", &server, &json!({ "delete": true }));
    let (result, ran) = Archive::new().run_in(&profile, &context).await;
    assert!(ran.unwrap_err().to_string().contains("disk full"));
    assert!(result.came_to_something() && result.archived == 1 && !result.log.is_empty(), "{result:?}");
}

/// A folder that tells of everything the first time it is asked.
fn all_at_once(after: Option<&Cursor>, items: impl IntoIterator<Item = Item>) -> Changes {
    Changes {
        items: items.into_iter().filter(|_| after.is_none()).collect(),
        flags: Vec::new(),
        vanished: ItemSet::default(),
        restarted: None,
        cursor: Cursor("all".into()),
        more: false,
    }
}

/// Gives a message to whoever fetches it.
async fn hand_over(item: &Item, content: &[u8], sink: &mut (impl Sink + ?Sized)) -> Result<(), SourceError> {
    sink.begins(item.octets).await.map_err(SourceError::Sink)?;
    sink.piece(content).await.map_err(SourceError::Sink)?;
    let item = Item { octets: content.len() as u64, ..item.clone() };
    sink.ends(item).await.map_err(SourceError::Sink)
}

/// An account with two folders, each with a message.
struct Fake {
    /// Does not list the first one's.
    hangs: bool,
}

impl Opens for Fake {
    type Account = FakeAccount;

    async fn open(&self) -> Result<FakeAccount, SourceError> {
        Ok(FakeAccount(self.hangs))
    }
}

struct FakeAccount(bool);

impl Account for FakeAccount {
    async fn folders(&mut self) -> Result<Vec<Folder>, SourceError> {
        let folder = |name: &str| Folder {
            id: FolderId(name.into()),
            path: vec![name.into()],
            role: None,
            owner: Owner::Own,
            holds_messages: true,
            messages: None,
        };
        Ok(vec![folder("A"), folder("B")])
    }

    async fn changes(&mut self, folder: &FolderId, after: Option<&Cursor>) -> Result<Changes, SourceError> {
        if self.0 && folder.0 == "A" {
            let limit = Duration::from_secs(120);
            return Err(SourceError::TimedOut { host: "h".into(), during: "FETCH", limit });
        }
        let id = ItemId(format!("{folder}/1"));
        let item = Item { id, flags: Vec::new(), internal_date: None, octets: 1 };
        Ok(all_at_once(after, [item]))
    }

    async fn fetch(
        &mut self,
        folder: &FolderId,
        items: &[Item],
        sink: &mut (impl Sink + ?Sized),
    ) -> Result<(), SourceError> {
        // Of what is in A it forgets to say anything.
        for item in items.iter().filter(|_| folder.0 == "B") {
            hand_over(item, b"Subject: b\r\n\r\nb\r\n", sink).await?;
        }
        Ok(())
    }

    async fn delete(&mut self, _: &FolderId, _: &[ItemId]) -> Result<Deleted, SourceError> {
        Ok(Deleted::default())
    }

    async fn wait(&mut self, _: &FolderId, _: Duration) -> Result<Woken, SourceError> {
        Err(SourceError::CannotWait)
    }

    async fn finish(self) -> Result<Deleted, SourceError> {
        Ok(Deleted::default())
    }
}

/// Goal: a source that says nothing of a message has it on the list of what is tried again, and not behind the cursor unseen.
#[tokio::test]
async fn what_a_source_forgets_is_tried_again() {
    let ran = Archive::new().pull(&Fake { hangs: false }).await;
    assert_eq!((ran.archived, ran.failed, ran.retries), (1, 1, 1), "{ran:?}");
    assert!(ran.errors[0].contains("said nothing of it"), "{ran:?}");
}

/// Goal: a folder at which the server falls silent keeps no other one.
#[tokio::test]
async fn a_folder_that_is_not_listed_keeps_no_other() {
    let ran = Archive::new().pull(&Fake { hangs: true }).await;
    assert_eq!((ran.archived, ran.folders_failed, ran.failed), (1, 1, 0), "{ran:?}");
    assert!(ran.errors[0].contains("A is left for another run"), "{ran:?}");
}
