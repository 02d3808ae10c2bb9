//! What is known of fetched messages when the gateway is killed or started again.

use anyhow::Result;
use postern_tests::clients::thunderbird::{self, Flights};
use postern_tests::clients::{After, poplib};
use postern_tests::provider::{Provider, USER};

use crate::{all, awkward, long, sorted};

/// Every third is too long to be held until it is whole.
fn messages(count: usize) -> Vec<Vec<u8>> {
    sorted(
        (1..=count)
            .map(|number| if number.is_multiple_of(3) { long(number) } else { awkward(number) })
            .collect(),
    )
}

/// Goal: `kill -9` at any time loses nothing: what is no longer at the provider is in the gateway, and what is recorded is
/// whole.
/// Method: a client that fetches and deletes message by message; the gateway is killed once it has recorded so many, and
/// started again. Killed sessions say no QUIT, so the last round deletes what all of them asked for.
#[test]
fn kill_9_amid_a_session_loses_nothing() -> Result<()> {
    if !all(&["dovecot", "python3"]) {
        return Ok(());
    }
    let provider = Provider::new()?;
    let mut dovecot = provider.dovecot()?;
    let mut gateway = provider.gateway("")?;
    let delivered = messages(12);
    dovecot.deliver(USER, &delivered)?;
    for records in [1, 3, 4, 8] {
        let before = gateway.program.log().matches("fetched message on disk").count();
        let account = gateway.account("pop3s", dovecot.pop3s.port())?;
        let fetching = std::thread::spawn(move || {
            thunderbird::fetch(&account, "PLAIN", 12, After::Delete, Flights::Each)
        });
        let recorded = || gateway.program.log().matches("fetched message on disk").count() - before;
        while recorded() < records && !fetching.is_finished() {
            std::thread::yield_now();
        }
        gateway.program.kill()?;
        // However it ended.
        let _ = fetching.join();
        gateway.program.start()?;
        let left = dovecot.messages(USER)?;
        let copies = gateway.copies()?;
        let copied = |message: &Vec<u8>| copies.iter().any(|copy| copy.content == *message);
        assert!(
            delivered.iter().all(|message| left.contains(message) || copied(message)),
            "a message is lost"
        );
        assert!(
            copies.iter().all(|copy| delivered.contains(&copy.content)),
            "a copy is not what was delivered"
        );
        if left.is_empty() {
            break;
        }
    }
    let left = dovecot.messages(USER)?.len();
    if left > 0 {
        let account = gateway.account("pop3s", dovecot.pop3s.port())?;
        thunderbird::fetch(&account, "PLAIN", left, After::Delete, Flights::One)?;
    }
    assert_eq!(dovecot.messages(USER)?, [[0; 0]; 0]);
    let mut copies = sorted(gateway.take()?.into_iter().map(|copy| copy.content).collect());
    // A message that was just being recorded may be there twice.
    copies.dedup();
    assert!(copies == delivered);
    Ok(())
}

/// Goal: what was recorded stays known over a restart, and over `kill -9`.
#[test]
fn a_restart_makes_no_second_copy() -> Result<()> {
    if !all(&["dovecot", "python3"]) {
        return Ok(());
    }
    let provider = Provider::new()?;
    let mut dovecot = provider.dovecot()?;
    let mut gateway = provider.gateway("")?;
    let delivered = messages(3);
    dovecot.deliver(USER, &delivered)?;
    let port = dovecot.pop3s.port();
    for kill in [true, false] {
        let fetched = poplib::fetch(&gateway.account("pop3s", port)?, After::Keep)?;
        assert!(sorted(fetched) == delivered);
        if kill {
            gateway.program.kill()?;
        } else {
            gateway.program.stop()?;
        }
        gateway.program.start()?;
    }
    poplib::fetch(&gateway.account("pop3s", port)?, After::Keep)?;
    assert!(sorted(gateway.take()?.into_iter().map(|copy| copy.content).collect()) == delivered);
    Ok(())
}
