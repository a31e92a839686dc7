//! `/api-keys`: make, rename, disable, revoke one's own keys. A new key is shown once, on the
//! answer to the form that made it.

use std::time::Duration;

use askama::Template;
use axum::response::Response;

use vestibule_authn::api_key::{KeyChange, NewKey};
use vestibule_authn::ports::ApiKeyRecord;
use vestibule_core::api_key::Scopes;
use vestibule_core::id::KeyId;
use vestibule_core::time::UnixMillis;

use crate::body::FormBody;
use crate::guard::Need;
use crate::json::time_for_people;
use crate::params::Params;
use crate::problem::Problem;
use crate::view::{self, Chrome};
use crate::visit::{V, Visit};

struct KeyRow {
    id: String,
    name: String,
    start: String,
    state: &'static str,
    is_enabled: bool,
    is_over: bool,
    scopes: String,
    created: String,
    expires: Option<String>,
    last_used: Option<String>,
}

impl KeyRow {
    fn new(record: ApiKeyRecord, now: UnixMillis) -> Self {
        let is_over = record.expires_at.is_some_and(|end| end <= now);
        let state = match (is_over, record.enabled) {
            (true, _) => "Expired",
            (false, true) => "Active",
            (false, false) => "Disabled",
        };
        Self {
            id: record.id.to_string(),
            name: record.name,
            start: record.start,
            state,
            is_enabled: record.enabled,
            is_over,
            scopes: record.scopes.to_texts().join(", "),
            created: time_for_people(record.created_at),
            expires: record.expires_at.map(time_for_people),
            last_used: record.last_used_at.map(time_for_people),
        }
    }
}

#[derive(Template)]
#[template(path = "api_keys.html")]
struct ApiKeysPage<'a> {
    chrome: Chrome,
    keys: Vec<KeyRow>,
    new_key: Option<(&'a str, &'a str)>,
    name: &'a str,
    scopes: &'a str,
    notice: Option<&'a str>,
    error: Option<&'a str>,
}

#[derive(Default)]
struct Shown<'a> {
    new_key: Option<(&'a str, &'a str)>,
    name: &'a str,
    scopes: &'a str,
    notice: Option<&'a str>,
}

pub(crate) async fn show(visit: V, params: Params) -> Result<Response, Problem> {
    let notice = match params.value("done") {
        Some("changed") => Some("The key is changed."),
        Some("revoked") => Some("The key is revoked. It stopped working at once."),
        _ => None,
    };
    render(&visit, &Shown { notice, ..Shown::default() }, None).await
}

pub(crate) async fn submit(visit: V, form: FormBody) -> Result<Response, Problem> {
    let (identity, account) = visit.require_account(Need::Keys)?;
    let (authn, actor, now) = (visit.authn(), visit.actor(), visit.now);
    if form.field("action") == "create" {
        return create(&visit, &form).await;
    }
    let key: KeyId = form.field("id").parse().map_err(|_| Problem::not_found())?;
    let change = match form.field("action") {
        "rename" => KeyChange { name: Some(form.field("name").to_owned()), ..KeyChange::default() },
        "disable" => KeyChange { enabled: Some(false), ..KeyChange::default() },
        "enable" => KeyChange { enabled: Some(true), ..KeyChange::default() },
        "revoke" => {
            authn.revoke_key(key, Some(account), &actor, now).await?;
            return Ok(visit.redirect(&visit.url("/api-keys?done=revoked")));
        }
        _ => return Err(Problem::bad_request("The form says nothing to do.")),
    };
    match authn.change_key(key, Some(account), change, Some(identity), &actor, now).await {
        Ok(_) => Ok(visit.redirect(&visit.url("/api-keys?done=changed"))),
        Err(error) => render(&visit, &Shown::default(), Some(&error.into())).await,
    }
}

async fn create(visit: &Visit, form: &FormBody) -> Result<Response, Problem> {
    let (identity, account) = visit.require_account(Need::Keys)?;
    let (name, scopes) = (form.field("name"), form.field("scopes"));
    let wish = wish(form);
    let made = match wish {
        Err(problem) => Err(problem),
        Ok(new) => visit
            .authn()
            .create_key(account, new, Some(identity), &visit.actor(), visit.now)
            .await
            .map_err(Problem::from),
    };
    match made {
        Ok((_, text)) => {
            let shown = Shown { new_key: Some((name, &text)), ..Shown::default() };
            render(visit, &shown, None).await
        }
        Err(problem) => {
            render(visit, &Shown { name, scopes, ..Shown::default() }, Some(&problem)).await
        }
    }
}

fn wish(form: &FormBody) -> Result<NewKey, Problem> {
    let days = match form.field("expires") {
        "" | "never" => None,
        text => Some(
            text.parse::<u64>()
                .ok()
                .filter(|days| (1..=36_600).contains(days))
                .ok_or_else(|| Problem::bad_request("Choose how long the key is to work."))?,
        ),
    };
    let words: Vec<_> = form
        .field("scopes")
        .split([',', ' ', '\n', '\r', '\t'])
        .filter(|w| !w.is_empty())
        .collect();
    let scopes = if words.is_empty() {
        None
    } else {
        let scopes = Scopes::parse(words.iter().copied());
        Some(scopes.map_err(|error| Problem::bad_request(&format!("{error}.")))?)
    };
    Ok(NewKey {
        name: form.field("name").to_owned(),
        expires_in: days.map(|days| Duration::from_secs(days * 86_400)),
        scopes,
        rate_limit: None,
    })
}

async fn render(
    visit: &Visit,
    shown: &Shown<'_>,
    problem: Option<&Problem>,
) -> Result<Response, Problem> {
    let (_, account) = visit.require_account(Need::Keys)?;
    let keys = visit.authn().list_keys(Some(account)).await?;
    let page = ApiKeysPage {
        chrome: Chrome::new(visit),
        keys: keys.into_iter().map(|key| KeyRow::new(key, visit.now)).collect(),
        new_key: shown.new_key,
        name: shown.name,
        scopes: shown.scopes,
        notice: shown.notice,
        error: problem.map(Problem::sentence),
    };
    Ok(view::form(visit, problem, &page))
}
