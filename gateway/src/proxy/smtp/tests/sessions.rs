//! The relay with real connections, a real spool, and a server that follows a script.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use postern_shared::clock::{Clock, SystemClock};
use postern_shared::crypto::keys::PrivateKey;
use postern_shared::crypto::password::Argon2Cost;
use postern_shared::disk::RealDisk;
use postern_shared::id::{MailboxId, MessageIds};
use postern_shared::proto::mime::trace::{self, Trace};
use postern_shared::shutdown::{Switch, switch};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::stage::{all_extensions, session_settings};
use crate::intake::SealingIntake;
use crate::listen::{Connection, Patience};
use crate::mailbox::Registry;
use crate::pop3_server::SpooledMaildrops;
use crate::pop3_server::maildrop::{Maildrops, ServedMessage};
use crate::proxy::smtp::login::relay;
use crate::proxy::smtp::{Recording, ServerPatience};
use crate::proxy::upstream::{Link, SmtpServer};
use crate::smtp_receiver::{SessionSettings, SpooledMailboxes};
use crate::spool::{SegmentSpool, Spool};

const PATIENCE: Duration = Duration::from_secs(60);
const ENVELOPE: &str = "MAIL FROM:<anna@example.com>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n";

/// A gateway with one mailbox.
struct Gateway {
    recording: Recording<SealingIntake>,
    registry: Arc<Registry>,
    spool: Arc<dyn Spool>,
    mailbox: MailboxId,
    key: PrivateKey,
    dir: Arc<tempfile::TempDir>,
}

impl Gateway {
    fn new() -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let registry = Registry::open(
            Arc::new(RealDisk),
            Arc::clone(&clock),
            &dir.path().join("mailboxes"),
            "gateway.example.com",
            Argon2Cost::TESTS_ONLY,
        );
        let registry = Arc::new(registry.unwrap());
        let (mailbox, password) = registry.create("anna", "", None).unwrap();
        let (_, key) = registry.unlock(&mailbox.id.to_string(), &password).unwrap();
        Self::on(dir, registry, mailbox.id, key)
    }

    fn on(dir: Arc<tempfile::TempDir>, registry: Arc<Registry>, mailbox: MailboxId, key: PrivateKey) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let spool = open_spool(dir.path(), &clock);
        let intake = SealingIntake::new(
            Arc::clone(&registry),
            Arc::clone(&spool),
            Arc::clone(&clock),
            Arc::new(MessageIds::default()),
            "gateway.example.com".into(),
        );
        let mailboxes = Arc::new(SpooledMailboxes::new(Arc::clone(&registry), Arc::clone(&spool)));
        let session = SessionSettings { mailboxes, ..(*session_settings(100_000_000)).clone() };
        let recording = Recording {
            session: Arc::new(session),
            intake,
            patience: Patience::default(),
            server_patience: ServerPatience { answer: PATIENCE, end_of_data: PATIENCE },
            clock,
        };
        Self { recording, registry, spool, mailbox, key, dir }
    }

    /// The same data directory in a new process.
    fn restarted(self) -> Self {
        let Self { recording, registry, spool, mailbox, key, dir } = self;
        drop((recording, spool));
        Self::on(dir, registry, mailbox, key)
    }

    /// A session with `server`, as `anna`.
    async fn session(&self, server: SocketAddr) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (near, peer) = listener.accept().await.unwrap();
        let upstream = TcpStream::connect(server).await.unwrap();
        let link = Link::new(upstream, server, "smtp.example.com:587".into(), PATIENCE);
        let server = SmtpServer { link, extensions: all_extensions() };
        let (stop, stopped) = switch();
        let (recording, account) = (self.recording.clone(), "anna%smtp.example.com".to_owned());
        let route = (self.mailbox, account);
        let client = (Connection::new(near, peer), "laptop.example.org".to_owned());
        let served = tokio::spawn(async move { relay(&recording, route, server, client, stopped).await });
        Client { stream: BufReader::new(far), served, stop }
    }

    /// All copies, in order of arrival.
    fn copies(&self) -> Vec<(Trace, Vec<u8>)> {
        let maildrops = SpooledMaildrops::new(Arc::clone(&self.spool));
        let served = maildrops.snapshot(self.mailbox).into_iter().map(|entry| {
            let mut message = maildrops.open(self.mailbox, entry.id, &self.key).unwrap();
            let mut octets = Vec::new();
            while let Some(piece) = message.next_piece().unwrap() {
                octets.extend_from_slice(piece);
            }
            let (trace, content) = trace::split(&octets);
            (trace.unwrap(), content.to_vec())
        });
        served.collect()
    }
}

fn open_spool(dir: &Path, clock: &Arc<dyn Clock>) -> Arc<dyn Spool> {
    let settings = crate::spool::Settings { reserve_bytes: 0, ..crate::spool::Settings::default() };
    Arc::new(SegmentSpool::open(Arc::new(RealDisk), Arc::clone(clock), &dir.join("spool"), settings).unwrap())
}

/// A mail client that has just logged in.
struct Client {
    stream: BufReader<TcpStream>,
    served: JoinHandle<()>,
    stop: Switch,
}

impl Client {
    async fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.stream.write_all(octets.as_ref()).await.unwrap();
    }

    /// The next line, without its end; empty when the connection is closed.
    async fn line(&mut self) -> String {
        let mut line = String::new();
        // A connection that is reset says no more either.
        let _ = self.stream.read_line(&mut line).await;
        line.trim_end().to_owned()
    }

    async fn lines(&mut self, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        for _ in 0..count {
            lines.push(self.line().await);
        }
        lines
    }

    /// A message up to the end of its data, exclusively.
    async fn begin(&mut self, content: &str) {
        self.send(ENVELOPE).await;
        assert_eq!(self.lines(3).await, ["250 mail", "250 rcpt", "354 go"]);
        self.send(content).await;
    }
}

/// A connection at the server.
struct Session(BufReader<TcpStream>);

impl Session {
    async fn says(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    async fn hears(&mut self, expected: &str) {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        assert_eq!(line.trim_end(), expected);
    }

    /// Takes an envelope.
    async fn envelope(&mut self) {
        self.hears("MAIL FROM:<anna@example.com>").await;
        self.hears("RCPT TO:<bob@example.net>").await;
        self.hears("DATA").await;
        self.says("250 mail\r\n250 rcpt\r\n354 go\r\n").await;
    }

    /// All that still comes.
    async fn rest(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.0.read_to_end(&mut rest).await;
        rest
    }
}

/// A server for one connection.
async fn server<F, T>(script: impl FnOnce(Session) -> F + Send + 'static) -> (SocketAddr, JoinHandle<T>)
where
    F: Future<Output = T> + Send,
    T: Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        script(Session(BufReader::new(stream))).await
    });
    (address, task)
}

#[tokio::test]
async fn a_message_is_sent_and_its_copy_says_so() {
    let gateway = Gateway::new();
    let (address, at_server) = server(|mut session| async move {
        session.envelope().await;
        session.hears("Subject: x").await;
        session.hears("").await;
        session.hears("..").await;
        session.hears(".").await;
        session.says("250 2.0.0 queued\r\n").await;
        session.rest().await
    })
    .await;
    let mut client = gateway.session(address).await;
    client.begin("Subject: x\r\n\r\n..\r\n.\r\n").await;
    assert_eq!(client.line().await, "250 2.0.0 queued");
    let copies = gateway.copies();
    let (trace, content) = &copies[0];
    assert_eq!((copies.len(), &content[..]), (1, &b"Subject: x\r\n\r\n.\r\n"[..]));
    assert!(!trace.unconfirmed);
    assert_eq!((trace.mail_from.as_str(), trace.helo.as_str()), ("anna@example.com", "laptop.example.org"));
    let proxied = trace.proxied.as_ref().unwrap();
    assert_eq!(
        (proxied.account.as_str(), proxied.server.as_str()),
        ("anna%smtp.example.com", "smtp.example.com:587")
    );
    client.send("QUIT\r\n").await;
    assert_eq!(client.lines(2).await, ["221 2.0.0 Bye", ""]);
    assert_eq!(at_server.await.unwrap(), b"QUIT\r\n");
    client.served.await.unwrap();
}

/// Goal: a client that said QUIT behind its message hears what became of that, also when the server has cut the connection.
#[tokio::test]
async fn the_last_answer_comes_also_from_a_server_that_is_dead() {
    let gateway = Gateway::new();
    let (address, at_server) = server(|mut session| async move {
        session.envelope().await;
        session.hears("x").await;
        session.hears(".").await;
        session.says("250 2.0.0 queued\r\n").await;
        session.0.get_ref().set_zero_linger().unwrap();
    })
    .await;
    let mut client = gateway.session(address).await;
    client.begin("x\r\n.\r\nQUIT\r\n").await;
    assert_eq!(client.lines(3).await, ["250 2.0.0 queued", "221 2.0.0 Bye", ""]);
    at_server.await.unwrap();
    let copies = gateway.copies();
    assert!(copies.len() == 1 && !copies[0].0.unconfirmed);
}

/// Goal: octets of a line without an end do not renew the time that a command may take.
#[tokio::test]
async fn a_line_without_an_end_has_one() {
    let mut gateway = Gateway::new();
    gateway.recording.patience.command = Duration::from_millis(100);
    let (address, _at_server) = server(|session| session.rest()).await;
    let Client { stream, served, stop: _stop } = gateway.session(address).await;
    let (_reading, mut writing) = stream.into_inner().into_split();
    let talking = async move {
        while writing.write_all(&[b'x'; 3000]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, async { tokio::join!(talking, served).1 }).await.unwrap().unwrap();
}

/// Goal: until the server has answered, nobody is served the copy; refused, it is gone, also behind a restart.
#[tokio::test]
async fn what_the_server_refuses_leaves_nothing() {
    let gateway = Gateway::new();
    let (asked, may_answer) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
    let (at_end, go) = (Arc::clone(&asked), Arc::clone(&may_answer));
    let (address, at_server) = server(|mut session| async move {
        session.envelope().await;
        session.hears("spam").await;
        session.hears(".").await;
        at_end.notify_one();
        go.notified().await;
        session.says("554 5.7.1 Spam\r\n").await;
        session.rest().await
    })
    .await;
    let mut client = gateway.session(address).await;
    client.begin("spam\r\n.\r\n").await;
    asked.notified().await;
    assert_eq!(gateway.copies().len(), 0, "prepared, and served to nobody");
    may_answer.notify_one();
    assert_eq!(client.line().await, "554 5.7.1 Spam");
    drop(client);
    at_server.await.unwrap();
    assert_eq!(gateway.restarted().copies().len(), 0);
}

/// Goal: when the server goes, or says nothing, behind the end of data, the copy is kept and marked.
#[tokio::test]
async fn what_nobody_knows_is_kept() {
    for silent in [false, true] {
        let mut gateway = Gateway::new();
        if silent {
            gateway.recording.server_patience.end_of_data = Duration::from_millis(50);
        }
        let (address, _at_server) = server(move |mut session| async move {
            session.envelope().await;
            session.hears("x").await;
            session.hears(".").await;
            if silent {
                session.rest().await;
            }
        })
        .await;
        let mut client = gateway.session(address).await;
        client.begin("x\r\n.\r\n").await;
        let reply = client.line().await;
        assert!(reply.starts_with("451 4.4.2") && reply.contains("may have been sent"), "{reply}");
        assert!(client.line().await.starts_with("421 4.4.2"));
        assert_eq!(client.line().await, "");
        let copies = gateway.copies();
        assert!(copies.len() == 1 && copies[0].0.unconfirmed, "{silent}");
    }
}

/// Goal: killed between "prepared" and "confirmed", the gateway has the copy when it comes back, marked; killed before the end
/// of data, it has none.
#[tokio::test]
async fn killed_behind_the_end_the_gateway_keeps_the_copy() {
    for behind_the_end in [false, true] {
        let gateway = Gateway::new();
        let reached = Arc::new(tokio::sync::Notify::new());
        let here = Arc::clone(&reached);
        let (address, at_server) = server(move |mut session| async move {
            session.envelope().await;
            session.hears("x").await;
            if behind_the_end {
                session.hears(".").await;
            }
            here.notify_one();
            session.rest().await
        })
        .await;
        let mut client = gateway.session(address).await;
        client.begin(if behind_the_end { "x\r\n.\r\n" } else { "x\r\n" }).await;
        reached.notified().await;
        client.served.abort();
        assert!(client.served.await.unwrap_err().is_cancelled());
        assert_eq!(at_server.await.unwrap(), b"", "the server gets nothing more");
        let copies = gateway.restarted().copies();
        assert_eq!(copies.len(), usize::from(behind_the_end));
        assert!(copies.iter().all(|(trace, _)| trace.unconfirmed));
    }
}

/// Goal: a client that goes amid its message leaves no copy, and the server gets no end of data.
#[tokio::test]
async fn a_client_that_goes_amid_its_message_sends_nothing() {
    let gateway = Gateway::new();
    let (address, at_server) = server(|mut session| async move {
        session.envelope().await;
        session.hears("half").await;
        session.rest().await
    })
    .await;
    let mut client = gateway.session(address).await;
    client.begin("half\r\nof it\r\n").await;
    drop(client.stream);
    client.served.await.unwrap();
    let rest = at_server.await.unwrap();
    assert!(rest == b"of it\r\n" || rest.is_empty(), "{}", rest.escape_ascii());
    assert_eq!(gateway.restarted().copies().len(), 0);
}

/// Goal: a client that goes behind its end of data has sent its message.
#[tokio::test]
async fn a_client_that_goes_behind_the_end_has_sent_its_message() {
    let gateway = Gateway::new();
    let (address, at_server) = server(|mut session| async move {
        session.envelope().await;
        session.hears("x").await;
        session.hears(".").await;
        session
    })
    .await;
    let mut client = gateway.session(address).await;
    client.begin("x\r\n.\r\n").await;
    drop(client.stream);
    let mut session = at_server.await.unwrap();
    session.says("250 queued\r\n").await;
    client.served.await.unwrap();
    let copies = gateway.copies();
    assert!(copies.len() == 1 && !copies[0].0.unconfirmed);
}

/// Goal: a long message streams through a server that reads slowly, both ways of sending it, and comes out the same.
#[tokio::test]
async fn long_messages_stream_through() {
    let content = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n".repeat(8000);
    for chunks in [false, true] {
        let gateway = Gateway::new();
        let (address, at_server) = server(move |Session(stream)| async move {
            let mut recorder = super::server::Server::new([]);
            let (mut reading, mut writing) = stream.into_inner().into_split();
            let mut piece = vec![0; 7000];
            loop {
                let n = reading.read(&mut piece).await.unwrap();
                let answers = recorder.take(&piece[..n]);
                writing.write_all(answers.as_bytes()).await.unwrap();
                if n == 0 || !recorder.ended.is_empty() {
                    return recorder.ended;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        let mut client = gateway.session(address).await;
        if chunks {
            client.send("MAIL FROM:<anna@example.com>\r\nRCPT TO:<bob@example.net>\r\n").await;
            client.send(format!("BDAT {} LAST\r\n{content}", content.len())).await;
            assert_eq!(client.lines(2).await, ["250 mail", "250 rcpt"]);
        } else {
            client.begin(&content).await;
            client.send(".\r\n").await;
        }
        assert_eq!(client.line().await, "250 END-0");
        let (ended, copies) = (at_server.await.unwrap(), gateway.copies());
        assert!(ended[0].content == content.as_bytes() && copies[0].1 == content.as_bytes(), "{chunks}");
    }
}

/// Goal: at shutdown a message on its way is finished, then the session ends; an idle one ends at once.
#[tokio::test]
async fn shutdown_waits_for_the_message() {
    let gateway = Gateway::new();
    let (address, at_server) = server(|mut session| async move {
        session.envelope().await;
        session.hears("x").await;
        session.hears(".").await;
        session.says("250 queued\r\n").await;
        session.rest().await
    })
    .await;
    let mut client = gateway.session(address).await;
    client.begin("").await;
    client.stop.turn();
    client.send("x\r\n.\r\n").await;
    assert_eq!(client.lines(3).await, ["250 queued", "421 4.3.2 Shutting down", ""]);
    assert_eq!(at_server.await.unwrap(), b"QUIT\r\n");
    assert_eq!(gateway.copies().len(), 1);
}
