//! The gateway at a glance, and live.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::Json;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use utoipa::{IntoParams, ToSchema};

use super::Stop;
use super::extract::Asked;
use crate::console::gate::{self, Caller, Who, signed_in};
use crate::console::overview::Overview;
use crate::console::rates::Course;
use crate::console::streams::Place;
use crate::console::{Console, Problem};

/// Points of the course that each live event brings: what a client has missed while it connected again.
const LIVE_POINTS: usize = 12;

/// The overview and its course.
#[derive(Serialize, ToSchema)]
pub(super) struct OverviewWithCourse {
    /// The gateway at a glance.
    overview: Overview,
    /// How the counters went.
    course: Course,
}

/// What part of the course.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Span {
    /// `hour` (a point every 5 seconds) or `day` (a point every minute).
    #[serde(default)]
    #[param(inline)]
    span: SpanName,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum SpanName {
    /// A point every 5 seconds.
    #[default]
    Hour,
    /// A point every minute.
    Day,
}

/// The gateway at a glance.
#[utoipa::path(get, path = "/api/v1/overview", tag = "overview", operation_id = "overview", params(Span),
    responses((status = 200, body = OverviewWithCourse), (status = 401, body = Problem)))]
pub(super) async fn overview(
    State(console): State<Arc<Console>>,
    Asked(Span { span }): Asked<Span>,
) -> Result<Json<OverviewWithCourse>, Problem> {
    let overview = console.blocking(|console| Ok(console.overview())).await?;
    let rates = console.rates.lock().unwrap_or_else(PoisonError::into_inner);
    let course = match span {
        SpanName::Hour => rates.hour(),
        SpanName::Day => rates.day(),
    };
    Ok(Json(OverviewWithCourse { overview, course }))
}

/// The overview live: server-sent events `overview`, each with what `/overview` answers and the last points of the course.
/// The stream ends with the session.
#[utoipa::path(get, path = "/api/v1/overview/events", tag = "overview", operation_id = "overviewEvents",
    responses((status = 200, body = OverviewWithCourse, content_type = "text/event-stream"), (status = 429, body = Problem)))]
pub(super) async fn events(
    State(console): State<Arc<Console>>,
    Extension(Stop(mut stop)): Extension<Stop>,
    caller: Caller,
) -> Result<Response, Problem> {
    let place = place(&console, &caller)?;
    let (sender, receiver) = mpsc::channel(2);
    let mut live = console.live.subscribe();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                changed = live.changed() => if changed.is_err() { return },
                () = stop.requested() => return,
                () = sender.closed() => return,
            }
            if !is_still_good(&console, &caller) {
                return;
            }
            let overview = Overview::clone(&live.borrow_and_update());
            let course = console.rates.lock().unwrap_or_else(PoisonError::into_inner).latest(LIVE_POINTS);
            let Ok(event) =
                Event::default().event("overview").json_data(OverviewWithCourse { overview, course })
            else {
                return;
            };
            if sender.send(event).await.is_err() {
                return;
            }
        }
    });
    Ok(stream(receiver, place))
}

/// One of the few places for streams.
pub(super) fn place(console: &Console, caller: &Caller) -> Result<Place, Problem> {
    let place = console.streams.take(&caller.account()?.name);
    place
        .ok_or_else(|| Problem::too_many("too many live pages are open; close some", Duration::from_secs(10)))
}

/// Whether who opened a stream may still see it.
pub(super) fn is_still_good(console: &Console, caller: &Caller) -> bool {
    match &caller.who {
        Who::Nobody => false,
        Who::Session { key, .. } => signed_in(console, *key, false).is_some(),
        Who::Token { token, owner } => {
            let expired = token.expires.is_some_and(|expires| expires <= console.now().1);
            let is_there =
                console.tokens.list().is_ok_and(|all| all.iter().any(|other| other.id == token.id));
            // A token that may no longer what it might when it began has ended for that.
            let same = gate::owner(console, token).is_some_and(|now| now.role == owner.role);
            !expired && is_there && same
        }
    }
}

/// An answer made of events, holding its place until it ends.
pub(super) fn stream(receiver: mpsc::Receiver<Event>, place: Place) -> Response {
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(15));
    Sse::new(Received { receiver, _place: place }).keep_alive(keep_alive).into_response()
}

struct Received {
    receiver: mpsc::Receiver<Event>,
    _place: Place,
}

impl futures_core::Stream for Received {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.receiver.poll_recv(context).map(|event| event.map(Ok))
    }
}
