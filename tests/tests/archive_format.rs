//! The archive's format, as a stranger reads it: a program in another language, written from docs/archive-format.md, and an archive that an
//! earlier version made.

#![expect(clippy::disallowed_methods, reason = "it stands outside the programs, as an operator does")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_archiver::archive::{
    AddressEvidence, Evidence, Instance, KeepKey, NewMessage, Opener, Outcome, Placement, Query, Source,
};
use postern_archiver::intake::index_fields;
use postern_shared::clock::{Clock, SystemClock, UnixMillis};
use postern_shared::crypto::digest::sha256;
use postern_shared::disk::{Disk, RealDisk};
use secrecy::ExposeSecret;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

fn disk() -> Arc<dyn Disk> {
    Arc::new(RealDisk)
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

fn extract(content: &[u8], report: Option<&[u8]>) -> postern_archiver::archive::IndexFields {
    index_fields(content, report)
}

fn open(dir: &Path) -> Result<Instance> {
    Ok(Instance::open(&disk(), &clock(), dir, "main", &Opener::KeyFile(None), extract)?)
}

/// What the independent reader says of an archive, by message.
fn read_by_stranger(instance: &Path, recovery: Option<&str>) -> Result<Option<BTreeMap<String, Value>>> {
    match recovery {
        Some(recovery) => read(instance, &["--recovery-key", recovery]),
        None => read(instance, &[]),
    }
}

fn read(instance: &Path, arguments: &[&str]) -> Result<Option<BTreeMap<String, Value>>> {
    let python = Command::new("/usr/bin/python3").args(["-c", "import cryptography, zstandard"]).output();
    if !python.is_ok_and(|python| python.status.success()) {
        eprintln!(
            "skipped: python3-cryptography and python3-zstandard are not installed (tests/scripts/install-tools)"
        );
        return Ok(None);
    }
    let mut command = Command::new("/usr/bin/python3");
    command.arg(root().join("readers/archive_reader.py")).arg(instance).args(arguments);
    let output = command.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout)?;
    let rows = lines.lines().map(|line| {
        let row: Value = serde_json::from_str(line)?;
        Ok((row["id"].as_str().context("id")?.to_owned(), row))
    });
    rows.collect::<Result<_>>().map(Some)
}

fn message(n: usize, attached: usize, to: &str) -> NewMessage {
    let attachment: Vec<u8> =
        (0..9000usize).map(|i| ((i * i * (attached + 3)) >> 5).to_le_bytes()[0]).collect();
    let encoded = lines(&attachment);
    let content = format!(
        "Received: from x by y; {n}\r\nFrom: Anna <anna@example.com>\r\nTo: {to}@example.com\r\nSubject: Gr\u{fc}\u{df}e {n}\r\nMessage-ID: <{n}@x>\r\n\
         Date: Mon, 05 Jan 2026 10:00:00 +0000\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n{}\r\n--b\r\n\
         Content-Type: application/pdf; name=a.pdf\r\nContent-Disposition: attachment; filename=a.pdf\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{encoded}\r\n--b--\r\n",
        format!("line {n}\r\n").repeat(if n.is_multiple_of(2) { 3 } else { 900 })
    );
    let content = content.into_bytes();
    NewMessage {
        index: index_fields(&content, None),
        content,
        fold_key: None,
        evidence: None,
        mail_from: Some("anna@example.com".into()),
        participants: vec![AddressEvidence {
            address: format!("{to}@example.com"),
            role: "to".into(),
            evidence: "header".into(),
            expanded_from: n.is_multiple_of(2).then(|| "all@example.com".into()),
        }],
        filed_in: vec![Placement { archive: to.into(), folder: "Journal/Incoming".into() }],
        internal_date: Some(UnixMillis(1_767_607_200_000)),
        flags: vec!["\\Seen".into(), "work".into()],
        quarantined: None,
        source: Source {
            profile: "journal".into(),
            uidl: n.to_string(),
            received: n.is_multiple_of(2).then_some(UnixMillis(1_767_607_200_000)),
            trace: n.is_multiple_of(3).then(|| "X-Postern-Id: \u{fc}\r\n".into()),
        },
        sha256: None,
        untrusted_fields: Vec::new(),
    }
}

fn lines(bytes: &[u8]) -> String {
    let encoded = STANDARD.encode(bytes);
    let lines: Vec<&str> =
        encoded.as_bytes().chunks(76).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    lines.join("\r\n")
}

/// A journal report of message `n`, as one of its copies travelled.
fn reported(n: usize, to: &str, travelled: &str) -> NewMessage {
    let plain = message(n, n, to);
    let content = [format!("Received: {travelled}\r\n").as_bytes(), &plain.content].concat();
    NewMessage {
        content,
        fold_key: Some(sha256(format!("fold {n}").as_bytes())),
        evidence: Some(Evidence::Report {
            prefix: format!("Sender: anna\r\nTo: {to}\r\n\r\n").into_bytes(),
            suffix: vec![b'='; if n.is_multiple_of(2) { 10 } else { 30_000 }],
        }),
        ..plain
    }
}

/// Each message's content, and the report it came in.
type Expected = BTreeMap<String, (Vec<u8>, Option<Vec<u8>>)>;

/// Everything that the format can hold: shared attachments, long and short bodies, reports around and whole, additions, two stores.
fn fill(instance: &Instance) -> Result<Expected> {
    let mut expected = BTreeMap::new();
    let mut commit = |batch: Vec<NewMessage>| -> Result<()> {
        let outcomes = instance.commit(batch.clone())?;
        for (outcome, message) in outcomes.into_iter().zip(batch) {
            if let Outcome::Archived(kept) = outcome {
                let report = message.evidence.as_ref().map(|evidence| evidence.report(&message.content));
                expected.insert(kept.id.to_string(), (message.content, report));
            }
        }
        Ok(())
    };
    let also = |to: &str, message: NewMessage| NewMessage {
        filed_in: vec![Placement { archive: to.into(), folder: "Journal/Incoming".into() }],
        ..message
    };
    commit(vec![message(1, 1, "anna"), message(2, 1, "bob"), message(3, 2, "anna")])?;
    commit(vec![reported(4, "anna", "by a"), reported(4, "bob", "by b"), reported(5, "bob", "by c")])?;
    commit(vec![also("bob", message(1, 1, "anna")), reported(5, "anna", "by d")])?;
    instance.create_store()?;
    commit(vec![
        message(6, 1, "anna"),
        NewMessage { content: vec![b'x'; 200_000], ..message(7, 1, "anna") },
    ])?;
    commit(vec![also("carol", message(2, 1, "bob"))])?;
    Ok(expected)
}

fn check(rows: &BTreeMap<String, Value>, expected: &Expected) -> Result<()> {
    ensure!(rows.keys().eq(expected.keys()), "{:?}", rows.keys());
    for (id, (content, report)) in expected {
        let row = &rows[id];
        ensure!(row["sha256"] == sha256(content).to_string(), "{row}");
        ensure!(row["leaf"] == true, "{row}");
        let report = report.as_ref().map(|report| sha256(report).to_string());
        ensure!(row["report_sha256"].as_str() == report.as_deref(), "{row}");
    }
    Ok(())
}

/// Goal: docs/archive-format.md is enough to write a reader.
#[test]
fn a_stranger_reads_an_archive_byte_for_byte() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("main");
    let (_, recovery) = Instance::create(&disk(), &clock(), &path, "main", &KeepKey::File(None))?;
    let instance = open(&path)?;
    let expected = fill(&instance)?;
    drop(instance);
    let Some(rows) = read_by_stranger(&path, None)? else { return Ok(()) };
    check(&rows, &expected)?;
    let additions: usize = rows.values().map(|row| row["additions"].as_array().map_or(0, Vec::len)).sum();
    ensure!(additions == 4, "{additions}");
    std::fs::remove_file(path.join("master.key"))?;
    let rows = read_by_stranger(&path, Some(recovery.expose_secret()))?.context("it ran before")?;
    check(&rows, &expected)
}

/// Goal: what an earlier version archived is read by this one, and goes on.
/// Method: the committed archive in its format; made by `POSTERN_MAKE_FIXTURE=1` with this test.
#[test]
fn an_archive_of_format_2_is_read() -> Result<()> {
    let fixture = root().join("fixtures/archive-2");
    if std::env::var_os("POSTERN_MAKE_FIXTURE").is_some() {
        return make_fixture(&fixture);
    }
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("main");
    copy(&fixture.join("main"), &path)?;
    let expected: BTreeMap<String, Value> =
        serde_json::from_slice(&std::fs::read(fixture.join("expected.json"))?)?;
    let instance = open(&path)?;
    for (id, row) in &expected {
        ensure!(row["sha256"] == sha256(&instance.message(id)?).to_string(), "{id}");
        let report = instance.report(id).ok().map(|report| sha256(&report).to_string());
        ensure!(row["report_sha256"].as_str() == report.as_deref(), "{id}");
    }
    let query = Query { text: "*".into(), archive: None, limit: 100, offset: 0, ..Query::default() };
    ensure!(instance.search(&query)?.len() == expected.len());
    let verified = instance.verify(None, true, &mut |_, _, _| false)?;
    ensure!(verified.findings.is_empty(), "{:?}", verified.findings);
    ensure!(matches!(instance.commit(vec![message(1, 1, "anna")])?[..], [Outcome::Duplicate(_)]));
    ensure!(matches!(instance.commit(vec![message(99, 1, "bob")])?[..], [Outcome::Archived(_)]));
    Ok(())
}

/// Goal: docs/archive-format.md says what to do about damage: what is whole is read, and nothing is read that is not.
#[test]
fn a_stranger_reads_past_damage() -> Result<()> {
    let fixture = root().join("fixtures/archive-2");
    let expected: BTreeMap<String, Value> =
        serde_json::from_slice(&std::fs::read(fixture.join("expected.json"))?)?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("main");
    copy(&fixture.join("main"), &path)?;
    let pack = path.join("stores/0001/packs/0000000000000001.pack");
    let whole = std::fs::read(&pack)?;
    let mut fewer = 0;
    for at in (40..whole.len()).step_by(whole.len() / 12) {
        let mut octets = whole.clone();
        octets[at] ^= 0x10;
        std::fs::write(&pack, octets)?;
        let Some(rows) = read(&path, &["--despite-damage"])? else { return Ok(()) };
        for (id, row) in &rows {
            ensure!(row["sha256"] == expected[id]["sha256"], "octet {at}: {row}");
        }
        ensure!(rows.len() >= 2, "octet {at}: {} messages", rows.len());
        fewer += usize::from(rows.len() < expected.len());
    }
    ensure!(fewer > 0, "no octet mattered");
    Ok(())
}

fn make_fixture(fixture: &Path) -> Result<()> {
    let path = fixture.join("main");
    Instance::create(&disk(), &clock(), &path, "main", &KeepKey::File(None))?;
    let instance = open(&path)?;
    let expected = fill(&instance)?;
    drop(instance);
    for store in ["0001", "0002"] {
        // Made again from packs and keys.
        std::fs::remove_file(path.join("stores").join(store).join("catalog.sqlite"))?;
    }
    std::fs::remove_file(path.join("lock"))?;
    let rows: BTreeMap<&String, Value> = expected
        .iter()
        .map(|(id, (content, report))| {
            let report = report.as_ref().map(|report| sha256(report).to_string());
            (id, serde_json::json!({ "sha256": sha256(content).to_string(), "report_sha256": report }))
        })
        .collect();
    std::fs::write(fixture.join("expected.json"), serde_json::to_vec_pretty(&rows)?)?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
