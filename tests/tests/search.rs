//! Finding messages by the command line, as users and administrators do: with the daemon and without, documents of foreign
//! programs attached, and documents that mean harm.

#![expect(clippy::disallowed_methods, reason = "it stands outside the programs, as an operator does")]

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_tests::program::{Kind, NewMailbox, Program, binary};
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
        ensure!(stage.subjects(&["subject:(lunch OR grosse) -stück"])? == ["lunch"]);
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
        ("testAnnotations.pdf", "\"some text\""),
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

/// A zlib stream that becomes `bytes` zeros: one literal, then copies of 258 octets, in fixed codes (RFC 1951 §3.2.6).
fn zeros(bytes: usize) -> Vec<u8> {
    let (mut out, mut octet, mut bits) = (vec![0x78, 0x01], 0_u8, 0);
    let mut bit = |set: bool| {
        octet |= u8::from(set) << bits;
        bits += 1;
        if bits == 8 {
            out.push(octet);
            (octet, bits) = (0, 0);
        }
    };
    let mut code = |code: u16, length: u16| (0..length).rev().for_each(|at| bit(code >> at & 1 == 1));
    // The last block, of fixed codes; the literal 0.
    code(0b110, 3);
    code(0b0011_0000, 8);
    for _ in 0..bytes / 258 {
        code(0b1100_0101, 8);
        code(0, 5);
    }
    // The end, and what fills the last octet.
    code(0, 7);
    code(0, 8);
    out
}

/// A PDF whose only page takes `bytes` octets of memory.
fn swelling_pdf(bytes: usize) -> Vec<u8> {
    let stream = zeros(bytes);
    let objects = [
        b"<</Type/Catalog/Pages 2 0 R>>".to_vec(),
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>".to_vec(),
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Contents 4 0 R>>".to_vec(),
        [
            format!("<</Length {}/Filter/FlateDecode>>stream\n", stream.len()).as_bytes(),
            &stream,
            b"\nendstream",
        ]
        .concat(),
    ];
    let (mut pdf, mut table) = (b"%PDF-1.4\n".to_vec(), "0000000000 65535 f \n".to_owned());
    for (number, object) in objects.iter().enumerate() {
        table.push_str(&format!("{:010} 00000 n \n", pdf.len()));
        pdf.extend(format!("{} 0 obj\n", number + 1).as_bytes());
        pdf.extend(object);
        pdf.extend(b"\nendobj\n");
    }
    let start = pdf.len();
    pdf.extend(
        format!("xref\n0 5\n{table}trailer<</Size 5/Root 1 0 R>>\nstartxref\n{start}\n%%EOF\n").as_bytes(),
    );
    pdf
}

/// Goal: our own worker has no more than it is meant to have, as the system tells, and goes on after what it cannot read.
#[test]
fn our_own_worker_is_bounded() -> Result<()> {
    let (mut ours, theirs) = UnixStream::pair()?;
    let mut worker = Command::new(binary("postern-archiver")?)
        .arg("extract-worker")
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    for (name, octets, text) in [("a.pdf", &b"no PDF"[..], ""), ("a.txt", b"some text", "some text")] {
        for piece in [name.as_bytes(), octets] {
            ours.write_all(&u32::try_from(piece.len())?.to_be_bytes())?;
            ours.write_all(piece)?;
        }
        let mut piece = || -> Result<String> {
            let mut length = [0; 4];
            ours.read_exact(&mut length)?;
            let mut octets = vec![0; usize::try_from(u32::from_be_bytes(length))?];
            ours.read_exact(&mut octets)?;
            Ok(String::from_utf8(octets)?)
        };
        let (found, why) = (piece()?, piece()?);
        ensure!(found == text && why.is_empty() != text.is_empty(), "{name}: {found} {why}");
    }
    let of = |what: &str| std::fs::read_to_string(format!("/proc/{}/{what}", worker.id()));
    let limits = of("limits")?;
    for (limit, hard) in [
        ("Max address space", "805306368"),
        ("Max cpu time", "120"),
        ("Max open files", "0"),
        ("Max processes", "0"),
        ("Max file size", "0"),
        ("Max core file size", "0"),
    ] {
        let line = limits.lines().find(|line| line.starts_with(limit)).context("a limit")?;
        let mut values = line[limit.len()..].split_whitespace();
        ensure!(values.next() == Some(hard) && values.next() == Some(hard), "{line}");
    }
    ensure!(of("status")?.lines().any(|line| line.split_whitespace().eq(["NoNewPrivs:", "1"])));
    drop(ours);
    ensure!(worker.wait()?.success(), "it ends with whoever asks");
    Ok(())
}

/// Goal: a million messages within one another, and 30 MB of empty parts, cost the daemon neither its life nor its memory.
#[test]
fn messages_made_to_break_their_reader_are_archived_and_found() -> Result<()> {
    let mut stage = Stage::new()?;
    stage.archive.program.start()?;
    let nested = format!(
        "From: anna@example.com\r\nTo: bob@example.com\r\nSubject: nested\r\n{}text\r\n",
        "Content-Type:message/rfc822\r\n\r\n".repeat(1_000_000)
    );
    let parts = format!(
        "From: anna@example.com\r\nTo: bob@example.com\r\nSubject: parts\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n{}",
        "--b\r\n\r\n".repeat(4_300_000)
    );
    stage.deliver(&[nested.into_bytes(), parts.into_bytes(), with_files(3, "fine", &[])])?;
    let mut found = stage.subjects(&["subject:nested OR subject:parts OR subject:fine"])?;
    found.sort();
    ensure!(found == ["fine", "nested", "parts"], "{found:?}");
    ensure!(stage.subjects(&["has:missing-text"])?.len() == 2);
    let peak = stage.archive.program.peak_bytes()?;
    ensure!(peak < 300 * 1024 * 1024, "{peak}");
    Ok(())
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
        with_files(4, "swelling", &[("swelling.pdf", &swelling_pdf(1 << 30))]),
    ])?;
    ensure!(stage.subjects(&["harmless"])? == ["fine"]);
    ensure!(stage.subjects(&["\"still readable\""])? == ["deep"]);
    let mut missing = stage.subjects(&["has:missing-text"])?;
    missing.sort();
    ensure!(missing == ["deep", "lies", "swelling"], "{missing:?}");
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
