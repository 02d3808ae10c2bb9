//! What becomes of messages at their source.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::{Archive, PASSWORD, USER, dovecot, imap_profile, meanwhile, numbered, sorted};

const APPEND: &str = "for message in messages: must(M.append('INBOX', None, None, message))";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Goal: nothing is deleted by default; with a term, when it is over; at once, in the same run.
#[tokio::test]
async fn messages_are_deleted_when_the_profile_says_so() -> Result<()> {
    let Some((authority, server)) = dovecot(|setup| setup)? else { return Ok(()) };
    meanwhile(&server, USER, PASSWORD, APPEND, &numbered(0..10))?;
    let archive = Archive::new(&[("anna", "anna@mail.test")])?;
    let keeps = imap_profile(&authority, &server, &json!({}))?;
    assert_eq!(archive.run(&keeps).await?.archived, 10);

    let later = json!({ "name": "later", "after": { "delete": true, "days": 3 } });
    let later = imap_profile(&authority, &server, &later)?;
    let ran = archive.run(&later).await?;
    assert_eq!((ran.duplicates, ran.deleted_at_source, ran.pending_deletions), (10, 0, 10), "{ran:?}");
    archive.clock.advance(2 * DAY);
    assert_eq!(archive.run(&later).await?.deleted_at_source, 0);
    archive.clock.advance(DAY);
    let ran = archive.run(&later).await?;
    assert_eq!((ran.deleted_at_source, ran.pending_deletions, ran.errors.len()), (10, 0, 0), "{ran:?}");
    assert_eq!(server.messages(USER)?.len(), 0);

    meanwhile(&server, USER, PASSWORD, APPEND, &numbered(20..25))?;
    let at_once = imap_profile(&authority, &server, &json!({ "after": { "delete": true } }))?;
    let ran = archive.run(&at_once).await?;
    assert_eq!((ran.archived, ran.deleted_at_source), (5, 5), "{ran:?}");
    assert_eq!(server.messages(USER)?.len(), 0);
    assert_eq!(sorted(archive.contents("anna", "INBOX")?), numbered((0..10).chain(20..25)));
    Ok(())
}

/// Goal: what the archive does not give back whole is not deleted; it is archived once more, and deleted then.
/// Method: the packs are spoilt between archiving and the term's end.
#[tokio::test]
async fn nothing_is_deleted_that_cannot_be_read_back() -> Result<()> {
    let Some((authority, server)) = dovecot(|setup| setup)? else { return Ok(()) };
    meanwhile(&server, USER, PASSWORD, APPEND, &numbered(0..10))?;
    let archive = Archive::new(&[("anna", "anna@mail.test")])?;
    let profile = imap_profile(&authority, &server, &json!({ "after": { "delete": true, "days": 1 } }))?;
    assert_eq!(archive.run(&profile).await?.archived, 10);
    archive.damage()?;
    archive.clock.advance(DAY);
    let ran = archive.run(&profile).await?;
    assert_eq!((ran.deleted_at_source, ran.failed, ran.retries), (0, 10, 10), "{ran:?}");
    assert!(ran.errors[0].contains("cannot be read back"), "{:?}", ran.errors);
    assert_eq!(server.messages(USER)?.len(), 10);

    archive.clock.advance(Duration::from_secs(600));
    let ran = archive.run(&profile).await?;
    assert_eq!((ran.archived, ran.retries, ran.pending_deletions), (10, 0, 10), "{ran:?}");
    archive.clock.advance(DAY);
    let ran = archive.run(&profile).await?;
    assert_eq!((ran.deleted_at_source, ran.failed), (10, 0), "{ran:?}");
    assert_eq!(server.messages(USER)?.len(), 0);
    Ok(())
}

/// Goal: a profile that does not delete any more deletes nothing that an earlier version of it was to delete.
#[tokio::test]
async fn what_waits_for_deletion_stays_when_the_profile_changes() -> Result<()> {
    let Some((authority, server)) = dovecot(|setup| setup)? else { return Ok(()) };
    meanwhile(&server, USER, PASSWORD, APPEND, &numbered(0..3))?;
    let archive = Archive::new(&[("anna", "anna@mail.test")])?;
    let deletes = imap_profile(&authority, &server, &json!({ "after": { "delete": true, "days": 1 } }))?;
    let keeps = imap_profile(&authority, &server, &json!({}))?;
    assert_eq!(archive.run(&deletes).await?.pending_deletions, 3);
    archive.clock.advance(DAY);
    let ran = archive.run(&keeps).await?;
    assert_eq!((ran.deleted_at_source, ran.pending_deletions), (0, 0), "{ran:?}");
    assert_eq!(archive.run(&deletes).await?.deleted_at_source, 0);
    assert_eq!(server.messages(USER)?.len(), 3);
    Ok(())
}
