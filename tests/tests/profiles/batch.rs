//! Many accounts, and one for everybody.

use anyhow::{Context as _, Result};
use postern_tests::messages;
use serde_json::{Value, json};

use crate::{Archive, PASSWORD, USER, awkward, dovecot, imap_profile, meanwhile};

const APPEND: &str = "for message in messages: must(M.append('INBOX', None, None, message))";

/// Goal: a master user, both ways, and each with a password of their own fill every user's archive; one account that refuses
/// does not stop the others, and what belongs to nobody goes to "unassigned".
#[tokio::test]
async fn a_batch_fills_everybodys_archive() -> Result<()> {
    let Some((authority, server)) = dovecot(|setup| {
        setup.user("bob", "bobs own").user("carol", "carols own").master("master", "the master's")
    })?
    else {
        return Ok(());
    };
    for (number, (user, password)) in
        [(USER, PASSWORD), ("bob", "bobs own"), ("carol", "carols own")].into_iter().enumerate()
    {
        meanwhile(&server, user, password, APPEND, &[awkward(number)])?;
    }
    let known = [("anna", "anna@mail.test"), ("robert", "bob@mail.test")];
    let by_account = json!({ "mode": "account", "user": null });
    let master = |more: Value| {
        let mut source = json!({ "master": { "username": "master", "password": "the master's" } });
        crate::merge(&mut source, &more);
        json!({ "source": source, "assign": { "mode": "account" } })
    };
    let without_user = |mut more: Value| {
        more["assign"] = by_account.clone();
        more
    };
    let each = json!({ "source": { "account": [
        { "username": USER, "password": PASSWORD, "address": "Anna@mail.test" },
        { "username": "bob", "password": "bobs own", "address": "bob@mail.test" },
        { "username": "carol", "password": "carols own" },
    ] } });
    for (more, unassigned) in [
        (master(json!({ "accounts": "users", "account_name": "local-part" })), 0),
        (
            master(
                json!({ "accounts": "users", "account_name": "local-part", "master": { "separator": "*" } }),
            ),
            0,
        ),
        (each, 1),
    ] {
        let archive = Archive::new(&known)?;
        let profile = imap_profile(&authority, &server, &without_user(more))?;
        let ran = archive.run(&profile).await.with_context(|| server.log())?;
        assert_eq!((ran.archived, ran.accounts_failed), (2 + unassigned, 0), "{ran:?}");
        assert_eq!(archive.contents("anna", "INBOX")?, [awkward(0)]);
        assert_eq!(archive.contents("robert", "INBOX")?, [awkward(1)]);
        if unassigned == 1 {
            assert_eq!(archive.contents("unassigned", "carol/INBOX")?, [awkward(2)]);
        }
        assert_eq!(ran.accounts.len() as u64, 2 + unassigned);
    }
    let archive = Archive::new(&known)?;
    let some = json!({ "source": { "account": [
        { "username": "bob", "password": "wrong", "address": "bob@mail.test" },
        { "username": USER, "password": PASSWORD, "address": "anna@mail.test" },
    ] } });
    let ran = archive.run(&imap_profile(&authority, &server, &without_user(some))?).await?;
    assert_eq!((ran.archived, ran.accounts_failed), (1, 1), "{ran:?}");
    assert!(ran.accounts[0].error.as_ref().is_some_and(|error| error.contains("refuses the login of bob")));
    Ok(())
}

/// Goal: an account that gets everybody's mail fills the archives of all internal participants by the best evidence there is,
/// journal reports unwrapped; what is nobody's is kept too. What a stranger wrote as a gateway's fields is not believed.
#[tokio::test]
async fn multidrop_mail_goes_to_every_participant() -> Result<()> {
    let Some((authority, server)) = dovecot(|setup| setup)? else { return Ok(()) };
    let plain = |from: &str, to: &str| messages::plain(1, from, to, "multidrop", "x");
    let original = plain("anna@mail.test", "list@mail.test");
    let report = messages::journal_report("anna@mail.test", &["To: bob@mail.test"], "multidrop", &original);
    let delivered =
        [&b"Delivered-To: bob@mail.test\r\n"[..], &plain("x@else.test", "all@mail.test")].concat();
    let forged =
        [&b"X-Postern-Recipients: anna@mail.test\r\n"[..], &plain("x@else.test", "y@else.test")].concat();
    meanwhile(&server, USER, PASSWORD, APPEND, &[report, delivered.clone(), forged.clone()])?;
    let archive = Archive::new(&[("anna", "anna@mail.test"), ("bob", "bob@mail.test")])?;
    let mut multidrop = json!({ "assign": { "mode": "envelope" } });
    multidrop["assign"]["user"] = Value::Null;
    let ran = archive.run(&imap_profile(&authority, &server, &multidrop)?).await?;
    assert_eq!((ran.archived, ran.failed), (3, 0), "{ran:?}");
    assert_eq!(archive.contents("anna", "Journal/Outgoing")?, std::slice::from_ref(&original));
    assert_eq!(archive.contents("bob", "Journal/Incoming")?, [original, delivered]);
    assert_eq!(archive.contents("unassigned", "Journal")?, [forged]);
    Ok(())
}
