//! The HTTP side.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use postern_shared::shutdown::Shutdown;
use postern_shared::telemetry::metrics::Exposition;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::{Monitor, readiness};

/// Connections at once, at each address; those beyond wait in the system's queue.
const CONNECTIONS_MAX: usize = 16;
/// The least that hyper takes.
const HEADER_BYTES_MAX: usize = 8192;
const HEADER_DEADLINE: Duration = Duration::from_secs(5);
/// One request and its answer.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(30);
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
const PLAIN: &str = "text/plain; charset=utf-8";

/// Answers until `stop` says so: later than everything else, so that a gateway that is stopping can still be seen.
pub async fn serve(listener: TcpListener, monitor: Arc<Monitor>, mut stop: Shutdown) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        tokio::select! {
            (place, accepted) = accepted => match accepted {
                Ok((stream, _)) => {
                    let monitor = Arc::clone(&monitor);
                    tokio::spawn(async move {
                        let _place = place;
                        // A client that dawdles or breaks off gets no answer, and nothing else depends on it.
                        let _ = timeout(CONNECTION_DEADLINE, connection(stream, monitor)).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a monitoring connection; trying again");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            () = stop.requested() => return,
        }
    }
}

async fn connection(stream: TcpStream, monitor: Arc<Monitor>) -> Result<(), hyper::Error> {
    let service = service_fn(move |request| {
        let monitor = Arc::clone(&monitor);
        async move { Ok::<_, Infallible>(answer(&request, monitor).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .max_buf_size(HEADER_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn answer(request: &Request<Incoming>, monitor: Arc<Monitor>) -> Response<Full<Bytes>> {
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
