//! `/`: the apps this person may open.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use crate::guard::Need;
use crate::problem::Problem;
use crate::service::launcher::{App, apps};
use crate::view::{self, Chrome};
use crate::visit::V;

#[derive(Template)]
#[template(path = "launcher.html")]
struct LauncherPage {
    chrome: Chrome,
    apps: Vec<App>,
}

pub(crate) async fn show(visit: V) -> Result<Response, Problem> {
    let identity = visit.require(Need::Own)?;
    let page = LauncherPage { chrome: Chrome::new(&visit), apps: apps(&visit, identity) };
    Ok(view::page(&visit, StatusCode::OK, &page))
}
