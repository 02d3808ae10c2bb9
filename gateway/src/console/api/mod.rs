//! The REST API: routes, and the OpenAPI document made from them.
//!
//! Everything the pages do is here, for sessions and for bearer tokens. Names in JSON are those of the command line.
//! Times are milliseconds since 1970 (`…_at`, `at`, `oldest`), sizes are octets. Errors are [`Problem`]s.
//!
//! | file | what |
//! |---|---|
//! | `session` | signing in and out |
//! | `account` | one's own password, second factors, sessions |
//! | `passkeys` | one's own passkeys, and signing in with one |
//! | `administrators`, `tokens` | who else may come |
//! | `mailboxes`, `connect`, `test_message` | mailboxes, how to reach them, and whether mail arrives |
//! | `overview`, `activity` | what goes on |
//! | `settings` | the configuration, log level, restart |
//! | `certificate` | what is served, what each port shows, and putting another one in its place |
//! | `doctor` | looking for trouble; the way of a mail client, step by step |
//! | `oauth` | accounts at providers that take no passwords |
//! | `live` | actions that take their time, step by step |

mod account;
mod activity;
mod administrators;
mod certificate;
mod connect;
mod doctor;
mod extract;
mod live;
mod mailboxes;
mod oauth;
mod overview;
mod passkeys;
mod session;
mod settings;
mod test_message;
mod tokens;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use postern_shared::shutdown::Shutdown;
use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Console, Problem, assets, gate};

/// Longer than any request but a configuration, which has a limit of its own.
const BODY_BYTES_MAX: usize = 256 * 1024;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Postern gateway",
        description = "Everything the operators' console does.\n\nSign in with `POST /api/v1/session` (a cookie follows; \
            requests that change something then need the header `X-Postern-Console: 1`), or send a bearer token made \
            under `/api/v1/tokens`. Errors are `application/problem+json` (RFC 9457).",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(Problem)),
    security(("session" = []), ("token" = [])),
    tags(
        (name = "session", description = "Signing in and out"),
        (name = "account", description = "One's own password, second factors and sessions"),
        (name = "administrators", description = "Who may sign in, and what they may do"),
        (name = "tokens", description = "Bearer tokens for scripts"),
        (name = "mailboxes", description = "Journal mailboxes"),
        (name = "overview", description = "The gateway at a glance"),
        (name = "activity", description = "What happened, and who changed what"),
        (name = "settings", description = "Configuration, log level, restart"),
        (name = "certificate", description = "The certificate at all ports, and where it comes from"),
        (name = "doctor", description = "Looking for trouble"),
        (name = "oauth", description = "Accounts at providers that take no passwords")
    )
)]
struct Api;

fn router() -> OpenApiRouter<Arc<Console>> {
    OpenApiRouter::with_openapi(Api::openapi()).merge(own()).merge(others()).merge(gateway())
}

/// Signing in, and one's own account.
fn own() -> OpenApiRouter<Arc<Console>> {
    OpenApiRouter::new()
        .routes(routes!(session::sign_in_page))
        .routes(routes!(session::first_sign_in))
        .routes(routes!(session::sign_in, session::session, session::sign_out))
        .routes(routes!(session::second_factor))
        .routes(routes!(session::password_stored))
        .routes(routes!(passkeys::begin_sign_in))
        .routes(routes!(passkeys::list, passkeys::begin, passkeys::confirm))
        .routes(routes!(passkeys::rename))
        .routes(routes!(passkeys::remove))
        .routes(routes!(account::change_password))
        .routes(routes!(account::begin_totp, account::confirm_totp))
        .routes(routes!(account::remove_totp))
        .routes(routes!(account::renew_recovery_codes))
        .routes(routes!(account::sessions, account::end_sessions))
        .routes(routes!(account::end_session))
}

/// Who else may come.
fn others() -> OpenApiRouter<Arc<Console>> {
    OpenApiRouter::new()
        .routes(routes!(administrators::list, administrators::create))
        .routes(routes!(administrators::edit, administrators::remove))
        .routes(routes!(administrators::reset_password))
        .routes(routes!(administrators::end_sessions))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::remove))
}

/// The gateway itself.
fn gateway() -> OpenApiRouter<Arc<Console>> {
    OpenApiRouter::new()
        .routes(routes!(mailboxes::list, mailboxes::create))
        .routes(routes!(mailboxes::show, mailboxes::edit, mailboxes::delete))
        .routes(routes!(mailboxes::reset_password))
        .routes(routes!(connect::connect))
        .routes(routes!(test_message::send))
        .routes(routes!(overview::overview))
        .routes(routes!(overview::events))
        .routes(routes!(activity::activity_log))
        .routes(routes!(activity::audit_log))
        .routes(routes!(settings::settings, settings::apply))
        .routes(routes!(settings::validate))
        .routes(routes!(settings::reload_now))
        .routes(routes!(settings::set_level))
        .routes(routes!(settings::restart))
        .merge(care())
}

/// Certificate, bindings, and what may be wrong.
fn care() -> OpenApiRouter<Arc<Console>> {
    OpenApiRouter::new()
        .routes(routes!(certificate::show))
        .routes(routes!(certificate::ports))
        .routes(routes!(certificate::self_signed))
        .routes(routes!(certificate::import))
        .routes(routes!(certificate::acme))
        .routes(routes!(doctor::doctor))
        .routes(routes!(doctor::proxy_test))
        .routes(routes!(oauth::list, oauth::bind))
        .routes(routes!(oauth::paste))
        .routes(routes!(oauth::revoke))
}

/// The OpenAPI document.
fn document() -> utoipa::openapi::OpenApi {
    let mut document = router().into_openapi();
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    let components = document.components.get_or_insert_default();
    let cookie = ApiKeyValue::with_description(gate::COOKIE, "given by signing in");
    components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    document
}

/// The document as it is served and kept in webui/openapi.json.
pub fn document_text() -> String {
    let text = document().to_pretty_json();
    text.map(|text| text + "\n").unwrap_or_default()
}

/// Everything that is served.
pub(super) fn routes(console: &Arc<Console>, stop: Shutdown) -> Router {
    let (router, _) = router().split_for_parts();
    let document: Arc<str> = document_text().into();
    let openapi = move || {
        let document = Arc::clone(&document);
        async move { ([(CONTENT_TYPE, "application/json")], document.to_string()) }
    };
    let gated = router
        .route("/api/openapi.json", axum::routing::get(openapi))
        .layer(from_fn_with_state(Arc::clone(console), gate::admit))
        .layer(axum::Extension(Stop(stop)))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
    gated
        .fallback(assets::serve)
        .layer(from_fn_with_state(Arc::clone(console), gate::secure))
        .with_state(Arc::clone(console))
}

/// When streams end.
#[derive(Clone)]
struct Stop(Shutdown);

/// What there is no route for.
pub(super) fn no_such_route(path: &str) -> axum::response::Response {
    let path: String = path.chars().take(200).collect();
    Problem::not_found(format!("the API has no {path}; /api/openapi.json tells what it has")).into_response()
}
