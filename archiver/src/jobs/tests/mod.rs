//! The daemon's task under a fake clock, with real instances on disk.

pub(crate) mod gate;
mod stored;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use postern_shared::clock::{Clock, ManualClock, UnixMillis};
use postern_shared::control::Context;
use postern_shared::control::Handler as _;
use postern_shared::disk::{Disk as _, RealDisk, write_atomic};
use postern_shared::id::MessageIds;
use postern_shared::shutdown::{Switch, switch};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::job::{Job, JobName};
use super::results::{JobResult, Outcome, Results, Trigger};
use super::scheduler::{GRACE, Key};
use super::stored::StoredJobs;
use crate::app::Core;
use crate::command::{Command, Commands};
use crate::settings::Settings;
use gate::GatedDisk;

const HOUR: Duration = Duration::from_secs(3600);
/// A Monday, 01:00.
const START: UnixMillis = UnixMillis(1_704_070_800_000);

/// A data directory with an instance `main`, and the world it lives in.
struct World {
    dir: TempDir,
    clock: Arc<ManualClock>,
    disk: GatedDisk,
}

/// A daemon's jobs.
struct Daemon {
    core: Arc<Core>,
    stop: Switch,
    task: JoinHandle<()>,
}

impl World {
    fn new() -> Self {
        let world = Self {
            dir: tempfile::tempdir().unwrap(),
            clock: Arc::new(ManualClock::at(START)),
            disk: GatedDisk::default(),
        };
        world.core(false).create_instance("main", None).unwrap();
        world
    }

    fn core(&self, running: bool) -> Core {
        let file = self.dir.path().join("archiver.toml");
        let text = format!(
            "data_dir = '{}'\n[jobs]\ntime_zone = 'UTC'\nconcurrent = 1\n\
             [notifications]\nhost = '127.0.0.1'\nport = 1\nfrom = 'a@example.com'\nto = 'b@example.com'\n",
            self.dir.path().join("data").display()
        );
        write_atomic(&RealDisk, &file, text.as_bytes()).unwrap();
        let settings = Settings::load(&RealDisk, Some(&file), []).unwrap();
        let (disk, clock) = (Arc::new(self.disk.clone()), Arc::clone(&self.clock));
        Core::open(disk, clock, settings, running).unwrap()
    }

    fn start(&self) -> Daemon {
        let core = Arc::new(self.core(true));
        let (stop, stopped) = switch();
        let served = Arc::clone(&core);
        let task = tokio::spawn(async move {
            super::prepare(&served).await;
            super::serve(served, stopped).await;
        });
        Daemon { core, stop, task }
    }

    fn instance_dir(&self) -> std::path::PathBuf {
        self.dir.path().join("data/instances/main")
    }

    fn results(&self) -> Results {
        Results::new(Arc::new(RealDisk), &self.instance_dir())
    }

    fn put(&self, job: &str) {
        let job: Job = toml::from_str(job).unwrap();
        StoredJobs::new(Arc::new(RealDisk), &self.instance_dir()).put(job, self.clock.wall()).unwrap();
    }

    /// A backup job, whose run stands still at the gate.
    fn put_gated(&self, more: &str) {
        let to = self.dir.path().join("gated");
        self.put(&format!("name = 'slow'\n{more}\n[template]\ntype = 'backup'\nto = '{}'", to.display()));
    }
}

impl Daemon {
    /// Waits, round by round, until it is so.
    async fn until(&self, mut so: impl FnMut() -> bool) {
        let mut rounds = self.core.jobs.rounds.subscribe();
        let waiting = async {
            while !so() {
                rounds.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it never comes to that");
    }

    /// Lets time pass, and the daemon see it.
    fn pass(&self, world: &World, time: Duration) {
        world.clock.advance(time);
        self.core.jobs.nudge();
    }

    async fn stop(self) {
        self.stop.turn();
        self.task.await.unwrap();
    }
}

fn name(text: &str) -> JobName {
    text.parse().unwrap()
}

fn key(job: &str) -> Key {
    Key { instance: "main".into(), job: name(job) }
}

/// Results that have ended, the newest first.
fn ended(world: &World) -> Vec<JobResult> {
    let page = world.results().list(None, None, 100).unwrap();
    page.results.into_iter().map(Result::unwrap).filter(|result| result.outcome.is_some()).collect()
}

fn told(results: &[JobResult]) -> Vec<(&str, Trigger, Outcome)> {
    results.iter().map(|one| (one.job.as_str(), one.trigger, one.outcome.unwrap())).collect()
}

async fn ask(core: &Arc<Core>, command: Command) -> Result<Value, String> {
    let (context, _told, _cancel) = Context::new();
    Commands(Arc::clone(core)).handle(command, context).await
}

fn run_slow() -> Command {
    Command::JobRun { instance: "main".into(), name: "slow".into() }
}

const VERIFY: &str = "name = 'verify'\nschedule = 'daily at 02:00'\n[template]\ntype = 'verify'";

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_when_its_time_comes_and_its_result_is_kept() {
    let world = World::new();
    world.put(VERIFY);
    let daemon = world.start();
    daemon.until(|| daemon.core.jobs.shown(&key("verify")).due == Some(START.plus(HOUR))).await;
    for day in 1..=3 {
        daemon.pass(&world, if day == 1 { HOUR } else { HOUR * 24 });
        daemon.until(|| ended(&world).len() == day).await;
    }
    let results = ended(&world);
    assert_eq!(told(&results), [("verify", Trigger::Schedule, Outcome::Succeeded); 3]);
    assert_eq!((results[2].started, results[2].counts["messages"]), (START.plus(HOUR), 0));
    assert!(results[0].log.iter().any(|line| line.contains("begins")), "{:?}", results[0].log);
    daemon.stop().await;
}

/// Goal: what the daemon was not there for is made up for once.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_runs_once_at_start_or_not() {
    let world = World::new();
    world.put(VERIFY);
    world.put("name = 'skip'\nmissed = 'skip'\nschedule = 'daily at 02:00'\n[template]\ntype = 'compact'");
    world.put("name = 'off'\nenabled = false\nschedule = 'daily at 02:00'\n[template]\ntype = 'compact'");
    world.clock.advance(HOUR * 72);
    let daemon = world.start();
    daemon.until(|| ended(&world).len() == 1).await;
    assert_eq!(told(&ended(&world)), [("verify", Trigger::Missed, Outcome::Succeeded)]);
    let skip = daemon.core.jobs.shown(&key("skip"));
    assert_eq!((skip.due, skip.running), (Some(START.plus(HOUR * 73)), false));
    assert_eq!(daemon.core.jobs.shown(&key("off")).due, None);
    daemon.stop().await;
}

/// Goal: a job never overlaps with itself, waits for a place, and is ended by whoever wants it.
#[tokio::test(flavor = "multi_thread")]
async fn runs_do_not_overlap_and_can_be_ended() {
    let world = World::new();
    world.put_gated("");
    world.put(VERIFY);
    let daemon = world.start();
    let slow = tokio::spawn({
        let core = Arc::clone(&daemon.core);
        async move { ask(&core, run_slow()).await }
    });
    world.disk.reached().await;
    assert!(daemon.core.jobs.shown(&key("slow")).running);
    let error = ask(&daemon.core, run_slow()).await.unwrap_err();
    assert!(error.contains("running already"), "{error}");
    // One place in all: the other one waits.
    daemon.pass(&world, HOUR);
    let (context, _told, cancel) = Context::new();
    let verify = Command::JobRun { instance: "main".into(), name: "verify".into() };
    cancel.send_replace(true);
    let waited = Commands(Arc::clone(&daemon.core)).handle(verify, context).await;
    assert_eq!(waited.unwrap_err(), "cancelled before it began");
    let cancel = Command::JobCancel { instance: "main".into(), name: "slow".into() };
    ask(&daemon.core, cancel.clone()).await.unwrap();
    world.disk.open();
    let done = slow.await.unwrap().unwrap();
    assert_eq!((&done["outcome"], &done["failed"]), (&"cancelled".into(), &1.into()));
    daemon.until(|| ended(&world).len() == 2).await;
    assert_eq!(
        told(&ended(&world)),
        [("verify", Trigger::Schedule, Outcome::Succeeded), ("slow", Trigger::Hand, Outcome::Cancelled)]
    );
    assert!(ask(&daemon.core, cancel).await.unwrap_err().contains("does not run"));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_ends_a_run_and_then_gives_it_up() {
    let world = World::new();
    world.put_gated("timeout = '10 min'\nschedule = 'daily at 01:30'");
    let daemon = world.start();
    daemon.until(|| daemon.core.jobs.shown(&key("slow")).due.is_some()).await;
    daemon.pass(&world, HOUR / 2);
    world.disk.reached().await;
    daemon.pass(&world, HOUR / 6);
    daemon.until(|| daemon.core.jobs.is_told_to_end(&key("slow"))).await;
    world.disk.open();
    daemon.until(|| ended(&world).len() == 1).await;
    // The next day it does not come to a safe point at all.
    world.disk.close();
    daemon.pass(&world, HOUR * 24);
    world.disk.reached().await;
    daemon.pass(&world, HOUR / 6);
    daemon.until(|| daemon.core.jobs.is_told_to_end(&key("slow"))).await;
    daemon.pass(&world, GRACE);
    daemon.until(|| ended(&world).len() == 2).await;
    world.disk.open();
    let results = ended(&world);
    assert_eq!(told(&results), [("slow", Trigger::Schedule, Outcome::TimedOut); 2]);
    assert!(results[0].errors.iter().any(|error| error.contains("given up")), "{:?}", results[0].errors);
    assert!(!results[1].errors.iter().any(|error| error.contains("given up")), "{:?}", results[1].errors);
    daemon.stop().await;
}

/// Goal: a daemon that stops ends its jobs at a safe point; the next one goes on with them.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_stops_takes_jobs_up_again_when_it_starts() {
    let world = World::new();
    world.put_gated("schedule = 'daily at 01:30'");
    let daemon = world.start();
    daemon.until(|| daemon.core.jobs.shown(&key("slow")).due.is_some()).await;
    daemon.pass(&world, HOUR / 2);
    world.disk.reached().await;
    daemon.stop.turn();
    daemon.until(|| daemon.core.jobs.is_told_to_end(&key("slow"))).await;
    world.disk.open();
    daemon.task.await.unwrap();
    drop(daemon.core);
    assert_eq!(told(&ended(&world)), [("slow", Trigger::Schedule, Outcome::Cancelled)]);
    let daemon = world.start();
    daemon.until(|| ended(&world).len() == 2).await;
    assert_eq!(told(&ended(&world))[0], ("slow", Trigger::Resumed, Outcome::Succeeded));
    daemon.stop().await;
}

/// Goal: a run that a crash interrupted is told, and repeated.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_interrupted_is_found_and_repeated() {
    let world = World::new();
    world.put(VERIFY);
    let id = MessageIds::default().next(START);
    world.results().begin(&JobResult::begun(id, &name("verify"), START)).unwrap();
    world.clock.advance(Duration::from_secs(60));
    let daemon = world.start();
    daemon.until(|| ended(&world).len() == 2).await;
    assert_eq!(
        told(&ended(&world)),
        [
            ("verify", Trigger::Resumed, Outcome::Succeeded),
            ("verify", Trigger::Schedule, Outcome::Interrupted)
        ]
    );
    daemon.stop().await;
}

/// Goal: a run that a crash interrupted is told by mail, unless nothing of its job is to be.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_interrupted_is_told_to_who_wants_it() {
    for notify in [true, false] {
        let world = World::new();
        world.put(&format!("notify = {notify}\nmissed = 'skip'\n{VERIFY}"));
        let id = MessageIds::default().next(START);
        world.results().begin(&JobResult::begun(id, &name("verify"), START)).unwrap();
        let daemon = world.start();
        daemon.until(|| ended(&world).len() == 1).await;
        daemon.stop().await;
        let told =
            RealDisk.read(&world.dir.path().join("data/notifications.json"), 1 << 20).unwrap_or_default();
        assert_eq!(String::from_utf8_lossy(&told).contains("main/verify"), notify);
    }
}

/// Goal: a disk that takes no results fails no job, and has them when it takes them again.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_delays_results_and_fails_no_job() {
    let world = World::new();
    world.put(VERIFY);
    let daemon = world.start();
    daemon.until(|| daemon.core.jobs.shown(&key("verify")).due.is_some()).await;
    world.disk.refuse_results(true);
    daemon.pass(&world, HOUR);
    let unsaved = || daemon.core.jobs.unsaved() == 1;
    daemon.until(unsaved).await;
    assert!(ended(&world).is_empty());
    world.disk.refuse_results(false);
    daemon.core.jobs.nudge();
    // They are taken out of memory before they are stored.
    daemon.until(|| !unsaved() && !ended(&world).is_empty()).await;
    assert_eq!(told(&ended(&world)), [("verify", Trigger::Schedule, Outcome::Succeeded)]);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_run_by_hand_without_a_daemon() {
    let world = World::new();
    world.put(VERIFY);
    let core = Arc::new(world.core(false));
    let run = Command::JobRun { instance: "main".into(), name: "verify".into() };
    for _ in 0..2 {
        let done = ask(&core, run.clone()).await.unwrap();
        assert_eq!((&done["outcome"], &done["failed"]), (&"succeeded".into(), &0.into()));
    }
    let listed = ask(&core, Command::JobList { instance: "main".into() }).await.unwrap();
    assert_eq!(listed[0]["next"], "2024-01-01T02:00:00Z");
    assert_eq!(listed[0]["last"]["outcome"], "succeeded");
    let error = ask(&core, run_slow()).await.unwrap_err();
    assert!(error.contains("there is no job slow"), "{error}");
    let page = |limit, before| Command::ResultList { instance: "main".into(), job: None, limit, before };
    let first = ask(&core, page(1, None)).await.unwrap();
    let next = first["next"].as_str().unwrap().to_owned();
    let second = ask(&core, page(1, Some(next))).await.unwrap();
    assert_eq!((second["results"].as_array().unwrap().len(), &second["next"]), (1, &Value::Null));
    let id = second["results"][0]["id"].as_str().unwrap().to_owned();
    let shown = ask(&core, Command::ResultShow { instance: "main".into(), id }).await.unwrap();
    assert_eq!((&shown["trigger"], &shown["outcome"]), (&"hand".into(), &"succeeded".into()));
    assert!(ask(&core, page(1, Some("x".into()))).await.unwrap_err().contains("no id of a result"));
}

/// Goal: jobs come and go while the daemon runs, also as files; a bad one touches no other.
#[tokio::test(flavor = "multi_thread")]
async fn changes_are_seen_while_the_daemon_runs() {
    let world = World::new();
    let daemon = world.start();
    let jobs = &daemon.core.jobs;
    let job: Job = toml::from_str(VERIFY).unwrap();
    ask(&daemon.core, Command::JobPut { instance: "main".into(), job: Box::new(job) }).await.unwrap();
    daemon.until(|| jobs.shown(&key("verify")).due.is_some()).await;
    let enable = |enabled| Command::JobEnable { instance: "main".into(), name: "verify".into(), enabled };
    ask(&daemon.core, enable(false)).await.unwrap();
    daemon.until(|| jobs.shown(&key("verify")).due.is_none()).await;
    write_atomic(&RealDisk, &world.instance_dir().join("jobs/bad.json"), b"{}").unwrap();
    ask(&daemon.core, enable(true)).await.unwrap();
    daemon.until(|| jobs.shown(&key("verify")).due.is_some()).await;
    let listed = ask(&daemon.core, Command::JobList { instance: "main".into() }).await.unwrap();
    assert!(listed[0]["error"].as_str().unwrap().contains("bad.json"), "{listed}");
    assert_eq!(listed[1]["name"], "verify");
    let delete = Command::JobDelete { instance: "main".into(), name: "verify".into() };
    ask(&daemon.core, delete).await.unwrap();
    daemon.until(|| jobs.shown(&key("verify")).due.is_none()).await;
    daemon.stop().await;
}

/// Goal: a catalog that was damaged while the archiver ran is made anew, once; what is whole stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_makes_anew_what_is_broken_and_nothing_else() {
    let world = World::new();
    world.put("name = 'mend'\n[template]\ntype = 'rebuild'");
    let core = Arc::new(world.core(false));
    core.instance("main").unwrap().commit(vec![crate::stage::message(1, &["anna"])]).unwrap();
    let run = || ask(&core, Command::JobRun { instance: "main".into(), name: "mend".into() });
    let rebuilt = |done: &Value| {
        assert_eq!(done["outcome"], "succeeded", "{done}");
        (done["counts"]["stores"].as_u64().unwrap(), done["counts"]["rebuilt"].as_u64().unwrap())
    };
    assert_eq!(rebuilt(&run().await.unwrap()), (1, 0));
    let catalog = world.instance_dir().join("stores/0001/catalog.sqlite");
    let connection = rusqlite::Connection::open(&catalog).unwrap();
    let version: i64 = connection.query_row("PRAGMA schema_version", [], |row| row.get(0)).unwrap();
    // Two trees that begin on the same page.
    let damage = format!(
        "PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'participants')
         WHERE name = 'evidence';
         PRAGMA schema_version = {};",
        version + 1
    );
    connection.execute_batch(&damage).unwrap();
    drop(connection);
    assert_eq!(rebuilt(&run().await.unwrap()), (1, 1));
    assert_eq!(rebuilt(&run().await.unwrap()), (1, 0));
    assert_eq!(core.instance("main").unwrap().stats().unwrap().messages, 1);
}

/// Goal: a job that cannot be read does not stop in silence.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_cannot_be_read_is_told_as_failing() {
    let world = World::new();
    world.put(VERIFY);
    let daemon = world.start();
    daemon.until(|| daemon.core.jobs.shown(&key("verify")).due.is_some()).await;
    write_atomic(&RealDisk, &world.instance_dir().join("jobs/verify.json"), b"{}").unwrap();
    daemon.core.jobs.nudge();
    let told = world.dir.path().join("data/notifications.json");
    let troubles = || {
        let read = RealDisk.read(&told, 1 << 20).unwrap_or_default();
        serde_json::from_slice::<Value>(&read).unwrap_or_default()
    };
    daemon.until(|| troubles()["main/verify"]["how"] == "unreadable").await;
    assert_eq!(daemon.core.jobs.shown(&key("verify")).due, None);
    // Whoever stops the instance then is told all the same.
    daemon.core.stop_instance("main").unwrap();
    let mut rounds = daemon.core.jobs.rounds.subscribe();
    for _ in 0..2 {
        daemon.core.jobs.nudge();
        rounds.changed().await.unwrap();
    }
    daemon.stop().await;
    assert!(troubles()["main/verify"]["error"].as_str().unwrap().contains("verify.json"));
}

/// Goal: an instance that is deleted while a job runs there is gone when the job is, result and all.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_deleted_behind_its_last_result() {
    let world = World::new();
    world.put_gated("schedule = 'daily at 01:30'");
    let daemon = world.start();
    daemon.until(|| daemon.core.jobs.shown(&key("slow")).due.is_some()).await;
    daemon.pass(&world, HOUR / 2);
    world.disk.reached().await;
    let mut stopping = daemon.core.stopping("main").unwrap();
    let deleted = std::thread::spawn({
        let core = Arc::clone(&daemon.core);
        move || core.delete_instance("main")
    });
    stopping.requested().await;
    world.disk.open();
    let (aside, _) = deleted.join().unwrap().unwrap();
    let there = Results::new(Arc::new(RealDisk), &aside).list(None, None, 9).unwrap();
    assert_eq!(there.results[0].as_ref().unwrap().outcome, Some(Outcome::Cancelled));
    assert!(!world.instance_dir().exists() && daemon.core.instance_ids().unwrap().is_empty());
    daemon.stop().await;
}

#[test]
fn the_example_is_a_job_and_shows_the_defaults() {
    let example = include_str!("../../../../config/job.toml");
    let read = |text: &str| toml::from_str::<Job>(text).unwrap();
    let explicit: Vec<&str> = example.lines().map(|line| line.strip_prefix("#= ").unwrap_or(line)).collect();
    assert_eq!(read(&explicit.join("\n")), read(example));
    assert_eq!(Job::read(&RealDisk, Path::new("/no/such/file")).unwrap_err().to_string().lines().count(), 1);
}
