//! SIGKILL amid a run, and two daemons on one archive.

use std::process::Stdio;

use anyhow::{Result, ensure};
use postern_tests::program::{Kind, Program};

use crate::stage::{Stage, wait_until};

/// Goal: a daemon that is killed amid a run loses nothing and doubles nothing; the run is told as interrupted, and taken up again by
/// itself when the daemon is there again.
#[test]
fn a_run_that_is_killed_is_told_and_taken_up_again() -> Result<()> {
    let mut stage = Stage::new()?;
    stage.deliver(1500, 3000)?;
    stage.put_job(
        "name = 'pull'\n[schedule]\nevery = '366d'\n[template]\ntype = 'profile'\nprofile = 'journal'",
    )?;
    stage.archive.program.start()?;
    let mut run = stage.archive.program.command(&["job", "run", "pull", "--instance", "main"])?;
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    wait_until("a batch is archived", || {
        let shown = stage.ask(&["job", "show", "pull"])?;
        ensure!(shown["last"]["outcome"] != "succeeded", "the run was too short to be killed: {shown}");
        Ok(shown["progress"]["done"].as_u64().is_some_and(|done| done > 0))
    })?;
    stage.archive.program.kill()?;
    ensure!(!run.wait()?.success(), "the command says that the run did not succeed");
    stage.archive.program.start()?;
    wait_until("the run is taken up again", || {
        let results = stage.results()?;
        let resumed = results.iter().find(|one| one["trigger"] == "resumed");
        let ended = resumed.is_some_and(|one| one["outcome"] != "running");
        ensure!(!ended || resumed.is_some_and(|one| one["outcome"] == "succeeded"), "{results:?}");
        Ok(ended)
    })?;
    let results = stage.results()?;
    ensure!(results.len() == 2 && results[1]["outcome"] == "interrupted", "{results:?}");
    stage.has_everything()?;
    // Once more is not needed: everything is gone from the source.
    ensure!(stage.ask(&["job", "run", "pull"])?["counts"]["archived"] == 0);
    Ok(())
}

/// Goal: nobody shares an archive: not by the same data directory, nor by an instance that two of them show.
#[test]
fn two_daemons_do_not_share_an_archive() -> Result<()> {
    let mut first = Stage::new()?;
    first.deliver(1, 100)?;
    first.archive.run()?;
    first.archive.program.start()?;
    first.ask(&["verify"])?;
    // It would serve until somebody ends it, so that it ends is the refusal.
    let output = first.archive.program.run(&["serve"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && said.contains("uses the data directory"), "{said}");

    let second = Program::new(Kind::Archiver, "")?;
    std::fs::create_dir_all(second.data_dir().join("instances"))?;
    std::os::unix::fs::symlink(first.instance_dir(), second.data_dir().join("instances/main"))?;
    let output = second.run(&["verify", "--instance", "main"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && said.contains("another process has the instance"), "{said}");
    first.has_everything()
}
