//! Jobs that run by themselves, and what the command line says of them.

use anyhow::{Context, Result, ensure};

use crate::stage::{Stage, wait_until};

/// Goal: a job runs when it is due, without anybody asking; while it is disabled it does not; its results are found page by page.
#[test]
fn jobs_run_by_themselves() -> Result<()> {
    let mut stage = Stage::new()?;
    stage.deliver(3, 1000)?;
    stage.put_job(
        "name = 'pull'\n[schedule]\nevery = '10s'\n[template]\ntype = 'profile'\nprofile = 'journal'",
    )?;
    stage.put_job("name = 'check'\nenabled = false\nschedule = 'every 10s'\n[template]\ntype = 'verify'")?;
    stage.archive.program.start()?;
    wait_until("the job runs by itself", || {
        Ok(stage.results()?.iter().any(|one| one["outcome"] == "succeeded" && one["counts"]["archived"] == 3))
    })?;
    let results = stage.results()?;
    ensure!(results.iter().all(|one| one["job"] == "pull"), "{results:?}");
    ensure!(stage.ask(&["job", "run", "check"])?["trigger"] == "hand");
    let shown = stage.ask(&["job", "show", "check"])?;
    ensure!(shown["next"].is_null() && shown["last"]["outcome"] == "succeeded", "{shown}");
    let (mut found, mut before) = (Vec::new(), None::<String>);
    loop {
        let mut arguments = vec!["result", "list", "--limit", "1"];
        arguments.extend(before.iter().flat_map(|id| ["--before", id]));
        let page = stage.ask(&arguments)?;
        found.extend(page["results"].as_array().context("no list")?.clone());
        match page["next"].as_str() {
            Some(next) => before = Some(next.to_owned()),
            None => break,
        }
    }
    ensure!(found.len() >= 2 && found.iter().filter(|one| one["job"] == "check").count() == 1, "{found:?}");
    let id = found[0]["id"].as_str().context("no id")?;
    ensure!(stage.ask(&["result", "show", id])?["id"] == id);
    stage.ask(&["job", "disable", "pull"])?;
    ensure!(stage.ask(&["job", "show", "pull"])?["enabled"] == false);
    stage.ask(&["job", "delete", "pull"])?;
    ensure!(stage.fails(&["job", "show", "pull"])?.contains("there is no job pull"));
    // What people see.
    let output = stage.archive.program.command(&["job", "list", "--instance", "main"])?.output()?;
    ensure!(output.status.success());
    stage.has_everything()
}

#[test]
fn mistakes_are_told_by_file_line_and_key() -> Result<()> {
    let stage = Stage::new()?;
    for (toml, says) in [
        ("name = 'x'\n[template]\ntype = 'verify'\n[schedule]\ncron = '61 * * * *'", "no minute"),
        ("name = 'x'\nnotfy = true\n[template]\ntype = 'verify'", "line 2, key \"notfy\""),
        ("name = 'x'\n[template]\ntype = 'backup'\nto = 'here'", "from / on"),
        ("name = 'profile:x'\n[template]\ntype = 'verify'", "belong to the profiles"),
    ] {
        let error = stage.put_job(toml).unwrap_err().to_string();
        ensure!(error.contains(says), "{toml}: {error}");
    }
    ensure!(stage.fails(&["job", "enable", "profile:journal"])?.contains("is its profile's"));
    ensure!(stage.fails(&["job", "cancel", "none"])?.contains("does not run"));
    Ok(())
}
