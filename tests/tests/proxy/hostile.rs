//! EAST's hostile servers behind the gateway: what they are told, and that the gateway outlives them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_tests::east::{Certificate, Conversation, HostileServer, Protocol, Script, scripts};
use postern_tests::pop3::Pop3Client;
use postern_tests::provider::{Gateway, PASSWORD, Provider, USER, plain, security};
use postern_tests::smtp::SmtpClient;

use crate::awkward;

const DEADLINES: &str = "connect_deadline = \"5 s\"\nlogin_deadline = \"5 s\"\nreply_deadline = \"5 s\"\n\
    end_of_data_deadline = \"5 s\"\nsessions_per_account = 1000\n";

/// Servers played at once: most of the time is spent waiting for those that say nothing.
const AT_ONCE: usize = 24;

/// A client's session with the server through the gateway. Whether it was let in, and whether its message was taken.
fn meet(gateway: &Gateway, script: &Script, user: &str) -> Result<(bool, bool)> {
    match script.protocol {
        Protocol::Smtp => {
            let mut client = gateway.smtp(if script.implicit_tls { "smtps" } else { "submission" })?;
            let reply = client.command(&format!("AUTH PLAIN {}", plain(user, PASSWORD)))?;
            ensure!([235, 535, 454].contains(&reply.code), "{reply:?}");
            if reply.code != 235 {
                return Ok((false, false));
            }
            Ok((true, sends(&mut client).unwrap_or(false)))
        }
        Protocol::Imap => anyhow::bail!("the proxy does not speak IMAP"),
        Protocol::Pop3 => {
            let listener = if script.implicit_tls { "pop3s" } else { "pop3" };
            let address = gateway.program.address(listener)?;
            match Pop3Client::login(address, security(listener), user, PASSWORD) {
                Err(error) if error.to_string().starts_with("-ERR [") => Ok((false, false)),
                Err(error) => Err(error),
                Ok(mut client) => Ok((true, client.content("RETR 1").is_ok())),
            }
        }
    }
}

fn sends(client: &mut SmtpClient) -> Result<bool> {
    Ok(client.send("anna@mail.test", &["bob@mail.test"], &awkward(1))?.code == 250)
}

fn ended(server: &HostileServer) -> Result<Vec<Conversation>> {
    let begun = Instant::now();
    loop {
        let conversations = server.conversations();
        if !conversations.is_empty() && conversations.iter().all(|conversation| conversation.over) {
            return Ok(conversations);
        }
        ensure!(begun.elapsed() < Duration::from_secs(40), "the conversation goes on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Nothing of an account is in it, as it is or in base64.
fn tells_nothing(said: &[u8]) -> bool {
    let text = String::from_utf8_lossy(said);
    let secrets = [
        PASSWORD.to_owned(),
        USER.to_owned(),
        STANDARD.encode(PASSWORD),
        STANDARD.encode(USER),
        plain(USER, PASSWORD),
    ];
    let verbs = ["AUTH ", "PASS", "USER", "MAIL", "RCPT"];
    !secrets.iter().any(|secret| text.contains(secret.as_str()))
        && !verbs.iter().any(|verb| text.to_uppercase().contains(verb))
}

/// Whether the client was let in, and whether a message went through.
fn play(gateway: &Gateway, provider: &Provider, number: usize, script: &Script) -> Result<(bool, bool)> {
    let server = HostileServer::play(script, &provider.authority)?;
    // Whoever is told "not now" waits; so each has an account of its own.
    let user = gateway.route(&format!("{number}{USER}"), &format!("localhost:{}", server.address.port()));
    let met = meet(gateway, script, &user)?;
    for conversation in ended(&server)? {
        ensure!(
            tells_nothing(&conversation.clear),
            "in clear: {:?}",
            String::from_utf8_lossy(&conversation.clear)
        );
        let verified = script.certificate == Certificate::Good;
        ensure!(verified || conversation.under_tls.is_empty(), "to nobody that is known: {conversation:?}");
        ensure!(!met.0 || conversation.handshake == Some(Ok(())), "let in without TLS: {conversation:?}");
    }
    let injects = script.starttls_response.trim_end().contains('\n') && !script.implicit_tls;
    ensure!(!met.0 || !injects, "what was injected in clear counted");
    ensure!(!met.0 || script.certificate == Certificate::Good, "let in to a server with a bad certificate");
    Ok(met)
}

/// Goal: whatever EAST's servers do, no credential leaves the gateway in clear or before verified TLS, nothing they inject
/// counts, nobody waits for ever, and the gateway serves on; a message has a copy when the server took it, and else none.
/// Method: every script of the corpus through the gateway, with short deadlines.
#[test]
fn hostile_servers_learn_nothing_and_stop_nothing() -> Result<()> {
    let Some(scripts) = scripts()? else { return Ok(()) };
    let provider = Provider::new()?;
    let gateway = provider.gateway(DEADLINES)?;
    let next = AtomicUsize::new(0);
    let (wrong, taken) = (Mutex::new(Vec::new()), Mutex::new([0; 3]));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    let Some(script) = scripts.get(number) else { return };
                    match (play(&gateway, &provider, number, script), taken.lock(), wrong.lock()) {
                        (Ok((let_in, done)), Ok(mut taken), _) => {
                            taken[0] += usize::from(let_in);
                            taken[if script.protocol == Protocol::Smtp { 1 } else { 2 }] += usize::from(done);
                        }
                        (Err(error), _, Ok(mut wrong)) => wrong.push(format!("{}: {error:#}", script.name)),
                        _ => {}
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().ok().context("a client panicked")?;
    ensure!(wrong.is_empty(), "{wrong:#?}");
    let [let_in, sent, fetched] = taken.into_inner().ok().context("a client panicked")?;
    ensure!(
        scripts.len() >= 100 && let_in > 0 && sent > 0 && fetched > 0,
        "{} scripts, {let_in}, {sent}, {fetched}",
        scripts.len()
    );
    let copies = gateway.take()?;
    let by_smtp = copies.iter().filter(|copy| copy.content == awkward(1)).count();
    assert_eq!(by_smtp, sent, "each message that was taken, and none else");
    ensure!(copies.len() > by_smtp, "what was fetched is recorded");
    let log = gateway.program.log();
    ensure!(!log.contains("panicked") && !log.contains(PASSWORD), "{log}");
    ensure!(gateway.program.json(&["status"])?["running"] == true);
    println!(
        "{} scripts: {let_in} let a client in, {sent} took a message, {fetched} gave one",
        scripts.len()
    );
    Ok(())
}
