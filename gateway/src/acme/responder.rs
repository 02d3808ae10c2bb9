//! Answers to challenges (RFC 8555 §8.3): answers over HTTP/1.1 that know the pending tokens and nothing else.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use postern_shared::shutdown::{Switch, switch};
use tokio::task::JoinSet;

use crate::listen::{self, BindError, serve_http};

/// Where authorities look.
pub(super) const CHALLENGE_PATH: &str = "/.well-known/acme-challenge/";

const PENDING_MAX: usize = 200;
/// Tokens that an authority may ask for now, and what to answer.
#[derive(Debug, Default)]
pub struct Pending(RwLock<BTreeMap<String, String>>);

impl Pending {
    /// Answers `token` with `answer` until the value is dropped.
    pub fn answer(self: &Arc<Self>, token: &str, answer: &str) -> Answering {
        let mut tokens = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // More than an order can have at once: some are over, and nothing tells which.
        while tokens.len() >= PENDING_MAX {
            tokens.pop_first();
        }
        tokens.insert(token.to_owned(), answer.to_owned());
        Answering { pending: Arc::clone(self), token: token.to_owned() }
    }

    fn find(&self, path: &str) -> Option<String> {
        let token = path.strip_prefix(CHALLENGE_PATH)?;
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }
}

/// A token that is answered as long as this lives.
#[derive(Debug)]
pub struct Answering {
    pending: Arc<Pending>,
    token: String,
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.pending.0.write().unwrap_or_else(PoisonError::into_inner).remove(&self.token);
    }
}

/// The open ports; closed when it is dropped.
#[derive(Debug)]
pub struct Responder {
    addresses: Vec<SocketAddr>,
    _stop: Switch,
    listening: JoinSet<()>,
}

impl Responder {
    /// Opens `addresses` and answers there.
    pub fn open(addresses: &[SocketAddr], pending: &Arc<Pending>) -> Result<Self, BindError> {
        let (stop, stopped) = switch();
        let (mut open, mut listening) = (Vec::new(), JoinSet::new());
        for address in addresses {
            let listener = listen::bind("http01", *address)?;
            open.push(listener.local_addr().unwrap_or(*address));
            let pending = Arc::clone(pending);
            let answer = move |request| std::future::ready(answer(&request, &pending));
            listening.spawn(serve_http(listener, "challenges", answer, stopped.clone()));
        }
        Ok(Self { addresses: open, _stop: stop, listening })
    }

    /// Closes the ports; they are free when this returns. Dropping it closes them a little later.
    pub async fn close(mut self) {
        self.listening.shutdown().await;
    }

    /// Where it answers.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

fn answer(request: &Request<Incoming>, pending: &Pending) -> Response<Full<Bytes>> {
    let found = match *request.method() {
        Method::GET | Method::HEAD => pending.find(request.uri().path()),
        _ => None,
    };
    let (status, text) = match found {
        Some(text) => {
            tracing::info!(path = request.uri().path(), "a challenge was asked for and answered");
            (StatusCode::OK, text)
        }
        None => (StatusCode::NOT_FOUND, "nothing is here but answers to ACME challenges\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // A refused request may be answered by a cut.
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    /// Goal: pending tokens are answered, and nothing else is, whatever is tried.
    #[tokio::test]
    async fn only_pending_tokens_are_answered() {
        let pending = Arc::new(Pending::default());
        let responder = Responder::open(&[([127, 0, 0, 1], 0).into()], &pending).unwrap();
        let address = responder.addresses()[0];
        let get = |path: &str| {
            let request = format!("GET {path} HTTP/1.1\r\nHost: mail.example.com\r\n\r\n");
            async move { ask(address, &request).await }
        };
        let answering = pending.answer("token", "token.thumbprint");
        let answer = get("/.well-known/acme-challenge/token").await;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\ntoken.thumbprint"),
            "{answer}"
        );
        for path in [
            "/",
            "/token",
            "/.well-known/acme-challenge/",
            "/.well-known/acme-challenge/other",
            "/.well-known/acme-challenge/../acme-challenge/token",
            "/.well-known/acme-challenge/%74oken",
            "/.well-known/acme-challenge/token/",
        ] {
            assert!(get(path).await.starts_with("HTTP/1.1 404"), "{path}");
        }
        let post = "POST /.well-known/acme-challenge/token HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
        assert!(ask(address, post).await.starts_with("HTTP/1.1 404"));
        assert!(
            !ask(address, &format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000)))
                .await
                .contains(" 200 ")
        );
        drop(answering);
        assert!(get("/.well-known/acme-challenge/token").await.starts_with("HTTP/1.1 404"));
        for n in 0..PENDING_MAX + 50 {
            std::mem::forget(pending.answer(&format!("t{n}"), "a"));
        }
        assert_eq!(pending.0.read().unwrap().len(), PENDING_MAX);
    }
}
