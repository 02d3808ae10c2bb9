//! The archiver's API from outside: curl over real TLS, the commands of docs/archiver-api.md as they stand, monitoring, and one
//! daemon a directory.

#![expect(clippy::disallowed_methods, reason = "tests stand outside the programs")]

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use postern_tests::foreign::has;
use postern_tests::program::{Kind, Program, binary};
use postern_tests::prometheus::{Scrape, get};
use serde_json::Value;

const MONITORED: &str = "[listen]\nmetrics = \"127.0.0.1:0\"\n";

/// The commands of a page, in order.
fn commands(page: &str) -> Result<String> {
    let path = format!("{}/../docs/{page}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path)?;
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    Ok(blocks.collect::<Vec<_>>().join("\n"))
}

/// Goal: what the page tells an administrator to do works, word by word.
#[test]
fn the_commands_of_the_page_work() -> Result<()> {
    if !has("curl") {
        return Ok(());
    }
    let archiver = Program::started(Kind::Archiver, "")?;
    let place = tempfile::tempdir()?;
    let wrapper = place.path().join("postern-archiver");
    let (program, config) = (binary("postern-archiver")?, archiver.config_file());
    std::fs::write(&wrapper, format!("#!/bin/sh\nexec {program:?} --config {config:?} \"$@\"\n"))?;
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755))?;
    let ran = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &commands("archiver-api.md")?])
        .env("PATH", format!("{}:{}", place.path().display(), std::env::var("PATH")?))
        .env("API", format!("https://localhost:{}", archiver.address("api")?.port()))
        .env("CA", archiver.data_dir().join("tls/self-signed.crt.pem"))
        .current_dir(place.path())
        .output()?;
    let said = String::from_utf8_lossy(&ran.stdout);
    ensure!(ran.status.success(), "{said}\n{}", String::from_utf8_lossy(&ran.stderr));
    for expected in [
        "\"recovery_key\"",
        "\"a@example.com\"",
        "\"statusCode\":\"succeeded\"",
        "\"broken\":null",
        "/deleted/demo-",
    ] {
        assert!(said.contains(expected), "{expected} is missing:\n{said}");
    }
    let log = archiver.log();
    let token = std::fs::read_to_string(place.path().join("token"))?;
    assert!(!log.contains(token.trim()) && !log.contains("from the gateway"), "secrets in the log");
    Ok(())
}

fn curl(archiver: &Program, token: &str, arguments: &[&str], path: &str) -> Result<Output> {
    let ca = archiver.data_dir().join("tls/self-signed.crt.pem");
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--output", "-", "--write-out", "\n%{http_code}", "--cacert"]);
    command.arg(ca).args(["-H", &format!("Authorization: Bearer {token}")]).args(arguments);
    Ok(command.arg(format!("https://localhost:{}{path}", archiver.address("api")?.port())).output()?)
}

/// Status and body.
fn asked(archiver: &Program, token: &str, arguments: &[&str], path: &str) -> Result<(String, Value)> {
    let output = curl(archiver, token, arguments, path)?;
    let text = String::from_utf8(output.stdout)?;
    let (body, status) =
        text.rsplit_once('\n').with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    Ok((status.to_owned(), serde_json::from_str(body).unwrap_or(Value::String(body.into()))))
}

/// Goal: over the wire as well: no token, no answer; another tenant's token, nothing of this one; clear text, nothing at all.
#[test]
fn tenants_are_closed_against_each_other_over_the_wire() -> Result<()> {
    if !has("curl") {
        return Ok(());
    }
    let archiver = Program::started(Kind::Archiver, "")?;
    let mut tokens = Vec::new();
    for id in ["one", "two"] {
        archiver.json(&["instance", "create", id])?;
        archiver.json(&[
            "user",
            "add",
            "anna",
            "--email",
            &format!("anna@{id}.example"),
            "--instance",
            id,
        ])?;
        let scopes = ["--scope", "read,mail,manage,audit"];
        let made =
            archiver.json(&[&["token", "create", "--name", id, "--instance", id], &scopes[..]].concat())?;
        tokens.push(made["token"].as_str().context("no token")?.to_owned());
    }
    let (status, own) = asked(&archiver, &tokens[0], &[], "/api/v1/instances/one/users")?;
    assert_eq!(
        (status.as_str(), &own["items"][0]["emails"][0]),
        ("200", &"anna@one.example".into()),
        "{own}"
    );
    for path in ["/users", "/users/anna", "/search?query=x", "/folders", "/stores", "/audit", "/messages/x"] {
        let (status, body) = asked(&archiver, &tokens[0], &[], &format!("/api/v1/instances/two{path}"))?;
        assert_eq!(status, "404", "{path}: {body}");
    }
    // As it stands, not as curl would tidy it.
    let dots = ["--path-as-is"];
    for path in ["/api/v1/instances/one/../two/users", "/api/v1/instances/one%2f..%2ftwo/users"] {
        assert_eq!(asked(&archiver, &tokens[0], &dots, path)?.0, "404", "{path}");
    }
    assert_eq!(asked(&archiver, "postern_nonsense", &[], "/api/v1/status")?.0, "401");
    let list = asked(&archiver, &tokens[1], &[], "/api/v1/instances")?.1;
    assert_eq!((&list["total"], &list["items"][0]["id"]), (&1.into(), &"two".into()), "{list}");
    let clear = Command::new("curl")
        .args(["--silent", "--max-time", "30"])
        .arg(format!("http://localhost:{}/api/openapi.json", archiver.address("api")?.port()))
        .output()?;
    assert!(!clear.status.success() && clear.stdout.is_empty(), "{clear:?}");
    archiver.json(&["audit", "verify", "--instance", "two"])?;
    let refused = archiver.json(&["audit", "list", "--limit", "20"])?;
    assert!(refused.to_string().contains("the token is for another instance"), "{refused}");
    Ok(())
}

/// Goal: monitoring tells how it stands, and that one instance fails while the others are served.
#[test]
fn monitoring_tells_of_an_instance_that_fails() -> Result<()> {
    let mut archiver = Program::new(Kind::Archiver, MONITORED)?;
    for id in ["good", "bad", "ended"] {
        archiver.json(&["instance", "create", id])?;
    }
    archiver.json(&["instance", "stop", "ended"])?;
    std::fs::write(archiver.data_dir().join("instances/bad/stores.json"), "nonsense")?;
    archiver.start()?;
    let metrics = archiver.address("metrics")?;
    let start = Instant::now();
    // It opens instances behind its readiness for commands.
    while !get(metrics, "/metrics")?.1.contains("postern_archiver_instance_open{instance=\"good\"} 1") {
        ensure!(start.elapsed() < Duration::from_secs(60), "the good one does not open:\n{}", archiver.log());
        std::thread::yield_now();
    }
    assert_eq!(get(metrics, "/healthz")?.0, 200);
    let (status, reasons) = get(metrics, "/readyz")?;
    assert!(status == 503 && reasons.contains("instance bad is not open"), "{reasons}");
    assert!(!reasons.contains("ended"), "{reasons}");
    let scrape = Scrape::parse(&get(metrics, "/metrics")?.1)?;
    assert_eq!(scrape.value("postern_archiver_ready")?, 0.0);
    assert_eq!(scrape.value("postern_archiver_instance_open{instance=\"bad\"}")?, 0.0);
    archiver.json(&["user", "add", "anna", "anna@example.com", "--instance", "good"])?;
    let doctor = archiver.run(&["doctor"])?;
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(!doctor.status.success() && said.contains("instance bad") && !said.contains("ended"), "{said}");
    archiver.json(&["instance", "delete", "bad"])?;
    assert_eq!(get(metrics, "/readyz")?.0, 200);
    assert!(archiver.stop()?.success());
    Ok(())
}

/// Goal: a second daemon on one data directory, and a taken port, are refused in words that tell what to do.
#[test]
fn what_is_taken_is_refused_in_words() -> Result<()> {
    let first = Program::started(Kind::Archiver, "")?;
    let second = first.run(&["serve"])?;
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(
        !second.status.success() && said.contains("stop it first, or give this one its own data_dir"),
        "{said}"
    );
    let other = Program::new(Kind::Archiver, "")?;
    let taken = first.address("api")?.to_string();
    let refused = other.command(&["serve"])?.env("POSTERN_ARCHIVER__LISTEN__API", &taken).output()?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains(&taken) && said.contains("listen.api"), "{said}");
    Ok(())
}

/// Goal: a service manager hears that it is ready, and that it lives.
#[test]
fn the_service_manager_is_told() -> Result<()> {
    let place = tempfile::tempdir()?;
    let socket = place.path().join("notify");
    let manager = UnixDatagram::bind(&socket)?;
    manager.set_read_timeout(Some(Duration::from_secs(60)))?;
    let archiver = Program::new(Kind::Archiver, "")?;
    let mut command = archiver.command(&["serve"])?;
    command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "300000").stderr(std::process::Stdio::null());
    let mut daemon = command.spawn()?;
    let heard = || -> Result<String> {
        let mut buffer = [0; 500];
        let octets = manager.recv(&mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..octets]).into_owned())
    };
    let mut all = Vec::new();
    let told = (0..10).try_for_each(|_| heard().map(|line| all.push(line)));
    daemon.kill()?;
    daemon.wait()?;
    told?;
    assert!(all.iter().any(|line| line.starts_with("READY=1")), "{all:?}");
    assert!(all.iter().filter(|line| *line == "WATCHDOG=1").count() > 5, "{all:?}");
    Ok(())
}
