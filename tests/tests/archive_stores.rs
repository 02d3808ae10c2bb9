//! Stores and their maintenance, by the command line: as an operator does it, with and without the daemon.

#![expect(clippy::disallowed_methods, reason = "it stands outside the programs, as an operator does")]

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use postern_tests::program::{Kind, NewMailbox, Program};
use postern_tests::smtp::SmtpClient;
use postern_tests::{Archive, Security, messages};

fn deliver(gateway: &Program, mailbox: &NewMailbox, range: std::ops::Range<usize>) -> Result<()> {
    let mut client = SmtpClient::connect(gateway.address("smtp")?, Security::Clear)?;
    for n in range {
        ensure!(client.send("a@example.com", &[&mailbox.address], &messages::sized(n, 3000))?.code == 250);
    }
    Ok(())
}

fn all(archive: &Archive, instance: &str) -> Result<BTreeMap<String, Vec<u8>>> {
    let hits = archive.program.json(&["search", "--instance", instance, "*", "--limit", "100"])?;
    let ids = hits.as_array().into_iter().flatten().filter_map(|hit| hit["id"].as_str());
    ids.map(|id| {
        let output = archive.program.run(&["message", "get", id, "--instance", instance])?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok((id.to_owned(), output.stdout))
    })
    .collect()
}

/// Goal: every command on stores does what it says, and nothing that was archived is lost by any of them.
#[test]
fn stores_are_looked_after_by_the_command_line() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let mut archive = Archive::new(&gateway, &mailbox, &[])?;
    deliver(&gateway, &mailbox, 0..4)?;
    archive.run()?;
    let main = ["--instance", "main"];
    let json = |archive: &Archive, arguments: &[&str]| archive.program.json(&[arguments, &main[..]].concat());
    ensure!(json(&archive, &["store", "create"])?["id"] == "0002");
    archive.program.start()?;
    deliver(&gateway, &mailbox, 4..6)?;
    archive.run()?;
    let whole = all(&archive, "main")?;
    ensure!(whole.len() == 6, "{}", whole.len());
    let stores = json(&archive, &["store", "list"])?;
    ensure!(stores["stores"][0]["messages"] == 4 && stores["stores"][1]["messages"] == 2, "{stores}");

    let verified = json(&archive, &["verify"])?;
    ensure!(verified["messages"] == 6 && verified["findings"] == serde_json::json!([]), "{verified}");
    ensure!(json(&archive, &["rebuild"])?["damage"] == serde_json::json!([]));
    ensure!(json(&archive, &["compact", "--unused", "0"])?["cancelled"] == false);
    ensure!(all(&archive, "main")? == whole);

    let dir = tempfile::tempdir()?;
    let backup = dir.path().join("backup");
    let to = backup.to_str().context("text")?;
    ensure!(json(&archive, &["backup", "--to", to])?["cancelled"] == false);
    let key = archive.program.data_dir().join("instances/main/master.key");
    let restored = archive.program.json(&[
        "restore",
        "copy",
        "--from",
        to,
        "--key-file",
        key.to_str().context("text")?,
    ])?;
    ensure!(restored["messages"] == 6, "{restored}");
    ensure!(all(&archive, "copy")? == whole);

    // A store moved to another place.
    let detached = json(&archive, &["store", "detach", "0001"])?;
    ensure!(all(&archive, "main")?.len() == 2);
    let moved = dir.path().join("moved");
    let from = detached["dir"].as_str().context("dir")?;
    ensure!(std::process::Command::new("mv").arg(from).arg(&moved).status()?.success());
    json(&archive, &["store", "attach", moved.to_str().context("text")?])?;
    ensure!(all(&archive, "main")? == whole);
    archive.program.stop()?;
    ensure!(all(&archive, "main")? == whole);
    Ok(())
}

/// Goal: verify fails, and names the message whose octets were altered.
#[test]
fn verify_names_a_damaged_message() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let archive = Archive::new(&gateway, &mailbox, &[])?;
    deliver(&gateway, &mailbox, 0..2)?;
    archive.run()?;
    let pack = archive.program.data_dir().join("instances/main/stores/0001/packs/0000000000000001.pack");
    let mut bytes = std::fs::read(&pack)?;
    bytes[32 + 48 + 20] ^= 1;
    std::fs::write(&pack, bytes)?;
    let output = archive.program.run(&["verify", "--instance", "main"])?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(!output.status.success() && said.contains("DAMAGED store 0001: message 0"), "{said}");
    ensure!(said.contains(pack.to_str().context("text")?) && said.contains("at byte 32"), "{said}");
    Ok(())
}

/// Goal: an instance with a passphrase is closed until it is unlocked, and the recovery key opens one whose key file is lost.
#[test]
fn keys_open_what_they_should() -> Result<()> {
    let mut program = Program::started(Kind::Archiver, "")?;
    let dir = tempfile::tempdir()?;
    let file = |name: &str, text: &str| -> Result<String> {
        let path = dir.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.to_str().context("text")?.to_owned())
    };
    let passphrase = file("passphrase", "correct horse battery\n")?;
    program.json(&["instance", "create", "shut", "--passphrase-file", &passphrase])?;
    program.json(&["instance", "show", "shut"])?;
    program.stop()?;
    program.start()?;
    let closed = program.run(&["instance", "show", "shut"])?;
    ensure!(!closed.status.success() && String::from_utf8_lossy(&closed.stderr).contains("instance unlock"));
    let wrong = file("wrong", "correct horse\n")?;
    ensure!(!program.run(&["instance", "unlock", "shut", "--passphrase-file", &wrong])?.status.success());
    program.json(&["instance", "unlock", "shut", "--passphrase-file", &passphrase])?;
    program.json(&["instance", "show", "shut"])?;

    let created = program.json(&["instance", "create", "main"])?;
    let recovery = file("recovery", created["recovery_key"].as_str().context("no recovery key")?)?;
    program.stop()?;
    std::fs::remove_file(program.data_dir().join("instances/main/master.key"))?;
    ensure!(!program.run(&["instance", "show", "main"])?.status.success());
    program.json(&["instance", "recover", "main", "--recovery-key-file", &recovery])?;
    program.json(&["instance", "show", "main"])?;
    Ok(())
}
