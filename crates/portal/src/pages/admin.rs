//! `/admin`: administration. Leads to the one page there is until there is more to choose from.

pub(super) mod users;

use axum::response::Response;

use crate::guard::Need;
use crate::problem::Problem;
use crate::visit::V;

pub(crate) async fn show(visit: V) -> Result<Response, Problem> {
    visit.require(Need::Admin)?;
    Ok(visit.redirect(&visit.url("/admin/users")))
}
