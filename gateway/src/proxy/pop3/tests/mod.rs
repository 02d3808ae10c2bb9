//! The relay with real connections, a real spool, and a server that follows a script.

mod server;
mod sessions;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use postern_shared::clock::{Clock, SystemClock};
use postern_shared::crypto::keys::PrivateKey;
use postern_shared::crypto::password::Argon2Cost;
use postern_shared::disk::{Disk, RealDisk};
use postern_shared::id::{MailboxId, MessageIds};
use postern_shared::proto::mime::trace;
use postern_shared::shutdown::{Switch, switch};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::driver::{Deadlines, Driver, Ended};
use super::machine::Options;
use super::recorder::{Recorder, Recording, Source};
use super::seen::Seen;
use super::stage::options;
use crate::intake::SealingIntake;
use crate::listen::Connection;
use crate::mailbox::{Edit, Registry, Status};
use crate::pop3_server::SpooledMaildrops;
use crate::pop3_server::maildrop::{Maildrops, ServedMessage};
use crate::proxy::upstream::Link;
use crate::smtp_receiver::SpooledMailboxes;
use crate::spool::{SegmentSpool, Spool};

const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway with one mailbox.
struct Gateway {
    recording: Arc<Recording<SealingIntake>>,
    registry: Arc<Registry>,
    spool: Arc<dyn Spool>,
    mailbox: MailboxId,
    key: PrivateKey,
    options: Options,
    deadlines: Deadlines,
    _dir: Arc<tempfile::TempDir>,
}

impl Gateway {
    fn new() -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        Self::on(&dir, &disk)
    }

    /// With a spool on another disk; all else is on a real one.
    fn on(dir: &Arc<tempfile::TempDir>, disk: &Arc<dyn Disk>) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let real: Arc<dyn Disk> = Arc::new(RealDisk);
        let mailboxes = dir.path().join("mailboxes");
        let registry = Registry::open(
            Arc::clone(&real),
            Arc::clone(&clock),
            &mailboxes,
            "gateway.example.com",
            Argon2Cost::TESTS_ONLY,
        );
        let registry = Arc::new(registry.unwrap());
        let (mailbox, password) = registry.create("anna", "", None).unwrap();
        let (_, key) = registry.unlock(&mailbox.id.to_string(), &password).unwrap();
        let spool = open_spool(dir.path(), disk, &clock);
        let intake = SealingIntake::new(
            Arc::clone(&registry),
            Arc::clone(&spool),
            Arc::clone(&clock),
            Arc::new(MessageIds::default()),
            "gateway.example.com".into(),
        );
        let recording = Recording {
            intake,
            seen: Seen::open(real, dir.path(), Arc::clone(&clock)).unwrap(),
            mailboxes: Arc::new(SpooledMailboxes::new(Arc::clone(&registry), Arc::clone(&spool))),
            disk: Arc::clone(disk),
            data_dir: dir.path().to_owned(),
            reserve_bytes: 0,
        };
        Self {
            recording: Arc::new(recording),
            registry,
            spool,
            mailbox: mailbox.id,
            key,
            options: Options { message_octets_max: 100_000_000, ..options() },
            deadlines: Deadlines { idle: PATIENCE, reply: PATIENCE, clock },
            _dir: Arc::clone(dir),
        }
    }

    fn suspend(&self) {
        let edit = Edit { status: Some(Status::Suspended), ..Edit::default() };
        self.registry.edit(self.mailbox, edit).unwrap();
    }

    /// A session with `server`, whose messages are `anna`'s.
    async fn session(&self, server: SocketAddr) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        far.set_nodelay(true).unwrap();
        let (near, peer) = listener.accept().await.unwrap();
        let upstream = TcpStream::connect(server).await.unwrap();
        let link = Link::new(upstream, server, "pop.example.com:995".into(), PATIENCE);
        let source = Source {
            mailbox: self.mailbox,
            account: "anna%pop.example.com".into(),
            server: "pop.example.com:995".into(),
            server_tls: None,
            client: peer,
            tls: None,
        };
        let recorder = Recorder::new(Arc::clone(&self.recording), source);
        let client = Connection::new(near, peer);
        let driver = Driver::new(client, link, self.options.clone(), recorder, self.deadlines.clone());
        let (stop, stopped) = switch();
        Client { stream: BufReader::new(far), served: tokio::spawn(driver.run(stopped)), stop }
    }

    /// The contents of all copies, in order of arrival, and the unique-ids in their traces.
    fn copies(&self) -> Vec<(Option<String>, Vec<u8>)> {
        let maildrops = SpooledMaildrops::new(Arc::clone(&self.spool));
        let served = maildrops.snapshot(self.mailbox).into_iter().map(|entry| {
            let mut message = maildrops.open(self.mailbox, entry.id, &self.key).unwrap();
            let mut octets = Vec::new();
            while let Some(piece) = message.next_piece().unwrap() {
                octets.extend_from_slice(piece);
            }
            assert_eq!(octets.len() as u64, entry.served_bytes);
            let (trace, content) = trace::split(&octets);
            let proxied = trace.unwrap().proxied.unwrap();
            assert_eq!(proxied.account, "anna%pop.example.com");
            (proxied.uidl, content.to_vec())
        });
        served.collect()
    }
}

fn open_spool(dir: &Path, disk: &Arc<dyn Disk>, clock: &Arc<dyn Clock>) -> Arc<dyn Spool> {
    let settings = crate::spool::Settings { reserve_bytes: 0, ..crate::spool::Settings::default() };
    let spool =
        SegmentSpool::open(Arc::clone(disk), Arc::clone(clock), &dir.join("spool"), settings).unwrap();
    Arc::new(spool)
}

/// A mail client that has just logged in.
struct Client {
    stream: BufReader<TcpStream>,
    served: JoinHandle<(Ended, u64)>,
    stop: Switch,
}

impl Client {
    async fn send(&mut self, lines: &str) {
        self.stream.write_all(lines.replace('\n', "\r\n").as_bytes()).await.unwrap();
    }

    /// The next line, without its end; empty when the connection is closed.
    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.unwrap();
        line.trim_end_matches("\r\n").to_owned()
    }

    /// What `command` is answered with, in one line.
    async fn ask(&mut self, command: &str) -> String {
        self.send(&format!("{command}\n")).await;
        self.line().await
    }

    /// The lines of a response up to its dot, joined and as they came.
    async fn lines(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let start = all.len();
            let n = self.stream.read_until(b'\n', &mut all).await.unwrap();
            assert!(n > 0, "the end of the response is missing");
            if &all[start..] == b".\r\n" && (start == 0 || all[..start].ends_with(b"\r\n")) {
                all.truncate(start);
                return all;
            }
        }
    }

    /// All that still comes until the connection is closed.
    async fn rest(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        self.stream.read_to_end(&mut all).await.unwrap();
        all
    }

    /// Why the session ended, and how many copies it made.
    async fn ended(self) -> (String, u64) {
        let (ended, recorded) = self.served.await.unwrap();
        (ended.to_string(), recorded)
    }
}
