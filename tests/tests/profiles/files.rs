//! Files of this machine.

use std::path::Path;

use anyhow::Result;
use postern_archiver::profiles::Profile;
use serde_json::json;

use crate::{Archive, awkward};

fn write(dir: &Path, name: &str, octets: &[u8]) -> Result<()> {
    let path = dir.join(name);
    for sub in ["cur", "new", "tmp"] {
        std::fs::create_dir_all(path.parent().and_then(Path::parent).unwrap_or(dir).join(sub))?;
    }
    Ok(std::fs::write(path, octets)?)
}

fn with_lf(message: &[u8]) -> Vec<u8> {
    message.iter().copied().filter(|octet| *octet != b'\r').collect()
}

/// Goal: a Maildir with folders fills its user's archive once, with lines as servers give them; what is new comes alone; what
/// is to be deleted is gone.
#[tokio::test]
async fn a_maildir_fills_an_archive() -> Result<()> {
    let dir = tempfile::tempdir()?;
    write(dir.path(), "new/1.a", &with_lf(&awkward(1)))?;
    write(dir.path(), "cur/2.b:2,S", &awkward(2))?;
    write(dir.path(), ".Projects.Old/cur/3.c:2,", &with_lf(&awkward(3)))?;
    let archive = Archive::new(&[("anna", "anna@mail.test")])?;
    let profile = |delete: bool| {
        Profile::from_json(json!({
            "name": "files", "source": { "type": "files", "path": dir.path(), "address": "anna@mail.test" },
            "after": { "delete": delete },
        }))
    };
    assert_eq!(archive.run(&profile(false)?).await?.archived, 3);
    assert_eq!(archive.contents("anna", "INBOX")?, [awkward(1), awkward(2)]);
    assert_eq!(archive.contents("anna", "Projects/Old")?, [awkward(3)]);
    assert_eq!(archive.run(&profile(false)?).await?.duplicates, 0);
    write(dir.path(), "new/4.d", &with_lf(&awkward(4)))?;
    let ran = archive.run(&profile(true)?).await?;
    assert_eq!((ran.archived, ran.duplicates, ran.deleted_at_source), (1, 0, 1), "{ran:?}");
    assert!(!dir.path().join("new/4.d").exists() && dir.path().join("new/1.a").exists());
    Ok(())
}
