//! Looking for trouble before it finds the operator.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Result, bail};
use postern_shared::clock::{Clock, SystemClock};
use postern_shared::disk::{Disk, RealDisk};
use serde_json::{Value, json};

use super::identity;
use crate::command::Command;
use crate::settings::Settings;

const CONNECT_DEADLINE: Duration = Duration::from_secs(3);
const FREE_BYTES_MIN: u64 = 1024 * 1024 * 1024;
const CERTIFICATE_DAYS_MIN: u64 = 14;

struct Finding {
    check: &'static str,
    trouble: Option<String>,
}

/// Checks one thing after the other and tells all; fails when any is in trouble.
pub(super) fn run(settings: &Settings, json: bool) -> Result<()> {
    let mut findings = vec![disk_space(settings), certificate(settings)];
    match super::answer(settings, &Command::Status) {
        Ok(status) => {
            let damage = status["damage"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let damage: Vec<&str> = damage.collect();
            let trouble = (!damage.is_empty()).then(|| damage.join("; "));
            findings.push(Finding { check: "stored data", trouble });
            findings.push(listeners(settings, &status));
        }
        Err(error) => findings.push(Finding { check: "data directory", trouble: Some(error.to_string()) }),
    }
    print(&findings, json);
    match findings.iter().filter(|finding| finding.trouble.is_some()).count() {
        0 => Ok(()),
        n => bail!("{n} of {} checks found trouble", findings.len()),
    }
}

fn print(findings: &[Finding], json: bool) {
    if json {
        let rows =
            findings.iter().map(|finding| json!({ "check": finding.check, "trouble": finding.trouble }));
        println!("{}", rows.collect::<Value>());
        return;
    }
    for Finding { check, trouble } in findings {
        println!(
            "{:8} {check}{}",
            if trouble.is_some() { "TROUBLE" } else { "ok" },
            match trouble {
                Some(trouble) => format!(": {trouble}"),
                None => String::new(),
            }
        );
    }
}

fn disk_space(settings: &Settings) -> Finding {
    let trouble = match RealDisk.free_bytes(&settings.data_dir) {
        Ok(free) if free >= FREE_BYTES_MIN => None,
        Ok(free) => Some(format!("only {} MiB free in {}", free >> 20, settings.data_dir.display())),
        Err(error) => Some(format!("{}: {error}", settings.data_dir.display())),
    };
    Finding { check: "disk space", trouble }
}

fn certificate(settings: &Settings) -> Finding {
    let clock = SystemClock::new();
    let trouble = match identity(settings, &RealDisk, &clock) {
        Err(error) => Some(error.to_string()),
        Ok(identity) => identity.expires().and_then(|expires| {
            let days = expires.since(clock.wall()).as_secs() / 86_400;
            (days < CERTIFICATE_DAYS_MIN).then(|| format!("expires {expires}, in {days} days"))
        }),
    };
    Finding { check: "certificate", trouble }
}

/// With a daemon: does each listener answer? Without one: could it be opened?
fn listeners(settings: &Settings, status: &Value) -> Finding {
    let mut trouble = Vec::new();
    if let Some(listening) = status["listening"].as_object() {
        for address in listening.values().flat_map(|all| all.as_array().into_iter().flatten()) {
            let Some(address) = address.as_str().and_then(|text| text.parse::<SocketAddr>().ok()) else {
                continue;
            };
            if let Err(error) = TcpStream::connect_timeout(&reachable(address), CONNECT_DEADLINE) {
                trouble.push(format!("{address} does not answer: {error}"));
            }
        }
    } else {
        let listen = &settings.listen;
        for addresses in [&listen.smtp, &listen.smtps, &listen.submission, &listen.pop3, &listen.pop3s] {
            for address in &addresses.0 {
                if let Err(error) = TcpListener::bind(address) {
                    trouble.push(format!("{address} cannot be opened: {error}"));
                }
            }
        }
    }
    Finding { check: "listeners", trouble: (!trouble.is_empty()).then(|| trouble.join("; ")) }
}

fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => ([127, 0, 0, 1], v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => ([0, 0, 0, 0, 0, 0, 0, 1], v6.port()).into(),
        other => other,
    }
}
