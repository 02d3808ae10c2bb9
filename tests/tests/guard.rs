//! Hostile peers, seen from outside: floods, half-open TLS, slow senders, guessed passwords; and everybody else goes on.
//!
//! All of 127.0.0.0/8 is this machine, so a test can come from as many addresses as it wants.

#![expect(clippy::disallowed_methods, reason = "tests stand outside the programs")]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use postern_tests::pop3::Pop3Client;
use postern_tests::program::{Kind, NewMailbox, Program};
use postern_tests::smtp::SmtpClient;
use postern_tests::{Security, Wire, messages};

const MESSAGE: &[u8] = b"Subject: s\r\n\r\nx\r\n";
/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// An address of this machine.
fn from(n: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 1, n).into()
}

fn connect_from(source: IpAddr, to: SocketAddr) -> Result<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind((source, 0).into())?;
        socket.connect(to).await?.into_std()
    })?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

fn pop3_from(source: IpAddr, gateway: &Program) -> Result<Pop3Client> {
    let wire = Wire::over(connect_from(source, gateway.address("pop3s")?)?, true)?;
    let mut client = Pop3Client { wire };
    client.wire.line()?;
    Ok(client)
}

/// What is said to a login.
fn answer(source: IpAddr, gateway: &Program, user: &str, password: &str) -> Result<String> {
    let mut client = pop3_from(source, gateway)?;
    client.command(&format!("USER {user}"))?;
    client.wire.send(format!("PASS {password}\r\n").as_bytes())?;
    client.wire.line()
}

fn deliver(gateway: &Program, listener: &str, security: Security, mailbox: &NewMailbox) -> Result<()> {
    let mut client = SmtpClient::connect(gateway.address(listener)?, security)?;
    let reply = client.send("sender@example.org", &[&mailbox.address], MESSAGE)?;
    ensure!(reply.code == 250, "{reply:?}");
    client.quit()
}

fn process(gateway: &Program) -> Result<u32> {
    let lock = std::fs::read_to_string(gateway.data_dir().join("postern-gateway.lock"))?;
    let digits: String =
        lock.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    digits.parse().with_context(|| lock)
}

/// Tries until it holds.
fn eventually(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !holds()? {
        ensure!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::yield_now();
    }
    Ok(())
}

/// Goal: places are counted over all doors of a protocol; a flood at one protocol does not shut out the other, nor one
/// address the others.
#[test]
fn a_flood_of_connections_takes_its_own_places_only() -> Result<()> {
    let limits = "[limits]\nsessions = 6\nsessions_per_address = 4\npop3_sessions = 2\n";
    let gateway = Program::started(Kind::Gateway, limits)?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let (smtp, submission) = (gateway.address("smtp")?, gateway.address("submission")?);
    let open = |source, door| -> Result<(Wire, String)> {
        let mut wire = Wire::over(connect_from(source, door)?, false)?;
        let said = wire.line()?;
        Ok((wire, said))
    };
    let mut held = Vec::new();
    for n in 0..4 {
        let (wire, said) = open(from(1), if n % 2 == 0 { smtp } else { submission })?;
        assert!(said.starts_with("220 "), "{said}");
        held.push(wire);
    }
    for door in [smtp, submission] {
        assert!(open(from(1), door)?.1.starts_with("421 4.7.0"), "four from one address");
    }
    for _ in 0..2 {
        let (wire, said) = open(from(2), smtp)?;
        assert!(said.starts_with("220 "), "another address: {said}");
        held.push(wire);
    }
    assert!(open(from(3), submission)?.1.starts_with("421 4.7.0"), "six in all");
    assert!(
        answer(from(1), &gateway, &mailbox.id, &mailbox.password)?.starts_with("+OK"),
        "archivers have their own"
    );
    held.clear();
    eventually("the places are free again", || Ok(open(from(1), smtp)?.1.starts_with("220 ")))
}

#[test]
fn an_address_that_comes_too_often_is_sent_away_and_the_others_are_not() -> Result<()> {
    let gateway =
        Program::started(Kind::Gateway, "[limits]\nconnections_per_minute = 1\nconnection_burst = 3\n")?;
    let smtp = gateway.address("smtp")?;
    let said = |source| Wire::over(connect_from(source, smtp)?, false)?.line();
    for _ in 0..3 {
        assert!(said(from(1))?.starts_with("220 "));
    }
    for _ in 0..20 {
        assert!(said(from(1))?.starts_with("421 4.7.0"));
    }
    assert!(said(from(2))?.starts_with("220 "));
    let told = gateway.log().matches("connections refused").count();
    assert!((1..=3).contains(&told), "a flood does not flood the log: {told} lines");
    Ok(())
}

/// Goal: 1,000 connections that say nothing where TLS should begin block nobody, and are gone after the deadline with
/// all they held.
#[test]
fn a_thousand_half_open_handshakes_block_nobody_and_leave_nothing() -> Result<()> {
    postern_gateway::listen::allow_many_descriptors(1000);
    let limits = "[limits]\nhandshake_deadline = \"5 s\"\nsessions = 1200\nsessions_per_address = 1200\n";
    let gateway = Program::started(Kind::Gateway, limits)?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    deliver(&gateway, "smtps", Security::Implicit, &mailbox)?;
    let descriptors =
        || -> Result<usize> { Ok(std::fs::read_dir(format!("/proc/{}/fd", process(&gateway)?))?.count()) };
    let before = descriptors()?;
    let smtps = gateway.address("smtps")?;
    let mut half_open = Vec::new();
    for n in 0..1000 {
        let mut stream = TcpStream::connect(smtps)?;
        // A record that announces more than it brings; or nothing at all.
        if n % 2 == 0 {
            stream.write_all(&[22, 3, 1, 2, 0, 1, 0])?;
        }
        stream.set_read_timeout(Some(PATIENCE))?;
        half_open.push(stream);
    }
    for (listener, security) in [("smtps", Security::Implicit), ("smtp", Security::StartTls)] {
        deliver(&gateway, listener, security, &mailbox)?;
    }
    for mut stream in half_open {
        // Cut with or without an alert; what counts is that it ends.
        let _ = stream.read_to_end(&mut Vec::new());
    }
    eventually("all descriptors are given back", || Ok(descriptors()? <= before))?;
    deliver(&gateway, "smtps", Security::Implicit, &mailbox)
}

/// Goal: a flood of real handshakes does not starve sessions that are established.
/// Method: eight peers shake hands as fast as they can, bounded in number; one session delivers meanwhile.
#[test]
fn a_flood_of_handshakes_does_not_stop_established_sessions() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "[limits]\nhandshakes_at_once = 1\n")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let smtps = gateway.address("smtps")?;
    let mut established = SmtpClient::connect(smtps, Security::Implicit)?;
    std::thread::scope(|scope| {
        let flood: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(move || -> Result<()> {
                    for _ in 0..40 {
                        Wire::connect(smtps, true)?.line()?;
                    }
                    Ok(())
                })
            })
            .collect();
        while !flood.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            let start = Instant::now();
            let reply = established.send("a@example.com", &[&mailbox.address], MESSAGE)?;
            ensure!(reply.code == 250 && start.elapsed() < Duration::from_secs(10), "{reply:?}");
        }
        for peer in flood {
            peer.join().map_err(|_| anyhow::anyhow!("a peer panicked"))??;
        }
        Ok(())
    })
}

/// Sends an octet every 50 ms until something is said; what, and after how long.
fn trickle(wire: &mut TcpStream, octet: u8) -> Result<(String, Duration)> {
    let start = Instant::now();
    wire.set_read_timeout(Some(Duration::from_millis(50)))?;
    let mut said = [0; 512];
    while start.elapsed() < PATIENCE {
        wire.write_all(&[octet])?;
        match wire.read(&mut said) {
            Ok(octets) => {
                return Ok((String::from_utf8_lossy(&said[..octets]).into_owned(), start.elapsed()));
            }
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bail!("it goes on for ever")
}

/// The server's clock starts a little before the client's.
const NEARLY_A_SECOND: Duration = Duration::from_millis(900);

/// Goal: whoever sends an octet now and then holds nothing for ever: no command, no message, no login.
#[test]
fn a_slow_sender_is_cut_and_leaves_nothing() -> Result<()> {
    let limits =
        "[limits]\ncommand_deadline = \"1 s\"\nmessage_rate_min = \"1 KiB\"\npop3_login_deadline = \"1 s\"\n";
    let gateway = Program::started(Kind::Gateway, limits)?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let greeted = |listener| -> Result<TcpStream> {
        let mut stream = TcpStream::connect(gateway.address(listener)?)?;
        let _ = stream.read(&mut [0; 512])?;
        Ok(stream)
    };
    let (said, after) = trickle(&mut greeted("smtp")?, b'x')?;
    assert!(said.starts_with("421 4.4.2") && after >= NEARLY_A_SECOND, "{said} after {after:?}");
    // The POP3 standard has no farewell for this.
    let (said, after) = trickle(&mut greeted("pop3")?, b'x')?;
    assert!(said.is_empty() && after >= NEARLY_A_SECOND, "{said} after {after:?}");
    // Whole commands in good time, but no login.
    let (mut stream, start) = (greeted("pop3")?, Instant::now());
    while stream.write_all(b"CAPA\r\n").is_ok() && matches!(stream.read(&mut [0; 512]), Ok(1..)) {
        ensure!(start.elapsed() < PATIENCE, "it goes on for ever");
    }
    assert!(start.elapsed() >= NEARLY_A_SECOND);

    // A command without end, as fast as it goes.
    for listener in ["smtp", "pop3"] {
        let (mut stream, start) = (greeted(listener)?, Instant::now());
        while stream.write_all(&[b'x'; 16 * 1024]).is_ok() {
            ensure!(start.elapsed() < PATIENCE, "{listener}: it goes on for ever");
        }
        assert!(start.elapsed() >= NEARLY_A_SECOND);
    }

    let mut stream = greeted("smtp")?;
    for line in ["EHLO x", "MAIL FROM:<>", &format!("RCPT TO:<{}>", mailbox.address), "DATA"] {
        stream.write_all(format!("{line}\r\n").as_bytes())?;
        let _ = stream.read(&mut [0; 512])?;
    }
    let (said, after) = trickle(&mut stream, b'x')?;
    assert!(said.starts_with("421 4.4.2") && after >= NEARLY_A_SECOND, "{said} after {after:?}");
    assert_eq!(gateway.json(&["mailbox", "show", &mailbox.id])?["messages"], 0);
    // Whoever keeps the rate may take longer than the deadline.
    let mut client = SmtpClient::connect(gateway.address("smtp")?, Security::Clear)?;
    client.command("MAIL FROM:<>")?;
    client.command(&format!("RCPT TO:<{}>", mailbox.address))?;
    client.command("DATA")?;
    let start = Instant::now();
    let mut n = 0;
    while start.elapsed() < Duration::from_millis(1500) {
        n += 1;
        client.wire.send(&messages::sized(n, 20_000))?;
    }
    client.wire.send(b"\r\n.\r\n")?;
    assert_eq!(client.reply()?.code, 250);
    Ok(())
}

/// Goal: guessing is slowed for who guesses, and for nobody else; an outsider cannot tell whether a mailbox exists.
#[test]
fn guessing_locks_out_who_guesses_and_no_one_else() -> Result<()> {
    let limits = "[limits]\nlogin_failure_pause = \"1 ms\"\nlogin_failures_free = 3\nlogin_wait = \"1 h\"\nlogin_wait_max = \"1 h\"\n";
    let gateway = Program::started(Kind::Gateway, limits)?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let mut said: Vec<Vec<String>> = Vec::new();
    for (source, user) in
        [(from(1), mailbox.id.as_str()), (from(2), "mbx-0000000000000000"), (from(3), "anna")]
    {
        said.push((0..5).map(|_| answer(source, &gateway, user, "wrong")).collect::<Result<_>>()?);
    }
    let expected = "-ERR [AUTH] Wrong user name or password";
    assert_eq!(said[0][..3], [expected; 3]);
    assert!(
        said[0][3..].iter().all(|said| said.starts_with("-ERR [SYS/TEMP] Too many failed logins")),
        "{said:?}"
    );
    assert!(said[1] == said[0] && said[2] == said[0], "the same for everybody: {said:?}");

    let right = |source| answer(source, &gateway, &mailbox.id, &mailbox.password);
    assert!(right(from(1))?.starts_with("-ERR [SYS/TEMP]"), "who must wait is not even looked at");
    assert!(right(from(4))?.starts_with("+OK"), "the archiver, from a new address");
    for n in 10..30 {
        assert_eq!(answer(from(n), &gateway, &mailbox.id, "wrong")?, expected);
        let again = answer(from(n), &gateway, &mailbox.id, "wrong")?;
        assert!(again.starts_with("-ERR [SYS/TEMP]"), "many addresses get no further than one: {again}");
    }
    for source in [from(4), from(5)] {
        eventually("the maildrop is free", || Ok(!right(source)?.starts_with("-ERR [IN-USE]")))?;
        let said = right(source)?;
        assert!(said.starts_with("+OK") || said.starts_with("-ERR [IN-USE]"), "{said}");
    }
    Ok(())
}

/// Goal: the wait passes, and then the right password opens.
#[test]
fn the_right_password_is_accepted_once_the_wait_is_over() -> Result<()> {
    let limits = "[limits]\nlogin_failure_pause = \"1 ms\"\nlogin_failures_free = 2\nlogin_wait = \"2 s\"\nlogin_wait_max = \"2 s\"\n";
    let gateway = Program::started(Kind::Gateway, limits)?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let start = Instant::now();
    for _ in 0..2 {
        answer(from(1), &gateway, &mailbox.id, "wrong")?;
    }
    eventually("it is let in", || {
        Ok(answer(from(1), &gateway, &mailbox.id, &mailbox.password)?.starts_with("+OK"))
    })?;
    assert!(start.elapsed() >= Duration::from_secs(2), "not before");
    Ok(())
}

/// Goal: a flood of logins from everywhere starves neither intake nor memory, and who is too many is told at once.
/// Method: forty logins from forty addresses; one password checked at once, five waiting.
#[test]
fn intake_goes_on_while_logins_queue() -> Result<()> {
    let limits = "[limits]\nlogins_at_once = 1\nlogins_waiting = 5\nlogin_failure_pause = \"1 ms\"\n";
    let gateway = Program::started(Kind::Gateway, limits)?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let mut clients = (0..40).map(|n| pop3_from(from(100 + n), &gateway)).collect::<Result<Vec<_>>>()?;
    for client in &mut clients {
        client.wire.send(format!("USER {}\r\nPASS wrong\r\n", mailbox.id).as_bytes())?;
    }
    let mut sender = SmtpClient::connect(gateway.address("smtp")?, Security::StartTls)?;
    for _ in 0..20 {
        assert_eq!(sender.send("a@example.com", &[&mailbox.address], MESSAGE)?.code, 250);
    }
    let (mut checked, mut busy) = (0, 0);
    for client in &mut clients {
        client.wire.line()?;
        match client.wire.line()?.as_str() {
            "-ERR [AUTH] Wrong user name or password" => checked += 1,
            "-ERR [SYS/TEMP] Too many logins at once, try again later" => busy += 1,
            other => bail!("{other}"),
        }
    }
    assert!(checked >= 5 && busy >= 1, "{checked} checked, {busy} told to come again");
    let status = std::fs::read_to_string(format!("/proc/{}/status", process(&gateway)?))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse()?;
    // Creating the mailbox was an Argon2id of its own.
    assert!(peak_kib < 200 * 1024, "{peak_kib} KiB");
    Ok(())
}

/// A gateway with these lines before everything else in its configuration.
fn started_with(first: &str) -> Result<Program> {
    let mut gateway = Program::new(Kind::Gateway, "")?;
    let config = std::fs::read_to_string(gateway.config_file())?;
    std::fs::write(gateway.config_file(), format!("{first}\n{config}"))?;
    gateway.start()?;
    Ok(gateway)
}

/// Goal: rustls's bound on KeyUpdate requests holds, and a connection that floods is cut.
#[test]
fn a_flood_of_key_updates_is_cut() -> Result<()> {
    let gateway = started_with("log_level = \"debug\"")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let mut stream = TcpStream::connect(gateway.address("smtps")?)?;
    let config = postern_shared::tls::client::client_config(&postern_shared::tls::client::Trust::Any)?;
    let name = rustls::pki_types::ServerName::try_from("localhost")?;
    let mut client = rustls::ClientConnection::new(Arc::new(config), name)?;
    while client.is_handshaking() {
        client.complete_io(&mut stream)?;
    }
    let mut flood = || -> Result<()> {
        for _ in 0..1000 {
            client.refresh_traffic_keys()?;
            while client.wants_write() {
                client.write_tls(&mut stream)?;
            }
        }
        Ok(())
    };
    // All of it may have been sent before the other side cuts; the log says that it did, and why.
    let _ = flood();
    eventually("the connection is cut", || Ok(gateway.log().contains("TooManyKeyUpdateRequests")))?;
    deliver(&gateway, "smtps", Security::Implicit, &mailbox)
}

/// Goal: nobody is told a version unless the operator wants it.
#[test]
fn greetings_tell_a_version_only_when_configured() -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    for configured in [false, true] {
        let gateway = started_with(&format!("banner_version = {configured}"))?;
        let mut said = vec![Wire::connect(gateway.address("smtp")?, false)?.line()?];
        let mut pop3 = Wire::connect(gateway.address("pop3s")?, true)?;
        said.push(pop3.line()?);
        let mut capabilities = Pop3Client { wire: pop3 }.lines("CAPA")?;
        capabilities.retain(|line| line.starts_with("IMPLEMENTATION"));
        said.extend(capabilities);
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said.iter().all(|line| line.contains(version) == configured), "{said:?}");
    }
    Ok(())
}
