//! One's own API keys. The text of a key stands in the answer that makes it and nowhere else.

use std::time::Duration;

use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Deserializer};

use vestibule_authn::api_key::{KeyChange, NewKey};
use vestibule_core::api_key::{RateLimit, Scopes};
use vestibule_core::id::KeyId;

use super::{id, json, no_content};
use crate::body::Unread;
use crate::guard::Need;
use crate::json::{ApiKey, Limit};
use crate::problem::Problem;
use crate::visit::V;

/// The longest life that can be asked for: 100 years.
const MAX_LIFE_SECS: u64 = 100 * 366 * 86_400;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Create {
    name: String,
    #[serde(default, alias = "expiresIn")]
    expires_in: Option<u64>,
    #[serde(default)]
    scopes: Option<Vec<String>>,
    #[serde(default, alias = "rateLimit")]
    rate_limit: Option<Limit>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    enabled: Option<bool>,
    #[serde(default, alias = "expiresIn", deserialize_with = "present")]
    expires_in: Option<Option<u64>>,
    #[serde(default)]
    scopes: Option<Vec<String>>,
    #[serde(default, alias = "rateLimit", deserialize_with = "present")]
    rate_limit: Option<Option<Limit>>,
}

/// Tells a member that is `null` from one that is absent.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

pub(crate) async fn list(visit: V) -> Result<Response, Problem> {
    let (_, account) = visit.require_account(Need::Keys)?;
    let keys = visit.authn().list_keys(Some(account)).await?;
    let list: Vec<_> = keys.into_iter().map(|key| ApiKey::new(key, None)).collect();
    Ok(json(StatusCode::OK, list))
}

pub(crate) async fn create(visit: V, body: Unread) -> Result<Response, Problem> {
    let (identity, account) = visit.require_account(Need::Keys)?;
    let create: Create = body.json().await?;
    let new = NewKey {
        name: create.name,
        expires_in: create.expires_in.map(life).transpose()?,
        scopes: create.scopes.as_deref().map(scopes).transpose()?,
        rate_limit: create.rate_limit.map(RateLimit::try_from).transpose()?,
    };
    let (record, text) =
        visit.authn().create_key(account, new, Some(identity), &visit.actor(), visit.now).await?;
    Ok(json(StatusCode::CREATED, ApiKey::new(record, Some(text))))
}

pub(crate) async fn change(
    visit: V,
    Path(text): Path<String>,
    body: Unread,
) -> Result<Response, Problem> {
    let (identity, account) = visit.require_account(Need::Keys)?;
    let change: Change = body.json().await?;
    let key: KeyId = id(&text)?;
    let limit = match change.rate_limit {
        Some(Some(limit)) => Some(Some(RateLimit::try_from(limit)?)),
        Some(None) => Some(None),
        None => None,
    };
    let life = match change.expires_in {
        Some(Some(seconds)) => Some(Some(life(seconds)?)),
        Some(None) => Some(None),
        None => None,
    };
    let change = KeyChange {
        name: change.name,
        enabled: change.enabled,
        expires_in: life,
        scopes: change.scopes.as_deref().map(scopes).transpose()?,
        rate_limit: limit,
    };
    let record = visit
        .authn()
        .change_key(key, Some(account), change, Some(identity), &visit.actor(), visit.now)
        .await?;
    Ok(json(StatusCode::OK, ApiKey::new(record, None)))
}

pub(crate) async fn revoke(visit: V, Path(text): Path<String>) -> Result<Response, Problem> {
    let (_, account) = visit.require_account(Need::Keys)?;
    let key: KeyId = id(&text)?;
    visit.authn().revoke_key(key, Some(account), &visit.actor(), visit.now).await?;
    Ok(no_content())
}

fn life(seconds: u64) -> Result<Duration, Problem> {
    if (1..=MAX_LIFE_SECS).contains(&seconds) {
        Ok(Duration::from_secs(seconds))
    } else {
        Err(Problem::bad_request("`expires_in` is a number of seconds from now, at least 1."))
    }
}

fn scopes(texts: &[String]) -> Result<Scopes, Problem> {
    Scopes::parse(texts.iter().map(String::as_str))
        .map_err(|error| Problem::bad_request(&format!("{error}.")))
}
