//! The hostile servers of EAST, met by clients that are known to be good: what they are told is what the scripts say.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use postern_tests::Security::{Clear, StartTls};
use postern_tests::clients::{Account, After, Mail, Trust, poplib, smtplib};
use postern_tests::east::{Certificate, Conversation, HostileServer, Protocol, Script, scripts};
use postern_tests::smtp::SmtpClient;
use postern_tests::upstream::Authority;

use crate::{PASSWORD, USER, all};

fn read(protocol: Protocol, text: &str) -> Result<Vec<Script>> {
    Script::read_all("own", protocol, text)
}

const SMTP: &str = "(capabilities: [StartTLS], capabilities_tls: [Auth([Plain, Login])],\n\
    cert: Cert(crt_path: \"\", key_path: \"\"), implicit_tls: false,\n";
const POP3: &str = "(greeting: \"+OK\\r\\n\", capa: [\"STLS\"], capa_tls: [\"USER\"], capa_auth: [], capa_tls_auth: [],\n\
    cert: Cert(crt_path: \"\", key_path: \"\"), implicit_tls: false,\n";

/// The conversation once it is over.
fn ended(server: &HostileServer) -> Result<Conversation> {
    let start = Instant::now();
    loop {
        if let Some(conversation) = server.conversations().pop().filter(|conversation| conversation.over) {
            return Ok(conversation);
        }
        ensure!(start.elapsed() < Duration::from_secs(30), "the conversation goes on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn try_client(script: &Script, authority: &Authority) -> Result<(Result<()>, Conversation)> {
    let server = HostileServer::play(script, authority)?;
    let account = Account::new(server.address, StartTls, USER, PASSWORD).trusting(Trust::from(authority));
    let mail = Mail { from: "a@mail.test", to: &["b@mail.test"], content: b"Subject: x\r\n\r\nx\r\n" };
    let done = match script.protocol {
        Protocol::Smtp => smtplib::send(&account, "PLAIN", mail).map(drop),
        Protocol::Pop3 => poplib::fetch(&account, After::Keep).map(drop),
        Protocol::Imap => anyhow::bail!("clients of IMAP are the archiver's"),
    };
    Ok((done, ended(&server)?))
}

/// Goal: all scripts of the corpus are read, and none is empty.
#[test]
fn every_script_of_the_corpus_is_read() -> Result<()> {
    let Some(scripts) = scripts()? else { return Ok(()) };
    let of = |protocol| scripts.iter().filter(|script| script.protocol == protocol).count();
    assert!(of(Protocol::Smtp) >= 50 && of(Protocol::Pop3) >= 40, "{}", scripts.len());
    for certificate in
        [Certificate::SelfSigned, Certificate::UnknownRoot, Certificate::OtherName, Certificate::Expired]
    {
        let with = scripts.iter().filter(|script| script.certificate == certificate).count();
        assert!(with >= 2, "{certificate:?}");
    }
    let injecting = |script: &&Script| script.starttls_response.matches('\n').count() > 1;
    assert!(scripts.iter().filter(injecting).count() >= 3, "answers injected before TLS");
    assert!(scripts.iter().any(|script| !script.ignored_tls.is_empty()));
    Ok(())
}

/// Goal: a server that only pretends is a server: a good client goes through all of it, in clear no further than
/// STARTTLS.
#[test]
fn a_harmless_script_serves_a_good_client() -> Result<()> {
    if !all(&["python3"]) {
        return Ok(());
    }
    let authority = Authority::new()?;
    for (protocol, text, clear, secret) in
        [(Protocol::Smtp, SMTP, "STARTTLS\r\n", "AUTH PLAIN "), (Protocol::Pop3, POP3, "STLS\r\n", "PASS ")]
    {
        let script = &read(protocol, &format!("{text})"))?[0];
        let (done, conversation) = try_client(script, &authority)?;
        done.with_context(|| format!("{conversation:?}"))?;
        assert_eq!(conversation.handshake, Some(Ok(())));
        assert!(String::from_utf8(conversation.clear)?.ends_with(clear));
        assert!(String::from_utf8(conversation.under_tls)?.contains(secret));
    }
    Ok(())
}

/// Goal: each bad certificate is shown, and the client's refusal is written down.
#[test]
fn bad_certificates_are_shown() -> Result<()> {
    if !all(&["python3"]) {
        return Ok(());
    }
    let authority = Authority::new()?;
    for name in ["self-signed", "unknown-root", "expired", "other.example.org"] {
        let text = SMTP.replace("crt_path: \"\"", &format!("crt_path: \"certs/{name}.pem\""));
        let (done, conversation) = try_client(&read(Protocol::Smtp, &(text + ")"))?[0], &authority)?;
        assert!(done.is_err() && conversation.under_tls.is_empty(), "{name}: {conversation:?}");
        assert!(matches!(conversation.handshake, Some(Err(_))) || name != "expired", "{conversation:?}");
    }
    Ok(())
}

/// Goal: what the script puts behind its answer to STARTTLS is sent in clear at once, and the command it answers stays
/// unanswered under TLS; steps in comments are scripts of their own.
#[test]
fn answers_are_injected_before_tls() -> Result<()> {
    let steps =
        "//ignore_commands_tls: [\"ehlo\"],\n//stls_response: \"220 Go\\r\\n250 AUTH LOGIN\\r\\n\",\n)";
    let scripts = read(Protocol::Smtp, &format!("{SMTP}{steps}"))?;
    let names: Vec<&str> = scripts.iter().map(|script| script.name.as_str()).collect();
    assert_eq!(names, ["own", "own, step 1", "own, step 2", "own, all steps"]);
    assert_eq!(scripts[3].ignored_tls, ["ehlo"]);

    let authority = Authority::new()?;
    let server = HostileServer::play(&scripts[3], &authority)?;
    let mut client = SmtpClient::connect(server.address, Clear)?;
    assert_eq!(client.command("STARTTLS")?.code, 220);
    assert_eq!(client.reply()?.lines, ["AUTH LOGIN"]);
    client.wire.start_tls()?;
    client.wire.send(b"EHLO client.example.org\r\n")?;
    let noop = client.command("NOOP")?;
    assert_eq!((noop.code, noop.lines[0].as_str()), (250, "..."), "EHLO was not answered");
    client.quit()?;
    assert_eq!(ended(&server)?.under_tls, b"EHLO client.example.org\r\nNOOP\r\nQUIT\r\n");
    Ok(())
}

/// Goal: no script of the corpus gets a password in clear, or any across a bad certificate, from a client known to be good:
/// what the proxy will be asked for can be met. Nothing hangs: servers that fall silent are left out here, for these
/// clients wait for a minute.
#[test]
fn good_clients_give_no_password_away() -> Result<()> {
    let (Some(scripts), true) = (scripts()?, all(&["python3"])) else { return Ok(()) };
    let authority = Authority::new()?;
    let silent = |script: &&Script| !script.ignored_tls.is_empty() || pretends_tls(script);
    let (left_out, played): (Vec<_>, Vec<_>) = scripts.iter().partition(silent);
    assert!(played.len() > 80 && left_out.len() < 20, "{} and {}", played.len(), left_out.len());
    for script in played {
        let (_, conversation) = try_client(script, &authority).with_context(|| script.name.clone())?;
        let clear = String::from_utf8_lossy(&conversation.clear).to_uppercase();
        let gave = ["AUTH ", "USER ", "PASS ", "MAIL "].iter().any(|word| clear.contains(word));
        assert!(!gave, "{}: {clear:?}", script.name);
        assert!(
            script.certificate == Certificate::Good || conversation.under_tls.is_empty(),
            "{}",
            script.name
        );
    }
    Ok(())
}

/// Whether it says yes to STARTTLS and then knows nothing of it, so that both sides wait for each other.
fn pretends_tls(script: &Script) -> bool {
    let yes = |(command, answer): &(String, String)| {
        ["starttls", "stls"].contains(&command.as_str())
            && (answer.starts_with("220") || answer.starts_with("+OK"))
    };
    script.answers.iter().any(yes)
        || (!script.starttls_begins && script.starttls_response.starts_with(['2', '+']))
}
