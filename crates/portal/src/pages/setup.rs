//! `/setup`: the first administrator, then a provider, if one is wanted. Asks for the one-time
//! token of this start, unless the visitor sits at the machine itself; 404 once a user exists.
//! The later steps are for the administrator who was just made.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use vestibule_authn::account::AccountError;
use vestibule_authn::ports::StoreError;
use vestibule_core::secret::Secret;

use super::admin::fields::{FieldProblem, Fields, KindChoice, kinds};
use super::admin::provider::Report;
use super::admin::providers::Refused;
use crate::api::display_name;
use crate::assets;
use crate::body::FormBody;
use crate::dispatch::append_cookies;
use crate::guard::Need;
use crate::params::Params;
use crate::problem::{Detour, Problem};
use crate::security_headers::Script;
use crate::service::sign_in;
use crate::view::{self, Chrome};
use crate::visit::{V, Visit};

#[derive(Template)]
#[template(path = "setup.html")]
struct SetupPage<'a> {
    chrome: Chrome,
    /// The token, where one is needed and good.
    token: &'a str,
    /// Ask for the token instead of the account.
    asks_token: bool,
    email: &'a str,
    name: &'a str,
    rules: String,
    error: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "setup_done.html")]
struct SetupDonePage {
    chrome: Chrome,
    /// The provider that was set up.
    provider: Option<String>,
}

#[derive(Template)]
#[template(path = "setup_oauth.html")]
struct OauthPage {
    chrome: Chrome,
    copy_js: String,
    with_none: bool,
    kinds: Vec<KindChoice>,
    fields: Fields,
    problems: Vec<FieldProblem>,
    report: Option<Report>,
    error: Option<String>,
}

pub(crate) async fn show(visit: V, params: Params) -> Result<Response, Problem> {
    require_open(&visit).await?;
    let token = params.value("token").unwrap_or_default();
    let problem = (!token.is_empty() && !is_let_in(&visit, token)).then(wrong_token);
    Ok(form(&visit, token, "", "", problem.as_ref()))
}

pub(crate) async fn submit(visit: V, body: FormBody) -> Result<Response, Problem> {
    require_open(&visit).await?;
    let token = body.field("token").trim();
    if !is_let_in(&visit, token) {
        return Ok(form(&visit, "", "", "", Some(&wrong_token())));
    }
    let (email, name) = (body.field("email"), body.field("name"));
    if email.is_empty() && body.field("password").is_empty() {
        return Ok(form(&visit, token, "", name, None));
    }
    let made = match display_name(name) {
        Err(problem) => Err(problem),
        Ok(name) => {
            let password = Secret::new(body.field("password"));
            let (actor, now) = (visit.actor(), visit.now);
            match visit.authn().set_up_first_admin(email, password, &name, &actor, now).await {
                Err(AccountError::Store(StoreError::Conflict(_))) => {
                    return Err(Problem::not_found());
                }
                made => made.map_err(Problem::from),
            }
        }
    };
    let account = match made {
        Ok(account) => account,
        Err(problem) => return Ok(form(&visit, token, email, name, Some(&problem))),
    };
    let signed_in = sign_in::start(&visit, account, false).await?;
    let mut response = visit.redirect(&visit.url("/setup/oauth"));
    append_cookies(&mut response, &signed_in.cookies);
    Ok(response)
}

/// The step "OAuth Configuration".
pub(crate) async fn oauth(visit: V) -> Result<Response, Problem> {
    require_admin(&visit)?;
    Ok(oauth_form(&visit, Fields::blank(), None, None))
}

pub(crate) async fn save_oauth(visit: V, form: FormBody) -> Result<Response, Problem> {
    require_admin(&visit)?;
    let fields = Fields::of_form(&form);
    if fields.kind.is_empty() {
        return Ok(visit.redirect(&visit.url("/setup/done")));
    }
    let spec = fields.to_new_spec(form.field("client_secret"));
    let (authn, actor, now) = (visit.authn(), visit.actor(), visit.now);
    if form.field("action") == "test" {
        return Ok(match authn.test_provider_spec(&spec, now).await {
            Ok(report) => oauth_form(&visit, fields, Some(report.into()), None),
            Err(error) => oauth_form(&visit, fields, None, Some(error.into())),
        });
    }
    match authn.create_provider(spec, &actor, now).await {
        Ok(made) => Ok(visit.redirect(&visit.url(&format!("/setup/done?provider={}", made.id)))),
        Err(error) => Ok(oauth_form(&visit, fields, None, Some(error.into()))),
    }
}

fn oauth_form(
    visit: &Visit,
    fields: Fields,
    report: Option<Report>,
    refused: Option<Refused>,
) -> Response {
    let (problem, problems) = match refused {
        Some(refused) => (Some(refused.problem), refused.fields),
        None => (None, Vec::new()),
    };
    let copy_js = assets::path("copy.js");
    let page = OauthPage {
        chrome: Chrome::new(visit),
        copy_js: copy_js.clone(),
        with_none: true,
        kinds: kinds(visit),
        fields,
        problems,
        report,
        error: problem.as_ref().map(|problem| problem.sentence().to_owned()),
    };
    let mut response = view::form(visit, problem.as_ref(), &page);
    response.extensions_mut().insert(Script(copy_js));
    response
}

pub(crate) async fn done(visit: V, params: Params) -> Result<Response, Problem> {
    require_admin(&visit)?;
    let made = params.value("provider");
    let mut buttons = visit.authn().provider_buttons().into_iter();
    let made = made.and_then(|made| buttons.find(|button| &*button.id == made));
    let page =
        SetupDonePage { chrome: Chrome::new(&visit), provider: made.map(|button| button.label) };
    Ok(view::page(&visit, StatusCode::OK, &page))
}

async fn require_open(visit: &Visit) -> Result<(), Problem> {
    if visit.ctx.store_unavailable {
        return Err(Problem::store_unavailable());
    }
    let open = !visit.auth_is_off() && visit.authn().is_setup_open().await;
    if open { Ok(()) } else { Err(Problem::not_found()) }
}

/// Nobody else learns of the later steps; whose sign-in has grown old proves it anew.
fn require_admin(visit: &Visit) -> Result<(), Problem> {
    match visit.require(Need::Admin) {
        Ok(_) => Ok(()),
        Err(problem) if problem.where_to() == Some(Detour::Reauth) => Err(problem),
        Err(_) => Err(Problem::not_found()),
    }
}

fn is_let_in(visit: &Visit, token: &str) -> bool {
    visit.ctx.direct_loopback
        || (!token.is_empty() && visit.authn().is_setup_token(token, visit.now))
}

fn wrong_token() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "SETUP_TOKEN_INVALID",
        "That is not the setup token of this start",
    )
    .detail(
        "That is not the setup token of this start. It ends after one hour and is new at every \
         start; the server writes it to `setup-url` in its data directory.",
    )
}

fn form(
    visit: &Visit,
    token: &str,
    email: &str,
    name: &str,
    problem: Option<&Problem>,
) -> Response {
    let let_in = is_let_in(visit, token);
    let page = SetupPage {
        chrome: Chrome::new(visit),
        token: if let_in { token } else { "" },
        asks_token: !let_in,
        email,
        name,
        rules: super::settings::password_rules(visit),
        error: problem.map(Problem::sentence),
    };
    view::form(visit, problem, &page)
}
