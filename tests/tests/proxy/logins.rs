//! What is wrong with a login, in the protocol's own words.

use anyhow::{Context as _, Result, ensure};
use postern_tests::Security::{Clear, StartTls};
use postern_tests::clients::thunderbird::{self, Flights};
use postern_tests::clients::{After, Mail, poplib, smtplib, swaks};
use postern_tests::foreign::free_port;
use postern_tests::jwt;
use postern_tests::pop3::Pop3Client;
use postern_tests::program::Program;
use postern_tests::provider::{Gateway, PASSWORD, Provider, USER, plain, security};
use postern_tests::smtp::SmtpClient;
use postern_tests::upstream::{Dovecot, OAuth2};

use crate::{all, awkward};

/// A login that must be refused: the reply in each protocol begins with this, and holds that.
struct Wrong {
    user: String,
    password: &'static str,
    smtp: &'static str,
    pop3: &'static str,
    words: String,
}

/// The refusal of AUTH PLAIN, code and text.
fn smtp(gateway: &Program, wrong: &Wrong) -> Result<String> {
    let mut client = SmtpClient::connect(gateway.address("submission")?, StartTls)?;
    let reply = client.command(&format!("AUTH PLAIN {}", plain(&wrong.user, wrong.password)))?;
    assert_eq!(client.command("NOOP")?.code, 250, "the session goes on");
    Ok(format!("{} {}", reply.code, reply.lines.join(" ")))
}

fn pop3(gateway: &Program, wrong: &Wrong) -> Result<String> {
    let address = gateway.address("pop3s")?;
    let refused = Pop3Client::login(address, security("pop3s"), &wrong.user, wrong.password);
    Ok(refused.err().map_or_else(|| "let in".to_owned(), |error| error.to_string()))
}

fn check(gateway: &Gateway, wrong: &Wrong) -> Result<()> {
    for (said, code) in
        [(smtp(&gateway.program, wrong)?, wrong.smtp), (pop3(&gateway.program, wrong)?, wrong.pop3)]
    {
        ensure!(said.starts_with(code), "{}: {said}, not {code}", wrong.user);
        ensure!(
            said.to_lowercase().contains(&wrong.words.to_lowercase()),
            "{}: {said}, not {}",
            wrong.user,
            wrong.words
        );
        ensure!(!said.contains(PASSWORD) && said.is_ascii() && said.len() <= 510, "{said}");
    }
    Ok(())
}

/// Goal: each mistake of a user gets the protocol's own error, with a sentence that says what to do; none is let in.
/// Method: every mistake in SMTP and POP3 over one gateway. The servers' ports are those of the other protocol where that
/// makes no difference, for none is reached.
#[test]
fn every_mistake_is_told_in_words() -> Result<()> {
    if !all(&["dovecot", "postconf"]) {
        return Ok(());
    }
    let provider = Provider::new()?;
    let dovecot = provider.dovecot()?;
    let postfix = provider.postfix(&dovecot, "")?;
    let gateway = provider.gateway("deny = [\"denied.test\"]\n")?;
    let (free, id) = (free_port()?, gateway.mailbox.id.clone());
    let wrong = |user: String, smtp, pop3, words: &str| Wrong {
        user,
        password: PASSWORD,
        smtp,
        pop3,
        words: words.to_owned(),
    };
    let auth = "-ERR [AUTH] ";
    for case in [
        wrong(
            format!("{USER}%localhost%mbx-0000000000000001"),
            "535 5.7.8 ",
            auth,
            "there is no mailbox mbx-0000000000000001 on this gateway",
        ),
        wrong(format!("anna%{id}"), "535 5.7.8 ", auth, "a part is missing"),
        wrong("anna%localhost%inbox".into(), "535 5.7.8 ", auth, "must end in the id of a gateway mailbox"),
        wrong(format!("anna%local host%{id}"), "535 5.7.8 ", auth, "neither a host name nor an IP address"),
        wrong(format!("anna%localhost:0%{id}"), "535 5.7.8 ", auth, "neither a host name nor an IP address"),
        wrong(
            format!("%localhost%{id}"),
            "535 5.7.8 ",
            auth,
            "must begin with the user name at your provider",
        ),
        wrong(
            format!("anna%denied.test%{id}"),
            "535 5.7.1 ",
            "-ERR [SYS/PERM] ",
            "does not connect to denied.test",
        ),
        wrong(format!("anna%host.invalid%{id}"), "454 4.7.0 ", "-ERR [SYS/TEMP] ", "cannot be found"),
        wrong(format!("anna%localhost:{free}%{id}"), "454 4.7.0 ", "-ERR [SYS/TEMP] ", "does not answer"),
    ] {
        check(&gateway, &case)?;
    }
    // The server's own words.
    let mistaken = |port: u16, code| Wrong {
        user: gateway.user(port),
        password: "wrong",
        smtp: code,
        pop3: code,
        words: "refuses the login".into(),
    };
    let said = smtp(&gateway.program, &mistaken(postfix.submission.port(), "535 5.7.8 "))?;
    ensure!(said.starts_with("535 5.7.8 ") && said.contains("refuses the login: 535 5.7.8"), "{said}");
    let said = pop3(&gateway.program, &mistaken(dovecot.pop3s.port(), auth))?;
    ensure!(said.starts_with(auth) && said.contains("Authentication failed"), "{said}");
    gateway.set_status("suspended")?;
    check(
        &gateway,
        &wrong(
            gateway.user(dovecot.pop3s.port()),
            "454 4.7.0 ",
            "-ERR [SYS/TEMP] ",
            &format!("mailbox {id} is suspended"),
        ),
    )?;
    assert_eq!(gateway.copies()?.len(), 0);
    ensure!(!gateway.program.log().contains(PASSWORD), "a password in the log");
    Ok(())
}

/// Goal: a server whose certificate nobody vouches for is not logged in to, nor one at a private address unless the operator
/// allows it; and clients of others show their users why.
#[test]
fn a_server_that_may_not_be_talked_to_is_not() -> Result<()> {
    if !all(&["dovecot", "postconf", "swaks", "python3"]) {
        return Ok(());
    }
    let (provider, stranger) = (Provider::new()?, Provider::new()?);
    let dovecot = stranger.dovecot()?;
    let postfix = stranger.postfix(&dovecot, "")?;
    let mail = Mail { from: "anna@mail.test", to: &["bob@mail.test"], content: b"Subject: x\r\n\r\nx\r\n" };
    for (settings, words) in
        [(provider.settings(), "certificate is not trusted"), (String::new(), "does not connect there")]
    {
        let gateway = Gateway::start(&settings)?;
        let sending = gateway.account("submission", postfix.submission.port())?;
        let refused = swaks::send(&sending, mail, &[]).unwrap_err().to_string();
        ensure!(refused.contains(words), "{refused}");
        let fetching = gateway.account("pop3s", dovecot.pop3s.port())?;
        let refused = poplib::fetch(&fetching, After::Keep).unwrap_err().to_string();
        ensure!(refused.contains(words), "{refused}");
    }
    ensure!(!dovecot.log().contains("Login:"), "{}", dovecot.log());
    ensure!(!postfix.log().contains("sasl_method"), "{}", postfix.log());
    // As the operator would have it: that certificate alone.
    let pin = stranger.identity.fingerprint()?;
    let gateway =
        provider.gateway(&format!("[[proxy.target]]\nhost = \"localhost\"\ntrust = \"sha256:{pin}\"\n"))?;
    poplib::fetch(&gateway.account("pop3s", dovecot.pop3s.port())?, After::Keep)?;
    swaks::send(&gateway.account("submission", postfix.submission.port())?, mail, &[])?;
    Ok(())
}

/// Goal: nothing secret is taken in clear, and a stranger without a login can send nothing through.
#[test]
fn nothing_goes_without_a_login_under_tls() -> Result<()> {
    let provider = Provider::new()?;
    let gateway = provider.gateway("")?;
    let response = plain(&gateway.user(1), PASSWORD);
    for listener in ["smtp", "submission"] {
        let mut clear = SmtpClient::connect(gateway.program.address(listener)?, Clear)?;
        ensure!(!clear.extensions.iter().any(|line| line.starts_with("AUTH")), "{:?}", clear.extensions);
        let reply = clear.command(&format!("AUTH PLAIN {response}"))?;
        assert_eq!(
            (reply.code, reply.lines[0].as_str()),
            (538, "5.7.11 Must issue a STARTTLS command first")
        );
    }
    let mut clear = Pop3Client::connect(gateway.program.address("pop3")?, Clear)?;
    for command in [format!("USER {}", gateway.user(1)), format!("AUTH PLAIN {response}")] {
        let refused = clear.command(&command).unwrap_err().to_string();
        ensure!(refused.contains("Use STLS first"), "{refused}");
    }
    for listener in ["smtp", "submission", "smtps"] {
        let mut client = gateway.smtp(listener)?;
        let offered = client.extensions.iter().find(|line| line.starts_with("AUTH "));
        assert_eq!(offered.map(String::as_str), Some("AUTH PLAIN LOGIN XOAUTH2 OAUTHBEARER"));
        assert_eq!(client.command("MAIL FROM:<anna@mail.test>")?.code, 250);
        let reply = client.command("RCPT TO:<bob@mail.test>")?;
        ensure!(reply.code == 550 || reply.code == 530, "{reply:?}");
    }
    Ok(())
}

/// Goal: tokens go through to a server that takes them, by both mechanisms; a wrong one is refused in the server's words.
#[test]
fn tokens_go_through() -> Result<()> {
    if !all(&["dovecot", "postconf", "python3"]) {
        return Ok(());
    }
    let provider = Provider::new()?;
    let oauth2 = OAuth2::Secret(b"a secret of the tests".to_vec());
    let mut dovecot = Dovecot::with(&provider.identity).user(USER, PASSWORD).oauth2(oauth2).start()?;
    dovecot.deliver(USER, &[awkward(1)])?;
    let postfix = provider.postfix(&dovecot, "")?;
    let gateway = provider.gateway("")?;
    let mail = Mail { from: "anna@mail.test", to: &["bob@mail.test"], content: b"Subject: x\r\n\r\nx\r\n" };
    let mut sending = gateway.account("submission", postfix.submission.port())?;
    let mut account = gateway.account("pop3", dovecot.pop3.port())?;
    for mechanism in ["XOAUTH2", "OAUTHBEARER"] {
        account.password = jwt(USER, "a secret of the tests")?;
        let fetched = thunderbird::fetch(&account, mechanism, 1, After::Keep, Flights::Each)
            .with_context(|| format!("{mechanism}\n{}\n{}", dovecot.log(), gateway.program.log()))?;
        assert_eq!(fetched.messages, [awkward(1)]);
        sending.password.clone_from(&account.password);
        smtplib::send(&sending, mechanism, mail)
            .with_context(|| format!("{mechanism}\n{}", postfix.log()))?;
        account.password = jwt(USER, "another secret")?;
        let refused = thunderbird::fetch(&account, mechanism, 1, After::Keep, Flights::Each);
        let refused = refused.unwrap_err().to_string();
        ensure!(refused.contains("-ERR [AUTH] "), "{mechanism}: {refused}");
        ensure!(!gateway.program.log().contains(&account.password), "a token in the log");
    }
    assert_eq!(postfix.received(2)?.len(), 2);
    assert_eq!(gateway.take()?.len(), 3, "one fetched, two sent");
    Ok(())
}
