//! A run that is killed is repeated without loss or doubles.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use postern_tests::messages;
use postern_tests::program::{Kind, Program};

use crate::{USER, archiver_of, dovecot};

const MESSAGES: usize = 600;

/// Goal: killed at three moments amid a run, the archive has every message once in the end, octet for octet, and no run
/// fetched again what an earlier one had archived but for what was under way.
#[test]
fn a_killed_run_goes_on_where_it_was() -> Result<()> {
    let Some((authority, mut server)) = dovecot(|setup| setup)? else { return Ok(()) };
    let sent: Vec<_> = (0..MESSAGES).map(|number| messages::sized(number, 20_000)).collect();
    server.deliver(USER, &sent)?;
    let more = "[assign]\nmode = \"user\"\nuser = \"anna\"\n";
    let (archiver, path) = archiver_of(Program::new(Kind::Archiver, "")?, (&authority, &server), more)?;
    let tested = archiver.json(&["profile", "test", "--file", &path, "--instance", "main"])?;
    assert_eq!(tested["failed"], 0, "{tested}");
    archiver.json(&["profile", "put", "--file", &path, "--instance", "main"])?;
    let packs = archiver.data_dir().join("instances/main/stores/0001/packs");
    let stored = || -> u64 {
        let files = std::fs::read_dir(&packs).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
    };
    for _ in 0..3 {
        let before = stored();
        let mut command = archiver.command(&["profile", "run", "mail", "--instance", "main"])?;
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let start = Instant::now();
        while stored() <= before && child.try_wait()?.is_none() {
            ensure!(start.elapsed() < Duration::from_secs(60), "nothing is archived");
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill()?;
        child.wait()?;
    }
    let last = archiver.json(&["profile", "run", "mail", "--instance", "main"])?;
    let messages = archiver.json(&["instance", "show", "main"])?["messages"].clone();
    assert_eq!((&messages, &last["failed"]), (&MESSAGES.into(), &0.into()), "{last}");
    // What was committed and not noted when the knife fell.
    let again = last["duplicates"].as_u64().context("no count")?;
    assert!(again <= 2 * 128, "{last}");
    let hits = archiver.json(&["search", "--instance", "main", "--limit", "1000", "*"])?;
    let ids: Vec<&str> = hits.as_array().into_iter().flatten().filter_map(|hit| hit["id"].as_str()).collect();
    assert_eq!(ids.len(), MESSAGES);
    for id in ids.iter().step_by(97) {
        let output = archiver.run(&["message", "get", id, "--instance", "main"])?;
        assert!(sent.contains(&output.stdout), "{id}");
    }
    Ok(())
}
