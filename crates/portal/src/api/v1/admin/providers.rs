//! Providers: list, make, look at, change, delete, test. Those of file and environment are
//! read-only; a secret goes in and never comes out.

use std::collections::BTreeMap;

use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};

use vestibule_authn::provider::{
    ProviderChangeError, ProviderReport, ProviderShown, ProviderStatus,
};
use vestibule_core::settings::provider::spec::ProviderSpec;
use vestibule_core::settings::provider::{MfaFrom, ProviderOrigin};

use crate::api::v1::{json, no_content};
use crate::body::{Unread, from_value};
use crate::guard::Need;
use crate::json::time;
use crate::problem::Problem;
use crate::visit::{V, Visit};

#[derive(Serialize)]
struct ProviderJson {
    id: String,
    kind: &'static str,
    label: String,
    enabled: bool,
    origin: &'static str,
    read_only: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    discovery_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slug: Option<String>,
    client_id: String,
    has_secret: bool,
    scopes: Vec<String>,
    pkce: bool,
    allowed_domains: Vec<String>,
    auto_approve: bool,
    trust_email: bool,
    mfa_from: String,
    redirect_uri: String,
    backchannel_logout_uri: String,
    claims: BTreeMap<&'static str, String>,
    groups: BTreeMap<String, String>,
    roles: BTreeMap<String, &'static str>,
    status: StatusJson,
}

#[derive(Serialize)]
struct StatusJson {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
}

impl From<ProviderStatus> for StatusJson {
    fn from(status: ProviderStatus) -> Self {
        match status {
            ProviderStatus::Down { reason, at } => {
                Self { state: "down", reason: Some(reason), at: Some(time(at)) }
            }
            ProviderStatus::Unknown => Self { state: "unknown", reason: None, at: None },
            ProviderStatus::Up { at } => Self { state: "up", reason: None, at: Some(time(at)) },
        }
    }
}

impl ProviderJson {
    fn new(visit: &Visit, shown: ProviderShown) -> Self {
        let ProviderShown { provider, spec, status } = shown;
        let claims = &provider.claims;
        let claims = BTreeMap::from([
            ("subject", claims.subject.clone()),
            ("username", claims.username.clone()),
            ("email", claims.email.clone()),
            ("email_verified", claims.email_verified.clone()),
            ("groups", claims.groups.clone()),
        ]);
        let groups = provider.groups.iter();
        let roles = provider.roles.iter();
        Self {
            kind: provider.kind.as_str(),
            label: provider.label,
            enabled: provider.enabled,
            origin: provider.origin.as_str(),
            read_only: provider.origin != ProviderOrigin::Stored,
            issuer: spec.issuer,
            discovery_url: spec.discovery_url,
            base_url: spec.base_url,
            slug: spec.slug,
            client_id: provider.client_id,
            has_secret: provider.client_secret.is_some(),
            scopes: provider.scopes,
            pkce: provider.pkce,
            allowed_domains: provider.allowed_domains.iter().map(ToString::to_string).collect(),
            auto_approve: provider.auto_approve,
            trust_email: provider.trust_email,
            mfa_from: mfa_from(&provider.mfa_from),
            redirect_uri: provider.redirect_uri,
            backchannel_logout_uri: backchannel_logout_uri(visit, &provider.id),
            claims,
            groups: groups.map(|(value, group)| (value.to_string(), group.to_string())).collect(),
            roles: roles.map(|(value, role)| (value.to_string(), role.as_str())).collect(),
            status: status.into(),
            id: provider.id.to_string(),
        }
    }
}

/// `mfa_from` as it is written.
pub(crate) fn mfa_from(from: &MfaFrom) -> String {
    match from {
        MfaFrom::Acr(value) => format!("acr:{value}"),
        MfaFrom::Amr => "amr".to_owned(),
        MfaFrom::None => "none".to_owned(),
    }
}

/// Where a provider's logout tokens go.
pub(crate) fn backchannel_logout_uri(visit: &Visit, id: &str) -> String {
    format!("{}/api/v1/auth/backchannel-logout/{id}", visit.settings.server.portal)
}

#[derive(Serialize)]
struct ReportJson {
    ok: bool,
    redirect_uri: String,
    backchannel_logout_uri: String,
    checks: Vec<CheckJson>,
}

#[derive(Serialize)]
struct CheckJson {
    name: &'static str,
    ok: bool,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

impl From<ProviderReport> for ReportJson {
    fn from(report: ProviderReport) -> Self {
        let checks = |report: ProviderReport| {
            let checks = report.checks.into_iter().map(|check| CheckJson {
                name: check.name,
                ok: check.is_good,
                found: check.found,
                help: check.help,
            });
            checks.collect()
        };
        Self {
            ok: report.is_good(),
            redirect_uri: report.redirect_uri.clone(),
            backchannel_logout_uri: report.backchannel_logout_uri.clone(),
            checks: checks(report),
        }
    }
}

pub(crate) async fn list(visit: V) -> Result<Response, Problem> {
    visit.require(Need::Admin)?;
    let shown = visit.authn().providers().into_iter();
    let list: Vec<_> = shown.map(|shown| ProviderJson::new(&visit, shown)).collect();
    Ok(json(StatusCode::OK, list))
}

pub(crate) async fn create(visit: V, body: Unread) -> Result<Response, Problem> {
    visit.require(Need::Admin)?;
    let spec: ProviderSpec = body.json().await?;
    let made = visit.authn().create_provider(spec, &visit.actor(), visit.now).await?;
    let shown = ProviderJson::new(&visit, find(&visit, &made.id)?);
    Ok(json(StatusCode::CREATED, shown))
}

pub(crate) async fn get(visit: V, Path(id): Path<String>) -> Result<Response, Problem> {
    visit.require(Need::Admin)?;
    Ok(json(StatusCode::OK, ProviderJson::new(&visit, find(&visit, &id)?)))
}

/// Puts the keys that are given over those that stand; `null` takes one out, but for the
/// secret, which stays.
pub(crate) async fn change(
    visit: V,
    Path(id): Path<String>,
    body: Unread,
) -> Result<Response, Problem> {
    visit.require(Need::Admin)?;
    let wish: Map<String, Value> = body.json().await?;
    let shown = find(&visit, &id)?;
    if shown.provider.origin != ProviderOrigin::Stored {
        return Err(ProviderChangeError::ReadOnly.into());
    }
    let spec = merged(&shown.spec, wish)?;
    visit.authn().change_provider(spec, &visit.actor(), visit.now).await?;
    Ok(json(StatusCode::OK, ProviderJson::new(&visit, find(&visit, &id)?)))
}

fn merged(spec: &ProviderSpec, wish: Map<String, Value>) -> Result<ProviderSpec, Problem> {
    if wish.get("id").is_some_and(|id| id.as_str() != Some(&spec.id)) {
        return Err(Problem::bad_request("The `id` of a provider cannot be changed."));
    }
    let mut keys = match serde_json::to_value(spec) {
        Ok(Value::Object(keys)) => keys,
        _ => return Err(Problem::internal()),
    };
    for (key, value) in wish {
        // An unknown key stays in, so that it is refused below.
        if value.is_null() && is_known(&key) {
            keys.remove(&key);
        } else {
            keys.insert(key, value);
        }
    }
    from_value(Value::Object(keys))
}

fn is_known(key: &str) -> bool {
    let alone = Value::Object(Map::from_iter([(key.to_owned(), Value::Null)]));
    let read = serde_json::from_value::<ProviderSpec>(alone);
    read.map_or_else(|error| !error.to_string().starts_with("unknown field"), |_| true)
}

pub(crate) async fn delete(visit: V, Path(id): Path<String>) -> Result<Response, Problem> {
    visit.require(Need::Admin)?;
    visit.authn().delete_provider(&id, &visit.actor(), visit.now).await?;
    Ok(no_content())
}

pub(crate) async fn test(visit: V, Path(id): Path<String>) -> Result<Response, Problem> {
    visit.require(Need::Admin)?;
    let report =
        visit.authn().test_provider(&id, visit.now).await.ok_or_else(Problem::not_found)?;
    Ok(json(StatusCode::OK, ReportJson::from(report)))
}

/// `POST /providers/test`: tries keys that are not saved. Stands on the path of an id, because
/// `test` may be one too.
pub(crate) async fn test_unsaved(
    visit: V,
    Path(id): Path<String>,
    body: Unread,
) -> Result<Response, Problem> {
    visit.require(Need::Admin)?;
    if id != "test" {
        return Err(Problem::not_found());
    }
    let spec: ProviderSpec = body.json().await?;
    let report = visit.authn().test_provider_spec(&spec, visit.now).await?;
    Ok(json(StatusCode::OK, ReportJson::from(report)))
}

fn find(visit: &Visit, id: &str) -> Result<ProviderShown, Problem> {
    let mut known = visit.authn().providers().into_iter();
    known.find(|shown| &*shown.provider.id == id).ok_or_else(Problem::not_found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> ProviderSpec {
        ProviderSpec {
            id: "idp".to_owned(),
            issuer: Some("https://id.example.com".to_owned()),
            client_id: "old".to_owned(),
            client_secret: Some(vestibule_core::secret::Secret::new("hidden")),
            label: Some("IdP".to_owned()),
            ..ProviderSpec::default()
        }
    }

    fn wish(text: &str) -> Map<String, Value> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn seed_004_61_a_change_lays_the_given_keys_over_the_old_ones() {
        let merged =
            merged(&spec(), wish(r#"{"client_id":"new","label":null,"scopes":["openid"]}"#));
        let merged = merged.unwrap();
        assert_eq!((merged.client_id.as_str(), &merged.label), ("new", &None));
        assert_eq!(merged.issuer.as_deref(), Some("https://id.example.com"));
        assert_eq!(merged.scopes, Some(vec!["openid".to_owned()]));
        assert_eq!(merged.client_secret, None, "not sent: the old one stays");
    }

    #[test]
    fn a_secret_that_is_null_or_absent_stays_and_a_new_one_is_taken() {
        for (text, secret) in [
            (r#"{"client_secret":null}"#, None),
            (
                r#"{"client_secret":"fresh","claims":null}"#,
                Some(vestibule_core::secret::Secret::new("fresh")),
            ),
        ] {
            assert_eq!(merged(&spec(), wish(text)).unwrap().client_secret, secret, "{text}");
        }
    }

    #[test]
    fn j2_unknown_keys_and_another_id_are_refused() {
        for text in [r#"{"role":"admin"}"#, r#"{"nonsense":null}"#, r#"{"id":"other"}"#] {
            assert!(merged(&spec(), wish(text)).is_err(), "{text}");
        }
        assert!(merged(&spec(), wish(r#"{"id":"idp"}"#)).is_ok());
    }
}
