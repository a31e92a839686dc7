//! `GET /login/{provider}` and the callbacks: links that people follow to a provider and back.
//!
//! They keep to the order of the flow and know nothing of its protocol; that is asked of
//! [`vestibule_authn::provider`]. What is refused is a page for people, and never a session.

use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;

use vestibule_authn::provider::{ProviderCallback, ProviderFinished, ProviderPurpose};
use vestibule_core::settings::auth::Mode;

use crate::dispatch::append_cookies;
use crate::pages;
use crate::params::Params;
use crate::problem::Problem;
use crate::service::provider::depart;
use crate::service::sign_in;
use crate::visit::{V, Visit};

/// Sends the browser to the provider. `step` (`reauth`, `mfa`) proves anew who sits in a session
/// that runs; without one it is a plain sign-in.
pub(crate) async fn start(
    visit: V,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response, Problem> {
    require_full(&visit)?;
    // No session comes about where nobody sees it (ASVS 7.6.2).
    if !visit.is_top_level {
        let title = "A sign-in needs a page of its own";
        return Err(Problem::new(StatusCode::FORBIDDEN, "NAVIGATION_REQUIRED", title)
            .detail("Open the sign-in page in a tab of its own."));
    }
    let rd = params.value("rd").unwrap_or_default();
    let purpose = purpose(&visit, params.value("step").unwrap_or_default());
    match depart(&visit, &id, purpose, rd).await {
        Ok(departure) => {
            let mut response = visit.redirect(&departure.location);
            append_cookies(&mut response, &[departure.cookie]);
            Ok(response)
        }
        Err(refused) => Ok(pages::provider::refused(&visit, &id, refused, rd)),
    }
}

fn purpose(visit: &Visit, step: &str) -> ProviderPurpose {
    let account = visit.browser_identity().and_then(|identity| identity.account);
    match (step, account, visit.ctx.cookie_session) {
        ("reauth" | "mfa", Some(account), Some(session)) => {
            ProviderPurpose::Reauth { account, session, mfa: step == "mfa" }
        }
        _ => ProviderPurpose::SignIn,
    }
}

/// Takes the provider's answer. Parameters of it that mean nothing to us are passed over.
pub(crate) async fn callback(
    visit: V,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response, Problem> {
    require_full(&visit)?;
    let text = |name: &str| params.value(name).map(str::to_owned);
    let callback = ProviderCallback {
        provider: id.clone(),
        redirect_uri: format!("{}{}", visit.settings.server.portal, visit.outside),
        code: text("code"),
        state: text("state"),
        iss: text("iss"),
        error: text("error"),
        error_description: text("error_description"),
        browser: visit.cookie(visit.names.provider_flow).map(str::to_owned),
        session: visit.ctx.cookie_session,
        account: visit.browser_identity().and_then(|identity| identity.account),
        client_ip: Some(visit.ctx.client_ip),
        user_agent: visit.user_agent.clone(),
    };
    let finished = visit.authn().finish_provider_sign_in(callback, &visit.actor(), visit.now).await;
    match finished {
        Ok(finished) => Ok(arrive(&visit, finished).await),
        Err(stopped) => Ok(pages::provider::refused(&visit, &id, stopped.why, &stopped.rd)),
    }
}

/// A provider's answer comes in the query of a GET and in no other way.
pub(crate) async fn callback_by_form() -> Problem {
    Problem::bad_request("The answer of a provider is taken from the address, not from a form.")
}

async fn arrive(visit: &Visit, finished: ProviderFinished) -> Response {
    let (to, cookies) = match finished {
        ProviderFinished::Linked { rd } => {
            let to = visit.return_to(&rd).map(|to| visit.url_of(&to));
            (to.unwrap_or_else(|| visit.url("/settings?saved=linked")), Vec::new())
        }
        ProviderFinished::Reauthenticated { account, session, rd } => {
            (pages::login::onward_of(visit, &account, &rd), visit.session_cookies(&session))
        }
        ProviderFinished::SignedIn { account, session, rd } => {
            let cookies = sign_in::cookies(visit, account.id, &session).await;
            (pages::login::onward_of(visit, &account, &rd), cookies)
        }
    };
    let mut response = visit.redirect(&to);
    append_cookies(&mut response, &cookies);
    response
}

/// Providers are for mode full.
fn require_full(visit: &Visit) -> Result<(), Problem> {
    if visit.mode() == Mode::Full { Ok(()) } else { Err(Problem::provider_not_configured()) }
}
