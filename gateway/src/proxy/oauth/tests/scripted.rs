//! A provider that answers from a script.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use postern_shared::crypto::digest::Digest;
use postern_shared::disk::RealDisk;
use postern_shared::tls::server::Identity;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What to do with the next request.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// These octets, then the end.
    Raw(Vec<u8>),
    /// The same, once a permit is there; the request is counted before.
    Held(Arc<Semaphore>, Vec<u8>),
    /// Nothing, for ever.
    Silence,
    /// These octets again and again, for as long as somebody reads.
    Endless(Vec<u8>, Vec<u8>),
}

pub(super) fn http(status: &str, more: &str, body: &str) -> Vec<u8> {
    let len = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len}\r\n{more}\r\n{body}"
    )
    .into()
}

impl Answer {
    pub(super) fn json(status: &str, body: &str) -> Self {
        Self::Raw(http(status, "", body))
    }

    /// A good answer with an access token, and perhaps another refresh token.
    pub(super) fn tokens(access: &str, refresh: Option<&str>) -> Self {
        Self::json("200 OK", &tokens(access, refresh))
    }
}

pub(super) fn tokens(access: &str, refresh: Option<&str>) -> String {
    let refresh = refresh.map(|token| format!(",\"refresh_token\":\"{token}\"")).unwrap_or_default();
    format!("{{\"access_token\":\"{access}\",\"token_type\":\"Bearer\",\"expires_in\":3600{refresh}}}")
}

pub(super) struct Scripted {
    pub(super) address: SocketAddr,
    pub(super) fingerprint: Digest,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    requests: Arc<Mutex<Vec<String>>>,
    /// A permit for each request that has come whole.
    pub(super) came: Arc<Semaphore>,
}

impl Scripted {
    pub(super) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let now = postern_shared::clock::UnixMillis(1_700_000_000_000);
        let identity = Identity::self_signed(&RealDisk, dir.path(), &["localhost".into()], now).unwrap();
        let acceptor = TlsAcceptor::from(identity.server_config().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (answers, requests, came) = (Arc::default(), Arc::default(), Arc::new(Semaphore::new(0)));
        let provider =
            Self { address, fingerprint: identity.fingerprint(), answers, requests, came: Arc::clone(&came) };
        let (answers, requests) = (Arc::clone(&provider.answers), Arc::clone(&provider.requests));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, came) = (acceptor.clone(), Arc::clone(&came));
                let (answers, requests) = (Arc::clone(&answers), Arc::clone(&requests));
                tokio::spawn(async move {
                    // A client that does not trust us breaks off.
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let request = read_request(&mut stream).await;
                    requests.lock().unwrap().push(request);
                    let answer = answers.lock().unwrap().pop_front();
                    came.add_permits(1);
                    reply(stream, answer.unwrap_or(Answer::json("500 Nothing scripted", "{}"))).await;
                });
            }
        });
        provider
    }

    pub(super) fn will(&self, answers: impl IntoIterator<Item = Answer>) {
        self.answers.lock().unwrap().extend(answers);
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn read_request(stream: &mut TlsStream<TcpStream>) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    loop {
        let n = stream.read(&mut buffer).await.unwrap_or(0);
        text.push_str(&String::from_utf8_lossy(&buffer[..n]));
        let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let len = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            body.len() >= len.unwrap_or(0)
        });
        if whole || n == 0 {
            return text;
        }
    }
}

async fn reply(mut stream: TlsStream<TcpStream>, answer: Answer) {
    let octets = match answer {
        Answer::Raw(octets) => octets,
        Answer::Held(release, octets) => {
            release.acquire().await.unwrap().forget();
            octets
        }
        Answer::Silence => return std::future::pending().await,
        Answer::Endless(head, again) => {
            let mut written = stream.write_all(&head).await;
            while written.is_ok() {
                written = stream.write_all(&again).await;
            }
            return;
        }
    };
    // A client that has seen enough breaks off.
    let _ = stream.write_all(&octets).await;
    let _ = stream.shutdown().await;
}
