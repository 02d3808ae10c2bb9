//! The HTTP side.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use postern_shared::shutdown::Shutdown;
use postern_shared::telemetry::metrics::Exposition;

use super::Monitor;
use crate::api::{Bound, serve_routes};

const PLAIN: &str = "text/plain; charset=utf-8";

/// Answers until `stop` says so.
pub async fn serve(bound: Bound, monitor: Arc<Monitor>, stop: Shutdown) {
    serve_routes(bound, routes(monitor), None, stop).await;
}

fn routes(monitor: Arc<Monitor>) -> Router {
    let watched = Arc::clone(&monitor);
    Router::new()
        .route("/healthz", get(|| async { text(StatusCode::OK, "alive\n".into()) }))
        .route(
            "/readyz",
            get(move || {
                looked(Arc::clone(&watched), |monitor| match monitor.reasons() {
                    reasons if reasons.is_empty() => text(StatusCode::OK, "ready\n".into()),
                    reasons => text(StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n"),
                })
            }),
        )
        .route(
            "/metrics",
            get(move || {
                looked(Arc::clone(&monitor), |monitor| {
                    ([(CONTENT_TYPE, Exposition::MEDIA_TYPE)], monitor.exposition()).into_response()
                })
            }),
        )
        .fallback(|| async {
            text(StatusCode::NOT_FOUND, "here are /metrics, /healthz and /readyz\n".into())
        })
}

/// Looking at the disk may take its time.
async fn looked(monitor: Arc<Monitor>, look: impl FnOnce(&Monitor) -> Response + Send + 'static) -> Response {
    let looked = tokio::task::spawn_blocking(move || look(&monitor)).await;
    looked.unwrap_or_else(|_| {
        text(StatusCode::INTERNAL_SERVER_ERROR, "the answer failed inside; see the log\n".into())
    })
}

fn text(status: StatusCode, text: String) -> Response {
    (status, [(CONTENT_TYPE, PLAIN)], text).into_response()
}
