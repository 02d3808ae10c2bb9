//! A Maildir of realistic mail, archived, sealed and indexed, and then searched: ours beside mu and notmuch, which index only.
//!
//! Ours is timed until the index has everything, and does more: every octet is compressed, sealed and on disk when a commit
//! returns. Queries go through the command lines, ours to a running daemon; the start of a process is in all of them.

#![expect(clippy::disallowed_methods, reason = "it stands outside the programs, as an operator does")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use postern_archiver::archive::{Follower, Instance, NewMessage, Opener};
use postern_archiver::documents::{Limits, Workers};
use postern_archiver::intake::{Arrival, Via, index_fields_with_documents, prepare};
use postern_archiver::profiles::Assign;
use postern_shared::clock::{Clock, SystemClock};
use postern_shared::disk::{Disk, RealDisk};

use super::{Plan, Rates, progress, rate, settle};
use crate::foreign::{self, has};
use crate::program::{Kind, Program, binary};

/// Messages of one commit.
const BATCH: usize = 128;
/// Queries of each kind.
const QUERIES: usize = 200;

/// Generates a Maildir, lets all three index it by turns, and prints rates, memory and how long queries take.
pub fn run(plan: &Plan) -> Result<()> {
    if !plan.wants("archive and index") {
        return Ok(());
    }
    let Some(maildir) = generate(plan)? else { return Ok(()) };
    let files = files(&maildir)?;
    let peers: Vec<Peer> = Peer::ALL.into_iter().filter(|peer| has(peer.name())).collect();
    println!("\nArchive and index of {} messages; messages per second, peak resident MB", files.len());
    println!("{:12} {:>24} {:>12}", "", "rate", "peak MB");
    let mut rates = vec![(Rates::default(), 0); 1 + peers.len()];
    let mut ours = None;
    for round in 1..=plan.rounds {
        progress(&format!("archive and index, round {round} of {}", plan.rounds));
        drop(ours.take());
        let dir = plan.dir.join("search-ours");
        remove(&dir)?;
        settle()?;
        let program = Program::in_dir(Kind::Archiver, &dir, "")?;
        program.json(&["instance", "create", "main"])?;
        forget_peak()?;
        rates[0].0.push(archive_and_index(&program, &files)?);
        rates[0].1 = peak_mb()?;
        ours = Some(program);
        for (peer, rates) in peers.iter().zip(&mut rates[1..]) {
            settle()?;
            let (rate, peak) = peer.index(&maildir, &plan.dir)?;
            rates.0.push(rate);
            rates.1 = peak;
        }
    }
    let names = std::iter::once("ours").chain(peers.iter().map(|peer| peer.name()));
    for (name, (rate, peak)) in names.zip(&rates) {
        println!("{name:12} {rate:>24} {peak:>12}  ratio {:.2}", rates[0].0.median() / rate.median());
    }
    let mut program = ours.context("no round")?;
    program.start()?;
    queries(&program, &peers, &files, plan)
}

/// The generator lies beside the checkout; without it there is nothing comparable to index.
fn generate(plan: &Plan) -> Result<Option<PathBuf>> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/peers");
    let kit = std::env::var_os("POSTERN_PEERS").map_or_else(beside, PathBuf::from);
    let script = kit.join("mailgen.py");
    if !script.exists() || !has("python3") {
        eprintln!("SKIPPED: there is no mail generator at {}", script.display());
        return Ok(None);
    }
    let maildir = plan.dir.join("maildir");
    progress(&format!("archive and index: generating {} messages", plan.search_messages));
    let count = plan.search_messages.to_string();
    foreign::run(Command::new("python3").arg(script).arg("corpus").arg(&maildir).arg(count))?;
    Ok(Some(maildir))
}

fn files(maildir: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(maildir.join("cur"))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

fn remove(dir: &Path) -> Result<()> {
    if dir.exists() {
        std::fs::remove_dir_all(dir)?;
    }
    Ok(())
}

/// Messages per second, until the last is found.
fn archive_and_index(program: &Program, files: &[PathBuf]) -> Result<f64> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let dir = program.data_dir().join("instances/main");
    let extract = index_fields_with_documents;
    let instance = Arc::new(Instance::open(&disk, &clock, &dir, "main", &Opener::KeyFile(None), extract)?);
    let workers = Workers::new(binary("postern-archiver")?, &["extract-worker"], Limits::default());
    instance.read_documents_with(Arc::new(workers));
    let start = Instant::now();
    let follower = Follower::start(&instance)?;
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
    let work = || -> Result<()> {
        loop {
            let first = next.fetch_add(BATCH, Ordering::Relaxed);
            let Some(batch) =
                files.get(first..files.len().min(first + BATCH)).filter(|batch| !batch.is_empty())
            else {
                return Ok(());
            };
            instance.commit(batch.iter().map(|file| message(file)).collect::<Result<_>>()?)?;
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                if let Err(error) = work() {
                    *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                }
            });
        }
    });
    if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    instance.catch_up(|_| ())?;
    let rate = rate(files.len(), start.elapsed());
    drop(follower);
    let found = instance.index_states()?;
    ensure!(found.iter().all(|state| state.behind == 0 && state.damage.is_none()), "{found:?}");
    Ok(rate)
}

fn message(file: &Path) -> Result<NewMessage> {
    let raw = std::fs::read(file)?;
    let assign = Assign::User { user: "anna".into() };
    let uidl = file.file_name().unwrap_or_default().to_string_lossy();
    let arrival = Arrival {
        profile: "bench",
        uidl: &uidl,
        via: Via::Gateway(&assign),
        flags: &[],
        internal_date: None,
    };
    Ok(prepare(raw, &arrival, |_| None)?)
}

fn forget_peak() -> Result<()> {
    Ok(std::fs::write("/proc/self/clear_refs", "5")?)
}

fn peak_mb() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
}

/// A kind of question, as words of the corpus.
enum Asked {
    Term(String),
    Two(String, String),
    Phrase(String, String),
    Date(String, String),
    SenderTerm(String, String),
}

#[derive(Clone, Copy)]
enum Peer {
    Mu,
    Notmuch,
}

impl Peer {
    const ALL: [Self; 2] = [Self::Mu, Self::Notmuch];

    fn name(self) -> &'static str {
        match self {
            Self::Mu => "mu",
            Self::Notmuch => "notmuch",
        }
    }

    /// Messages per second, and the peak of its memory in MB.
    fn index(self, maildir: &Path, dir: &Path) -> Result<(f64, u64)> {
        let home = self.home(dir);
        remove(&home)?;
        std::fs::create_dir_all(&home)?;
        let mut command = Command::new("python3");
        command.args(["-c", MEASURED]);
        match self {
            Self::Mu => {
                let mut init = Command::new("mu");
                init.arg("init")
                    .arg(format!("--muhome={}", home.display()))
                    .arg(format!("--maildir={}", maildir.display()));
                foreign::run(init.arg("--quiet"))?;
                command
                    .arg("mu")
                    .arg("index")
                    .arg(format!("--muhome={}", home.display()))
                    .args(["--quiet", "--lazy-check"]);
            }
            Self::Notmuch => {
                let config = format!(
                    "[database]\npath={}\nmail_root={}\n[user]\nname=t\nprimary_email=t@example.com\n[new]\ntags=new;\n\
                     [maildir]\nsynchronize_flags=false\n",
                    home.join("db").display(),
                    maildir.display()
                );
                std::fs::create_dir_all(home.join("db"))?;
                std::fs::write(home.join("config"), config)?;
                command.env("NOTMUCH_CONFIG", home.join("config")).args(["notmuch", "new", "--quiet"]);
            }
        }
        let start = Instant::now();
        let output = foreign::run(&mut command)?;
        let seconds = start.elapsed();
        let said = String::from_utf8_lossy(&output.stdout);
        let kib: u64 = said.trim().lines().last().unwrap_or("0").parse()?;
        Ok((rate(files(maildir)?.len(), seconds), kib / 1024))
    }

    fn home(self, dir: &Path) -> PathBuf {
        dir.join("search-").with_file_name(format!("search-{}", self.name()))
    }

    fn command(self, asked: &Asked, dir: &Path) -> Command {
        let mut command = Command::new(self.name());
        let query = self.query(asked);
        match self {
            Self::Mu => {
                command.arg("find").arg(format!("--muhome={}", self.home(dir).display()));
                command
                    .args(["--nocolor", "--fields=l", "--sortfield=date", "--reverse", "--maxnum=50"])
                    .arg(query);
            }
            Self::Notmuch => {
                command.env("NOTMUCH_CONFIG", self.home(dir).join("config"));
                command.args(["search", "--output=messages", "--limit=50", "--sort=newest-first"]).arg(query);
            }
        }
        command
    }

    fn query(self, asked: &Asked) -> String {
        match asked {
            Asked::Term(word) => word.clone(),
            Asked::Two(one, other) => format!("{one} and {other}"),
            Asked::Phrase(one, other) => format!("\"{one} {other}\""),
            Asked::Date(from, to) => format!("date:{from}..{to}"),
            Asked::SenderTerm(sender, word) => format!("from:{sender} and {word}"),
        }
    }
}

/// Runs a program and prints the most memory it had, in KiB.
const MEASURED: &str = "import subprocess, resource, sys\n\
    subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n\
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";

fn our_command(program: &Program, asked: &Asked) -> Result<Command> {
    let query = match asked {
        Asked::Term(word) => word.clone(),
        Asked::Two(one, other) => format!("{one} {other}"),
        Asked::Phrase(one, other) => format!("\"{one} {other}\""),
        Asked::Date(from, to) => format!("on:{from}..{to}"),
        Asked::SenderTerm(sender, word) => format!("from:{sender} {word}"),
    };
    program.command(&["search", "--instance", "main", "--limit", "50", &query])
}

/// Prints how long queries take: warm, the middle and the slowest but one in a hundred, in milliseconds.
fn queries(program: &Program, peers: &[Peer], files: &[PathBuf], plan: &Plan) -> Result<()> {
    println!("\nWarm queries, milliseconds p50 / p99, the newest 50 hits");
    let kinds = ["term", "two terms", "phrase", "date range", "sender + term"];
    for (kind, asked) in kinds.into_iter().zip(questions(files)?) {
        let mut line = format!("{kind:14}");
        let mut times = timed(&asked, |asked| our_command(program, asked))?;
        line.push_str(&format!("  ours {}", percentiles(&mut times)));
        for peer in peers {
            let mut times = timed(&asked, |asked| Ok(peer.command(asked, &plan.dir)))?;
            line.push_str(&format!("  {} {}", peer.name(), percentiles(&mut times)));
        }
        println!("{line}");
    }
    println!("ours: {} MB resident in the daemon", program.resident_bytes()? / 1024 / 1024);
    Ok(())
}

/// The better of the second and third run of each.
fn timed(asked: &[Asked], command: impl Fn(&Asked) -> Result<Command>) -> Result<Vec<f64>> {
    asked
        .iter()
        .map(|asked| {
            let mut best = f64::INFINITY;
            for run in 0..3 {
                let mut command = command(asked)?;
                let start = Instant::now();
                // One that finds nothing says so by its exit code.
                command.output()?;
                if run > 0 {
                    best = best.min(start.elapsed().as_secs_f64() * 1000.0);
                }
            }
            Ok(best)
        })
        .collect()
}

fn percentiles(times: &mut [f64]) -> String {
    times.sort_by(f64::total_cmp);
    let at = |part: usize| {
        times.get((times.len() * part / 100).min(times.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    };
    format!("{:.1} / {:.1}", at(50), at(99))
}

/// Questions of each kind, from words that stand in the corpus.
fn questions(files: &[PathBuf]) -> Result<Vec<Vec<Asked>>> {
    let mut kinds: Vec<Vec<Asked>> = (0..5).map(|_| Vec::new()).collect();
    let step = (files.len() / (QUERIES * 4)).max(1);
    for (number, file) in files.iter().step_by(step).enumerate() {
        let text = String::from_utf8_lossy(&std::fs::read(file)?).into_owned();
        let (head, body) = text.split_once("\n\n").context("no body")?;
        let sender = head.lines().find_map(|line| line.strip_prefix("From: ")).unwrap_or_default();
        let sender =
            sender.rsplit_once('<').map_or(sender, |(_, address)| address.trim_end_matches('>')).to_owned();
        let words: Vec<String> = body
            .split_whitespace()
            .filter(|word| word.len() >= 4 && word.bytes().all(|byte| byte.is_ascii_lowercase()))
            .map(str::to_owned)
            .collect();
        let mut neighbours = body.split_whitespace().zip(body.split_whitespace().skip(1));
        let plain = |word: &str| word.len() >= 3 && word.bytes().all(|byte| byte.is_ascii_lowercase());
        let pair = neighbours.find(|(one, other)| plain(one) && plain(other));
        let (Some((one, other)), true) = (pair, words.len() > 20) else { continue };
        let from = format!("20{:02}-{:02}-01", 20 + number % 5, 1 + number % 12);
        let to = format!("20{:02}-{:02}-28", 20 + number % 5, 1 + number % 12);
        kinds[0].push(Asked::Term(words[3].clone()));
        kinds[1].push(Asked::Two(words[5].clone(), words[words.len() / 2].clone()));
        kinds[2].push(Asked::Phrase(one.to_owned(), other.to_owned()));
        kinds[3].push(Asked::Date(from, to));
        kinds[4].push(Asked::SenderTerm(sender, words[7].clone()));
        if kinds[0].len() == QUERIES {
            break;
        }
    }
    Ok(kinds)
}
