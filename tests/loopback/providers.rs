//! Sign-ins at outside providers: the real binary between a browser that is an [`Actor`] and a
//! provider that does as the test says. One module a subject; here is what they share.

mod accounts;
mod crowd;
mod ending;
mod hostile;
mod ill;
mod presets;
mod quiet;
mod refreshing;
mod rows_000;
mod rows_001;
mod rows_002;
mod rows_004;
mod standing;

use serde_json::Value;
use vestibule_testkit::provider::Op;
use vestibule_testkit::{Actor, Gateway, GatewayBuilder, Landing, Recorder, Response, until};

use crate::gateway;
use crate::rows::{accounts, wiki};

/// The portal's host.
const AUTH: &str = "auth.example.test";
/// The app's origin.
const WIKI: &str = "https://wiki.example.test";

/// A gateway with the wiki, where whoever a provider names is let in at once.
fn open_to(app: &Recorder, providers: &[String]) -> GatewayBuilder {
    let builder = gateway().toml("[auth]\napproval = false").route(wiki(app));
    providers.iter().fold(builder, |builder, piece| builder.toml(piece))
}

/// Somebody with an empty jar, known under a name at every provider.
fn visitor(gateway: &Gateway, name: &str) -> Actor {
    gateway.anonymous().known_as(name)
}

/// Signs in and is signed in: the landing, with the portal's cookie in the jar.
#[track_caller]
fn let_in(actor: &mut Actor, provider: &str, rd: &str) -> Landing {
    let landing = actor.sign_in_with(provider, rd);
    let (status, url) = (landing.response.status, &landing.url);
    assert_eq!(status, 200, "{provider}: {url}\n{}", landing.response.text());
    assert!(has_session(actor), "{provider}: no session after {:#?}", landing.visited);
    landing
}

/// Who is signed in.
#[track_caller]
fn me(actor: &mut Actor) -> Value {
    actor.api("GET", "/me", None).expect(200).json()
}

/// Whether the jar holds the portal's session.
fn has_session(actor: &Actor) -> bool {
    actor.session_cookie(AUTH).is_some()
}

/// A sign-in that was refused in the one way that there is, on a page that says what to do; the
/// reason in the log. `what` stands in every failure's text.
#[track_caller]
fn refused(gateway: &Gateway, actor: &Actor, landing: &Landing, what: &str) -> String {
    let reason = turned_away(gateway, actor, landing, 401, "PROVIDER_SIGNIN_FAILED", what);
    let page = landing.response.text();
    assert!(page.contains("Failed to authenticate"), "{what}: {page}");
    assert!(page.contains("/login"), "{what}: no way back to the sign-in page: {page}");
    reason
}

/// As [`refused`], for any status and code.
#[track_caller]
fn turned_away(
    gateway: &Gateway,
    actor: &Actor,
    landing: &Landing,
    status: u16,
    code: &str,
    what: &str,
) -> String {
    let answer = &landing.response;
    let seen = (answer.status, answer.code().unwrap_or_default());
    assert_eq!(
        seen,
        (status, code.to_owned()),
        "{what}: {:#?}\n{}",
        landing.visited,
        answer.text()
    );
    assert!(!has_session(actor), "{what}: a session");
    let sets = answer.all("set-cookie").any(sets_session);
    assert!(!sets, "{what}: {:?}", answer.headers);
    let id = answer.header("x-request-id").unwrap_or_default().to_owned();
    assert!(!id.is_empty() && answer.text().contains(&id), "{what}: no request id on the page");
    let store = answer.header("cache-control").unwrap_or_default();
    assert!(store.contains("no-store"), "{what}: {store}");
    reason(gateway, &id, what)
}

/// Whether a `Set-Cookie` sets a session of ours (and does not take one away).
fn sets_session(field: &str) -> bool {
    let (name, value) = field.split_once('=').unwrap_or((field, ""));
    ["__Host-vestibule", "__Secure-vestibule", "vestibule"].contains(&name)
        && !value.starts_with(';')
}

/// The reason on the one line that the log has about a failed sign-in.
#[track_caller]
fn reason(gateway: &Gateway, request_id: &str, what: &str) -> String {
    let lines = || -> Vec<Value> {
        failures(gateway).into_iter().filter(|line| line["request_id"] == request_id).collect()
    };
    until(&format!("{what}: a line about request {request_id}"), || {
        (!lines().is_empty()).then_some(())
    });
    let lines = lines();
    assert_eq!(lines.len(), 1, "{what}: one line: {lines:#?}");
    assert_eq!(lines[0]["method"], "provider", "{what}");
    let client = lines[0]["client_ip"].as_str().unwrap_or_default();
    assert_eq!(client, "127.0.0.1", "{what}: whom fail2ban would shut out");
    lines[0]["reason"].as_str().unwrap_or_else(|| panic!("{what}: no reason")).to_owned()
}

/// Every stable line about a failed sign-in.
fn failures(gateway: &Gateway) -> Vec<Value> {
    let lines = gateway.logs();
    let parsed = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let failed = |line: &Value| {
        line["message"].as_str().is_some_and(|text| text.starts_with("sign-in failed"))
    };
    parsed.filter(failed).collect()
}

/// The answer of the app's host at the proxy door.
fn wiki_answer(actor: &mut Actor) -> Response {
    actor.get(&format!("{WIKI}/"))
}

/// The e-mail addresses of every account.
fn addresses(gateway: &Gateway) -> Vec<String> {
    let mut all: Vec<String> = accounts(gateway)
        .iter()
        .map(|account| account["email"].as_str().unwrap_or_default().to_owned())
        .collect();
    all.sort();
    all
}

/// The URL of a callback with another query.
fn with_query(callback: &str, query: &str) -> String {
    format!("{}?{query}", callback.split('?').next().unwrap_or_default())
}

/// How often a provider was asked for tokens.
fn token_requests(op: &Op) -> usize {
    op.exchanged().len()
}
