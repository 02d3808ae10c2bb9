//! One POST over TLS, bounded in time and size.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use postern_shared::telemetry::explain;
use postern_shared::tls::client::client_config;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::Settings;
use crate::sources::{SourceError, dial};

const BODY_BYTES_MAX: usize = 256 * 1024;
const HEADER_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 100;
const CONNECT: Duration = Duration::from_secs(15);
const EXCHANGE: Duration = Duration::from_secs(30);

/// What came back.
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) body: Zeroizing<Vec<u8>>,
}

pub(super) async fn post(
    settings: &Settings,
    form: Zeroizing<String>,
    authorization: Option<Zeroizing<String>>,
) -> Result<Answered, SourceError> {
    let (host, port) = (settings.endpoint.host(), settings.endpoint.port());
    let mut config = client_config(&settings.trust)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = dial::tcp(&host, port, CONNECT).await?;
    let stream = dial::tls(stream, &host, Arc::new(config), CONNECT).await?;
    let request = request(settings, &form, authorization.as_ref());
    let late = || SourceError::TimedOut { host: host.clone(), during: "an access token", limit: EXCHANGE };
    timeout(EXCHANGE, exchange(&host, stream, request)).await.unwrap_or_else(|_| Err(late()))
}

async fn exchange(
    host: &str,
    stream: dial::Stream,
    request: Request<Full<Bytes>>,
) -> Result<Answered, SourceError> {
    let garbled = |reason: String| SourceError::OAuth {
        host: host.to_owned(),
        text: format!("it does not speak HTTP as it should: {reason}"),
        temporary: true,
    };
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| garbled(explain(&error)))?;
    let answered = async {
        let response = sender.send_request(request).await.map_err(|error| garbled(explain(&error)))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await.map_err(|error| {
            let long = error.is::<LengthLimitError>();
            garbled(if long { "its answer is longer than 256 KiB".into() } else { explain(&*error) })
        })?;
        Ok(Answered { status, body: Zeroizing::new(Vec::from(body.to_bytes())) })
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

fn request(
    settings: &Settings,
    form: &str,
    authorization: Option<&Zeroizing<String>>,
) -> Request<Full<Bytes>> {
    let url = &settings.endpoint.0;
    let mut request = Request::new(Full::new(Bytes::from(form.as_bytes().to_vec())));
    *request.method_mut() = Method::POST;
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    // A URL that was parsed is a target that can be sent.
    *request.uri_mut() = target.parse().unwrap_or_default();
    let mut field = |name: HeaderName, value: &str, sensitive: bool| {
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(sensitive);
            request.headers_mut().insert(name, value);
        }
    };
    field(HOST, &url[url::Position::BeforeHost..url::Position::AfterPort], false);
    field(USER_AGENT, "Postern", false);
    field(ACCEPT, "application/json", false);
    field(CONTENT_TYPE, "application/x-www-form-urlencoded", false);
    if let Some(authorization) = authorization {
        field(AUTHORIZATION, authorization, true);
    }
    request
}
