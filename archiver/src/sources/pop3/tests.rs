//! Against scripted servers. Against real ones: `tests/tests/imap/`.

use postern_shared::proto::sasl::PlainCredentials;

use super::*;
use crate::sources::scripted;

#[derive(Default)]
struct Kept(Vec<(String, String)>, String);

impl Sink for Kept {
    async fn begins(&mut self, _octets: u64) -> std::io::Result<()> {
        self.1.clear();
        Ok(())
    }

    async fn piece(&mut self, octets: &[u8]) -> std::io::Result<()> {
        self.1.push_str(&String::from_utf8_lossy(octets));
        Ok(())
    }

    async fn ends(&mut self, item: Item) -> std::io::Result<()> {
        self.0.push((item.id.0, std::mem::take(&mut self.1)));
        Ok(())
    }

    async fn missing(&mut self, id: ItemId, why: NotFetched) -> std::io::Result<()> {
        self.0.push((id.0, why.to_string()));
        Ok(())
    }
}

const LOGIN: &str = "S: +OK hi
    C: CAPA
    S: -ERR
    C: USER anna
    S: +OK
    C: PASS geheim
    S: +OK
    C: CAPA
    S: -ERR
";

/// The script of UIDL and LIST.
fn list(messages: &[(&str, u64)]) -> String {
    let lines = |show: &dyn Fn(&(&str, u64)) -> String| -> String {
        let numbered =
            messages.iter().zip(1..).map(|(message, number)| format!("S: {number} {}\n", show(message)));
        numbered.collect()
    };
    let uidl = lines(&|(uidl, _)| (*uidl).to_owned());
    let sizes = lines(&|(_, octets)| octets.to_string());
    format!("C: UIDL\nS: +OK\n{uidl}S: .\nC: LIST\nS: +OK\n{sizes}S: .\n")
}

async fn connect(script: &str) -> (Pop3Source, scripted::Server) {
    let script = [LOGIN, script].concat();
    let server = scripted::Server::start(TlsStart::Implicit, &[&script]).await;
    let limits = Limits { message_octets_max: 20, ..Limits::default() };
    (Pop3Source::connect(&settings(&server), limits).await.unwrap(), server)
}

fn settings(server: &scripted::Server) -> Settings {
    let credentials = PlainCredentials { user: "anna".into(), password: "geheim".to_owned().into() };
    Settings {
        host: "127.0.0.1".into(),
        port: server.port,
        tls: TlsStart::Implicit,
        trust: server.trust.clone(),
        credentials: Credentials::Password(credentials),
        mechanism: None,
    }
}

fn inbox() -> FolderId {
    FolderId(INBOX.into())
}

/// The ids of what is new behind a cursor, and the next one.
async fn new(messages: &[(&str, u64)], after: Option<&Cursor>) -> (Vec<String>, Cursor) {
    let (mut source, _server) = connect(&list(messages)).await;
    let changes = source.changes(&inbox(), after).await.unwrap();
    assert!(!changes.more);
    (changes.items.into_iter().map(|item| item.id.0).collect(), changes.cursor)
}

/// Goal: each message is told of once; one that got the unique-id of another is another.
#[tokio::test]
async fn unique_ids_used_again_are_new_messages() {
    let (first, cursor) = new(&[("a", 5), ("b", 6)], None).await;
    assert_eq!(first, ["a 5", "b 6"]);
    assert!(new(&[("a", 5), ("b", 6)], Some(&cursor)).await.0.is_empty());
    // The same unique-id with another size.
    let (second, cursor) = new(&[("a", 5), ("b", 7), ("c", 1)], Some(&cursor)).await;
    assert_eq!(second, ["b 7", "c 1"]);
    // Gone, and there again: another run saw that it was gone.
    let (none, cursor) = new(&[("b", 7)], Some(&cursor)).await;
    assert!(none.is_empty());
    let (third, _) = new(&[("a", 5), ("b", 7)], Some(&cursor)).await;
    assert_eq!(third, ["a 5"]);
}

#[tokio::test]
async fn a_unique_id_of_several_messages_names_none() {
    let (first, cursor) = new(&[("a", 5), ("a", 5), ("b", 6)], None).await;
    assert_eq!(first, ["a 5 1", "a 5 2", "b 6"]);
    let (again, _) = new(&[("a", 5), ("a", 5), ("b", 6)], Some(&cursor)).await;
    assert_eq!(again, ["a 5 1", "a 5 2"], "the archive folds them");
}

#[tokio::test]
async fn a_cursor_that_is_none_begins_again() {
    for text in ["", "{}", "{\"seen\":\"AAAA\"}", "{\"validity\":1,\"uid\":2}"] {
        let (mut source, _server) = connect(&list(&[("a", 5)])).await;
        let changes = source.changes(&inbox(), Some(&Cursor(text.into()))).await.unwrap();
        assert!(changes.restarted.is_some() && changes.items.len() == 1, "{text}");
    }
}

#[tokio::test]
async fn messages_are_fetched_and_deleted_on_order_only() {
    let rest = "C: RETR 1
        S: +OK
        S: one
        S: ..
        S: .
        C: RETR 2
        S: -ERR broken
        C: RETR 4
        S: +OK
        S: much longer than it said
        S: .
        C: DELE 1
        S: +OK
        C: QUIT
        S: +OK
    ";
    let messages = [("a", 8), ("b", 6), ("c", 1000), ("d", 5)];
    let (mut source, server) = connect(&[&list(&messages), rest].concat()).await;
    let mut items = source.changes(&inbox(), None).await.unwrap().items;
    items.push(Item { id: ItemId("x 1".into()), ..items[0].clone() });
    let mut kept = Kept::default();
    source.fetch(&inbox(), &items, &mut kept).await.unwrap();
    let shown: Vec<_> = kept.0.iter().map(|(id, what)| (id.as_str(), what.as_str())).collect();
    assert_eq!(
        shown,
        [
            ("c 1000", "it has 1000 octets or more, at most 20 are taken"),
            ("x 1", "it is gone from the source"),
            ("a 8", "one\r\n.\r\n"),
            ("b 6", "the source refuses it: -ERR broken"),
            ("d 5", "it has 26 octets or more, at most 20 are taken"),
        ]
    );
    let ids = ["a 8", "b 6", "a 9"].map(|id| ItemId(id.into()));
    let deleted = source.delete(&inbox(), &ids).await.unwrap();
    let why: Vec<_> = deleted.kept.iter().map(|(id, why)| (id.0.as_str(), why.as_str())).collect();
    let unfetched = "it was not fetched in this session, so it may be another that got its unique-id";
    assert_eq!(why, [("b 6", unfetched), ("a 9", "it is not in the maildrop")]);
    assert_eq!(source.finish().await.unwrap().deleted, [ItemId("a 8".into())]);
    assert_eq!(server.end().await, Ok(()));
}

/// Goal: only what was just read is deleted, whatever unique-ids say; what must be read before is named.
#[tokio::test]
async fn what_was_not_read_is_not_deleted() {
    let rest = "C: RETR 3\nS: +OK\nS: one\nS: .\nC: DELE 3\nS: +OK\nC: QUIT\nS: +OK\n";
    let messages = [("a", 5), ("a", 5), ("b", 5), ("c", 7)];
    let (mut source, server) = connect(&[&list(&messages), rest].concat()).await;
    let ids = ["a 5 1", "a 5", "b 5", "c 7"].map(|id| ItemId(id.into()));
    source.changes(&inbox(), None).await.unwrap();
    let named = |source: &Pop3Source| -> Vec<(String, u64)> {
        let items = source.to_fetch_before_deletion(&inbox(), &ids).into_iter();
        items.map(|item| (item.id.0, item.octets)).collect()
    };
    let [first, third, fourth] =
        [("a 5 1", 5), ("b 5", 5), ("c 7", 7)].map(|(id, octets)| (id.to_owned(), octets));
    assert_eq!(named(&source), [first.clone(), third, fourth.clone()]);
    let item = source.to_fetch_before_deletion(&inbox(), &ids[2..3]);
    source.fetch(&inbox(), &item, &mut Kept::default()).await.unwrap();
    assert_eq!(named(&source), [first, fourth]);
    let deleted = source.delete(&inbox(), &ids).await.unwrap();
    assert_eq!(deleted.kept.len(), 3);
    assert_eq!(source.finish().await.unwrap().deleted, [ItemId("b 5".into())]);
    assert_eq!(server.end().await, Ok(()));
}

/// Goal: whoever drives the session learns at which message it broke.
#[tokio::test]
async fn the_message_at_which_a_session_breaks_is_known() {
    let rest = "C: RETR 1\nS: +OK\nS: one\nS: .\nC: RETR 2\nS: +OK\nRAW half\n";
    let (mut source, _server) = connect(&[&list(&[("a", 5), ("b", 5), ("c", 5)]), rest].concat()).await;
    let items = source.changes(&inbox(), None).await.unwrap().items;
    assert_eq!(source.suspect(), None);
    let error = source.fetch(&inbox(), &items, &mut Kept::default()).await.unwrap_err();
    assert!(error.is_temporary(), "{error}");
    assert_eq!(source.suspect(), Some(ItemId("b 5".into())));
}

/// Goal: a maildrop that holds more than is listed is read as far as it is listed, and that is told once.
#[tokio::test]
async fn a_maildrop_beyond_the_bound_is_told() {
    let messages: Vec<(String, u64)> = (0..12).map(|number| (format!("u{number}"), 5)).collect();
    let messages: Vec<(&str, u64)> = messages.iter().map(|(uidl, octets)| (uidl.as_str(), *octets)).collect();
    let script = [LOGIN, &list(&messages)].concat();
    let server = scripted::Server::start(TlsStart::Implicit, &[&script]).await;
    let limits = Limits { messages_max: 10, ..Limits::default() };
    let mut source = Pop3Source::connect(&settings(&server), limits).await.unwrap();
    assert_eq!(source.changes(&inbox(), None).await.unwrap().items.len(), 10);
    assert!(source.take_notes()[0].contains("2 messages more than the 10"));
    assert!(source.take_notes().is_empty());
}

#[tokio::test]
async fn there_is_one_folder_and_no_waiting() {
    let (mut source, _server) = connect(&list(&[("a", 5)])).await;
    let folders = source.folders().await.unwrap();
    assert_eq!((folders.len(), folders[0].messages), (1, Some(1)));
    assert!(source.changes(&FolderId("Sent".into()), None).await.is_err());
    let waited = source.wait(&inbox(), Duration::from_secs(1)).await;
    assert!(matches!(waited, Err(SourceError::CannotWait)));
}
