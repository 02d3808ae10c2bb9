//! The HTTP side.

use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use postern_shared::shutdown::Shutdown;
use postern_shared::telemetry::metrics::Exposition;
use tokio::net::TcpListener;

use super::{Monitor, readiness};
use crate::listen::serve_http;

const PLAIN: &str = "text/plain; charset=utf-8";

/// Answers until `stop` says so: later than everything else, so that a gateway that is stopping can still be seen.
pub async fn serve(listener: TcpListener, monitor: Arc<Monitor>, stop: Shutdown) {
    let answer = move |request| answer(request, Arc::clone(&monitor));
    serve_http(listener, "monitoring", answer, stop).await;
}

async fn answer(request: Request<Incoming>, monitor: Arc<Monitor>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = response(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET\n".into());
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    // Both look at the disk, which may take its time.
    let blocking = match request.uri().path() {
        "/healthz" => return response(StatusCode::OK, PLAIN, "alive\n".into()),
        "/metrics" => tokio::task::spawn_blocking(move || {
            response(StatusCode::OK, Exposition::MEDIA_TYPE, monitor.exposition())
        }),
        "/readyz" => tokio::task::spawn_blocking(move || match readiness::reasons(&monitor) {
            reasons if reasons.is_empty() => response(StatusCode::OK, PLAIN, "ready\n".into()),
            reasons => response(StatusCode::SERVICE_UNAVAILABLE, PLAIN, reasons.join("\n") + "\n"),
        }),
        _ => {
            let text = "here are /metrics, /healthz and /readyz\n".into();
            return response(StatusCode::NOT_FOUND, PLAIN, text);
        }
    };
    blocking.await.unwrap_or_else(|_| {
        response(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, "the answer failed inside; see the log\n".into())
    })
}

fn response(status: StatusCode, media_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}
