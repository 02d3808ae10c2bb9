//! The server that plays a script on loopback and writes down all that clients say.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::Result;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::script::{Certificate, Protocol, Script};
use super::{imap, pop3, smtp};
use crate::upstream::authority::NAMES;
use crate::upstream::{Authority, Identity};

/// A client that says more than this many lines is in a loop.
const LINES_MAX: usize = 200;

/// What one connection brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conversation {
    /// All that the client said in clear, TLS records not among it.
    pub clear: Vec<u8>,
    /// All that it said under TLS.
    pub under_tls: Vec<u8>,
    /// Whether TLS was begun, and whether the client agreed.
    pub handshake: Option<Result<(), String>>,
    /// Whether the connection is over.
    pub over: bool,
}

/// What the server does with a line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Answer {
    /// Sent as it is.
    pub(super) text: String,
    /// TLS begins behind it.
    pub(super) starts_tls: bool,
    /// The connection ends behind it.
    pub(super) ends: bool,
}

impl Answer {
    pub(super) fn say(text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }

    pub(super) fn hang_up(text: &str) -> Self {
        Self { ends: true, ..Self::say(text) }
    }
}

/// Ended when it is dropped.
#[derive(Debug)]
pub struct HostileServer {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    script: Script,
    tls: Arc<ServerConfig>,
    conversations: Mutex<Vec<Conversation>>,
    // To end what still reads.
    streams: Mutex<Vec<TcpStream>>,
    ends: AtomicBool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HostileServer {
    /// Starts one that shows the certificate that the script asks for; a good one is `authority`'s for
    /// [`NAMES`].
    pub fn play(script: &Script, authority: &Authority) -> Result<Self> {
        let identity = match script.certificate {
            Certificate::Good => authority.identity()?,
            Certificate::SelfSigned => authority.self_signed(&NAMES)?,
            Certificate::OtherName => authority.issue(&["other.example.org"])?,
            Certificate::Expired => authority.expired(&NAMES)?,
            Certificate::UnknownRoot => {
                let unknown = Authority::new()?;
                return Self::start(script, &unknown.identity()?);
            }
        };
        Self::start(script, &identity)
    }

    fn start(script: &Script, identity: &Identity) -> Result<Self> {
        let chain = vec![CertificateDer::from_pem_file(&identity.certificate)?];
        let key = PrivateKeyDer::from_pem_file(&identity.key)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        let shared = Arc::new(Shared {
            script: script.clone(),
            tls: Arc::new(tls),
            conversations: Mutex::default(),
            streams: Mutex::default(),
            ends: AtomicBool::new(false),
        });
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let of_thread = Arc::clone(&shared);
        let accepting = Some(std::thread::spawn(move || accept(&listener, &of_thread)));
        Ok(Self { address, shared, accepting })
    }

    /// What each connection brought up to now.
    pub fn conversations(&self) -> Vec<Conversation> {
        locked(&self.shared.conversations).clone()
    }
}

impl Drop for HostileServer {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::SeqCst);
        for stream in locked(&self.shared.streams).drain(..) {
            // It may be over already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut sessions = Vec::new();
    for stream in listener.incoming() {
        if shared.ends.load(Ordering::SeqCst) {
            break;
        }
        let Ok(stream) = stream else { break };
        if let Ok(clone) = stream.try_clone() {
            locked(&shared.streams).push(clone);
        }
        let number = {
            let mut conversations = locked(&shared.conversations);
            conversations.push(Conversation::default());
            conversations.len() - 1
        };
        let shared = Arc::clone(shared);
        sessions.push(std::thread::spawn(move || {
            let mut session = Session { number, shared: &shared, buffer: Vec::new() };
            // A client that goes away ends it, which is what is written down then.
            let _ = session.run(stream);
            session.write_down(|conversation| conversation.over = true);
        }));
    }
    for session in sessions {
        let _ = session.join();
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

struct Session<'s> {
    number: usize,
    shared: &'s Shared,
    buffer: Vec<u8>,
}

impl Session<'_> {
    fn write_down(&self, what: impl FnOnce(&mut Conversation)) {
        if let Some(conversation) = locked(&self.shared.conversations).get_mut(self.number) {
            what(conversation);
        }
    }

    fn run(&mut self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let script = &self.shared.script;
        if !script.implicit_tls {
            stream.write_all(script.greeting.as_bytes())?;
            if !self.talk(&mut stream, false)? {
                return stream.shutdown(Shutdown::Both);
            }
            // What came too early is dropped (RFC 3207 section 4.2).
            self.buffer.clear();
        }
        let mut tls = self.handshake(stream)?;
        if script.implicit_tls {
            tls.write_all(script.greeting.as_bytes())?;
            tls.flush()?;
        }
        self.talk(&mut tls, true)?;
        tls.conn.send_close_notify();
        tls.flush()?;
        tls.sock.shutdown(Shutdown::Both)
    }

    fn handshake(&self, mut stream: TcpStream) -> io::Result<StreamOwned<ServerConnection, TcpStream>> {
        let done = ServerConnection::new(Arc::clone(&self.shared.tls)).map_err(io::Error::other).and_then(
            |mut connection| {
                while connection.is_handshaking() {
                    connection.complete_io(&mut stream)?;
                }
                Ok(StreamOwned::new(connection, stream))
            },
        );
        let result = done.as_ref().map(|_| ()).map_err(ToString::to_string);
        self.write_down(|conversation| conversation.handshake = Some(result));
        done
    }

    /// Answers line by line; true when TLS begins now.
    fn talk(&mut self, stream: &mut dyn Stream, under_tls: bool) -> io::Result<bool> {
        let (mut smtp, mut pop3) = (smtp::State::default(), pop3::State::default());
        let mut imap = imap::State::default();
        let script = &self.shared.script;
        for _ in 0..LINES_MAX {
            let Some(line) = self.line(stream, under_tls)? else { return Ok(false) };
            let answer = match script.protocol {
                Protocol::Smtp => smtp::answer(script, &mut smtp, &line, under_tls),
                Protocol::Pop3 => pop3::answer(script, &mut pop3, &line, under_tls),
                Protocol::Imap => imap::answer(script, &mut imap, &line, under_tls),
            };
            stream.write_all(answer.text.as_bytes())?;
            stream.flush()?;
            if answer.starts_tls && !under_tls {
                return Ok(true);
            }
            if answer.ends {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// The next line; none at the end.
    fn line(&mut self, stream: &mut dyn Stream, under_tls: bool) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer) {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()));
            }
            let mut piece = [0; 4096];
            let read = stream.read(&mut piece)?;
            if read == 0 {
                return Ok(None);
            }
            self.buffer.extend_from_slice(&piece[..read]);
            self.write_down(|conversation| match under_tls {
                true => conversation.under_tls.extend_from_slice(&piece[..read]),
                false => conversation.clear.extend_from_slice(&piece[..read]),
            });
        }
    }
}
