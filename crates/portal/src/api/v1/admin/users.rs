//! Accounts: list, make, look at, change, delete, sign out.

use axum::extract::Path;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;

use vestibule_authn::account::{AccountError, AddAccount};
use vestibule_core::account::{Account, Role, Status};
use vestibule_core::group::Group;
use vestibule_core::id::AccountId;
use vestibule_core::secret::Secret;

use crate::api::v1::me::display_name;
use crate::api::v1::{id, json, no_content};
use crate::body::Unread;
use crate::guard::Need;
use crate::json::User;
use crate::params::Params;
use crate::problem::Problem;
use crate::visit::V;

/// How many accounts one answer lists unless asked for fewer.
const PAGE: u32 = 200;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Create {
    email: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    password: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    groups: Option<Vec<String>>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    username: Option<String>,
}

/// Lists in order of creation; where there are more, `Link: …; rel="next"` leads on.
pub(crate) async fn list(visit: V, params: Params) -> Result<Response, Problem> {
    visit.require(Need::Admin)?;
    let after = params.value("after").map(cursor).transpose()?;
    let limit = match params.value("limit") {
        None => PAGE,
        Some(text) => text
            .parse()
            .ok()
            .filter(|n| (1..=PAGE).contains(n))
            .ok_or_else(|| Problem::bad_request("`limit` is a number from 1 to 200."))?,
    };
    let accounts = visit.authn().store().accounts(after, limit).await?;
    let more = u32::try_from(accounts.len()).is_ok_and(|n| n == limit);
    let last = accounts.last().map(|account| account.id).filter(|_| more);
    let list: Vec<_> = accounts.iter().map(User::from).collect();
    let mut response = json(StatusCode::OK, list);
    if let Some(last) = last {
        let link = format!("</api/v1/admin/users?after={last}&limit={limit}>; rel=\"next\"");
        if let Ok(link) = HeaderValue::from_str(&link) {
            response.headers_mut().insert(header::LINK, link);
        }
    }
    Ok(response)
}

fn cursor(text: &str) -> Result<AccountId, Problem> {
    text.parse().map_err(|_| Problem::bad_request("`after` is the id of an account."))
}

pub(crate) async fn create(visit: V, body: Unread) -> Result<Response, Problem> {
    visit.require(Need::Admin)?;
    let create: Create = body.json().await?;
    let add = AddAccount {
        name: display_name(&create.name)?,
        email: create.email,
        username: create.username,
        role: create.role.as_deref().map(role).transpose()?.unwrap_or(Role::User),
        status: create.status.as_deref().map(status).transpose()?.unwrap_or(Status::Active),
        groups: groups(&create.groups)?,
        password: create.password.map(Secret::new),
    };
    let account = visit.authn().add_account(add, &visit.actor(), visit.now).await?;
    Ok(json(StatusCode::CREATED, User::from(&account)))
}

pub(crate) async fn get(visit: V, Path(text): Path<String>) -> Result<Response, Problem> {
    visit.require(Need::Admin)?;
    Ok(json(StatusCode::OK, User::from(&find(&visit, &text).await?)))
}

/// Everything that can be refused is looked at before the first change is made.
pub(crate) async fn change(
    visit: V,
    Path(text): Path<String>,
    body: Unread,
) -> Result<Response, Problem> {
    visit.require(Need::Admin)?;
    let change: Change = body.json().await?;
    let mut account = find(&visit, &text).await?;
    let role = change.role.as_deref().map(role).transpose()?;
    let status = change.status.as_deref().map(status).transpose()?;
    let groups = change.groups.as_deref().map(groups).transpose()?;
    let name = change.name.as_deref().map(display_name).transpose()?;
    if role.unwrap_or(account.role) == Role::Admin && status.is_some_and(|s| s != Status::Active) {
        return Err(AccountError::AdminAlwaysActive.into());
    }
    let (authn, actor, now) = (visit.authn(), visit.actor(), visit.now);
    let id = account.id;
    if name.is_some() || change.username.is_some() {
        account = authn.set_names(id, name, change.username, &actor, now).await?;
    }
    if let Some(role) = role.filter(|role| *role != account.role) {
        account = authn.set_role(id, role, &actor, now).await?;
    }
    if let Some(status) = status {
        account = authn.set_status(id, status, &actor, now).await?;
    }
    if let Some(groups) = groups {
        account = authn.set_groups(id, groups, &actor, now).await?;
    }
    Ok(json(StatusCode::OK, User::from(&account)))
}

pub(crate) async fn delete(visit: V, Path(text): Path<String>) -> Result<Response, Problem> {
    visit.require(Need::Admin)?;
    visit.authn().delete_account(id(&text)?, &visit.actor(), visit.now).await?;
    Ok(no_content())
}

pub(crate) async fn sign_out(visit: V, Path(text): Path<String>) -> Result<Response, Problem> {
    visit.require(Need::Admin)?;
    let account = find(&visit, &text).await?;
    visit.authn().end_sessions_of(account.id, None, &visit.actor(), visit.now).await?;
    Ok(no_content())
}

async fn find(visit: &V, text: &str) -> Result<Account, Problem> {
    visit.authn().store().account(id(text)?).await?.ok_or_else(Problem::not_found)
}

fn role(text: &str) -> Result<Role, Problem> {
    text.parse().map_err(|error| Problem::bad_request(&format!("`role`: {error}.")))
}

fn status(text: &str) -> Result<Status, Problem> {
    text.parse().map_err(|error| Problem::bad_request(&format!("`status`: {error}.")))
}

fn groups(texts: &[String]) -> Result<Vec<Group>, Problem> {
    texts
        .iter()
        .map(|text| Group::new(text).map_err(|e| Problem::bad_request(&format!("{e}."))))
        .collect()
}
