//! A POP3 server that breaks off amid a message, or says nothing more.

use anyhow::{Result, bail, ensure};
use postern_tests::messages;
use postern_tests::provider::{Gateway, Provider};
use postern_tests::smtp::stuffed;

use crate::awkward;
use crate::scripted::{Peer, Scripted, pop3_login};

/// The half of a message that the server sends before it goes.
fn half(octets: &[u8]) -> &[u8] {
    &octets[..octets.len() / 2]
}

fn serve(peer: &mut Peer, message: &[u8], hangs_up: bool) -> Result<()> {
    let mut line = pop3_login(peer)?;
    loop {
        match line.split(' ').next().unwrap_or_default() {
            "UIDL" => peer.say("+OK 1 unique\r\n")?,
            "RETR" => {
                peer.say(format!("+OK {} octets\r\n", message.len()))?;
                peer.say(half(&stuffed(message)))?;
                if hangs_up {
                    return Ok(());
                }
                peer.fall_silent()?;
            }
            _ => peer.say("+OK\r\n")?,
        }
        line = peer.line()?;
    }
}

/// What a client gets for RETR until the connection ends: whether it is told of an error, or its octets.
fn retrieve(gateway: &Gateway, port: u16) -> Result<Result<Vec<u8>, String>> {
    let mut client = gateway.fetching("pop3s", port)?;
    client.wire.send(b"RETR 1\r\n")?;
    let head = client.wire.line().unwrap_or_default();
    if !head.starts_with("+OK") {
        return Ok(Err(head));
    }
    let mut octets = Vec::new();
    while let Ok(line) = client.wire.raw_line() {
        octets.extend(line);
    }
    Ok(Ok(octets))
}

/// Goal: a message that breaks off at the server, or does not go on, is given no end to the client, nor recorded; one that is
/// held until it is whole is not given at all. DELE of such a message is not passed on.
#[test]
fn half_a_message_is_none() -> Result<()> {
    let provider = Provider::new()?;
    let gateway = provider.gateway("reply_deadline = \"3 s\"\n")?;
    let (to, of) = (&gateway, &provider);
    std::thread::scope(|scope| {
        let runs: Vec<_> =
            [true, false].map(|hangs_up| scope.spawn(move || breaks_off(to, of, hangs_up))).into();
        runs.into_iter().try_for_each(|run| run.join().unwrap_or_else(|_| bail!("a client panicked")))
    })?;
    gateway.wait_for_log("proxied pop3 session cut", 6)?;
    assert_eq!(gateway.take()?.len(), 0);
    Ok(())
}

fn breaks_off(gateway: &Gateway, provider: &Provider, hangs_up: bool) -> Result<()> {
    let start =
        |message: Vec<u8>| Scripted::start(&provider.identity, move |peer| serve(peer, &message, hangs_up));
    let server = start(awkward(1))?;
    match retrieve(gateway, server.port)? {
        Err(said) => ensure!(said.is_empty() || said.starts_with("-ERR"), "{said}"),
        Ok(octets) => bail!("{} octets of half a message", octets.len()),
    }
    let mut client = gateway.fetching("pop3s", server.port)?;
    ensure!(client.command("DELE 1").is_err(), "deleted what could not be recorded");
    let message = messages::sized(2, 600_000);
    let server = start(message.clone())?;
    if let Ok(octets) = retrieve(gateway, server.port)? {
        ensure!(octets.len() < message.len() && message.starts_with(&octets), "{} octets", octets.len());
        ensure!(!octets.ends_with(b"\r\n.\r\n"), "half a message was given an end");
    }
    Ok(())
}
