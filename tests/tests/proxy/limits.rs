//! Sessions of an account, silence, servers that say "not now", and who guesses passwords.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use postern_tests::provider::{Gateway, PASSWORD, Provider, plain};
use postern_tests::smtp::SmtpReply;

use crate::scripted::{EXTENSIONS, Scripted, pop3_login, smtp_login};

/// An SMTP server that lets everybody in and says yes to everything.
fn friendly(provider: &Provider) -> Result<Scripted> {
    Scripted::start(&provider.identity, |peer| {
        let mut line = smtp_login(peer, EXTENSIONS, EXTENSIONS)?;
        while line != "QUIT" {
            peer.say("250 ok\r\n")?;
            line = peer.line()?;
        }
        peer.say("221 bye\r\n")
    })
}

/// The answer to a login of that user at that port.
fn login(gateway: &Gateway, user: &str, port: u16) -> Result<SmtpReply> {
    let mut client = gateway.smtp("smtps")?;
    let user = gateway.route(user, &format!("localhost:{port}"));
    client.command(&format!("AUTH PLAIN {}", plain(&user, PASSWORD)))
}

/// Goal: an account has so many sessions at once and no more; others are not held up by it, and a place that is left is free.
#[test]
fn an_account_has_so_many_sessions() -> Result<()> {
    let provider = Provider::new()?;
    let gateway = provider.gateway("sessions_per_account = 2\n")?;
    let server = friendly(&provider)?;
    let first = gateway.sending("smtps", server.port)?;
    let _second = gateway.sending("smtps", server.port)?;
    let refused = gateway
        .smtp("smtps")?
        .command(&format!("AUTH PLAIN {}", plain(&gateway.user(server.port), PASSWORD)))?;
    ensure!(
        refused.code == 454 && refused.lines[0].contains("too many sessions of this account"),
        "{refused:?}"
    );
    ensure!(login(&gateway, "carol", server.port)?.code == 235);
    first.quit()?;
    // The other one was carol's.
    gateway.wait_for_log("proxied smtp session ended", 2)?;
    gateway.sending("smtps", server.port)?.quit()
}

/// Goal: a client that says nothing is not waited for, and what it asked a POP3 server to delete stays, for it never said
/// QUIT.
#[test]
fn silence_ends_a_session() -> Result<()> {
    let provider = Provider::new()?;
    let gateway = provider.gateway("smtp_idle_deadline = \"2 s\"\npop3_idle_deadline = \"2 s\"\n")?;
    let server = friendly(&provider)?;
    let mut sending = gateway.sending("smtps", server.port)?;
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&said);
    let server = Scripted::start(&provider.identity, move |peer| {
        let mut line = pop3_login(peer)?;
        loop {
            heard.lock().unwrap_or_else(PoisonError::into_inner).push(line.clone());
            peer.say("+OK\r\n")?;
            line = peer.line()?;
        }
    })?;
    let mut fetching = gateway.fetching("pop3s", server.port)?;
    fetching.command("NOOP")?;
    let last = sending.reply()?;
    ensure!(last.code == 421, "{last:?}");
    ensure!(sending.wire.line().is_err(), "the session goes on");
    while fetching.wire.line().is_ok() {}
    gateway.wait_for_log("proxied pop3 session", 1)?;
    assert_eq!(
        *said.lock().unwrap_or_else(PoisonError::into_inner),
        ["NOOP"],
        "nothing is said for a client that went"
    );
    Ok(())
}

/// Goal: a server that says "not now" is left alone for a while, whoever is impatient; its words are passed on.
#[test]
fn a_server_that_throttles_is_left_alone() -> Result<()> {
    let provider = Provider::new()?;
    let gateway = provider.gateway("")?;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let server = Scripted::start(&provider.identity, move |peer| {
        counted.fetch_add(1, Ordering::SeqCst);
        peer.say("421 4.7.0 slow down\r\n")
    })?;
    // Each "not now" of the server doubles the pause, so an impatient client meets one, however slow this machine is.
    for attempt in 1..=10 {
        let refused = login(&gateway, "anna", server.port)?;
        ensure!(refused.code == 454 && refused.lines[0].contains("slow down"), "{refused:?}");
        if refused.lines[0].contains("asks it again in") {
            ensure!(asked.load(Ordering::SeqCst) < attempt, "it was asked all the same");
            return Ok(());
        }
    }
    anyhow::bail!("it was asked again and again")
}

/// Goal: whoever guesses passwords waits, and the server hears nothing of the guesses meanwhile.
#[test]
fn guesses_are_not_passed_on_for_ever() -> Result<()> {
    let provider = Provider::new()?;
    let limits =
        "[limits]\nlogin_failure_pause = \"1 ms\"\nlogin_failures_free = 2\nlogin_wait = \"5 min\"\n";
    let gateway = Gateway::start(&format!("{limits}{}", provider.settings()))?;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let server = Scripted::start(&provider.identity, move |peer| {
        peer.say("220 scripted.test\r\n")?;
        loop {
            let line = peer.line()?;
            if line.starts_with("EHLO") {
                peer.say(format!("250-scripted.test\r\n{EXTENSIONS}"))?;
            } else if line.starts_with("AUTH") {
                counted.fetch_add(1, Ordering::SeqCst);
                peer.say("535 5.7.8 wrong\r\n")?;
            } else {
                peer.say("250 ok\r\n")?;
            }
        }
    })?;
    let mut refusals = Vec::new();
    for _ in 0..6 {
        refusals.push(login(&gateway, "anna", server.port)?);
    }
    let last = refusals.last().context("none")?;
    ensure!(last.code == 454 && last.lines[0].contains("too many failed logins"), "{refusals:#?}");
    let wrong = refusals.iter().filter(|refusal| refusal.code == 535).count();
    assert_eq!(asked.load(Ordering::SeqCst), wrong, "{refusals:#?}");
    ensure!((2..=4).contains(&wrong), "{refusals:#?}");
    Ok(())
}
