//! `POST /login` and `POST /refresh`: tokens for programs, or the portal's cookie for scripts
//! of its own pages.

use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use vestibule_authn::token::Tokens;
use vestibule_core::settings::auth::Mode;

use super::json;
use crate::body::Unread;
use crate::dispatch::append_cookies;
use crate::json::User;
use crate::problem::Problem;
use crate::service::sign_in;
use crate::visit::V;

#[derive(Deserialize)]
pub(crate) struct Login {
    email: String,
    password: String,
    #[serde(default)]
    remember: bool,
    #[serde(default)]
    cookie: bool,
}

#[derive(Deserialize)]
pub(crate) struct Refresh {
    refresh_token: String,
}

#[derive(Serialize)]
struct Issued {
    access_token: String,
    refresh_token: String,
    token_type: &'static str,
    expires_in: u64,
}

impl From<Tokens> for Issued {
    fn from(tokens: Tokens) -> Self {
        Self {
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token,
            token_type: "Bearer",
            expires_in: tokens.expires_in.as_secs(),
        }
    }
}

pub(crate) async fn login(visit: V, body: Unread) -> Result<Response, Problem> {
    if visit.mode() == Mode::None {
        return Err(Problem::not_available());
    }
    let login: Login = body.json().await?;
    let account = sign_in::check_password(&visit, &login.email, &login.password).await?;
    if login.cookie {
        let signed_in = sign_in::start(&visit, account, login.remember).await?;
        let user = User::from(&signed_in.account);
        let mut response = json(StatusCode::OK, serde_json::json!({ "user": user }));
        append_cookies(&mut response, &signed_in.cookies);
        return Ok(response);
    }
    if account.must_change_password {
        return Err(Problem::password_change_required());
    }
    let actor = sign_in::actor_of(&visit, &account);
    let wish = sign_in::by_password(&visit, account, login.remember);
    let tokens = visit.authn().issue_tokens(wish, &actor, visit.now).await?;
    Ok(json(StatusCode::OK, Issued::from(tokens)))
}

pub(crate) async fn refresh(visit: V, body: Unread) -> Result<Response, Problem> {
    if visit.mode() == Mode::None {
        return Err(Problem::not_available());
    }
    let refresh: Refresh = body.json().await?;
    let tokens = visit
        .authn()
        .refresh(&refresh.refresh_token, &visit.actor(), visit.now)
        .await?
        .ok_or_else(Problem::invalid_credential)?;
    Ok(json(StatusCode::OK, Issued::from(tokens)))
}
