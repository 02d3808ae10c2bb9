//! Every way to name a server and to log in at it, seen from the server.

use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_tests::pop3::Pop3Client;
use postern_tests::provider::{Gateway, PASSWORD, Provider, USER, plain, security};

use crate::scripted::Scripted;

/// What a server was told.
type Heard = Arc<Mutex<Vec<String>>>;

/// A POP3 server that takes AUTH PLAIN, or USER and PASS alone.
fn server(listener: TcpListener, provider: &Provider, sasl: bool) -> Result<(Scripted, Heard)> {
    let heard = Heard::default();
    let told = Arc::clone(&heard);
    let server = Scripted::start_on(listener, &provider.identity, move |peer| {
        peer.say("+OK scripted\r\n")?;
        loop {
            let line = peer.line()?;
            peer.say(match line.as_str() {
                "CAPA" if sasl => "+OK\r\nSASL PLAIN\r\n.\r\n",
                "CAPA" => "+OK\r\nUSER\r\n.\r\n",
                _ => "+OK\r\n",
            })?;
            told.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    })?;
    Ok((server, heard))
}

fn taken(heard: &Heard) -> Vec<String> {
    let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut *heard).into_iter().filter(|line| line != "CAPA").collect()
}

/// The lines by which `user` may log in, in every way that POP3 has for passwords.
fn ways(user: &str) -> [Vec<String>; 4] {
    let [user_64, password_64] = [user, PASSWORD].map(|text| STANDARD.encode(text));
    [
        vec![format!("USER {user}"), format!("PASS {PASSWORD}")],
        vec![format!("AUTH PLAIN {}", plain(user, PASSWORD))],
        vec!["AUTH PLAIN".into(), plain(user, PASSWORD)],
        vec!["AUTH LOGIN".into(), user_64, password_64],
    ]
}

/// Logs in by these lines and says NOOP; the server is there behind it.
fn log_in(gateway: &Gateway, listener: &str, lines: &[String]) -> Result<()> {
    let mut client = Pop3Client::connect(gateway.program.address(listener)?, security(listener))?;
    for (number, line) in lines.iter().enumerate() {
        client.wire.send(format!("{line}\r\n").as_bytes())?;
        let said = client.wire.line()?;
        let is_last = number + 1 == lines.len();
        ensure!(said.starts_with(if is_last { "+OK" } else { "+" }), "{said}\n{}", gateway.program.log());
    }
    client.command("NOOP")?;
    client.quit()
}

/// Goal: whichever way a client logs in, its server gets the account's own name and password by the best way it has itself.
#[test]
fn every_way_to_log_in_leads_to_the_server() -> Result<()> {
    let provider = Provider::new()?;
    let gateway = provider.gateway("")?;
    for sasl in [true, false] {
        let (server, heard) = server(TcpListener::bind("127.0.0.1:0")?, &provider, sasl)?;
        // The listener with STLS leads to a server with STLS, unless the settings say otherwise; so this one only.
        for lines in ways(&gateway.user(server.port)) {
            log_in(&gateway, "pop3s", &lines)?;
            let login = match sasl {
                true => vec![format!("AUTH PLAIN {}", plain(USER, PASSWORD))],
                false => vec![format!("USER {USER}"), format!("PASS {PASSWORD}")],
            };
            let expected = [login, vec!["NOOP".into(), "QUIT".into()]].concat();
            assert_eq!(taken(&heard), expected, "{lines:?}");
        }
    }
    Ok(())
}

/// Goal: a server may be named by its name or by an address of either kind; its certificate must be for just that. A user whose
/// name holds what looks like an escape is written with one, and the divider is what the settings say.
#[test]
fn a_server_has_a_name_or_an_address() -> Result<()> {
    let provider = Provider::new()?;
    let gateway = provider.gateway("")?;
    let other = provider.gateway("divider = \"#\"\n")?;
    for (address, names) in
        [("127.0.0.1:0", &["localhost", "LOCALHOST.", "127.0.0.1"][..]), ("[::1]:0", &["[::1]"])]
    {
        let Ok(listener) = TcpListener::bind(address) else {
            eprintln!("SKIPPED: this machine has no {address}");
            continue;
        };
        let (server, heard) = server(listener, &provider, true)?;
        for name in names {
            let target = format!("{name}:{}", server.port);
            let user = gateway.route("anna%2525b", &target);
            log_in(&gateway, "pop3s", &[format!("AUTH PLAIN {}", plain(&user, PASSWORD))])?;
            let with_another_divider = format!("anna%b#{target}#{}", other.mailbox.id);
            log_in(&other, "pop3s", &[format!("AUTH PLAIN {}", plain(&with_another_divider, PASSWORD))])?;
            let logins = ["anna%25b", "anna%b"].map(|user| format!("AUTH PLAIN {}", plain(user, PASSWORD)));
            let heard: Vec<_> = taken(&heard).into_iter().filter(|line| line.starts_with("AUTH")).collect();
            assert_eq!(heard, logins, "{target}");
        }
    }
    Ok(())
}
