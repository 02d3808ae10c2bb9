//! Real mail through a real server into an archive and out again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;
use postern_tests::crlf;
use postern_tests::foreign::corpus;
use serde_json::json;

use crate::{Archive, USER, dovecot, imap_profile};

fn mails(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            mails(&path, found)?;
        } else if path.extension().is_some_and(|end| end == "eml") {
            found.push(path);
        }
    }
    Ok(())
}

/// Goal: all mail of the corpus goes over IMAP into an archive and comes out byte for byte.
#[tokio::test]
async fn the_corpus_goes_in_and_comes_out() -> Result<()> {
    let Some(corpus) = corpus() else { return Ok(()) };
    let Some((authority, mut server)) = dovecot(|setup| setup)? else { return Ok(()) };
    let mut paths = Vec::new();
    mails(&corpus, &mut paths)?;
    paths.sort();
    // A server gives lines with CRLF; a NUL it may change (RFC 3501 has none).
    let mails = paths.iter().map(|path| Ok(crlf(&std::fs::read(path)?)));
    let mails = mails.collect::<Result<BTreeSet<Vec<u8>>>>()?;
    let mails: Vec<Vec<u8>> =
        mails.into_iter().filter(|mail| !mail.is_empty() && !mail.contains(&0)).collect();
    assert!(mails.len() > 100, "{} messages", mails.len());
    server.deliver(USER, &mails)?;
    let archive = Archive::new(&[("anna", "anna@mail.test")])?;
    let ran = archive.run(&imap_profile(&authority, &server, &json!({}))?).await?;
    assert_eq!((ran.archived, ran.failed), (mails.len() as u64, 0), "{:?}", ran.errors);
    let found: BTreeSet<Vec<u8>> = archive.contents("anna", "INBOX")?.into_iter().collect();
    let expected: BTreeSet<Vec<u8>> = mails.into_iter().collect();
    assert!(
        found == expected,
        "{} of {} are the same",
        found.intersection(&expected).count(),
        expected.len()
    );
    println!("{} messages of the corpus", expected.len());
    Ok(())
}
