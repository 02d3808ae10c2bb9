//! A server of our own under TLS from the first octet, that does with each connection what a test tells it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use postern_tests::upstream::Identity;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Ended when it is dropped.
pub(crate) struct Scripted {
    pub(crate) port: u16,
    address: SocketAddr,
    ends: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

/// A connection as the server sees it.
pub(crate) struct Peer(BufReader<StreamOwned<ServerConnection, TcpStream>>);

/// A peer that is silent for so long fails its test instead of hanging it.
const DEADLINE: Duration = Duration::from_secs(60);

impl Scripted {
    /// Starts one; `serve` is called for each connection, and the connection ends with it.
    pub(crate) fn start(
        identity: &Identity,
        serve: impl Fn(&mut Peer) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::start_on(TcpListener::bind("127.0.0.1:0")?, identity, serve)
    }

    /// Starts one on that socket.
    pub(crate) fn start_on(
        listener: TcpListener,
        identity: &Identity,
        serve: impl Fn(&mut Peer) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Self> {
        let chain = vec![CertificateDer::from_pem_file(&identity.certificate)?];
        let key = PrivateKeyDer::from_pem_file(&identity.key)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        let config = Arc::new(config);
        let address = listener.local_addr()?;
        let ends = Arc::new(AtomicBool::new(false));
        let (told, serve) = (Arc::clone(&ends), Arc::new(serve));
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if told.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(stream), config, serve) = (stream, Arc::clone(&config), Arc::clone(&serve)) else {
                    return;
                };
                std::thread::spawn(move || {
                    if let Ok(mut peer) = Peer::new(config, stream) {
                        // A client that goes is what many tests are about; others see what is missing.
                        let _ = serve(&mut peer);
                        peer.end();
                    }
                });
            }
        });
        Ok(Self { port: address.port(), address, ends, accepting: Some(accepting) })
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl Peer {
    fn new(config: Arc<ServerConfig>, stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Self(BufReader::new(StreamOwned::new(ServerConnection::new(config)?, stream))))
    }

    /// Sends that.
    pub(crate) fn say(&mut self, octets: impl AsRef<[u8]>) -> Result<()> {
        let stream = self.0.get_mut();
        stream.write_all(octets.as_ref())?;
        Ok(stream.flush()?)
    }

    /// The next line without its end; an error at the end of the stream.
    pub(crate) fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        let read = self.0.read_until(b'\n', &mut line)?;
        ensure!(read > 0, "the client is gone");
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// Says nothing more, until the client goes.
    pub(crate) fn fall_silent(&mut self) -> Result<()> {
        loop {
            self.line()?;
        }
    }

    /// Lines up to a lone dot, which is taken too.
    pub(crate) fn content(&mut self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            match self.line()? {
                line if line == "." => return Ok(lines),
                line => lines.push(line),
            }
        }
    }

    /// Says nothing more, and that it will not; returns when the client has gone too.
    pub(crate) fn hang_up(&mut self) -> Result<()> {
        let stream = self.0.get_mut();
        stream.conn.send_close_notify();
        stream.flush()?;
        stream.sock.shutdown(Shutdown::Write)?;
        // The client's end, however it comes.
        let _ = self.fall_silent();
        Ok(())
    }

    fn end(&mut self) {
        let stream = self.0.get_mut();
        stream.conn.send_close_notify();
        // The client may be gone already.
        let _ = stream.flush();
        let _ = stream.sock.shutdown(Shutdown::Both);
    }
}

/// An SMTP server up to MAIL: greeting, two EHLOs with these extensions, and AUTH between them. Gives back the first line
/// that is none of this.
pub(crate) fn smtp_login(peer: &mut Peer, before: &str, behind: &str) -> Result<String> {
    peer.say("220 scripted.test ESMTP\r\n")?;
    let mut logged_in = false;
    loop {
        let line = peer.line()?;
        match line.split(' ').next().unwrap_or_default().to_uppercase().as_str() {
            "EHLO" => {
                peer.say(format!("250-scripted.test\r\n{}", if logged_in { behind } else { before }))?;
            }
            "AUTH" => {
                logged_in = true;
                peer.say("235 2.7.0 ok\r\n")?;
            }
            _ => return Ok(line),
        }
    }
}

/// What it says to EHLO unless told otherwise.
pub(crate) const EXTENSIONS: &str =
    "250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 AUTH PLAIN LOGIN\r\n";

/// A POP3 server up to the login. Gives back the first line behind it that is not CAPA.
pub(crate) fn pop3_login(peer: &mut Peer) -> Result<String> {
    peer.say("+OK scripted\r\n")?;
    loop {
        let line = peer.line()?;
        match line.split(' ').next().unwrap_or_default().to_uppercase().as_str() {
            "CAPA" => peer.say("+OK\r\nUSER\r\nSASL PLAIN\r\nUIDL\r\nTOP\r\nPIPELINING\r\n.\r\n")?,
            "AUTH" if line.split(' ').count() == 2 => {
                peer.say("+ \r\n")?;
                peer.line().context("no response")?;
                peer.say("+OK\r\n")?;
            }
            "AUTH" | "USER" | "PASS" => peer.say("+OK\r\n")?,
            _ => return Ok(line),
        }
    }
}
