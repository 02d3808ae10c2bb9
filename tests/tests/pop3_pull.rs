//! The archiver's gateway source against the gateway's POP3 server, over real sockets and TLS.

#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage should panic")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use postern_archiver::sources::gateway::{GatewaySource, Limits, Settings as SourceSettings};
use postern_archiver::sources::{ItemId, NotFetched, Source, SourceError};
use postern_gateway::listen::{Connection, Door, Entrance, Limits as ListenLimits, Server};
use postern_gateway::pop3_server::maildrop::{
    Accounts, DeleteError, Entry, LoginError, Maildrops, ReadError, ServedMessage,
};
use postern_gateway::pop3_server::{Pop3Server, REFUSAL, Settings};
use postern_shared::clock::{Clock, SystemClock};
use postern_shared::crypto::digest::Digest;
use postern_shared::crypto::keys::PrivateKey;
use postern_shared::disk::RealDisk;
use postern_shared::id::{MailboxId, MessageId};
use postern_shared::proto::pop3::client::TlsStart;
use postern_shared::proto::sasl::PlainCredentials;
use postern_shared::shutdown::{Switch, switch};
use postern_shared::tls::client::Trust;
use postern_shared::tls::server::Identity;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;

const PASSWORD: &str = "open sesame";
const PIECE_OCTETS: usize = 64 * 1024;

fn mailbox() -> MailboxId {
    MailboxId::from_bytes([7; 8])
}

fn id(number: u8) -> MessageId {
    let mut bytes = [0; 16];
    bytes[15] = number;
    MessageId::from_bytes(bytes)
}

fn item(number: u8) -> ItemId {
    ItemId(id(number).to_string())
}

struct OneAccount;

impl Accounts for OneAccount {
    fn unlock(&self, user: &str, password: &SecretString) -> Result<(MailboxId, PrivateKey), LoginError> {
        if user.parse() == Ok(mailbox()) && password.expose_secret() == PASSWORD {
            Ok((mailbox(), PrivateKey::generate()))
        } else {
            Err(LoginError::WrongPassword)
        }
    }
}

/// Messages in memory; the octets behind `readable` of one are damaged.
#[derive(Clone)]
struct Stored {
    id: MessageId,
    content: Arc<[u8]>,
    readable: usize,
}

struct InMemory(Mutex<Vec<Stored>>);

struct Reading {
    stored: Stored,
    at: usize,
}

impl ServedMessage for Reading {
    fn next_piece(&mut self) -> Result<Option<&[u8]>, ReadError> {
        let Stored { id, content, readable } = &self.stored;
        let start = self.at;
        self.at = content.len().min(start + PIECE_OCTETS);
        if self.at > *readable {
            return Err(ReadError::Damaged { id: *id, what: format!("at byte {readable}") });
        }
        Ok((start < self.at).then(|| &content[start..self.at]))
    }
}

impl Maildrops for InMemory {
    type Message = Reading;

    fn snapshot(&self, _: MailboxId) -> Vec<Entry> {
        let stored = self.0.lock().unwrap();
        stored.iter().map(|one| Entry { id: one.id, served_bytes: one.content.len() as u64 }).collect()
    }

    fn open(&self, _: MailboxId, id: MessageId, _: &PrivateKey) -> Result<Reading, ReadError> {
        let stored = self.0.lock().unwrap();
        let found = stored.iter().find(|one| one.id == id).cloned();
        found.map(|stored| Reading { stored, at: 0 }).ok_or(ReadError::Gone { id })
    }

    async fn delete(&self, _: MailboxId, ids: &[MessageId]) -> Result<(), DeleteError> {
        self.0.lock().unwrap().retain(|one| !ids.contains(&one.id));
        Ok(())
    }
}

/// A gateway on a free port of this machine, with one mailbox.
struct Gateway {
    mailbox: Arc<InMemory>,
    settings: SourceSettings,
    fingerprint: Trust,
    _running: Switch,
}

impl Gateway {
    async fn start(tls: TlsStart, messages: &[&[u8]]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let names = ["127.0.0.1".to_owned()];
        let identity =
            Identity::self_signed(&RealDisk, dir.path(), &names, SystemClock::new().wall()).unwrap();
        let stored = messages.iter().zip(1..).map(|(content, number)| Stored {
            id: id(number),
            content: Arc::from(*content),
            readable: content.len(),
        });
        let mailbox = Arc::new(InMemory(Mutex::new(stored.collect())));
        let settings = Settings { failure_pause: Duration::ZERO, ..Settings::default() };
        let server = Pop3Server::new(Arc::new(OneAccount), Arc::clone(&mailbox), settings);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (running, shutdown) = switch();
        let door = Door {
            entrance: if tls == TlsStart::Implicit { Entrance::Pop3s } else { Entrance::Pop3 },
            tls: identity.server_config().unwrap(),
            limits: ListenLimits::new(100, 100),
            refusal: REFUSAL,
            shutdown,
        };
        tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let (server, door) = (server.clone(), door.clone());
                tokio::spawn(async move {
                    let connection = Connection::new(stream, peer);
                    let connection = if door.entrance.has_implicit_tls() {
                        connection.start_tls(Arc::clone(&door.tls)).await
                    } else {
                        Ok(connection)
                    };
                    // A client that does not trust the certificate goes without a session.
                    if let Ok(connection) = connection {
                        server.serve(connection, door).await;
                    }
                });
            }
        });
        let fingerprint = Trust::Pinned(identity.fingerprint());
        let settings = SourceSettings {
            host: "127.0.0.1".into(),
            port,
            tls,
            trust: fingerprint.clone(),
            credentials: PlainCredentials { user: mailbox_name(), password: SecretString::from(PASSWORD) },
        };
        Self { mailbox, settings, fingerprint, _running: running }
    }

    async fn connect(&self) -> Result<GatewaySource, SourceError> {
        let limits = Limits { in_use_pause: Duration::from_millis(5), ..Limits::default() };
        GatewaySource::connect(&self.settings, limits).await
    }

    fn left(&self) -> Vec<MessageId> {
        self.mailbox.0.lock().unwrap().iter().map(|one| one.id).collect()
    }
}

fn mailbox_name() -> String {
    mailbox().to_string().to_uppercase()
}

/// Everything the source hands over, in order.
async fn pull(source: &mut GatewaySource) -> Result<Vec<(ItemId, Result<Vec<u8>, NotFetched>)>, SourceError> {
    let waiting = source.list(None).await?;
    source.request(&waiting.iter().map(|message| message.id.clone()).collect::<Vec<_>>())?;
    let mut fetched = Vec::new();
    while let Some(message) = source.next().await? {
        if let (Some(listed), Ok(content)) =
            (waiting.iter().find(|one| one.id == message.id), &message.content)
        {
            assert_eq!(listed.octets, content.len() as u64, "listed sizes are exact");
        }
        fetched.push((message.id, message.content));
    }
    Ok(fetched)
}

/// Messages that trouble a dot-stuffer, or a line reader.
fn odd_messages() -> Vec<Vec<u8>> {
    vec![
        b"Subject: plain\r\n\r\nbody\r\n".to_vec(),
        b".\r\n..\r\n...\r\n\r\n.\r\n".to_vec(),
        b"a\n.\nb\r.\rc\r\n.\n\r\n".to_vec(),
        b"\r\n".to_vec(),
        (0..=255).cycle().take(200_000).chain(*b"\r\n").collect(),
        b".\r\n".repeat(100_000),
        [b"x".repeat(1_000_000), b"\r\n".to_vec()].concat(),
    ]
}

#[tokio::test]
async fn messages_arrive_octet_for_octet_and_go_when_acknowledged() {
    for tls in [TlsStart::Implicit, TlsStart::Stls] {
        let messages = odd_messages();
        let gateway = Gateway::start(tls, &messages.iter().map(Vec::as_slice).collect::<Vec<_>>()).await;
        let mut source = gateway.connect().await.unwrap();
        let fetched = pull(&mut source).await.unwrap();
        assert_eq!(fetched.len(), messages.len());
        for ((found, content), (number, sent)) in fetched.iter().zip((1..).zip(&messages)) {
            assert_eq!(*found, item(number));
            assert!(content.as_ref().unwrap() == sent, "message {number} came differently");
        }
        source.acknowledge(&[item(1), item(3)]).unwrap();
        assert_eq!(gateway.left().len(), messages.len(), "nothing goes before the end");
        let finished = source.finish().await.unwrap();
        assert_eq!(finished.deleted, [item(1), item(3)]);
        assert_eq!(gateway.left(), [id(2), id(4), id(5), id(6), id(7)]);
    }
}

/// Goal: a run that dies before its end deleted nothing, and the next one is let in.
#[tokio::test]
async fn a_run_that_dies_deletes_nothing() {
    let gateway = Gateway::start(TlsStart::Implicit, &[b"one\r\n", b"two\r\n"]).await;
    let mut source = gateway.connect().await.unwrap();
    pull(&mut source).await.unwrap();
    source.acknowledge(&[item(1), item(2)]).unwrap();
    drop(source);
    let mut again = gateway.connect().await.unwrap();
    assert_eq!(pull(&mut again).await.unwrap().len(), 2);
    again.acknowledge(&[item(2)]).unwrap();
    again.finish().await.unwrap();
    assert_eq!(gateway.left(), [id(1)]);
}

#[tokio::test]
async fn a_held_maildrop_is_told_and_let_in_later() {
    let gateway = Gateway::start(TlsStart::Implicit, &[]).await;
    let held = gateway.connect().await.unwrap();
    let impatient = Limits {
        in_use_pause: Duration::from_millis(1),
        in_use_patience: Duration::from_millis(5),
        ..Limits::default()
    };
    let refused = GatewaySource::connect(&gateway.settings, impatient).await.err().expect("it is held");
    assert!(matches!(refused, SourceError::InUse { .. }), "{refused}");
    // The second waits with growing pauses; the first ends meanwhile.
    let (ended, waited) = tokio::join!(held.finish(), gateway.connect());
    ended.unwrap();
    waited.unwrap();
}

#[tokio::test]
async fn wrong_passwords_and_unknown_certificates_are_named() {
    let mut gateway = Gateway::start(TlsStart::Implicit, &[]).await;
    gateway.settings.credentials.password = SecretString::from("guessed");
    let error = gateway.connect().await.err().expect("refused");
    assert!(matches!(error, SourceError::Login { .. }) && !error.is_temporary(), "{error}");

    gateway.settings.credentials.password = SecretString::from(PASSWORD);
    gateway.settings.trust = Trust::Pinned(Digest([1; 32]));
    let error = gateway.connect().await.err().expect("not trusted");
    let SourceError::NotTrusted { presented, .. } = error else { panic!("{error}") };
    assert_eq!(Trust::Pinned(presented), gateway.fingerprint, "what an operator would pin");
    gateway.settings.trust = Trust::Pinned(presented);
    gateway.connect().await.unwrap();
}

/// Goal: damage is told for the message it concerns; found amid content, half a message is never taken for one.
#[tokio::test]
async fn damaged_messages_do_not_stop_the_others() {
    let gateway = Gateway::start(TlsStart::Implicit, &[b"one\r\n", b"two\r\n", b"three\r\n"]).await;
    gateway.mailbox.0.lock().unwrap()[1].readable = 0;
    let mut source = gateway.connect().await.unwrap();
    let fetched = pull(&mut source).await.unwrap();
    assert_eq!(fetched[0].1.as_deref().unwrap(), b"one\r\n");
    let Err(NotFetched::Refused(said)) = &fetched[1].1 else { panic!("{:?}", fetched[1]) };
    assert!(said.contains("SYS/PERM") && said.contains(&id(2).to_string()), "{said}");
    assert_eq!(fetched[2].1.as_deref().unwrap(), b"three\r\n");
    source.finish().await.unwrap();

    let long = [b"y".repeat(10 * PIECE_OCTETS), b"\r\n".to_vec()].concat();
    let gateway = Gateway::start(TlsStart::Implicit, &[b"one\r\n", &long]).await;
    gateway.mailbox.0.lock().unwrap()[1].readable = 5 * PIECE_OCTETS;
    let mut source = gateway.connect().await.unwrap();
    let error = pull(&mut source).await.unwrap_err();
    assert!(matches!(error, SourceError::Closed { during: "RETR", .. }), "{error}");
    assert_eq!(gateway.left().len(), 2);
}

/// Goal: the largest journal reports there are (150 MB) go through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_150_megabytes_is_pulled() {
    let line = b"Lines of base64 look much like this one, seventy-six characters and an end\r\n";
    let message = line.repeat(150_000_000 / line.len());
    let gateway = Gateway::start(TlsStart::Implicit, &[&message]).await;
    let mut source = gateway.connect().await.unwrap();
    let fetched = pull(&mut source).await.unwrap();
    assert!(fetched[0].1.as_ref().unwrap() == &message);
    source.finish().await.unwrap();
}
