//! `/settings`: one's own profile, password, linked providers and sessions. With `?change=password`, or where the
//! password must be changed, only that form stands there.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use vestibule_authn::provider::{LinkShown, ProviderPurpose, ProviderShown, UnlinkError};
use vestibule_core::account::Account;
use vestibule_core::id::{AccountId, SessionId};
use vestibule_core::secret::Secret;
use vestibule_core::settings::auth::{Mode, Require};
use vestibule_core::settings::provider::ProviderPlace;

use crate::api::{change_own_password, display_name};
use crate::body::FormBody;
use crate::dispatch::append_cookies;
use crate::guard::Need;
use crate::json::time_for_people;
use crate::navigation::encode;
use crate::params::Params;
use crate::problem::Problem;
use crate::security_headers::FormTargets;
use crate::service::provider::{Button, buttons, depart};
use crate::service::sign_in;
use crate::view::{self, Chrome};
use crate::visit::{V, Visit};

struct SessionRow {
    id: String,
    browser: String,
    client_ip: String,
    last_seen: String,
    is_current: bool,
}

struct LinkRow {
    label: String,
    display: String,
    issuer: String,
    subject: String,
    linked: String,
    used: String,
}

impl From<LinkShown> for LinkRow {
    fn from(link: LinkShown) -> Self {
        Self {
            label: link.label,
            display: link.display,
            issuer: link.issuer,
            subject: link.subject,
            linked: time_for_people(link.linked_at),
            used: time_for_people(link.last_used_at),
        }
    }
}

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage {
    chrome: Chrome,
    email: String,
    email_verified: bool,
    username: String,
    name: String,
    role: &'static str,
    groups: Vec<String>,
    has_password: bool,
    links: Vec<LinkRow>,
    /// Providers without a link yet.
    linkable: Vec<Button>,
    sessions: Vec<SessionRow>,
    notice: Option<&'static str>,
    error: Option<String>,
}

#[derive(Template)]
#[template(path = "change_password.html")]
struct ChangePasswordPage<'a> {
    chrome: Chrome,
    email: String,
    is_forced: bool,
    rules: String,
    error: Option<&'a str>,
}

pub(crate) async fn show(visit: V, params: Params) -> Result<Response, Problem> {
    let (identity, id) = visit.require_account(Need::Person)?;
    let account = visit.account(id).await?;
    if identity.must_change_password || params.value("change") == Some("password") {
        return Ok(password_form(&visit, &account, None));
    }
    let notice = match params.value("saved") {
        Some("profile") => Some("Your name is saved."),
        Some("password") => Some("Your password is changed. All other sessions have ended."),
        Some("sessions") => Some("The session has ended."),
        Some("others") => Some("All other sessions have ended."),
        Some("linked") => Some("The provider is linked. You can sign in with it from now on."),
        Some("unlinked") => {
            Some("The provider is unlinked. Sessions that began with it have ended.")
        }
        _ => None,
    };
    overview(&visit, &account, notice, None).await
}

pub(crate) async fn profile(visit: V, form: FormBody) -> Result<Response, Problem> {
    let (_, id) = visit.require_account(Need::Own)?;
    match display_name(form.field("name")) {
        Err(problem) => {
            let account = visit.account(id).await?;
            overview(&visit, &account, None, Some(&problem)).await
        }
        Ok(name) => {
            visit.authn().set_names(id, Some(name), None, &visit.actor(), visit.now).await?;
            Ok(visit.redirect(&visit.url("/settings?saved=profile")))
        }
    }
}

pub(crate) async fn password(visit: V, form: FormBody) -> Result<Response, Problem> {
    let (identity, id) = visit.require_account(Need::Person)?;
    let was_forced = identity.must_change_password;
    let (current, new) = (form.field("current"), form.field("new"));
    let changed = if new == form.field("again") {
        change_own_password(&visit, Secret::new(current), Secret::new(new)).await
    } else {
        Err(Problem::bad_request("The two new passwords are not the same."))
    };
    match changed {
        Err(problem) => {
            let account = visit.account(id).await?;
            Ok(password_form(&visit, &account, Some(&problem)))
        }
        Ok(cookies) => {
            let to = if was_forced { "/" } else { "/settings?saved=password" };
            let mut response = visit.redirect(&visit.url(to));
            append_cookies(&mut response, &cookies);
            Ok(response)
        }
    }
}

/// Ends one session, or (with `others`) all but this one.
pub(crate) async fn sessions(visit: V, form: FormBody) -> Result<Response, Problem> {
    let (identity, account) = visit.require_account(Need::Own)?;
    let (actor, now) = (visit.actor(), visit.now);
    if form.ticked("others") {
        visit.authn().end_sessions_of(account, identity.session, &actor, now).await?;
        return Ok(visit.redirect(&visit.url("/settings?saved=others")));
    }
    let session: SessionId = form.field("id").parse().map_err(|_| Problem::not_found())?;
    visit.authn().end_session(session, Some(account), false, &actor, now).await?;
    Ok(visit.redirect(&visit.url("/settings?saved=sessions")))
}

/// Links a provider, or takes a link away. Both change who gets in, so they ask for a recent
/// sign-in; the page then stands there again.
pub(crate) async fn providers(visit: V, form: FormBody) -> Result<Response, Problem> {
    let (identity, account) = visit.require_account(Need::Own)?;
    let session = visit.ctx.cookie_session.ok_or_else(Problem::unauthenticated)?;
    if !visit.is_fresh(identity) {
        let back = encode(&visit.url("/settings"));
        return Ok(visit.redirect(&visit.url(&format!("/login?rd={back}&step=reauth"))));
    }
    match form.field("action") {
        "link" => link(&visit, account, form.field("provider")).await,
        "unlink" => unlink(&visit, account, session, &form).await,
        _ => Err(Problem::bad_request("The form says nothing to do.")),
    }
}

async fn link(visit: &Visit, account: AccountId, provider: &str) -> Result<Response, Problem> {
    if visit.mode() != Mode::Full {
        return Err(Problem::provider_not_configured());
    }
    let rd = visit.url("/settings?saved=linked");
    match depart(visit, provider, ProviderPurpose::Link { account }, &rd).await {
        Ok(departure) => {
            let mut response = visit.redirect(&departure.location);
            append_cookies(&mut response, &[departure.cookie]);
            Ok(response)
        }
        Err(refused) => Ok(super::provider::refused(visit, provider, refused, "")),
    }
}

async fn unlink(
    visit: &Visit,
    account: AccountId,
    session: SessionId,
    form: &FormBody,
) -> Result<Response, Problem> {
    let (issuer, subject) = (form.field("issuer"), form.field("subject"));
    let (authn, actor, now) = (visit.authn(), visit.actor(), visit.now);
    match authn.unlink_provider(account, issuer, subject, &actor, now).await {
        Ok(()) if authn.session_record(session).await?.is_none() => {
            Ok(visit.redirect(&visit.url("/login?signed_out")))
        }
        Ok(()) => Ok(visit.redirect(&visit.url("/settings?saved=unlinked"))),
        Err(UnlinkError::LastWay) => {
            let title = "This is the only way to sign in to your account";
            let problem = Problem::new(StatusCode::CONFLICT, "LAST_WAY_IN", title).detail(
                "This is the only way to sign in to your account. Set a password first, or link \
                 another provider.",
            );
            let account = visit.account(account).await?;
            overview(visit, &account, None, Some(&problem)).await
        }
        Err(UnlinkError::Store(error)) => Err(error.into()),
    }
}

async fn overview(
    visit: &Visit,
    account: &Account,
    notice: Option<&'static str>,
    problem: Option<&Problem>,
) -> Result<Response, Problem> {
    let current = visit.ctx.identity.as_ref().and_then(|identity| identity.session);
    let sessions = visit.authn().list_sessions(Some(account.id), visit.now).await?;
    let sessions = sessions.into_iter().map(|session| SessionRow {
        is_current: current == Some(session.id),
        id: session.id.to_string(),
        browser: browser_name(&session.user_agent),
        client_ip: session.client_ip,
        last_seen: time_for_people(session.last_seen),
    });
    let links = visit.authn().provider_links(account.id).await?;
    let mut linkable = buttons(visit, "", "");
    linkable.retain(|button| links.iter().all(|link| link.provider != button.id));
    let by_password = visit.settings.auth.password.enabled && visit.mode() == Mode::Full;
    let page = SettingsPage {
        chrome: Chrome::new(visit),
        email: account.email.as_deref().unwrap_or_default().to_owned(),
        email_verified: account.email_verified,
        username: account.username.to_string(),
        name: account.name.to_string(),
        role: account.role.as_str(),
        groups: account.groups.iter().map(ToString::to_string).collect(),
        has_password: by_password && sign_in::has_password(visit, account.id).await?,
        links: links.into_iter().map(LinkRow::from).collect(),
        linkable,
        sessions: sessions.collect(),
        notice,
        error: problem.map(|problem| problem.sentence().to_owned()),
    };
    let mut response = view::form(visit, problem, &page);
    response.extensions_mut().insert(link_targets(visit));
    Ok(response)
}

/// Where linking leads while nobody has asked a provider for its endpoints yet: nearly always
/// the place where it is.
fn link_targets(visit: &Visit) -> FormTargets {
    let origin = |shown: ProviderShown| {
        let (ProviderPlace::Discovery(url)
        | ProviderPlace::Github(url)
        | ProviderPlace::Issuer(url)) = shown.provider.place;
        let authority = url.find("://")? + 3;
        let end = url.get(authority..)?.find('/').map_or(url.len(), |end| authority + end);
        url.get(..end).map(str::to_owned)
    };
    let usable = visit.authn().providers().into_iter().filter(|shown| shown.provider.enabled);
    FormTargets(usable.filter_map(origin).collect())
}

fn password_form(visit: &Visit, account: &Account, problem: Option<&Problem>) -> Response {
    let page = ChangePasswordPage {
        chrome: Chrome::new(visit),
        email: account.email.as_deref().unwrap_or(&account.username).to_owned(),
        is_forced: account.must_change_password,
        rules: password_rules(visit),
        error: problem.map(Problem::sentence),
    };
    view::form(visit, problem, &page)
}

/// What a new password must be, in one sentence.
pub(super) fn password_rules(visit: &Visit) -> String {
    let password = &visit.settings.auth.password;
    let mut rules = format!("{} to {} characters", password.min_length, password.max_length);
    for require in &password.require {
        rules.push_str(match require {
            Require::MixedCase => ", upper and lower case",
            Require::Number => ", a digit",
            Require::Symbol => ", a symbol",
        });
    }
    rules.push('.');
    rules
}

/// A browser's name from its User-Agent, for the list only.
fn browser_name(user_agent: &str) -> String {
    let browsers = [
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
    ];
    let systems = [
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ];
    let find = |table: &[(&str, &'static str)]| {
        table.iter().find(|(mark, _)| user_agent.contains(mark)).map(|(_, name)| *name)
    };
    match (find(&browsers), find(&systems)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) if user_agent.is_empty() => "Unknown program".to_owned(),
        (None, None) => user_agent.chars().take(60).collect(),
    }
}
