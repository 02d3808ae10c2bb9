//! Servers that let in and list, and fail at all that comes behind that.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

const GATEWAY: &str = "mbx-dead1234beef5678";

fn ten() -> Vec<(&'static str, u64)> {
    ["aa", "bb", "cc", "dd", "ee", "ff", "gg", "hh", "ii", "jj"].map(|id| (id, 17)).to_vec()
}

fn gateways(servers: &[&Server]) -> Profile {
    let gateway = |server: &&Server| {
        json!({ "host": "127.0.0.1", "port": server.port, "trust": server.trust.to_string(), "username": GATEWAY,
            "password": "geheim" })
    };
    let gateways: Vec<Value> = servers.iter().map(gateway).collect();
    Profile::from_json(json!({ "name": "mail", "source": { "type": "gateway", "gateway": gateways } }))
        .unwrap()
}

/// Goal: a gateway that lists and hands nothing over has an end, and keeps another one of the profile from nothing; the next run
/// begins behind what was left out, which comes last.
#[tokio::test]
async fn a_gateway_that_hands_nothing_over_keeps_no_other() {
    let (login, all) = (login(GATEWAY), list(&ten()));
    let twice = |number: u32| [0; 2].map(|_| [&*login, &all, &breaks(number)].concat());
    let bad = serve(&(1..=5).flat_map(twice).collect::<Vec<_>>()).await;
    let good = serve(&[[&*login, &list(&[("zz", 17)]), &gives(1, "z"), &dele(1), QUIT].concat()]).await;
    let archive = Archive::new();
    let ran = archive.run(&gateways(&[&bad, &good])).await;
    assert_eq!((bad.end().await, good.end().await), (Ok(()), Ok(())));
    assert_eq!((ran.archived, ran.failed, ran.retries, ran.accounts_failed), (1, 5, 5, 1), "{ran:?}");
    let error = ran.accounts[0].error.as_deref().unwrap_or_default();
    assert!(error.contains("closed the connection"), "{ran:?}");
}

/// Goal: what failed before comes behind what is new, so it keeps nothing of that.
#[tokio::test]
async fn what_failed_at_a_gateway_comes_last() {
    let login = login(GATEWAY);
    let all = list(&[("aa", 17), ("bb", 17)]);
    let later = list(&[("aa", 17), ("cc", 17)]);
    let server = serve(&[
        [&*login, &all, &breaks(1)].concat(),
        [&*login, &all, &breaks(1)].concat(),
        [&*login, &all, &gives(2, "b"), &dele(2), QUIT].concat(),
        [&*login, &later, &gives(2, "c"), &gives(1, "a"), &dele(2), &dele(1), QUIT].concat(),
    ])
    .await;
    let archive = Archive::new();
    let profile = profile("gateway", &server, &Value::Null);
    assert_eq!(archive.run(&profile).await.retries, 1);
    archive.clock.advance(Duration::from_secs(3600));
    let ran = archive.run(&profile).await;
    assert_eq!(server.end().await, Ok(()));
    assert_eq!((ran.archived, ran.retries, ran.deleted_at_source), (2, 0, 2), "{ran:?}");
}

/// Goal: mail that waits at a gateway behind more messages than are listed, which all stay, is an error of the run.
#[tokio::test]
async fn mail_behind_what_is_listed_is_told() {
    let login = login(GATEWAY);
    let mut messages = ten();
    messages.extend([("kk", 17), ("ll", 17), ("mm", 17)]);
    let all = list(&messages);
    let given: String = (1..=12).map(|number| gives(number, &number.to_string())).collect();
    let server = serve(&[[&*login, &all, &given, QUIT].concat(), [&*login, &all, QUIT].concat()]).await;
    let (context, _told, _cancel) = Context::new();
    let profile = profile("gateway", &server, &json!({ "delete": false }));
    let (ran, ended) = Archive::new().run_in(&profile, &context).await;
    assert_eq!(server.end().await, Ok(()));
    assert_eq!((ran.archived, ran.failed), (12, 0), "{ran:?}");
    let error = ended.unwrap_err().to_string();
    assert!(error.contains("those behind them are not archived"), "{error}");
}

/// Goal: the same of an account: five messages in a row, then the run is over. The next one begins behind them, and what failed
/// before, however much it is, costs nothing but itself.
#[tokio::test]
async fn an_account_that_hands_nothing_over_is_given_up() {
    let (login, all) = (login("anna"), list(&ten()));
    let twice = |number: u32| [0; 2].map(|_| [&*login, &all, &breaks(number)].concat());
    let five: Vec<String> = (1..=5).flat_map(twice).collect();
    let given: String = (6..=10).map(|number| gives(number, &number.to_string())).collect();
    let mut scripts = five.clone();
    scripts.push([&*login, &all, &given, QUIT].concat());
    scripts.extend(five);
    scripts.push([&*login, &all, QUIT].concat());
    let server = serve(&scripts).await;
    let (archive, profile) = (Archive::new(), profile("pop3", &server, &Value::Null));
    let (context, _told, _cancel) = Context::new();
    let (ran, ended) = archive.run_in(&profile, &context).await;
    assert!(ended.unwrap_err().to_string().contains("closed the connection"));
    assert_eq!((ran.archived, ran.failed, ran.retries), (0, 5, 5), "{ran:?}");
    let ran = archive.run(&profile).await;
    assert_eq!((ran.archived, ran.failed, ran.retries), (5, 0, 5), "{ran:?}");
    archive.clock.advance(Duration::from_secs(3600));
    let ran = archive.run(&profile).await;
    assert_eq!((ran.archived, ran.failed, ran.retries), (0, 5, 5), "{ran:?}");
    assert_eq!(server.end().await, Ok(()));
}

/// A server that fails as it is told.
#[derive(Default)]
struct Troubled {
    /// How many messages are in each folder.
    folders: Vec<(&'static str, u32)>,
    date: UnixMillis,
    read: bool,
    /// A folder that does not open.
    closed: Option<&'static str>,
    /// A message that is not described.
    nondescript: Option<&'static str>,
    /// A message at which it hangs up when it is to send, describe or delete it.
    breaks_fetch: Option<&'static str>,
    breaks_look: Option<&'static str>,
    breaks_delete: Option<&'static str>,
    opened: AtomicU32,
    looked: Mutex<HashMap<ItemId, u32>>,
}

struct Session<'t> {
    server: &'t Troubled,
    suspect: Option<ItemId>,
}

impl Troubled {
    fn broken() -> SourceError {
        SourceError::Closed { host: "h".into(), during: "an answer" }
    }

    fn no(folder: &FolderId) -> SourceError {
        SourceError::Folder { host: "h".into(), folder: folder.clone(), text: "no".into() }
    }

    fn item(&self, id: &ItemId) -> Item {
        let flags = if self.read { vec!["\\Seen".to_owned()] } else { Vec::new() };
        Item { id: id.clone(), flags, internal_date: Some(self.date), octets: 17 }
    }

    fn sessions(&self) -> u32 {
        self.opened.swap(0, Ordering::Relaxed)
    }
}

impl<'t> Opens for &'t Troubled {
    type Account = Session<'t>;

    async fn open(&self) -> Result<Session<'t>, SourceError> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(Session { server: self, suspect: None })
    }
}

impl Account for Session<'_> {
    async fn folders(&mut self) -> Result<Vec<Folder>, SourceError> {
        let folder = |(name, _): &(&str, u32)| Folder {
            id: FolderId((*name).into()),
            path: vec![(*name).into()],
            role: None,
            owner: Owner::Own,
            holds_messages: true,
            messages: None,
        };
        Ok(self.server.folders.iter().map(folder).collect())
    }

    async fn changes(&mut self, folder: &FolderId, after: Option<&Cursor>) -> Result<Changes, SourceError> {
        if self.server.closed.is_some_and(|closed| closed == folder.0) {
            return Err(Troubled::no(folder));
        }
        let count =
            self.server.folders.iter().find(|(name, _)| *name == folder.0).map_or(0, |(_, count)| *count);
        let items = (1..=count).map(|number| self.server.item(&ItemId(format!("{folder}/{number}"))));
        Ok(all_at_once(after, items))
    }

    async fn fetch(
        &mut self,
        _: &FolderId,
        items: &[Item],
        sink: &mut (impl Sink + ?Sized),
    ) -> Result<(), SourceError> {
        for item in items {
            if self.server.breaks_fetch.is_some_and(|broken| broken == item.id.0) {
                self.suspect = Some(item.id.clone());
                return Err(Troubled::broken());
            }
            let content = format!("Subject: {}\r\n\r\n", item.id).into_bytes();
            hand_over(item, &content, sink).await?;
        }
        Ok(())
    }

    async fn look(&mut self, folder: &FolderId, items: &[Item]) -> Result<Vec<Item>, SourceError> {
        let has = |what: Option<&str>| what.is_some_and(|what| items.iter().any(|item| item.id.0 == what));
        if has(self.server.breaks_look) {
            return Err(Troubled::broken());
        }
        if has(self.server.nondescript) {
            return Err(Troubled::no(folder));
        }
        let mut looked = self.server.looked.lock().unwrap();
        items.iter().for_each(|item| *looked.entry(item.id.clone()).or_default() += 1);
        Ok(items.iter().map(|item| self.server.item(&item.id)).collect())
    }

    fn suspect(&self) -> Option<ItemId> {
        self.suspect.clone()
    }

    async fn delete(&mut self, _: &FolderId, items: &[ItemId]) -> Result<Deleted, SourceError> {
        match self.server.breaks_delete {
            Some(broken) if items.iter().any(|item| item.0 == broken) => Err(Troubled::broken()),
            _ => Ok(Deleted { deleted: items.to_vec(), ..Deleted::default() }),
        }
    }

    async fn wait(&mut self, _: &FolderId, _: Duration) -> Result<Woken, SourceError> {
        Err(SourceError::CannotWait)
    }

    async fn finish(self) -> Result<Deleted, SourceError> {
        Ok(Deleted::default())
    }
}

/// Goal: folders that do not open cost no session, and keep no other.
#[tokio::test]
async fn a_folder_that_does_not_open_costs_no_session() {
    let archive = Archive::new();
    let server = Troubled { folders: vec![("A", 1), ("B", 2)], closed: Some("A"), ..Troubled::default() };
    let ran = archive.pull_with(&json!({}), &&server).await;
    assert_eq!((ran.archived, ran.folders_failed, server.sessions()), (2, 1, 1), "{ran:?}");
    assert!(ran.errors[0].contains("A is left for another run"), "{ran:?}");
}

/// Goal: a message that waited for its time, and then breaks every session, keeps neither those behind it nor other folders from
/// coming; and once it is discarded it is asked for no more.
#[tokio::test]
async fn what_waited_and_breaks_keeps_no_other() {
    let archive = Archive::new();
    let date = archive.clock.wall();
    let folders = vec![("A", 3), ("B", 1)];
    let server = Troubled { folders, date, breaks_fetch: Some("A/1"), ..Troubled::default() };
    let scope = json!({ "scope": { "older_than_days": 30 } });
    let ran = archive.pull_with(&scope, &&server).await;
    assert_eq!((ran.archived, ran.failed, server.sessions()), (0, 0, 1), "{ran:?}");
    archive.clock.advance(Duration::from_secs(31 * 24 * 3600));
    let ran = archive.pull_with(&scope, &&server).await;
    assert_eq!((ran.archived, ran.failed, ran.retries, server.sessions()), (3, 1, 1, 3), "{ran:?}");
    archive.state().discard(None).unwrap();
    archive.clock.advance(Duration::from_secs(31 * 24 * 3600));
    let ran = archive.pull_with(&scope, &&server).await;
    assert_eq!((ran.archived, ran.failed, server.sessions()), (0, 0, 1), "{ran:?}");
}

/// Goal: what waits to be read is looked at a stretch at a time; a message that the server does not describe, or at which it hangs
/// up, keeps neither other stretches nor other folders from being read, nor anything from coming when that is over.
#[tokio::test]
async fn a_look_that_fails_keeps_no_other() {
    let archive = Archive::new();
    let scope = json!({ "scope": { "state": "read" } });
    let mut server = Troubled { folders: vec![("A", 9), ("B", 1)], ..Troubled::default() };
    let ran = archive.pull_with(&scope, &&server).await;
    assert_eq!(
        (ran.archived, server.sessions(), server.looked.get_mut().unwrap().len()),
        (0, 1, 10),
        "{ran:?}"
    );
    (server.read, server.breaks_look) = (true, Some("A/2"));
    let ran = archive.pull_with(&scope, &&server).await;
    // Of four, four and one.
    assert_eq!((ran.archived, server.sessions()), (6, 3), "{ran:?}");
    assert!(ran.errors[0].contains("A: messages that wait for their time there are left"), "{ran:?}");
    (server.breaks_look, server.nondescript) = (None, Some("A/2"));
    let ran = archive.pull_with(&scope, &&server).await;
    assert_eq!((ran.archived, server.sessions()), (3, 1), "{ran:?}");
    assert!(ran.errors[0].contains("A: message A/2 waits for its time"), "{ran:?}");
    server.nondescript = None;
    assert_eq!(archive.pull_with(&scope, &&server).await.archived, 1);
}

/// Goal: a folder in which a server hangs up at each deletion keeps what is due in others from nothing.
#[tokio::test]
async fn a_folder_that_cannot_be_emptied_keeps_no_other() {
    let archive = Archive::new();
    let folders = vec![("A", 2), ("B", 2)];
    let server = Troubled { folders, breaks_delete: Some("A/1"), ..Troubled::default() };
    let ran = archive.pull_with(&json!({ "after": { "delete": true } }), &&server).await;
    assert_eq!((ran.archived, ran.deleted_at_source, server.sessions()), (4, 2, 3), "{ran:?}");
    assert!(ran.errors[0].contains("A: nothing is deleted there"), "{ran:?}");
    assert_eq!(archive.state().pending_count().unwrap(), 2);
}

impl Archive {
    fn state(&self) -> State {
        State::open(&RealDisk, &job::state_dir(&self.instance), &"fake".parse().unwrap()).unwrap()
    }
}
