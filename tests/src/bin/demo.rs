//! `make demo`: the main job from end to end, with real programs and real protocols, in a fresh directory.
//! `make run` (`--keep DIR`): the same two daemons, kept running.

#![expect(clippy::disallowed_methods, reason = "it stands outside the programs, as an operator does")]

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use postern_tests::program::{Kind, NewMailbox, Program};
use postern_tests::smtp::SmtpClient;
use postern_tests::{Archive, Security, messages};
use serde_json::Value;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => demo(),
        ["--keep", dir] => keep(Path::new(dir)),
        _ => {
            eprintln!("usage: postern-demo [--keep DIR]");
            std::process::exit(2);
        }
    }
}

fn step(text: &str) {
    println!("\n== {text}");
}

fn demo() -> Result<()> {
    let start = Instant::now();
    step("1  Start both daemons on free loopback ports, each in a fresh directory");
    let gateway = Program::started(Kind::Gateway, "")?;
    let archiver = Program::started(Kind::Archiver, "")?;
    let (smtp, pop3s) = (gateway.address("smtp")?, gateway.address("pop3s")?);
    println!("postern-gateway   SMTP {smtp}   POP3S {pop3s}");

    step("2  Create a mailbox at the gateway; its password is shown once and stored nowhere");
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    println!("{}   password {}", mailbox.address, mailbox.password);

    step("3  Create an archive instance with two users, and a profile that pulls the mailbox");
    let users = [("anna", "anna@example.com"), ("bob", "bob@example.com")];
    let archive = Archive::with(archiver, &gateway, &mailbox, &users)?;
    println!("instance main, users anna and bob, profile journal (certificate pinned)");

    step("4  A mail server sends journal reports over SMTP with STARTTLS");
    send_reports(&mailbox, smtp)?;
    let waiting = gateway.json(&["mailbox", "show", &mailbox.id])?;
    println!("the mailbox holds {} messages, {} bytes, sealed", waiting["messages"], waiting["bytes"]);
    ensure!(waiting["messages"] == 3, "three messages should wait");
    show_sealed(&gateway)?;

    step("5  The archiver pulls over POP3S, unwraps, stores, indexes, and only then deletes at the gateway");
    let ran = archive.run()?;
    println!("{ran}");
    ensure!(
        ran["archived"] == 2 && ran["duplicates"] == 1 && ran["failed"] == 0,
        "two messages, one of them twice"
    );
    ensure!(ran["deleted_at_source"] == 3, "all three are deleted at the gateway");
    let waiting = gateway.json(&["mailbox", "show", &mailbox.id])?;
    ensure!(waiting["messages"] == 0, "nothing waits any more");

    step("6  Search: \"budget\" in all archives, and in bob's, who had it by Bcc");
    let hit = search(&archive, &["budget"])?;
    let in_bobs = search(&archive, &["budget", "--user", "bob"])?;
    ensure!(hit["id"] == in_bobs["id"], "it is one message");

    step("7  The message comes out byte for byte as it was sent");
    let id = hit["id"].as_str().context("no id")?;
    let message = archive.message(id)?;
    ensure!(message == original(), "the archived message differs from the one sent");
    println!("{} bytes, identical", message.len());

    println!(
        "\nDone in {:.1} s: journal report in, sealed, pulled, archived, found.",
        start.elapsed().as_secs_f32()
    );
    Ok(())
}

fn original() -> Vec<u8> {
    messages::plain(
        1,
        "anna@example.com",
        "customer@example.net",
        "Budget for next year",
        "Dear customer,\r\n\r\nhere is the budget we spoke of: 4,200 for the whole of next year.\r\n\r\nAnna",
    )
}

fn send_reports(mailbox: &NewMailbox, smtp: std::net::SocketAddr) -> Result<()> {
    let sales = messages::plain(2, "sales@example.net", "bob@example.com", "Your order", "It is on its way.");
    let reports = [
        ("to the customer", ["To: customer@example.net"].as_slice(), original(), "anna@example.com"),
        ("the same, split off for its Bcc", &["Bcc: bob@example.com"], original(), "anna@example.com"),
        ("incoming", &["Recipient: bob@example.com"], sales, "sales@example.net"),
    ];
    let mut client = SmtpClient::connect(smtp, Security::StartTls)?;
    for (what, recipients, original, sender) in reports {
        let report = messages::journal_report(sender, recipients, "journal", &original);
        let reply = client.send("", &[&mailbox.address], &report)?;
        println!("{what:32} {} {}", reply.code, reply.lines.join(" "));
        ensure!(reply.code == 250, "the gateway refused a report");
    }
    client.quit()
}

/// Looks at the disk as a thief would.
fn show_sealed(gateway: &Program) -> Result<()> {
    let segments = gateway.data_dir().join("spool/segments");
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(segments)? {
        bytes.extend(std::fs::read(entry?.path())?);
    }
    let readable = bytes.windows(6).any(|window| window.eq_ignore_ascii_case(b"budget"));
    ensure!(!readable, "the spool shows what it holds");
    println!("{} bytes on disk; \"budget\" is nowhere in them", bytes.len());
    Ok(())
}

fn search(archive: &Archive, arguments: &[&str]) -> Result<Value> {
    let hits = archive.search(arguments)?;
    ensure!(hits.len() == 1, "one hit was expected: {hits:?}");
    let hit = &hits[0];
    println!("{}  {}  from {}  in {}", hit["id"], hit["subject"], hit["from"], hit["folders"]);
    Ok(hit.clone())
}

/// Starts both daemons in `dir` and waits for Ctrl-C, which reaches them as well.
fn keep(dir: &Path) -> Result<()> {
    let mut gateway = Program::kept_in(Kind::Gateway, &dir.join("gateway"))?;
    let mut archiver = Program::kept_in(Kind::Archiver, &dir.join("archiver"))?;
    gateway.start()?;
    archiver.start()?;
    for listener in ["smtp", "smtps", "submission", "pop3", "pop3s"] {
        // Its configuration may have been changed, at the console for example.
        if let Ok(address) = gateway.address(listener) {
            println!("{listener:12} {address}");
        }
    }
    if let Ok(console) = gateway.address("console") {
        println!(
            "\nThe console: https://localhost:{} (the first time: admin, password admin)",
            console.port()
        );
    }
    let show = |program: &Program| program.config_file().display().to_string();
    println!("\nTry, in another terminal:");
    println!("  target/debug/postern-gateway --config {} mailbox create --name journal", show(&gateway));
    println!("  target/debug/postern-archiver --config {} instance create main", show(&archiver));
    println!("\nCtrl-C ends both. Logs: {0}/gateway/log, {0}/archiver/log", dir.display());
    gateway.wait()?;
    archiver.wait()?;
    Ok(())
}
