//! A server that does what a script says, with a certificate of its own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postern_shared::tls::client::Trust;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::super::dial::Dialer;
use crate::proxy::Host;
use crate::proxy::targets::{Target, TlsMode};
use crate::settings::Settings;

/// What a server does.
#[derive(Debug, Clone, Copy)]
pub(in crate::proxy) enum Act {
    /// Sends octets.
    Say(&'static [u8]),
    /// Sends octets again and again, until the client has gone.
    Flood(&'static [u8]),
    /// Waits for a line.
    Hear,
    /// Shakes hands.
    Tls,
    /// Waits until the client has gone.
    Stall,
}

/// A server, and all it heard.
pub(in crate::proxy) struct Scripted {
    pub(in crate::proxy) address: SocketAddr,
    pub(in crate::proxy) heard: Arc<Mutex<String>>,
    pub(in crate::proxy) authority: tempfile::TempDir,
}

trait Both: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Both for T {}

/// Which certificate a server shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum Shown {
    /// One for `localhost`, of the authority in `authority`.
    Good,
    /// The same for another name.
    OtherName,
    /// The same, expired.
    Expired,
    /// Signed by itself.
    SelfSigned,
}

impl Scripted {
    /// Serves every connection by the same script; then it closes.
    pub(in crate::proxy) async fn start(shown: Shown, script: &'static [Act]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(String::new()));
        let authority = tempfile::tempdir().unwrap();
        let config = Arc::new(server_config(shown, &authority));
        let ears = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&config), script, Arc::clone(&ears)));
            }
        });
        Self { address, heard, authority }
    }

    /// Whom to trust to reach it.
    pub(in crate::proxy) fn trust(&self) -> Trust {
        Trust::Authorities(self.authority.path().join("ca.pem"))
    }

    /// The server as a target, by the name `localhost`.
    pub(in crate::proxy) fn target(&self, tls: TlsMode) -> Target {
        let host = Host::Name("localhost".into());
        Target { host, port: self.address.port(), tls, trust: self.trust() }
    }

    /// A dialer that may go there, as patient as `deadline`.
    pub(in crate::proxy) fn dialer(&self, deadline: &str) -> Dialer {
        let text = format!(
            "[proxy]\nallow_private_targets = true\ntrust = '{}'\nconnect_deadline = '{deadline}'\nlogin_deadline = '{deadline}'",
            self.trust()
        );
        dialer(&text)
    }

    pub(in crate::proxy) fn heard(&self) -> String {
        self.heard.lock().unwrap().clone()
    }
}

/// A dialer by these settings, for which every name is this machine.
pub(in crate::proxy) fn dialer(text: &str) -> Dialer {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gateway.toml");
    let disk = postern_shared::disk::RealDisk;
    postern_shared::disk::write_atomic(&disk, &path, text.as_bytes()).unwrap();
    let settings = Settings::load(&disk, Some(&path), Vec::new()).unwrap().proxy;
    let here = Arc::new(|_: &str| Ok(vec!["127.0.0.1".parse().unwrap()]));
    Dialer::with_look_up(&settings, "gw.example", Vec::new(), here).unwrap()
}

async fn serve(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    script: &'static [Act],
    heard: Arc<Mutex<String>>,
) {
    let mut stream: Box<dyn Both> = Box::new(stream);
    for act in script {
        let done = match act {
            Act::Say(octets) => stream.write_all(octets).await.is_ok() && stream.flush().await.is_ok(),
            Act::Flood(octets) => {
                while stream.write_all(octets).await.is_ok() {}
                false
            }
            Act::Hear => hear(&mut stream, &heard).await,
            Act::Tls => match TlsAcceptor::from(Arc::clone(&config)).accept(stream).await {
                Ok(secured) => {
                    stream = Box::new(secured);
                    true
                }
                Err(_) => return,
            },
            Act::Stall => {
                while stream.read_u8().await.is_ok() {}
                false
            }
        };
        if !done {
            return;
        }
    }
    // The client may have gone first.
    let _ = stream.shutdown().await;
}

async fn hear(stream: &mut (dyn Both + '_), heard: &Mutex<String>) -> bool {
    loop {
        let Ok(octet) = stream.read_u8().await else { return false };
        heard.lock().unwrap().push(char::from(octet));
        if octet == b'\n' {
            return true;
        }
    }
}

fn server_config(shown: Shown, authority: &tempfile::TempDir) -> ServerConfig {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap();
    let disk = postern_shared::disk::RealDisk;
    let file = authority.path().join("ca.pem");
    postern_shared::disk::write_atomic(&disk, &file, issuer.pem().as_bytes()).unwrap();
    let name = if shown == Shown::OtherName { "elsewhere.example" } else { "localhost" };
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    if shown == Shown::Expired {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    }
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = match shown {
        Shown::SelfSigned => params.self_signed(&key).unwrap(),
        _ => params.signed_by(&key, &issuer).unwrap(),
    };
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap()
}

/// Fails the test when `work` takes longer than any of them should.
pub(in crate::proxy) async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("no hang")
}
