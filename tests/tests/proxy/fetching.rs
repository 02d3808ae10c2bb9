//! Every client that fetches, through the proxy, from Dovecot and by both ways into TLS.

use anyhow::{Context as _, Result};
use postern_shared::proto::mime::trace::Capture;
use postern_tests::clients::thunderbird::{self, Flights};
use postern_tests::clients::{Account, After, fetchmail, getmail, mpop, poplib};
use postern_tests::pop3::Pop3Client;
use postern_tests::provider::{Provider, USER};

use crate::{all, awkward, long, sorted};

/// A client that fetches all there is: three messages.
type Fetch = fn(&Account, After) -> Result<Vec<Vec<u8>>>;

const CLIENTS: [(&str, Fetch); 6] = [
    ("poplib", poplib::fetch),
    ("mpop", mpop::fetch),
    ("fetchmail", fetchmail::fetch),
    ("thunderbird", |account, after| thunderbird_fetch(account, after, Flights::Each)),
    ("thunderbird, one flight", |account, after| thunderbird_fetch(account, after, Flights::One)),
    ("getmail", getmail::fetch),
];

fn thunderbird_fetch(account: &Account, after: After, flights: Flights) -> Result<Vec<Vec<u8>>> {
    Ok(thunderbird::fetch(account, "PLAIN", 3, after, flights)?.messages)
}

const PROGRAMS: [&str; 5] = ["dovecot", "mpop", "fetchmail", "getmail", "python3"];

fn clients(listener: &str) -> impl Iterator<Item = (&'static str, Fetch)> {
    // getmail6 knows no STLS.
    let by_stls = listener == "pop3";
    CLIENTS.into_iter().filter(move |(name, _)| !by_stls || *name != "getmail")
}

/// Goal: a client gets what Dovecot has, and the mailbox the same, once: not again when another client, or the same, fetches
/// the same messages.
#[test]
fn every_client_fetches_and_each_message_is_recorded_once() -> Result<()> {
    if !all(&PROGRAMS) {
        return Ok(());
    }
    let provider = Provider::new()?;
    let mut dovecot = provider.dovecot()?;
    let delivered = [awkward(1), awkward(2), long(3)];
    dovecot.deliver(USER, &delivered)?;
    let mut direct = Pop3Client::login(
        dovecot.pop3s,
        postern_tests::Security::Implicit,
        USER,
        postern_tests::provider::PASSWORD,
    )?;
    let uidls = direct.lines("UIDL")?;
    direct.quit()?;
    let gateway = provider.gateway("")?;
    for (listener, address) in [("pop3", dovecot.pop3), ("pop3s", dovecot.pop3s)] {
        let account = gateway.account(listener, address.port())?;
        for (name, fetch) in clients(listener) {
            let what = || format!("{name} by {listener}\n{}", gateway.program.log());
            let fetched = fetch(&account, After::Keep).with_context(what)?;
            assert!(sorted(fetched) == sorted(delivered.to_vec()), "{}", what());
            assert_eq!(gateway.copies()?.len(), 3, "{}", what());
        }
    }
    assert_eq!(dovecot.messages(USER)?, delivered, "nothing is deleted that nobody deleted");
    for (number, copy) in gateway.take()?.iter().enumerate() {
        assert!(copy.content == delivered[number], "{}", String::from_utf8_lossy(&copy.content));
        let (trace, proxied) = (&copy.trace, copy.trace.proxied.as_ref().context("not proxied")?);
        assert_eq!((trace.capture, trace.unconfirmed), (Capture::Pop3Proxy, false));
        assert_eq!(proxied.account, format!("{USER}%localhost"));
        assert_eq!(
            proxied.server,
            format!("localhost:{}", dovecot.pop3.port()),
            "who came first recorded it"
        );
        assert!(proxied.server_tls.is_some() && trace.tls.is_some(), "{trace:?}");
        let uidl = proxied.uidl.as_ref().context("no unique-id")?;
        assert_eq!(format!("{} {uidl}", number + 1), uidls[number]);
    }
    // Pulled and deleted by the archiver, they are still known.
    poplib::fetch(&gateway.account("pop3s", dovecot.pop3s.port())?, After::Keep)?;
    assert_eq!(gateway.copies()?.len(), 0);
    Ok(())
}

/// Goal: what a client deletes is gone at Dovecot, and its copy is in the mailbox.
#[test]
fn every_client_deletes_what_is_recorded() -> Result<()> {
    if !all(&PROGRAMS) {
        return Ok(());
    }
    let provider = Provider::new()?;
    let mut dovecot = provider.dovecot()?;
    let gateway = provider.gateway("")?;
    let account = gateway.account("pop3s", dovecot.pop3s.port())?;
    let mut next = 0;
    for (name, fetch) in clients("pop3s") {
        let delivered = vec![awkward(next), long(next + 1), awkward(next + 2)];
        next += 3;
        dovecot.deliver(USER, &delivered)?;
        let fetched =
            fetch(&account, After::Delete).with_context(|| format!("{name}\n{}", gateway.program.log()))?;
        assert!(sorted(fetched) == sorted(delivered.clone()), "{name}");
        assert_eq!(dovecot.messages(USER)?, [[0; 0]; 0], "{name}");
        let copies: Vec<_> = gateway.take()?.into_iter().map(|copy| copy.content).collect();
        assert!(copies == delivered, "{name}: {} copies", copies.len());
    }
    Ok(())
}
