//! Dovecot, and what fetches mail.

use anyhow::{Context as _, Result};
use postern_tests::Security::{self, Implicit, StartTls};
use postern_tests::clients::thunderbird::{self, Flights};
use postern_tests::clients::{Account, After, Trust, fetchmail, getmail, mpop, poplib};
use postern_tests::jwt;
use postern_tests::pop3::Pop3Client;
use postern_tests::upstream::{Authority, Dovecot, OAuth2};

use crate::{PASSWORD, USER, all, awkward};

fn account(dovecot: &Dovecot, security: Security, trust: Trust) -> Account {
    let address = if security == Implicit { dovecot.pop3s } else { dovecot.pop3 };
    Account::new(address, security, USER, PASSWORD).trusting(trust)
}

fn sorted(mut messages: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    messages.sort();
    messages
}

/// Goal: every client that fetches gets what was delivered, over both ways into TLS and with every kind of trust it has.
#[test]
fn every_client_fetches_what_was_delivered() -> Result<()> {
    if !all(&["dovecot", "mpop", "fetchmail", "getmail", "python3", "openssl"]) {
        return Ok(());
    }
    let authority = Authority::new()?;
    let identity = authority.identity()?;
    let mut dovecot = Dovecot::with(&identity).user(USER, PASSWORD).start()?;
    let delivered = [awkward(1), awkward(2), awkward(3)];
    dovecot.deliver(USER, &delivered)?;
    let delivered = sorted(delivered.to_vec());
    let trusts = [Trust::Any, Trust::from(&authority), Trust::Pinned(identity.fingerprint()?)];
    for security in [StartTls, Implicit] {
        for trust in &trusts {
            let account = account(&dovecot, security, trust.clone());
            let check = |client: &str, fetched: Result<Vec<Vec<u8>>>| -> Result<()> {
                let fetched = fetched.with_context(|| format!("{client}, {security:?}, {trust:?}"))?;
                let shown: Vec<_> = fetched.iter().map(|one| String::from_utf8_lossy(one)).collect();
                assert!(
                    sorted(fetched.clone()) == delivered,
                    "{client}, {security:?}, {trust:?}: {shown:#?}"
                );
                Ok(())
            };
            check("poplib", poplib::fetch(&account, After::Keep))?;
            check("mpop", mpop::fetch(&account, After::Keep))?;
            if !matches!(trust, Trust::Pinned(_)) {
                check("fetchmail", fetchmail::fetch(&account, After::Keep))?;
            }
            if security == Implicit {
                check("getmail", getmail::fetch(&account, After::Keep))?;
            }
            for flights in [Flights::Each, Flights::One] {
                let fetched = thunderbird::fetch(&account, "PLAIN", 3, After::Keep, flights);
                check("thunderbird", fetched.map(|fetched| fetched.messages))?;
            }
        }
    }
    Ok(())
}

type Fetch = fn(&Account, After) -> Result<Vec<Vec<u8>>>;

/// Goal: what a client deletes is gone, which [`Dovecot::messages`] shows.
#[test]
fn every_client_deletes_when_told_to() -> Result<()> {
    if !all(&["dovecot", "mpop", "fetchmail", "getmail", "python3"]) {
        return Ok(());
    }
    let authority = Authority::new()?;
    let identity = authority.identity()?;
    let mut dovecot = Dovecot::with(&identity).user(USER, PASSWORD).start()?;
    let account = account(&dovecot, Implicit, Trust::Any);
    let clients: [Fetch; 5] =
        [poplib::fetch, mpop::fetch, fetchmail::fetch, getmail::fetch, |account, after| {
            Ok(thunderbird::fetch(account, "PLAIN", 2, after, Flights::One)?.messages)
        }];
    for (number, fetch) in clients.into_iter().enumerate() {
        let delivered = [awkward(2 * number), awkward(2 * number + 1)];
        dovecot.deliver(USER, &delivered)?;
        assert_eq!(dovecot.messages(USER)?, delivered, "client {number}");
        assert_eq!(fetch(&account, After::Delete)?.len(), 2, "client {number}");
        assert_eq!(dovecot.messages(USER)?, [[0; 0]; 0], "client {number}");
    }
    Ok(())
}

/// Goal: a wrong password lets nobody in.
#[test]
fn dovecot_refuses_wrong_passwords() -> Result<()> {
    if !all(&["dovecot", "python3"]) {
        return Ok(());
    }
    let authority = Authority::new()?;
    let identity = authority.identity()?;
    let dovecot = Dovecot::with(&identity).user(USER, PASSWORD).start()?;
    let mut wrong = account(&dovecot, Implicit, Trust::Any);
    wrong.password.push('x');
    let refused = poplib::fetch(&wrong, After::Keep).unwrap_err();
    assert!(refused.to_string().contains("[AUTH]"), "{refused}");
    Ok(())
}

/// Goal: settings behind ours win.
#[test]
fn the_uidl_format_is_the_tests_choice() -> Result<()> {
    if !all(&["dovecot"]) {
        return Ok(());
    }
    let authority = Authority::new()?;
    let identity = authority.identity()?;
    let mut dovecot =
        Dovecot::with(&identity).user(USER, PASSWORD).with("pop3_uidl_format = uid-%u").start()?;
    dovecot.deliver(USER, &[awkward(1)])?;
    let mut client = Pop3Client::login(dovecot.pop3s, Implicit, USER, PASSWORD)?;
    assert_eq!(client.lines("UIDL")?, ["1 uid-1"]);
    client.quit()
}

/// Goal: tokens let their user in by XOAUTH2 and OAUTHBEARER, and a wrong one lets nobody in.
/// Method: JWTs made here with openssl, checked by Dovecot itself.
#[test]
fn tokens_open_the_maildrop_of_their_user() -> Result<()> {
    if !all(&["dovecot", "python3", "openssl"]) {
        return Ok(());
    }
    let authority = Authority::new()?;
    let identity = authority.identity()?;
    let oauth2 = OAuth2::Secret(b"a secret of the tests".to_vec());
    let mut dovecot = Dovecot::with(&identity).user(USER, PASSWORD).oauth2(oauth2).start()?;
    dovecot.deliver(USER, &[awkward(1)])?;
    let mut account = account(&dovecot, StartTls, Trust::Any);
    for (secret, lets_in) in [("a secret of the tests", true), ("another secret", false)] {
        account.password = jwt(USER, secret)?;
        for mechanism in ["XOAUTH2", "OAUTHBEARER"] {
            let fetched = thunderbird::fetch(&account, mechanism, 1, After::Keep, Flights::Each);
            if lets_in {
                let fetched = fetched.with_context(|| dovecot.log())?;
                assert_eq!(fetched.messages, [awkward(1)], "{mechanism}");
            } else {
                assert!(fetched.is_err(), "{mechanism}");
            }
        }
    }
    account.password = PASSWORD.to_owned();
    thunderbird::fetch(&account, "PLAIN", 1, After::Keep, Flights::Each)?;
    Ok(())
}
