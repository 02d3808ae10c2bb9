use postern_shared::clock::{ManualClock, UnixMillis};
use postern_shared::disk::{Fault, FaultyDisk, RealDisk, Step, write_atomic};

use super::*;

fn open(disk: &dyn Disk, dir: &Path) -> Audit {
    let clock = Arc::new(ManualClock::at(UnixMillis(1_800_000_000_000)));
    Audit::open(disk, clock, &dir.join("audit.log")).unwrap()
}

fn verified(audit: &Audit) -> Chain {
    audit.verify(&mut |_, _, _| false).unwrap().unwrap()
}

fn text(dir: &Path) -> String {
    String::from_utf8(RealDisk.read(&dir.join("audit.log"), 10_000_000).unwrap()).unwrap()
}

fn record(audit: &Audit, what: &str) {
    audit.record(what, &json!({ "n": what })).unwrap();
}

fn whats(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["what"].as_str().unwrap_or("?")).collect()
}

#[test]
fn lines_are_chained_and_found_again_newest_first() {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(&RealDisk, dir.path());
    ["a", "b"].into_iter().for_each(|what| record(&audit, what));
    assert!(audit.verify(&mut |_, _, _| true).unwrap().is_none(), "whoever watches ends it");
    let by = By { who: "t".into(), how: "token 1".into(), from: "192.0.2.1".into() };
    audit.record_by(&by, "c", &json!({}), Some("not allowed")).unwrap();
    let again = open(&RealDisk, dir.path());
    record(&again, "d");
    let chain = verified(&again);
    assert_eq!((chain.lines, chain.broken), (4, None));
    assert_eq!(whats(&again.lines(None, 3).unwrap()), ["d", "c", "b"]);
    let older = again.lines(Some(3), 10).unwrap();
    assert_eq!(whats(&older), ["b", "a"]);
    let refused = &again.lines(Some(4), 1).unwrap()[0];
    assert_eq!((&refused["who"], &refused["refused"]), (&json!("t"), &json!("not allowed")), "{refused}");
    assert_eq!(older[0]["time"], "2027-01-15T08:00:00Z");
}

/// Goal: whatever line is altered, taken out or put in, it shows, and the log goes on behind it.
#[test]
fn tampering_breaks_the_chain() {
    let whole = tempfile::tempdir().unwrap();
    let audit = open(&RealDisk, whole.path());
    ["a", "b", "c"].into_iter().for_each(|what| record(&audit, what));
    let lines: Vec<String> = text(whole.path()).lines().map(str::to_owned).collect();
    let broken = |lines: &[String]| {
        let dir = tempfile::tempdir().unwrap();
        let text = lines.join("\n") + "\n";
        write_atomic(&RealDisk, &dir.path().join("audit.log"), text.as_bytes()).unwrap();
        let audit = open(&RealDisk, dir.path());
        record(&audit, "after");
        let chain = verified(&audit);
        assert_eq!(chain.lines, lines.len() as u64 + 1);
        chain.broken.unwrap_or_default()
    };
    assert_eq!(broken(&lines), "");
    let altered = lines[1].replace("\"b\"", "\"x\"");
    assert!(broken(&[lines[0].clone(), altered, lines[2].clone()]).contains("line 3"));
    assert!(broken(&[lines[0].clone(), lines[2].clone()]).contains("line 2"));
    assert!(broken(&[lines[0].clone(), "x".into(), lines[1].clone()]).contains("line 2"));
    assert!(broken(&[lines[0].clone(), "x".into()]).contains("line 2"), "the last one too");
}

/// Goal: a line that a crash cut short at any octet is none, and the next one takes its place.
#[test]
fn a_torn_line_is_no_line() {
    let whole = tempfile::tempdir().unwrap();
    record(&open(&RealDisk, whole.path()), "a");
    let first = text(whole.path());
    record(&open(&RealDisk, whole.path()), "b");
    let both = text(whole.path());
    for cut in first.len()..both.len() {
        let dir = tempfile::tempdir().unwrap();
        write_atomic(&RealDisk, &dir.path().join("audit.log"), &both.as_bytes()[..cut]).unwrap();
        let audit = open(&RealDisk, dir.path());
        assert_eq!(whats(&audit.lines(None, 9).unwrap()), ["a"]);
        record(&audit, "c");
        let chain = verified(&open(&RealDisk, dir.path()));
        assert_eq!((chain.lines, chain.broken), (2, None), "cut at {cut}");
    }
}

/// Goal: a line whose end reached the disk before its middle was never acknowledged, and accuses nobody of tampering.
#[test]
fn a_line_with_a_hole_is_no_line() {
    let whole = tempfile::tempdir().unwrap();
    let audit = open(&RealDisk, whole.path());
    ["a", "b"].into_iter().for_each(|what| record(&audit, what));
    let both = text(whole.path()).into_bytes();
    let first = both.iter().position(|octet| *octet == b'\n').unwrap() + 1;
    for hole in [first..both.len() - 1, first + 50..both.len() - 1, first..first + 1, first + 9..first + 40] {
        let dir = tempfile::tempdir().unwrap();
        let mut torn = both.clone();
        torn[hole.clone()].fill(0);
        write_atomic(&RealDisk, &dir.path().join("audit.log"), &torn).unwrap();
        record(&open(&RealDisk, dir.path()), "c");
        let audit = open(&RealDisk, dir.path());
        let chain = verified(&audit);
        assert_eq!((chain.lines, chain.broken), (2, None), "{hole:?}");
        assert_eq!(whats(&audit.lines(None, 9).unwrap()), ["c", "a"]);
    }
}

/// Goal: pages go past damaged lines, each shown once, and go on behind them.
#[test]
fn pages_go_past_damaged_lines() {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(&RealDisk, dir.path());
    (0..9).for_each(|n| record(&audit, &n.to_string()));
    let mut lines: Vec<String> = text(dir.path()).lines().map(str::to_owned).collect();
    lines[2] = "[1]".into();
    lines[5] = lines[5].replace("\"sequence\":6", "\"sequence\":600");
    lines[6] = "x".into();
    write_atomic(&RealDisk, &dir.path().join("audit.log"), (lines.join("\n") + "\n").as_bytes()).unwrap();
    let audit = open(&RealDisk, dir.path());
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = audit.lines(before, 2).unwrap();
        let Some(last) = page.last() else { break };
        before = last["place"].as_u64().or(last["sequence"].as_u64());
        seen.extend(page);
    }
    assert_eq!(whats(&seen), ["8", "7", "?", "5", "4", "3", "?", "1", "0"]);
    assert_eq!(
        (&seen[2]["place"], &seen[3]["place"], &seen[4]["place"]),
        (&json!(7), &json!(6), &Value::Null)
    );
}

/// Goal: what could not be written is told, is no line, and does not keep later ones from being written.
#[test]
fn a_failed_write_is_told_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for step in [Step::Write, Step::Sync] {
        let fault = Fault::nth(step, 0, std::io::ErrorKind::StorageFull);
        let audit = open(&FaultyDisk::new(Arc::new(RealDisk), fault), dir.path());
        let lines = verified(&audit).lines;
        assert!(audit.record("lost", &json!({})).is_err());
        assert_eq!(verified(&audit).lines, lines);
        record(&audit, "kept");
        let chain = verified(&open(&RealDisk, dir.path()));
        assert_eq!((chain.lines, chain.broken), (lines + 1, None));
    }
}

/// Goal: long logs are paged without gaps or doubles, across the pieces in which they are read.
#[test]
fn pages_of_a_long_log_are_whole() {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(&RealDisk, dir.path());
    for n in 0..60 {
        audit.record(&n.to_string(), &json!({ "filling": "x".repeat(n * 100) })).unwrap();
    }
    audit.record("60", &json!({ "filling": "x".repeat(9_000) })).unwrap();
    let filling = audit.lines(None, 1).unwrap()[0]["particulars"]["filling"].clone();
    assert!(filling.as_str().unwrap().ends_with("(8800 octets left out)"), "{filling}");
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = audit.lines(before, 7).unwrap();
        let Some(last) = page.last() else { break };
        before = last["sequence"].as_u64();
        seen.extend(page.iter().map(|line| line["what"].as_str().unwrap().parse::<u64>().unwrap()));
    }
    assert_eq!(seen, (0..=60).rev().collect::<Vec<_>>());
}
