//! The way of a request: command, admission, answer.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{
    DefaultBodyLimit, FromRequest as _, FromRequestParts as _, Query, RawPathParams, Request,
};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{MethodFilter, delete, get, on};
use axum::{Extension, Json, Router};
use futures_core::Stream;
use postern_shared::clock::{Clock, Moment, UnixMillis};
use postern_shared::control::Context;
use postern_shared::shutdown::Shutdown;
use serde_json::{Map, Value, json};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::calls::New;
use super::request::{self, Asking, Stretch};
use super::routes::{Answer, ROUTES, Route};
use super::shares::Share;
use super::{Api, Problem, document, door, page};
use crate::access::{Asked, Caller, Denied, Gate};
use crate::command::{Command, LINES_MAX};

/// The longest body: a profile, a list of addresses.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// How long a watcher of a call waits at most for news, and unless something else is said.
const WAIT_MAX: u64 = 30;
/// A message is sent within this, and a second for so many octets.
const PATIENCE: Duration = Duration::from_secs(60);
const OCTETS_A_SECOND_MIN: u64 = 16 * 1024;
/// How long a request waits for a place.
const PLACE_PATIENCE: Duration = Duration::from_secs(10);
/// Stretches of a message that wait to be sent.
const PIECES: usize = 8;

/// Everything that is served.
pub(super) fn routes(api: &Arc<Api>) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let api = Arc::clone(api);
        let handler = move |Extension(caller): Extension<Arc<Caller>>, request: Request| async move {
            answer(&api, route, caller, request).await.unwrap_or_else(IntoResponse::into_response)
        };
        router = router.route(&numbered(route.path), on(filter(route.method), handler));
    }
    let (listed, shown, cancelled) = (Arc::clone(api), Arc::clone(api), Arc::clone(api));
    let router =
        router
            .route(
                "/api/v1/calls",
                get(move |Extension(caller): Extension<Arc<Caller>>, query: Query<Words>| async move {
                    calls(&listed, &caller, &query.0)
                }),
            )
            .route(
                "/api/v1/calls/{p0}",
                get(
                    move |Extension(caller): Extension<Arc<Caller>>,
                          path: RawPathParams,
                          query: Query<Words>| async move {
                        call(&shown, &caller, &path, query.0).await
                    },
                )
                .merge(delete(
                    move |Extension(caller): Extension<Arc<Caller>>, path: RawPathParams| async move {
                        cancel(&cancelled, &caller, &path).await
                    },
                )),
            )
            .fallback(|| async {
                Problem::not_found("the API has no such route; /api/openapi.json tells what it has")
            })
            .method_not_allowed_fallback(|| async {
                let detail = "the route does not take this method; /api/openapi.json tells what it takes";
                Problem::new(StatusCode::METHOD_NOT_ALLOWED, "no-such-method", "No such method", detail)
            })
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .layer(from_fn_with_state(Arc::clone(api), door::admit));
    let document: Arc<str> = document::document_text().into();
    let document = move || {
        let document = Arc::clone(&document);
        async move { ([(CONTENT_TYPE, "application/json")], document.to_string()) }
    };
    let own = Router::new()
        .route("/api/openapi.json", get(document))
        .route("/api", get(|| async { page_response() }))
        .route("/api/", get(|| async { page_response() }))
        .route("/", get(|| async { (StatusCode::SEE_OTHER, [(LOCATION, "/api")]) }));
    own.merge(router).layer(from_fn(door::every))
}

type Words = HashMap<String, String>;

fn page_response() -> Response {
    let policy =
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'");
    let mut response = Html(page::text()).into_response();
    response.headers_mut().insert("content-security-policy", policy);
    response
}

fn filter(method: &str) -> MethodFilter {
    match method {
        "POST" => MethodFilter::POST,
        "PUT" => MethodFilter::PUT,
        "PATCH" => MethodFilter::PATCH,
        "DELETE" => MethodFilter::DELETE,
        _ => MethodFilter::GET,
    }
}

/// The router wants one name for what stands in one place.
fn numbered(path: &str) -> String {
    let mut number = 0;
    let parts = path.split('/').map(|part| {
        if !part.starts_with('{') {
            return part.to_owned();
        }
        number += 1;
        format!("{{p{}}}", number - 1)
    });
    parts.collect::<Vec<_>>().join("/")
}

async fn answer(
    api: &Arc<Api>,
    route: &'static Route,
    caller: Arc<Caller>,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let path = RawPathParams::from_request_parts(&mut parts, &()).await;
    let path = path.map_err(|_| Problem::not_found("there is nothing of such a name"))?;
    let path: Vec<String> = path.iter().map(|(_, value)| value.to_owned()).collect();
    let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
    let query = query.map_err(|error| Problem::invalid(error.body_text()))?.0;
    let body = Bytes::from_request(Request::from_parts(parts, body), &())
        .await
        .map_err(|rejection| too_large(&rejection))?;
    let asking = request::read(route, &path, query, &body)?;
    match route.answer {
        Answer::Long => long(api, route, caller, asking).await,
        Answer::Octets => octets(api, caller, asking.command).await,
        _ => now(api, route, caller, asking).await,
    }
}

fn too_large(rejection: &BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let detail = "the request's body is longer than any that is meant";
        return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Too large", detail);
    }
    Problem::invalid(rejection.body_text())
}

async fn now(
    api: &Api,
    route: &Route,
    caller: Arc<Caller>,
    Asking { command, stretch, said }: Asking,
) -> Result<Response, Problem> {
    let share = short(api, &caller, &command).await?;
    // When whoever asks goes away, a search ends soon; a change is made, and its place is taken until then.
    let (context, _told, _cancel) = Context::new();
    let commands = api.commands.clone();
    let done = tokio::spawn(async move {
        let _share = share;
        commands.handle_as(caller, command, context).await
    });
    let done = done.await.map_err(Problem::internal)??;
    Ok(match route.answer {
        Answer::Made => (StatusCode::CREATED, Json(done)).into_response(),
        Answer::List(member) => Json(sliced(done, member, stretch)).into_response(),
        Answer::Page => {
            let mut page = done;
            page["items"] = page["hits"].take();
            page["next"] = page["next"].take();
            if let Some(page) = page.as_object_mut() {
                page.remove("hits");
            }
            Json(page).into_response()
        }
        Answer::Before => {
            let limit = said.get("limit").and_then(Value::as_u64).unwrap_or(100);
            // The command gives no more, whatever was asked for; when a line's number is not its own, its place counts.
            let limit = limit.min(LINES_MAX as u64);
            let lines = done.as_array().map_or(0, Vec::len) as u64;
            let last = done.as_array().and_then(|lines| lines.last());
            let place = |line: &Value| line["place"].as_u64().or(line["sequence"].as_u64());
            let next = last.filter(|_| lines >= limit).and_then(place);
            Json(json!({ "items": done, "next": next })).into_response()
        }
        _ => Json(done).into_response(),
    })
}

/// Whose places a request takes: those of the instance that its token is bound to, whatever it asks about.
fn whose(caller: &Caller, command: &Command) -> Option<String> {
    caller.instance().map(str::to_owned).or_else(|| Asked::of(command).instance)
}

/// A place for what is answered at once.
async fn short(api: &Api, caller: &Caller, command: &Command) -> Result<Share, Problem> {
    let share = api.short.take_within(whose(caller, command).as_deref(), PLACE_PATIENCE).await;
    share.ok_or_else(|| {
        Problem::too_many("too much is being done at once; wait for some of it", Duration::from_secs(5))
    })
}

/// A stretch of a list, how long the list is, and where the next stretch begins.
fn sliced(answer: Value, member: Option<&str>, Stretch { limit, offset }: Stretch) -> Value {
    let (all, beside) = match (answer, member) {
        (Value::Object(mut beside), Some(member)) => (beside.remove(member).unwrap_or_default(), beside),
        (all, _) => (all, Map::new()),
    };
    let all = match all {
        Value::Array(all) => all,
        _ => Vec::new(),
    };
    let total = all.len();
    let items: Vec<Value> = all.into_iter().skip(offset).take(limit).collect();
    let end = offset.saturating_add(items.len());
    let mut shown = Value::Object(beside);
    shown["items"] = items.into();
    shown["total"] = total.into();
    shown["next"] = (end < total).then_some(end).into();
    shown
}

/// Begins a call, once it is admitted.
async fn long(
    api: &Arc<Api>,
    route: &'static Route,
    caller: Arc<Caller>,
    asking: Asking,
) -> Result<Response, Problem> {
    let commands = api.commands.clone();
    // Before it is recorded: what finds no place was not done.
    let place = api.calls.place(whose(&caller, &asking.command).as_deref())?;
    let admitted = commands.admit(&caller, asking.command).await?;
    let instance = admitted.instance().map(str::to_owned);
    let created = instance.clone().map(|id| created(api, id));
    let created = match created {
        Some(created) => created.await,
        None => None,
    };
    let new = New { command: route.command, instance, created };
    let by = Arc::clone(&caller);
    let work = |context| async move { commands.carry_out(by, admitted, context).await };
    let call = api.calls.begin(place, &caller, new, work);
    let place = format!("/api/v1/calls/{}", call.token());
    Ok((StatusCode::ACCEPTED, [(LOCATION, place)], Json(call.shown())).into_response())
}

/// When an instance was created; `None` when it is not there, or not yet.
async fn created(api: &Api, id: String) -> Option<UnixMillis> {
    let core = Arc::clone(&api.core);
    let info = tokio::task::spawn_blocking(move || core.instance_info(&id));
    info.await.ok()?.ok().map(|info| info.created)
}

fn calls(api: &Api, caller: &Caller, query: &Words) -> Result<Response, Problem> {
    let shown: Vec<Value> = api.calls.list(caller).iter().map(|call| call.shown()).collect();
    let number = |name: &str, usual: usize| match query.get(name) {
        Some(text) => text.parse().map_err(|_| Problem::invalid(format!("{name:?} is no number"))),
        None => Ok(usual),
    };
    let stretch = Stretch { limit: number("limit", 100)?.clamp(1, 1000), offset: number("offset", 0)? };
    Ok(Json(sliced(shown.into(), None, stretch)).into_response())
}

fn found(api: &Api, caller: &Caller, path: &RawPathParams) -> Result<Arc<super::calls::Call>, Problem> {
    let token = path.iter().next().map_or("", |(_, value)| value);
    let unknown = || Problem::not_found("there is no such call; what finished is forgotten after a day");
    api.calls.find(token, caller).ok_or_else(unknown)
}

/// How a call stands; with `statusVersion`, once it is newer than that.
async fn call(api: &Api, caller: &Caller, path: &RawPathParams, query: Words) -> Result<Response, Problem> {
    let call = found(api, caller, path)?;
    let number = |name: &str| match query.get(name) {
        Some(text) => text.parse().map(Some).map_err(|_| Problem::invalid(format!("{name:?} is no number"))),
        None => Ok(None),
    };
    if let Some(known) = number("statusVersion")? {
        let patience = number("wait")?.unwrap_or(WAIT_MAX).min(WAIT_MAX);
        call.newer_than(known, Duration::from_secs(patience)).await;
    }
    Ok(Json(call.shown()).into_response())
}

/// Cancels a call, once that stands in the log.
async fn cancel(api: &Api, caller: &Caller, path: &RawPathParams) -> Result<Response, Problem> {
    let call = found(api, caller, path)?;
    let (core, by, called) = (Arc::clone(&api.core), caller.by(), Arc::clone(&call));
    let recorded = tokio::task::spawn_blocking(move || {
        let particulars = json!({ "id": called.token(), "command": called.command() });
        let open = called.instance().and_then(|id| core.open_instance_of(id));
        match open {
            Some(instance) => instance.audit().record_by(&by, "call-cancel", &particulars, None),
            None => core.audit()?.record_by(&by, "call-cancel", &particulars, None),
        }
    });
    recorded.await.map_err(Problem::internal)??;
    call.cancel();
    Ok((StatusCode::ACCEPTED, Json(call.shown())).into_response())
}

/// A message, sent while it is read. What goes wrong before its first octet is a problem; later the connection breaks off, and the
/// body lacks its end.
async fn octets(api: &Arc<Api>, caller: Arc<Caller>, command: Command) -> Result<Response, Problem> {
    let Command::MessageGet { instance, id, report } = command else {
        return Err(Problem::internal("a route for octets without a message"));
    };
    // Who may, and where; the gate judges and records the reading itself.
    let asked = Command::MessageGet { instance: instance.clone(), id: id.clone(), report };
    let share = short(api, &caller, &asked).await?;
    let admitted = api.commands.admit(&caller, asked).await?;
    let mut pace = Pace::new(Arc::clone(&api.core.clock), admitted.stopping());
    let (pieces, sent) = mpsc::channel::<io::Result<Bytes>>(PIECES);
    let (begun, first) = oneshot::channel::<Result<(), Problem>>();
    let (broken, breaks) = oneshot::channel::<()>();
    let (core, name) = (Arc::clone(&api.core), id.clone());
    tokio::task::spawn_blocking(move || {
        let _share = share;
        let mut begun = Some(begun);
        let mut take = |piece: &[u8]| {
            if let Some(begun) = begun.take() {
                let _ = begun.send(Ok(()));
            }
            pace.send(&pieces, Bytes::copy_from_slice(piece))
        };
        let read = Gate::new(&core, &caller, &instance).and_then(|gate| match report {
            false => gate.message(&name, &mut take),
            true => {
                let report = gate.report(&name)?;
                report.chunks(64 * 1024).try_for_each(&mut take).map_err(|error| failed(&error))
            }
        });
        match (begun.take(), read) {
            (Some(begun), read) => drop(begun.send(read.map_err(Problem::from))),
            (None, Err(error)) => {
                tracing::error!(message = name, %error, "a message could not be sent whole");
                // Not among the pieces: whoever takes none is not waited for again.
                let _ = broken.send(());
            }
            (None, Ok(())) => {}
        }
    });
    first.await.map_err(|_| Problem::internal("reading a message ended by itself"))??;
    let mut response = Body::from_stream(Pieces { sent, breaks }).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("message/rfc822"));
    let name = HeaderValue::from_str(&format!("attachment; filename=\"{id}.eml\""));
    headers.insert(CONTENT_DISPOSITION, name.map_err(Problem::internal)?);
    Ok(response)
}

fn failed(error: &io::Error) -> Denied {
    Denied::NotAllowed(error.to_string())
}

/// How long a client may take. Whoever reads holds the instance open, so nobody takes for ever, nor past its end.
struct Pace {
    runtime: Handle,
    stopping: Option<Shutdown>,
    clock: Arc<dyn Clock>,
    begun: Moment,
    octets: u64,
}

impl Pace {
    fn new(clock: Arc<dyn Clock>, stopping: Option<Shutdown>) -> Self {
        let begun = clock.moment();
        Self { runtime: Handle::current(), clock, stopping, begun, octets: 0 }
    }

    /// Waits until there is room for the next piece.
    fn send(&mut self, pieces: &mpsc::Sender<io::Result<Bytes>>, piece: Bytes) -> io::Result<()> {
        let time = PATIENCE + Duration::from_secs(self.octets / OCTETS_A_SECOND_MIN);
        let left = time.saturating_sub(self.clock.moment().since(self.begun));
        self.octets += piece.len() as u64;
        let stopping = self.stopping.as_mut();
        let stopped = async {
            match stopping {
                Some(stopping) => stopping.requested().await,
                None => std::future::pending().await,
            }
        };
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = stopped => Err(io::Error::other("the instance is being stopped")),
                sent = pieces.send(Ok(piece)) => sent.map_err(io::Error::other),
                () = sleep(left) => Err(io::Error::other("the client takes it too slowly")),
            }
        })
    }
}

/// What is sent while it is read.
struct Pieces {
    sent: mpsc::Receiver<io::Result<Bytes>>,
    breaks: oneshot::Receiver<()>,
}

impl Stream for Pieces {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        match ready!(self.sent.poll_recv(context)) {
            // Its end, or the place where it broke off: then the connection does too.
            None if matches!(self.breaks.try_recv(), Ok(())) => {
                Poll::Ready(Some(Err(io::Error::other("the message could not be sent whole"))))
            }
            piece => Poll::Ready(piece),
        }
    }
}
