//! HTTPS to an authority: a connection for each request, bounded in size and time. An attempt makes about a dozen.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue, RETRY_AFTER};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use postern_shared::telemetry::explain;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

const CONNECT_DEADLINE: Duration = Duration::from_secs(15);
/// A busy authority takes its time.
const EXCHANGE_DEADLINE: Duration = Duration::from_secs(60);
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// How long the authority asked to be left alone, the last time it said no.
#[derive(Debug, Clone, Default)]
pub(super) struct ToldToWait(Arc<Mutex<Option<Duration>>>);

impl ToldToWait {
    pub(super) fn take(&self) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Speaks HTTPS.
#[derive(Debug, Clone)]
pub(super) struct Https {
    tls: Arc<ClientConfig>,
    told_to_wait: ToldToWait,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Https {
    pub(super) fn new(tls: ClientConfig, told_to_wait: ToldToWait) -> Self {
        Self { tls: Arc::new(tls), told_to_wait }
    }

    async fn exchange(self, request: Request<BodyWrapper<Bytes>>) -> Result<Response<Full<Bytes>>, Failure> {
        let uri = request.uri().clone();
        let failed = |what: &str, error: Failure| -> Failure {
            format!("{what} {}: {}", uri.host().unwrap_or("?"), explain(&*error)).into()
        };
        let connected = timeout(CONNECT_DEADLINE, self.connect(&uri)).await;
        let stream = connected
            .map_err(|_| failed("cannot reach", "no answer in time".into()))?
            .map_err(|error| failed("cannot reach", error))?;
        let answered = timeout(EXCHANGE_DEADLINE, answered(stream, request)).await;
        let response = answered
            .map_err(|_| failed("lost", "no answer in time".into()))?
            .map_err(|error| failed("lost", error))?;
        let is_busy =
            matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        if is_busy && let Some(seconds) = seconds(response.headers().get(RETRY_AFTER)) {
            *self.told_to_wait.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(seconds);
        }
        Ok(response)
    }

    async fn connect(&self, uri: &Uri) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Failure> {
        if uri.scheme_str() != Some("https") {
            return Err("it is not an https URL".into());
        }
        let host = uri.host().ok_or("the URL names no host")?.trim_matches(['[', ']']);
        let tcp = TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await?;
        let name = ServerName::try_from(host.to_owned())?;
        Ok(TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await?)
    }
}

async fn answered(
    stream: tokio_rustls::client::TlsStream<TcpStream>,
    mut request: Request<BodyWrapper<Bytes>>,
) -> Result<Response<Full<Bytes>>, Failure> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let uri = request.uri().clone();
    if let Some(authority) = uri.authority() {
        request.headers_mut().insert(HOST, HeaderValue::from_str(authority.as_str())?);
    }
    *request.uri_mut() = uri.path_and_query().map_or("/", |path| path.as_str()).parse()?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?;
        Ok::<_, Failure>(Response::from_parts(parts, Full::new(body.to_bytes())))
    };
    tokio::pin!(connection);
    tokio::pin!(exchange);
    tokio::select! {
        done = &mut exchange => done,
        // It may end, and not as it should, as soon as the whole answer is there.
        ended = &mut connection => exchange.await.map_err(|error| ended.map_or_else(Into::into, |()| error)),
    }
}

/// RFC 9110 §10.2.3; a date is not understood, for the wait of our own is long enough.
fn seconds(value: Option<&HeaderValue>) -> Option<Duration> {
    value?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

impl HttpClient for Https {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let https = self.clone();
        Box::pin(async move {
            let response = https.exchange(request).await;
            response.map(BytesResponse::from).map_err(Error::Other)
        })
    }
}
