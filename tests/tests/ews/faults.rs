//! Servers that are busy, refuse, break off or talk nonsense: a message at most is missing, with the server's words, and a run
//! ends.

use std::time::{Duration, Instant};

use anyhow::Result;
use postern_archiver::sources::ews::EwsAccount;
use postern_archiver::sources::{Account as _, SourceError};
use postern_tests::ews::store::{Happened, Refusal};
use postern_tests::ews::{Exchange, Fault, Wants};

use crate::{ANNA, Kept, awkward, connect, id, inbox, limits, pull, sorted};

const BUSY: Fault =
    Fault::Soap("ErrorServerBusy", "The server cannot service this request right now.", Some(40));

/// A server, its inbox, and the ids and octets of the messages there.
type Stage = (Exchange, String, Vec<String>, Vec<Vec<u8>>);

/// A server with so many messages in the inbox.
fn exchange(count: usize) -> Result<Stage> {
    let exchange = Exchange::start(Wants::Basic)?;
    let folder = exchange.store().inbox(ANNA);
    let messages: Vec<_> = (0..count).map(awkward).collect();
    let ids = messages.iter().map(|message| exchange.store().deliver(&folder, message)).collect();
    Ok((exchange, folder, ids, messages))
}

/// Goal: every way to say "busy" is waited for, and then all comes.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "how long the server was left alone is what is tested")]
async fn busy_servers_are_waited_for() -> Result<()> {
    let (exchange, _, _, messages) = exchange(7)?;
    let mut account = connect(&exchange.settings()).await?;
    exchange.fail("SyncFolderHierarchy", BUSY);
    exchange.fail("SyncFolderItems", Fault::Status(503, Some(1)));
    exchange.fail("SyncFolderItems", Fault::Status(429, None));
    exchange.fail("SyncFolderItems", Fault::BusyFrom(0));
    exchange.fail("GetItem", BUSY);
    exchange.fail("GetItem", Fault::BusyFrom(1));
    exchange.fail("GetItem", Fault::BusyFrom(0));
    exchange.fail("GetItem", Fault::Soap("ErrorTimeoutExpired", "Too slow.", None));
    let start = Instant::now();
    let inbox = inbox(&mut account).await?;
    let (kept, ..) = pull(&mut account, &inbox, None).await?;
    assert_eq!(kept.contents(), sorted(messages));
    assert!(kept.missing.is_empty());
    assert!(start.elapsed() > Duration::from_millis(1100), "Retry-After and BackOffMilliseconds are obeyed");
    exchange.judged()?;
    Ok(())
}

/// Goal: a server that is busy for ever ends the run, as a trouble that passes.
#[tokio::test]
async fn patience_ends() -> Result<()> {
    let (exchange, ..) = exchange(1)?;
    let mut account = connect(&exchange.settings()).await?;
    let inbox = inbox(&mut account).await?;
    for _ in 0..200 {
        exchange.fail("SyncFolderItems", BUSY);
    }
    let error = account.changes(&inbox, None).await.unwrap_err();
    assert!(error.is_temporary(), "{error}");
    assert!(error.to_string().contains("the server is busy (ErrorServerBusy: The server cannot"), "{error}");
    let asked = exchange.asked("SyncFolderItems");
    assert!((30..100).contains(&asked), "{asked} requests in 2.5 s with pauses of 40 ms");
    // More than is ever waited for in one go.
    exchange.fail("GetFolder", Fault::Status(503, Some(86_400)));
    let error = EwsAccount::connect(&exchange.settings(), ANNA, limits()).await.err().expect("it fails");
    assert!(error.is_temporary() && error.to_string().contains("HTTP status 503"), "{error}");
    Ok(())
}

/// Goal: what one item suffers costs that item, and its words are the server's.
#[tokio::test]
async fn items_that_cannot_be_had_are_named() -> Result<()> {
    let (exchange, folder, ids, messages) = exchange(9)?;
    let refuse = |id: &str, refusal| {
        exchange.store().change(&folder, id, Happened::Updated, |item| item.refusal = Some(refusal));
    };
    refuse(&ids[0], Refusal::Error("ErrorMimeContentConversionFailed", "The conversion failed."));
    refuse(&ids[2], Refusal::NoContent);
    refuse(&ids[4], Refusal::Garbled);
    refuse(&ids[5], Refusal::Error("ErrorInternalServerTransientError", "Try again."));
    let mut account = connect(&exchange.settings()).await?;
    let inbox = inbox(&mut account).await?;
    let page = account.changes(&inbox, None).await?;
    let rest = account.changes(&inbox, Some(&page.cursor)).await?;
    exchange.store().delete(&ids[7]);
    let mut kept = Kept::default();
    let items: Vec<_> = page.items.into_iter().chain(rest.items).collect();
    account.fetch(&inbox, &items, &mut kept).await?;
    let expected = [1, 3, 6, 8].map(|index: usize| messages[index].clone());
    assert_eq!(kept.contents(), sorted(expected.to_vec()));
    assert_eq!(
        kept.whys(),
        [
            "it is gone from the source",
            "the source refuses it: ErrorInternalServerTransientError: Try again.",
            "the source refuses it: ErrorMimeContentConversionFailed: The conversion failed.",
            "the source refuses it: the server has no MIME content for it (it is of class IPM.Note)",
            "the source refuses it: the server sent content that is not base64",
        ]
    );
    Ok(())
}

/// Goal: connections that end within an answer, anywhere, cost nothing but time.
#[tokio::test]
async fn broken_connections_are_made_anew() -> Result<()> {
    let (exchange, _, _, messages) = exchange(6)?;
    let mut account = connect(&exchange.settings()).await?;
    exchange.fail("SyncFolderHierarchy", Fault::Cut(300));
    exchange.fail("SyncFolderItems", Fault::Cut(0));
    exchange.fail("SyncFolderItems", Fault::Cut(700));
    // Within the first message, and within a later one.
    exchange.fail("GetItem", Fault::Cut(800));
    exchange.fail("GetItem", Fault::Cut(900));
    let inbox = inbox(&mut account).await?;
    let (kept, ..) = pull(&mut account, &inbox, None).await?;
    assert_eq!(kept.contents().len() + kept.missing.len(), messages.len());
    assert!(kept.missing.len() <= 1, "{:?}", kept.missing);
    assert!(kept.contents().iter().all(|content| messages.contains(content)));
    assert!(exchange.connections() >= 5);
    Ok(())
}

/// Goal: the message that breaks the connection each time is named, and the others come.
#[tokio::test]
async fn a_message_that_breaks_the_connection_is_passed_over() -> Result<()> {
    let (exchange, _, ids, messages) = exchange(3)?;
    let mut account = connect(&exchange.settings()).await?;
    let inbox = inbox(&mut account).await?;
    (0..3).for_each(|_| exchange.fail("GetItem", Fault::Cut(760)));
    let (kept, ..) = pull(&mut account, &inbox, None).await?;
    assert_eq!(kept.contents(), sorted(messages[1..].to_vec()));
    let (item, why) = &kept.missing[0];
    assert_eq!(id(item), ids[0]);
    assert!(why.to_string().contains("nothing came of it twice while it was asked for alone"), "{why}");
    // Not for ever.
    (0..20).for_each(|_| exchange.fail("SyncFolderItems", Fault::Cut(10)));
    let error = account.changes(&inbox, None).await.unwrap_err();
    assert!(error.is_temporary(), "{error}");
    assert!(exchange.asked("SyncFolderItems") < 20);
    Ok(())
}

/// Goal: what makes no sense costs its folder when the server answers else, and is an error that says so, at once; for messages
/// it is asked for again.
#[tokio::test]
async fn nonsense_is_an_error() -> Result<()> {
    let (exchange, ..) = exchange(2)?;
    for (fault, expected, of_a_folder) in [
        (Fault::Text("<html><body>Sign in</body></html>"), "it is no SOAP envelope", true),
        (Fault::Text("Service Unavailable"), "it is no XML in UTF-8", true),
        (Fault::Text("<!DOCTYPE a [<!ENTITY b 'c'>]><a/>"), "it declares a document type", true),
        (
            Fault::Text("<s:Envelope xmlns:s='x'><s:Body></s:Body></s:Envelope>"),
            "has no response message",
            true,
        ),
        (Fault::Text("<s:Envelope xmlns:s='x'><s:Body>"), "it is cut off", true),
        (Fault::Status(404, None), "usually it ends in /EWS/Exchange.asmx", false),
        (Fault::Status(403, None), "EWS may be switched off", false),
        (Fault::Status(500, None), "HTTP status 500", true),
        (
            Fault::StatusField(302, "location", "https://evil.example/"),
            "redirects to https://evil.example/",
            false,
        ),
        (
            Fault::StatusField(403, "x-firsthopcafeefz", "AMS"),
            "this is Exchange Online, which blocks EWS since October 2026",
            false,
        ),
        (
            Fault::Soap("ErrorSchemaValidation", "The request failed.", None),
            "ErrorSchemaValidation: The request failed.",
            true,
        ),
        (Fault::Soap("ErrorNonExistentMailbox", "No mailbox.", None), "primary SMTP address", false),
    ] {
        let mut account = connect(&exchange.settings()).await?;
        let inbox = inbox(&mut account).await?;
        exchange.fail("SyncFolderItems", fault.clone());
        let before = exchange.asked("SyncFolderItems");
        let error = account.changes(&inbox, None).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{fault:?}: {error}");
        assert_eq!(matches!(error, SourceError::Folder { .. }), of_a_folder, "{fault:?}: {error}");
        assert_eq!(exchange.asked("SyncFolderItems"), before + 1, "{fault:?}");
        exchange.fail("GetItem", fault.clone());
        let page = account.changes(&inbox, None).await?;
        let mut kept = Kept::default();
        let fetched = account.fetch(&inbox, &page.items, &mut kept).await;
        assert_eq!(
            (fetched.is_ok(), kept.whole.len()),
            if of_a_folder { (true, 2) } else { (false, 0) },
            "{fault:?}"
        );
        assert!(kept.missing.is_empty(), "{fault:?}");
    }
    Ok(())
}

/// Goal: one item of which nothing comes, in whatever way, costs that item; what is behind it comes in the same run.
#[tokio::test]
async fn an_item_that_stops_the_server_is_passed_over() -> Result<()> {
    for refusal in [Refusal::Status(500), Refusal::Bent, Refusal::Silent, Refusal::HangUp] {
        let (exchange, folder, ids, messages) = exchange(12)?;
        exchange.store().change(&folder, &ids[7], Happened::Updated, |item| item.refusal = Some(refusal));
        let mut limits = limits();
        limits.silence = Duration::from_millis(300);
        let mut account = EwsAccount::connect(&exchange.settings(), ANNA, limits).await?;
        let inbox = inbox(&mut account).await?;
        let (kept, ..) = pull(&mut account, &inbox, None).await?;
        let mut expected = messages.clone();
        expected.remove(7);
        assert_eq!(kept.contents(), sorted(expected), "{refusal:?}");
        assert_eq!((kept.missing.len(), id(&kept.missing[0].0)), (1, ids[7].as_str()), "{refusal:?}");
        assert!(kept.whys()[0].contains("nothing came of it twice"), "{:?}", kept.whys());
    }
    Ok(())
}

/// Goal: when nothing comes of item after item it is the server that is broken, and the run ends with its words.
#[tokio::test]
async fn a_server_that_gives_no_item_ends_the_run() -> Result<()> {
    let (exchange, folder, ids, _) = exchange(12)?;
    for id in &ids {
        exchange
            .store()
            .change(&folder, id, Happened::Updated, |item| item.refusal = Some(Refusal::Status(500)));
    }
    let mut account = connect(&exchange.settings()).await?;
    let inbox = inbox(&mut account).await?;
    let page = account.changes(&inbox, None).await?;
    let mut kept = Kept::default();
    let error = account.fetch(&inbox, &page.items, &mut kept).await.unwrap_err();
    assert!(error.to_string().contains("HTTP status 500"), "{error}");
    assert_eq!(
        (kept.missing.len(), exchange.asked("GetItem")),
        (5, 2 + 2 * 5),
        "two batches, and each alone twice"
    );
    Ok(())
}

/// Goal: a load balancer without a server behind it puts nothing on the list of what is tried again.
#[tokio::test]
async fn a_server_that_is_away_blames_no_item() -> Result<()> {
    let (exchange, ..) = exchange(5)?;
    let mut account = connect(&exchange.settings()).await?;
    let inbox = inbox(&mut account).await?;
    let page = account.changes(&inbox, None).await?;
    exchange.hangs_up(true);
    exchange.fail("GetItem", Fault::Cut(0));
    let mut kept = Kept::default();
    let error = account.fetch(&inbox, &page.items, &mut kept).await.unwrap_err();
    assert!(error.is_temporary() && kept.missing.is_empty(), "{error} {:?}", kept.missing);
    assert!(exchange.connections() < 20, "{}", exchange.connections());
    Ok(())
}

/// Goal: octets that only drip end at a deadline.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "how long it takes is what is tested")]
async fn dripping_answers_have_a_deadline() -> Result<()> {
    let (exchange, ..) = exchange(1)?;
    let mut limits = limits();
    limits.list = Duration::from_secs(1);
    let mut account = EwsAccount::connect(&exchange.settings(), ANNA, limits).await?;
    let inbox = inbox(&mut account).await?;
    let page = account.changes(&inbox, None).await?;
    (0..3).for_each(|_| exchange.fail("GetItem", Fault::Drip));
    let (start, mut kept) = (Instant::now(), Kept::default());
    account.fetch(&inbox, &page.items, &mut kept).await?;
    assert!(kept.whys()[0].contains("took more than 1s for the rest of an answer"), "{:?}", kept.whys());
    assert!(start.elapsed() < Duration::from_secs(10));
    Ok(())
}

/// Goal: a login is waited for as anything is; and where the server wants more patience than there is, no mailbox of the same
/// login asks it until then.
#[tokio::test]
async fn who_is_busy_is_left_alone_by_all_mailboxes() -> Result<()> {
    let (exchange, ..) = exchange(1)?;
    exchange.store().mailbox("ben@example.com");
    let settings = exchange.settings();
    let mut limits = limits();
    limits.list = Duration::from_secs(1);
    exchange.fail("GetFolder", Fault::Soap("ErrorServerBusy", "Busy.", Some(1500)));
    EwsAccount::connect(&settings, ANNA, limits.clone()).await?;
    exchange.fail("GetFolder", Fault::Soap("ErrorServerBusy", "Busy.", Some(3_600_000)));
    assert!(EwsAccount::connect(&settings, ANNA, limits.clone()).await.is_err());
    let (asked, connections) = (exchange.asked("GetFolder"), exchange.connections());
    let error = EwsAccount::connect(&settings, "ben@example.com", limits).await.err().expect("it is busy");
    assert!(error.is_temporary() && error.to_string().contains("ErrorServerBusy: Busy."), "{error}");
    assert_eq!((exchange.asked("GetFolder"), exchange.connections()), (asked, connections));
    Ok(())
}
