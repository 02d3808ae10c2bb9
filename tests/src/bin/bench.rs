//! `make bench`: how fast the gateway takes mail in and gives it out, beside Postfix and Dovecot, in one run.
//!
//! `--quick` takes one round of short turns, `--rounds` that many; `--only` measures the rows that hold its text. The data lies below the build directory and is removed at the end.

#![expect(clippy::disallowed_methods, reason = "it stands outside the programs, as an operator does")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use postern_tests::bench::{
    Plan, archive_scale, console, download, imap, intake, memory, proxy, pull, scale, search,
};

fn main() -> Result<()> {
    let plan = plan(std::env::args().skip(1))?;
    let start = Instant::now();
    header(&plan);
    let measured = [
        intake::run,
        download::run,
        imap::run,
        pull::run,
        search::run,
        proxy::run,
        console::run,
        memory::run,
        scale::run,
        archive_scale::run,
    ]
    .iter()
    .try_for_each(|run| run(&plan));
    std::fs::remove_dir_all(&plan.dir)?;
    measured?;
    println!("\nDone in {:.0} s.", start.elapsed().as_secs_f32());
    Ok(())
}

const USAGE: &str = "usage: postern-bench [--quick] [--rounds N] [--only ROW]   a row as it is printed, or a part of its name";

fn plan(mut arguments: impl Iterator<Item = String>) -> Result<Plan> {
    let (mut quick, mut rounds, mut only) = (false, None, None);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => quick = true,
            "--rounds" => {
                let given = arguments.next().and_then(|rounds| rounds.parse().ok());
                rounds = Some(given.filter(|rounds| *rounds > 0).context(USAGE)?);
            }
            "--only" => only = Some(arguments.next().context(USAGE)?),
            _ => bail!(USAGE),
        }
    }
    let plan = if quick { Plan::quick(data_dir()?) } else { Plan::full(data_dir()?) };
    Ok(Plan { rounds: rounds.unwrap_or(plan.rounds), only, ..plan })
}

/// `target/bench`, empty: on the disk of the checkout, which is no memory file system.
fn data_dir() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.parent().and_then(Path::parent).context("no build directory")?;
    let dir = target.join("bench");
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}

fn header(plan: &Plan) {
    println!(
        "Postern {} beside its peers. Rates are messages per second: median (min–max) of {} round(s) in which the\n\
         peers take turns. A ratio above 1 says that Postern is faster. Figures of one run compare with each other,\n\
         not with those of another run or machine. The clients run on this machine too and use its processors.\n\
         Durable means\n\
         - ours: 250 follows the sync of the spool segment that holds the sealed message\n\
         - Postfix: 250 follows the fsync of the message's queue file; it stays in the hold queue\n\
         - raw group commit: plain buffers to one thread that writes all that wait, then syncs once; no SMTP, no sealing",
        env!("CARGO_PKG_VERSION"),
        plan.rounds
    );
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    println!("Processors: {processors}; build: {}", if cfg!(debug_assertions) { "debug" } else { "release" });
    println!("Postfix: {}", said("/usr/sbin/postconf", &["-d", "mail_version"]));
    println!("Dovecot: {}", said("/usr/sbin/dovecot", &["--version"]));
    println!("Disk: {}", said("df", &["--output=source,fstype", &plan.dir.display().to_string()]));
}

/// The last line that a program prints.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().last().map_or_else(|| "not installed".to_owned(), |line| line.trim().to_owned())
}
