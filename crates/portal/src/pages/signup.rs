//! `/signup`: an account for oneself, where that is allowed; else 404.

use askama::Template;
use axum::response::Response;

use vestibule_core::secret::Secret;

use crate::api::display_name;
use crate::body::FormBody;
use crate::params::Params;
use crate::problem::Problem;
use crate::view::{self, Chrome};
use crate::visit::{V, Visit};

#[derive(Template)]
#[template(path = "signup.html")]
struct SignupPage<'a> {
    chrome: Chrome,
    rd: &'a str,
    email: &'a str,
    name: &'a str,
    rules: String,
    needs_approval: bool,
    error: Option<&'a str>,
}

pub(crate) async fn show(visit: V, params: Params) -> Result<Response, Problem> {
    if !visit.has_signup() {
        return Err(Problem::not_found());
    }
    if visit.browser_identity().is_some() {
        return Ok(visit.redirect(&visit.url("/")));
    }
    Ok(form(&visit, params.value("rd").unwrap_or_default(), "", "", None))
}

pub(crate) async fn submit(visit: V, body: FormBody) -> Result<Response, Problem> {
    if !visit.has_signup() {
        return Err(Problem::not_found());
    }
    let (email, name, rd) = (body.field("email"), body.field("name"), body.field("rd"));
    let made = match display_name(name) {
        Err(problem) => Err(problem),
        Ok(name) => visit
            .authn()
            .sign_up(email, Secret::new(body.field("password")), &name, &visit.actor(), visit.now)
            .await
            .map_err(Problem::from),
    };
    match made {
        Ok(account) => super::login::begin(&visit, account, false, rd).await,
        Err(problem) => Ok(form(&visit, rd, email, name, Some(&problem))),
    }
}

fn form(visit: &Visit, rd: &str, email: &str, name: &str, problem: Option<&Problem>) -> Response {
    let rd = Some(rd).filter(|rd| visit.return_to(rd).is_some()).unwrap_or_default();
    let page = SignupPage {
        chrome: Chrome::new(visit),
        rd,
        email,
        name,
        rules: super::settings::password_rules(visit),
        needs_approval: visit.settings.auth.approval,
        error: problem.map(Problem::sentence),
    };
    let mut response = view::form(visit, problem, &page);
    response.extensions_mut().insert(super::login::form_targets(visit, rd));
    response
}
