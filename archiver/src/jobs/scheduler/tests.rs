use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { per_instance: 2, in_all: 3, continuous: 2, continuous_per_instance: 2 };
const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

fn key(text: &str) -> Key {
    let (instance, job) = text.split_once('/').unwrap();
    Key { instance: instance.into(), job: job.parse().unwrap() }
}

fn plan(schedule: &str) -> Plan {
    let schedule = (!schedule.is_empty()).then(|| schedule.parse().unwrap());
    Plan { schedule, timeout: None, missed: Missed::Run, since: UnixMillis(0) }
}

fn skip(schedule: &str) -> Plan {
    Plan { missed: Missed::Skip, ..plan(schedule) }
}

fn at(ms: u64) -> UnixMillis {
    UnixMillis(ms)
}

fn last(ms: u64) -> Option<Last> {
    Some(Last { started: at(ms), resume: false, interruptions: 0 })
}

fn scheduler() -> Scheduler {
    Scheduler::new(LIMITS, Zone::utc())
}

/// Asked while both clocks go alike.
fn polled(scheduler: &mut Scheduler, now: UnixMillis) -> Vec<Action> {
    scheduler.poll(now, moment(now.0))
}

fn moment(ms: u64) -> Moment {
    Moment::after_start(Duration::from_millis(ms))
}

/// What starts, in its order.
fn started(scheduler: &mut Scheduler, now: u64) -> Vec<(String, Why)> {
    let starts = polled(scheduler, at(now)).into_iter().map(|action| match action {
        Action::Start { key, why } => (key.to_string(), why),
        other => panic!("{other:?}"),
    });
    starts.collect()
}

fn due(job: &str, ms: u64) -> (String, Why) {
    (job.into(), Why::Due(at(ms)))
}

#[test]
fn a_job_runs_when_it_is_due_and_not_before() {
    let mut scheduler = scheduler();
    let nightly = key("main/nightly");
    scheduler.put(&nightly, plan("daily at 02:00"), || last(DAY), at(DAY + HOUR));
    assert_eq!(
        (scheduler.wake(), scheduler.due(&nightly)),
        (Some(at(DAY + 2 * HOUR)), Some(at(DAY + 2 * HOUR)))
    );
    assert!(started(&mut scheduler, DAY + 2 * HOUR - 1).is_empty());
    assert_eq!(started(&mut scheduler, DAY + 2 * HOUR + 7), [due("main/nightly", DAY + 2 * HOUR)]);
    // It runs: nothing else is to be done, however late it gets.
    assert_eq!((scheduler.wake(), scheduler.due(&nightly)), (None, None));
    assert!(started(&mut scheduler, 3 * DAY).is_empty());
    scheduler.ended(&nightly, End::Well, at(3 * DAY + HOUR));
    assert_eq!(scheduler.wake(), Some(at(3 * DAY + 2 * HOUR)), "what passed while it ran is left out");
}

/// Goal: what was due while the daemon was down is run once, or skipped.
#[test]
fn missed_times_make_one_run_or_none() {
    for (plan, expected, next) in [
        (plan("hourly"), vec![("main/a".to_owned(), Why::Missed)], 11 * HOUR),
        (skip("hourly"), vec![], 11 * HOUR),
        (plan("daily at 12:00"), vec![], 12 * HOUR),
    ] {
        let mut scheduler = scheduler();
        scheduler.put(&key("main/a"), plan, || last(5 * HOUR), at(10 * HOUR + 1));
        assert_eq!(started(&mut scheduler, 10 * HOUR + 1), expected);
        scheduler.ended(&key("main/a"), End::Well, at(10 * HOUR + MINUTE));
        assert_eq!(scheduler.wake(), Some(at(next)));
    }
    // Times before it was put were not missed; one that never ran and is wanted since ever is.
    let mut scheduler = scheduler();
    scheduler.put(&key("main/new"), Plan { since: at(10 * HOUR), ..plan("hourly") }, || None, at(10 * HOUR));
    scheduler.put(&key("main/profile"), plan("hourly"), || None, at(10 * HOUR));
    assert_eq!(started(&mut scheduler, 10 * HOUR), [("main/profile".to_owned(), Why::Missed)]);
}

#[test]
fn an_interrupted_run_is_repeated_or_not() {
    let resume = || Some(Last { started: at(9 * HOUR), resume: true, interruptions: 1 });
    let mut scheduler = scheduler();
    scheduler.put(&key("main/run"), plan("daily"), resume, at(10 * HOUR));
    scheduler.put(&key("main/skip"), skip("daily"), resume, at(10 * HOUR));
    scheduler.put(&key("main/off"), plan(""), resume, at(10 * HOUR));
    assert_eq!(started(&mut scheduler, 10 * HOUR), [("main/run".to_owned(), Why::Resumed)]);
}

/// Goal: a machine that slept over a time does as after a start.
#[test]
fn what_is_very_late_was_missed() {
    let mut scheduler = scheduler();
    for (job, plan) in [("main/run", plan("daily at 02:00")), ("main/skip", skip("daily at 02:00"))] {
        scheduler.put(&key(job), plan, || last(DAY), at(DAY + HOUR));
    }
    let late = DAY + 2 * HOUR + u64::try_from(LATE_MAX.as_millis()).unwrap();
    let mut twin = Scheduler::new(LIMITS, Zone::utc());
    twin.put(&key("main/skip"), skip("daily at 02:00"), || last(DAY), at(DAY + HOUR));
    assert_eq!(started(&mut twin, late), [due("main/skip", DAY + 2 * HOUR)]);
    assert_eq!(started(&mut scheduler, late + 1), [("main/run".to_owned(), Why::Missed)]);
    assert_eq!(scheduler.due(&key("main/skip")), Some(at(2 * DAY + 2 * HOUR)));
}

/// Goal: no more run at once than may; who waits comes in turn, and waiting is not missing.
#[test]
fn places_are_kept_and_given_in_turn() {
    let mut scheduler = scheduler();
    for job in ["a/1", "a/2", "a/3", "b/1", "b/2"] {
        scheduler.put(&key(job), skip("hourly"), || last(0), at(1));
    }
    let begun = started(&mut scheduler, HOUR);
    assert_eq!(begun, [due("a/1", HOUR), due("b/1", HOUR), due("a/2", HOUR)], "two of a, three in all");
    assert_eq!(scheduler.wake(), None, "who waits wakes nobody");
    scheduler.ended(&key("b/1"), End::Well, at(HOUR + 1));
    assert_eq!(started(&mut scheduler, HOUR + 1), [due("b/2", HOUR)], "a has its places");
    scheduler.ended(&key("a/2"), End::Well, at(HOUR + 2));
    // Before b/1, which is due later; and however late it is.
    assert_eq!(started(&mut scheduler, 2 * HOUR - 1), [due("a/3", HOUR)]);
}

#[test]
fn continuous_jobs_have_places_of_their_own_and_back_off() {
    let mut scheduler = scheduler();
    for job in ["a/c1", "a/c2", "a/c3"] {
        scheduler.put(&key(job), plan("continuous"), || None, at(0));
    }
    scheduler.put(&key("a/once"), plan("hourly"), || None, at(0));
    let begun: Vec<String> = started(&mut scheduler, 5).into_iter().map(|(key, _)| key).collect();
    assert_eq!(begun, ["a/c1", "a/c2"]);
    assert_eq!(started(&mut scheduler, HOUR), [due("a/once", HOUR)]);
    scheduler.ended(&key("a/c2"), End::Well, at(HOUR));
    assert_eq!(started(&mut scheduler, HOUR).len(), 1, "a/c3 has waited");
    scheduler.ended(&key("a/c1"), End::Well, at(HOUR));
    assert_eq!(scheduler.due(&key("a/c1")), Some(at(HOUR).plus(PAUSE)));
    scheduler.retain(|key| key.job.as_str() == "c1");
    let mut now = at(HOUR).plus(PAUSE);
    for minutes in [1, 2, 4, 8, 16, 30, 30] {
        assert_eq!(started(&mut scheduler, now.0).len(), 1);
        scheduler.ended(&key("a/c1"), End::Badly, now);
        let next = scheduler.due(&key("a/c1")).unwrap();
        assert_eq!(next.since(now), Duration::from_secs(60 * minutes));
        now = next;
    }
}

#[test]
fn timeouts_end_runs_and_at_last_give_them_up() {
    let mut scheduler = scheduler();
    let (slow, timeout) = (key("main/slow"), Duration::from_secs(3600));
    scheduler.put(&slow, Plan { timeout: Some(timeout), ..plan("daily") }, || None, at(DAY + 5));
    assert_eq!(started(&mut scheduler, DAY + 5).len(), 1);
    assert_eq!(scheduler.wake(), Some(at(DAY + HOUR + 5)));
    assert!(polled(&mut scheduler, at(DAY + HOUR + 4)).is_empty());
    assert_eq!(polled(&mut scheduler, at(DAY + HOUR + 5)), [Action::TimeOut(slow.clone())]);
    let give_up = at(DAY + HOUR + 5).plus(GRACE);
    assert_eq!((polled(&mut scheduler, at(DAY + HOUR + 6)), scheduler.wake()), (vec![], Some(give_up)));
    assert_eq!(polled(&mut scheduler, give_up), [Action::GiveUp(slow.clone())]);
    assert_eq!((polled(&mut scheduler, give_up.plus(timeout)), scheduler.wake()), (vec![], None));
    scheduler.ended(&slow, End::Badly, give_up.plus(timeout));
    assert_eq!(scheduler.due(&slow), Some(at(2 * DAY)));
}

/// Goal: however many jobs an instance has due, another one finds a place at once.
#[test]
fn the_last_place_is_for_who_has_none() {
    let limits = Limits { per_instance: 4, in_all: 5, ..LIMITS };
    let mut scheduler = Scheduler::new(limits, Zone::utc());
    for job in ["a/1", "a/2", "a/3", "b/1", "b/2", "b/3"] {
        scheduler.put(&key(job), skip("hourly"), || last(0), at(1));
    }
    scheduler.put(&key("c/1"), skip("daily"), || last(0), at(1));
    let begun: Vec<String> = started(&mut scheduler, HOUR).into_iter().map(|(key, _)| key).collect();
    assert_eq!(begun, ["a/1", "b/1", "a/2", "b/2"], "in turn, and one place is left");
    scheduler.put(&key("c/1"), skip("every 30m"), || None, at(HOUR));
    assert_eq!(started(&mut scheduler, HOUR + HOUR / 2), [due("c/1", HOUR + HOUR / 2)]);
    // Nobody is left who has none.
    scheduler.ended(&key("a/1"), End::Well, at(HOUR + HOUR / 2));
    assert_eq!(started(&mut scheduler, HOUR + HOUR / 2), [due("a/3", HOUR)]);
}

/// Goal: however many continuous jobs an instance has, and however long they run, those of others find places.
#[test]
fn continuous_jobs_of_an_instance_leave_places() {
    let limits = Limits { continuous: 6, continuous_per_instance: 4, ..LIMITS };
    let mut scheduler = Scheduler::new(limits, Zone::utc());
    for job in ["a/1", "a/2", "a/3", "a/4", "a/5", "a/6"] {
        scheduler.put(&key(job), plan("continuous"), || None, at(0));
    }
    let names = |begun: Vec<(String, Why)>| begun.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(names(started(&mut scheduler, 5)), ["a/1", "a/2", "a/3", "a/4"], "alone, and not all");
    for job in ["b/1", "b/2", "c/1"] {
        scheduler.put(&key(job), plan("continuous"), || None, at(5));
    }
    assert_eq!(names(started(&mut scheduler, 6)), ["b/1", "c/1"], "each has one");
    scheduler.ended(&key("a/1"), End::Well, at(7));
    assert_eq!(names(started(&mut scheduler, 7)), ["b/2"], "who has fewer");
}

/// Goal: a clock that is set, or a machine that slept, times out nothing that ran no longer than it may.
#[test]
fn timeouts_are_measured() {
    let mut scheduler = scheduler();
    let plan = Plan { timeout: Some(Duration::from_secs(3600)), ..plan("daily") };
    scheduler.put(&key("main/slow"), plan, || None, at(DAY + 5));
    assert_eq!(scheduler.poll(at(DAY + 5), moment(1000)).len(), 1);
    for leap in [DAY, 0] {
        assert!(scheduler.poll(at(DAY + leap), moment(2000)).is_empty());
        assert_eq!(scheduler.wake(), Some(at(DAY + leap + HOUR - 1000)));
    }
    // However late that is seen, it has its time to come to a safe point.
    assert_eq!(scheduler.poll(at(DAY), moment(3 * HOUR)), [Action::TimeOut(key("main/slow"))]);
    assert!(scheduler.poll(at(DAY), moment(3 * HOUR + 1)).is_empty());
    let grace = u64::try_from(GRACE.as_millis()).unwrap();
    assert_eq!(scheduler.poll(at(DAY), moment(3 * HOUR + grace)), [Action::GiveUp(key("main/slow"))]);
}

/// Goal: what ends the archiver again and again keeps it from nothing else.
#[test]
fn what_was_interrupted_again_waits() {
    for (interruptions, minutes) in [(2, 1), (3, 2), (20, 30)] {
        let fatal = || Some(Last { started: at(9 * HOUR), resume: false, interruptions });
        for plan in [plan("continuous"), plan("every 1m"), plan("hourly"), skip("every 5m")] {
            let mut scheduler = scheduler();
            scheduler.put(&key("main/fatal"), plan, fatal, at(10 * HOUR));
            assert!(started(&mut scheduler, 10 * HOUR).is_empty());
            let due = scheduler.due(&key("main/fatal")).unwrap();
            assert_eq!(due, at(10 * HOUR + minutes * MINUTE));
            assert_eq!(started(&mut scheduler, due.0).len(), 1);
        }
    }
    let fatal = || Some(Last { started: at(9 * HOUR), resume: false, interruptions: 2 });
    let mut scheduler = scheduler();
    scheduler.put(&key("main/fatal"), plan("daily"), fatal, at(10 * HOUR));
    assert_eq!(scheduler.due(&key("main/fatal")), Some(at(DAY)));
}

#[test]
fn asking_runs_what_is_not_due_once() {
    let mut scheduler = scheduler();
    let job = key("main/a");
    assert_eq!(scheduler.ask(&job), Err(Refused::Unknown));
    scheduler.put(&job, plan(""), || None, at(0));
    assert_eq!((scheduler.ask(&job), scheduler.ask(&job)), (Ok(()), Err(Refused::Running)));
    scheduler.withdraw(&job);
    assert!(started(&mut scheduler, 1).is_empty());
    scheduler.ask(&job).unwrap();
    assert_eq!(started(&mut scheduler, 2), [("main/a".to_owned(), Why::Asked)]);
    assert_eq!(scheduler.ask(&job), Err(Refused::Running));
    scheduler.ended(&job, End::Busy, at(3));
    assert_eq!(scheduler.wake(), None, "who asked is told; nobody repeats it");
}

#[test]
fn what_is_busy_is_tried_again_soon() {
    let mut scheduler = scheduler();
    scheduler.put(&key("main/a"), plan("daily"), || last(1), at(DAY - 1));
    assert_eq!(started(&mut scheduler, DAY), [due("main/a", DAY)]);
    scheduler.ended(&key("main/a"), End::Busy, at(DAY + 1));
    assert_eq!(scheduler.wake(), Some(at(DAY + 1).plus(BUSY_PAUSE)));
}

#[test]
fn plans_change_and_jobs_go() {
    let mut scheduler = scheduler();
    let job = key("main/a");
    scheduler.put(&job, plan("daily"), || last(DAY), at(DAY + 1));
    scheduler.put(&job, plan("hourly"), || panic!("it is known"), at(DAY + 1));
    assert_eq!(scheduler.due(&job), Some(at(DAY + HOUR)));
    assert_eq!(started(&mut scheduler, DAY + HOUR).len(), 1);
    // Put again, it is the same; gone, its run still ends.
    scheduler.put(&job, plan("hourly"), || None, at(DAY + HOUR));
    scheduler.retain(|_| false);
    assert!(scheduler.is_running(&job));
    scheduler.ended(&job, End::Well, at(DAY + HOUR + 1));
    assert!(!scheduler.knows(&job) && scheduler.wake().is_none());
    // One that comes back while it runs stays.
    scheduler.put(&job, plan("hourly"), || last(DAY), at(DAY + 1));
    assert_eq!(started(&mut scheduler, DAY + HOUR).len(), 1);
    scheduler.retain(|_| false);
    scheduler.put(&job, plan("daily"), || None, at(DAY + HOUR));
    scheduler.ended(&job, End::Well, at(DAY + HOUR + 1));
    assert_eq!(scheduler.due(&job), Some(at(2 * DAY)));
}

/// Goal: a clock that was years ahead and is set right does not silence a job for years.
#[test]
fn clocks_that_are_put_back_are_believed() {
    let mut scheduler = scheduler();
    let job = key("main/a");
    scheduler.put(&job, plan("hourly"), || last(4000 * DAY), at(4000 * DAY + 1));
    assert!(polled(&mut scheduler, at(4000 * DAY + 2)).is_empty());
    assert!(polled(&mut scheduler, at(DAY + 5)).is_empty());
    assert_eq!(scheduler.due(&job), Some(at(DAY + HOUR)));
    // A second back, as time servers set it, repeats nothing.
    assert_eq!(started(&mut scheduler, DAY + HOUR).len(), 1);
    scheduler.ended(&job, End::Well, at(DAY + HOUR));
    assert!(polled(&mut scheduler, at(DAY + HOUR - 1000)).is_empty());
    assert_eq!(scheduler.due(&job), Some(at(DAY + 2 * HOUR)));
    // A last run in the future is none.
    scheduler.put(&key("main/b"), plan("hourly"), || last(5000 * DAY), at(DAY + HOUR));
    assert_eq!(scheduler.due(&key("main/b")), Some(at(DAY + 2 * HOUR)));
}

/// Goal: a continuous job that is put off runs when it is hastened, or at the latest when it was said; what runs, waits for a
/// place or was asked for is not held up, and other jobs are not touched.
#[test]
fn a_continuous_job_is_put_off_and_hastened() {
    let mut scheduler = scheduler();
    let (job, hourly) = (key("main/job"), key("main/hourly"));
    scheduler.put(&job, plan("continuous"), || last(DAY), at(DAY));
    scheduler.put(&hourly, plan("hourly"), || last(DAY), at(DAY));
    assert_eq!(started(&mut scheduler, DAY), [due("main/job", DAY)]);
    scheduler.put_off(&job, at(DAY + HOUR));
    scheduler.ended(&job, End::Well, at(DAY + 1));
    let paused = DAY + 1 + u64::try_from(PAUSE.as_millis()).unwrap();
    assert_eq!(scheduler.due(&job), Some(at(paused)), "what ran was not put off");

    scheduler.put_off(&job, at(DAY + 30 * MINUTE));
    scheduler.put_off(&hourly, at(2 * DAY));
    assert_eq!(
        (scheduler.due(&job), scheduler.due(&hourly)),
        (Some(at(DAY + 30 * MINUTE)), Some(at(DAY + HOUR)))
    );
    assert!(started(&mut scheduler, paused).is_empty());
    scheduler.hasten(&job, at(DAY + MINUTE));
    scheduler.hasten(&hourly, at(DAY + MINUTE));
    scheduler.hasten(&job, at(DAY + 2 * MINUTE));
    assert_eq!(scheduler.wake(), Some(at(DAY + MINUTE)));
    assert_eq!(started(&mut scheduler, DAY + MINUTE), [due("main/job", DAY + MINUTE)]);
    scheduler.ended(&job, End::Well, at(DAY + 2 * MINUTE));
    scheduler.put_off(&job, at(DAY + 30 * MINUTE));
    assert_eq!(started(&mut scheduler, DAY + 30 * MINUTE), [due("main/job", DAY + 30 * MINUTE)]);
    scheduler.ended(&job, End::Well, at(DAY + 31 * MINUTE));

    scheduler.ask(&job).unwrap();
    scheduler.put_off(&job, at(DAY + 50 * MINUTE));
    assert_eq!(started(&mut scheduler, DAY + 31 * MINUTE), [("main/job".to_owned(), Why::Asked)]);
    scheduler.put(&job, plan("hourly"), || None, at(DAY + 32 * MINUTE));
    assert!(!scheduler.is_continuous(&job));
}

proptest! {
    /// Goal: whatever happens in whatever order, no job overlaps with itself, no limit is exceeded, no due job starves while
    /// there are places, and the scheduler never asks to be woken for nothing.
    #[test]
    fn promises_hold_whatever_happens(events in prop::collection::vec((0_u8..8, 0_usize..8, 0_u64..90), 1..200)) {
        let jobs: Vec<Key> = (0..8).map(|n| key(&format!("{}/job{n}", ["a", "b"][n % 2]))).collect();
        let plans = [plan("every 10m"), skip("every 15m"), plan("continuous"), plan("hourly"), plan("")];
        let mut scheduler = scheduler();
        let mut running: Vec<(Key, bool)> = Vec::new();
        let mut now = at(DAY);
        for (what, which, minutes) in events {
            let job = &jobs[which];
            match what {
                0 => scheduler.put(job, plans[usize::try_from(minutes).unwrap() % 5].clone(), || last(DAY / 2), now),
                1 => drop(scheduler.ask(job)),
                2 => scheduler.retain(|key| key != job),
                6 => scheduler.put_off(job, now.plus(Duration::from_secs(60 * minutes))),
                7 => scheduler.hasten(job, now.plus(Duration::from_secs(minutes))),
                3 | 4 => {
                    let end = [End::Well, End::Badly, End::Busy][usize::try_from(minutes).unwrap() % 3];
                    running.retain(|(key, _)| key != job);
                    scheduler.ended(job, end, now);
                }
                _ => now = now.plus(Duration::from_secs(60 * minutes)),
            }
            for action in polled(&mut scheduler, now) {
                let Action::Start { key, .. } = action else { panic!("no timeouts here") };
                prop_assert!(running.iter().all(|(other, _)| *other != key), "{key} overlaps");
                let entry = &scheduler.jobs[&key];
                running.push((key, entry.run.as_ref().unwrap().continuous));
            }
            let common = running.iter().filter(|(_, continuous)| !continuous);
            prop_assert!(common.clone().count() <= LIMITS.in_all);
            prop_assert!(running.len() - common.clone().count() <= LIMITS.continuous);
            for instance in ["a", "b"] {
                let continuous = running.iter().filter(|(key, continuous)| *continuous && key.instance == instance);
                prop_assert!(continuous.count() <= LIMITS.continuous_per_instance);
                prop_assert!(common.clone().filter(|(key, _)| key.instance == instance).count() <= LIMITS.per_instance);
            }
            prop_assert!(polled(&mut scheduler, now).is_empty(), "a second look finds nothing");
            prop_assert!(scheduler.wake().is_none_or(|wake| wake > now), "woken for nothing");
            if running.is_empty() {
                let left = scheduler.jobs.values().any(|entry| entry.due.is_some_and(|due| due <= now));
                prop_assert!(!left, "a job starves");
            }
        }
    }
}
