//! Messages that are too long to be held.

use anyhow::Result;
use postern_tests::messages;
use postern_tests::program::{Kind, Program};

use crate::{USER, archiver_of, dovecot};

const LONG: usize = 150 * 1024 * 1024;
const MEMORY_MAX: u64 = 300 * 1024 * 1024;

/// Goal: a message of 150 MB, and a journal report with one in it, are archived from an account in less than 300 MB.
/// Method: the daemon's highest resident memory over the run.
#[test]
fn long_messages_take_little_memory() -> Result<()> {
    let Some((authority, mut server)) = dovecot(|setup| setup)? else { return Ok(()) };
    let long = messages::sized(1, LONG);
    let report = messages::journal_report(
        "anna@example.com",
        &["To: bob@example.com"],
        "long",
        &messages::sized(2, LONG),
    );
    server.deliver(USER, &[long, report])?;
    let more = "[assign]\nmode = \"envelope\"\n";
    let (archiver, path) = archiver_of(Program::started(Kind::Archiver, "")?, (&authority, &server), more)?;
    archiver.json(&["profile", "put", "--file", &path, "--instance", "main"])?;
    archiver.forget_peak()?;
    let ran = archiver.json(&["profile", "run", "mail", "--instance", "main"])?;
    let peak = archiver.peak_bytes()?;
    assert_eq!((&ran["archived"], &ran["failed"]), (&2.into(), &0.into()), "{ran}");
    println!("highest resident memory: {} MiB", peak >> 20);
    assert!(peak < MEMORY_MAX, "{} MiB", peak >> 20);
    let shown = archiver.json(&["instance", "show", "main"])?;
    assert!(shown["bytes"].as_u64().is_some_and(|bytes| bytes > 2 * LONG as u64 - 2000), "{shown}");
    Ok(())
}
