//! Looking for trouble: the checks of `postern-gateway doctor`, and the way of a mail client.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::Body;
use super::live::Telling;
use super::overview::{place, stream};
use crate::console::gate::Caller;
use crate::console::{Console, Problem};
use crate::doctor::{Finding, Tried, Way, examine};

/// Longer than any user name that a mail client has.
const USER_CHARS_MAX: usize = 1000;

/// A mail client's way to its server, to be tried.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WayToTry {
    /// The user name as the mail client has it: `remote_user%server%mailbox-id`.
    user: String,
    /// The password at the provider; without one no login is tried. It is sent to the server over verified TLS only.
    #[schema(value_type = Option<String>, format = Password)]
    password: Option<SecretString>,
    /// What the client does; without it the port tells, and it sends.
    protocol: Option<Protocol>,
    /// Another port of the server.
    #[schema(minimum = 1)]
    port: Option<u16>,
}

/// What a mail client does.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Protocol {
    /// It sends mail.
    Smtp,
    /// It fetches mail.
    Pop3,
}

/// A step of the way; sent as the server-sent event `step`. The last one is about the login, or has failed.
#[derive(Serialize, ToSchema)]
pub(super) struct WayStep {
    /// What was found.
    #[serde(flatten)]
    finding: Finding,
    /// Milliseconds since the beginning.
    at_ms: u64,
}

/// Looks for trouble: disk, certificate, what each port really shows, DNS, clock. Takes some seconds.
#[utoipa::path(post, path = "/api/v1/doctor", tag = "doctor", operation_id = "examine",
    responses((status = 200, body = Vec<Finding>), (status = 403, body = Problem), (status = 429, body = Problem)))]
pub(super) async fn doctor(State(console): State<Arc<Console>>) -> Result<Json<Vec<Finding>>, Problem> {
    let turn = console.turn()?;
    let found = console.blocking(move |console| {
        let _turn = turn;
        let core = &console.core;
        Ok(examine(&core.settings(), &*core.disk, &*core.clock, &|command| console.answer(command)))
    });
    Ok(Json(found.await?))
}

/// Goes the way of a mail client to its server, and tells each step; it ends when nobody listens any more.
#[utoipa::path(post, path = "/api/v1/proxy/test", tag = "doctor", operation_id = "testProxy", request_body = WayToTry,
    responses((status = 200, body = WayStep, content_type = "text/event-stream"), (status = 403, body = Problem),
        (status = 422, body = Problem), (status = 429, body = Problem)))]
pub(super) async fn proxy_test(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Body(way): Body<WayToTry>,
) -> Result<Response, Problem> {
    if way.user.chars().count() > USER_CHARS_MAX || way.port == Some(0) {
        return Err(Problem::invalid("that is no user name of a mail client, or no port"));
    }
    let (place, turn) = (place(&console, &caller)?, console.turn()?);
    // Whoever tries passwords at somebody's server should be found again.
    let action = caller.action("proxy.test", way.user.clone(), "");
    console.changing(move |_| Ok(((), action))).await?;
    let tried = Tried {
        user: way.user,
        pop3: way.protocol.map(|protocol| protocol == Protocol::Pop3),
        port: way.port,
        password: way.password,
    };
    let (telling, receiver) = Telling::begin(&console);
    tokio::spawn(async move {
        let _turn = turn;
        let ask = |command: &_| console.answer(command);
        let way = Way { settings: &console.core.settings(), ask: &ask };
        let mut tell = |finding| telling.tell(&WayStep { finding, at_ms: telling.at_ms() });
        tokio::select! {
            () = way.walk(tried, &mut tell) => {}
            () = telling.deserted() => {}
        }
    });
    Ok(stream(receiver, place))
}
