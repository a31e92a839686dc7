//! `/login`: the sign-in page, and proving again who sits there (`step=reauth`).
//!
//! Whoever is signed in already is sent on at once, unless a stronger sign-in is asked for: then
//! the ways that this account has are offered. `rd` is checked here and again wherever
//! it leads; the form's answer is 303, so that no browser sends the password on.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use vestibule_core::account::{Account, Status};
use vestibule_core::identity::Identity;
use vestibule_core::return_to::ReturnTo;

use crate::body::FormBody;
use crate::dispatch::append_cookies;
use crate::params::Params;
use crate::problem::Problem;
use crate::security_headers::FormTargets;
use crate::service::provider::{Button, buttons, buttons_of};
use crate::service::sign_in;
use crate::view::{self, Chrome};
use crate::visit::{V, Visit};

/// What a sign-in is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Mfa,
    Plain,
    Reauth,
}

impl Step {
    fn of(text: &str) -> Self {
        match text {
            "mfa" => Self::Mfa,
            "reauth" => Self::Reauth,
            _ => Self::Plain,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Mfa => "mfa",
            Self::Plain => "",
            Self::Reauth => "reauth",
        }
    }
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    chrome: Chrome,
    rd: &'a str,
    step: &'a str,
    email: &'a str,
    /// Who proves again who they are; `None` for a plain sign-in.
    again_as: Option<&'a str>,
    has_password: bool,
    providers: Vec<Button>,
    has_signup: bool,
    signup_rd: String,
    setup_open: bool,
    remember: bool,
    notice: Option<&'a str>,
    error: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "step_up.html")]
struct StepUpPage {
    chrome: Chrome,
    providers: Vec<Button>,
}

pub(crate) async fn show(visit: V, params: Params) -> Result<Response, Problem> {
    if visit.auth_is_off() {
        return Ok(visit.redirect(&visit.url("/")));
    }
    if visit.ctx.store_unavailable {
        return Err(Problem::store_unavailable());
    }
    let rd = params.value("rd").unwrap_or_default();
    let step = Step::of(params.value("step").unwrap_or_default());
    if let Some(identity) = visit.browser_identity() {
        if identity.status != Status::Active || identity.must_change_password {
            return Ok(visit.redirect(&onward(
                &visit,
                identity.status,
                identity.must_change_password,
                rd,
            )));
        }
        match step {
            Step::Mfa if !identity.mfa => return step_up(&visit, identity, rd).await,
            Step::Reauth => {}
            Step::Mfa | Step::Plain => {
                return Ok(visit.redirect(&onward(&visit, identity.status, false, rd)));
            }
        }
    }
    let notice = params.has("signed_out").then_some("You are signed out.");
    let form = Form { rd, step, email: "", remember: false, notice };
    let mut response = form.show(&visit, None).await?;
    // A sign-out by way of an app or a provider ends here, with the cookie still in the browser.
    let is_dead = visit.cookie(visit.names.session).is_some()
        && visit.ctx.identity.is_none()
        && !visit.ctx.bad_credential;
    if is_dead {
        append_cookies(&mut response, &[visit.names.clear_session()]);
    }
    Ok(response)
}

/// A second factor is asked for. Where a provider of this account tells of one, a sign-in there
/// may help; else nothing here does.
async fn step_up(visit: &Visit, identity: &Identity, rd: &str) -> Result<Response, Problem> {
    let rd = visit.kept_return_to(rd);
    let providers = match identity.account {
        Some(account) => buttons_of(visit, account, &rd, Step::Mfa.as_str()).await?,
        None => Vec::new(),
    };
    let page = StepUpPage { chrome: Chrome::new(visit), providers };
    Ok(view::page(visit, StatusCode::FORBIDDEN, &page))
}

pub(crate) async fn submit(visit: V, form: FormBody) -> Result<Response, Problem> {
    if visit.auth_is_off() {
        return Ok(visit.redirect(&visit.url("/")));
    }
    let rd = form.field("rd");
    let step = Step::of(form.field("step"));
    let email = form.field("email");
    let remember = form.ticked("remember");
    let shown = Form { rd, step, email, remember, notice: None };
    let again = visit.browser_identity().filter(|_| step == Step::Reauth && email.is_empty());
    if let Some(identity) = again {
        return match sign_in::prove_again(&visit, identity, form.field("password")).await {
            Ok(started) => {
                let mut response = visit.redirect(&onward(&visit, identity.status, false, rd));
                append_cookies(&mut response, &visit.session_cookies(&started));
                Ok(response)
            }
            Err(problem) => shown.show(&visit, Some(&problem)).await,
        };
    }
    let account = match sign_in::check_password(&visit, email, form.field("password")).await {
        Ok(account) => account,
        Err(problem) => return shown.show(&visit, Some(&problem)).await,
    };
    begin(&visit, account, remember, rd).await
}

/// Begins the session and leads on to where the person wanted to go, or has to go first.
pub(super) async fn begin(
    visit: &Visit,
    account: Account,
    remember: bool,
    rd: &str,
) -> Result<Response, Problem> {
    let signed_in = sign_in::start(visit, account, remember).await?;
    let mut response = visit.redirect(&onward_of(visit, &signed_in.account, rd));
    append_cookies(&mut response, &signed_in.cookies);
    Ok(response)
}

/// Where somebody goes who just signed in.
pub(crate) fn onward_of(visit: &Visit, account: &Account, rd: &str) -> String {
    onward(visit, account.effective_status(), account.must_change_password, rd)
}

/// Where a signed-in person goes from the sign-in page.
fn onward(visit: &Visit, status: Status, must_change_password: bool, rd: &str) -> String {
    match status {
        Status::Active if must_change_password => visit.url("/settings?change=password"),
        Status::Active => match visit.return_to(rd) {
            Some(to) => visit.url_of(&to),
            None => visit.url("/"),
        },
        Status::Pending => visit.url("/pending"),
        Status::Rejected | Status::Disabled => visit.url("/rejected"),
    }
}

/// Origins that a form may lead to, for `form-action`: the app that `rd` names, also where
/// `rd` is a hand-off that waits for the sign-in.
pub(super) fn form_targets(visit: &Visit, rd: &str) -> FormTargets {
    let portal = &visit.settings.server.portal;
    let mut origins = Vec::new();
    if visit.area == crate::dispatch::Area::AppHost {
        origins.push(portal.to_string());
    }
    let to = match visit.return_to(rd) {
        Some(ReturnTo::Portal(path)) => waiting_app(visit, &path),
        to => to,
    };
    if let Some(ReturnTo::App { origin, .. }) = to
        && origin != *portal
    {
        origins.push(origin.to_string());
    }
    FormTargets(origins)
}

/// The app of `/handoff?host=…`.
fn waiting_app(visit: &Visit, path_and_query: &str) -> Option<ReturnTo> {
    let (_, query) = path_and_query.split_once("/handoff?")?;
    let host = query.split('&').find_map(|pair| pair.strip_prefix("host="))?;
    let host = crate::navigation::form_decode(host)?;
    let scheme = visit.settings.server.portal.scheme.as_str();
    visit.return_to(&format!("{scheme}://{host}/"))
}

struct Form<'a> {
    rd: &'a str,
    step: Step,
    email: &'a str,
    remember: bool,
    notice: Option<&'a str>,
}

impl Form<'_> {
    async fn show(&self, visit: &Visit, problem: Option<&Problem>) -> Result<Response, Problem> {
        let rd = Some(self.rd).filter(|rd| visit.return_to(rd).is_some()).unwrap_or_default();
        let again: Option<&Identity> = visit
            .browser_identity()
            .map(|identity| &**identity)
            .filter(|_| self.step == Step::Reauth);
        let again_as = again.map(|i| i.email.as_deref().unwrap_or(&i.username));
        let (has_password, providers) = self.ways(visit, again, rd).await?;
        let page = LoginPage {
            chrome: Chrome::new(visit),
            rd,
            step: self.step.as_str(),
            email: self.email,
            again_as,
            has_password,
            providers,
            has_signup: visit.has_signup() && again.is_none(),
            signup_rd: if rd.is_empty() {
                String::new()
            } else {
                format!("?rd={}", crate::navigation::encode(rd))
            },
            setup_open: again.is_none() && visit.authn().is_setup_open().await,
            remember: self.remember,
            notice: self.notice,
            error: problem.map(Problem::sentence),
        };
        let mut response = view::form(visit, problem, &page);
        response.extensions_mut().insert(form_targets(visit, rd));
        Ok(response)
    }

    /// Whether a password helps, and which providers do: all of them, or (to prove again who sits
    /// there) what this account signs in with.
    async fn ways(
        &self,
        visit: &Visit,
        again: Option<&Identity>,
        rd: &str,
    ) -> Result<(bool, Vec<Button>), Problem> {
        let by_password = visit.has_password_sign_in();
        match again.and_then(|identity| identity.account) {
            None => Ok((by_password, buttons(visit, rd, self.step.as_str()))),
            Some(account) => {
                let has = by_password && sign_in::has_password(visit, account).await?;
                Ok((has, buttons_of(visit, account, rd, self.step.as_str()).await?))
            }
        }
    }
}
