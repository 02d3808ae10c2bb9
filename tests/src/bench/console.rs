//! The console: how long its API takes with many mailboxes, at rest and while mail comes in at full rate; and what intake
//! loses while somebody has the overview open.
//!
//! The page asks as it does in a browser: for the overview once, and then for its live events. A request's time is from
//! sending it to its answer's last octet, on a connection that is kept; what a browser then does with the answer is its own
//! machine's business.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::intake::Gateway;
use super::load::Load;
use super::{Plan, Rates, progress, rate, settle};
use crate::console::{Browser, Page};
use crate::{Security, Wire};

/// What the pages ask for again and again.
const PATHS: [&str; 5] = [
    "/api/v1/mailboxes",
    "/api/v1/overview?span=hour",
    "/api/v1/activity?limit=100",
    "/api/v1/activity?limit=100&text=nothing",
    "/api/v1/session",
];
const LOAD: Load = Load::new(16, 5_000, Security::Clear);
/// A few per cent are looked for, and the disk alone drifts by more than that: many short pairs in one load.
const PAIRS_A_ROUND: usize = 10;
/// The page's events come once a second.
const STRETCH: Duration = Duration::from_secs(1);
/// What is promised: 99 of 100 answers are there by then, and intake loses less than that.
const ANSWER_MAX: Duration = Duration::from_millis(20);
const LOSS_MAX_PERCENT: f64 = 3.0;
/// A request waits for the one before it, as a page's do.
const PAUSE: Duration = Duration::from_millis(5);

/// Measures both and prints the lines.
pub fn run(plan: &Plan) -> Result<()> {
    if !plan.wants("console") {
        return Ok(());
    }
    let gateway = Gateway::start(&plan.dir)?;
    let mut admin = Browser::new(gateway.program.address("console")?);
    admin.first_sign_in()?;
    progress(&format!("console: creating {} mailboxes", plan.console_mailboxes));
    for n in 0..plan.console_mailboxes {
        admin.ok("POST", "/api/v1/mailboxes", Some(&json!({ "name": format!("mailbox {n}") })))?;
    }
    let bench = Bench { smtp: gateway.program.address("smtp")?, gateway: &gateway, admin };
    answers(plan, &bench)?;
    intake(plan, &bench)
}

struct Bench<'g> {
    gateway: &'g Gateway,
    admin: Browser,
    smtp: SocketAddr,
}

/// How long answers took, sorted.
struct Took(Vec<Duration>);

impl Took {
    fn of(mut all: Vec<Duration>) -> Result<Self> {
        ensure!(!all.is_empty(), "nothing was answered");
        all.sort();
        Ok(Self(all))
    }

    fn at(&self, percent: usize) -> Duration {
        self.0[(self.0.len() * percent / 100).min(self.0.len() - 1)]
    }

    /// `median / p99`, in milliseconds.
    fn text(&self) -> String {
        let millis = |percent| self.at(percent).as_secs_f64() * 1e3;
        format!("{:.1} / {:.1} ({})", millis(50), millis(99), self.0.len())
    }

    fn is_within_bound(&self) -> bool {
        self.at(99) < ANSWER_MAX
    }
}

fn answers(plan: &Plan, bench: &Bench<'_>) -> Result<()> {
    println!(
        "\nConsole with {} mailboxes: milliseconds to an answer's last octet, median / p99 (requests)",
        plan.console_mailboxes
    );
    let bound = format!("p99 < {} ms", ANSWER_MAX.as_millis());
    println!("{:42} {:>24} {:>30}  {bound}", "", "at rest", "while 16 sessions send 5 KB");
    for path in PATHS {
        let (mut rest, mut busy) = (Vec::new(), Vec::new());
        for round in 1..=plan.rounds {
            progress(&format!("console {path}, round {round} of {}", plan.rounds));
            settle()?;
            let begun = Instant::now();
            ask(bench, path, || begun.elapsed() < plan.turn, &mut rest)?;
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let load = scope.spawn(|| {
                    let rate = LOAD.run(bench.smtp, &bench.gateway.mailbox.address, plan.turn);
                    done.store(true, Ordering::Relaxed);
                    rate
                });
                let asked = ask(bench, path, || !done.load(Ordering::Relaxed), &mut busy);
                let rate = load.join().ok().context("the load panicked")??;
                ensure!(rate > 0.0, "nothing was sent");
                asked
            })?;
        }
        let (rest, busy) = (Took::of(rest)?, Took::of(busy)?);
        let met = kept(rest.is_within_bound() && busy.is_within_bound());
        println!("{path:42} {:>24} {:>30}  {met}", rest.text(), busy.text());
    }
    Ok(())
}

fn kept(is_kept: bool) -> &'static str {
    if is_kept { "kept" } else { "MISSED" }
}

/// Asks one thing after the other on one connection as long as `goes_on`.
fn ask(bench: &Bench<'_>, path: &str, goes_on: impl Fn() -> bool, took: &mut Vec<Duration>) -> Result<()> {
    let mut wire = Wire::connect(bench.gateway.program.address("console")?, true)?;
    let request = request(&bench.admin, path);
    while goes_on() {
        let begun = Instant::now();
        wire.send(&request)?;
        let (status, _, body) = Page::octets(&mut wire)?;
        took.push(begun.elapsed());
        ensure!(status == 200, "{path}: {status} {}", String::from_utf8_lossy(&body));
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

fn request(admin: &Browser, path: &str) -> Vec<u8> {
    let cookie = &admin.cookie;
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n").into_bytes()
}

fn intake(plan: &Plan, bench: &Bench<'_>) -> Result<()> {
    println!(
        "\nIntake of 16 × 5 KB, messages per second, with the console's overview closed and open in turns"
    );
    settle()?;
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (mut closed, mut open, mut share) = (Rates::default(), Rates::default(), Rates::default());
    std::thread::scope(|scope| {
        let mailbox = &bench.gateway.mailbox.address;
        let load = scope.spawn(|| LOAD.run_until(bench.smtp, mailbox, &stop, &acknowledged));
        let measured = pairs(plan, bench, &acknowledged, |rates| {
            closed.push(rates[0]);
            open.push(rates[1]);
            // Thousandths: rates are shown as whole numbers.
            share.push(1000.0 * rates[1] / rates[0]);
        });
        stop.store(true, Ordering::Relaxed);
        load.join().ok().context("the load panicked")??;
        measured
    })?;
    println!("{:42} {closed:>24}\n{:42} {open:>24}", "closed", "open");
    println!("{:42} {share:>24}  thousandths of its pair", "open");
    let lost = 100.0 - share.median() / 10.0;
    println!("{:42} {lost:>23.1}%  bound {LOSS_MAX_PERCENT} %: {}", "lost", kept(lost < LOSS_MAX_PERCENT));
    Ok(())
}

/// Stretches of one load that goes on, two and two beside each other: without the page and with it.
fn pairs(
    plan: &Plan,
    bench: &Bench<'_>,
    acknowledged: &AtomicUsize,
    mut take: impl FnMut([f64; 2]),
) -> Result<()> {
    let pairs = plan.rounds * PAIRS_A_ROUND;
    // The first seconds make the spool's first segments.
    std::thread::sleep(STRETCH);
    for pair in 1..=pairs {
        progress(&format!("console, overview closed and open, pair {pair} of {pairs}"));
        let mut rates = [0.0; 2];
        // Each goes first in turn: what drifts meets both.
        for which in [pair % 2, (pair + 1) % 2] {
            rates[which] = with_page(bench, which == 1, || {
                let (before, start) = (acknowledged.load(Ordering::Relaxed), Instant::now());
                std::thread::sleep(STRETCH);
                Ok(rate(acknowledged.load(Ordering::Relaxed) - before, start.elapsed()))
            })?;
        }
        take(rates);
    }
    Ok(())
}

/// Does `work` with the overview open in a browser, or not.
fn with_page<R>(bench: &Bench<'_>, open: bool, work: impl FnOnce() -> Result<R>) -> Result<R> {
    if !open {
        return work();
    }
    let (done, is_open) = (AtomicBool::new(false), Barrier::new(2));
    std::thread::scope(|scope| {
        let live = scope.spawn(|| watch(bench, &done, &is_open));
        is_open.wait();
        let worked = work();
        done.store(true, Ordering::Relaxed);
        live.join().ok().context("the live events panicked")??;
        worked
    })
}

/// Looks at the overview and reads its live events.
fn watch(bench: &Bench<'_>, done: &AtomicBool, is_open: &Barrier) -> Result<()> {
    let open = || -> Result<Wire> {
        let mut admin = bench.admin.clone();
        admin.ok("GET", "/api/v1/overview?span=hour", None)?;
        let mut live = admin.open("/api/v1/overview/events")?;
        next_event(&mut live)?;
        Ok(live)
    };
    let live = open();
    // Before `?`: the other waits here.
    is_open.wait();
    let mut live = live?;
    while !done.load(Ordering::Relaxed) {
        next_event(&mut live)?;
    }
    Ok(())
}

fn next_event(live: &mut Wire) -> Result<()> {
    while !live.line()?.starts_with("data: ") {}
    Ok(())
}
