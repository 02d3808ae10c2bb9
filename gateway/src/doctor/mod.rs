//! Looking for trouble before it finds the operator: one check after the other, each `ok`, `warn` or `fail`, with what
//! to do about it. The command line and the console show what is found here.
//!
//! | file | what |
//! |---|---|
//! | `files`, `ports`, `certificate`, `dns`, `clock` | what [`examine`] looks at |
//! | `probe` | a listener as a client sees it: what it says, which certificate it really shows |
//! | `way` | the way of a mail client through the proxy to its server, step by step |
//!
//! `fail`: mail is refused, lost to view or readable by others now, or the daemon cannot start. `warn`: it may become
//! so, or only part of the world is affected. Nothing is repaired here.
//!
//! What is asked of the gateway goes through [`Ask`]: the command line asks the daemon, the daemon itself.
//!
//! Not here: checking the configuration's text (`check-config`).

mod certificate;
mod clock;
mod dns;
mod files;
mod ports;
mod probe;
mod way;

use anyhow::Result;
use postern_shared::clock::Clock;
use postern_shared::disk::Disk;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

pub(crate) use probe::{Probe, all as probe_all};
pub(crate) use way::{Tried, Way};

use crate::command::Command;
use crate::settings::{Settings, Tls};

/// Has a command answered.
pub(crate) type Ask<'a> = &'a (dyn Fn(&Command) -> Result<Value> + Send + Sync);

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// As it should be.
    Ok,
    /// It may become trouble.
    Warn,
    /// It is trouble.
    Fail,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Finding {
    /// What was looked at.
    pub(crate) check: &'static str,
    /// How bad it is.
    pub(crate) verdict: Verdict,
    /// What was found.
    pub(crate) found: String,
    /// What to do.
    pub(crate) advice: Option<String>,
}

impl Finding {
    pub(crate) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, found: found.into(), advice: None }
    }

    pub(crate) fn warn(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warn, found: found.into(), advice: Some(advice.into()) }
    }

    pub(crate) fn fail(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail, ..Self::warn(check, found, advice) }
    }
}

/// Checks one thing after the other. Blocks: for the disk, the network and the DNS, some seconds each.
pub(crate) fn examine(settings: &Settings, disk: &dyn Disk, clock: &dyn Clock, ask: Ask<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if disk.exists(&settings.data_dir).unwrap_or(false) {
        findings.extend(files::check(&settings.data_dir, disk, clock));
        let shown = ask(&Command::CertificateShow);
        findings.push(certificate::check(settings, &shown));
        let status = ask(&Command::Status);
        findings.push(stored(&status));
        let status = status.unwrap_or_default();
        let probes = probe_all(&status);
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
        findings.push(clock::check(clock, &status));
    } else {
        let found = format!("{} does not exist", settings.data_dir.display());
        findings.push(Finding::fail("data directory", found, "run: postern-gateway init"));
        findings.push(ports::check(settings, None));
        findings.push(clock::check(clock, &Value::Null));
    }
    findings.push(dns::check(settings));
    findings
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
    use serde_json::json;

    use super::*;

    #[test]
    fn damage_fails_with_its_place() {
        let status = Ok(json!({ "damage": ["0001.seg at byte 32: gone"], "messages": 1, "mailboxes": 1 }));
        let finding = stored(&status);
        assert_eq!((finding.verdict, finding.found.as_str()), (Verdict::Fail, "0001.seg at byte 32: gone"));
    }
}
