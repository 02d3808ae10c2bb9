//! Looking for trouble before it finds the operator: one check after the other, each `ok`, `warn` or `fail`, with what
//! to do about it.
//!
//! `fail`: mail is refused, lost to view or readable by others now, or the daemon cannot start. `warn`: it may become
//! so, or only part of the world is affected. Nothing is repaired here.
//!
//! Not here: checking the configuration's text (`check-config`).

mod certificate;
mod clock;
mod dns;
mod files;
mod ports;
mod probe;

use anyhow::{Result, bail};
use postern_shared::clock::{Clock, SystemClock};
use postern_shared::disk::{Disk, RealDisk};
use serde::Serialize;
use serde_json::{Value, json};

use crate::command::Command;
use crate::settings::{Settings, Tls};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) check: &'static str,
    pub(super) verdict: Verdict,
    found: String,
    /// What to do.
    advice: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, found: found.into(), advice: None }
    }

    pub(super) fn warn(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warn, found: found.into(), advice: Some(advice.into()) }
    }

    pub(super) fn fail(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail, ..Self::warn(check, found, advice) }
    }
}

/// Checks one thing after the other and tells all; fails when any check does.
pub(super) fn run(settings: &Settings, json: bool) -> Result<()> {
    let clock = SystemClock::new();
    let mut findings = Vec::new();
    if RealDisk.exists(&settings.data_dir).unwrap_or(false) {
        findings.extend(files::check(&settings.data_dir, &RealDisk, &clock));
        let shown = super::answer(settings, &Command::CertificateShow);
        findings.push(certificate::check(settings, &shown));
        let status = super::answer(settings, &Command::Status);
        findings.push(stored(&status));
        let status = status.unwrap_or_default();
        let probes = probe::all(&status);
        findings.push(ports::check(settings, probes.as_deref()));
        let shown = shown.unwrap_or_default();
        if let (Some(probes), Some(fingerprint)) = (&probes, shown["fingerprint"].as_str()) {
            findings.push(ports::check_shown(settings, probes, fingerprint, clock.wall()));
        }
        if settings.tls == Tls::Acme && probes.is_some() {
            findings.push(ports::check_challenges(settings));
        }
        if settings.tls != Tls::SelfSigned {
            findings.push(dns::check_names(&shown));
        }
        findings.push(clock::check(&clock, &status));
    } else {
        let found = format!("{} does not exist", settings.data_dir.display());
        findings.push(Finding::fail("data directory", found, "run: postern-gateway init"));
        findings.push(ports::check(settings, None));
        findings.push(clock::check(&clock, &Value::Null));
    }
    findings.push(dns::check(settings));
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

fn stored(status: &Result<Value>) -> Finding {
    const CHECK: &str = "stored data";
    let status = match status {
        Ok(status) => status,
        Err(error) => {
            return Finding::fail(
                CHECK,
                format!("{error:#}"),
                "nothing in it can be served until this is solved",
            );
        }
    };
    let damage: Vec<&str> =
        status["damage"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if damage.is_empty() {
        let found = format!("{} messages wait in {} mailboxes", status["messages"], status["mailboxes"]);
        return Finding::ok(CHECK, found);
    }
    let advice = "restore the file from a copy, or note what is lost; everything else is served";
    Finding::fail(CHECK, damage.join("; "), advice)
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

    #[test]
    fn damage_fails_with_its_place() {
        let status = Ok(json!({ "damage": ["0001.seg at byte 32: gone"], "messages": 1, "mailboxes": 1 }));
        let finding = stored(&status);
        assert_eq!((finding.verdict, finding.found.as_str()), (Verdict::Fail, "0001.seg at byte 32: gone"));
    }
}
