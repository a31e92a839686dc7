//! The audit trail, newest first.

use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

use crate::api::v1::json;
use crate::guard::Need;
use crate::json::Audit;
use crate::params::Params;
use crate::problem::Problem;
use crate::visit::V;

/// How many events one answer lists unless asked for fewer.
const PAGE: u32 = 200;

/// Where there is more, `Link: …; rel="next"` leads on.
pub(crate) async fn list(visit: V, params: Params) -> Result<Response, Problem> {
    visit.require(Need::Admin)?;
    let number = |name: &str| match params.value(name) {
        None => Ok(None),
        Some(text) => text
            .parse::<i64>()
            .ok()
            .filter(|n| *n > 0)
            .map(Some)
            .ok_or_else(|| Problem::bad_request("`before` and `limit` are positive numbers.")),
    };
    let before = number("before")?;
    let limit = number("limit")?.and_then(|n| u32::try_from(n).ok()).unwrap_or(PAGE).min(PAGE);
    let records = visit.authn().store().audit(before, limit).await?;
    let full = u32::try_from(records.len()).is_ok_and(|n| n == limit);
    let last = records.last().map(|record| record.seq).filter(|_| full);
    let list: Vec<_> = records.into_iter().map(Audit::from).collect();
    let mut response = json(StatusCode::OK, list);
    if let Some(last) = last {
        let link = format!("</api/v1/admin/audit?before={last}&limit={limit}>; rel=\"next\"");
        if let Ok(link) = HeaderValue::from_str(&link) {
            response.headers_mut().insert(header::LINK, link);
        }
    }
    Ok(response)
}
