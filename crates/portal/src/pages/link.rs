//! `/settings/link?token=…`: the owner of an account joins an identity that waits for them,
//! after a full sign-in.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use vestibule_authn::provider::PendingLink;
use vestibule_core::id::AccountId;

use super::error;
use crate::body::FormBody;
use crate::guard::Need;
use crate::navigation::encode;
use crate::params::Params;
use crate::problem::Problem;
use crate::view::{self, Chrome};
use crate::visit::{V, Visit};

#[derive(Template)]
#[template(path = "link.html")]
struct LinkPage<'a> {
    chrome: Chrome,
    token: &'a str,
    label: &'a str,
    display: &'a str,
    account: &'a str,
}

/// Where somebody stands on the way to joining.
enum Standing<'a> {
    /// Something else comes first.
    Away(Response),
    Ready {
        account: AccountId,
        name: &'a str,
        link: PendingLink,
    },
}

pub(crate) async fn show(visit: V, params: Params) -> Result<Response, Problem> {
    let token = params.value("token").unwrap_or_default();
    match standing(&visit, token).await? {
        Standing::Away(response) => Ok(response),
        Standing::Ready { name, link, .. } => {
            let page = LinkPage {
                chrome: Chrome::new(&visit),
                token,
                label: &link.label,
                display: &link.display,
                account: name,
            };
            Ok(view::page(&visit, StatusCode::OK, &page))
        }
    }
}

pub(crate) async fn submit(visit: V, form: FormBody) -> Result<Response, Problem> {
    let token = form.field("token");
    let account = match standing(&visit, token).await? {
        Standing::Away(response) => return Ok(response),
        Standing::Ready { account, .. } => account,
    };
    let browser = visit.cookie(visit.names.provider_flow);
    let (actor, now) = (visit.actor(), visit.now);
    if visit.authn().join_pending_link(token, browser, account, &actor, now).await? {
        Ok(visit.redirect(&visit.url("/settings?saved=linked")))
    } else {
        Ok(expired(&visit))
    }
}

/// The right person, who proved within the last minutes who they are, with a link that waits.
async fn standing<'a>(visit: &'a Visit, token: &str) -> Result<Standing<'a>, Problem> {
    let here = visit.url(&format!("/settings/link?token={}", encode(token)));
    if visit.ctx.cookie_session.is_none() {
        let login = visit.url(&format!("/login?rd={}", encode(&here)));
        return Ok(Standing::Away(visit.redirect(&login)));
    }
    let (identity, account) = visit.require_account(Need::Own)?;
    let browser = visit.cookie(visit.names.provider_flow);
    let name = identity.email.as_deref().unwrap_or(&identity.username);
    let Some(link) = visit.authn().pending_link(token, browser, visit.now).await? else {
        return Ok(Standing::Away(expired(visit)));
    };
    if link.account != account {
        return Ok(Standing::Away(wrong_account(visit, &link, name, &here)));
    }
    if !visit.is_fresh(identity) {
        let login = visit.url(&format!("/login?rd={}&step=reauth", encode(&here)));
        return Ok(Standing::Away(visit.redirect(&login)));
    }
    Ok(Standing::Ready { account, name, link })
}

fn expired(visit: &Visit) -> Response {
    let problem =
        Problem::new(StatusCode::NOT_FOUND, "LINK_EXPIRED", "This link does not hold any more")
            .detail(
                "It was used, is too old, or began in another browser. Sign in at the provider \
                 once more, or link it in your settings.",
            );
    error::render_with_way_out(visit, &problem, "Settings", &visit.url("/settings"))
}

fn wrong_account(visit: &Visit, link: &PendingLink, name: &str, here: &str) -> Response {
    let label = &link.label;
    let problem = Problem::link_refused(
        "This is for another account",
        format!(
            "You are signed in as {name}, and {label} waits to be linked to an account with \
             another email address. Sign out, and in again to that one."
        ),
        "other_account",
    );
    let href = visit.url(&format!("/logout?rd={}", encode(here)));
    error::render_with_way_out(visit, &problem, "Sign out", &href)
}
