//! Who is let in, and what is said to those who are not.

use anyhow::Result;
use postern_archiver::sources::ews::auth::ClientCredentials;
use postern_archiver::sources::ews::{Access, Common, EwsAccount, Login, Settings};
use postern_archiver::sources::{Account as _, SourceError};
use postern_shared::proto::sasl::PlainCredentials;
use postern_shared::tls::client::Trust;
use postern_tests::ews::{CLIENT_SECRET, Exchange, Fault, PASSWORD, USER, Wants};

use crate::{ANNA, awkward, connect, inbox, limits, pull, sorted};

fn password(user: &str, password: &str) -> PlainCredentials {
    PlainCredentials { user: user.into(), password: password.to_owned().into() }
}

async fn refused(settings: &Settings) -> SourceError {
    EwsAccount::connect(settings, ANNA, limits()).await.err().expect("it is refused")
}

/// Goal: NTLM logs a connection in, with the hash of the certificate where the server wants that; a connection that broke is
/// logged in again; one login serves a whole run.
#[tokio::test]
async fn ntlm_logs_in() -> Result<()> {
    for bound in [false, true] {
        let exchange = Exchange::start(Wants::Ntlm(bound))?;
        let folder = exchange.store().inbox(ANNA);
        let messages: Vec<_> = (0..9).map(awkward).collect();
        messages.iter().for_each(|message| drop(exchange.store().deliver(&folder, message)));
        let mut account = connect(&exchange.settings()).await?;
        let inbox = inbox(&mut account).await?;
        assert_eq!(exchange.connections(), 1);
        exchange.fail("SyncFolderItems", Fault::Cut(100));
        exchange.fail("GetItem", Fault::Cut(100));
        let (kept, ..) = pull(&mut account, &inbox, None).await?;
        assert_eq!(kept.contents(), sorted(messages));
        assert_eq!(exchange.connections(), 3);
        exchange.judged()?;
    }
    Ok(())
}

#[tokio::test]
async fn wrong_passwords_are_refused_in_words() -> Result<()> {
    for (wants, scheme) in [(Wants::Basic, "Basic"), (Wants::Ntlm(true), "NTLM")] {
        let exchange = Exchange::start(wants)?;
        for (user, word) in [(USER, "wrong"), ("nobody", PASSWORD)] {
            let mut settings = exchange.settings();
            settings.login = match wants {
                Wants::Basic => Login::Basic(password(user, word)),
                _ => Login::Ntlm(password(user, word)),
            };
            let error = refused(&settings).await;
            assert!(matches!(error, SourceError::Login { .. }), "{error}");
            let expected = format!("refuses the login of {user}: HTTP status 401 (by {scheme})");
            assert!(error.to_string().contains(&expected), "{error}");
            assert!(!error.is_temporary());
        }
    }
    let exchange = Exchange::start(Wants::Ntlm(false))?;
    let mut settings = exchange.settings();
    settings.login = Login::Basic(password(USER, PASSWORD));
    let error = refused(&settings).await.to_string();
    assert!(error.contains("takes no login by Basic here; it offers Negotiate, NTLM"), "{error}");
    let exchange = Exchange::start(Wants::Basic)?;
    let mut settings = exchange.settings();
    settings.login = Login::Ntlm(password(USER, PASSWORD));
    let error = refused(&settings).await.to_string();
    assert!(error.contains("takes no login by NTLM here; it offers Basic"), "{error}");
    Ok(())
}

/// Goal: an application gets tokens for itself, and a new one when the old one is not taken any more.
#[tokio::test]
async fn tokens_are_fetched_and_renewed() -> Result<()> {
    let exchange = Exchange::start(Wants::Bearer)?;
    let folder = exchange.store().inbox(ANNA);
    exchange.store().deliver(&folder, b"x\r\n");
    let client = ClientCredentials {
        endpoint: exchange.at("/token").parse()?,
        client_id: "archive".into(),
        client_secret: CLIENT_SECRET.to_owned().into(),
        scope: Some("https://127.0.0.1/.default".into()),
        resource: None,
        trust: exchange.trust(),
    };
    let mut settings = exchange.settings();
    settings.login = Login::ClientCredentials(client.clone());
    let mut account = connect(&settings).await?;
    let inbox = inbox(&mut account).await?;
    assert_eq!(exchange.asked("token"), 1);
    exchange.forget_tokens();
    let (kept, ..) = pull(&mut account, &inbox, None).await?;
    assert_eq!((kept.whole.len(), exchange.asked("token")), (1, 2));
    let wrong = ClientCredentials { client_secret: "wrong".to_owned().into(), ..client };
    settings.login = Login::ClientCredentials(wrong);
    // Another login has nothing in common with the first one.
    settings.common = Common::default();
    let error = refused(&settings).await.to_string();
    assert!(error.contains("gives no access token: invalid_client: AADSTS7000215"), "{error}");
    settings.login = Login::Bearer("no token".to_owned().into());
    let error = refused(&settings).await.to_string();
    assert!(error.contains("refuses the login of the access token"), "{error}");
    Ok(())
}

/// Goal: who lacks the right to act for others learns which one to grant.
#[tokio::test]
async fn a_missing_right_is_named() -> Result<()> {
    let exchange = Exchange::start(Wants::Basic)?;
    exchange.impersonates(false);
    let error = refused(&exchange.settings()).await.to_string();
    for words in [
        "svc-archive@example.com may not act for anna@example.com (ErrorImpersonateUserDenied",
        "New-ManagementRoleAssignment -Name Postern -Role ApplicationImpersonation -User svc-archive@example.com",
    ] {
        assert!(error.contains(words), "{error}");
    }
    exchange.impersonates(true);
    let nobody = EwsAccount::connect(&exchange.settings(), "nobody@example.com", limits()).await;
    let error = nobody.err().expect("there is no such mailbox").to_string();
    assert!(error.contains("ErrorNonExistentMailbox"), "{error}");
    Ok(())
}

/// Goal: an account that is taken for the mailbox's own and is not never has its own mail read in place of the mailbox's.
#[tokio::test]
async fn the_logins_own_mail_is_not_taken_for_anothers() -> Result<()> {
    let exchange = Exchange::start(Wants::Basic)?;
    exchange.store().mailbox(USER);
    let secret = exchange.store().inbox(USER);
    exchange.store().deliver(&secret, b"the service account's");
    exchange.has_access(false);
    let mut settings = exchange.settings();
    settings.access = Access::Own;
    let error = refused(&settings).await.to_string();
    assert!(error.contains("ErrorFolderNotFound"), "{error}");
    let mut own = EwsAccount::connect(&settings, USER, limits()).await?;
    let inbox = inbox(&mut own).await?;
    let (kept, ..) = pull(&mut own, &inbox, None).await?;
    assert_eq!(kept.contents(), [b"the service account's".to_vec()]);
    exchange.judged()?;
    Ok(())
}

/// Goal: no password goes to a server whose certificate is not trusted, nor to Exchange Online.
#[tokio::test]
async fn strangers_learn_nothing() -> Result<()> {
    let exchange = Exchange::start(Wants::Basic)?;
    let mut settings = exchange.settings();
    settings.trust = Trust::System;
    let error = refused(&settings).await;
    // A machine without authorities trusts nobody either.
    assert!(matches!(error, SourceError::NotTrusted { .. } | SourceError::Trust(_)), "{error}");
    assert_eq!(exchange.connections(), 0);
    for host in ["outlook.office365.com", "outlook.office.com", "partner.outlook.cn"] {
        settings.server =
            postern_archiver::sources::ews::Server::Url(format!("https://{host}/EWS/Exchange.asmx").parse()?);
        let error = refused(&settings).await.to_string();
        assert!(error.contains("blocks EWS since October 2026") && error.contains("journal"), "{error}");
    }
    let older = Exchange::start(Wants::Basic)?;
    older.is_version(14, 3);
    let mut account = connect(&older.settings()).await?;
    account.folders().await?;
    assert!(older.spoken().iter().all(|text| !text.contains("Version=\"Exchange2013\"")));
    older.judged()?;
    Ok(())
}
