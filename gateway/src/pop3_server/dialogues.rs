//! Runs the dialogues in `tests/dialogues/pop3` against the real driver, over TLS and an in-memory mailbox.
//!
//! A dialogue is a text file; `#` begins a comment. First the mailbox, then what happens:
//!
//! ```text
//! message                    a message, its lines below, each behind `| `
//! message long               one of 27 MB
//! message damaged            one that cannot be opened
//! message damaged in the middle   one that ends before its time
//! message gone               one that disappears before it is opened
//! deletes fail               the disk refuses deletions
//!
//! connect pop3 | pop3s [as NAME]   a session in clear, or with TLS; the ones before stay open
//! use NAME                   goes on with another open session
//! C: text                    the client sends a line; lines after each other go in one write
//! S: text                    the server must send exactly this line
//! send                       the lines so far are sent now, without waiting for an answer
//! handshake                  TLS begins
//! closed                     the server must have closed the connection
//! hang up                    the client goes without a word
//! left: 1 3                  these messages must be in the mailbox, by their order in the file
//! ```
//!
//! The mailbox is `mbx-000000000000000a` with the password `open sesame`.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use postern_shared::clock::{Clock, SystemClock};
use postern_shared::disk::{Disk, RealDisk};
use postern_shared::shutdown::{Switch, switch};
use postern_shared::tls::client::{Trust, client_config};
use postern_shared::tls::server::Identity;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::in_memory::{Fate, InMemory, OneAccount};
use super::maildrop::Accounts;
use super::{Pop3Server, REFUSAL, Settings};
use crate::listen::{Connection, Door, Entrance, Limits, Server};

/// The part of a dialogue before the first `connect`.
fn mailbox_of(script: &str) -> InMemory {
    let mut mailbox = InMemory::default();
    for line in script.lines() {
        if let Some(fate) = line.strip_prefix("message") {
            match fate.trim() {
                "" => mailbox.push(Fate::Whole, Vec::new()),
                "long" => mailbox.push(Fate::Whole, b"filling\r\n".repeat(3_000_000)),
                "damaged" => mailbox.push(Fate::Damaged, Vec::new()),
                "damaged in the middle" => {
                    mailbox.push(Fate::DamagedInTheMiddle, b"filling\r\n".repeat(20_000));
                }
                "gone" => mailbox.push(Fate::Gone, Vec::new()),
                other => panic!("no such fate: {other}"),
            }
        } else if let Some(line) = line.strip_prefix("| ").or((line == "|").then_some("")) {
            mailbox.push_line(line);
        } else if line == "deletes fail" {
            mailbox.deletes_fail = true;
        }
    }
    mailbox
}

pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

pub(super) struct Client {
    pub(super) stream: BufReader<Box<dyn Duplex>>,
    pub(super) served: JoinHandle<()>,
    unsent: String,
}

pub(super) struct Stage {
    server: Pop3Server<OneAccount, InMemory>,
    mailbox: Arc<InMemory>,
    door: Door,
    pub(super) shutdown: Switch,
    trust: Trust,
    pub(super) clients: HashMap<String, Client>,
    current: String,
}

impl Stage {
    pub(super) fn new(script: &str) -> Self {
        Self::with(script, Settings { failure_pause: Duration::ZERO, ..Settings::default() })
    }

    pub(super) fn with(script: &str, settings: Settings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let names = ["localhost".to_owned()];
        let identity =
            Identity::self_signed(&RealDisk, dir.path(), &names, SystemClock::new().wall()).unwrap();
        let mailbox = Arc::new(mailbox_of(script));
        let server = Pop3Server::new(Arc::new(OneAccount), Arc::clone(&mailbox), settings);
        let (shutdown, stop) = switch();
        let door = Door {
            entrance: Entrance::Pop3,
            tls: identity.server_config().unwrap(),
            limits: Limits::new(10, 10),
            refusal: REFUSAL,
            shutdown: stop,
        };
        let trust = Trust::Pinned(identity.fingerprint());
        Self { server, mailbox, door, shutdown, trust, clients: HashMap::new(), current: String::new() }
    }

    pub(super) async fn step(&mut self, step: &str) {
        if let Some(line) = step.strip_prefix("C:") {
            let line = line.strip_prefix(' ').unwrap_or(line);
            self.client().unsent.push_str(&format!("{line}\r\n"));
            return;
        }
        if !self.current.is_empty() {
            self.send().await;
        }
        if let Some(expected) = step.strip_prefix("S:") {
            let expected = expected.strip_prefix(' ').unwrap_or(expected);
            let found = self.client().line().await;
            assert_eq!(found.trim_end_matches("\r\n").trim_end(), expected.trim_end());
            assert!(found.ends_with("\r\n"), "{found:?} ends in CRLF");
        } else if let Some(how) = step.strip_prefix("connect ") {
            self.connect(how).await;
        } else if let Some(name) = step.strip_prefix("use ") {
            name.clone_into(&mut self.current);
        } else if let Some(left) = step.strip_prefix("left:") {
            let expected: Vec<u8> = left.split_whitespace().map(|number| number.parse().unwrap()).collect();
            assert_eq!(self.mailbox.left(), expected, "messages left");
        } else {
            match step {
                "handshake" => self.handshake().await,
                "send" => {}
                "closed" => {
                    let Client { mut stream, served, .. } = self.clients.remove(&self.current).unwrap();
                    let mut rest = String::new();
                    // Closed without a farewell of TLS is closed, too.
                    let _ = stream.read_line(&mut rest).await;
                    assert_eq!(rest, "", "nothing more is said");
                    served.await.unwrap();
                }
                "hang up" => {
                    let Client { stream, served, .. } = self.clients.remove(&self.current).unwrap();
                    drop(stream);
                    served.await.unwrap();
                }
                _ => assert!(is_setup(step), "no such step: {step}"),
            }
        }
    }

    fn client(&mut self) -> &mut Client {
        self.clients.get_mut(&self.current).expect("connect first")
    }

    async fn send(&mut self) {
        if let Some(client) = self.clients.get_mut(&self.current) {
            let unsent = std::mem::take(&mut client.unsent);
            client.stream.write_all(unsent.as_bytes()).await.unwrap();
            client.stream.flush().await.unwrap();
        }
    }

    /// Several steps.
    pub(super) async fn steps(&mut self, steps: &[&str]) {
        for step in steps {
            self.step(step).await;
        }
    }

    async fn connect(&mut self, how: &str) {
        let server = self.server.clone();
        self.connect_to(&server, how).await;
    }

    pub(super) async fn connect_to<A: Accounts>(&mut self, server: &Pop3Server<A, InMemory>, how: &str) {
        let (listener, name) = how.split_once(" as ").unwrap_or((how, "the client"));
        let implicit = listener == "pop3s";
        let listening = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listening.local_addr().unwrap()).await.unwrap();
        let (far, peer) = listening.accept().await.unwrap();
        let (server, door) = (server.clone(), self.door.clone());
        let served = tokio::spawn(async move {
            let mut connection = Connection::new(far, peer);
            if implicit {
                connection = connection.start_tls(Arc::clone(&door.tls)).await.expect("a handshake");
            }
            server.serve(connection, door).await;
        });
        name.clone_into(&mut self.current);
        let stream = BufReader::new(Box::new(near) as Box<dyn Duplex>);
        self.clients.insert(name.to_owned(), Client { stream, served, unsent: String::new() });
        if implicit {
            self.handshake().await;
        }
    }

    async fn handshake(&mut self) {
        let Client { stream, served, unsent } = self.clients.remove(&self.current).unwrap();
        assert!(stream.buffer().is_empty(), "the server said more than the dialogue expects");
        let connector = TlsConnector::from(Arc::new(client_config(&self.trust).unwrap()));
        let name = ServerName::try_from("localhost").unwrap();
        let stream = connector.connect(name, stream.into_inner()).await.expect("a handshake");
        let stream = BufReader::new(Box::new(stream) as Box<dyn Duplex>);
        self.clients.insert(self.current.clone(), Client { stream, served, unsent });
    }
}

impl Client {
    pub(super) async fn line(&mut self) -> String {
        let mut line = String::new();
        let reading = tokio::time::timeout(Duration::from_secs(10), self.stream.read_line(&mut line));
        reading
            .await
            .expect("the server answers")
            .unwrap_or_else(|error| panic!("instead of a line: {error}"));
        line
    }
}

fn is_setup(step: &str) -> bool {
    step.starts_with("message") || step.starts_with('|') || step == "deletes fail"
}

async fn play(file: &Path) {
    let text = String::from_utf8(RealDisk.read(file, 1024 * 1024).unwrap()).unwrap();
    let mut stage = Stage::new(&text);
    for (index, step) in text.lines().enumerate() {
        if step.is_empty() || step.starts_with('#') {
            continue;
        }
        let place = format!("{}:{}: {step}", file.display(), index + 1);
        println!("{place}");
        stage.step(step).await;
    }
    if stage.clients.contains_key(&stage.current) {
        stage.send().await;
    }
}

/// One test for all files: the last line printed before a failure is the step that failed.
#[tokio::test]
async fn every_dialogue_is_as_written() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/dialogues/pop3");
    let files = RealDisk.files(&dir).unwrap();
    assert!(files.len() >= 10, "the dialogues are in {}", dir.display());
    for file in files {
        play(&file).await;
    }
}
