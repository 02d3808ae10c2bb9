//! One POST over TLS to an endpoint, bounded in time and size. Redirects are not followed: a token goes where the operator
//! said, and nowhere else.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use postern_shared::telemetry::explain;
use postern_shared::tls::client::{Trust, client_config, not_trusted};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::protocol::Asked;
use super::provider::Endpoint;

/// The longest answer taken.
pub(super) const BODY_BYTES_MAX: usize = 256 * 1024;
const HEADER_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 100;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// Until it is our turn, where many requests go to one provider.
    pub turn: Duration,
    /// Name, TCP and TLS.
    pub connect: Duration,
    /// A whole exchange.
    pub exchange: Duration,
    /// Until a disk that failed is tried again.
    pub disk_again: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { turn: seconds(10), connect: seconds(10), exchange: seconds(30), disk_again: seconds(5) }
    }
}

/// What came back.
pub(super) struct Answered {
    pub(super) status: u16,
    /// `Retry-After`, when it is a number of seconds.
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answered").field("status", &self.status).finish_non_exhaustive()
    }
}

/// Why nothing usable came back.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    #[error("cannot connect to {host}: {source}")]
    Connect { host: String, source: io::Error },
    #[error("no TLS with {host}: {reason}")]
    Tls { host: String, reason: String },
    #[error("{0} did not answer in time")]
    Late(String),
    #[error("the answer of {0} is longer than 256 KiB")]
    TooLong(String),
    #[error("{host} does not speak HTTP as it should: {reason}")]
    Garbled { host: String, reason: String },
}

/// The TLS settings for a trust. Reads files: the machine's authorities, or those of the trust.
pub(super) fn tls_config(trust: &Trust) -> Result<ClientConfig, String> {
    let mut config = client_config(trust).map_err(|error| error.to_string())?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Sends `asked` and waits for the answer.
pub(super) async fn post(
    endpoint: &Endpoint,
    asked: &Asked,
    tls: Arc<ClientConfig>,
    deadlines: Deadlines,
) -> Result<Answered, HttpError> {
    let late = || HttpError::Late(endpoint.host());
    timeout(deadlines.exchange, exchange(endpoint, asked, tls, deadlines.connect))
        .await
        .map_err(|_| late())?
}

async fn exchange(
    endpoint: &Endpoint,
    asked: &Asked,
    tls: Arc<ClientConfig>,
    connect_deadline: Duration,
) -> Result<Answered, HttpError> {
    let host = endpoint.host();
    let garbled = |error: &hyper::Error| HttpError::Garbled { host: host.clone(), reason: explain(error) };
    let stream = timeout(connect_deadline, connect(endpoint, tls))
        .await
        .map_err(|_| HttpError::Late(host.clone()))??;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| garbled(&error))?;
    let request = request(endpoint, asked);
    let answered = async {
        let response = sender.send_request(request).await.map_err(|error| garbled(&error))?;
        let status = response.status().as_u16();
        let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                return HttpError::TooLong(host.clone());
            }
            HttpError::Garbled { host: host.clone(), reason: explain(&*error) }
        })?;
        let body = Zeroizing::new(Vec::from(body.to_bytes()));
        Ok(Answered { status, retry_after: seconds.map(Duration::from_secs), body })
    };
    // The connection is driven here and ends with the answer: one that has none left is reported by the answer's side.
    let mut connection = std::pin::pin!(connection);
    let mut answered = std::pin::pin!(answered);
    tokio::select! {
        biased;
        answered = &mut answered => answered,
        _ = &mut connection => answered.await,
    }
}

fn request(endpoint: &Endpoint, asked: &Asked) -> Request<Full<Bytes>> {
    let url = endpoint.url();
    let mut request = Request::new(Full::new(Bytes::from(asked.body.as_bytes().to_vec())));
    *request.method_mut() = Method::POST;
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    // A URL that was parsed is a target that can be sent.
    *request.uri_mut() = target.parse().unwrap_or_default();
    let mut field = |name, value: &str, sensitive: bool| {
        if let Ok(mut value) = hyper::header::HeaderValue::from_str(value) {
            value.set_sensitive(sensitive);
            request.headers_mut().insert(name, value);
        }
    };
    field(HOST, &url[url::Position::BeforeHost..url::Position::AfterPort], false);
    field(USER_AGENT, "Postern", false);
    field(ACCEPT, "application/json", false);
    field(CONTENT_TYPE, "application/x-www-form-urlencoded", false);
    if let Some(authorization) = &asked.authorization {
        field(AUTHORIZATION, authorization, true);
    }
    request
}

async fn connect(
    endpoint: &Endpoint,
    tls: Arc<ClientConfig>,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, HttpError> {
    let host = endpoint.host();
    let stream = TcpStream::connect((host.as_str(), endpoint.port()))
        .await
        .map_err(|source| HttpError::Connect { host: host.clone(), source })?;
    let name = ServerName::try_from(host.clone())
        .map_err(|error| HttpError::Tls { host: host.clone(), reason: error.to_string() })?;
    TlsConnector::from(tls).connect(name, stream).await.map_err(|error| {
        let reason = not_trusted(&error).map_or_else(|| explain(&error), ToString::to_string);
        HttpError::Tls { host, reason }
    })
}
