//! Logins and what comes behind them, over a real connection, with a proxy that only notes what it is given.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postern_shared::clock::{Clock, SystemClock};
use postern_shared::disk::RealDisk;
use postern_shared::id::MessageIds;
use postern_shared::proto::sasl::Credentials;
use postern_shared::proto::smtp::reply::Reply;
use postern_shared::shutdown::{Shutdown, Switch, switch};
use postern_shared::tls::client::{Trust, client_config};
use postern_shared::tls::server::Identity;
use rustls::pki_types::ServerName;
use secrecy::ExposeSecret;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::dialogues::settings;
use super::{Elsewhere, Pending, Relayed, SmtpServer};
use crate::intake::SealingIntake;
use crate::listen::{Connection, Door, Entrance, Limits, Server};

const PLAIN: &str = "AUTH PLAIN AGElaCVtYngtMDAwMDAwMDAwMDAwMDAwYQByaWdodA==\r\n";
const WRONG: &str = "AUTH PLAIN AGElaCVtYngtMDAwMDAwMDAwMDAwMDAwYQB3cm9uZw==\r\n";

/// Takes the password "right", and notes what it is handed.
#[derive(Debug, Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Elsewhere for Notes {
    fn divider(&self) -> char {
        '%'
    }

    fn log_in<'a>(
        &'a self,
        door: &'a Door,
        client: SocketAddr,
        credentials: Credentials,
    ) -> Pending<'a, Result<Box<dyn Relayed>, Reply>> {
        Box::pin(async move {
            assert!(door.entrance == Entrance::Smtps && client.ip().is_loopback());
            assert_eq!(credentials.user(), "a%h%mbx-000000000000000a");
            let Credentials::Password(credentials) = credentials else { panic!("no password came") };
            if credentials.password.expose_secret() != "right" {
                return Err(Reply::new(535, "5.7.8", "Wrong"));
            }
            let relayed: Box<dyn Relayed> = Box::new(self.clone());
            Ok(relayed)
        })
    }
}

impl Relayed for Notes {
    fn run(self: Box<Self>, client: Connection, helo: String, _shutdown: Shutdown) -> Pending<'static, ()> {
        Box::pin(async move {
            let unread = String::from_utf8_lossy(client.unread()).into_owned();
            self.0.lock().unwrap().extend([helo, unread]);
            client.close().await;
        })
    }
}

struct Client {
    stream: BufReader<TlsStream<TcpStream>>,
    served: JoinHandle<()>,
    _stop: Switch,
    _dir: tempfile::TempDir,
}

impl Client {
    async fn connect(elsewhere: Option<Arc<dyn Elsewhere>>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let names = ["localhost".to_owned()];
        let identity = Identity::self_signed(&RealDisk, dir.path(), &names, clock.wall()).unwrap();
        let (stop, shutdown) = switch();
        let door = Door {
            entrance: Entrance::Smtps,
            tls: identity.server_config().unwrap(),
            limits: Limits::new(10, 10),
            refusal: b"",
            shutdown,
        };
        let registry = crate::mailbox::Registry::open(
            Arc::new(RealDisk),
            Arc::clone(&clock),
            &dir.path().join("mailboxes"),
            "gateway.example.com",
            postern_shared::crypto::password::Argon2Cost::TESTS_ONLY,
        );
        let spool_settings = crate::spool::Settings { reserve_bytes: 0, ..crate::spool::Settings::default() };
        let place = dir.path().join("spool");
        let spool =
            crate::spool::SegmentSpool::open(Arc::new(RealDisk), Arc::clone(&clock), &place, spool_settings);
        let intake = SealingIntake::new(
            Arc::new(registry.unwrap()),
            Arc::new(spool.unwrap()),
            clock,
            Arc::new(MessageIds::default()),
            "gateway.example.com".into(),
        );
        let server = SmtpServer::new(settings(1000), intake).beside(elsewhere, Duration::ZERO);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (far, peer) = listener.accept().await.unwrap();
        let served = tokio::spawn(async move {
            let connection = Connection::new(far, peer).start_tls(Arc::clone(&door.tls)).await.unwrap();
            server.serve(connection, door).await;
        });
        let connector = TlsConnector::from(Arc::new(client_config(&Trust::Any).unwrap()));
        let name = ServerName::try_from("localhost").unwrap();
        let stream = BufReader::new(connector.connect(name, near).await.unwrap());
        let mut client = Self { stream, served, _stop: stop, _dir: dir };
        assert!(client.line().await.starts_with("220 "));
        client
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.unwrap();
        line.trim_end().to_owned()
    }

    async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }
}

/// Goal: behind a login that was taken, the proxy gets the connection with what the client sent in the same flight, and not
/// before the client is told; behind one that was refused the session goes on.
#[tokio::test]
async fn a_login_hands_the_connection_over_with_what_is_unread() {
    let notes = Notes::default();
    let mut client = Client::connect(Some(Arc::new(notes.clone()))).await;
    client.send(&format!("HELO laptop\r\n{WRONG}NOOP\r\n")).await;
    assert_eq!(client.line().await, "250 gateway.example.com");
    assert_eq!(client.line().await, "535 5.7.8 Wrong");
    assert_eq!(client.line().await, "250 2.0.0 Ok");
    client.send(&format!("{PLAIN}MAIL FROM:<a@example.com>\r\n")).await;
    assert_eq!(client.line().await, "235 2.7.0 Logged in");
    assert_eq!(client.line().await, "", "the rest is the proxy's");
    client.served.await.unwrap();
    assert_eq!(*notes.0.lock().unwrap(), ["laptop", "MAIL FROM:<a@example.com>\r\n"]);
}

#[tokio::test]
async fn without_a_proxy_nobody_logs_in() {
    let mut client = Client::connect(None).await;
    client.send(&format!("HELO laptop\r\n{PLAIN}QUIT\r\n")).await;
    assert_eq!(client.line().await, "250 gateway.example.com");
    assert_eq!(client.line().await, "502 5.5.1 Nobody logs in here");
    assert_eq!(client.line().await, "221 2.0.0 Bye");
}
