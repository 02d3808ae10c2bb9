//! Bits turned over in what can be made again: catalogs, indexes, results.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::stage::{Stage, files, wait_until};

fn flip(path: &std::path::Path, at: usize) -> Result<()> {
    let mut octets = std::fs::read(path)?;
    let length = octets.len();
    *octets.get_mut(at % length).context("an empty file")? ^= 1 << (at % 8);
    std::fs::write(path, octets)?;
    Ok(())
}

/// Goal: wherever a bit turns over in a catalog, the archive opens, or says what is wrong, and everything is there after a rebuild.
#[test]
fn a_catalog_with_a_flipped_bit_costs_no_message() -> Result<()> {
    let mut stage = Stage::new()?;
    stage.deliver(40, 3000)?;
    stage.archive.run()?;
    stage.has_everything()?;
    let catalog = stage.instance_dir().join("stores/0001/catalog.sqlite");
    let whole = std::fs::read(&catalog)?;
    // The header, page headers, and cells all over the file.
    let places = [0, 17, 101, whole.len() / 7, whole.len() / 3, whole.len() / 2, whole.len() - 9];
    for at in places {
        std::fs::write(&catalog, &whole)?;
        flip(&catalog, at)?;
        // Whatever it finds of it, it ends, and in words.
        let output = stage.archive.program.run(&["verify", "--instance", "main"])?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code().is_some_and(|code| code <= 1), "octet {at}: {said}");
        ensure!(!said.contains("panicked"), "octet {at}: {said}");
        let rebuilt = stage.ask(&["rebuild"]).with_context(|| format!("octet {at}"))?;
        ensure!(rebuilt["failed"] == 0, "octet {at}: {rebuilt}");
        stage.has_everything().with_context(|| format!("octet {at}"))?;
    }
    Ok(())
}

/// Goal: a damaged index costs no message, and a rebuild heals it.
#[test]
fn a_damaged_index_costs_no_message() -> Result<()> {
    let mut stage = Stage::new()?;
    stage.deliver(20, 3000)?;
    stage.archive.run()?;
    stage.has_everything()?;
    for file in files(&stage.instance_dir().join("stores/0001/index"), "")? {
        if std::fs::metadata(&file)?.len() > 0 {
            flip(&file, 13)?;
        }
    }
    let output = stage.archive.program.run(&["search", "--instance", "main", "*"])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!said.contains("panicked"), "{said}");
    stage.ask(&["rebuild"])?;
    stage.has_everything()
}

/// Goal: a damaged result, job or stray file hides no other, and stops neither commands nor daemon.
#[test]
fn damaged_results_and_jobs_hide_no_others() -> Result<()> {
    let mut stage = Stage::new()?;
    for name in ["one", "two"] {
        stage.put_job(&format!("name = '{name}'\n[template]\ntype = 'compact'"))?;
    }
    for _ in 0..3 {
        stage.ask(&["job", "run", "one"])?;
    }
    let dir = stage.instance_dir();
    std::fs::write(&files(&dir.join("results"), ".json")?[1], b"\x00\xff")?;
    std::fs::write(dir.join("results/01ARZ3NDEKTSV4RRFFQ69G5FAV.two.run"), b"")?;
    std::fs::write(dir.join("jobs/one.json"), b"{\"version\":1}")?;
    stage.archive.program.start()?;
    let is_interrupted = |one: &Value| one["job"] == "two" && one["outcome"] == "interrupted";
    wait_until("the daemon finds what was interrupted", || Ok(stage.results()?.iter().any(is_interrupted)))?;
    let results = stage.results()?;
    let unreadable = results.iter().filter(|one| one["error"].is_string()).count();
    ensure!(results.len() == 4 && unreadable == 1, "{results:?}");
    let jobs = stage.ask(&["job", "list"])?;
    ensure!(jobs[0]["error"].as_str().is_some_and(|error| error.contains("one.json")), "{jobs}");
    ensure!(jobs[1]["name"] == "two", "{jobs}");
    ensure!(stage.fails(&["job", "run", "one"])?.contains("one.json"));
    ensure!(stage.ask(&["job", "run", "two"])?["outcome"] == "succeeded");
    Ok(())
}
