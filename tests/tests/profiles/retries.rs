//! Messages that could not be had.

use std::time::Duration;

use anyhow::Result;
use postern_archiver::profiles::state::Which;
use postern_tests::messages;
use serde_json::json;

use crate::{Archive, PASSWORD, USER, awkward, dovecot, imap_profile, meanwhile};

const APPEND: &str = "for message in messages: must(M.append('INBOX', None, None, message))";

/// Goal: what could not be had is on a list, with the reason, across runs; it is tried again when its pause is over and no
/// sooner, comes when it can, and is left alone when an operator says so.
/// Method: a message that is longer than may be, until more may be.
#[tokio::test]
async fn what_could_not_be_had_is_tried_again() -> Result<()> {
    let Some((authority, server)) = dovecot(|setup| setup)? else { return Ok(()) };
    let long = [messages::sized(1, 5000), messages::sized(2, 6000)];
    meanwhile(&server, USER, PASSWORD, APPEND, &[&[awkward(1)], &long[..]].concat())?;
    let archive = Archive::new(&[("anna", "anna@mail.test")])?;
    let profile = imap_profile(&authority, &server, &json!({}))?;
    let ran = archive.run_up_to(&profile, 2000).await?;
    assert_eq!((ran.archived, ran.failed, ran.retries), (1, 2, 2), "{ran:?}");
    let (listed, count) = archive.state(&profile)?.retries(10)?;
    assert_eq!((listed.len(), count, listed[0].folder_name.as_str()), (2, 2, "INBOX"));
    assert!(listed.iter().all(|retry| retry.why.contains("at most 2000 are taken") && retry.attempts == 1));

    let ran = archive.run(&profile).await?;
    assert_eq!((ran.archived, ran.failed, ran.retries), (0, 0, 2), "its pause is not over: {ran:?}");
    archive.clock.advance(Duration::from_secs(300));
    let ran = archive.run_up_to(&profile, 2000).await?;
    assert_eq!((ran.failed, archive.state(&profile)?.retries(10)?.0[0].attempts), (2, 2), "{ran:?}");
    archive.clock.advance(Duration::from_secs(300));
    assert_eq!(archive.run(&profile).await?.archived, 0, "the second pause is twice as long");
    archive.clock.advance(Duration::from_secs(300));
    let ran = archive.run_up_to(&profile, 5500).await?;
    assert_eq!((ran.archived, ran.failed, ran.retries), (1, 1, 1), "{ran:?}");

    let state = archive.state(&profile)?;
    let left = state.retries(10)?.0.remove(0);
    let mut which = Which { item: left.item, folder: Some("another".into()), account: None };
    assert_eq!((state.meant(&which)?, state.discard(Some(&which))?), (0, 0));
    which.folder = None;
    assert_eq!((state.discard(Some(&which))?, state.retries(10)?.1), (1, 0));
    archive.clock.advance(Duration::from_secs(24 * 3600));
    let ran = archive.run(&profile).await?;
    assert_eq!((ran.archived, ran.retries, archive.messages()?), (0, 0, 2), "{ran:?}");
    state.retry_now()?;
    assert_eq!(archive.run(&profile).await?.archived, 1, "and it comes when it is wanted after all");
    Ok(())
}
