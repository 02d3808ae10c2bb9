//! The systemd units as files.

use std::process::Command;

use anyhow::{Context, Result};
use postern_tests::foreign::{has, run};

use crate::file;

/// Goal: nobody loosens a unit without noticing: what systemd calls its exposure stays under a bound.
/// What is left of the gateway's: it needs the network, low ports, and users and files of the machine as they are.
#[test]
fn units_expose_little() -> Result<()> {
    if !has("systemd-analyze") {
        return Ok(());
    }
    for (unit, exposure_max) in [("postern-gateway", 1.4), ("postern-archiver", 1.4)] {
        let path = file(&format!("config/{unit}.service"));
        let judged = run(Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager"])
            .arg(path))?;
        let text = String::from_utf8(judged.stdout)?;
        let level = text.split("Overall exposure level for ").nth(1).context("no level")?;
        let level: f64 = level.split_whitespace().nth(1).context("no number")?.parse()?;
        assert!(level <= exposure_max, "{unit}: {text}");
    }
    Ok(())
}

/// Goal: the unit's limits are those that its text promises.
#[test]
fn the_gateway_gets_low_ports_and_nothing_else() -> Result<()> {
    let unit = std::fs::read_to_string(file("config/postern-gateway.service"))?;
    let values = |key: &str| -> Vec<&str> {
        unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
    };
    for (key, value) in [
        ("CapabilityBoundingSet", "CAP_NET_BIND_SERVICE"),
        ("AmbientCapabilities", "CAP_NET_BIND_SERVICE"),
        ("ProtectSystem", "strict"),
        ("NoNewPrivileges", "yes"),
        ("Type", "notify"),
        ("User", "postern-gateway"),
        ("LimitCORE", "0"),
        ("StandardOutput", ""),
    ] {
        assert_eq!(values(key).join(" "), value, "{key}");
    }
    assert_eq!(values("SystemCallFilter"), ["@system-service", "~@privileged @resources"]);
    assert!(!values("WatchdogSec").is_empty() && !values("ExecReload").is_empty());
    Ok(())
}
