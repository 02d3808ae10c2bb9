//! A message of 150 MB, both ways, and the gateway's memory.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use postern_tests::messages;
use postern_tests::provider::{Provider, USER};
use postern_tests::smtp::stuffed;
use postern_tests::upstream::Submission;

use crate::all;

const OCTETS: usize = 150_000_000;
/// What one session may take.
const MEMORY_MAX: u64 = 24 * 1024 * 1024;

/// Goal: a message of 150 MB goes through octet for octet with a small part of it in memory, and so does its copy.
/// Method: sent to Postfix, then fetched from Dovecot; the most memory resident meanwhile is compared
/// with what was resident before.
#[test]
fn long_messages_stream() -> Result<()> {
    if !all(&["postconf", "dovecot"]) {
        return Ok(());
    }
    let provider = Provider::new()?;
    let mut dovecot = provider.dovecot()?;
    let postfix = Submission::start(&provider.identity, &dovecot, "message_size_limit = 209715200\n")?;
    let gateway = provider.gateway("")?;
    let mut client = gateway.sending("smtps", postfix.smtps.port())?;
    let message = messages::sized(1, OCTETS);
    // Creating the mailbox took more memory than a session may.
    gateway.program.forget_peak()?;
    let before = gateway.program.resident_bytes()?;
    let begun = Instant::now();
    for command in [&format!("MAIL FROM:<anna@mail.test> SIZE={OCTETS}"), "RCPT TO:<bob@mail.test>", "DATA"] {
        ensure!(client.command(command)?.code < 400);
    }
    client.wire.send(&stuffed(&message))?;
    let reply = client.reply()?;
    ensure!(reply.code == 250, "{reply:?}");
    let took = begun.elapsed();
    let after = gateway.program.peak_bytes()?;
    println!(
        "{} MB in {took:?}; memory {} KiB before, {} KiB at most",
        OCTETS / 1_000_000,
        before / 1024,
        after / 1024
    );
    ensure!(after < before + MEMORY_MAX, "{before} octets of memory before, {after} behind");
    ensure!(took < Duration::from_secs(120), "{took:?}");
    let copies = gateway.take()?;
    let copy = copies.first().context("no copy")?;
    ensure!(copies.len() == 1 && copy.content == message, "the copy is another message");
    let received = postfix.received(1)?;
    ensure!(received.len() == 1 && received[0].content == message, "Postfix took another message");
    drop(received);
    drop(copies);

    dovecot.deliver(USER, std::slice::from_ref(&message))?;
    let mut client = gateway.fetching("pop3s", dovecot.pop3s.port())?;
    gateway.program.forget_peak()?;
    let before = gateway.program.resident_bytes()?;
    let fetched = client.content("RETR 1")?;
    client.quit()?;
    ensure!(fetched == message, "the client got another message");
    ensure!(gateway.program.log().contains(&format!("octets={OCTETS}")), "{}", gateway.program.log());
    let after = gateway.program.peak_bytes()?;
    println!("fetched: {} KiB of memory at most", after / 1024);
    ensure!(after < before + MEMORY_MAX, "{before} octets of memory before, {after} behind");
    Ok(())
}
