//! Finding messages by the command line, as users and administrators do: with the daemon and without, documents of foreign
//! programs attached, and documents that mean harm.

#![expect(clippy::disallowed_methods, reason = "it stands outside the programs, as an operator does")]

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_tests::program::{Kind, NewMailbox, Program};
use postern_tests::smtp::SmtpClient;
use postern_tests::{Archive, Security, foreign, messages};
use serde_json::{Value, json};

/// A gateway, its archive, and how mail comes into it.
struct Stage {
    gateway: Program,
    mailbox: NewMailbox,
    archive: Archive,
}

impl Stage {
    fn new() -> Result<Self> {
        let gateway = Program::started(Kind::Gateway, "")?;
        let mailbox = NewMailbox::create(&gateway, "journal")?;
        let archive =
            Archive::new(&gateway, &mailbox, &[("anna", "anna@example.com"), ("bob", "bob@example.com")])?;
        Ok(Self { gateway, mailbox, archive })
    }

    fn deliver(&self, mail: &[Vec<u8>]) -> Result<()> {
        let mut client = SmtpClient::connect(self.gateway.address("smtp")?, Security::Clear)?;
        for message in mail {
            ensure!(client.send("a@example.com", &[&self.mailbox.address], message)?.code == 250);
        }
        let run = self.archive.run()?;
        ensure!(run["archived"] == mail.len() && run["failed"] == 0, "{run}");
        Ok(())
    }

    /// The page that is asked for.
    fn page(&self, arguments: &[&str]) -> Result<Value> {
        self.archive.program.json(&[&["search", "--instance", "main", "--page-info"], arguments].concat())
    }

    fn subjects(&self, arguments: &[&str]) -> Result<Vec<String>> {
        let hits = self.archive.search(arguments)?;
        Ok(hits.iter().filter_map(|hit| hit["subject"].as_str().map(str::to_owned)).collect())
    }
}

/// A message from Anna to Bob with files attached.
fn with_files(number: usize, subject: &str, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut message = format!(
        "From: Anna <anna@example.com>\r\nTo: bob@example.com\r\nSubject: {subject}\r\nMessage-ID: <f{number}@example.com>\r\n\
         Date: Tue, 06 Jan 2026 10:00:{:02} +0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=xyz\r\n\r\n\
         --xyz\r\nContent-Type: text/plain\r\n\r\nplease find attached\r\n",
        number % 60
    );
    for (name, octets) in files {
        message.push_str(&format!(
            "--xyz\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=\"{name}\"\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n"
        ));
        for line in STANDARD.encode(octets).as_bytes().chunks(76) {
            message.push_str(&String::from_utf8_lossy(line));
            message.push_str("\r\n");
        }
    }
    message.push_str("--xyz--\r\n");
    message.into_bytes()
}

/// Goal: users of several languages find their mail, and what they do wrong is explained.
#[test]
fn the_query_language_works_on_the_command_line() -> Result<()> {
    let mut stage = Stage::new()?;
    let mail = |n, subject: &str, body: &str| {
        messages::plain(n, "anna@example.com", "bob@example.com", subject, body)
    };
    stage.deliver(&[
        mail(1, "=?utf-8?q?Gr=C3=B6=C3=9Fe?=", "Angebot über 300 Stück"),
        mail(2, "annual report", "添付の年次報告書をご確認ください"),
        mail(3, "lunch", "the annual one, then the report"),
    ])?;
    for daemon in [false, true] {
        if daemon {
            stage.archive.program.start()?;
        }
        ensure!(stage.subjects(&["grosse"])? == ["Größe"]);
        ensure!(stage.subjects(&["年次報告"])? == ["annual report"]);
        ensure!(stage.subjects(&["\"annual report\""])? == ["annual report"]);
        ensure!(stage.subjects(&["subject:(lunch OR grosse)", "-stück"])? == ["lunch"]);
        ensure!(stage.subjects(&["--user", "bob", "to:bob@example.com", "ann*", "on:2026-01"])?.len() == 3);
        let hit = stage.archive.search(&["stuck"])?.remove(0);
        ensure!(hit["snippets"][0]["field"] == "body", "{hit}");
        ensure!(hit["snippets"][0]["text"] == "Angebot über 300 Stück", "{hit}");
        ensure!(hit["snippets"][0]["marks"] == json!([[17, 22]]), "{hit}");
        for (query, advice) in
            [("form:anna", "did you mean from:?"), ("\"open", "not closed"), ("size:5", "size:>5mb")]
        {
            let output = stage.archive.program.run(&["search", "--instance", "main", query])?;
            let told = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.code() == Some(1) && told.contains(advice), "{told}");
        }
        let output = stage.archive.program.run(&["search", "--instance", "main", "angebot"])?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(text.contains("body: [Angebot] über 300 Stück"), "{text}");
    }
    let help = stage.archive.program.run(&["search", "--help"])?;
    ensure!(String::from_utf8_lossy(&help.stdout).contains("annual report"));
    Ok(())
}

/// Goal: pages go on where they were while the daemon archives more.
#[test]
fn pages_follow_one_another_while_mail_arrives() -> Result<()> {
    let mut stage = Stage::new()?;
    let mail = |n: usize, subject: &str| {
        messages::plain(n, "anna@example.com", "bob@example.com", &format!("{subject} {n}"), "budget")
    };
    stage.deliver(&(0..10).map(|n| mail(n, "old")).collect::<Vec<_>>())?;
    stage.archive.program.start()?;
    for order in ["newest", "relevance"] {
        let (mut seen, mut cursor, mut number) = (Vec::new(), None::<String>, 100 + seen_offset(order));
        loop {
            let mut arguments = vec!["--order", order, "--limit", "4", "subject:old budget"];
            if let Some(cursor) = &cursor {
                arguments.extend(["--cursor", cursor.as_str()]);
            }
            let page = stage.page(&arguments)?;
            ensure!(page["behind"] == 0, "{page}");
            let hits = page["hits"].as_array().context("hits")?;
            seen.extend(hits.iter().filter_map(|hit| hit["subject"].as_str().map(str::to_owned)));
            stage.deliver(&[mail(number, "new old"), mail(number + 1, "else")])?;
            number += 2;
            match page["next"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => break,
            }
        }
        let old: Vec<&String> = seen.iter().filter(|subject| subject.starts_with("old")).collect();
        ensure!(old.len() == 10, "{order}: {seen:?}");
        let unique: std::collections::BTreeSet<_> = seen.iter().collect();
        ensure!(unique.len() == seen.len(), "{order}: {seen:?}");
    }
    Ok(())
}

fn seen_offset(order: &str) -> usize {
    if order == "newest" { 0 } else { 200 }
}

/// Goal: text in documents of real programs is found, and told to be in the attachment.
#[test]
fn documents_of_foreign_programs_are_found_by_their_text() -> Result<()> {
    let Some(corpus) = foreign::corpus() else { return Ok(()) };
    let known = [
        ("footnotes.docx", "snoskoy"),
        ("test-columnar.xlsx", "\"Square of the Record Number\""),
        ("test-columnar.ods", "\"Square of the Record Number\""),
        ("test-columnar.csv", "\"Square of the Record Number\""),
        ("testPPT.pptx", "\"attachment test\""),
        ("testODFwithOOo3.odt", "tika"),
        ("testRTF.rtf", "\"indexation word\""),
        ("testAnnotations.pdf", "annotation*"),
        ("testHTML.html", "indexation"),
        ("test-documents.zip", "filename:zip"),
    ];
    let stage = Stage::new()?;
    let mut mail = Vec::new();
    for (number, (name, _)) in known.iter().enumerate() {
        let octets = std::fs::read(corpus.join("office-docs").join(name))?;
        mail.push(with_files(number, name, &[(name, &octets)]));
    }
    stage.deliver(&mail)?;
    for (name, query) in known {
        let hits = stage.archive.search(&[query])?;
        let hit = hits.iter().find(|hit| hit["subject"] == name);
        let hit = hit.with_context(|| format!("{name} is not found by {query}"))?;
        let place = &hit["snippets"][0];
        ensure!(place["attachment"] == name || place["field"] == "filename", "{name}: {place}");
    }
    Ok(())
}

/// Goal: every file of a corpus made to break readers is archived, indexed, and found by its name; none harms the daemon.
#[test]
fn a_corpus_of_awkward_documents_harms_nobody() -> Result<()> {
    let Some(corpus) = foreign::corpus() else { return Ok(()) };
    let mut stage = Stage::new()?;
    let mut mail = Vec::new();
    for entry in std::fs::read_dir(corpus.join("office-docs"))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).context("a name")?.to_owned();
        mail.push(with_files(mail.len(), &name, &[(&name, &std::fs::read(&path)?)]));
    }
    stage.archive.program.start()?;
    stage.deliver(&mail)?;
    let page = stage.page(&["has:attachment", "--limit", "1000"])?;
    ensure!(page["total"] == mail.len() && page["behind"] == 0, "{} of {}", page["total"], mail.len());
    let missing = stage.page(&["has:missing-text", "--limit", "1000"])?;
    for hit in missing["hits"].as_array().context("hits")? {
        ensure!(hit["text_missing"][0]["why"].as_str().is_some_and(|why| !why.is_empty()), "{hit}");
        eprintln!("{}: {}", hit["subject"], hit["text_missing"]);
    }
    ensure!(
        stage.archive.program.peak_bytes()? < 300 * 1024 * 1024,
        "{}",
        stage.archive.program.peak_bytes()?
    );
    Ok(())
}

/// A zip file with one stored file that claims to have more octets than there are.
fn lying_zip() -> Vec<u8> {
    let mut zip = b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x40\0\0\0\x40\x05\0\0\0a.txtabc".to_vec();
    let start = u32::try_from(zip.len()).unwrap_or(0);
    zip.extend(b"PK\x01\x02\x14\0\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x40\0\0\0\x40\x05\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0a.txt");
    let length = u32::try_from(zip.len()).unwrap_or(0) - start;
    zip.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    zip.extend(length.to_le_bytes());
    zip.extend(start.to_le_bytes());
    zip.extend(b"\0\0");
    zip
}

/// Goal: attachments that mean harm cost a mark on their message; the daemon goes on, and others are found.
#[test]
fn harmful_attachments_cost_a_mark() -> Result<()> {
    let mut stage = Stage::new()?;
    let pdf = format!("%PDF-1.7\n1 0 obj\n{}\nendobj\n", "<<".repeat(200_000));
    stage.archive.program.start()?;
    stage.deliver(&[
        with_files(1, "lies", &[("lies.zip", &lying_zip())]),
        with_files(2, "deep", &[("deep.pdf", pdf.as_bytes()), ("good.rtf", b"{\\rtf1 still readable}")]),
        with_files(3, "fine", &[("fine.txt", b"harmless words")]),
    ])?;
    ensure!(stage.subjects(&["harmless"])? == ["fine"]);
    ensure!(stage.subjects(&["\"still readable\""])? == ["deep"]);
    let mut missing = stage.subjects(&["has:missing-text"])?;
    missing.sort();
    ensure!(missing == ["deep", "lies"], "{missing:?}");
    ensure!(stage.archive.program.resident_bytes()? < 300 * 1024 * 1024);
    Ok(())
}

/// Goal: damage is told by verify, and mended by the operator's command as well as by the daemon.
#[test]
fn a_damaged_index_is_told_and_mended() -> Result<()> {
    let mut stage = Stage::new()?;
    let mail: Vec<_> = (0..20).map(|n| messages::sized(n, 3000)).collect();
    stage.deliver(&mail)?;
    ensure!(stage.page(&["load"])?["total"] == 20);
    let damage = |stage: &Stage| -> Result<()> {
        let index = stage.archive.program.data_dir().join("instances/main/stores/0001/index");
        let current = std::fs::read_to_string(index.join("current"))?;
        for entry in std::fs::read_dir(index.join(current.trim()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == "store" || ending == "pos") {
                let mut octets = std::fs::read(&path)?;
                let middle = octets.len() / 3;
                octets[middle] ^= 1;
                std::fs::write(&path, octets)?;
            }
        }
        Ok(())
    };
    // Without a daemon it is found when it is opened, and begun anew.
    damage(&stage)?;
    ensure!(stage.page(&["load"])?["total"] == 20);
    // Under a daemon that has it open.
    stage.archive.program.start()?;
    ensure!(stage.page(&["load"])?["total"] == 20);
    damage(&stage)?;
    let rebuilt =
        stage.archive.program.json(&["rebuild", "--instance", "main", "--index-only", "--damaged"])?;
    ensure!(rebuilt["cancelled"] == false, "{rebuilt}");
    let page = stage.page(&["load"])?;
    ensure!(page["total"] == 20 && page["damaged"].is_null(), "{page}");
    let verified = stage.archive.program.json(&["verify", "--instance", "main"])?;
    ensure!(verified["findings"] == json!([]), "{verified}");
    Ok(())
}
