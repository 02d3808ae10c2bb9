//! The main job with real parts: real senders, the whole path, foreign POP3 clients.

#![expect(clippy::disallowed_methods, reason = "tests stand outside the programs")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use postern_tests::clients::{Account, After, Mail, Trust, getmail, mpop, poplib, swaks};
use postern_tests::foreign::{corpus, has};
use postern_tests::pop3::{Pop3Client, without_trace};
use postern_tests::program::{Kind, NewMailbox, Program};
use postern_tests::smtp::SmtpClient;
use postern_tests::upstream::Postfix;
use postern_tests::{Archive, Security, crlf, messages};

/// Goal: a real MTA that journals by always_bcc, over STARTTLS, to a sub-addressed mailbox, ends in the right archive.
#[test]
fn postfix_journals_by_always_bcc_into_the_recipients_archive() -> Result<()> {
    if !has("postconf") {
        return Ok(());
    }
    let gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let smtp = gateway.address("smtp")?;
    let journal = mailbox.address.replace('@', "+bob=example.com@");
    let postfix = Postfix::start(&format!(
        "always_bcc = {journal}\ndefault_transport = discard\nsmtp_tls_security_level = encrypt\n\
         transport_maps = inline:{{ gateway.example.com=smtp:[127.0.0.1]:{} }}",
        smtp.port()
    ))?;
    let message = messages::plain(1, "anna@example.com", "bob@example.com", "Lunch", "At noon?");
    let mut client = SmtpClient::connect(postfix.address, Security::Clear)?;
    ensure!(client.send("anna@example.com", &["bob@example.com"], &message)?.code == 250);
    postfix.wait_for_log("status=sent (250 2.0.0 Ok: on disk", 1)?;

    let archive = Archive::new(&gateway, &mailbox, &[("bob", "bob@example.com")])?;
    let ran = archive.run()?;
    assert_eq!((&ran["archived"], &ran["deleted_at_source"]), (&1.into(), &1.into()), "{ran}");
    let hits = archive.search(&["lunch", "--user", "bob"])?;
    assert_eq!(hits[0]["folder"], "bob/Journal/Incoming");
    let archived = archive.message(hits[0]["id"].as_str().context("no id")?)?;
    assert!(archived.ends_with(b"\r\n\r\nAt noon?\r\n"), "{}", String::from_utf8_lossy(&archived));
    let text = String::from_utf8(archived)?;
    assert!(
        text.starts_with("Received: from client.example.org"),
        "Postfix's own trace field comes first: {text}"
    );
    assert!(!text.contains("X-Postern"), "ours are taken off");
    Ok(())
}

/// Goal: swaks as sender over STARTTLS and implicit TLS; mpop, getmail6 and poplib as clients see the same octets.
#[test]
fn foreign_clients_pull_what_swaks_sent() -> Result<()> {
    if ![has("swaks"), has("mpop"), has("getmail"), has("python3")].iter().all(|there| *there) {
        return Ok(());
    }
    let gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    for (listener, security) in [("smtp", Security::StartTls), ("smtps", Security::Implicit)] {
        let account = Account::new(gateway.address(listener)?, security, "", "");
        let content = messages::plain(1, "a@example.com", "b@example.com", listener, "by swaks");
        let mail = Mail { from: "a@example.com", to: &[&mailbox.address], content: &content };
        swaks::send(&account, mail, &[])?;
    }
    let mut client =
        Pop3Client::login(gateway.address("pop3s")?, Security::Implicit, &mailbox.id, &mailbox.password)?;
    let ours: BTreeSet<Vec<u8>> = client.retrieve_all()?.into_iter().map(|message| crlf(&message)).collect();
    client.quit()?;
    assert_eq!(ours.len(), 2);

    let trust = Trust::Authority(gateway.data_dir().join("tls/self-signed.crt.pem"));
    let account = |listener, security| -> Result<Account> {
        let address = gateway.address(listener)?;
        Ok(Account::new(address, security, &mailbox.id, &mailbox.password).trusting(trust.clone()))
    };
    let set = |messages: Vec<Vec<u8>>| messages.into_iter().collect::<BTreeSet<_>>();
    let pop3s = account("pop3s", Security::Implicit)?;
    assert!(set(poplib::fetch(&pop3s, After::Keep)?) == ours, "poplib over pop3s");
    let stls = account("pop3", Security::StartTls)?;
    assert!(set(mpop::fetch(&stls, After::Keep)?) == ours, "mpop over STLS");
    assert!(set(getmail::fetch(&pop3s, After::Keep)?) == ours, "getmail6 over pop3s");
    Ok(())
}

/// Goal: every message of the corpus comes out of `message get` byte for byte as it went in, and the two real journal
/// reports come out as the original inside, filed by their envelope.
#[test]
fn the_corpus_goes_through_the_whole_path_unchanged() -> Result<()> {
    let Some(corpus) = corpus() else { return Ok(()) };
    let gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let mut sent = BTreeSet::new();
    let mut client = SmtpClient::connect(gateway.address("smtp")?, Security::StartTls)?;
    for path in mail_files(&corpus)? {
        let message = crlf(&std::fs::read(&path)?);
        let reply = client.send("sender@example.org", &[&mailbox.address], &message)?;
        ensure!(reply.code == 250, "{}: {reply:?}", path.display());
        sent.insert(message);
    }
    client.quit()?;
    assert!(sent.len() > 150, "only {} different messages", sent.len());

    let users = [("lulu", "lulu.zingzing@company.com"), ("jw", "jwdavison@company.com")];
    let archive = Archive::new(&gateway, &mailbox, &users)?;
    let ran = archive.run()?;
    assert_eq!(ran["failed"], 0, "{ran}");
    let (mut expected, reports) = split_reports(sent);
    assert_eq!(reports.len(), 2, "the corpus holds two real journal reports");
    expected.extend(reports.iter().map(|report| original_of(report)));

    let mut archived = BTreeSet::new();
    for hit in archive.search(&["*", "--limit", "10000"])? {
        archived.insert(archive.message(hit["id"].as_str().context("no id")?)?);
    }
    let missing = expected.difference(&archived).count();
    let invented = archived.difference(&expected).count();
    assert_eq!((missing, invented), (0, 0), "of {} messages", expected.len());

    for (user, subject) in [("lulu", "INVOICE PDL-06-38776"), ("jw", "canary #1")] {
        let hits = archive.search(&["*", "--user", user])?;
        assert_eq!((hits.len(), hits[0]["subject"].as_str()), (1, Some(subject)), "{user}");
    }
    Ok(())
}

fn mail_files(corpus: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut dirs = vec![corpus.join("mail-parser"), corpus.join("mime4j"), corpus.join("journal-ace")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            let mail =
                ["eml", "msg", "rfc822"].iter().any(|kind| path.extension().is_some_and(|ext| ext == *kind));
            if path.is_dir() {
                dirs.push(path);
            } else if mail {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn split_reports(messages: BTreeSet<Vec<u8>>) -> (BTreeSet<Vec<u8>>, BTreeSet<Vec<u8>>) {
    let marker = b"\r\nX-MS-Journal-Report:";
    messages.into_iter().partition(|message| !message.windows(marker.len()).any(|window| window == marker))
}

/// The octets behind the report's `message/rfc822` header, up to its last boundary: found by eye, not by our parser.
fn original_of(report: &[u8]) -> Vec<u8> {
    let text = report;
    let find = |what: &[u8], from: usize| {
        text[from..].windows(what.len()).position(|w| w == what).map(|at| from + at)
    };
    let start = find(b"Content-Type: message/rfc822\r\n\r\n", 0).unwrap_or(0) + 32;
    let boundary_at = find(b"\r\n--_", 0).unwrap_or(0);
    let boundary_end = find(b"\r\n", boundary_at + 2).unwrap_or(0);
    let boundary = &text[boundary_at..boundary_end];
    let end = find(boundary, start).unwrap_or(text.len());
    text[start..end].to_vec()
}

/// Goal: BDAT carries a message as well as DATA does, chunk borders anywhere.
#[test]
fn a_message_in_chunks_comes_out_the_same() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let message = messages::sized(7, 5000);
    let mut client = SmtpClient::connect(gateway.address("smtps")?, Security::Implicit)?;
    assert!(client.extensions.iter().any(|extension| extension == "CHUNKING"));
    client.wire.send(format!("MAIL FROM:<>\r\nRCPT TO:<{}>\r\n", mailbox.address).as_bytes())?;
    let (head, tail) = message.split_at(1234);
    client.wire.send(&[format!("BDAT {}\r\n", head.len()).as_bytes(), head].concat())?;
    client.wire.send(&[format!("BDAT {} LAST\r\n", tail.len()).as_bytes(), tail].concat())?;
    for _ in 0..4 {
        assert_eq!(client.reply()?.code, 250);
    }
    let mut pop3 =
        Pop3Client::login(gateway.address("pop3")?, Security::StartTls, &mailbox.address, &mailbox.password)?;
    assert_eq!(without_trace(&pop3.retrieve_all()?[0]), message);
    pop3.quit()
}

/// Goal: Ctrl-C ends a run cleanly: what was archived stays, the rest is pulled by the next run.
#[test]
fn an_interrupted_run_ends_cleanly_and_the_next_goes_on() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let mut client = SmtpClient::connect(gateway.address("smtp")?, Security::StartTls)?;
    for n in 0..600 {
        ensure!(client.send("a@example.com", &[&mailbox.address], &messages::sized(n, 3000))?.code == 250);
    }
    let archive = Archive::new(&gateway, &mailbox, &[])?;
    let mut command =
        archive.program.command(&["--json", "profile", "run", "journal", "--instance", "main"])?;
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // The first plain line of progress: the run is on its way.
    let mut stderr = std::io::BufReader::new(child.stderr.take().context("no stderr")?);
    let mut line = String::new();
    std::io::BufRead::read_line(&mut stderr, &mut line)?;
    assert!(line.contains("pulling journal"), "{line}");
    postern_tests::program::signal(&child, "INT")?;
    let output = child.wait_with_output()?;
    let first: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let second = archive.run()?;
    let count = |ran: &serde_json::Value, key: &str| ran[key].as_u64().unwrap_or(0);
    assert_eq!(count(&first, "archived") + count(&second, "archived"), 600, "{first} {second}");
    assert_eq!(
        count(&first, "deleted_at_source") + count(&second, "deleted_at_source"),
        600,
        "{first} {second}"
    );
    Ok(())
}
