//! `GET /health` for everybody, `GET /health/database` for administrators.

use axum::response::Response;
use http::StatusCode;

use super::json;
use crate::guard::Need;
use crate::json::time;
use crate::problem::Problem;
use crate::visit::V;

pub(crate) async fn get(visit: V) -> Response {
    let body = serde_json::json!({
        "status": "ok",
        "version": visit.portal.host.version(),
        "auth_mode": visit.mode().as_title(),
    });
    json(StatusCode::OK, body)
}

pub(crate) async fn database(visit: V) -> Result<Response, Problem> {
    visit.require(Need::Admin)?;
    let health = visit.authn().store().health().await?;
    let good = health.integrity == "ok";
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::json!({
        "status": if good { "ok" } else { "damaged" },
        "engine": health.engine,
        "schema_version": health.schema_version,
        "mode": health.mode,
        "integrity": health.integrity,
        "size": health.size,
        "last_backup": health.last_backup.map(time),
    });
    Ok(json(status, body))
}
