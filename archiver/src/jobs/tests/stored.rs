use std::io;
use std::path::Path;
use std::sync::Arc;

use postern_shared::clock::UnixMillis;
use postern_shared::disk::{Disk as _, Fault, FaultyDisk, RealDisk, Step, write_atomic};

use crate::jobs::job::{Job, JobName};
use crate::jobs::stored::{JobStoreError, StoredJobs};

fn job(toml: &str) -> Job {
    toml::from_str(toml).unwrap()
}

fn stored(dir: &Path) -> StoredJobs {
    StoredJobs::new(Arc::new(RealDisk), dir)
}

const BACKUP: &str = "name = 'backup'\ntimeout = '6 h'\nmissed = 'skip'\nnotify = false\n\
                      schedule = { cron = '0 2 * * *', zone = 'Europe/Berlin' }\n\
                      template = { type = 'backup', to = '/backup' }";

#[test]
fn what_is_put_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let jobs = stored(dir.path());
    assert!(jobs.list().unwrap().is_empty());
    let name: JobName = "backup".parse().unwrap();
    let put = jobs.put(job(BACKUP), UnixMillis(5)).unwrap();
    assert_eq!((jobs.show(&name).unwrap(), put.since), (put.clone(), UnixMillis(5)));
    jobs.put(job("name = 'a'\n[template]\ntype = 'rebuild'"), UnixMillis(6)).unwrap();
    let names: Vec<String> =
        jobs.list().unwrap().into_iter().map(|one| one.unwrap().job.name.to_string()).collect();
    assert_eq!(names, ["a", "backup"]);
    jobs.delete(&name).unwrap();
    assert!(matches!(jobs.show(&name), Err(JobStoreError::Unknown(_))));
    assert!(matches!(jobs.delete(&name), Err(JobStoreError::Unknown(_))));
}

#[test]
fn what_cannot_be_a_job_is_refused() {
    for toml in [
        "name = '../x'\n[template]\ntype = 'verify'",
        "name = 'profile:'\n[template]\ntype = 'verify'",
        "name = 'x'",
        "name = 'x'\n[template]\ntype = 'shell'",
        "name = 'x'\nretries = 3\n[template]\ntype = 'verify'",
        "name = 'x'\n[template]\ntype = 'verify'\nto = '/x'",
        "name = 'x'\nmissed = 'maybe'\n[template]\ntype = 'verify'",
        "name = 'x'\nschedule = 'now and then'\n[template]\ntype = 'verify'",
        "name = 'x'\ntimeout = '0 s'\n[template]\ntype = 'verify'",
        "name = 'x'\n[template]\ntype = 'profile'\nprofile = 'a/b'",
    ] {
        assert!(toml::from_str::<Job>(toml).is_err(), "{toml}");
    }
    let dir = tempfile::tempdir().unwrap();
    for toml in [
        "name = 'x'\n[template]\ntype = 'backup'\nto = 'relative'",
        "name = 'x'\n[template]\ntype = 'compact'\nunused_percent = 0",
        "name = 'x'\ntimeout = '5 ms'\n[template]\ntype = 'verify'",
        "name = 'profile:x'\n[template]\ntype = 'verify'",
    ] {
        let refused = stored(dir.path()).put(job(toml), UnixMillis(0));
        assert!(matches!(refused, Err(JobStoreError::Refused { .. })), "{toml}");
    }
    assert!(stored(dir.path()).list().unwrap().is_empty());
}

#[test]
fn profiles_with_a_schedule_are_jobs() {
    let dir = tempfile::tempdir().unwrap();
    RealDisk.create_dir_all(&dir.path().join("profiles")).unwrap();
    let write = |name: &str, text: &str| {
        write_atomic(&RealDisk, &dir.path().join("profiles").join(name), text.as_bytes()).unwrap();
    };
    let profile = |name: &str, enabled: bool, schedule: &str| {
        format!(
            r#"{{"version":1,"enabled":{enabled},"profile":{{"name":"{name}","source":{{"type":"gateway"}}{schedule}}},"sealed":"00"}}"#
        )
    };
    write("by-hand.json", &profile("by-hand", true, ""));
    write("often.json", &profile("often", true, r#","schedule":{"every":"15m"}"#));
    write("off.json", &profile("off", false, r#","schedule":{"continuous":true,"zone":"Europe/Berlin"}"#));
    write("odd.json", &profile("odd", true, r#","schedule":{"every":"now"}"#));
    let listed = stored(dir.path()).list().unwrap();
    let found: Vec<(String, bool, String)> = listed
        .iter()
        .flatten()
        .map(|one| {
            (one.job.name.to_string(), one.job.enabled, one.job.schedule.as_ref().unwrap().to_string())
        })
        .collect();
    assert_eq!(
        found,
        [
            ("profile:off".into(), false, "continuous in Europe/Berlin".into()),
            ("profile:often".into(), true, "every 15m".into())
        ]
    );
    let faults: Vec<String> =
        listed.iter().filter_map(|one| one.as_ref().err()).map(ToString::to_string).collect();
    assert!(
        faults.len() == 1 && faults[0].contains("odd.json") && faults[0].contains("no interval"),
        "{faults:?}"
    );
    // One without a schedule can be run by hand all the same.
    let shown = stored(dir.path()).show(&"profile:by-hand".parse().unwrap()).unwrap();
    assert_eq!(shown.job.schedule, None);
}

#[test]
fn damaged_files_are_named_and_hide_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let jobs = stored(dir.path());
    jobs.put(job(BACKUP), UnixMillis(5)).unwrap();
    let path = |name: &str| dir.path().join("jobs").join(name);
    let good = String::from_utf8(RealDisk.read(&path("backup.json"), 10_000).unwrap()).unwrap();
    for (name, text) in [
        ("cut.json", &good[..40]),
        ("future.json", &good.replace("\"version\": 1", "\"version\": 2")),
        ("unknown.json", &good.replace("\"since\"", "\"x\": 1, \"since\"")),
        ("left.json.12ab.tmp", ""),
    ] {
        write_atomic(&RealDisk, &path(name), text.as_bytes()).unwrap();
    }
    let listed = jobs.list().unwrap();
    let faults: Vec<String> =
        listed.iter().filter_map(|one| one.as_ref().err()).map(ToString::to_string).collect();
    assert_eq!((listed.len(), faults.len()), (4, 3), "{faults:?}");
    write_atomic(&RealDisk, &path("renamed.json"), good.as_bytes()).unwrap();
    let error = jobs.show(&"renamed".parse().unwrap()).unwrap_err().to_string();
    assert!(error.contains("it holds backup"), "{error}");
}

#[test]
fn a_failing_disk_leaves_the_old_job() {
    let dir = tempfile::tempdir().unwrap();
    stored(dir.path()).put(job(BACKUP), UnixMillis(5)).unwrap();
    for step in [Step::Create, Step::Write, Step::Sync, Step::Rename] {
        let disk = FaultyDisk::new(Arc::new(RealDisk), Fault::nth(step, 0, io::ErrorKind::StorageFull));
        let jobs = StoredJobs::new(Arc::new(disk), dir.path());
        let new = Job { enabled: false, ..job(BACKUP) };
        assert!(matches!(jobs.put(new, UnixMillis(6)), Err(JobStoreError::Io { .. })), "{step:?}");
        let left = stored(dir.path()).show(&"backup".parse().unwrap()).unwrap();
        assert!(left.job.enabled && left.since == UnixMillis(5), "{step:?}");
    }
}
