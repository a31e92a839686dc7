//! Everybody's API keys: list and revoke.

use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;

use crate::api::v1::{id, json, no_content};
use crate::guard::Need;
use crate::json::ApiKey;
use crate::problem::Problem;
use crate::visit::V;

pub(crate) async fn list(visit: V) -> Result<Response, Problem> {
    visit.require(Need::Admin)?;
    let keys = visit.authn().list_keys(None).await?;
    let list: Vec<_> = keys.into_iter().map(|key| ApiKey::new(key, None)).collect();
    Ok(json(StatusCode::OK, list))
}

pub(crate) async fn revoke(visit: V, Path(text): Path<String>) -> Result<Response, Problem> {
    visit.require(Need::Admin)?;
    visit.authn().revoke_key(id(&text)?, None, &visit.actor(), visit.now).await?;
    Ok(no_content())
}
