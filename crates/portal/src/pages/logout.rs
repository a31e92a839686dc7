//! `/logout`: ends the session at once, unless another site asks for it; then it asks first. A
//! session that began at a provider is signed out there too, where it has a place for that.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use vestibule_core::facts::FetchSite;
use vestibule_core::id::SessionId;
use vestibule_core::return_to::ReturnTo;

use crate::body::FormBody;
use crate::dispatch::append_cookies;
use crate::params::Params;
use crate::problem::Problem;
use crate::view::{self, Chrome};
use crate::visit::{V, Visit};

#[derive(Template)]
#[template(path = "logout.html")]
struct LogoutPage<'a> {
    chrome: Chrome,
    action: String,
    rd: &'a str,
}

pub(crate) async fn show(visit: V, params: Params) -> Result<Response, Problem> {
    let rd = params.value("rd").unwrap_or_default();
    if visit.browser_identity().is_some() && visit.fetch_site == FetchSite::CrossSite {
        let action = format!("{}/logout", visit.base());
        return Ok(ask(&visit, action, rd));
    }
    end(&visit, rd).await
}

pub(crate) async fn submit(visit: V, form: FormBody) -> Result<Response, Problem> {
    end(&visit, form.field("rd")).await
}

/// The page that asks before it signs out.
pub(crate) fn ask(visit: &Visit, action: String, rd: &str) -> Response {
    let rd = Some(rd).filter(|rd| visit.return_to(rd).is_some()).unwrap_or_default();
    let page = LogoutPage { chrome: Chrome::new(visit), action, rd };
    let mut response = view::page(visit, StatusCode::OK, &page);
    response.extensions_mut().insert(super::login::form_targets(visit, rd));
    response
}

async fn end(visit: &Visit, rd: &str) -> Result<Response, Problem> {
    if visit.ctx.store_unavailable {
        return Err(Problem::store_unavailable());
    }
    let provider = match visit.ctx.cookie_session {
        Some(session) => end_session(visit, session).await?,
        None => None,
    };
    // Straight to the app, not through a hand-off: nobody is signed in any more.
    let to = match (provider, visit.return_to(rd)) {
        (Some(provider), _) => provider,
        (None, Some(ReturnTo::App { origin, path_and_query })) => {
            format!("{origin}{path_and_query}")
        }
        (None, Some(to @ ReturnTo::Portal(_))) => visit.url_of(&to),
        (None, None) => visit.url("/login?signed_out"),
    };
    let mut response = visit.redirect(&to);
    let names = &visit.names;
    append_cookies(&mut response, &[names.clear_session(), names.clear(names.csrf)]);
    Ok(response)
}

/// Ends a session of whoever asks; where to go to end the one at its provider too.
pub(crate) async fn end_session(
    visit: &Visit,
    session: SessionId,
) -> Result<Option<String>, Problem> {
    let owner = visit.browser_identity().and_then(|identity| identity.account);
    let provider = visit.authn().provider_logout_url(session).await;
    visit.authn().end_session(session, owner, true, &visit.actor(), visit.now).await?;
    Ok(provider)
}
