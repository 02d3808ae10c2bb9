//! The web pages: what `webui/dist` held when the program was built, inside the binary; a debug build reads them from
//! there instead, so that pages can be worked on without building the program.
//!
//! - A program built without them serves a page that says how to build them: nobody needs Node to build a gateway.
//! - Vite puts a hash of the content into the names below `assets/`, so those are kept for ever; all else is asked for anew.
//! - `name.br` and `name.gz` beside a file are served in its place to who takes them.
//! - What is no file and looks like a page (`/mailboxes/…`) is the application itself: `index.html`.
//! - In `index.html`, `POSTERN_NONCE` stands for a random value, another one each time, that styles made by the page need
//!   under our Content-Security-Policy.

use std::borrow::Cow;

use axum::extract::Request;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use postern_shared::crypto::random;
use rust_embed::RustEmbed;

use super::{Problem, api};

#[derive(RustEmbed)]
#[folder = "../webui/dist"]
#[allow_missing = true]
struct Pages;

const NONCE: &str = "POSTERN_NONCE";
const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Postern</title>\
    <p>This console was built without its pages. Build them with <code>make webui</code> (it needs Node.js), then build \
    the gateway again. The API is at <a href=\"/api/openapi.json\">/api/openapi.json</a>.</p>";

/// Answers what no route of the API does.
pub(super) async fn serve(request: Request) -> Response {
    from::<Pages>(&request)
}

fn from<E: RustEmbed>(request: &Request) -> Response {
    let path = request.uri().path();
    if path == "/api" || path.starts_with("/api/") {
        return api::no_such_route(path);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let detail = "pages are only read";
        return Problem::new(StatusCode::METHOD_NOT_ALLOWED, "no-such-method", "No such method", detail)
            .into_response();
    }
    let name = path.trim_start_matches('/');
    if !name.is_empty()
        && name != "index.html"
        && let Some(found) = file::<E>(name, request.headers())
    {
        return found;
    }
    // A name with an ending is a file that is not there; everything else the application knows.
    if name.rsplit('/').next().is_some_and(|last| last.contains('.')) && name != "index.html" {
        return Problem::not_found("there is no such page").into_response();
    }
    index::<E>()
}

fn index<E: RustEmbed>() -> Response {
    let page = E::get("index.html").map(|page| String::from_utf8_lossy(&page.data).into_owned());
    let nonce = hex::encode(random::<16>());
    let page = page.unwrap_or_else(|| NOT_BUILT.into()).replace(NONCE, &nonce);
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data:; font-src 'self'; \
         connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    );
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, policy.as_str()),
    ];
    (headers, page).into_response()
}

/// A file as the client takes it. Names come from the list made at build time, so no path leads out of it.
fn file<E: RustEmbed>(name: &str, headers: &HeaderMap) -> Option<Response> {
    if name.split('/').any(|part| part.is_empty() || part.starts_with('.')) || name.contains('\\') {
        return None;
    }
    let plain = E::get(name)?;
    let etag = format!("\"{}\"", hex::encode(plain.metadata.sha256_hash()));
    let caching =
        if name.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let unchanged = headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes());
    let accepts = |coding: &str| {
        let taken = headers.get(ACCEPT_ENCODING).and_then(|taken| taken.to_str().ok()).unwrap_or("");
        taken
            .split(',')
            .map(str::trim)
            .any(|one| one == coding || one.starts_with(&format!("{coding};")) && !one.ends_with("q=0"))
    };
    let coded = [("br", "br"), ("gzip", "gz")].into_iter().find_map(|(coding, ending)| {
        let found = accepts(coding).then(|| E::get(&format!("{name}.{ending}")))??;
        Some((Some(coding), found.data))
    });
    let (coding, data): (Option<&str>, Cow<'static, [u8]>) = coded.unwrap_or((None, plain.data));
    let mut response =
        if unchanged { StatusCode::NOT_MODIFIED.into_response() } else { data.into_owned().into_response() };
    let out = response.headers_mut();
    out.insert(CONTENT_TYPE, HeaderValue::from_static(media_type(name)));
    out.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
    out.insert(VARY, HeaderValue::from_static("accept-encoding"));
    out.insert(ETAG, HeaderValue::from_str(&etag).ok()?);
    if let Some(coding) = coding {
        out.insert(CONTENT_ENCODING, HeaderValue::from_str(coding).ok()?);
    }
    Some(response)
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or("") {
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "html" => "text/html; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http_body_util::BodyExt as _;

    use super::*;

    #[derive(RustEmbed)]
    #[folder = "src/console/tests/pages"]
    struct Few;

    async fn get(path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, String) {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = from::<Few>(&request.body(Body::empty()).unwrap());
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts.status, parts.headers, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn files_are_cached_and_coded_as_the_client_takes_them() {
        let (_, headers, body) = get("/assets/app-1.js", &[]).await;
        assert_eq!(
            (headers[CONTENT_TYPE].to_str().unwrap(), body.trim()),
            ("text/javascript; charset=utf-8", "plain")
        );
        assert!(headers[CACHE_CONTROL].to_str().unwrap().contains("immutable"));
        for (accepted, coding, text) in [
            ("gzip, br", "br", "brotli"),
            ("gzip", "gzip", "zipped"),
            ("br;q=0, gzip;q=0.5", "gzip", "zipped"),
        ] {
            let (_, headers, body) = get("/assets/app-1.js", &[("accept-encoding", accepted)]).await;
            assert_eq!(
                (headers[CONTENT_ENCODING].to_str().unwrap(), body.trim()),
                (coding, text),
                "{accepted}"
            );
        }
        let (_, headers, _) = get("/robots.txt", &[]).await;
        assert_eq!(headers[CACHE_CONTROL], "no-cache");
        let etag = headers[ETAG].to_str().unwrap().to_owned();
        let (status, _, body) = get("/robots.txt", &[("if-none-match", &etag)]).await;
        assert_eq!((status, body.as_str()), (StatusCode::NOT_MODIFIED, ""));
    }

    /// Goal: every page of the application is `index.html`, with a fresh nonce that its policy names.
    #[tokio::test]
    async fn pages_are_the_application() {
        let mut nonces = Vec::new();
        for path in ["/", "/index.html", "/mailboxes/mbx-1"] {
            let (status, headers, body) = get(path, &[]).await;
            let nonce = body.trim().strip_prefix("<style nonce=").unwrap().to_owned();
            let policy = headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(status == StatusCode::OK && policy.contains(&format!("'nonce-{nonce}'")), "{path}");
            assert_eq!(headers[CACHE_CONTROL], "no-store");
            nonces.push(nonce);
        }
        nonces.dedup();
        assert_eq!(nonces.len(), 3, "another one each time");
        assert_eq!(get("/nothing.js", &[]).await.0, StatusCode::NOT_FOUND);
        assert_eq!(get("/../mod.rs", &[]).await.0, StatusCode::NOT_FOUND);
    }
}
