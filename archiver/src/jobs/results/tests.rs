use postern_shared::disk::simulated::EntryOrder;
use postern_shared::disk::{Fault, FaultyDisk, RealDisk, SimulatedDisk, Step};
use postern_shared::id::MessageIds;

use super::*;

const DAY: u64 = 24 * 3600 * 1000;

fn begun(ids: &MessageIds, job: &str, ms: u64) -> JobResult {
    JobResult::begun(ids.next(UnixMillis(ms)), &job.parse().unwrap(), UnixMillis(ms))
}

fn ended(ids: &MessageIds, job: &str, ms: u64) -> JobResult {
    let mut result = begun(ids, job, ms);
    (result.ended, result.outcome) = (Some(UnixMillis(ms + 1)), Some(Outcome::Succeeded));
    result.counts.insert("archived".into(), 3);
    result
}

fn real(dir: &tempfile::TempDir) -> Results {
    write_atomic(&RealDisk, &dir.path().join("instance.json"), b"{}").unwrap();
    Results::new(Arc::new(RealDisk), dir.path())
}

fn ids_of(page: &Page) -> Vec<MessageId> {
    page.results.iter().flatten().map(|result| result.id).collect()
}

#[test]
fn pages_have_everything_once_the_newest_first() {
    let (dir, ids) = (tempfile::tempdir().unwrap(), MessageIds::default());
    let results = real(&dir);
    assert!(results.list(None, None, 10).unwrap().results.is_empty(), "before there is a directory");
    let mut stored = Vec::new();
    for n in 0..25 {
        let result = ended(&ids, if n % 5 == 0 { "rare" } else { "profile:often" }, DAY + n);
        results.begin(&result).unwrap();
        results.end(&result).unwrap();
        stored.push(result);
    }
    let running = begun(&ids, "rare", DAY + 99);
    results.begin(&running).unwrap();
    stored.push(running.clone());
    stored.reverse();
    let (mut found, mut before) = (Vec::new(), None);
    loop {
        let page = results.list(None, before, 7).unwrap();
        found.extend(page.results.into_iter().map(Result::unwrap));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(found, stored);
    let rare = results.list(Some(&"rare".parse().unwrap()), None, 6).unwrap();
    assert_eq!((rare.results.len(), rare.next), (6, None));
    let lasts = results.lasts(|job| job.as_str() != "other").unwrap();
    assert_eq!((lasts.len(), &lasts[&"rare".parse().unwrap()]), (2, &running));
    assert_eq!(results.newest().unwrap(), Some(running.id));
    assert_eq!(results.show(&running.id.to_string()).unwrap(), running);
    for unknown in ["", "x", "../../etc/passwd", "01ARZ3NDEKTSV4RRFFQ69G5FAV"] {
        assert!(matches!(results.show(unknown), Err(ResultsError::Unknown(_))), "{unknown}");
    }
}

/// Goal: one bad file hides no other, and is named.
#[test]
fn damaged_files_hide_nothing() {
    let (dir, ids) = (tempfile::tempdir().unwrap(), MessageIds::default());
    let results = real(&dir);
    let all: Vec<JobResult> = (0..5).map(|n| ended(&ids, "job", DAY + n)).collect();
    for result in &all {
        results.end(result).unwrap();
    }
    let path = |result: &JobResult| dir.path().join(format!("results/{}.job.json", result.id));
    let write = |path: &Path, bytes: &[u8]| write_atomic(&RealDisk, path, bytes).unwrap();
    let good = RealDisk.read(&path(&all[0]), 10_000).unwrap();
    write(&path(&all[1]), b"{");
    write(&path(&all[2]), &good);
    let future = String::from_utf8(good.clone()).unwrap().replace("\"version\":1", "\"version\":2");
    write(&path(&all[3]), future.replace(&all[0].id.to_string(), &all[3].id.to_string()).as_bytes());
    for stray in ["notes.txt", "x.job.json", &format!("{}.job.json.12ab.tmp", all[0].id), ".json", "a.b.run"]
    {
        write(&dir.path().join("results").join(stray), b"\xff");
    }
    let page = results.list(None, None, 100).unwrap();
    assert_eq!(ids_of(&page), [all[4].id, all[0].id]);
    let faults: Vec<String> =
        page.results.iter().filter_map(|one| one.as_ref().err()).map(ToString::to_string).collect();
    assert_eq!(faults.len(), 3, "{faults:?}");
    for (fault, (result, why)) in
        faults.iter().zip([(&all[3], "version 2"), (&all[2], "another one"), (&all[1], "EOF")])
    {
        assert!(fault.contains(&result.id.to_string()) && fault.contains(why), "{fault}");
    }
    // They go when their time has come, as the others do.
    let keep = Keep { time: Duration::from_secs(1), count: 100 };
    assert_eq!(results.prune(keep, UnixMillis(3 * DAY)).unwrap(), 4);
    assert_eq!(ids_of(&results.list(None, None, 100).unwrap()), [all[4].id], "the last one stays");
}

#[test]
fn results_go_by_age_and_number_but_never_the_last() {
    let (dir, ids) = (tempfile::tempdir().unwrap(), MessageIds::default());
    let results = real(&dir);
    let old = ended(&ids, "old", 1);
    results.end(&old).unwrap();
    let all: Vec<JobResult> = (0..100).map(|n| ended(&ids, "daily", n * DAY)).collect();
    for result in &all {
        results.end(result).unwrap();
    }
    let keep = Keep { time: Duration::from_millis(90 * DAY), count: 1000 };
    assert_eq!(results.prune(keep, UnixMillis(99 * DAY)).unwrap(), 9);
    let left = results.list(None, None, 1000).unwrap();
    assert_eq!((left.results.len(), ids_of(&left).last()), (92, Some(&old.id)));
    let few = Keep { count: 10, ..keep };
    assert_eq!(results.prune(few, UnixMillis(99 * DAY)).unwrap(), 81);
    assert_eq!(results.list(None, None, 1000).unwrap().results.len(), 11);
}

/// Goal: runs without an end are found as interrupted, once.
#[test]
fn what_was_running_when_the_power_went_is_found() {
    let (dir, ids) = (tempfile::tempdir().unwrap(), MessageIds::default());
    let results = real(&dir);
    let (cut, whole, torn) =
        (begun(&ids, "cut", DAY), ended(&ids, "whole", DAY), begun(&ids, "torn", DAY + 7));
    for result in [&cut, &whole, &torn] {
        results.begin(result).unwrap();
    }
    // The crash came between the result and the removal of what stood for the run.
    results.write(&whole, true).unwrap();
    write_atomic(&RealDisk, &dir.path().join(format!("results/{}.torn.run", torn.id)), b"").unwrap();
    let found = results.recover(UnixMillis(2 * DAY)).unwrap();
    let found: Vec<_> =
        found.iter().map(|(one, _)| (one.job.as_str(), one.outcome, one.resume, one.started)).collect();
    let interrupted = Some(Outcome::Interrupted);
    assert_eq!(
        found,
        [("cut", interrupted, true, UnixMillis(DAY)), ("torn", interrupted, true, UnixMillis(DAY + 7))]
    );
    assert!(results.recover(UnixMillis(2 * DAY)).unwrap().is_empty());
    assert_eq!(results.show(&whole.id.to_string()).unwrap(), whole);
    let names = RealDisk.files(&dir.path().join("results")).unwrap();
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn idle_runs_of_a_continuous_job_are_one_result() {
    let (dir, ids) = (tempfile::tempdir().unwrap(), MessageIds::default());
    let results = real(&dir);
    let idle = |ms| {
        let mut result = ended(&ids, "live", ms);
        result.counts.insert("archived".into(), 0);
        result.counts.insert("pull_ms".into(), ms);
        result
    };
    results.end_folded(&mut ended(&ids, "live", 1), None).unwrap();
    for ms in 2..7 {
        results.end(&idle(ms)).unwrap();
        // Another job's results are not in the way.
        results.end(&ended(&ids, "other", ms)).unwrap();
    }
    for ms in 10..15 {
        let mut result = idle(ms);
        results.begin(&result).unwrap();
        results.end_folded(&mut result, None).unwrap();
    }
    let mut busy = ended(&ids, "live", 20);
    results.end_folded(&mut busy, None).unwrap();
    let page = results.list(Some(&"live".parse().unwrap()), None, 100).unwrap();
    let runs: Vec<u64> = page.results.iter().flatten().map(|result| result.runs).collect();
    assert_eq!(runs, [1, 6, 1, 1, 1, 1, 1]);
}

/// Goal: a job that runs often takes nothing from one that runs seldom, and what failed goes last.
#[test]
fn jobs_do_not_push_each_other_out() {
    let (dir, ids) = (tempfile::tempdir().unwrap(), MessageIds::default());
    let results = real(&dir);
    let mut failed = ended(&ids, "often", 1);
    failed.outcome = Some(Outcome::Failed);
    results.end(&failed).unwrap();
    for n in 0..3 {
        results.end(&ended(&ids, "weekly", 2 + n)).unwrap();
    }
    let mut idle = ended(&ids, "often", 10);
    idle.counts.clear();
    results.end(&ended(&ids, "often", 9)).unwrap();
    results.end(&idle).unwrap();
    for n in 0..50 {
        results.end(&ended(&ids, "often", 20 + n)).unwrap();
    }
    let keep = Keep { time: Duration::from_millis(90 * DAY), count: 52 };
    assert_eq!(results.prune(keep, UnixMillis(DAY)).unwrap(), 1);
    assert!(results.show(&idle.id.to_string()).is_err(), "what found nothing goes first");
    let few = Keep { count: 5, ..keep };
    assert_eq!(results.prune(few, UnixMillis(DAY)).unwrap(), 47);
    let often = results.list(Some(&"often".parse().unwrap()), None, 100).unwrap();
    let outcomes: Vec<_> = often.results.iter().flatten().map(|one| one.outcome.unwrap()).collect();
    assert_eq!((outcomes.len(), outcomes.last()), (5, Some(&Outcome::Failed)));
    assert_eq!(results.list(Some(&"weekly".parse().unwrap()), None, 100).unwrap().results.len(), 3);
}

/// Goal: what ends the archiver again and again is repeated at once only the first time.
#[test]
fn interruptions_in_a_row_are_counted() {
    let (dir, ids) = (tempfile::tempdir().unwrap(), MessageIds::default());
    let results = real(&dir);
    for n in 1..=3 {
        results.begin(&begun(&ids, "fatal", DAY * u64::from(n))).unwrap();
        results.end(&ended(&ids, "other", DAY * u64::from(n) + 1)).unwrap();
        let found = results.recover(UnixMillis(DAY * u64::from(n) + 9)).unwrap();
        let [(found, None)] = &found[..] else { panic!("{found:?}") };
        assert_eq!((found.interruptions, found.resume), (n, n == 1));
    }
    results.end(&ended(&ids, "fatal", DAY * 4)).unwrap();
    results.begin(&begun(&ids, "fatal", DAY * 5)).unwrap();
    assert_eq!(results.recover(UnixMillis(DAY * 5)).unwrap()[0].0.interruptions, 1);
}

/// Goal: a disk that takes nothing hides no interrupted run, and what is not there is not made.
#[test]
fn nothing_keeps_interrupted_runs_from_being_told() {
    let (dir, ids) = (tempfile::tempdir().unwrap(), MessageIds::default());
    for job in ["a", "b"] {
        real(&dir).begin(&begun(&ids, job, DAY)).unwrap();
    }
    let disk = FaultyDisk::new(Arc::new(RealDisk), Fault::nth(Step::Write, 0, io::ErrorKind::StorageFull));
    let found = Results::new(Arc::new(disk), dir.path()).recover(UnixMillis(2 * DAY)).unwrap();
    assert!(found.len() == 2 && found[0].1.is_some() && found[1].1.is_none(), "{found:?}");
    let gone = dir.path().join("gone");
    let results = Results::new(Arc::new(RealDisk), &gone);
    let result = ended(&ids, "a", DAY);
    assert!(matches!(results.begin(&result), Err(ResultsError::Gone(_))));
    assert!(matches!(results.end(&result), Err(ResultsError::Gone(_))) && !gone.exists());
}

#[test]
fn long_logs_and_many_errors_are_bounded() {
    let mut result = begun(&MessageIds::default(), "job", 0);
    for n in 0..1000 {
        result.log(UnixMillis(n), &format!("line {n} {}", "x\n".repeat(1000)));
        result.error("e");
    }
    assert_eq!((result.log.len(), result.errors.len(), result.errors_left_out), (200, 100, 900));
    assert!(result.log[0].contains("line 0") && result.log[199].contains("line 999"));
    assert_eq!(result.log.iter().filter(|line| *line == "…").count(), 1);
    assert!(result.log.iter().all(|line| line.chars().count() < 540 && !line.contains('\n')));
}

#[test]
fn a_full_disk_leaves_what_was() {
    let (dir, ids) = (tempfile::tempdir().unwrap(), MessageIds::default());
    let result = ended(&ids, "job", DAY);
    real(&dir).begin(&result).unwrap();
    for step in [Step::Create, Step::Write, Step::Sync, Step::Rename] {
        let disk = FaultyDisk::new(Arc::new(RealDisk), Fault::nth(step, 0, io::ErrorKind::StorageFull));
        let results = Results::new(Arc::new(disk), dir.path());
        assert!(matches!(results.end(&result), Err(ResultsError::Io { .. })), "{step:?}");
        assert_eq!(real(&dir).list(None, None, 10).unwrap().results.len(), 1, "{step:?}");
    }
    assert_eq!(real(&dir).recover(UnixMillis(2 * DAY)).unwrap().len(), 1);
}

/// Goal: after a power cut at any moment a run is found ended as it was told, or interrupted; never twice, never neither.
/// Method: cut behind every operation of a disk that forgets, in both orders of entries, with several seeds.
#[test]
fn a_power_cut_at_any_moment_leaves_one_truth() {
    let result = ended(&MessageIds::default(), "job", DAY);
    for order in [EntryOrder::Journal, EntryOrder::Any] {
        for cut in 0.. {
            let disk = SimulatedDisk::new(order);
            disk.create_dir_all(Path::new("/data")).unwrap();
            write_atomic(&disk, Path::new("/data/instance.json"), b"{}").unwrap();
            disk.cut_power_after(cut);
            let results = Results::new(Arc::new(disk.clone()), Path::new("/data"));
            let begun = results.begin(&result).is_ok();
            let told = results.end(&result).is_ok();
            for seed in 0..20 {
                let found = Results::new(Arc::new(disk.crash(seed)), Path::new("/data"));
                found.recover(UnixMillis(2 * DAY)).unwrap();
                let page = found.list(None, None, 10).unwrap();
                let outcomes: Vec<_> =
                    page.results.into_iter().map(|one| one.unwrap().outcome.unwrap()).collect();
                match outcomes.as_slice() {
                    [Outcome::Succeeded] => {}
                    [Outcome::Interrupted] if !told => {}
                    [] if !begun => {}
                    other => panic!("{order:?}, cut after {cut}, seed {seed}: {other:?}"),
                }
            }
            if told {
                break;
            }
        }
    }
}
