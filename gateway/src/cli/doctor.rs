//! `doctor`: what is found, line by line.

use anyhow::{Result, bail};
use postern_shared::clock::SystemClock;
use postern_shared::disk::RealDisk;
use serde_json::json;

use crate::doctor::{Finding, Verdict, examine};
use crate::settings::Settings;

/// Tells all that is found; fails when any check does.
pub(super) fn run(settings: &Settings, json: bool) -> Result<()> {
    let findings =
        examine(settings, &RealDisk, &SystemClock::new(), &|command| super::answer(settings, command));
    if json {
        println!("{}", json!(findings));
    } else {
        findings.iter().for_each(|finding| println!("{}", line(finding)));
    }
    match findings.iter().filter(|finding| finding.verdict == Verdict::Fail).count() {
        0 => Ok(()),
        n => bail!("{n} of {} checks found trouble", findings.len()),
    }
}

pub(super) fn line(finding: &Finding) -> String {
    let verdict = match finding.verdict {
        Verdict::Ok => "ok  ",
        Verdict::Warn => "warn",
        Verdict::Fail => "FAIL",
    };
    let advice = finding.advice.iter().map(|advice| format!("\n      -> {advice}"));
    format!("{verdict}  {}: {}{}", finding.check, finding.found, advice.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_to_do() {
        assert_eq!(line(&Finding::ok("clock", "right")), "ok    clock: right");
        let shown = line(&Finding::fail("disk space", "3 MiB free", "make room"));
        assert_eq!(shown, "FAIL  disk space: 3 MiB free\n      -> make room");
        let json = json!(Finding::warn("clock", "odd", "see to it"));
        assert_eq!(json["verdict"], "warn");
    }
}
