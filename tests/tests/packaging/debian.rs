//! The Debian package: its content, and its life on a machine.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use postern_tests::foreign::{has, run};
use postern_tests::machine::{self, Machine, package};
use serde_json::Value;

use crate::file;

const UNIT: &str = "postern-gateway.service";
const CONFIG: &str = "/etc/postern/gateway.toml";
const DATA: &str = "/var/lib/postern/gateway";

fn text(command: &mut Command) -> Result<String> {
    Ok(String::from_utf8(run(command)?.stdout)?)
}

/// Goal: the package brings the program, its unit, its user, its directories and its pages, and no file that dpkg would ask
/// about, or overwrite what the console wrote.
#[test]
fn the_package_holds_what_its_page_says() -> Result<()> {
    if !has("dpkg-shlibdeps") {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let package = package(dir.path(), "1")?;
    let content = text(Command::new("dpkg-deb").arg("--contents").arg(&package))?;
    let doc = "./usr/share/doc/postern-gateway";
    for path in [
        "./usr/bin/postern-gateway",
        "./usr/lib/systemd/system/postern-gateway.service",
        "./usr/lib/sysusers.d/postern-gateway.conf",
        "./usr/lib/tmpfiles.d/postern-gateway.conf",
        &format!("{doc}/copyright"),
        &format!("{doc}/gateway.toml"),
        &format!("{doc}/installation.md"),
        &format!("{doc}/quickstart.md"),
        &format!("{doc}/troubleshooting.md"),
        &format!("{doc}/backup.md"),
        &format!("{doc}/configuration.md"),
        &format!("{doc}/monitoring/postern-alerts.yaml"),
        &format!("{doc}/monitoring/postern-grafana.json"),
    ] {
        ensure!(content.lines().any(|line| line.ends_with(path)), "{path} is not in\n{content}");
    }
    let touches = |path: &str| content.lines().any(|line| line.split(" ./").any(|of| of.starts_with(path)));
    assert!(!touches("etc/") && !touches("var/"), "{content}");
    assert!(content.lines().all(|line| line.split_whitespace().nth(1) == Some("0/0")), "{content}");

    let control = text(Command::new("dpkg-deb").arg("--field").arg(&package))?;
    for field in ["Package: postern-gateway\n", "Section: mail\n", "systemd (>= 250)", "libc6 (>= "] {
        assert!(control.contains(field), "{field}: {control}");
    }
    assert!(!control.contains(".example>"), "mail to the maintainer goes nowhere: {control}");
    Ok(())
}

/// What a running gateway answers.
fn json(machine: &Machine, arguments: &[&str]) -> Result<Value> {
    let answer = machine.run(&[&["postern-gateway", "--json"], arguments].concat())?;
    serde_json::from_str(&answer).context(answer)
}

fn deliver(machine: &Machine, address: &str) -> Result<()> {
    let mut swaks = machine.beside("swaks");
    swaks.args(["--server", "127.0.0.1:25", "--tls", "--from", "a@example.com", "--to", address]);
    run(swaks.stdin(Stdio::null()))?;
    Ok(())
}

fn installed(revision: &str) -> Result<Option<(Machine, tempfile::TempDir)>> {
    if !machine::is_possible() || !has("dpkg-shlibdeps") {
        return Ok(None);
    }
    let machine = Machine::boot()?;
    let dir = tempfile::tempdir()?;
    install(&machine, dir.path(), revision)?;
    Ok(Some((machine, dir)))
}

fn install(machine: &Machine, dir: &std::path::Path, revision: &str) -> Result<()> {
    std::fs::copy(package(dir, revision)?, machine.path("/root/gateway.deb"))?;
    machine.run(&["dpkg", "--install", "/root/gateway.deb"])?;
    Ok(())
}

fn configure_and_start(machine: &Machine) -> Result<()> {
    machine.run(&["postern-gateway", "--config", CONFIG, "init", "--email-domain", "gateway.example.com"])?;
    // Returns when the gateway has said that it is ready.
    machine.run(&["systemctl", "start", UNIT]).with_context(|| machine.journal())?;
    let health = machine.run(&["postern-gateway", "health"]).with_context(|| machine.journal())?;
    assert_eq!(health, "ready");
    Ok(())
}

fn exists(machine: &Machine, path: &str) -> bool {
    machine.path(path).exists()
}

/// Goal: what docs/installation.md promises of installing, upgrading, removing and purging.
/// Method: that, on a machine; mail is delivered before the upgrade and counted behind each step.
#[test]
fn mail_outlives_upgrade_removal_and_purge() -> Result<()> {
    let Some((machine, dir)) = installed("1")? else { return Ok(()) };
    // Nothing listens before somebody has said for which domain.
    assert_eq!(machine.property(UNIT, "ActiveState")?, "inactive");
    assert_eq!(machine.property(UNIT, "UnitFileState")?, "enabled");
    assert_eq!(machine.run(&["systemd-analyze", "verify", UNIT])?, "");
    let health = machine.command(&["postern-gateway", "health"]).output()?;
    assert!(
        !health.status.success() && String::from_utf8_lossy(&health.stderr).contains("no daemon is running")
    );

    configure_and_start(&machine)?;
    let mailbox = json(&machine, &["mailbox", "create", "--name", "journal"])?;
    let address = mailbox["address"].as_str().context("an address")?;
    deliver(&machine, address)?;
    let messages = |machine: &Machine| json(machine, &["status"]).map(|status| status["messages"].clone());
    assert_eq!(messages(&machine)?, 1);

    // What root does while the gateway is down leaves nothing that it cannot open.
    machine.run(&["systemctl", "stop", UNIT])?;
    assert_eq!(machine.property(UNIT, "Result")?, "success");
    machine.run(&["postern-gateway", "mailbox", "create", "--name", "by root"])?;
    machine.run(&["systemctl", "start", UNIT])?;
    let doctor = json(&machine, &["doctor"])?;
    let findings = doctor.as_array().context("findings")?;
    let permissions =
        findings.iter().find(|finding| finding["check"] == "permissions").context("permissions")?;
    assert_eq!(permissions["verdict"], "ok", "{permissions}");

    let (before, config) =
        (machine.property(UNIT, "MainPID")?, std::fs::read_to_string(machine.path(CONFIG))?);
    install(&machine, dir.path(), "2")?;
    assert_ne!(machine.property(UNIT, "MainPID")?, before, "the new version runs");
    assert_eq!(machine.property(UNIT, "ActiveState")?, "active");
    assert_eq!((messages(&machine)?, std::fs::read_to_string(machine.path(CONFIG))?), (1.into(), config));

    machine.run(&["dpkg", "--remove", "postern-gateway"])?;
    assert!(
        exists(&machine, CONFIG) && exists(&machine, DATA) && !exists(&machine, "/usr/bin/postern-gateway")
    );
    let said = run(&mut machine.command(&["dpkg", "--purge", "postern-gateway"]))?;
    assert!(String::from_utf8_lossy(&said.stderr).contains("is kept; POSTERN_PURGE_DATA=yes"), "{said:?}");
    assert!(!exists(&machine, "/etc/postern") && exists(&machine, DATA));
    machine.run(&["id", "postern-gateway"])?;

    install(&machine, dir.path(), "2")?;
    configure_and_start(&machine)?;
    assert_eq!(messages(&machine)?, 1, "a new installation finds what the old one kept");

    machine.run(&["env", "POSTERN_PURGE_DATA=yes", "dpkg", "--purge", "postern-gateway"])?;
    assert!(!exists(&machine, "/etc/postern") && !exists(&machine, "/var/lib/postern"));
    assert!(machine.run(&["id", "postern-gateway"]).is_err());
    let page = std::fs::read_to_string(file("docs/installation.md"))?;
    assert!(page.contains("POSTERN_PURGE_DATA=yes"), "the page tells how to get rid of the data");
    Ok(())
}

/// Goal: a data directory elsewhere, as `init` offers it, can be used by the service, once its unit lets it.
#[test]
fn a_data_directory_elsewhere_is_the_daemons() -> Result<()> {
    let Some((machine, _dir)) = installed("1")? else { return Ok(()) };
    let init = ["init", "--yes", "--domain", "gateway.example.com", "--data-dir", "/srv/postern/data"];
    let said = run(&mut machine.command(&[&["postern-gateway", "--config", CONFIG][..], &init].concat()))?;
    let step = "ReadWritePaths=/srv/postern/data";
    assert!(String::from_utf8_lossy(&said.stderr).contains(step), "{said:?}");
    let overrides = machine.path(&format!("/etc/systemd/system/{UNIT}.d"));
    std::fs::create_dir_all(&overrides)?;
    std::fs::write(overrides.join("data.conf"), format!("[Service]\n{step}\n"))?;
    machine.run(&["systemctl", "daemon-reload"])?;
    machine.run(&["systemctl", "start", UNIT]).with_context(|| machine.journal())?;
    assert_eq!(machine.run(&["postern-gateway", "health"])?, "ready");
    assert_eq!(machine.run(&["stat", "--format=%U %a", "/srv/postern/data"])?, "postern-gateway 700");
    Ok(())
}

/// Goal: the running gateway has the rights that its unit promises, no others, and those it needs.
#[test]
fn the_service_may_do_what_it_must_and_no_more() -> Result<()> {
    let Some((machine, _dir)) = installed("1")? else { return Ok(()) };
    configure_and_start(&machine)?;
    let pid = machine.property(UNIT, "MainPID")?;
    let status = machine.run(&["cat", &format!("/proc/{pid}/status")])?;
    let user = machine.run(&["id", "--user", "postern-gateway"])?;
    // CAP_NET_BIND_SERVICE is number 10.
    let low_ports = "0000000000000400";
    for (key, value) in [
        ("Uid", user.as_str()),
        ("CapEff", low_ports),
        ("CapPrm", low_ports),
        ("CapBnd", low_ports),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ] {
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).context(key)?;
        assert_eq!(line.split_whitespace().next(), Some(value), "{key}");
    }
    let in_its_place = |script: &str| {
        let as_it = ["setpriv", "--reuid=postern-gateway", "--regid=postern-gateway", "--init-groups"];
        let place = ["nsenter", "--target", &pid, "--mount", "--"];
        machine.run(&[&place[..], &as_it[..], &["sh", "-ec", script]].concat())
    };
    // As the console does.
    in_its_place(
        "cd /etc/postern; cp gateway.toml new; mv new gateway.toml; touch /var/lib/postern/gateway/x",
    )?;
    for elsewhere in ["touch /etc/x", "touch /usr/bin/x", "touch /root/x", "touch /etc/postern/../passwd"] {
        assert!(in_its_place(elsewhere).is_err(), "{elsewhere}");
    }
    let root_writes = ["nsenter", "--target", &pid, "--mount", "--", "touch", "/usr/x"];
    assert!(machine.run(&root_writes).is_err(), "not even root could write there");

    machine.run(&["systemctl", "reload", UNIT])?;
    assert_eq!(machine.property(UNIT, "MainPID")?, pid);
    let log = machine.run(&["journalctl", "--no-pager", "--unit", UNIT])?;
    assert!(log.contains("listening listener=\"smtp\" address=0.0.0.0:25"), "{log}");
    let is_trouble = |line: &&str| line.contains("WARN") || line.contains("ERROR");
    let trouble: Vec<&str> = log.lines().filter(is_trouble).collect();
    assert!(trouble.iter().all(|line| line.contains("admin setup-code")), "{trouble:?}");
    Ok(())
}

/// Goal: a gateway that lives is left alone, one that does nothing any more is started anew, one that is killed as well.
/// Method: a watchdog of two seconds; several of its periods pass; then the process is stopped (SIGSTOP) and later killed.
#[test]
fn a_gateway_that_does_nothing_any_more_is_started_anew() -> Result<()> {
    let Some((machine, _dir)) = installed("1")? else { return Ok(()) };
    let overrides = machine.path(&format!("/etc/systemd/system/{UNIT}.d"));
    std::fs::create_dir_all(&overrides)?;
    let quick = "[Service]\nWatchdogSec=5s\nTimeoutAbortSec=1s\nRestartSec=0\n";
    std::fs::write(overrides.join("quick.conf"), quick)?;
    machine.run(&["systemctl", "daemon-reload"])?;
    configure_and_start(&machine)?;

    let pid = |machine: &Machine| machine.property(UNIT, "MainPID");
    let told = |machine: &Machine| -> Result<u64> {
        Ok(machine.property(UNIT, "WatchdogTimestampMonotonic")?.parse::<u64>()? / 1_000_000)
    };
    let (first, since) = (pid(&machine)?, told(&machine)?);
    machine
        .eventually("it is told more than two periods later", |machine| Ok(told(machine)? > since + 10))?;
    assert_eq!((pid(&machine)?, machine.property(UNIT, "NRestarts")?), (first.clone(), "0".into()));
    assert_eq!(machine.property(UNIT, "StatusText")?, "serving");

    machine.run(&["systemctl", "kill", "--signal=STOP", UNIT])?;
    let is_back = |machine: &Machine, gone: &str| -> Result<bool> {
        // In this order: the state may still be that of who is gone.
        let now = pid(machine)?;
        Ok(now != gone && now != "0" && machine.property(UNIT, "ActiveState")? == "active")
    };
    machine.eventually("it is back after doing nothing", |machine| is_back(machine, &first))?;
    let log = machine.run(&["journalctl", "--no-pager", "--unit", UNIT])?;
    assert!(log.contains("Watchdog timeout"), "{log}");

    let second = pid(&machine)?;
    machine.run(&["systemctl", "kill", "--signal=KILL", UNIT])?;
    machine.eventually("it is back after being killed", |machine| is_back(machine, &second))?;
    assert_eq!(machine.run(&["postern-gateway", "health"])?, "ready");
    Ok(())
}
