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

use super::{Problem, api};

#[derive(rust_embed::RustEmbed)]
#[folder = "../webui/dist"]
#[allow_missing = true]
struct Pages;

const NONCE: &str = "POSTERN_NONCE";
const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Postern</title>\
    <p>This gateway was built without its web pages. Build them with <code>npm ci &amp;&amp; npm run build</code> in \
    <code>webui/</code>, then build the gateway again. The API is at <a href=\"/api/openapi.json\">/api/openapi.json</a>.</p>";

/// Answers what no route of the API does.
pub(super) async fn serve(request: Request) -> Response {
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
        && let Some(found) = file(name, request.headers())
    {
        return found;
    }
    // A name with an ending is a file that is not there; everything else the application knows.
    if name.rsplit('/').next().is_some_and(|last| last.contains('.')) && name != "index.html" {
        return Problem::not_found("there is no such page").into_response();
    }
    index()
}

fn index() -> Response {
    let page = Pages::get("index.html").map(|page| String::from_utf8_lossy(&page.data).into_owned());
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
fn file(name: &str, headers: &HeaderMap) -> Option<Response> {
    if name.split('/').any(|part| part.is_empty() || part.starts_with('.')) || name.contains('\\') {
        return None;
    }
    let plain = Pages::get(name)?;
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
        let found = accepts(coding).then(|| Pages::get(&format!("{name}.{ending}")))??;
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
