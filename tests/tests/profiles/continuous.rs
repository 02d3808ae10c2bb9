//! A profile that runs as soon as mail comes, in the daemon.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use postern_tests::program::{Kind, Program};
use serde_json::Value;

use crate::{PASSWORD, USER, archiver_of, awkward, dovecot, meanwhile};

const APPEND: &str = "for message in messages: must(M.append('INBOX', None, None, message))";

/// Asks again and again until it is so.
fn until(archiver: &Program, arguments: &[&str], so: impl Fn(&Value) -> bool) -> Result<Value> {
    let start = Instant::now();
    loop {
        let found = archiver.json(arguments)?;
        if so(&found) {
            return Ok(found);
        }
        if start.elapsed() > Duration::from_secs(60) {
            bail!("{arguments:?} never comes to that: {found}\n{}", archiver.log());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Goal: mail is archived when it comes, though the next run is due in half an hour alone; an instance whose profile waits is
/// stopped without delay, and waits again when it is started; a profile that is disabled waits no more.
#[test]
fn mail_is_archived_when_it_comes() -> Result<()> {
    let Some((authority, server)) = dovecot(|setup| setup)? else { return Ok(()) };
    let more = "[assign]\nmode = \"user\"\nuser = \"anna\"\n[schedule]\ncontinuous = true\n";
    let (archiver, path) = archiver_of(Program::started(Kind::Archiver, "")?, (&authority, &server), more)?;
    archiver.json(&["profile", "put", "--file", &path, "--instance", "main"])?;
    let job = ["job", "show", "profile:mail", "--instance", "main"];
    let waits = |job: &Value| job["waiting"] == true && job["running"] == false;
    let instance = ["instance", "show", "main"];
    for number in 0..2 {
        until(&archiver, &job, waits)?;
        meanwhile(&server, USER, PASSWORD, APPEND, &[awkward(number)])?;
        until(&archiver, &instance, |shown| shown["messages"] == number + 1)?;
    }
    let waiting = until(&archiver, &job, waits)?;
    let ended = waiting["last"]["ended"].as_str().context("no end")?;
    let next = waiting["next"].as_str().context("no time")?;
    // The next run is not that of the scheduler's pause.
    assert!(minutes(next)? - minutes(ended)? >= 20, "{waiting}");

    let start = Instant::now();
    archiver.json(&["instance", "stop", "main"])?;
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    archiver.json(&["instance", "start", "main"])?;
    until(&archiver, &job, waits)?;
    archiver.json(&["profile", "disable", "mail", "--instance", "main"])?;
    until(&archiver, &job, |job| job["waiting"] == false && job["running"] == false)?;
    Ok(())
}

/// Minutes since the month began.
fn minutes(time: &str) -> Result<i64> {
    let number = |from: usize| -> Result<i64> { Ok(time[from..from + 2].parse()?) };
    Ok((number(8)? * 24 + number(11)?) * 60 + number(14)?)
}
