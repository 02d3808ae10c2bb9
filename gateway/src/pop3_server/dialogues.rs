//! Runs the dialogues in `tests/dialogues/pop3` against the real driver, over TLS and an in-memory mailbox.
//!
//! A dialogue is a text file; `#` begins a comment. First the mailbox, then what happens:
//!
//! ```text
//! message                    a message, its lines below, each behind `| `
//! message damaged            one that cannot be opened
//! message damaged in the middle   one that ends before its time
//! message gone               one that disappears before it is opened
//! deletes fail               the disk refuses deletions
//!
//! connect pop3 | pop3s [as NAME]   a session in clear, or with TLS; the ones before stay open
//! use NAME                   goes on with another open session
//! C: text                    the client sends a line; lines after each other go in one write
//! S: text                    the server must send exactly this line
//! handshake                  TLS begins
//! closed                     the server must have closed the connection
//! hang up                    the client goes without a word
//! left: 1 3                  these messages must be in the mailbox, by their order in the file
//! ```
//!
//! The mailbox is `mbx-000000000000000a` with the password `open sesame`.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postern_shared::clock::{Clock, SystemClock};
use postern_shared::crypto::keys::PrivateKey;
use postern_shared::disk::{Disk, RealDisk};
use postern_shared::id::{MailboxId, MessageId};
use postern_shared::tls::client::{Trust, client_config};
use postern_shared::tls::server::Identity;
use rustls::ServerConfig;
use rustls::pki_types::ServerName;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::maildrop::{Accounts, DeleteError, Entry, LoginError, Maildrops, ReadError, ServedMessage};
use super::{Pop3Server, Settings, TlsStart};

fn mailbox() -> MailboxId {
    MailboxId::from_bytes([0, 0, 0, 0, 0, 0, 0, 0xa])
}

struct OneAccount;

impl Accounts for OneAccount {
    fn unlock(&self, user: &str, password: &SecretString) -> Result<(MailboxId, PrivateKey), LoginError> {
        if user.parse() == Ok(mailbox()) && password.expose_secret() == "open sesame" {
            Ok((mailbox(), PrivateKey::generate()))
        } else {
            Err(LoginError::WrongPassword)
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Whole,
    Damaged,
    DamagedInTheMiddle,
    Gone,
}

#[derive(Debug, Default)]
struct InMemory {
    messages: Mutex<Vec<(Entry, Fate, Vec<u8>)>>,
    deletes_fail: bool,
}

struct Pieces {
    id: MessageId,
    content: Vec<u8>,
    at: usize,
    fate: Fate,
}

impl ServedMessage for Pieces {
    /// Odd pieces of 7 octets, so that borders fall everywhere.
    fn next_piece(&mut self) -> Result<Option<&[u8]>, ReadError> {
        // More than the driver collects before it sends, so that the fault comes amid the content.
        if self.fate == Fate::DamagedInTheMiddle && self.at > 100_000 {
            return Err(ReadError::Damaged { id: self.id, what: "a hole".into() });
        }
        let start = self.at;
        self.at = self.content.len().min(start + 7);
        Ok((start < self.at).then(|| &self.content[start..self.at]))
    }
}

impl Maildrops for InMemory {
    type Message = Pieces;

    fn snapshot(&self, of: MailboxId) -> Vec<Entry> {
        assert_eq!(of, mailbox());
        self.messages.lock().unwrap().iter().map(|(entry, ..)| *entry).collect()
    }

    fn open(&self, _: MailboxId, id: MessageId, _: &PrivateKey) -> Result<Pieces, ReadError> {
        let messages = self.messages.lock().unwrap();
        let found = messages.iter().find(|(entry, ..)| entry.id == id);
        match found {
            None | Some((_, Fate::Gone, _)) => Err(ReadError::Gone { id }),
            Some((_, Fate::Damaged, _)) => Err(ReadError::Damaged { id, what: "segment 7 at byte 9".into() }),
            Some((_, fate, content)) => Ok(Pieces { id, content: content.clone(), at: 0, fate: *fate }),
        }
    }

    async fn delete(&self, mailbox: MailboxId, ids: &[MessageId]) -> Result<(), DeleteError> {
        tokio::task::yield_now().await;
        if self.deletes_fail {
            return Err(DeleteError { mailbox, what: "disk full".into() });
        }
        self.messages.lock().unwrap().retain(|(entry, ..)| !ids.contains(&entry.id));
        Ok(())
    }
}

fn number(id: MessageId) -> u8 {
    id.to_bytes()[15]
}

/// The part of a dialogue before the first `connect`.
fn mailbox_of(script: &str) -> InMemory {
    let mut mailbox = InMemory::default();
    let messages = mailbox.messages.get_mut().unwrap();
    for line in script.lines() {
        if let Some(fate) = line.strip_prefix("message") {
            let (fate, content) = match fate.trim() {
                "" => (Fate::Whole, Vec::new()),
                "damaged" => (Fate::Damaged, Vec::new()),
                "damaged in the middle" => (Fate::DamagedInTheMiddle, b"filling\r\n".repeat(20_000)),
                "gone" => (Fate::Gone, Vec::new()),
                other => panic!("no such fate: {other}"),
            };
            let mut id = [0; 16];
            id[15] = u8::try_from(messages.len() + 1).unwrap();
            let entry = Entry { id: MessageId::from_bytes(id), served_bytes: content.len() as u64 };
            messages.push((entry, fate, content));
        } else if let Some(line) = line.strip_prefix("| ").or((line == "|").then_some("")) {
            let (entry, _, content) = messages.last_mut().expect("a message before its lines");
            content.extend_from_slice(format!("{line}\r\n").as_bytes());
            entry.served_bytes = content.len() as u64;
        } else if line == "deletes fail" {
            mailbox.deletes_fail = true;
        }
    }
    mailbox
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

struct Client {
    stream: BufReader<Box<dyn Duplex>>,
    served: JoinHandle<()>,
    unsent: String,
}

struct Stage {
    server: Arc<Pop3Server<OneAccount, InMemory>>,
    mailbox: Arc<InMemory>,
    tls: Arc<ServerConfig>,
    trust: Trust,
    clients: HashMap<String, Client>,
    current: String,
}

impl Stage {
    fn new(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let names = ["localhost".to_owned()];
        let identity =
            Identity::self_signed(&RealDisk, dir.path(), &names, SystemClock::new().wall()).unwrap();
        let mailbox = Arc::new(mailbox_of(script));
        let settings = Settings { failure_pause: Duration::ZERO, ..Settings::default() };
        let server = Arc::new(Pop3Server::new(Arc::new(OneAccount), Arc::clone(&mailbox), settings));
        let tls = identity.server_config().unwrap();
        let trust = Trust::Pinned(identity.fingerprint());
        Self { server, mailbox, tls, trust, clients: HashMap::new(), current: String::new() }
    }

    async fn step(&mut self, step: &str) {
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
            let messages = self.mailbox.messages.lock().unwrap();
            let found: Vec<u8> = messages.iter().map(|(entry, ..)| number(entry.id)).collect();
            assert_eq!(found, expected, "messages left");
        } else {
            match step {
                "handshake" => self.handshake().await,
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

    async fn connect(&mut self, how: &str) {
        let (listener, name) = how.split_once(" as ").unwrap_or((how, "the client"));
        let start = if listener == "pop3s" { TlsStart::Implicit } else { TlsStart::Stls };
        // Small, so that the server has to wait for the client all the time.
        let (near, far) = tokio::io::duplex(300);
        let (server, tls) = (Arc::clone(&self.server), Arc::clone(&self.tls));
        let served = tokio::spawn(async move { server.serve(far, &"test", tls, start).await });
        name.clone_into(&mut self.current);
        let stream = BufReader::new(Box::new(near) as Box<dyn Duplex>);
        self.clients.insert(name.to_owned(), Client { stream, served, unsent: String::new() });
        if start == TlsStart::Implicit {
            self.handshake().await;
        }
    }

    async fn handshake(&mut self) {
        let Client { stream, served, unsent } = self.clients.remove(&self.current).unwrap();
        assert!(stream.buffer().is_empty(), "the server said more than the dialogue expects");
        let connector = TlsConnector::from(client_config(self.trust).unwrap());
        let name = ServerName::try_from("localhost").unwrap();
        let stream = connector.connect(name, stream.into_inner()).await.expect("a handshake");
        let stream = BufReader::new(Box::new(stream) as Box<dyn Duplex>);
        self.clients.insert(self.current.clone(), Client { stream, served, unsent });
    }
}

impl Client {
    async fn line(&mut self) -> String {
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

/// Goal: a broken connection frees the maildrop and deletes nothing, also when the server was amid a message.
#[tokio::test]
async fn a_client_that_vanishes_amid_a_message_leaves_everything() {
    let script = "message\n".to_owned() + &"| filling\n".repeat(100_000);
    let mut stage = Stage::new(&script);
    for _ in 0..2 {
        for step in [
            "connect pop3s",
            "S: +OK Postern ready",
            "C: USER mbx-000000000000000a",
            "C: PASS open sesame",
            "C: DELE 1",
            "C: RSET",
            "C: RETR 1",
            "S: +OK Send PASS",
            "S: +OK Maildrop has 1 messages, 900000 octets",
            "S: +OK Message 1 marked",
            "S: +OK No message is marked",
            "S: +OK 900000 octets",
            "S: filling",
            "hang up",
            "left: 1",
        ] {
            stage.step(step).await;
        }
    }
}

/// Goal: a session that is cancelled from outside (shutdown) lets the maildrop go.
#[tokio::test]
async fn an_aborted_session_frees_the_maildrop() {
    let mut stage = Stage::new("message\n| x\n");
    let login = [
        "connect pop3s",
        "S: +OK Postern ready",
        "C: AUTH PLAIN AG1ieC0wMDAwMDAwMDAwMDAwMDBhAG9wZW4gc2VzYW1l",
        "S: +OK Maildrop has 1 messages, 3 octets",
    ];
    for _ in 0..2 {
        for step in login {
            stage.step(step).await;
        }
        let Client { served, stream, .. } = stage.clients.remove("the client").unwrap();
        served.abort();
        assert!(served.await.unwrap_err().is_cancelled());
        drop(stream);
    }
}

/// Goal: content that cannot be completed never gets an end, so no client takes it for a whole message.
#[tokio::test]
async fn a_message_damaged_in_the_middle_ends_the_connection() {
    let mut stage = Stage::new("message damaged in the middle\n");
    for step in [
        "connect pop3s",
        "S: +OK Postern ready",
        "C: AUTH PLAIN AG1ieC0wMDAwMDAwMDAwMDAwMDBhAG9wZW4gc2VzYW1l",
        "C: RETR 1",
        "C: DELE 1",
        "C: QUIT",
        "S: +OK Maildrop has 1 messages, 180000 octets",
        "S: +OK 180000 octets",
    ] {
        stage.step(step).await;
    }
    let Client { mut stream, served, .. } = stage.clients.remove("the client").unwrap();
    let mut rest = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await;
    served.await.unwrap();
    assert!(rest.starts_with(b"filling\r\nfilling\r\n") && rest.len() < 180_000, "{} octets", rest.len());
    assert!(!rest.windows(3).any(|three| three == b".\r\n"), "no end is given");
    stage.step("left: 1").await;
}

/// Goal: a failed login costs its pause before it is answered.
#[tokio::test]
async fn a_failed_login_waits() {
    let pause = Duration::from_millis(30);
    let mut stage = Stage::new("");
    let settings = Settings { failure_pause: pause, ..Settings::default() };
    stage.server = Arc::new(Pop3Server::new(Arc::new(OneAccount), Arc::clone(&stage.mailbox), settings));
    for step in ["connect pop3s", "S: +OK Postern ready", "C: USER x", "S: +OK Send PASS"] {
        stage.step(step).await;
    }
    let clock = SystemClock::new();
    for step in ["C: PASS y", "S: -ERR [AUTH] Wrong user name or password"] {
        stage.step(step).await;
    }
    assert!(clock.moment().since(postern_shared::clock::Moment::default()) >= pause);
}
