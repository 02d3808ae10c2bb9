//! Whether an archive's cost grows with what is in it: archiving, the index, starting, a run that finds nothing, searching, with up to
//! a million messages.
//!
//! Everything goes through the program as an operator runs it: a profile reads an mbox file that grows, the daemon archives, seals and
//! indexes. Of the memory that it has resident, files of the index are a part, which the system takes back when somebody else needs it;
//! what is the daemon's own is told apart.

use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::anonymous::Anonymous;
use super::words::{Words, word};
use super::{Plan, progress, rate, settle};
use crate::foreign;
use crate::program::{Kind, Program};

/// Searches whose middle is told.
const SEARCHES: u64 = 21;
/// How long the index may take behind a run.
const PATIENCE: Duration = Duration::from_secs(1800);

/// Fills an archive in tenths and prints a line for each size that is asked for.
pub fn run(plan: &Plan) -> Result<()> {
    if !plan.wants("archive scale") {
        return Ok(());
    }
    println!("\nScale of an archive: messages of 1.5 KB; what the last tenth cost, and everything after");
    println!(
        "{:>10} {:>16} {:>14} {:>9} {:>14} {:>12} {:>12} {:>12} {:>14} {:>10}",
        "messages",
        "archived, msg/s",
        "index, msg/s",
        "start, s",
        "nothing new, s",
        "search, ms",
        "peak MiB",
        "own of it",
        "resident MiB",
        "octets/msg"
    );
    let mut stage = Stage::new(&plan.dir.join("archive-scale"))?;
    for goal in [1_000, 10_000, 100_000, 1_000_000].into_iter().filter(|goal| *goal <= plan.scale_messages) {
        progress(&format!("archive scale: up to {goal} messages"));
        stage.line(goal)?;
    }
    Ok(())
}

struct Stage {
    program: Program,
    mail: PathBuf,
    there: usize,
}

impl Stage {
    fn new(dir: &Path) -> Result<Self> {
        if dir.exists() {
            std::fs::remove_dir_all(dir)?;
        }
        std::fs::create_dir_all(dir.join("mail"))?;
        let mail = dir.join("mail");
        let mut program = Program::in_dir(
            Kind::Archiver,
            &dir.join("archiver"),
            &format!("[sources]\nfile_roots = [{mail:?}]\n"),
        )?;
        program.start()?;
        program.json(&["instance", "create", "main"])?;
        program.json(&["user", "add", "anna", "--email", "anna@mail.test", "--instance", "main"])?;
        let file = dir.join("scale.toml");
        let profile = format!(
            "name = \"scale\"\n[source]\ntype = \"files\"\npath = {mail:?}\n[assign]\nmode = \"user\"\nuser = \"anna\"\n"
        );
        std::fs::write(&file, profile)?;
        let file = file.to_str().context("no text")?;
        program.json(&["profile", "put", "--file", file, "--instance", "main"])?;
        Ok(Self { program, mail, there: 0 })
    }

    fn line(&mut self, goal: usize) -> Result<()> {
        let measured = (goal / 10).max(1_000).min(goal - self.there);
        self.add(goal - self.there - measured)?;
        settle()?;
        self.program.forget_peak()?;
        let own = Anonymous::of(&self.program)?;
        let (archived, indexed) = self.add(measured)?;
        let (peak, own) = (self.program.peak_bytes()?, own.most()?);
        let begin = Instant::now();
        self.pull(0)?;
        let nothing = begin.elapsed().as_secs_f64();
        self.program.stop()?;
        let begin = Instant::now();
        self.program.start()?;
        self.program.json(&["folders", "--instance", "main"])?;
        let start = begin.elapsed().as_secs_f64();
        let search = self.search()?;
        let resident = self.program.resident_bytes()?;
        let stores = octets_below(&self.program.data_dir().join("instances/main/stores"))?;
        println!(
            "{goal:>10} {archived:>16.0} {indexed:>14.0} {start:>9.2} {nothing:>14.2} {search:>12.1} {:>12} {:>12} {:>14} {:>10}",
            peak / 1024 / 1024,
            own / 1024 / 1024,
            resident / 1024 / 1024,
            stores / goal as u64
        );
        Ok(())
    }

    /// Archives so many more; messages per second until they were durable, and until all of them were indexed.
    fn add(&mut self, count: usize) -> Result<(f64, f64)> {
        if count == 0 {
            return Ok((f64::NAN, f64::NAN));
        }
        let mbox = self.mail.join("all.mbox");
        let mut file = BufWriter::new(OpenOptions::new().append(true).create(true).open(mbox)?);
        for number in self.there..self.there + count {
            write!(file, "{}", message(number))?;
        }
        file.flush()?;
        drop(file);
        let begin = Instant::now();
        let ran = self.pull(count)?;
        let indexing = Duration::from_millis(ran["index_ms"].as_u64().unwrap_or(0));
        let archived = rate(count, begin.elapsed().saturating_sub(indexing));
        self.there += count;
        let last = format!("subject:number{}", self.there - 1);
        while begin.elapsed() < PATIENCE {
            // Waits for the index itself, for some seconds.
            let page = self.program.json(&["search", "--instance", "main", "--page-info", &last])?;
            if page["behind"] == 0 {
                ensure!(page["total"] == 1, "{page}");
                return Ok((archived, rate(count, begin.elapsed())));
            }
        }
        bail!("the index did not follow within {} s", PATIENCE.as_secs())
    }

    fn pull(&self, count: usize) -> Result<Value> {
        let ran = self.program.json(&["profile", "run", "scale", "--instance", "main"])?;
        ensure!(ran["archived"] == count && ran["failed"] == 0, "{ran}");
        Ok(ran)
    }

    /// Milliseconds of the middle search for a word, process and all.
    fn search(&self) -> Result<f64> {
        let mut times = Vec::new();
        for number in 0..SEARCHES {
            let word = word(number * 97 + 11);
            let begin = Instant::now();
            self.program.json(&["search", "--instance", "main", "--limit", "50", &word])?;
            times.push(begin.elapsed().as_secs_f64() * 1000.0);
        }
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied().context("no search")
    }
}

fn octets_below(dir: &Path) -> Result<u64> {
    let said = foreign::run(Command::new("du").arg("-sb").arg(dir))?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    Ok(said.split_whitespace().next().context("no size")?.parse()?)
}

/// A message of an mbox file; the same for the same number.
fn message(number: usize) -> String {
    let mut words = Words::new(number);
    let (day, hour) = (words.below(28) + 1, words.below(24));
    let (from, to) = (words.below(500), words.below(500));
    let mut body = String::new();
    for _ in 0..15 {
        words.line(&mut body, "\n");
    }
    format!(
        "From sender@mail.test Thu Jan  1 00:00:00 2026\nFrom: Sender {from} <s{from}@mail.test>\nTo: r{to}@mail.test\n\
         Date: {day:02} Jan 2026 {hour:02}:00:00 +0000\nMessage-ID: <{number}@mail.test>\nSubject: number{number}\n\n{body}\n"
    )
}
