//! EAST's hostile servers, met by the archiver's own clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use postern_archiver::sources::account::{Account, FolderId};
use postern_archiver::sources::imap::{self, ImapSource};
use postern_archiver::sources::pop3::{self, Pop3Source};
use postern_shared::proto::pop3::client::TlsStart;
use postern_shared::tls::client::Trust;
use postern_tests::east::{Certificate, Conversation, HostileServer, Protocol, Script, scripts_for_sources};
use postern_tests::upstream::Authority;

use crate::{Kept, PASSWORD, USER, password, settings};

/// Servers that say nothing are waited for so long.
const SILENCE: Duration = Duration::from_millis(500);
/// Servers played at once.
const AT_ONCE: usize = 16;

/// How far a pull came: the messages that came whole.
async fn pull(mut source: impl Account) -> Result<usize> {
    let inbox = FolderId("INBOX".into());
    source.folders().await?;
    let changes = source.changes(&inbox, None).await?;
    let mut kept = Kept::default();
    source.fetch(&inbox, &changes.items, &mut kept).await?;
    source.finish().await?;
    Ok(kept.whole.len())
}

async fn meet(script: &Script, server: &HostileServer, authority: &Authority) -> Result<usize> {
    let tls = if script.implicit_tls { TlsStart::Implicit } else { TlsStart::Stls };
    let login = password(USER, PASSWORD);
    if script.protocol == Protocol::Imap {
        let limits = imap::Limits {
            silence: SILENCE,
            login: SILENCE * 4,
            list: SILENCE * 4,
            finish: SILENCE,
            ..imap::Limits::default()
        };
        let settings = settings(server.address, tls, &authority.certificate(), login);
        return pull(ImapSource::connect(&settings, limits).await?).await;
    }
    let limits = pop3::Limits {
        silence: SILENCE,
        login: SILENCE * 4,
        list: SILENCE * 4,
        finish: SILENCE,
        in_use_patience: Duration::ZERO,
        ..pop3::Limits::default()
    };
    let settings = pop3::Settings {
        host: "localhost".into(),
        port: server.address.port(),
        tls,
        trust: Trust::Authorities(authority.certificate()),
        credentials: login.credentials,
        mechanism: None,
    };
    pull(Pop3Source::connect(&settings, limits).await?).await
}

async fn ended(server: &HostileServer) -> Result<Vec<Conversation>> {
    let begun = Instant::now();
    loop {
        let conversations = server.conversations();
        if !conversations.is_empty() && conversations.iter().all(|conversation| conversation.over) {
            return Ok(conversations);
        }
        ensure!(begun.elapsed() < Duration::from_secs(40), "the conversation goes on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Messages that came whole.
async fn play(script: &Script, authority: &Authority) -> Result<usize> {
    let server = HostileServer::play(script, authority)?;
    let met = meet(script, &server, authority).await;
    for conversation in ended(&server).await? {
        // Servers that say yes and go on in clear get a TLS record, which begins so.
        let said = conversation.clear.split(|octet| *octet == 0x16).next().unwrap_or_default();
        let clear = String::from_utf8_lossy(said).to_uppercase();
        let said: Vec<&str> = clear.lines().collect();
        ensure!(said.len() <= 1, "more than STARTTLS in clear: {said:?}");
        ensure!(said.iter().all(|line| ["STLS", "P1 STARTTLS"].contains(line)), "in clear: {said:?}");
        let verified = script.certificate == Certificate::Good;
        ensure!(verified || conversation.under_tls.is_empty(), "to nobody that is known: {conversation:?}");
        ensure!(met.is_err() || conversation.handshake == Some(Ok(())), "without TLS: {conversation:?}");
    }
    if let Err(error) = &met {
        let told = format!("{error:#}");
        ensure!(!told.contains(PASSWORD), "the password is told: {told}");
        ensure!(!told.chars().any(char::is_control), "words that control a terminal: {told:?}");
    }
    let injects = script.starttls_response.trim_end().contains('\n') && !script.implicit_tls;
    let fetched = met.unwrap_or(0);
    ensure!(fetched == 0 || fetched == 2, "{fetched} messages");
    ensure!(fetched == 0 || verified(script), "from a server with a bad certificate");
    // What was injected in clear is dropped, or ends the session; either way it brings nothing.
    ensure!(!injects || fetched != 1);
    Ok(fetched)
}

fn verified(script: &Script) -> bool {
    script.certificate == Certificate::Good
}

/// Goal: whatever EAST's IMAP and POP3 servers do, no credential leaves in clear or before verified TLS, nothing they inject
/// counts, nobody waits for ever.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_servers_learn_nothing_and_stop_nothing() -> Result<()> {
    let Some(scripts) = scripts_for_sources()? else { return Ok(()) };
    let (scripts, authority) = (Arc::new(scripts), Arc::new(Authority::new()?));
    let next = Arc::new(AtomicUsize::new(0));
    let mut players = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let (scripts, authority, next) = (Arc::clone(&scripts), Arc::clone(&authority), Arc::clone(&next));
        players.spawn(async move {
            let (mut wrong, mut pulled) = (Vec::new(), [0; 2]);
            while let Some(script) = scripts.get(next.fetch_add(1, Ordering::SeqCst)) {
                let number = usize::from(script.protocol == Protocol::Imap);
                match play(script, &authority).await {
                    Ok(fetched) => pulled[number] += usize::from(fetched > 0),
                    Err(error) => wrong.push(format!("{}: {error:#}", script.name)),
                }
            }
            (wrong, pulled)
        });
    }
    let (mut wrong, mut pulled) = (Vec::new(), [0; 2]);
    while let Some(done) = players.join_next().await {
        let (more, count) = done.context("a client panicked")?;
        wrong.extend(more);
        pulled = [pulled[0] + count[0], pulled[1] + count[1]];
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    let of = |protocol| scripts.iter().filter(|script| script.protocol == protocol).count();
    let [pop3, imap] = pulled;
    println!(
        "{} scripts for IMAP, {imap} gave mail; {} for POP3, {pop3} gave mail",
        of(Protocol::Imap),
        of(Protocol::Pop3)
    );
    ensure!(of(Protocol::Imap) >= 70 && of(Protocol::Pop3) >= 40 && imap > 0 && pop3 > 0, "{pulled:?}");
    Ok(())
}
