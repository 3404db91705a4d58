//! The routes.

use crate::control::{Act, Control, Place, Refusal, Selection, parse_cursor, parse_id};
use crate::process;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::Arc;

/// Entries on a page: by default, and at most.
const PAGE: usize = 100;
const MAX_PAGE: usize = 1000;
/// Entries that one step of an act looks at, by default and at most; its time ends it sooner.
const MAX_STEP: usize = 100_000;
/// A selection is small.
const MAX_BODY_BYTES: usize = 64 << 10;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Rooms {
    pub(crate) control: Arc<dyn Control>,
    pub(crate) prometheus: PrometheusHandle,
}

pub(crate) fn router(rooms: Rooms) -> Router {
    let api = Router::new()
        .route("/api/queue/summary", get(summary))
        .route("/api/queue", get(list))
        .route("/api/queue/{id}", get(show))
        .route("/api/queue/{id}", post(act))
        .route("/api/explain", get(explain))
        .layer(from_fn(refuse_foreign_hosts));
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .merge(api)
        .fallback(|| async { Refusal::not_found("there is nothing here", "GET /metrics /healthz /readyz /api/queue") })
        .method_not_allowed_fallback(|| async {
            (StatusCode::METHOD_NOT_ALLOWED, Refusal::invalid("not with this method", "GET to look, POST to act"))
        })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(rooms)
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, problem) = match self {
            Refusal::Invalid(problem) => (StatusCode::BAD_REQUEST, problem),
            Refusal::NotFound(problem) => (StatusCode::NOT_FOUND, problem),
            Refusal::Unavailable(problem) => (StatusCode::SERVICE_UNAVAILABLE, problem),
        };
        (status, Json(problem)).into_response()
    }
}

/// Against DNS rebinding: a page's script can make a name of its own point here, but not an address.
async fn refuse_foreign_hosts(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    if is_own_host(host) {
        return next.run(request).await;
    }
    let hint = "use its address, as [admin] bind has it, or localhost";
    (StatusCode::FORBIDDEN, Refusal::invalid(format!("the API does not answer to the name `{host}`"), hint))
        .into_response()
}

fn is_own_host(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

async fn metrics(State(rooms): State<Rooms>) -> impl IntoResponse {
    let text = rooms.prometheus.render() + &process::metrics(rooms.control.ready().is_ok());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

async fn ready(State(rooms): State<Rooms>) -> (StatusCode, String) {
    match rooms.control.ready() {
        Ok(()) => (StatusCode::OK, "ready\n".into()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn summary(State(rooms): State<Rooms>) -> Response {
    ask(rooms, |control| control.summary()).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    id: Option<String>,
    domain: Option<String>,
    sender: Option<String>,
    tenant: Option<String>,
    campaign: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

async fn list(State(rooms): State<Rooms>, query: Result<Query<ListQuery>, QueryRejection>) -> Response {
    let query = match query {
        Ok(Query(query)) => query,
        Err(error) => return Refusal::invalid(error.body_text(), "limit is a number").into_response(),
    };
    ask(rooms, move |control| {
        let ListQuery { id, domain, sender, tenant, campaign, after, limit } = query;
        let after = after.as_deref().map(parse_cursor).transpose()?;
        let ids = id.into_iter().collect();
        let selection = Selection { ids, domain, sender, tenant, campaign, all: false };
        selection.message_ids()?;
        control.list(&selection, after, limit.unwrap_or(PAGE).clamp(1, MAX_PAGE))
    })
    .await
}

async fn show(State(rooms): State<Rooms>, Path(id): Path<String>) -> Response {
    ask(rooms, move |control| control.show(parse_id(&id)?)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ActQuery {
    after: Option<String>,
    limit: Option<usize>,
}

async fn act(
    State(rooms): State<Rooms>,
    Path(name): Path<String>,
    query: Result<Query<ActQuery>, QueryRejection>,
    selection: Result<Json<Selection>, JsonRejection>,
) -> Response {
    let Some(act) = Act::ALL.into_iter().find(|act| act.as_str() == name) else {
        return Refusal::not_found(format!("`{name}` is nothing to do"), "retry, hold, release, remove")
            .into_response();
    };
    let ActQuery { after, limit } = match query {
        Ok(Query(query)) => query,
        Err(error) => return Refusal::invalid(error.body_text(), "limit is a number").into_response(),
    };
    let selection = match selection {
        Ok(Json(selection)) => selection,
        Err(error) => {
            let hint = "a JSON object with id, domain, sender, tenant, campaign, or \"all\": true";
            return (error.status(), Refusal::invalid(error.body_text(), hint).json()).into_response();
        }
    };
    ask(rooms, move |control| {
        selection.message_ids()?;
        let from = after.as_deref().map(Place::parse).transpose()?;
        match (selection.is_empty(), selection.all) {
            (true, false) => Err(Refusal::invalid(
                "nothing is selected",
                "name an id, domain, sender, tenant or campaign; or say \"all\": true",
            )),
            (false, true) => {
                Err(Refusal::invalid("\"all\" and a selection contradict each other", "leave out one of them"))
            }
            _ => control.act(act, &selection, from, limit.unwrap_or(MAX_STEP).clamp(1, MAX_STEP)),
        }
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExplainQuery {
    address: String,
}

async fn explain(State(rooms): State<Rooms>, query: Result<Query<ExplainQuery>, QueryRejection>) -> Response {
    match query {
        Ok(Query(query)) => ask(rooms, move |control| control.explain(&query.address)).await,
        Err(error) => Refusal::invalid(error.body_text(), "GET /api/explain?address=user@domain").into_response(),
    }
}

/// Asks the engine on a thread that may block.
async fn ask<T: Serialize + Send + 'static>(
    rooms: Rooms,
    question: impl FnOnce(&dyn Control) -> Result<T, Refusal> + Send + 'static,
) -> Response {
    match tokio::task::spawn_blocking(move || question(&*rooms.control)).await {
        Ok(Ok(answer)) => Json(answer).into_response(),
        Ok(Err(refusal)) => refusal.into_response(),
        Err(_) => Refusal::unavailable("the question was not answered", "see the log; the server may be stopping")
            .into_response(),
    }
}

impl Refusal {
    fn json(self) -> Json<crate::control::Problem> {
        let (Refusal::Invalid(problem) | Refusal::NotFound(problem) | Refusal::Unavailable(problem)) = self;
        Json(problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_localhost_are_own_hosts() {
        for host in ["127.0.0.1:8025", "127.0.0.1", "[::1]:8025", "localhost:8025", "LOCALHOST", "192.0.2.1:80"] {
            assert!(is_own_host(host), "{host}");
        }
        for host in ["", "evil.example", "evil.example:8025", "localhost.evil.example", "127.0.0.1.evil.example"] {
            assert!(!is_own_host(host), "{host}");
        }
    }
}
