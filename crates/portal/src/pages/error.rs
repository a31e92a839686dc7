//! The error page, and the detours that people take instead of seeing it.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use crate::dispatch::Area;
use crate::navigation::encode;
use crate::problem::{Detour, Problem};
use crate::view::{self, Chrome};
use crate::visit::Visit;

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    chrome: Chrome,
    status: u16,
    code: &'a str,
    title: &'a str,
    more: Option<&'a str>,
    request_id: &'a str,
    action: Option<(&'a str, &'a str)>,
}

/// A redirect where there is somewhere better to be, else the error page.
pub(crate) fn render(visit: &Visit, problem: &Problem) -> Response {
    let here = visit.url(&visit.target);
    if visit.area == Area::Page
        && let Some(detour) = problem.where_to()
    {
        let to = match detour {
            Detour::ChangePassword => visit.url("/settings?change=password"),
            Detour::Pending => visit.url("/pending"),
            Detour::Reauth => visit.url(&format!("/login?rd={}&step=reauth", encode(&here))),
            Detour::Rejected => visit.url("/rejected"),
            Detour::SignIn if visit.target == "/" => visit.url("/login"),
            Detour::SignIn => visit.url(&format!("/login?rd={}", encode(&here))),
        };
        return visit.redirect(&to);
    }
    let sign_in = visit.url("/login");
    let action = match problem.status() {
        StatusCode::UNAUTHORIZED => Some(("Sign in", sign_in.as_str())),
        _ => None,
    };
    render_page(visit, problem, action)
}

/// The error page with one link that leads on.
pub(crate) fn render_with_way_out(
    visit: &Visit,
    problem: &Problem,
    label: &str,
    href: &str,
) -> Response {
    view::refused_headers(render_page(visit, problem, Some((label, href))), problem)
}

fn render_page(visit: &Visit, problem: &Problem, action: Option<(&str, &str)>) -> Response {
    let page = ErrorPage {
        chrome: Chrome::new(visit),
        status: problem.status().as_u16(),
        code: problem.code(),
        title: problem.title(),
        more: problem.more(),
        request_id: &visit.ctx.request_id,
        action,
    };
    view::page(visit, problem.status(), &page)
}
