//! The routes of the admin API.

use std::path::Path;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use lb_core::config::{self, Identity};
use lb_core::snapshot::Snapshot;
use lb_l4::explain::{Answer as Explained, Question};
use lb_l4::flows::{Listing, Query};
use lb_l4::samples::SampleLine;
use lb_l7::{ExplainRequest, Explanation};
use lb_vrrp::{RouterReport, Yielded};

use super::messages::{
    BackendCommand, BackendStatus, DiffReport, DiffRequest, Failure, ReloadReport, SampleRequest, Status, YieldRequest,
};
use crate::supervisor::{self, Supervisor, Trigger, refuse_what_needs_a_restart};

/// A whole configuration file must fit.
const BODY_LIMIT: usize = 32 << 20;

type Answer<T> = Result<Json<T>, Refusal>;
type Lb = State<Arc<Supervisor>>;

/// An answer that is not 200.
struct Refusal(StatusCode, String);

pub fn router(supervisor: Arc<Supervisor>) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/reload", post(reload))
        .route("/v1/backend", post(backend))
        .route("/v1/explain", post(explain))
        .route("/v1/explain/packet", post(explain_packet))
        .route("/v1/flows", post(flows))
        .route("/v1/flows/sample", post(sample))
        .route("/v1/vrrp", get(virtual_routers))
        .route("/v1/vrrp/yield", post(yield_role))
        .route("/v1/config/diff", post(diff))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(supervisor)
}

async fn status(State(lb): Lb) -> Json<Status> {
    Json(lb.status())
}

/// A refused reload is an answer like any other: the report says so.
async fn reload(State(lb): Lb) -> Json<ReloadReport> {
    Json(lb.reload(Trigger::Admin).await)
}

async fn backend(State(lb): Lb, Json(command): Json<BackendCommand>) -> Answer<BackendStatus> {
    let done = lb.command_backend(&command.backend, command.state).await;
    done.map(Json).map_err(|why| Refusal(StatusCode::NOT_FOUND, why))
}

async fn explain(State(lb): Lb, Json(request): Json<ExplainRequest>) -> Answer<Explanation> {
    lb.explain(&request).map(Json).map_err(|why| Refusal(StatusCode::BAD_REQUEST, why.to_string()))
}

async fn explain_packet(State(lb): Lb, Json(question): Json<Question>) -> Answer<Explained> {
    let answer = blocking(move || lb.forwarder().explain(&question)).await?;
    answer.map(Json).map_err(|why| Refusal(StatusCode::BAD_REQUEST, why.to_string()))
}

async fn flows(State(lb): Lb, Json(query): Json<Query>) -> Answer<Listing> {
    let listing = blocking(move || lb.forwarder().flows(&query)).await?;
    listing.map(Json).map_err(|why| Refusal(StatusCode::NOT_FOUND, why.to_string()))
}

async fn sample(State(lb): Lb, Json(request): Json<SampleRequest>) -> Answer<Vec<SampleLine>> {
    let samples = blocking(move || lb.forwarder().sample(request.packets, request.frontend.as_deref())).await?;
    samples.map(Json).map_err(|why| Refusal(StatusCode::BAD_REQUEST, why.to_string()))
}

async fn virtual_routers(State(lb): Lb) -> Json<Vec<RouterReport>> {
    Json(lb.vrrp().report())
}

/// Answered when it is known what came of it.
async fn yield_role(State(lb): Lb, Json(request): Json<YieldRequest>) -> Answer<Vec<Yielded>> {
    let yield_role = move || {
        lb.peers().flush();
        lb.vrrp().yield_role(request.router.as_deref())
    };
    let outcome = tokio::task::spawn_blocking(yield_role).await;
    let outcome = outcome.map_err(|panic| Refusal(StatusCode::INTERNAL_SERVER_ERROR, panic.to_string()))?;
    outcome.map(Json).map_err(|why| Refusal(StatusCode::NOT_FOUND, why.to_string()))
}

/// What takes a while, which the control side must not feel; `None`: there is no layer 4.
async fn blocking<T: Send + 'static>(ask: impl FnOnce() -> Option<T> + Send + 'static) -> Result<T, Refusal> {
    let answer = tokio::task::spawn_blocking(ask).await;
    let answer = answer.map_err(|panic| Refusal(StatusCode::INTERNAL_SERVER_ERROR, panic.to_string()))?;
    answer.ok_or_else(|| Refusal(StatusCode::NOT_FOUND, "there is no layer-4 frontend".to_owned()))
}

/// Parsing thousands of backends takes a while, which the control side must not feel.
async fn diff(State(lb): Lb, Json(request): Json<DiffRequest>) -> Answer<DiffReport> {
    let serving = lb.snapshot();
    let report = tokio::task::spawn_blocking(move || compare(&serving, &lb.identity, &request)).await;
    report.map(Json).map_err(|panic| Refusal(StatusCode::INTERNAL_SERVER_ERROR, panic.to_string()))
}

fn compare(serving: &Snapshot, identity: &Identity, request: &DiffRequest) -> DiffReport {
    let env = |name: &str| std::env::var(name).ok();
    match config::load_as(&request.text, Path::new(&request.origin), &env, identity) {
        Ok(new) => DiffReport {
            changes: supervisor::changes(serving, &new.config).to_string(),
            warnings: new.warnings.to_string(),
            errors: refuse_what_needs_a_restart(serving, &new.config).err().map_or_else(String::new, |e| e.to_string()),
        },
        Err(errors) => DiffReport { changes: String::new(), warnings: String::new(), errors: errors.to_string() },
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(Failure { error: self.1 })).into_response()
    }
}
