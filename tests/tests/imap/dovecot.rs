//! Dovecot.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use postern_archiver::sources::account::{Account as _, FolderId, Role, Woken};
use postern_archiver::sources::imap::{ImapSource, Limits, Login, Mechanism};
use postern_archiver::sources::{ItemId, SourceError};
use postern_shared::proto::pop3::client::TlsStart::{self, Implicit, Stls};
use postern_shared::proto::sasl::{BearerCredentials, Credentials};
use postern_shared::tls::client::Trust;
use postern_tests::Security;
use postern_tests::clients::{Account, imaplib};
use postern_tests::foreign::has;
use postern_tests::jwt;
use postern_tests::upstream::{Authority, Dovecot, OAuth2};

use crate::{Kept, PASSWORD, Since, USER, awkward, limits, password, pull, settings, since, sorted};

const SECRET: &str = "a secret of the tests";

struct Server {
    authority: Authority,
    dovecot: Dovecot,
}

impl Server {
    fn start() -> Result<Option<Self>> {
        if !["dovecot", "openssl", "python3"].into_iter().all(has) {
            return Ok(None);
        }
        let authority = Authority::new()?;
        let identity = authority.identity()?;
        let setup = Dovecot::with(&identity).user(USER, PASSWORD).user("bob", "other").imap();
        let setup = setup.master("master", "the master's").oauth2(OAuth2::Secret(SECRET.into()));
        // Other clients append hundreds of messages here.
        let setup = setup.with("mail_fsync = never");
        Ok(Some(Self { dovecot: setup.start()?, authority }))
    }

    fn settings(&self, tls: TlsStart, login: Login) -> postern_archiver::sources::imap::Settings {
        let (imap, imaps) = self.dovecot.imap.expect("it was asked for");
        let address = if tls == Implicit { imaps } else { imap };
        settings(address, tls, &self.authority.certificate(), login)
    }

    async fn connect(&self) -> Result<ImapSource> {
        let settings = self.settings(Implicit, password(USER, PASSWORD));
        ImapSource::connect(&settings, limits()).await.with_context(|| self.dovecot.log())
    }

    /// What another client does meanwhile.
    fn meanwhile(&self, script: &str, messages: &[Vec<u8>]) -> Result<()> {
        let (_, imaps) = self.dovecot.imap.context("no IMAP")?;
        imaplib::perform_with(&Account::new(imaps, Security::Implicit, USER, PASSWORD), script, messages)
    }
}

const APPEND: &str = "for message in messages: must(M.append('INBOX', '(\\\\Seen)', '\"17-Jul-1996 02:44:25 -0700\"', message))";

/// Goal: what was appended comes back octet for octet, with flags and date, by every way into TLS and with compression, in
/// pages and batches of any size; the next run brings nothing.
#[tokio::test]
async fn what_was_appended_comes_back() -> Result<()> {
    let Some(server) = Server::start()? else { return Ok(()) };
    let messages: Vec<_> = (0..30).map(awkward).collect();
    server.meanwhile(APPEND, &messages)?;
    for (tls, compress) in [(Implicit, false), (Stls, false), (Implicit, true), (Stls, true)] {
        let mut settings = server.settings(tls, password(USER, PASSWORD));
        settings.compress = compress;
        let mut source =
            ImapSource::connect(&settings, limits()).await.with_context(|| server.dovecot.log())?;
        let (kept, cursor) = pull(&mut source, "INBOX", None).await?;
        assert_eq!(kept.contents(), sorted(messages.clone()), "{tls:?} {compress}");
        assert!(kept.missing.is_empty());
        for (item, _) in &kept.whole {
            assert!(item.flags.contains(&"\\Seen".to_owned()), "{item:?}");
            assert_eq!(item.internal_date.context("no date")?.rfc3339(), "1996-07-17T09:44:25Z");
        }
        let (again, same) = pull(&mut source, "INBOX", Some(cursor.clone())).await?;
        assert!(again.whole.is_empty() && same == cursor);
        source.finish().await?;
    }
    Ok(())
}

/// Goal: every mechanism lets in who may, and nobody else; a master user reads another's mail both ways.
#[tokio::test]
async fn every_mechanism_lets_in_who_may() -> Result<()> {
    let Some(server) = Server::start()? else { return Ok(()) };
    server.meanwhile(APPEND, &[awkward(1)])?;
    let by = |login: Login, mechanism| Login { mechanism: Some(mechanism), ..login };
    let token = |secret: &str| -> Result<Login> {
        let token = jwt(USER, secret)?.into();
        let credentials = Credentials::Bearer(BearerCredentials { user: USER.into(), token });
        Ok(Login { credentials, act_as: None, mechanism: None })
    };
    let acting = Login { act_as: Some(USER.into()), ..password("master", "the master's") };
    let good = [
        by(password(USER, PASSWORD), Mechanism::Plain),
        by(password(USER, PASSWORD), Mechanism::Login),
        by(password(USER, PASSWORD), Mechanism::ScramSha256),
        by(token(SECRET)?, Mechanism::XOAuth2),
        by(token(SECRET)?, Mechanism::OAuthBearer),
        password("anna*master", "the master's"),
        acting.clone(),
    ];
    for login in good {
        let settings = server.settings(Implicit, login.clone());
        let source = ImapSource::connect(&settings, limits()).await;
        let mut source = source.with_context(|| format!("{login:?}\n{}", server.dovecot.log()))?;
        let (kept, _) = pull(&mut source, "INBOX", None).await?;
        assert_eq!(kept.contents(), [awkward(1)], "{login:?}");
        source.finish().await?;
    }
    let bad = [
        by(password(USER, "wrong"), Mechanism::Plain),
        by(password(USER, "wrong"), Mechanism::Login),
        by(password(USER, "wrong"), Mechanism::ScramSha256),
        by(token("another secret")?, Mechanism::XOAuth2),
        by(token("another secret")?, Mechanism::OAuthBearer),
        password("anna*bob", "other"),
        Login { act_as: Some(USER.into()), ..password("bob", "other") },
    ];
    for login in bad {
        let settings = server.settings(Implicit, login.clone());
        let refused = ImapSource::connect(&settings, limits()).await.map(drop).unwrap_err();
        assert!(matches!(refused, SourceError::Login { .. }), "{login:?}: {refused}");
    }
    Ok(())
}

/// Goal: folders come with names in UTF-8, roles and states; each can be opened by its id.
#[tokio::test]
async fn folders_have_names_and_roles() -> Result<()> {
    let Some(server) = Server::start()? else { return Ok(()) };
    server.meanwhile(
        "must(M.create('\"Projekte/&ZeVnLIqe- %1\"'))\nmust(M.append('Sent', None, None, messages[0]))",
        &[awkward(1)],
    )?;
    let mut source = server.connect().await?;
    let folders = source.folders().await?;
    let find = |path: &[&str]| {
        folders.iter().find(|folder| folder.path == path).with_context(|| format!("{folders:#?}"))
    };
    assert_eq!(find(&["INBOX"])?.role, Some(Role::Inbox));
    assert_eq!((find(&["Sent"])?.role, find(&["Sent"])?.messages), (Some(Role::Sent), Some(1)));
    assert_eq!(find(&["Entwürfe"])?.role, Some(Role::Drafts));
    let odd = find(&["Projekte", "日本語 %1"])?.id.clone();
    assert_eq!(odd.0, "Projekte/日本語 %251");
    assert!(source.changes(&odd, None).await?.items.is_empty());
    let error = source.changes(&FolderId("none".into()), None).await.unwrap_err();
    assert!(matches!(error, SourceError::Folder { .. }), "{error}");
    Ok(())
}

/// Goal: between two runs messages come, change and go; the second tells exactly that. A folder made anew under the same
/// name is listed from its beginning.
#[tokio::test]
async fn the_next_run_tells_what_changed() -> Result<()> {
    let Some(server) = Server::start()? else { return Ok(()) };
    let messages: Vec<_> = (0..20).map(awkward).collect();
    server.meanwhile(APPEND, &messages)?;
    let mut source = server.connect().await?;
    let (first, cursor) = pull(&mut source, "INBOX", None).await?;
    source.finish().await?;
    let id = |number: usize| first.whole[number].0.id.clone();

    let change = "must(M.select()); must(M.store('3', '+FLAGS', '(\\\\Flagged)')); must(M.store('5', '+FLAGS', '(\\\\Deleted)'))\n\
        must(M.expunge()); must(M.append('INBOX', None, None, messages[0]))";
    server.meanwhile(change, &[awkward(99)])?;
    let mut source = server.connect().await?;
    let inbox = FolderId("INBOX".into());
    let Since { items, flags, vanished } = since(&mut source, &inbox, cursor.clone()).await?;
    assert_eq!(items.len(), 1);
    assert_eq!(flags.len(), 1, "{flags:?}");
    assert!(flags[0].0 == id(2) && flags[0].1.contains(&"\\Flagged".to_owned()), "{flags:?}");
    let gone = |id: &ItemId| vanished.iter().any(|set| set.contains(id));
    assert!(gone(&id(4)) && !gone(&id(2)));
    // A message that is gone by the time it is fetched is said to be.
    let mut kept = Kept::default();
    source.fetch(&inbox, &[first.whole[4].0.clone(), items[0].clone()], &mut kept).await?;
    assert_eq!(kept.contents(), [awkward(99)]);
    assert_eq!(kept.missing[0].0, id(4));
    source.finish().await?;

    server.meanwhile("must(M.create('x')); must(M.append('x', None, None, messages[0]))", &[awkward(1)])?;
    let mut source = server.connect().await?;
    let (_, cursor) = pull(&mut source, "x", None).await?;
    source.finish().await?;
    server.meanwhile(
        "must(M.delete('x')); import time; time.sleep(1.1); must(M.create('x')); must(M.append('x', None, None, messages[0]))",
        &[awkward(2)],
    )?;
    let mut source = server.connect().await?;
    let changes = source.changes(&FolderId("x".into()), Some(&cursor)).await?;
    assert!(changes.restarted.context("it was numbered anew")?.contains("UIDVALIDITY"));
    assert_eq!(changes.items.len(), 1);
    Ok(())
}

/// Goal: what is ordered to be deleted is gone, and what others marked as deleted is not.
#[tokio::test]
async fn deletion_takes_what_was_ordered() -> Result<()> {
    let Some(server) = Server::start()? else { return Ok(()) };
    server.meanwhile(APPEND, &(0..5).map(awkward).collect::<Vec<_>>())?;
    server.meanwhile("must(M.select()); must(M.store('1', '+FLAGS', '(\\\\Deleted)'))\nM.unselect()", &[])?;
    let mut source = server.connect().await?;
    let inbox = FolderId("INBOX".into());
    let items = source.changes(&inbox, None).await?.items;
    let ids: Vec<_> = items[2..4].iter().map(|item| item.id.clone()).collect();
    let deleted = source.delete(&inbox, &ids).await?;
    assert_eq!((deleted.deleted, deleted.kept), (ids, Vec::new()));
    source.finish().await?;
    let left = server.dovecot.messages(USER)?;
    assert_eq!(sorted(left), sorted([0, 1, 4].map(awkward).to_vec()));
    Ok(())
}

/// Goal: a message that comes while IDLE waits wakes; quiet stays quiet.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_ends_when_mail_comes() -> Result<()> {
    let Some(server) = Server::start()? else { return Ok(()) };
    let mut source = server.connect().await?;
    let inbox = FolderId("INBOX".into());
    let (_, cursor) = pull(&mut source, "INBOX", None).await?;
    assert_eq!(source.wait(&inbox, Duration::from_millis(50)).await?, Woken::Quiet);
    let (woken, appended) = tokio::join!(source.wait(&inbox, Duration::from_secs(60)), async {
        tokio::task::block_in_place(|| server.meanwhile(APPEND, &[awkward(1)]))
    });
    appended?;
    assert_eq!(woken?, Woken::Changed);
    let (kept, _) = pull(&mut source, "INBOX", Some(cursor)).await?;
    assert_eq!(kept.contents(), [awkward(1)]);
    Ok(())
}

/// Goal: a run over all folders in which nothing changed asks once for the state of all of them. `make bench` says how long
/// it takes; here it only must not take a round for each.
#[tokio::test]
async fn a_run_without_changes_is_short() -> Result<()> {
    let Some(server) = Server::start()? else { return Ok(()) };
    server.dovecot.make_folders(USER, 100)?;
    let mut source = server.connect().await?;
    let mut cursors = Vec::new();
    for folder in source.folders().await?.into_iter().filter(|folder| folder.holds_messages) {
        cursors.push((folder.id.clone(), source.changes(&folder.id, None).await?.cursor));
    }
    assert!(cursors.len() > 100);
    let (commands, begun) = (source.commands(), Instant::now());
    let folders = source.folders().await?;
    for (id, cursor) in &cursors {
        let changes = source.changes(id, Some(cursor)).await?;
        assert!(changes.items.is_empty() && changes.flags.is_empty() && !changes.more, "{id}");
    }
    println!("{} folders without changes: {:?}", folders.len(), begun.elapsed());
    assert_eq!(source.commands() - commands, 1);
    source.finish().await?;
    Ok(())
}

/// Goal: a certificate that nobody vouches for gets no password, and is told by its fingerprint; pinned, it is taken.
#[tokio::test]
async fn certificates_are_checked() -> Result<()> {
    let Some(server) = Server::start()? else { return Ok(()) };
    for tls in [Implicit, Stls] {
        let mut settings = server.settings(tls, password(USER, PASSWORD));
        let stranger = Authority::new()?;
        settings.trust = Trust::Authorities(stranger.certificate());
        let refused = ImapSource::connect(&settings, Limits::default()).await.map(drop).unwrap_err();
        let SourceError::NotTrusted { presented, .. } = refused else { panic!("{refused}") };
        settings.trust = Trust::Pinned(presented);
        ImapSource::connect(&settings, Limits::default()).await?.finish().await?;
        settings.host = "127.0.0.2".into();
        settings.trust = Trust::Authorities(server.authority.certificate());
        assert!(ImapSource::connect(&settings, Limits::default()).await.is_err(), "another name");
    }
    Ok(())
}
