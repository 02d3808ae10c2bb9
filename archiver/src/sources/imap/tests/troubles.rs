//! Messages, folders and sessions that a server breaks.

use postern_shared::proto::sasl::BearerCredentials;

use super::*;

/// Goal: a server that goes mad, falls silent or talks nonsense at one message costs that message, not those behind it; and when
/// no other connection can be had, it is known at which it was.
#[tokio::test]
async fn a_message_at_which_the_server_fails_is_left_out_whatever_it_does() {
    let silent = Limits { silence: Duration::from_millis(100), ..limits() };
    for fails in [
        "HANG\n",
        "S: * 1 FETCH (UID 2 BODY[] x)\nHANG\n",
        "S: * 1 FETCH (UID 2 BODY[] {1}\nRAW abc)\\r\\n\nHANG\n",
    ] {
        let begin = [LOGIN, EXAMINE, PAGE, FETCH, fails].concat();
        let again =
            [LOGIN, EXAMINE, "C: p4 UID FETCH 2,5 (UID FLAGS INTERNALDATE BODY.PEEK[])\n", fails].concat();
        let rest = [
            LOGIN,
            EXAMINE,
            "C: p4 UID FETCH 5 (UID FLAGS INTERNALDATE BODY.PEEK[])\nS: * 2 FETCH (UID 5 BODY[] \"two\")\nS: p4 OK\n",
        ]
        .concat();
        let (kept, done, script) = fetch(&[&begin, &again, &rest], silent.clone()).await;
        done.unwrap_or_else(|error| panic!("{fails}: {error}"));
        assert_eq!(script, Ok(()), "{fails}");
        assert_eq!(kept.contents(), ["two"], "{fails}");
        assert!(
            kept.whys()[1].starts_with("9/2: the source refuses it: the session broke twice"),
            "{:?}",
            kept.whys()
        );
    }
    let server = Server::start(TlsStart::Implicit, &[&[LOGIN, EXAMINE, PAGE, FETCH].concat()]).await;
    let mut source = connect(&server, limits()).await.unwrap();
    let page = source.changes(&inbox(), None).await.unwrap();
    let error = source.fetch(&inbox(), &page.items, &mut Kept::default()).await.unwrap_err();
    assert!(error.is_temporary(), "{error}");
    assert_eq!(account::Account::suspect(&source), Some(ItemId("9/2".into())));
}

/// Goal: a message that is far too long is named at once, and not read over for days.
#[tokio::test]
async fn a_message_far_too_long_is_named_and_left() {
    let begin = [LOGIN, EXAMINE, PAGE, FETCH, "S: * 1 FETCH (UID 2 BODY[] {99999999}\nHANG\n"].concat();
    let rest = [
        LOGIN,
        EXAMINE,
        "C: p4 UID FETCH 5 (UID FLAGS INTERNALDATE BODY.PEEK[])\nS: * 2 FETCH (UID 5 BODY[] \"two\")\nS: p4 OK\n",
    ]
    .concat();
    let (kept, done, script) = fetch(&[&begin, &rest], limits()).await;
    done.unwrap();
    assert_eq!((script, kept.contents()), (Ok(()), vec!["two".to_owned()]));
    assert_eq!(kept.whys()[1], "9/2: it has 99999999 octets or more, at most 100 are taken");
}

/// Goal: a token that ran out is not used again: the session ends as one that another may follow.
#[tokio::test]
async fn a_token_is_not_used_for_another_connection() {
    let login = "S: * OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2 SASL-IR] hi
        C: p1 AUTHENTICATE XOAUTH2 dXNlcj1hbm5hAWF1dGg9QmVhcmVyIGdlaGVpbQEB
        S: p1 OK [CAPABILITY IMAP4rev1 CONDSTORE UIDPLUS] in
        C: p2 NOOP
        S: p2 OK
    ";
    let script = [login, EXAMINE, PAGE, FETCH, "S: * BYE session expired\n"].concat();
    // Whoever connects again finds a server that waits for the hangup.
    let server = Server::start(TlsStart::Implicit, &[&script, "C: nothing\n"]).await;
    let credentials = BearerCredentials { user: "anna".into(), token: "geheim".to_owned().into() };
    let login = Login { credentials: Credentials::Bearer(credentials), act_as: None, mechanism: None };
    let settings = Settings { login, ..settings(&server) };
    let mut source = ImapSource::connect(&settings, limits()).await.unwrap();
    let page = source.changes(&inbox(), None).await.unwrap();
    let error = source.fetch(&inbox(), &page.items, &mut Kept::default()).await.unwrap_err();
    assert!(error.to_string().contains("session expired") && error.is_temporary(), "{error}");
    assert!(!server.served.is_finished(), "nobody came again");
}

/// Goal: a folder put back from a backup is listed from its beginning: its new messages have old numbers.
#[tokio::test]
async fn a_uidnext_that_went_back_begins_again() {
    let server = Server::start(TlsStart::Implicit, &[&[LOGIN, EXAMINE, PAGE].concat()]).await;
    let mut source = connect(&server, limits()).await.unwrap();
    let after = Cursor(r#"{"validity":9,"uid":20,"modseq":50}"#.into());
    let changes = source.changes(&inbox(), Some(&after)).await.unwrap();
    assert!(changes.restarted.unwrap().contains("UIDNEXT went back from 21 or more to 8"));
    assert_eq!(changes.items.len(), 3);
    drop(source);
    assert_eq!(server.end().await, Ok(()));
}

/// Goal: a server whose CHANGEDSINCE is broken hides no new message; one that will not list a folder keeps no other one.
#[tokio::test]
async fn refused_listings_cost_little() {
    let script = "C: p3 EXAMINE \"INBOX\" (CONDSTORE)
        S: * OK [UIDVALIDITY 9] x
        S: * OK [UIDNEXT 8] x
        S: * OK [HIGHESTMODSEQ 60] x
        S: p3 OK
        C: p4 UID FETCH 6:7 (UID FLAGS INTERNALDATE RFC822.SIZE)
        S: * 3 FETCH (UID 7 RFC822.SIZE 10)
        S: p4 OK
        C: p5 UID SEARCH UID 6:7
        S: * SEARCH 7
        S: p5 OK
        C: p6 UID FETCH 1:5 (UID FLAGS) (CHANGEDSINCE 50)
        S: p6 BAD what?
        C: p7 EXAMINE \"INBOX\" (CONDSTORE)
        S: * OK [UIDVALIDITY 9] x
        S: * OK [UIDNEXT 10] x
        S: p7 OK
        C: p8 UID FETCH 8:9 (UID FLAGS INTERNALDATE RFC822.SIZE)
        S: p8 NO broken index
    ";
    let server = Server::start(TlsStart::Implicit, &[&[LOGIN, script].concat()]).await;
    let mut source = connect(&server, limits()).await.unwrap();
    let after = Cursor(r#"{"validity":9,"uid":5,"modseq":50}"#.into());
    let first = source.changes(&inbox(), Some(&after)).await.unwrap();
    assert_eq!((first.items.len(), first.more), (1, true));
    let second = source.changes(&inbox(), Some(&first.cursor)).await.unwrap();
    assert_eq!((second.cursor.0.as_str(), second.more), (r#"{"validity":9,"uid":7,"modseq":60}"#, false));
    assert!(source.take_notes()[0].contains("does not tell which flags changed: what?"));
    let error = source.changes(&inbox(), Some(&second.cursor)).await.unwrap_err();
    assert!(matches!(&error, SourceError::Folder { text, .. } if text.contains("broken index")), "{error}");
    drop(source);
    assert_eq!(server.end().await, Ok(()));
}

/// Goal: a message that the server leaves out of its list, and says nothing of when it is fetched, is not passed over: it is listed,
/// refused with words, and not gone for whoever looks at it. So is one that is the first of what is new.
#[tokio::test]
async fn what_the_server_cannot_describe_is_not_passed_over() {
    let page = PAGE.replace("    S: * 2 FETCH (UID 5 FLAGS () RFC822.SIZE 7)\n", "");
    let page = page.replace("RFC822.SIZE 10000", "RFC822.SIZE 10");
    let rest = "C: p5 UID SEARCH UID 1:7
        S: * SEARCH 2 5 7
        S: p5 OK
        C: p6 UID FETCH 2,5,7 (UID FLAGS INTERNALDATE BODY.PEEK[])
        S: * 1 FETCH (UID 2 BODY[] \"one\")
        S: * 3 FETCH (UID 7 BODY[] \"two\")
        S: p6 OK
        C: p7 UID FETCH 5 (UID)
        S: p7 OK
        C: p8 UID SEARCH UID 5
        S: * SEARCH 5
        S: p8 OK
        C: p9 UID FETCH 4:5 (UID FLAGS INTERNALDATE RFC822.SIZE)
        S: p9 OK
        C: p10 UID SEARCH UID 4:5
        S: * SEARCH 5
        S: p10 OK
    ";
    let server = Server::start(TlsStart::Implicit, &[&[LOGIN, EXAMINE, &page, rest].concat()]).await;
    let mut source = connect(&server, limits()).await.unwrap();
    let page = source.changes(&inbox(), None).await.unwrap();
    let listed: Vec<_> = page.items.iter().map(|item| (item.id.0.as_str(), item.octets)).collect();
    assert_eq!((listed.as_slice(), page.more), (&[("9/2", 6), ("9/5", 0), ("9/7", 10)][..], false));
    let mut kept = Kept::default();
    source.fetch(&inbox(), &page.items, &mut kept).await.unwrap();
    assert_eq!(kept.contents(), ["one", "two"]);
    assert_eq!(
        kept.whys(),
        ["9/5: the source refuses it: the server says it is there, and nothing else of it"]
    );
    let gone = Item { id: ItemId("9/4".into()), ..page.items[1].clone() };
    let there = source.look(&inbox(), &[gone, page.items[1].clone()]).await.unwrap();
    assert_eq!(there, [page.items[1].clone()]);
    drop(source);
    assert_eq!(server.end().await, Ok(()));

    let script = "C: p3 EXAMINE \"INBOX\" (CONDSTORE)
        S: * 3 EXISTS
        S: * OK [UIDVALIDITY 9] x
        S: * OK [UIDNEXT 8] x
        S: p3 OK
        C: p4 UID FETCH 4:7 (UID FLAGS INTERNALDATE RFC822.SIZE)
        S: * 3 FETCH (UID 7 RFC822.SIZE 10)
        S: p4 OK
        C: p5 UID SEARCH UID 4:7
        S: * SEARCH 5 7
        S: p5 OK
    ";
    let server = Server::start(TlsStart::Implicit, &[&[LOGIN, script].concat()]).await;
    let mut source = connect(&server, limits()).await.unwrap();
    let after = Cursor(r#"{"validity":9,"uid":3,"modseq":0}"#.into());
    let new = source.changes(&inbox(), Some(&after)).await.unwrap();
    let listed: Vec<_> = new.items.iter().map(|item| item.id.0.as_str()).collect();
    assert_eq!(listed, ["9/5", "9/7"]);
    drop(source);
    assert_eq!(server.end().await, Ok(()));
}
