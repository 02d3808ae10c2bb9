//! Cyrus IMAP, a second judge of the same.

use anyhow::{Context as _, Result};
use postern_archiver::sources::account::{Account as _, FolderId};
use postern_archiver::sources::imap::{ImapSource, Login, Mechanism};
use postern_archiver::sources::{ItemId, SourceError};
use postern_shared::proto::pop3::client::TlsStart::{Implicit, Stls};
use postern_tests::Security;
use postern_tests::clients::{Account, imaplib};
use postern_tests::foreign::has;
use postern_tests::upstream::cyrus::installed;
use postern_tests::upstream::{Authority, Cyrus};

use crate::{Kept, PASSWORD, Since, USER, awkward, limits, password, pull, settings, since, sorted};

fn start() -> Result<Option<(Authority, Cyrus)>> {
    if installed().is_none() || !["saslpasswd2", "python3"].into_iter().all(has) {
        return Ok(None);
    }
    let authority = Authority::new()?;
    let identity = authority.identity()?;
    let cyrus = Cyrus::start(&identity, &[(USER, PASSWORD), ("bob", "other")], ("proxy", "the proxy's"))?;
    Ok(Some((authority, cyrus)))
}

/// Goal: what was appended comes back octet for octet by every mechanism, both ways into TLS, with compression, and through
/// a proxy user; what changed meanwhile is told; what is ordered is deleted.
#[tokio::test]
async fn cyrus_gives_what_it_has() -> Result<()> {
    let Some((authority, cyrus)) = start()? else { return Ok(()) };
    let messages: Vec<_> = (0..20).map(awkward).collect();
    let account = Account::new(cyrus.imaps, Security::Implicit, USER, PASSWORD);
    let append = "must(M.create('Entw&APw-rfe'))\n\
        for message in messages: must(M.append('INBOX', '(\\\\Seen)', '\"17-Jul-1996 02:44:25 -0700\"', message))";
    imaplib::perform_with(&account, append, &messages)?;
    let by = |mechanism| Login { mechanism: Some(mechanism), ..password(USER, PASSWORD) };
    let acting = Login { act_as: Some(USER.into()), ..password("proxy", "the proxy's") };
    let mut after = None;
    for (tls, login, compress) in [
        (Implicit, by(Mechanism::Plain), false),
        (Implicit, by(Mechanism::Login), true),
        (Stls, by(Mechanism::ScramSha256), false),
        (Stls, acting, true),
    ] {
        let address = if tls == Implicit { cyrus.imaps } else { cyrus.imap };
        let mut settings = settings(address, tls, &authority.certificate(), login.clone());
        settings.compress = compress;
        let source = ImapSource::connect(&settings, limits()).await;
        let mut source = source.with_context(|| format!("{tls:?} {login:?}"))?;
        let folders = source.folders().await?;
        assert!(folders.iter().any(|folder| folder.path == ["Entwürfe"]), "{folders:#?}");
        let (kept, cursor) = pull(&mut source, "INBOX", None).await?;
        assert_eq!(kept.contents(), sorted(messages.clone()), "{tls:?} {login:?}");
        assert!(kept.whole.iter().all(|(item, _)| item.flags.contains(&"\\Seen".to_owned())));
        assert_eq!(kept.whole[0].0.internal_date.context("no date")?.rfc3339(), "1996-07-17T09:44:25Z");
        source.finish().await?;
        after = Some((cursor, kept));
    }
    let (cursor, kept) = after.context("nothing ran")?;
    let ids: Vec<ItemId> = kept.whole.iter().map(|(item, _)| item.id.clone()).collect();
    let change = "must(M.select()); must(M.store('2', '+FLAGS', '(\\\\Flagged)')); must(M.store('5', '+FLAGS', '(\\\\Deleted)'))\n\
        must(M.expunge()); must(M.append('INBOX', None, None, messages[0]))";
    imaplib::perform_with(&account, change, &[awkward(99)])?;
    changed(&authority, &cyrus, cursor, &ids).await?;

    let bad = settings(cyrus.imaps, Implicit, &authority.certificate(), password(USER, "wrong"));
    let refused = ImapSource::connect(&bad, limits()).await.map(drop).unwrap_err();
    assert!(matches!(refused, SourceError::Login { .. }), "{refused}");
    let bob = Login { act_as: Some(USER.into()), ..password("bob", "other") };
    let bad = settings(cyrus.imaps, Implicit, &authority.certificate(), bob);
    assert!(ImapSource::connect(&bad, limits()).await.is_err(), "bob may not act for others");
    Ok(())
}

async fn changed(
    authority: &Authority,
    cyrus: &Cyrus,
    after: postern_archiver::sources::Cursor,
    ids: &[ItemId],
) -> Result<()> {
    let settings = settings(cyrus.imaps, Implicit, &authority.certificate(), password(USER, PASSWORD));
    let mut source = ImapSource::connect(&settings, limits()).await?;
    let inbox = FolderId("INBOX".into());
    let Since { items, flags, vanished } = since(&mut source, &inbox, after).await?;
    assert_eq!((items.len(), flags.len()), (1, 1), "{flags:?}");
    assert!(flags[0].0 == ids[1] && flags[0].1.contains(&"\\Flagged".to_owned()));
    assert!(vanished.iter().any(|set| set.contains(&ids[4])));
    let mut kept = Kept::default();
    source.fetch(&inbox, &items, &mut kept).await?;
    assert_eq!(kept.contents(), [awkward(99)]);
    let deleted = source.delete(&inbox, &ids[..2]).await?;
    assert_eq!((deleted.deleted.len(), deleted.kept.len()), (2, 0));
    let (left, _) = pull(&mut source, "INBOX", None).await?;
    assert_eq!(left.whole.len(), 18);
    source.finish().await?;
    Ok(())
}
