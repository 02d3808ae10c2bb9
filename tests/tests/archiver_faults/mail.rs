//! Failures and recoveries told through a Postfix that wants TLS and a login.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use postern_tests::foreign::has;
use postern_tests::program::{Kind, Program};
use postern_tests::upstream::{Authority, Dovecot, Submission};

use crate::stage::{Stage, wait_until};

const PASSWORD: &str = "geheim-und-lang";

fn settings(address: SocketAddr, more: &str) -> String {
    format!(
        "[notifications]\nhost = '{}'\nport = {}\nfrom = 'archiver@example.com'\n\
         to = ['admin@example.com', 'second@example.com']\nusername = 'anna'\ngather = '100 ms'\n{more}\n",
        address.ip(),
        address.port()
    )
}

#[test]
fn failures_and_recoveries_are_told_by_mail() -> Result<()> {
    if !["postfix", "dovecot", "openssl"].iter().all(|program| has(program)) {
        eprintln!("SKIPPED: postfix, dovecot and openssl are wanted");
        return Ok(());
    }
    let authority = Authority::new()?;
    let identity = authority.identity()?;
    let users = Dovecot::with(&identity).user("anna", PASSWORD).start()?;
    let server = Submission::start(&identity, &users, "")?;
    let pinned = format!("trust = 'sha256:{}'", identity.fingerprint()?);
    let authorities = format!("trust = 'file:{}'", authority.certificate().display());

    // What is wrong is told in words, and never with the password.
    let test = |settings: &str| -> Result<(bool, String)> {
        let program = Program::new(Kind::Archiver, settings)?;
        let output = program.run(&["notifications", "test"])?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        ensure!(!said.contains(PASSWORD), "{said}");
        Ok((output.status.success(), said))
    };
    let password = format!("password = '{PASSWORD}'");
    for (settings, says) in [
        (
            settings(server.submission, &format!("{password}\ntrust = 'sha256:{}'", "00".repeat(32))),
            "put trust = ",
        ),
        (settings(server.submission, &password), "is not trusted"),
        (settings(server.submission, &format!("password = 'wrong'\n{pinned}")), "refuses the login"),
        (settings(server.smtps, &format!("{password}\n{pinned}\ntls = 'none'")), "over TLS only"),
        (String::new(), "names no mail server"),
    ] {
        let (succeeded, said) = test(&settings)?;
        ensure!(!succeeded && said.contains(says), "{says}: {said}");
    }
    for settings in [
        settings(server.submission, &format!("{password}\n{pinned}")),
        settings(server.smtps, &format!("{password}\n{authorities}\ntls = 'implicit'")),
    ] {
        let (succeeded, said) = test(&settings)?;
        ensure!(succeeded && said.contains("250"), "{said}");
    }
    let received = server.received(2)?;
    ensure!(received[0].from == "archiver@example.com", "{received:?}");
    ensure!(received[0].to == ["admin@example.com", "second@example.com"], "{received:?}");

    // A job that fails, fails, and succeeds.
    let settings = settings(server.submission, &format!("{password}\n{pinned}"));
    let mut stage = Stage::with(Program::new(Kind::Archiver, &settings)?)?;
    let blocked = stage.archive.program.config_file().with_file_name("blocked");
    std::fs::write(&blocked, b"a file where a directory should be")?;
    let job = format!("name = 'backup'\n[template]\ntype = 'backup'\nto = '{}'", blocked.display());
    stage.put_job(&job)?;
    stage.archive.program.start()?;
    for _ in 0..3 {
        stage.fails(&["job", "run", "backup"])?;
    }
    let subject = |number: usize| -> Result<String> {
        let received = server.received(number)?;
        let text = String::from_utf8(received[number - 1].content.clone())?;
        let line = text.lines().find_map(|line| line.strip_prefix("Subject: [postern] "));
        Ok(line.context("no subject")?.to_owned())
    };
    ensure!(subject(3)? == "job main/backup fails", "{}", subject(3)?);
    std::fs::remove_file(&blocked)?;
    ensure!(stage.ask(&["job", "run", "backup"])?["outcome"] == "succeeded");
    ensure!(subject(4)? == "job main/backup succeeds again", "{}", subject(4)?);
    let told = stage.archive.program.data_dir().join("notifications.json");
    wait_until("what was told is on disk", || {
        Ok(std::fs::read(&told).is_ok_and(|text| text.starts_with(b"{}")))
    })?;
    ensure!(!stage.archive.program.log().contains(PASSWORD));
    Ok(())
}
