//! POP3 accounts.

use anyhow::Result;
use postern_archiver::profiles::Profile;
use postern_tests::foreign::has;
use postern_tests::upstream::{Authority, Dovecot, cyrus};
use serde_json::{Value, json};

use crate::{Archive, PASSWORD, USER, awkward, merge, numbered, server, sorted};

fn profile(authority: &Authority, port: u16, more: &Value) -> Result<Profile> {
    let mut profile = json!({
        "name": "mail",
        "source": server("pop3", port, &authority.certificate()),
        "assign": { "mode": "user", "user": "anna" },
    });
    merge(&mut profile, &json!({ "source": { "username": USER, "password": PASSWORD } }));
    merge(&mut profile, more);
    Ok(Profile::from_json(profile)?)
}

/// Goal: what is delivered is archived once; what is new comes alone; what is to be deleted is gone after the run.
#[tokio::test]
async fn a_maildrop_is_pulled_once_and_emptied_on_order() -> Result<()> {
    if !["dovecot", "openssl"].into_iter().all(has) {
        return Ok(());
    }
    let authority = Authority::new()?;
    let mut dovecot = Dovecot::with(&authority.identity()?).user(USER, PASSWORD).start()?;
    dovecot.deliver(USER, &numbered(0..300))?;
    let archive = Archive::new(&[("anna", "anna@mail.test")])?;
    let keeps = profile(&authority, dovecot.pop3s.port(), &json!({}))?;
    assert_eq!(archive.run(&keeps).await?.archived, 300);
    dovecot.deliver(USER, &[awkward(400)])?;
    let ran = archive.run(&keeps).await?;
    assert_eq!((ran.archived, ran.duplicates), (1, 0), "{ran:?}");
    let empties = json!({ "name": "empties", "after": { "delete": true } });
    let empties = profile(&authority, dovecot.pop3s.port(), &empties)?;
    let ran = archive.run(&empties).await?;
    assert_eq!((ran.duplicates, ran.deleted_at_source, ran.pending_deletions), (301, 301, 0), "{ran:?}");
    assert_eq!(dovecot.messages(USER)?.len(), 0);
    assert_eq!(sorted(archive.contents("anna", "INBOX")?), numbered((0..300).chain([400])));
    Ok(())
}

/// Goal: unique-ids that several messages share, or that a later message gets again, hide no message.
/// Method: a Dovecot that gives the same unique-id to all.
#[tokio::test]
async fn unique_ids_that_are_used_again_hide_nothing() -> Result<()> {
    if !["dovecot", "openssl"].into_iter().all(has) {
        return Ok(());
    }
    let authority = Authority::new()?;
    let identity = authority.identity()?;
    let setup = Dovecot::with(&identity).user(USER, PASSWORD).user("bob", "bobs own");
    let mut dovecot = setup.with("pop3_uidl_format = %08Xv").start()?;
    let archive = Archive::new(&[("anna", "anna@mail.test")])?;
    let shared = profile(&authority, dovecot.pop3s.port(), &json!({}))?;
    dovecot.deliver(USER, &numbered(0..3))?;
    assert_eq!(archive.run(&shared).await?.archived, 3);
    dovecot.deliver(USER, &[awkward(3)])?;
    let ran = archive.run(&shared).await?;
    assert_eq!((ran.archived, ran.failed), (1, 0), "{ran:?}");

    let bob = json!({ "name": "bob", "source": { "username": "bob", "password": "bobs own" }, "after": { "delete": true } });
    let again = profile(&authority, dovecot.pop3s.port(), &bob)?;
    for number in 10..13 {
        dovecot.deliver("bob", &[awkward(number)])?;
        let ran = archive.run(&again).await?;
        assert_eq!((ran.archived, ran.deleted_at_source), (1, 1), "{ran:?}");
    }
    assert_eq!(sorted(archive.contents("anna", "INBOX")?), numbered((0..4).chain(10..13)));
    Ok(())
}

/// Goal: a second server's IMAP and POP3, the former through a proxy user, fill one archive without doubles.
#[tokio::test]
async fn cyrus_is_pulled_by_both_protocols() -> Result<()> {
    if cyrus::installed().is_none() || !["saslpasswd2", "python3"].into_iter().all(has) {
        return Ok(());
    }
    let authority = Authority::new()?;
    let proxy = ("proxy", "the proxy's");
    let cyrus = postern_tests::upstream::Cyrus::start(&authority.identity()?, &[(USER, PASSWORD)], proxy)?;
    let account =
        postern_tests::clients::Account::new(cyrus.imaps, postern_tests::Security::Implicit, USER, PASSWORD);
    let fill = "for message in messages: must(M.append('INBOX', '(\\\\Seen)', None, message))";
    postern_tests::clients::imaplib::perform_with(&account, fill, &numbered(0..50))?;
    let archive = Archive::new(&[("anna", "anna@mail.test")])?;
    let over_imap = json!({
        "name": "imap",
        "source": server("imap", cyrus.imaps.port(), &authority.certificate()),
        "assign": { "mode": "user", "user": "anna" },
    });
    let mut by_proxy = over_imap;
    let master = json!({ "accounts": [USER], "master": { "username": proxy.0, "password": proxy.1 } });
    merge(&mut by_proxy, &json!({ "source": master }));
    assert_eq!(archive.run(&Profile::from_json(by_proxy)?).await?.archived, 50);
    let ran = archive.run(&profile(&authority, cyrus.pop3s.port(), &json!({}))?).await?;
    assert_eq!((ran.archived, ran.duplicates), (0, 50), "{ran:?}");
    assert_eq!(sorted(archive.contents("anna", "INBOX")?), numbered(0..50));
    Ok(())
}
