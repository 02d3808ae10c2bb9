//! An account bound at a real OAuth provider, used by clients that know passwords only.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use postern_tests::clients::{Account, After, Mail, poplib, swaks};
use postern_tests::oauth_provider::{Client, Glewlwyd};
use postern_tests::provider::{Gateway, Provider};
use postern_tests::upstream::Dovecot;
use serde_json::Value;

use crate::{all, awkward};

/// Binds an account by a device code, typed in by its owner; the proxy password.
fn bind(gateway: &Gateway, provider: &Glewlwyd, user: &str) -> Result<String> {
    let mut command =
        gateway.program.command(&["--json", "oauth", "bind", user, "--provider", "sso", "--device"])?;
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut said = BufReader::new(child.stderr.take().context("no standard error")?);
    let mut all = String::new();
    let link = loop {
        let from = all.len();
        ensure!(said.read_line(&mut all)? > 0, "no link in:\n{all}");
        if let Some(link) = all[from..].strip_prefix("or open") {
            break link.trim().to_owned();
        }
    };
    provider.consent(Client::Secret, &link)?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "oauth bind failed");
    let bound: Value = serde_json::from_slice(&output.stdout)?;
    Ok(bound["password"].as_str().context("no password")?.to_owned())
}

/// Goal: a client that can do nothing but passwords sends and fetches with the proxy password, and what passes is recorded;
/// the gateway proves itself with a token. A wrong password is refused here, and the provider hears nothing of it; when the
/// consent is taken back, the client is told what to do.
/// Method: Glewlwyd, Dovecot that asks it about tokens, Postfix that asks Dovecot; poplib and swaks.
#[test]
fn a_password_opens_an_account_that_wants_tokens() -> Result<()> {
    if !all(&["dovecot", "postconf", "swaks", "python3"]) || !Glewlwyd::is_installed() {
        return Ok(());
    }
    let (provider, sso) = (Provider::new()?, Glewlwyd::start(&[])?);
    let setup =
        Dovecot::with(&provider.identity).user("anna", "which no client has").oauth2(sso.for_dovecot());
    let mut dovecot = setup.start()?;
    dovecot.deliver("anna", &[awkward(1)])?;
    let postfix = provider.postfix(&dovecot, "")?;
    let mut gateway = provider.gateway(&sso.settings(Client::Secret, ""))?;
    let password = bind(&gateway, &sso, &gateway.route("anna", "localhost"))?;
    let account = |gateway: &Gateway, listener: &str, port: u16| -> Result<Account> {
        let user = gateway.route("anna", &format!("localhost:{port}"));
        Ok(Account { user, password: password.clone(), ..gateway.account(listener, port)? })
    };
    let fetching = account(&gateway, "pop3s", dovecot.pop3s.port())?;
    let sending = account(&gateway, "submission", postfix.submission.port())?;
    let content = awkward(2);
    let mail = Mail { from: "anna@mail.test", to: &["bob@mail.test"], content: &content };

    let heard = sso.log().len();
    for password in ["wrong", "which no client has"] {
        let wrong = |account: &Account| Account { password: password.into(), ..account.clone() };
        for refused in [
            poplib::fetch(&wrong(&fetching), After::Keep).unwrap_err().to_string(),
            swaks::send(&wrong(&sending), mail, &[]).unwrap_err().to_string(),
        ] {
            ensure!(refused.contains("wants the proxy password"), "{refused}");
        }
    }
    assert_eq!(sso.log().len(), heard, "the provider was asked: {}", &sso.log()[heard..]);

    let logs = || format!("{}\n{}\n{}", dovecot.log(), sso.log(), gateway.program.log());
    let fetched = poplib::fetch(&fetching, After::Keep).map_err(|error| error.context(logs()))?;
    assert_eq!(fetched, [awkward(1)]);
    swaks::send(&sending, mail, &[]).with_context(logs)?;
    assert!(postfix.received(1)?.iter().map(|one| &one.content).eq([&content]));
    let copies = gateway.take()?;
    assert!(copies.iter().map(|copy| &copy.content).eq([&awkward(1), &content]));
    assert!(copies.iter().all(|copy| copy.account() == "anna%localhost"));
    for secret in [&password, "shared-with-the-gateway"] {
        ensure!(!gateway.program.log().contains(secret), "a secret in the log");
    }

    sso.take_back()?;
    gateway.program.stop()?;
    gateway.program.start()?;
    // Glewlwyd gives no reason, so the client is to come again, and the operator is told what to do.
    let fetching = account(&gateway, "pop3s", dovecot.pop3s.port())?;
    let refused = poplib::fetch(&fetching, After::Keep).unwrap_err().to_string();
    ensure!(refused.contains("-ERR [SYS/TEMP] your provider gives the gateway no access token"), "{refused}");
    let sending = account(&gateway, "submission", postfix.submission.port())?;
    let refused = swaks::send(&sending, mail, &[]).unwrap_err().to_string();
    ensure!(refused.contains("454 4.7.0 your provider gives the gateway no access token"), "{refused}");
    ensure!(
        gateway
            .program
            .log()
            .contains("run `postern-gateway oauth bind anna%localhost --provider sso` again")
    );
    Ok(())
}
