//! One IMAP account: its folders, what is new, what is wanted.

use std::time::Duration;

use anyhow::{Context as _, Result};
use postern_archiver::archive::Placement;
use postern_archiver::profiles::probe::probe;
use postern_archiver::profiles::{Profile, continuous};
use postern_archiver::sources::account::Woken;
use postern_shared::clock::{Clock as _, SystemClock};
use postern_shared::control::Context;
use serde_json::json;

use crate::{Archive, PASSWORD, USER, awkward, dovecot, imap_profile, meanwhile, numbered, sorted};

const APPEND: &str = "for message in messages: must(M.append('INBOX', '(\\\\Seen $Forwarded)', '\"17-Jul-1996 02:44:25 -0700\"', message))";

/// Goal: the folder tree, flags and dates are kept; a second run brings nothing, what is new comes alone; what vanishes or
/// changes its flags stays in the archive as it was.
#[tokio::test]
async fn folders_flags_and_dates_are_kept() -> Result<()> {
    let Some((authority, server)) = dovecot(|setup| setup)? else { return Ok(()) };
    meanwhile(&server, USER, PASSWORD, APPEND, &numbered(0..300))?;
    let deeper = "must(M.create('Projects/&ZeVnLIqe-')); must(M.append('Projects/&ZeVnLIqe-', None, None, messages[0]))\n\
                  must(M.append('Sent', None, None, messages[1]))";
    meanwhile(&server, USER, PASSWORD, deeper, &[awkward(500), awkward(501)])?;
    let archive = Archive::new(&[("anna", "anna@mail.test")])?;
    let profile = imap_profile(&authority, &server, &json!({ "assign": { "prefix": "Old server" } }))?;
    let ran = archive.run(&profile).await?;
    assert_eq!((ran.archived, ran.duplicates, ran.failed), (302, 0, 0), "{ran:?}");
    let folders = archive.folders("anna")?;
    let expected = [("Old server/INBOX", 300), ("Old server/Projects/日本語", 1), ("Old server/Sent", 1)];
    assert_eq!(folders, expected.map(|(path, count)| (path.to_owned(), count)));
    assert_eq!(sorted(archive.contents("anna", "Old server/INBOX")?), numbered(0..300));
    let inbox = Placement { archive: "anna".into(), folder: "Old server/INBOX".into() };
    for message in archive.instance.in_folder(&inbox, 0, 1000)? {
        assert_eq!(message.internal_date.rfc3339(), "1996-07-17T09:44:25Z");
        assert!(
            message.flags.contains(&"\\Seen".to_owned()) && message.flags.contains(&"$Forwarded".to_owned())
        );
    }
    let again = archive.run(&profile).await?;
    assert_eq!((again.archived, again.duplicates), (0, 0), "{again:?}");

    let change = "must(M.select()); must(M.store('3', '+FLAGS', '(\\\\Flagged)')); must(M.store('5', '+FLAGS', '(\\\\Deleted)'))\n\
                  must(M.expunge()); must(M.append('INBOX', None, None, messages[0]))";
    meanwhile(&server, USER, PASSWORD, change, &[awkward(900)])?;
    let third = archive.run(&profile).await?;
    assert_eq!(
        (third.archived, third.duplicates, third.flags_changed, third.vanished),
        (1, 0, 1, 1),
        "{third:?}"
    );
    assert_eq!(archive.contents("anna", "Old server/INBOX")?.len(), 301);
    assert_eq!(archive.instance.search(&search("subject:awkward"))?.len(), 303);
    Ok(())
}

fn search(text: &str) -> postern_archiver::archive::Query {
    postern_archiver::archive::Query {
        text: text.into(),
        limit: 1000,
        ..postern_archiver::archive::Query::default()
    }
}

/// Goal: a folder whose messages were numbered anew is listed from its beginning, and what is there folds.
#[tokio::test]
async fn another_uidvalidity_misses_nothing_and_doubles_nothing() -> Result<()> {
    let Some((authority, server)) = dovecot(|setup| setup)? else { return Ok(()) };
    let fill = "must(M.create('x'))\nfor message in messages: must(M.append('x', None, None, message))";
    meanwhile(&server, USER, PASSWORD, fill, &numbered(0..20))?;
    let archive = Archive::new(&[("anna", "anna@mail.test")])?;
    let profile = imap_profile(&authority, &server, &json!({ "scope": { "folders": ["x"] } }))?;
    assert_eq!(archive.run(&profile).await?.archived, 20);
    let anew = format!("must(M.delete('x')); import time; time.sleep(1.1)\n{fill}");
    meanwhile(&server, USER, PASSWORD, &anew, &numbered(15..25))?;
    let ran = archive.run(&profile).await?;
    assert_eq!((ran.archived, ran.duplicates), (5, 5), "{ran:?}");
    assert!(ran.log.iter().any(|line| line.contains("UIDVALIDITY")), "{:?}", ran.log);
    assert_eq!(sorted(archive.contents("anna", "x")?), numbered(0..25));
    assert_eq!(archive.run(&profile).await?.duplicates, 0);
    Ok(())
}

/// Goal: folders by wildcard and role; messages by age, what was read and size. What is too young or unread today comes when
/// its time has come, and nothing twice.
#[tokio::test]
async fn the_scope_is_kept_and_what_is_wanted_later_comes_later() -> Result<()> {
    let Some((authority, server)) = dovecot(|setup| setup)? else { return Ok(()) };
    let fill = "for box in ['Projects', 'Projects/a', 'Projects/a/b', 'Other']: must(M.create(box)); must(M.append(box, None, None, messages.pop()))\n\
                must(M.append('Sent', None, None, messages.pop()))";
    meanwhile(&server, USER, PASSWORD, fill, &numbered(0..5))?;
    let archive = Archive::new(&[("anna", "anna@mail.test")])?;
    let scope = json!({ "scope": { "folders": ["Projects/**", "role:sent"], "exclude": ["**/b"] } });
    let ran = archive.run(&imap_profile(&authority, &server, &scope)?).await?;
    let folders: Vec<String> = archive.folders("anna")?.into_iter().map(|(path, _)| path).collect();
    assert_eq!((folders, ran.archived), (vec!["Projects/a".to_owned(), "Sent".to_owned()], 2));

    // Dovecot takes no date that lies ahead.
    let archive = Archive::at(SystemClock::new().wall(), &[("anna", "anna@mail.test")])?;
    let at = |days: u64| {
        let millis = archive.clock.wall().0 / 1000 - days * 24 * 3600;
        format!("M.append('INBOX', None, imaplib.Time2Internaldate({millis}), messages.pop(0))")
    };
    let fill = format!("import imaplib\nmust({})\nmust({})\nmust({})", at(40), at(29), at(31));
    meanwhile(&server, USER, PASSWORD, &fill, &numbered(10..13))?;
    let older = json!({ "scope": { "folders": ["INBOX"], "older_than_days": 30 } });
    let older = imap_profile(&authority, &server, &older)?;
    let mut counts = Vec::new();
    for _ in 0..4 {
        counts.push(archive.run(&older).await?.archived);
        archive.clock.advance(Duration::from_secs(24 * 3600));
    }
    assert_eq!((counts, archive.messages()?), (vec![2, 1, 0, 0], 3));

    let archive = Archive::new(&[("anna", "anna@mail.test")])?;
    let read = json!({ "scope": { "folders": ["INBOX"], "state": "read", "size_max": "1 KiB" } });
    let read = imap_profile(&authority, &server, &read)?;
    assert_eq!(archive.run(&read).await?.archived, 0);
    meanwhile(&server, USER, PASSWORD, "must(M.select()); must(M.store('2', '+FLAGS', '(\\\\Seen)'))", &[])?;
    let ran = archive.run(&read).await?;
    assert_eq!((ran.archived, ran.duplicates), (1, 0), "{ran:?}");
    assert_eq!(archive.run(&read).await?.archived, 0);
    Ok(())
}

/// Goal: a cancelled run ends at a safe point, and the next one goes on without fetching again what is archived.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_goes_on() -> Result<()> {
    let Some((authority, server)) = dovecot(|setup| setup)? else { return Ok(()) };
    meanwhile(&server, USER, PASSWORD, APPEND, &numbered(0..600))?;
    let archive = Archive::new(&[("anna", "anna@mail.test")])?;
    let profile = imap_profile(&authority, &server, &json!({}))?;
    let (context, mut told, cancel) = Context::new();
    let mut run = Box::pin(archive.run_in(&profile, &context));
    let ran = loop {
        tokio::select! {
            ran = &mut run => break ran?,
            Some(progress) = told.recv() => {
                if progress.done >= 128 {
                    cancel.send_replace(true);
                }
            }
        }
    };
    assert!(ran.cancelled && ran.archived >= 128, "{ran:?}");
    let rest = archive.run(&profile).await?;
    assert_eq!((ran.archived + rest.archived, rest.duplicates), (600, 0), "{rest:?}");
    assert_eq!(archive.messages()?, 600);
    Ok(())
}

/// Goal: `profile test` names the step that fails and what to do, for each account.
#[tokio::test]
async fn a_test_names_the_step_that_fails() -> Result<()> {
    let Some((authority, server)) = dovecot(|setup| setup)? else { return Ok(()) };
    let archive = Archive::new(&[("anna", "anna@mail.test")])?;
    let (context, _told, _cancel) = Context::new();
    let (imap, imaps) = server.imap.context("no IMAP")?;
    let closed = postern_tests::foreign::free_port()?;
    let login = json!({ "username": USER, "password": PASSWORD });
    let with = |more: serde_json::Value| {
        let mut source = login.clone();
        crate::merge(&mut source, &more);
        json!({ "source": source })
    };
    for (more, step, words, advice) in [
        (json!({}), "folders", "3 of 3 are wanted", None),
        (json!({ "host": "nowhere.invalid" }), "DNS", "nowhere.invalid", Some("check host")),
        (json!({ "port": closed }), "TCP", "cannot connect", Some("firewalls")),
        (json!({ "trust": "system" }), "TLS", "not trusted", Some("fingerprint")),
        (json!({ "port": imap.port() }), "TLS", "handshake", Some("check tls")),
        (json!({ "password": "wrong" }), "login", "refuses the login of anna", Some("check username")),
    ] {
        let profile: Profile = imap_profile(&authority, &server, &with(more))?;
        let probed = probe(&archive.instance, &profile, &context).await?;
        let last = probed[0].steps.last().context("no step")?;
        assert_eq!((last.step.as_str(), last.ok), (step, advice.is_none()), "{probed:?}");
        assert!(last.words.contains(words), "{probed:?}");
        let said = probed[0].advice.as_deref();
        assert!(advice.is_none_or(|advice| said.is_some_and(|said| said.contains(advice))), "{probed:?}");
    }
    assert!(imaps.port() != closed);
    Ok(())
}

async fn wait(archive: &Archive, profile: &Profile, context: &Context) -> Result<Woken> {
    let waits = continuous::prepare(&archive.instance, profile, archive.clock.clone()).await?;
    Ok(waits.context("nothing to wait on")?.wait(context).await?)
}

/// Goal: waiting ends at once when something came since the run, and when something comes; also where something is held back.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_ends_when_mail_comes() -> Result<()> {
    let Some((authority, server)) = dovecot(|setup| setup)? else { return Ok(()) };
    for (number, more) in [(0, json!({})), (10, json!({ "scope": { "state": "read" } }))] {
        let archive = Archive::new(&[("anna", "anna@mail.test")])?;
        let profile = imap_profile(&authority, &server, &more)?;
        meanwhile(
            &server,
            USER,
            PASSWORD,
            "must(M.append('INBOX', None, None, messages[0]))",
            &[awkward(number)],
        )?;
        let (context, _told, cancel) = Context::new();
        archive.run(&profile).await?;
        let append = || {
            tokio::task::block_in_place(|| meanwhile(&server, USER, PASSWORD, APPEND, &[awkward(number + 1)]))
        };
        let (woken, appended) = tokio::join!(wait(&archive, &profile, &context), async { append() });
        appended?;
        assert_eq!(woken?, Woken::Changed);
        assert_eq!(wait(&archive, &profile, &context).await?, Woken::Changed, "it is still new");
        assert_eq!(archive.run(&profile).await?.archived, 1);
        let (woken, ()) = tokio::join!(wait(&archive, &profile, &context), async {
            cancel.send_replace(true);
        });
        assert_eq!(woken?, Woken::Quiet);
    }
    Ok(())
}
