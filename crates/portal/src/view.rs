//! What every page has around its own content, and turning a template into an answer.

use std::time::Duration;

use askama::Template;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use vestibule_core::account::Status;

use crate::assets;
use crate::dispatch::append_cookies;
use crate::problem::Problem;
use crate::visit::Visit;

/// How long a form token lives in the browser.
const CSRF_LIFETIME: Duration = Duration::from_secs(12 * 3_600);

/// The frame of a page.
pub(crate) struct Chrome {
    /// Stands before each path of the portal.
    pub(crate) base: String,
    /// The style sheet.
    pub(crate) css: String,
    /// The icon.
    pub(crate) icon: String,
    /// Value of the forms' hidden field.
    pub(crate) csrf: String,
    /// Nothing is checked: every page says so.
    pub(crate) auth_off: bool,
    /// Whom to greet, where somebody with full access is signed in.
    pub(crate) person: Option<String>,
    /// Whether there is an account behind the person (not in mode none).
    pub(crate) has_account: bool,
    /// The page's own path, to mark it in the navigation.
    pub(crate) here: String,
}

impl Chrome {
    pub(crate) fn new(visit: &Visit) -> Self {
        let identity = visit
            .ctx
            .identity
            .as_ref()
            .filter(|i| i.status == Status::Active && !i.must_change_password);
        let person = identity.map(|identity| {
            let name = if identity.name.is_empty() { &identity.username } else { &identity.name };
            name.to_string()
        });
        Self {
            base: visit.base(),
            css: assets::path("portal.css"),
            icon: assets::path("icon.svg"),
            csrf: visit.csrf_token.clone(),
            auth_off: visit.auth_is_off(),
            has_account: person.is_some() && !visit.auth_is_off(),
            person,
            here: visit.path().to_owned(),
        }
    }

    /// `page` where a navigation link leads to the page that is shown, else `false`.
    pub(crate) fn current(&self, path: &str) -> &'static str {
        if self.here == path { "page" } else { "false" }
    }

    /// The same for a tab, whose pages lie below its path too.
    pub(crate) fn current_tab(&self, path: &str) -> &'static str {
        match self.here.strip_prefix(path) {
            Some("") => "page",
            Some(rest) if rest.starts_with('/') => "true",
            _ => "false",
        }
    }
}

/// Renders a page. A browser without a form token gets one.
pub(crate) fn page(visit: &Visit, status: StatusCode, template: &impl Template) -> Response {
    let html = match template.render() {
        Ok(html) => html,
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let has_form = html.contains("name=\"csrf\"");
    let mut response = Response::new(Body::from(html));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    if has_form && visit.csrf_is_new {
        let cookie = visit.names.set(visit.names.csrf, &visit.csrf_token, CSRF_LIFETIME);
        append_cookies(&mut response, &[cookie]);
    }
    response
}

/// A page with a form: as it is first shown, or again with what was wrong.
pub(crate) fn form(visit: &Visit, problem: Option<&Problem>, template: &impl Template) -> Response {
    match problem {
        Some(problem) => refused(visit, problem, template),
        None => page(visit, StatusCode::OK, template),
    }
}

/// A form shown again with what was wrong: the problem's status and headers on a page.
pub(crate) fn refused(visit: &Visit, problem: &Problem, template: &impl Template) -> Response {
    refused_headers(page(visit, problem.status(), template), problem)
}

/// Puts the header fields of a problem on a page that tells of it.
pub(crate) fn refused_headers(mut response: Response, problem: &Problem) -> Response {
    for (name, value) in problem.headers() {
        response.headers_mut().insert(name, value.clone());
    }
    if let Ok(code) = HeaderValue::from_str(problem.code()) {
        response.headers_mut().insert("x-vestibule", code);
    }
    response
}
