//! Tests only: servers that follow a script, most of them hostile.
//!
//! One line each: `S: ` sends it, `C: ` expects it, `HANDSHAKE` begins TLS, `RAW ` sends with `\r\n` spelt out, `HANG` waits
//! until the client goes. A server that begins in clear shakes hands only where its script says so.

use postern_shared::clock::{Clock, SystemClock};
use postern_shared::disk::RealDisk;
use postern_shared::proto::pop3::client::TlsStart;
use postern_shared::tls::client::Trust;
use postern_shared::tls::server::Identity;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// One that takes a connection for each of its scripts.
pub(crate) struct Server {
    pub(crate) port: u16,
    /// Trusts its certificate.
    pub(crate) trust: Trust,
    pub(crate) served: JoinHandle<Result<(), String>>,
}

impl Server {
    pub(crate) async fn start(tls: TlsStart, scripts: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let names = ["127.0.0.1".to_owned()];
        let identity =
            Identity::self_signed(&RealDisk, dir.path(), &names, SystemClock::new().wall()).unwrap();
        let acceptor = TlsAcceptor::from(identity.server_config().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let trust = Trust::Pinned(identity.fingerprint());
        let scripts: Vec<String> = scripts.iter().map(|script| (*script).to_owned()).collect();
        let served = tokio::spawn(async move {
            for script in scripts {
                let (stream, _) = listener.accept().await.map_err(|error| error.to_string())?;
                converse(stream, &acceptor, tls, &script).await?;
            }
            Ok(())
        });
        Self { port, trust, served }
    }

    /// What went against the script.
    pub(crate) async fn end(self) -> Result<(), String> {
        self.served.await.map_err(|error| error.to_string())?
    }
}

async fn converse(tcp: TcpStream, acceptor: &TlsAcceptor, tls: TlsStart, script: &str) -> Result<(), String> {
    let mut tcp = BufReader::new(tcp);
    let mut encrypted = Some(script);
    if tls == TlsStart::Stls {
        let (before, after) =
            script.split_once("\nHANDSHAKE\n").map_or((script, None), |(a, b)| (a, Some(b)));
        play(&mut tcp, before).await?;
        encrypted = after;
    }
    if let Some(script) = encrypted {
        let stream = acceptor.accept(tcp.into_inner()).await.map_err(|error| error.to_string())?;
        let mut stream = BufReader::new(stream);
        play(&mut stream, script).await?;
        // The client may be gone already.
        let _ = stream.shutdown().await;
    }
    Ok(())
}

async fn play(
    mut stream: impl AsyncWrite + AsyncRead + AsyncBufReadExt + Unpin,
    script: &str,
) -> Result<(), String> {
    for step in script.lines().map(str::trim_start).filter(|step| !step.is_empty()) {
        if let Some(line) = step.strip_prefix("S: ").or((step == "S:").then_some("")) {
            stream.write_all(format!("{line}\r\n").as_bytes()).await.map_err(|error| error.to_string())?;
        } else if let Some(text) = step.strip_prefix("RAW ") {
            stream
                .write_all(text.replace("\\r\\n", "\r\n").as_bytes())
                .await
                .map_err(|error| error.to_string())?;
        } else if let Some(expected) = step.strip_prefix("C: ") {
            let mut line = String::new();
            stream.read_line(&mut line).await.map_err(|error| error.to_string())?;
            if line.trim_end() != expected {
                return Err(format!("expected {expected:?}, got {line:?}"));
            }
        } else {
            let mut rest = Vec::new();
            let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await;
        }
        stream.flush().await.map_err(|error| error.to_string())?;
    }
    Ok(())
}
