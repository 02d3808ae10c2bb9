//! What is known of a source from run to run: damaged, of another archive, of messages that are others by now.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use postern_archiver::archive::{Instance, Opener};
use postern_archiver::intake::index_fields;
use postern_archiver::profiles::Profile;
use postern_shared::clock::Clock;
use postern_shared::disk::{Disk, RealDisk};
use serde_json::{Value, json};

use crate::{Archive, awkward, merge};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn maildir(numbers: impl IntoIterator<Item = usize>) -> Result<tempfile::TempDir> {
    let dir = tempfile::tempdir()?;
    for sub in ["cur", "new", "tmp"] {
        std::fs::create_dir_all(dir.path().join(sub))?;
    }
    fill(dir.path(), numbers)?;
    Ok(dir)
}

fn fill(dir: &Path, numbers: impl IntoIterator<Item = usize>) -> Result<()> {
    for number in numbers {
        std::fs::write(dir.join(format!("new/{number}")), awkward(number))?;
    }
    Ok(())
}

fn profile(dir: &Path, more: &Value) -> Result<Profile> {
    let mut profile =
        json!({ "name": "files", "source": { "type": "files", "path": dir, "address": "anna@mail.test" } });
    merge(&mut profile, more);
    Ok(Profile::from_json(profile)?)
}

/// Goal: an archive that was restored from yesterday's backup gets again what came since, though what is known of the source lies
/// there still.
#[tokio::test]
async fn an_archive_that_is_put_back_misses_nothing() -> Result<()> {
    let mail = maildir(0..3)?;
    let profile = profile(mail.path(), &json!({}))?;
    let mut archive = Archive::new(&[("anna", "anna@mail.test")])?;
    assert_eq!(archive.run(&profile).await?.archived, 3);
    let backup = archive.dir.path().join("backup");
    archive.instance.backup(&backup, &mut |_, _, _| false)?;
    fill(mail.path(), 3..5)?;
    assert_eq!(archive.run(&profile).await?.archived, 2);
    assert_eq!(archive.run(&profile).await?.duplicates, 0);

    let (old, new) = (archive.dir.path().join("main"), archive.dir.path().join("again"));
    let (disk, time): (Arc<dyn Disk>, Arc<dyn Clock>) = (Arc::new(RealDisk), archive.clock.clone());
    Instance::restore(&RealDisk, &backup, &new, "main", false, &mut |_, _, _| false)?;
    std::fs::copy(old.join("master.key"), new.join("master.key"))?;
    std::fs::rename(old.join("pull"), new.join("pull"))?;
    archive.instance =
        Arc::new(Instance::open(&disk, &time, &new, "main", &Opener::KeyFile(None), index_fields)?);
    let ran = archive.run(&profile).await?;
    assert_eq!((ran.archived, ran.duplicates, archive.messages()?), (2, 3, 5), "{ran:?}");
    assert_eq!(archive.run(&profile).await?.duplicates, 0);
    Ok(())
}

/// Goal: a state of which any page is spoilt stops no run: it is put aside, all is listed again, and the next run knows it.
#[tokio::test]
async fn a_damaged_state_heals() -> Result<()> {
    let mail = maildir(0..40)?;
    let profile = profile(mail.path(), &json!({ "after": { "delete": true, "days": 30 } }))?;
    let archive = Archive::new(&[("anna", "anna@mail.test")])?;
    assert_eq!(archive.run(&profile).await?.archived, 40);
    let path = archive.dir.path().join("main/pull/files.sqlite");
    let whole = std::fs::read(&path)?;
    let pages = whole.len() / 4096;
    assert!(pages > 8, "{pages}");
    for page in 0..pages {
        let mut spoilt = whole.clone();
        spoilt[page * 4096..][..4096].fill(0xff);
        std::fs::write(&path, &spoilt)?;
        let ran = archive.run(&profile).await?;
        assert_eq!((ran.archived, ran.failed, ran.deleted_at_source), (0, 0, 0), "page {page}: {ran:?}");
        assert!(ran.duplicates == 0 || ran.duplicates == 40, "page {page}: {ran:?}");
        let again = archive.run(&profile).await?;
        assert_eq!((again.duplicates, again.errors.len()), (0, 0), "page {page}: {again:?}");
    }
    Ok(())
}

/// Goal: a message that has the name of an archived one at the source stays, and is archived; one that somebody else removed is
/// forgotten without an error, as is what lay in a folder that is gone for a day.
#[tokio::test]
async fn what_is_another_message_by_now_is_not_deleted() -> Result<()> {
    let mail = maildir(0..3)?;
    let at = mail.path();
    for sub in [".Old/cur", ".Old/new"] {
        std::fs::create_dir_all(at.join(sub))?;
    }
    std::fs::write(at.join(".Old/cur/9"), awkward(9))?;
    let profile = profile(at, &json!({ "after": { "delete": true, "days": 1 } }))?;
    let archive = Archive::new(&[("anna", "anna@mail.test")])?;
    let ran = archive.run(&profile).await?;
    assert_eq!((ran.archived, ran.pending_deletions), (4, 4), "{ran:?}");
    std::fs::write(at.join("new/1"), awkward(100))?;
    std::fs::remove_file(at.join("new/2"))?;
    std::fs::remove_dir_all(at.join(".Old"))?;
    archive.clock.advance(DAY);
    let ran = archive.run(&profile).await?;
    assert_eq!((ran.deleted_at_source, ran.gone, ran.failed), (1, 1, 1), "{ran:?}");
    // A folder that is missing for the first time may be there again.
    assert_eq!((ran.pending_deletions, ran.errors.len()), (1, 1), "{ran:?}");
    assert!(ran.errors[0].contains("another message under the name"), "{:?}", ran.errors);
    assert!(!at.join("new/0").exists());
    archive.clock.advance(Duration::from_secs(600));
    let ran = archive.run(&profile).await?;
    assert_eq!((ran.archived, ran.pending_deletions), (1, 2), "{ran:?}");
    archive.clock.advance(DAY);
    let ran = archive.run(&profile).await?;
    assert_eq!((ran.deleted_at_source, ran.errors.len()), (1, 0), "{ran:?}");
    assert_eq!(ran.pending_deletions, 0, "{ran:?}");
    assert!(!at.join("new/1").exists());
    Ok(())
}

/// Goal: what is too young keeps nothing else waiting: the folder is read to its end, and it comes when it is old enough.
#[tokio::test]
async fn what_is_held_back_comes_in_its_time() -> Result<()> {
    let mail = maildir(0..4)?;
    let archive =
        Archive::at(postern_shared::clock::SystemClock::new().wall(), &[("anna", "anna@mail.test")])?;
    let file = std::fs::File::options().write(true).open(mail.path().join("new/2"))?;
    file.set_modified(std::time::SystemTime::now() - 40 * DAY)?;
    let profile =
        profile(mail.path(), &json!({ "scope": { "older_than_days": 30 }, "after": { "delete": true } }))?;
    let ran = archive.run(&profile).await?;
    assert_eq!((ran.archived, ran.deleted_at_source), (1, 1), "{ran:?}");
    std::fs::remove_file(mail.path().join("new/0"))?;
    archive.clock.advance(31 * DAY);
    let ran = archive.run(&profile).await?;
    assert_eq!((ran.archived, ran.deleted_at_source, ran.gone), (2, 2, 1), "{ran:?}");
    let ran = archive.run(&profile).await?;
    assert_eq!((ran.archived, ran.duplicates, ran.gone), (0, 0, 0), "{ran:?}");
    Ok(())
}
