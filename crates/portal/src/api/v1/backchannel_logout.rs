//! `POST /backchannel-logout/{provider}` (OpenID Connect Back-Channel Logout 1.0): a provider
//! ends sessions. The signed token is the only proof; cookies and origin mean nothing here.

use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;

use vestibule_authn::Actor;
use vestibule_authn::provider::LogoutRefused;
use vestibule_core::settings::auth::Mode;

use crate::body::Unread;
use crate::problem::Problem;
use crate::visit::{V, Visit};

/// 200 where the token holds, also when it ends nothing.
pub(crate) async fn take(
    visit: V,
    Path(id): Path<String>,
    body: Unread,
) -> Result<Response, Problem> {
    if visit.mode() != Mode::Full {
        return Err(Problem::provider_not_configured());
    }
    let form = match body.form().await {
        Ok(form) => form,
        Err(problem) => return Err(counted(&visit, refused(problem.sentence()))),
    };
    let token = form.field("logout_token");
    if token.is_empty() {
        return Err(counted(&visit, refused("The form needs one `logout_token`.")));
    }
    let actor = Actor { id: String::new(), ..visit.actor() };
    match visit.authn().backchannel_logout(&id, token, &actor, visit.now).await {
        Ok(_) => Ok(Response::new(Body::empty())),
        Err(LogoutRefused::Bad(_)) => {
            Err(counted(&visit, refused("The logout token does not hold.")))
        }
        Err(LogoutRefused::NotConfigured) => {
            Err(counted(&visit, Problem::provider_not_configured()))
        }
        Err(LogoutRefused::Store(error)) => Err(error.into()),
    }
}

/// With the member `error` that OAuth clients read, besides our own.
fn refused(detail: &str) -> Problem {
    Problem::bad_request(detail).member("error", "invalid_request")
}

/// Only what is refused counts against the client: a provider may end thousands of sessions
/// within a minute, all from its one address.
fn counted(visit: &Visit, problem: Problem) -> Problem {
    match visit.authn().count_auth_request(visit.ctx.client_ip, visit.now) {
        Ok(()) => problem,
        Err(limited) => limited.into(),
    }
}
