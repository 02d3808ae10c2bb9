//! Against scripted servers, most of them hostile. Against real ones: `tests/tests/imap/`.

mod troubles;

use postern_shared::proto::sasl::{Credentials, PlainCredentials};

use super::*;
use crate::sources::scripted::Server;
use crate::sources::{NotFetched, account};

/// What came, in order.
#[derive(Default)]
struct Kept {
    begun: Option<Vec<u8>>,
    whole: Vec<(Item, Vec<u8>)>,
    missing: Vec<(ItemId, NotFetched)>,
}

impl account::Sink for Kept {
    async fn begins(&mut self, _octets: u64) -> std::io::Result<()> {
        self.begun = Some(Vec::new());
        Ok(())
    }

    async fn piece(&mut self, octets: &[u8]) -> std::io::Result<()> {
        self.begun.as_mut().expect("a message begins first").extend_from_slice(octets);
        Ok(())
    }

    async fn ends(&mut self, item: Item) -> std::io::Result<()> {
        let content = self.begun.take().expect("a message begins first");
        assert_eq!(item.octets, content.len() as u64);
        self.whole.push((item, content));
        Ok(())
    }

    async fn missing(&mut self, id: ItemId, why: NotFetched) -> std::io::Result<()> {
        self.missing.push((id, why));
        Ok(())
    }
}

impl Kept {
    fn contents(&self) -> Vec<String> {
        self.whole.iter().map(|(_, content)| String::from_utf8_lossy(content).into_owned()).collect()
    }

    fn whys(&self) -> Vec<String> {
        self.missing.iter().map(|(id, why)| format!("{id}: {why}")).collect()
    }
}

const LOGIN: &str = "S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi
    C: p1 AUTHENTICATE PLAIN AGFubmEAZ2VoZWlt
    S: p1 OK [CAPABILITY IMAP4rev1 CONDSTORE UIDPLUS] in
    C: p2 NOOP
    S: p2 OK
";

const EXAMINE: &str = "C: p3 EXAMINE \"INBOX\" (CONDSTORE)
    S: * 3 EXISTS
    S: * OK [UIDVALIDITY 9] x
    S: * OK [UIDNEXT 8] x
    S: * OK [HIGHESTMODSEQ 50] x
    S: p3 OK [READ-ONLY] done
";

const PAGE: &str = "C: p4 UID FETCH 1:7 (UID FLAGS INTERNALDATE RFC822.SIZE)
    S: * 1 FETCH (UID 2 FLAGS (\\Seen) INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" RFC822.SIZE 6)
    S: * 2 FETCH (UID 5 FLAGS () RFC822.SIZE 7)
    S: * 3 FETCH (UID 7 RFC822.SIZE 10000)
    S: p4 OK
";

const FETCH: &str = "C: p5 UID FETCH 2,5 (UID FLAGS INTERNALDATE BODY.PEEK[])
";

fn limits() -> Limits {
    Limits { message_octets_max: 100, silence: Duration::from_secs(5), ..Limits::default() }
}

fn settings(server: &Server) -> Settings {
    let credentials = PlainCredentials { user: "anna".into(), password: "geheim".to_owned().into() };
    Settings {
        host: "127.0.0.1".into(),
        port: server.port,
        tls: TlsStart::Implicit,
        trust: server.trust.clone(),
        login: Login { credentials: Credentials::Password(credentials), act_as: None, mechanism: None },
        compress: false,
    }
}

async fn connect(server: &Server, limits: Limits) -> Result<ImapSource, SourceError> {
    ImapSource::connect(&settings(server), limits).await
}

fn inbox() -> FolderId {
    FolderId("INBOX".into())
}

/// Logs in, lists and fetches what `script` has behind [`PAGE`]; what came, and how it ended.
async fn fetch(scripts: &[&str], limits: Limits) -> (Kept, Result<(), SourceError>, Result<(), String>) {
    let server = Server::start(TlsStart::Implicit, scripts).await;
    let mut source = connect(&server, limits).await.unwrap();
    let page = source.changes(&inbox(), None).await.unwrap();
    let mut kept = Kept::default();
    let done = source.fetch(&inbox(), &page.items, &mut kept).await;
    drop(source);
    (kept, done, server.end().await)
}

#[tokio::test]
async fn a_page_is_listed_and_fetched() {
    let answers = "S: * 1 FETCH (FLAGS (\\Seen \\Recent) UID 2 BODY[] {6}
        RAW one\\r\\n!)\\r\\n
        S: * 9 EXISTS
        S: * 2 FETCH (BODY[] {7}
        RAW two\\r\\n:) UID 5)\\r\\n
        S: p5 OK
    ";
    let (kept, done, script) = fetch(&[&[LOGIN, EXAMINE, PAGE, FETCH, answers].concat()], limits()).await;
    done.unwrap();
    assert_eq!(script, Ok(()));
    assert_eq!(kept.contents(), ["one\r\n!", "two\r\n:)"]);
    assert_eq!(kept.whys(), ["9/7: it has 10000 octets or more, at most 100 are taken"]);
    let (first, _) = &kept.whole[0];
    assert_eq!(
        (first.id.0.as_str(), first.flags.as_slice()),
        ("9/2", ["\\Seen".to_owned(), "\\Recent".into()].as_slice())
    );
    assert_eq!(first.internal_date.unwrap().rfc3339(), "1996-07-17T09:44:25Z", "as it was listed");
}

/// Goal: a server that lies about sizes, cuts literals, sends too much or nothing at all, costs a message at most, or the run;
/// no message ends that did not come whole.
#[tokio::test]
async fn servers_that_lie_are_seen_through() {
    let one = |answers: &str| [LOGIN, EXAMINE, PAGE, FETCH, answers].concat();
    // Longer than it said it would be when it was listed.
    let long = format!(
        "S: * 1 FETCH (UID 2 BODY[] {{300}}\nRAW {})\\r\\n\nS: * 2 FETCH (UID 5 BODY[] \"x\")\nS: p5 OK\n",
        "y".repeat(300)
    );
    let (kept, done, _) = fetch(&[&one(&long)], limits()).await;
    done.unwrap();
    assert_eq!(kept.contents(), ["x"]);
    assert!(kept.whys().contains(&"9/2: it has 300 octets or more, at most 100 are taken".to_owned()));

    for (answers, expected) in [
        // Less than announced: what follows is taken for content, and then makes no sense.
        (
            "S: * 1 FETCH (UID 2 BODY[] {50}\nRAW short)\\r\\np5 OK and some more to fill what was announced up\\r\\n\nHANG\n",
            "makes no sense",
        ),
        ("S: * 1 FETCH (UID 2 BODY[] {1}\nRAW abc)\\r\\n\n", "makes no sense"),
        ("S: * 1 FETCH (UID 2 BODY[] {99999999}\nHANG\n", "a message far too long"),
        ("S: * 1 FETCH (UID 3 BODY[] {1}\nRAW x)\\r\\n\n", "sent a message that nobody asked for"),
        ("S: * 1 FETCH (BODY[] {1}\nRAW x)\\r\\n\n", "sent a message that nobody asked for"),
        ("S: * 1 FETCH (UID 2 BODY[] {1}\nRAW x BODY[] \"y\")\\r\\n\n", "two contents of one message"),
        ("S: * 1 FETCH (UID 2 BODY[] {1}\nRAW x BODY[] {1}\\r\\ny)\\r\\n\n", "two contents of one message"),
        ("S: * 1 FETCH (UID 2 BODY[] x)\n", "makes no sense"),
        ("S: p5 NO [UNAVAILABLE] come back later\n", "come back later"),
        ("S: p6 OK\n", "the end of another command"),
        ("RAW * LIST () NIL {300000}\\r\\n\n", "does not end"),
    ] {
        let (kept, done, _) = fetch(&[&one(answers)], limits()).await;
        let error = done.expect_err(answers);
        assert!(error.to_string().contains(expected), "{answers}: {error}");
        assert!(kept.whole.is_empty(), "{answers}");
    }
}

/// Goal: nobody holds a run for ever.
#[tokio::test]
async fn silence_and_dripping_have_an_end() {
    let one = |answers: &str| [LOGIN, EXAMINE, PAGE, FETCH, answers].concat();
    let silent = Limits { silence: Duration::from_millis(50), ..limits() };
    let (_, done, _) = fetch(&[&one("S: * 1 FETCH (UID 2 BODY[] {6}\nRAW on\nHANG\n")], silent.clone()).await;
    assert!(done.unwrap_err().to_string().contains("took more than 50ms for"));
    let (_, done, _) = fetch(&[&one("HANG\n")], silent.clone()).await;
    assert!(done.unwrap_err().is_temporary());
    let server = Server::start(TlsStart::Implicit, &["HANG\n"]).await;
    let error = connect(&server, silent).await.err().unwrap();
    assert_eq!(error.to_string(), "127.0.0.1 took more than 50ms for the connection");
    // Words without an end, each in time.
    let drip = Limits { list: Duration::from_millis(100), ..limits() };
    let (_, done, _) = fetch(&[&one("S: * OK still here\nS: * OK still here\nHANG\n")], drip).await;
    assert!(done.unwrap_err().to_string().contains("for the next message"));
}

/// Goal: what a server will not give is named with its own words, and the others still come.
#[tokio::test]
async fn refused_messages_are_tried_one_by_one() {
    let answers = "S: * 1 FETCH (UID 2 BODY[] \"one\")
        S: p5 NO [SERVERBUG] broken index
        S: * 3 EXISTS
    ";
    // One of two came, so the other stands alone: it is refused with these words.
    let (kept, done, _) = fetch(&[&[LOGIN, EXAMINE, PAGE, FETCH, answers].concat()], limits()).await;
    done.unwrap();
    assert_eq!(kept.contents(), ["one"]);
    assert!(kept.whys().contains(&"9/5: the source refuses it: [SERVERBUG] broken index".to_owned()));

    let answers = "S: p5 BAD no
        C: p6 UID FETCH 2 (UID FLAGS INTERNALDATE BODY.PEEK[])
        C: p7 UID FETCH 5 (UID FLAGS INTERNALDATE BODY.PEEK[])
        S: p6 NO never
        S: * 2 FETCH (UID 5 BODY[] NIL)
        S: p7 OK
    ";
    let (kept, done, script) = fetch(&[&[LOGIN, EXAMINE, PAGE, FETCH, answers].concat()], limits()).await;
    done.unwrap();
    assert_eq!(script, Ok(()));
    assert_eq!(
        kept.whys()[1..],
        ["9/2: the source refuses it: never", "9/5: the source refuses it: the server has no content for it"]
    );

    // Nothing comes, and all is said to be done.
    let answers = "S: p5 OK
        C: p6 UID FETCH 2,5 (UID)
        S: * 2 FETCH (UID 5)
        S: p6 OK
        C: p7 UID SEARCH UID 2
        S: * SEARCH
        S: p7 OK
    ";
    let (kept, done, _) = fetch(&[&[LOGIN, EXAMINE, PAGE, FETCH, answers].concat()], limits()).await;
    done.unwrap();
    assert_eq!(
        kept.whys()[1..],
        [
            "9/2: it is gone from the source",
            "9/5: the source refuses it: the server says it was sent, and it was not"
        ]
    );
}

/// Goal: a message at which the connection breaks again and again does not keep the others.
#[tokio::test]
async fn a_message_that_breaks_the_connection_is_left_out() {
    let begin = [LOGIN, EXAMINE, PAGE, FETCH, "S: * 1 FETCH (UID 2 BODY[] {6}\nRAW on\n"].concat();
    let again =
        [LOGIN, EXAMINE, "C: p4 UID FETCH 2,5 (UID FLAGS INTERNALDATE BODY.PEEK[])\nS: * BYE crash\n"]
            .concat();
    let rest = [
        LOGIN,
        EXAMINE,
        "C: p4 UID FETCH 5 (UID FLAGS INTERNALDATE BODY.PEEK[])\nS: * 2 FETCH (UID 5 BODY[] \"two\")\nS: p4 OK\n",
    ]
    .concat();
    let (kept, done, script) = fetch(&[&begin, &again, &rest], limits()).await;
    done.unwrap();
    assert_eq!(script, Ok(()));
    assert_eq!(kept.contents(), ["two"]);
    assert!(
        kept.whys()[1].starts_with("9/2: the source refuses it: the session broke twice"),
        "{:?}",
        kept.whys()
    );
}

#[tokio::test]
async fn flags_follow_by_modification_sequence() {
    let script = "C: p3 EXAMINE \"INBOX\" (CONDSTORE)
        S: * OK [UIDVALIDITY 9] x
        S: * OK [UIDNEXT 8] x
        S: * OK [HIGHESTMODSEQ 60] x
        S: p3 OK
        C: p4 UID FETCH 1:7 (UID FLAGS) (CHANGEDSINCE 50)
        S: * 1 FETCH (UID 2 FLAGS (\\Answered) MODSEQ (55))
        S: p4 OK
    ";
    let server = Server::start(TlsStart::Implicit, &[&[LOGIN, script].concat()]).await;
    let mut source = connect(&server, limits()).await.unwrap();
    let after = Cursor(r#"{"validity":9,"uid":7,"modseq":50}"#.into());
    let changes = source.changes(&inbox(), Some(&after)).await.unwrap();
    assert_eq!(changes.flags, [(ItemId("9/2".into()), vec!["\\Answered".to_owned()])]);
    assert_eq!((changes.cursor.0.as_str(), changes.more), (r#"{"validity":9,"uid":7,"modseq":60}"#, false));
    assert!(changes.items.is_empty() && changes.restarted.is_none());
    drop(source);
    assert_eq!(server.end().await, Ok(()));
}

/// Goal: a folder numbered anew is listed from its beginning, and says so; so is one whose cursor makes no sense.
#[tokio::test]
async fn another_uidvalidity_begins_again() {
    for (cursor, why) in [
        (r#"{"validity":8,"uid":7,"modseq":50}"#, "UIDVALIDITY was 8, is 9"),
        ("half a curs", "is no cursor"),
    ] {
        let server = Server::start(TlsStart::Implicit, &[&[LOGIN, EXAMINE, PAGE].concat()]).await;
        let mut source = connect(&server, limits()).await.unwrap();
        let changes = source.changes(&inbox(), Some(&Cursor(cursor.into()))).await.unwrap();
        assert!(changes.restarted.unwrap().contains(why));
        assert_eq!(changes.items.len(), 3);
        assert_eq!(
            (changes.cursor.0.as_str(), changes.more),
            (r#"{"validity":9,"uid":7,"modseq":50}"#, false)
        );
        drop(source);
        assert_eq!(server.end().await, Ok(()));
    }
}

/// Goal: nothing is expunged that was not ordered; what the server kept is told.
#[tokio::test]
async fn deletion_names_what_is_gone_and_what_is_not() {
    let script = "C: p3 SELECT \"INBOX\" (CONDSTORE)
        S: * OK [UIDVALIDITY 9] x
        S: p3 OK [READ-WRITE]
        C: p4 UID STORE 2,5 +FLAGS.SILENT (\\Deleted)
        S: p4 OK
        C: p5 UID EXPUNGE 2,5
        S: * 1 EXPUNGE
        S: p5 OK
        C: p6 UID FETCH 2,5 (UID)
        S: * 1 FETCH (UID 5)
        S: p6 OK
    ";
    let server = Server::start(TlsStart::Implicit, &[&[LOGIN, script].concat()]).await;
    let mut source = connect(&server, limits()).await.unwrap();
    let ids = ["9/2", "9/5", "8/6"].map(|id| ItemId(id.into()));
    let deleted = source.delete(&inbox(), &ids).await.unwrap();
    assert_eq!(deleted.deleted, [ItemId("9/2".into())]);
    let kept: Vec<&str> = deleted.kept.iter().map(|(id, _)| id.0.as_str()).collect();
    assert_eq!(kept, ["8/6", "9/5"]);
    drop(source);
    assert_eq!(server.end().await, Ok(()));

    let login = LOGIN.replace(" UIDPLUS", "");
    let script = "C: p3 SELECT \"INBOX\" (CONDSTORE)
        S: * OK [UIDVALIDITY 9] x
        S: p3 OK [READ-WRITE]
        C: p4 UID STORE 2 +FLAGS.SILENT (\\Deleted)
        S: p4 OK
    ";
    let server = Server::start(TlsStart::Implicit, &[&[&login, script].concat()]).await;
    let mut source = connect(&server, limits()).await.unwrap();
    let deleted = source.delete(&inbox(), &ids[..1]).await.unwrap();
    assert!(deleted.deleted.is_empty() && deleted.kept[0].1.contains("UIDPLUS"));
    drop(source);
    assert_eq!(server.end().await, Ok(()), "no EXPUNGE, which would take what others marked");
}

/// Goal: servers without LIST-STATUS are asked for all folders together, and folders as they were cost nothing more.
#[tokio::test]
async fn folders_come_with_their_states() {
    let script = "C: p3 LIST \"\" \"*\"
        S: * LIST () \"/\" INBOX
        S: * LIST (\\Noselect) \"/\" Shared
        S: * LIST (\\Sent) \"/\" \"Gesendete Entw&APw-rfe\"
        S: p3 OK
        C: p4 STATUS \"Gesendete Entw&APw-rfe\" (MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ)
        C: p5 STATUS \"INBOX\" (MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ)
        S: * STATUS \"Gesendete Entw&APw-rfe\" (MESSAGES 2 UIDNEXT 3 UIDVALIDITY 7 HIGHESTMODSEQ 5)
        S: p4 OK
        S: p5 NO gone
    ";
    let server = Server::start(TlsStart::Implicit, &[&[LOGIN, script].concat()]).await;
    let mut source = connect(&server, limits()).await.unwrap();
    let folders = source.folders().await.unwrap();
    let shown: Vec<_> = folders
        .iter()
        .map(|folder| (folder.id.0.as_str(), folder.role, folder.holds_messages, folder.messages))
        .collect();
    assert_eq!(
        shown,
        [
            ("Gesendete Entwürfe", Some(account::Role::Sent), true, Some(2)),
            ("INBOX", Some(account::Role::Inbox), true, None),
            ("Shared", None, false, None)
        ]
    );
    let cursor = Cursor(r#"{"validity":7,"uid":2,"modseq":5}"#.into());
    let changes = source.changes(&folders[0].id, Some(&cursor)).await.unwrap();
    assert!(changes.items.is_empty() && !changes.more && changes.cursor == cursor);
    drop(source);
    assert_eq!(server.end().await, Ok(()), "nothing was asked");
}

#[tokio::test]
async fn logins_that_fail_say_why() {
    for (script, expected, temporary) in [
        (
            "S: * OK [CAPABILITY AUTH=PLAIN SASL-IR] hi\nC: p1 AUTHENTICATE PLAIN AGFubmEAZ2VoZWlt\nS: p1 NO [AUTHENTICATIONFAILED] wrong\n",
            "refuses the login of anna: [AUTHENTICATIONFAILED] wrong (by PLAIN)",
            false,
        ),
        (
            "S: * OK [CAPABILITY AUTH=PLAIN SASL-IR] hi\nC: p1 AUTHENTICATE PLAIN AGFubmEAZ2VoZWlt\nS: p1 NO [UNAVAILABLE] down\n",
            "down",
            true,
        ),
        (
            "S: * OK [CAPABILITY AUTH=PLAIN SASL-IR] hi\nC: p1 AUTHENTICATE PLAIN AGFubmEAZ2VoZWlt\nS: p1 NO [REFERRAL imap://evil/] there\n",
            "REFERRAL",
            false,
        ),
        ("S: * BYE [UNAVAILABLE] too many\n", "refuses service", true),
        ("S: +OK POP3\n", "something else than a greeting", false),
        ("S: * OK hi\nC: p1 CAPABILITY\n", "closed the connection while CAPABILITY", true),
    ] {
        let server = Server::start(TlsStart::Implicit, &[script]).await;
        let error = connect(&server, limits()).await.err().unwrap();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.is_temporary(), temporary, "{error}");
        assert!(!error.to_string().contains("geheim"));
    }
}

/// Goal: a disk that is full ends the fetch, and not in a message that counts.
#[tokio::test]
async fn a_sink_that_fails_ends_the_fetch() {
    struct Full;
    impl account::Sink for Full {
        async fn begins(&mut self, _: u64) -> std::io::Result<()> {
            Ok(())
        }
        async fn piece(&mut self, _: &[u8]) -> std::io::Result<()> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        async fn ends(&mut self, _: Item) -> std::io::Result<()> {
            panic!("it did not come whole")
        }
        async fn missing(&mut self, _: ItemId, _: NotFetched) -> std::io::Result<()> {
            Ok(())
        }
    }
    let answers = "S: * 1 FETCH (UID 2 BODY[] {6}\nRAW one\\r\\n!)\\r\\n\nHANG\n";
    let server = Server::start(TlsStart::Implicit, &[&[LOGIN, EXAMINE, PAGE, FETCH, answers].concat()]).await;
    let mut source = connect(&server, limits()).await.unwrap();
    let page = source.changes(&inbox(), None).await.unwrap();
    let error = source.fetch(&inbox(), &page.items, &mut Full).await.unwrap_err();
    assert!(matches!(error, SourceError::Sink(_)), "{error}");
}

/// Goal: a server may answer the second command first, and end it first (RFC 3501 §5.5), as Dovecot does while it waits for us to
/// read on.
/// Method: two messages whose claimed sizes make them two commands.
#[tokio::test]
async fn commands_may_be_answered_in_any_order() {
    let page =
        PAGE.replace("RFC822.SIZE 6", "RFC822.SIZE 4000000").replace("RFC822.SIZE 7", "RFC822.SIZE 4000000");
    let page = page.replace("    S: * 3 FETCH (UID 7 RFC822.SIZE 10000)\n", "");
    let answers = "C: p5 UID FETCH 2 (UID FLAGS INTERNALDATE BODY.PEEK[])
        C: p6 UID FETCH 5 (UID FLAGS INTERNALDATE BODY.PEEK[])
        RAW * 2 FETCH (UID 5 BODY[] {6}\\r\\nb: 2\\r\\n)\\r\\n
        S: p6 OK
        RAW * 1 FETCH (UID 2 BODY[] {6}\\r\\na: 1\\r\\n)\\r\\n
        S: p5 OK
        HANG";
    let script = [LOGIN, &EXAMINE.replace("3 EXISTS", "2 EXISTS"), &page, answers].concat();
    let limits = Limits { message_octets_max: 10_000_000, ..limits() };
    let (kept, done, served) = fetch(&[&script], limits).await;
    served.unwrap();
    done.unwrap();
    assert_eq!(kept.contents(), ["b: 2\r\n", "a: 1\r\n"]);
}
