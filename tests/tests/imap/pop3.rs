//! POP3 from Dovecot and Cyrus.

use anyhow::{Context as _, Result};
use postern_archiver::sources::Cursor;
use postern_archiver::sources::account::{Account as _, FolderId};
use postern_archiver::sources::pop3::{Limits, Pop3Source, Settings};
use postern_shared::proto::pop3::client::TlsStart::{Implicit, Stls};
use postern_shared::proto::sasl::{BearerCredentials, Credentials, Mechanism, PlainCredentials};
use postern_shared::tls::client::Trust;
use postern_tests::foreign::has;
use postern_tests::jwt;
use postern_tests::upstream::{Authority, Cyrus, Dovecot, OAuth2, cyrus};

use crate::{Kept, PASSWORD, USER, awkward, sorted};

const SECRET: &str = "a secret of the tests";

fn by_password() -> Credentials {
    PlainCredentials { user: USER.into(), password: PASSWORD.to_owned().into() }.into()
}

async fn pull(settings: &Settings, after: Option<&Cursor>) -> Result<(Kept, Cursor, Pop3Source)> {
    let mut source = Pop3Source::connect(settings, Limits::default()).await?;
    let inbox = FolderId("INBOX".into());
    let changes = source.changes(&inbox, after).await?;
    let mut kept = Kept::default();
    source.fetch(&inbox, &changes.items, &mut kept).await?;
    Ok((kept, changes.cursor, source))
}

/// Goal: what was delivered comes back by every mechanism and both ways into TLS; the next run brings what is new alone; what
/// is ordered is deleted at the end, and nothing else.
#[tokio::test]
async fn dovecots_maildrop_is_pulled() -> Result<()> {
    if !["dovecot", "openssl", "python3"].into_iter().all(has) {
        return Ok(());
    }
    let authority = Authority::new()?;
    let identity = authority.identity()?;
    let oauth2 = OAuth2::Secret(SECRET.into());
    let mut dovecot = Dovecot::with(&identity).user(USER, PASSWORD).oauth2(oauth2).start()?;
    let delivered: Vec<_> = (0..10).map(awkward).collect();
    dovecot.deliver(USER, &delivered)?;
    let token = || -> Result<Credentials> {
        Ok(Credentials::Bearer(BearerCredentials { user: USER.into(), token: jwt(USER, SECRET)?.into() }))
    };
    let settings = |tls, credentials, mechanism| Settings {
        host: "localhost".into(),
        port: if tls == Implicit { dovecot.pop3s.port() } else { dovecot.pop3.port() },
        tls,
        trust: Trust::Authorities(authority.certificate()),
        credentials,
        mechanism,
    };
    for (tls, credentials, mechanism) in [
        (Implicit, by_password(), None),
        (Stls, by_password(), Some(Mechanism::Plain)),
        (Stls, by_password(), Some(Mechanism::Login)),
        (Implicit, token()?, Some(Mechanism::XOAuth2)),
        (Stls, token()?, Some(Mechanism::OAuthBearer)),
    ] {
        let settings = settings(tls, credentials, mechanism);
        let pulled = pull(&settings, None).await;
        let (kept, _, source) = pulled.with_context(|| format!("{mechanism:?}\n{}", dovecot.log()))?;
        assert_eq!(kept.contents(), sorted(delivered.clone()), "{mechanism:?}");
        source.finish().await?;
    }
    let settings = settings(Implicit, by_password(), None);
    let (first, cursor, mut source) = pull(&settings, None).await?;
    let ids: Vec<_> = first.whole[..3].iter().map(|(item, _)| item.id.clone()).collect();
    assert!(source.delete(&FolderId("INBOX".into()), &ids).await?.kept.is_empty());
    assert_eq!(source.finish().await?.deleted, ids);
    assert_eq!(
        sorted(dovecot.messages(USER)?),
        sorted(first.whole[3..].iter().map(|(_, one)| one.clone()).collect())
    );

    dovecot.deliver(USER, &[awkward(77)])?;
    let settings = Settings { port: dovecot.pop3s.port(), ..settings };
    let (second, _, source) = pull(&settings, Some(&cursor)).await?;
    assert_eq!(second.contents(), [awkward(77)]);
    source.finish().await?;
    Ok(())
}

#[tokio::test]
async fn cyruss_maildrop_is_pulled() -> Result<()> {
    if cyrus::installed().is_none() || !["saslpasswd2", "python3"].into_iter().all(has) {
        return Ok(());
    }
    let authority = Authority::new()?;
    let cyrus = Cyrus::start(&authority.identity()?, &[(USER, PASSWORD)], ("proxy", "x"))?;
    let account =
        postern_tests::clients::Account::new(cyrus.imaps, postern_tests::Security::Implicit, USER, PASSWORD);
    let append = "for message in messages: must(M.append('INBOX', None, None, message))";
    postern_tests::clients::imaplib::perform_with(&account, append, &[awkward(1), awkward(2)])?;
    let settings = Settings {
        host: "localhost".into(),
        port: cyrus.pop3s.port(),
        tls: Implicit,
        trust: Trust::Authorities(authority.certificate()),
        credentials: by_password(),
        mechanism: None,
    };
    let (kept, cursor, source) = pull(&settings, None).await?;
    assert_eq!(kept.contents(), sorted(vec![awkward(1), awkward(2)]));
    source.finish().await?;
    let (again, same, source) = pull(&settings, Some(&cursor)).await?;
    assert!(again.whole.is_empty() && same == cursor);
    source.finish().await?;
    Ok(())
}
