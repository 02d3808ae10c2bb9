//! The archiver's Debian package: its content, and its life on a machine.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use postern_tests::foreign::{has, run};
use postern_tests::machine::{self, Machine, package_of};
use serde_json::Value;

const UNIT: &str = "postern-archiver.service";
const CONFIG: &str = "/etc/postern/archiver.toml";

/// Goal: the package brings program, unit, user, directories and pages, and nothing that dpkg would ask about.
#[test]
fn the_archivers_package_holds_what_it_needs() -> Result<()> {
    if !has("dpkg-shlibdeps") {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let package = package_of("postern-archiver", dir.path(), "1")?;
    let content = run(Command::new("dpkg-deb").arg("--contents").arg(&package))?;
    let content = String::from_utf8(content.stdout)?;
    for path in [
        "./usr/bin/postern-archiver",
        "./usr/lib/systemd/system/postern-archiver.service",
        "./usr/lib/sysusers.d/postern-archiver.conf",
        "./usr/lib/tmpfiles.d/postern-archiver.conf",
        "./usr/share/doc/postern-archiver/archiver.toml",
        "./usr/share/doc/postern-archiver/archiver.md",
        "./usr/share/doc/postern-archiver/archiver-api.md",
        "./usr/share/doc/postern-archiver/archive-format.md",
    ] {
        ensure!(content.lines().any(|line| line.ends_with(path)), "{path} is not in\n{content}");
    }
    assert!(!content.contains(" ./etc/") && !content.contains(" ./var/"), "{content}");
    Ok(())
}

fn json(machine: &Machine, arguments: &[&str]) -> Result<Value> {
    let answer = machine.run(&[&["postern-archiver", "--json"], arguments].concat())?;
    serde_json::from_str(&answer).context(answer)
}

/// Goal: installed, configured, started: ready when systemd says so, as a user of its own; an archive outlives removal and purge.
#[test]
fn an_archive_outlives_restart_and_purge() -> Result<()> {
    if !machine::is_possible() || !has("dpkg-shlibdeps") {
        return Ok(());
    }
    let machine = Machine::boot()?;
    let dir = tempfile::tempdir()?;
    std::fs::copy(package_of("postern-archiver", dir.path(), "1")?, machine.path("/root/archiver.deb"))?;
    machine.run(&["dpkg", "--install", "/root/archiver.deb"])?;
    assert_eq!(machine.property(UNIT, "ActiveState")?, "inactive", "nothing runs before it is configured");
    assert_eq!(machine.run(&["systemd-analyze", "verify", UNIT])?, "");
    machine.run(&["postern-archiver", "--config", CONFIG, "init"])?;
    // Returns when the archiver has said that it is ready.
    machine.run(&["systemctl", "start", UNIT]).with_context(|| machine.journal())?;
    json(&machine, &["instance", "create", "main"])?;
    json(&machine, &["user", "add", "anna", "anna@example.com", "--instance", "main"])?;
    let status = json(&machine, &["status"])?;
    assert!(status["listening"]["api"][0] == "127.0.0.1:8474", "{status}");
    // What root does while it is down would not be the archiver's, so it is refused in words.
    machine.run(&["systemctl", "stop", UNIT])?;
    assert_eq!(machine.property(UNIT, "Result")?, "success");
    let refused = machine.command(&["postern-archiver", "status"]).output()?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("runuser -u postern-archiver"), "{said}");
    machine.run(&[
        "runuser",
        "-u",
        "postern-archiver",
        "--",
        "postern-archiver",
        "user",
        "list",
        "--instance",
        "main",
    ])?;
    machine.run(&["systemctl", "start", UNIT])?;
    assert_eq!(json(&machine, &["user", "list", "--instance", "main"])?[0]["id"], "anna");
    machine.run(&["dpkg", "--purge", "postern-archiver"])?;
    assert!(machine.path("/var/lib/postern/archiver/instances/main/instance.json").exists());
    assert!(!machine.path(CONFIG).exists());
    Ok(())
}
