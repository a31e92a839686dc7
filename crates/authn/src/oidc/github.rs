//! GitHub: OAuth 2 without OpenID Connect. Who it is says the REST API: the account, its
//! primary verified address, its organisations and teams.

use serde_json::Value;

use vestibule_core::account::canonical_email;
use vestibule_core::secret::Secret;
use vestibule_core::settings::provider::Provider;

use super::metadata::origin;
use super::person::{self, Person};
use super::{Fault, PROVIDER_DOWN, TELL_ADMIN};
use crate::fetch::{Fetch, is_json};

/// Pages of a list that are read.
const MOST_PAGES: usize = 20;
const NOT_FOUND: &str = "userinfo_not_found";

/// The REST API of github.com has a host of its own, that of a server of one's own a path.
fn api(base: &str) -> String {
    match base {
        "https://github.com" => "https://api.github.com".to_owned(),
        _ => format!("{base}/api/v3"),
    }
}

/// Asks who the access token is for.
pub(crate) async fn person(
    fetch: &Fetch,
    provider: &Provider,
    base: &str,
    access_token: &Secret,
) -> Result<Person, Fault> {
    let (api, user) = user(fetch, base, access_token).await?;
    let user = user.first().and_then(Value::as_object).ok_or_else(|| malformed("/user"))?;
    let id = user.get("id").and_then(Value::as_u64).ok_or_else(|| malformed("/user"))?;
    let text = |name: &str| user.get(name).and_then(Value::as_str).unwrap_or_default();
    let emails = list(fetch, &format!("{api}/user/emails"), access_token).await?;
    let email = primary_verified(&emails).ok_or_else(|| {
        Fault::new("claim_missing_email", "claim_missing email (primary and verified)", TELL_ADMIN)
    })?;
    let told = memberships(fetch, &api, provider, access_token).await?;
    let told: Option<Vec<&str>> =
        told.as_ref().map(|told| told.iter().map(String::as_str).collect());
    Ok(Person {
        issuer: base.to_owned(),
        sub: id.to_string(),
        subject: id.to_string(),
        username: Some(text("login").to_owned()).filter(|login| !login.is_empty()),
        email,
        email_verified: provider.trust_email,
        name: text("name").to_owned(),
        role: person::role(provider, told.as_deref().unwrap_or_default()),
        groups: told.map(|told| person::groups(provider, &told)),
        mfa: false,
        amr: Vec::new(),
        auth_time: None,
        sid: None,
        hosted_domain: None,
    })
}

/// The account, and where the API is: servers that imitate GitHub may have it at their root.
async fn user(
    fetch: &Fetch,
    base: &str,
    access_token: &Secret,
) -> Result<(String, Vec<Value>), Fault> {
    let api = api(base);
    match one(fetch, &format!("{api}/user"), access_token).await {
        Err(fault) if fault.reason == NOT_FOUND => {
            let user = one(fetch, &format!("{base}/user"), access_token).await?;
            Ok((base.to_owned(), user.entries))
        }
        user => Ok((api, user?.entries)),
    }
}

fn primary_verified(emails: &[Value]) -> Option<String> {
    let says = |entry: &Value, name: &str| entry.get(name) == Some(&Value::Bool(true));
    let entry = emails.iter().find(|e| says(e, "primary") && says(e, "verified"))?;
    canonical_email(entry.get("email")?.as_str()?)
}

/// Organisations as `org`, teams as `org/team`; `None` where the scopes do not let us ask.
async fn memberships(
    fetch: &Fetch,
    api: &str,
    provider: &Provider,
    access_token: &Secret,
) -> Result<Option<Vec<String>>, Fault> {
    let may_ask =
        |scope: &String| matches!(scope.as_str(), "read:org" | "admin:org" | "write:org" | "user");
    if !provider.scopes.iter().any(may_ask) {
        return Ok(None);
    }
    let text =
        |entry: &Value, name: &str| entry.get(name).and_then(Value::as_str).map(str::to_owned);
    let orgs = list(fetch, &format!("{api}/user/orgs"), access_token).await?;
    let teams = list(fetch, &format!("{api}/user/teams"), access_token).await?;
    let mut told: Vec<String> = orgs.iter().filter_map(|org| text(org, "login")).collect();
    told.extend(teams.iter().filter_map(|team| {
        let org = text(team.get("organization")?, "login")?;
        Some(format!("{org}/{}", text(team, "slug")?))
    }));
    Ok(Some(told))
}

/// All pages of a list, by the links that lead from one to the next (RFC 8288).
async fn list(fetch: &Fetch, url: &str, access_token: &Secret) -> Result<Vec<Value>, Fault> {
    let mut all = Vec::new();
    let mut url = format!("{url}?per_page=100");
    for _ in 0..MOST_PAGES {
        let page = one(fetch, &url, access_token).await?;
        all.extend(page.entries);
        match page.next.filter(|next| origin(next).is_some() && origin(next) == origin(&url)) {
            Some(next) => url = next,
            None => break,
        }
    }
    Ok(all)
}

/// One answer: its list, or its object as a list of one.
struct Page {
    entries: Vec<Value>,
    next: Option<String>,
}

async fn one(fetch: &Fetch, url: &str, access_token: &Secret) -> Result<Page, Fault> {
    let answer = fetch
        .get(url, "application/vnd.github+json", Some(access_token))
        .await
        .map_err(|error| Fault::new("userinfo_unreachable", error.to_string(), PROVIDER_DOWN))?;
    let path = url.split('?').next().unwrap_or_default();
    if answer.status() == http::StatusCode::NOT_FOUND {
        return Err(Fault::new(NOT_FOUND, format!("{path} answers 404"), TELL_ADMIN));
    }
    if !answer.status().is_success() {
        let detail = format!("{path} answers {}", answer.status().as_u16());
        return Err(Fault::new("userinfo_status", detail, PROVIDER_DOWN));
    }
    if !is_json(answer.headers()) {
        return Err(malformed(path));
    }
    let next = next_page(answer.headers());
    match serde_json::from_slice(answer.body()) {
        Ok(Value::Array(entries)) => Ok(Page { entries, next }),
        Ok(object @ Value::Object(_)) => Ok(Page { entries: vec![object], next: None }),
        _ => Err(malformed(path)),
    }
}

/// `Link: <https://…?page=2>; rel="next", …`
fn next_page(headers: &http::HeaderMap) -> Option<String> {
    let links = headers.get(http::header::LINK)?.to_str().ok()?;
    links.split(',').find_map(|link| {
        let (url, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
        rest.contains("rel=\"next\"").then(|| url.to_owned())
    })
}

fn malformed(path: &str) -> Fault {
    Fault::new("userinfo_malformed", format!("{path} does not answer as GitHub does"), TELL_ADMIN)
}
