//! HTTP/1.1 over TLS to one host, one connection at a time, for that is what NTLM logs in. Redirects are not followed here.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use postern_shared::clock::UnixMillis;
use postern_shared::telemetry::explain;
use rustls::ClientConfig;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::task::JoinSet;
use tokio::time::timeout;
use url::Url;

use super::EwsError;
use super::settings::Limits;
use crate::sources::SourceError;
use crate::sources::dial::{self, Stream};

const HEADER_OCTETS_MAX: usize = 128 * 1024;
const HEADERS_MAX: usize = 100;

/// A host, and what is asked there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) path: String,
}

impl Target {
    /// `None` when it is not `https`, or carries a password of its own.
    pub(super) fn of(url: &Url) -> Option<Self> {
        let secure = url.scheme() == "https" && url.username().is_empty() && url.password().is_none();
        let host = url.host_str().filter(|_| secure)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let path = url[url::Position::BeforePath..url::Position::AfterQuery].to_owned();
        Some(Self { host, port: url.port().unwrap_or(443), path })
    }

    /// As a URL.
    pub(super) fn url(&self) -> Option<Url> {
        Url::parse(&format!("https://{}{}", self.field(), self.path)).ok()
    }

    fn field(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == 443 { host } else { format!("{host}:{}", self.port) }
    }
}

/// What is sent.
#[derive(Clone)]
pub(super) struct Sent {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) fields: HeaderMap,
    pub(super) body: Bytes,
}

impl fmt::Debug for Sent {
    /// The body may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} with {} octets", self.method, self.path, self.body.len())
    }
}

/// What came back.
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) fields: HeaderMap,
    pub(super) body: Body,
}

impl Answered {
    /// `Retry-After`.
    pub(super) fn retry_after(&self, now: UnixMillis) -> Option<Duration> {
        retry_after(self.fields.get(RETRY_AFTER)?.to_str().ok()?, now)
    }

    /// A field's text.
    pub(super) fn field(&self, name: impl hyper::header::AsHeaderName) -> Option<&str> {
        self.fields.get(name)?.to_str().ok()
    }
}

/// A number of seconds, or a date (RFC 9110 §10.2.3).
fn retry_after(text: &str, now: UnixMillis) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = OffsetDateTime::parse(text.trim(), &Rfc2822).ok()?;
    let date = u64::try_from(date.unix_timestamp_nanos() / 1_000_000).ok()?;
    Some(UnixMillis(date).since(now))
}

/// A body that is still coming.
pub(super) struct Body {
    incoming: Incoming,
    host: String,
    silence: Duration,
    /// For all of it, when it is short.
    whole: Duration,
}

impl Body {
    /// The next piece; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        loop {
            let frame = timeout(self.silence, self.incoming.frame()).await;
            let limit = self.silence;
            let late =
                |_| SourceError::TimedOut { host: self.host.clone(), during: "the rest of an answer", limit };
            match frame.map_err(late)? {
                None => return Ok(None),
                Some(Err(error)) => return Err(broken(&self.host, "the rest of an answer", &error)),
                Some(Ok(frame)) => {
                    if let Some(piece) = frame.into_data().ok().filter(|piece| !piece.is_empty()) {
                        return Ok(Some(piece));
                    }
                }
            }
        }
    }

    /// All of it, when it is not longer than `max`; else as much.
    pub(super) async fn up_to(mut self, max: usize) -> Result<Vec<u8>, SourceError> {
        let (host, limit) = (self.host.clone(), self.whole);
        let read = timeout(limit, async {
            let mut all = Vec::new();
            while let Some(piece) = self.next().await? {
                let room = max.saturating_sub(all.len());
                all.extend_from_slice(piece.get(..room).unwrap_or(&piece));
                if piece.len() > room {
                    break;
                }
            }
            Ok(all)
        });
        let late = |_| SourceError::TimedOut { host, during: "the rest of an answer", limit };
        read.await.map_err(late)?
    }
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// Moves the octets; ends with this.
    _task: JoinSet<()>,
    certificate_hash: Option<Vec<u8>>,
    logged_in: bool,
}

/// The way to one host.
pub(super) struct Client {
    target: Target,
    config: Arc<ClientConfig>,
    connect: Duration,
    silence: Duration,
    whole: Duration,
    connection: Option<Connection>,
}

impl Client {
    pub(super) fn new(target: Target, config: Arc<ClientConfig>, limits: &Limits) -> Self {
        let (connect, silence, whole) = (limits.connect, limits.silence, limits.list);
        Self { target, config, connect, silence, whole, connection: None }
    }

    pub(super) fn host(&self) -> &str {
        &self.target.host
    }

    /// What its own path is.
    pub(super) fn path(&self) -> &str {
        &self.target.path
    }

    /// Whether a login belongs to the connection that is up.
    pub(super) fn is_logged_in(&self) -> bool {
        self.connection
            .as_ref()
            .is_some_and(|connection| connection.logged_in && !connection.sender.is_closed())
    }

    pub(super) fn logged_in(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.logged_in = true;
        }
    }

    pub(super) fn forget_login(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.logged_in = false;
        }
    }

    pub(super) fn close(&mut self) {
        self.connection = None;
    }

    /// Of the server's certificate (RFC 5929 §4.1).
    pub(super) fn certificate_hash(&self) -> Option<Vec<u8>> {
        self.connection.as_ref()?.certificate_hash.clone()
    }

    /// Sends it and waits for the beginning of the answer. A connection that the server has closed meanwhile is made anew,
    /// once: everything that is sent may be sent twice.
    pub(super) async fn send(&mut self, sent: &Sent) -> Result<Answered, SourceError> {
        if self.connection.as_ref().is_some_and(|connection| !connection.sender.is_closed()) {
            match self.send_here(sent).await {
                Err(SourceError::Closed { .. } | SourceError::Broken { .. }) => {}
                other => return other,
            }
        }
        self.connection = None;
        self.connection = Some(self.connected().await?);
        self.send_here(sent).await
    }

    /// The same on the connection that is up, and on no other.
    pub(super) async fn send_here(&mut self, sent: &Sent) -> Result<Answered, SourceError> {
        let during = "an answer";
        let (host, limit) = (self.target.host.clone(), self.silence);
        let request = self.request(sent);
        let Some(connection) = &mut self.connection else { return Err(SourceError::Closed { host, during }) };
        let answered = timeout(limit, async {
            connection.sender.ready().await?;
            connection.sender.send_request(request).await
        })
        .await;
        let answered = match answered {
            Ok(Ok(response)) => {
                let (head, incoming) = response.into_parts();
                let body = Body { incoming, host, silence: limit, whole: self.whole };
                return Ok(Answered { status: head.status.as_u16(), fields: head.headers, body });
            }
            Ok(Err(error)) => broken(&host, during, &error),
            Err(_) => SourceError::TimedOut { host, during, limit },
        };
        self.connection = None;
        Err(answered)
    }

    fn request(&self, sent: &Sent) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(sent.body.clone()));
        *request.method_mut() = sent.method.clone();
        // A path that was part of a URL can be sent.
        *request.uri_mut() = sent.path.parse().unwrap_or_default();
        *request.headers_mut() = sent.fields.clone();
        let host = HeaderValue::from_str(&self.target.field()).unwrap_or(HeaderValue::from_static(""));
        request.headers_mut().insert(HOST, host);
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("Postern"));
        // IIS keeps a login for a connection that says so.
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("Keep-Alive"));
        request
    }

    async fn connected(&self) -> Result<Connection, SourceError> {
        let Target { host, port, .. } = &self.target;
        let stream = dial::tcp(host, *port, self.connect).await?;
        let stream = dial::tls(stream, host, Arc::clone(&self.config), self.connect).await?;
        let certificate_hash = match &stream {
            Stream::Tls(stream) => {
                stream.get_ref().1.peer_certificates().and_then(|chain| hash(chain.first()?))
            }
            Stream::Plain(_) => None,
        };
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(HEADER_OCTETS_MAX)
            .max_headers(HEADERS_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(host, "the beginning of HTTP", &error))?;
        let mut task = JoinSet::new();
        // What goes wrong is told to whoever waits for an answer.
        task.spawn(async { drop(connection.await) });
        Ok(Connection { sender, _task: task, certificate_hash, logged_in: false })
    }
}

/// By the hash of the certificate's own signature; SHA-256 where that is weak (RFC 5929 §4.1).
fn hash(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let algorithm = match parsed.signature_algorithm.algorithm.to_id_string().as_str() {
        // sha384WithRSAEncryption, ecdsa-with-SHA384.
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => &digest::SHA384,
        // sha512WithRSAEncryption, ecdsa-with-SHA512.
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => &digest::SHA512,
        _ => &digest::SHA256,
    };
    Some(digest::digest(algorithm, certificate).as_ref().to_vec())
}

fn broken(host: &str, during: &'static str, error: &hyper::Error) -> SourceError {
    let host = host.to_owned();
    if error.is_parse() {
        return SourceError::Ews { host, error: Box::new(EwsError::Http(explain(error))) };
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return SourceError::Closed { host, during };
    }
    SourceError::Broken { host, during, source: io::Error::other(explain(error)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_seconds_or_dates() {
        // 1994-11-06T08:49:37Z
        let now = UnixMillis(784_111_777_000);
        for (text, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:51:37 GMT", Some(120)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(retry_after(text, now).map(|pause| pause.as_secs()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_sent_is_in_no_log() {
        let body = Bytes::from_static(b"client_secret=geheim");
        let sent = Sent { method: Method::POST, path: "/token".into(), fields: HeaderMap::new(), body };
        assert_eq!(format!("{sent:?}"), "POST /token with 20 octets");
    }

    #[test]
    fn only_https_is_a_target() {
        let of = |url: &str| Target::of(&Url::parse(url).unwrap());
        let target = of("https://mail.example.com/EWS/Exchange.asmx").unwrap();
        assert_eq!(
            (target.host.as_str(), target.port, target.path.as_str()),
            ("mail.example.com", 443, "/EWS/Exchange.asmx")
        );
        assert_eq!(target.field(), "mail.example.com");
        assert_eq!(target.url().unwrap().as_str(), "https://mail.example.com/EWS/Exchange.asmx");
        let v6 = of("https://[::1]:8443/a?b=c").unwrap();
        assert_eq!(
            (v6.host.as_str(), v6.field().as_str(), v6.path.as_str()),
            ("::1", "[::1]:8443", "/a?b=c")
        );
        for url in [
            "http://mail.example.com/",
            "ftp://mail.example.com/",
            "https://user@mail.example.com/",
            "https://u:p@h/",
        ] {
            assert_eq!(of(url), None, "{url}");
        }
    }
}
