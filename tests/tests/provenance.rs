//! Who may send what to a mailbox, and what is kept of where a message came from.

#![expect(clippy::disallowed_methods, reason = "tests stand outside the programs")]

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use postern_shared::crypto::digest::sha256;
use postern_shared::proto::mime::trace::{self, Trace};
use postern_tests::Security;
use postern_tests::pop3::Pop3Client;
use postern_tests::program::{Kind, NewMailbox, Program};
use postern_tests::smtp::{SmtpClient, SmtpReply};

const MESSAGE: &[u8] = b"From: anna@example.com\r\nSubject: s\r\n\r\nx\r\n";

fn send(gateway: &Program, security: Security, mailbox: &NewMailbox, message: &[u8]) -> Result<SmtpReply> {
    let mut client = SmtpClient::connect(gateway.address("smtp")?, security)?;
    client.send("anna@example.com", &[&mailbox.address], message)
}

/// Goal: an operator closes and opens a mailbox on a running gateway, and its senders are told why.
/// Method: each rule is set on the command line and tried over the wire, one after the other.
#[test]
fn a_mailbox_takes_what_its_policy_allows() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let edit =
        |arguments: &[&str]| gateway.json(&[&["mailbox", "edit", mailbox.id.as_str()], arguments].concat());
    let told = |security, message: &[u8]| -> Result<(u16, String)> {
        let reply = send(&gateway, security, &mailbox, message)?;
        Ok((reply.code, reply.lines[0].clone()))
    };
    assert_eq!(told(Security::Clear, MESSAGE)?.0, 250, "a new mailbox is open");

    let shown = edit(&["--allow-network", "192.0.2.0/24", "--allow-network", "2001:db8::1"])?;
    assert_eq!(shown["networks"], serde_json::json!(["192.0.2.0/24", "2001:db8::1/128"]));
    let (code, text) = told(Security::StartTls, MESSAGE)?;
    assert_eq!((code, text.as_str()), (550, "5.7.1 Client address not allowed for this mailbox"));

    let networks = gateway.config_file().with_file_name("goog.json");
    std::fs::write(&networks, br#"{ "prefixes": [ { "ipv4Prefix": "127.0.0.0/8" } ] }"#)?;
    let networks = networks.to_str().context("text")?;
    let shown = edit(&["--allow-preset", "google", "--networks-from", networks, "--require-tls", "yes"])?;
    assert_eq!(shown["presets"]["google"], serde_json::json!(["127.0.0.0/8"]));
    let (code, text) = told(Security::Clear, MESSAGE)?;
    assert_eq!((code, text.as_str()), (530, "5.7.0 Must issue a STARTTLS command first"));
    assert_eq!(told(Security::StartTls, MESSAGE)?.0, 250);

    edit(&["--any-network", "--require-tls", "no", "--max-message-size", "1 KiB"])?;
    let long = [MESSAGE, &b"0123456789abcdef0123456789abcdef\r\n".repeat(40)].concat();
    assert_eq!(told(Security::Clear, MESSAGE)?.0, 250);
    let (code, text) = told(Security::Clear, &long)?;
    assert_eq!((code, text.as_str()), (552, "5.3.4 Message is longer than this mailbox takes"));

    edit(&["--max-message-size", "none", "--quota-messages", "3"])?;
    let (code, text) = told(Security::Clear, MESSAGE)?;
    assert_eq!((code, &text[..5]), (452, "4.2.2"), "three wait already");
    edit(&["--quota-messages", "none", "--quota", "64 KiB"])?;
    assert_eq!(told(Security::Clear, &long)?.0, 250);
    let too_much = b"0123456789abcdef0123456789abcdef\r\n".repeat(1900);
    let (code, text) = told(Security::Clear, &too_much)?;
    assert_eq!((code, &text[..5]), (452, "4.2.2"), "it fits an empty mailbox, not this one");

    let shown = gateway.run(&["mailbox", "show", &mailbox.id])?;
    let shown = String::from_utf8(shown.stdout)?;
    ensure!(shown.contains("quota             65536") && shown.contains("networks          any"), "{shown}");
    Ok(())
}

/// Goal: a policy can be given at once, and what is wrong with one is told before anything is made.
#[test]
fn a_mailbox_is_created_with_its_policy() -> Result<()> {
    let gateway = Program::new(Kind::Gateway, "")?;
    let create =
        |arguments: &[&str]| gateway.json(&[&["mailbox", "create", "--name", "journal"], arguments].concat());
    let made = create(&["--allow-network", "192.0.2.0/24", "--require-tls", "yes", "--quota", "1 GiB"])?;
    assert_eq!((made["require_tls"].as_bool(), made["quota"].as_u64()), (Some(true), Some(1 << 30)));
    for wrong in [
        &["--allow-network", "192.0.2.0/33"][..],
        &["--allow-preset", "google"],
        &["--allow-preset", "google", "--networks-from", "/nowhere"],
        &["--quota", "0"],
        &["--max-message-size", "much"],
    ] {
        ensure!(create(wrong).is_err(), "{wrong:?}");
    }
    assert_eq!(gateway.json(&["mailbox", "list"])?.as_array().context("a list")?.len(), 1);
    Ok(())
}

/// What is recorded of the one message in a mailbox.
fn recorded(gateway: &Program, mailbox: &NewMailbox) -> Result<Trace> {
    let address = gateway.address("pop3s")?;
    let mut client = Pop3Client::login(address, Security::Implicit, &mailbox.id, &mailbox.password)?;
    let mut served = client.retrieve_all()?;
    ensure!(served.len() == 1, "{} messages", served.len());
    let served = served.remove(0);
    let (trace, message) = trace::split(&served);
    ensure!(message == MESSAGE, "{}", String::from_utf8_lossy(message));
    trace.context("no trace fields")
}

/// Goal: who sent what, how and when stands before each message.
#[test]
fn a_message_tells_where_it_came_from() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    ensure!(send(&gateway, Security::StartTls, &mailbox, MESSAGE)?.code == 250);
    let trace = recorded(&gateway, &mailbox)?;
    assert_eq!(trace.peer.ip().to_string(), "127.0.0.1");
    assert_eq!((trace.helo.as_str(), trace.protocol.as_str()), ("client.example.org", "ESMTPS"));
    let (version, cipher) = trace.tls.context("no TLS")?;
    ensure!(version == "TLSv1.3" && cipher.starts_with("TLS_"), "{version} {cipher}");
    assert_eq!(trace.tls_server_name.as_deref(), Some("localhost"));
    assert_eq!((trace.mail_from.as_str(), &trace.recipients), ("anna@example.com", &vec![mailbox.address]));
    assert_eq!(trace.content_sha256, sha256(MESSAGE));
    ensure!(trace.received_at.0 > 1_700_000_000_000);
    assert_eq!(trace.authentication, [""; 0], "nothing is checked unless the operator wants it");
    Ok(())
}

fn checking(resolver: &UdpSocket, deadline: &str) -> Result<String> {
    let resolver = resolver.local_addr()?;
    Ok(format!("[authentication]\nenabled = true\ndeadline = \"{deadline}\"\nresolvers = \"{resolver}\"\n"))
}

/// Goal: a name server that never answers holds up no message past the deadline, and loses none.
#[test]
fn silent_name_servers_cost_the_deadline_only() -> Result<()> {
    let silent = UdpSocket::bind("127.0.0.1:0")?;
    let gateway = Program::started(Kind::Gateway, &checking(&silent, "500 ms")?)?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let start = Instant::now();
    ensure!(send(&gateway, Security::Clear, &mailbox, MESSAGE)?.code == 250);
    let took = start.elapsed();
    ensure!(took >= Duration::from_millis(500) && took < Duration::from_secs(30), "{took:?}");
    let expected = ["spf=temperror (deadline)", "dkim=none", "arc=none", "dmarc=temperror (deadline)"];
    assert_eq!(recorded(&gateway, &mailbox)?.authentication, expected);
    Ok(())
}

/// Goal: what name servers say is recorded with the message, and a bad result refuses nothing.
/// Method: a name server that knows no name at all.
#[test]
fn results_are_recorded_with_the_message() -> Result<()> {
    let server = UdpSocket::bind("127.0.0.1:0")?;
    let configuration = checking(&server, "30 s")?;
    std::thread::spawn(move || {
        let mut packet = [0; 2048];
        while let Ok((octets, client)) = server.recv_from(&mut packet) {
            // RFC 1035 §4.1.1: a response, recursion available, name error.
            packet[2] |= 0x80;
            packet[3] = 0x83;
            let _ = server.send_to(&packet[..octets], client);
        }
    });
    let gateway = Program::started(Kind::Gateway, &configuration)?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    ensure!(send(&gateway, Security::Clear, &mailbox, MESSAGE)?.code == 250);
    let expected =
        ["spf=none smtp.mailfrom=example.com", "dkim=none", "arc=none", "dmarc=none header.from=example.com"];
    assert_eq!(recorded(&gateway, &mailbox)?.authentication, expected);
    Ok(())
}
