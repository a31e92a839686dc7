//! `/admin`: administration. Leads to its first page; tabs lead from there to the others.

pub(super) mod fields;
pub(super) mod provider;
pub(super) mod providers;
pub(super) mod users;

use axum::response::Response;

use crate::guard::Need;
use crate::problem::Problem;
use crate::visit::V;

pub(crate) async fn show(visit: V) -> Result<Response, Problem> {
    visit.require(Need::Admin)?;
    Ok(visit.redirect(&visit.url("/admin/users")))
}
