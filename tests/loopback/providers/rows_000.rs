//! Rows of 000, Penombre, about providers: variables of one's choice, several at once, callbacks.

use std::collections::BTreeMap;

use serde_json::Value;
use vestibule_testkit::provider::{Endpoint, Op};
use vestibule_testkit::{Gateway, GatewayBuilder, Recorder, Request, Route, parameter};

use super::{WIKI, addresses, let_in, me, visitor};
use crate::gateway;
use crate::rows::{HEX_SECRET, Portal, by_variables, code, title, wiki};

/// `OAUTH_<PROVIDER>_*` for a provider.
fn oauth(
    builder: GatewayBuilder,
    provider: &str,
    op: &Op,
    more: &[(&str, &str)],
) -> GatewayBuilder {
    let required = [
        ("CLIENT_ID", op.client_id().to_owned()),
        ("CLIENT_SECRET", op.client_secret().to_owned()),
        ("DISCOVERY_URL", op.discovery_url()),
    ];
    let more = more.iter().map(|&(name, value)| (name, value.to_owned()));
    required.into_iter().chain(more).fold(builder, |builder, (name, value)| {
        builder.env(&format!("OAUTH_{provider}_{name}"), &value)
    })
}

fn switched_on(app: &Recorder) -> GatewayBuilder {
    by_variables(&[("AUTH_SECRET", HEX_SECRET), ("ENABLE_OAUTH_SIGNIN", "true")])
        .toml("[auth]\napproval = false")
        .route(wiki(app))
}

/// Labels by id, as `GET /config` tells them.
fn offered(gateway: &Gateway) -> BTreeMap<String, String> {
    let told = Portal::of(gateway).config();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    told["oauth_providers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (text(&one["id"]), text(&one["label"])))
        .collect()
}

fn pair(id: &str, label: &str) -> (String, String) {
    (id.to_owned(), label.to_owned())
}

#[test]
fn seed_000_31_seed_000_32_seed_000_34_seed_000_35_seed_000_40_seed_000_41_seed_000_42_seed_000_43_seed_000_44_seed_000_45_seed_000_48_providers_of_the_environment_sign_people_in()
 {
    let app = Recorder::start();
    let pocket = Op::start();
    let own =
        Op::builder().odd_paths().issuer_path("/id").client("own-client", Some("x!y")).start();
    let builder = oauth(switched_on(&app), "POCKET_ID", &pocket, &[("PRETTY_NAME", "Pocket ID")]);
    let builder =
        oauth(builder, "MY_OWN_IDP", &own, &[("PKCE", "false"), ("SCOPES", "openid,email")]);
    let mut gateway = builder.start();
    let due = BTreeMap::from([pair("pocket-id", "Pocket ID"), pair("my-own-idp", "my-own-idp")]);
    assert_eq!(offered(&gateway), due, "000-32, 000-34, 000-35, 000-40, 000-45");
    let page = Portal::of(&gateway).page("/login").expect(200).text();
    for text in ["Sign in with Pocket ID", "Sign in with my-own-idp", "type=\"password\""] {
        assert!(page.contains(text), "000-34: {text} in {page}");
    }
    for (id, op) in [("pocket-id", &pocket), ("my-own-idp", &own)] {
        let line = gateway.wait_log(&["provider.ready", &format!("id={id}")]);
        assert!(line.contains(&format!("issuer={}", op.issuer())), "{line}");
        let uri = format!("redirect_uri=https://auth.example.test/api/v1/auth/callback/{id}");
        assert!(line.contains(&uri), "000-48: {line}");
    }
    let mut ann = visitor(&gateway, "ann");
    let _ = let_in(&mut ann, "pocket-id", &format!("{WIKI}/"));
    assert_eq!(me(&mut ann)["email"], "ann@example.test", "000-31");
    let mut bob = visitor(&gateway, "bob");
    let _ = let_in(&mut bob, "my-own-idp", &format!("{WIKI}/"));
    assert_eq!(me(&mut bob)["email"], "bob@example.test", "000-34, 000-44");

    let asked = &pocket.asked()[0];
    assert_eq!(asked.get("scope"), Some("openid profile email"), "000-42");
    assert_eq!(asked.get("code_challenge_method"), Some("S256"), "000-41");
    assert_eq!(asked.get("code_challenge").map(str::len), Some(43), "000-41");
    assert_eq!(asked.get("response_type"), Some("code"));
    let uri = asked.get("redirect_uri").unwrap();
    assert_eq!(uri, "https://auth.example.test/api/v1/auth/callback/pocket-id", "000-48");
    let exchanged = &pocket.exchanged()[0];
    assert_eq!(exchanged.get("redirect_uri"), Some(uri), "the same at the token endpoint");
    let asked = &own.asked()[0];
    assert_eq!(asked.get("scope"), Some("openid email"), "000-42");
    assert_eq!(asked.get("code_challenge_method"), None, "000-41");
    assert_eq!(asked.get("client_id"), Some("own-client"), "000-36");
    assert_eq!(own.exchanged()[0].get("code_verifier"), None, "000-41");
    for op in [&pocket, &own] {
        assert_eq!(op.hits(Endpoint::Elsewhere), 0, "000-43: exactly the documented URL");
        assert!(op.hits(Endpoint::Discovery) >= 1, "000-43");
    }
}

#[test]
fn seed_000_33_seed_000_39_what_is_switched_off_is_not_there() {
    let app = Recorder::start();
    let op = Op::start();
    let off = oauth(switched_on(&app), "POCKET_ID", &op, &[("ENABLED", "false")]).start();
    let unset = by_variables(&[("AUTH_SECRET", HEX_SECRET)]).route(wiki(&app));
    let unset = oauth(unset, "POCKET_ID", &op, &[]).start();
    let no = oauth(switched_on(&app), "POCKET_ID", &op, &[]).env("ENABLE_OAUTH_SIGNIN", "no");
    let no = no.start();
    for (gateway, what) in [(&off, "000-39"), (&unset, "000-33"), (&no, "000-33: explicitly")] {
        assert_eq!(offered(gateway), BTreeMap::new(), "{what}");
        let page = Portal::of(gateway).page("/login").expect(200).text();
        assert!(!page.contains("Sign in with"), "{what}: {page}");
        let answer = Portal::of(gateway).get("/api/v1/auth/login/pocket-id").expect(404);
        assert_eq!(code(&answer), "PROVIDER_NOT_CONFIGURED", "{what}");
        assert_eq!(title(&answer), "OAuth provider not configured", "{what}");
        let mut actor = visitor(gateway, "ann");
        let landing = actor.sign_in_with("pocket-id", "");
        assert_eq!(landing.response.status, 404, "{what}");
        assert!(landing.response.text().contains("OAuth provider not configured"), "{what}");
    }
    assert_eq!(op.asked().len(), 0);
}

#[test]
fn seed_000_36_seed_000_37_seed_000_38_each_missing_variable_switches_the_provider_off_and_is_named()
 {
    for missing in ["CLIENT_ID", "CLIENT_SECRET", "DISCOVERY_URL"] {
        let app = Recorder::start();
        let op = Op::start();
        let name = format!("OAUTH_POCKET_ID_{missing}");
        let builder = oauth(switched_on(&app), "POCKET_ID", &op, &[]).env(&name, "");
        let mut gateway = builder.start();
        assert_eq!(offered(&gateway), BTreeMap::new(), "{missing}");
        let line = gateway.wait_log(&["provider.not_configured", "id=pocket-id", &name]);
        assert!(line.contains("\"ERROR\""), "{line}");
        let checked = gateway.cli(&["check"]).expect(1);
        assert!((checked.stdout + &checked.stderr).contains(&name), "{missing}");
    }
}

#[test]
fn seed_000_46_googles_example_by_discovery_url_works_as_printed() {
    let app = Recorder::start();
    let op = Op::start();
    op.describe(serde_json::json!({
        "end_session_endpoint": null,
        "authorization_response_iss_parameter_supported": null,
    }));
    let gateway = oauth(switched_on(&app), "GOOGLE", &op, &[("PRETTY_NAME", "Google")]).start();
    assert_eq!(offered(&gateway), BTreeMap::from([pair("google", "Google")]), "000-46");
    let mut ann = visitor(&gateway, "ann");
    let start = ann.start_with("google", "").expect(302);
    assert!(start.location().starts_with(&op.url(Endpoint::Authorize)), "000-46");
    let _ = let_in(&mut ann, "google", &format!("{WIKI}/"));
}

#[test]
fn seed_000_47_seed_000_49_the_callback_is_the_portals_also_where_an_app_lives() {
    let app = Recorder::start();
    let op = Op::start();
    let portal = "https://cloud.example.com";
    let builder = gateway()
        .portal(portal)
        .toml("[auth]\napproval = false")
        .route(Route::new("cloud", "cloud.example.com").upstream(app.url()).access("signed-in"))
        .env("ENABLE_OAUTH_SIGNIN", "true");
    let gateway = oauth(builder, "POCKET_ID", &op, &[]).start();
    let mut ann = visitor(&gateway, "ann");
    let callback = ann.callback_of("pocket-id", "");
    let uri = op.asked()[0].get("redirect_uri").unwrap().to_owned();
    assert_eq!(uri, "https://cloud.example.com/api/v1/auth/callback/pocket-id", "000-49");
    let answer = ann.visit(&callback);
    assert!(matches!(answer.status, 302 | 303), "000-47: {answer:?}");
    assert_eq!(app.count(), 0, "000-47: the recorder sees nothing of it");
    assert!(ann.session_cookie("cloud.example.com").is_some());
    let _ = ann.send(Request::get(&format!("{portal}/files"))).expect(200);
    assert_eq!(app.last().header("remote-email"), Some("ann@example.test"));
    assert_eq!(addresses(&gateway), ["ann@example.test"]);
}

#[test]
fn seed_000_48_a_callback_on_another_form_than_the_one_sent_is_refused() {
    let app = Recorder::start();
    let op = Op::start();
    let gateway = super::open_to(&app, &[op.toml("op")]).start();
    for path in [
        "/v1/auth/callback/op",
        "/api/auth/oidc/op/callback",
        "/api/v1/auth/oauth/op/callback",
        "/api/v1/auth/callback/op/",
    ] {
        let mut ann = visitor(&gateway, "ann");
        let callback = ann.callback_of("op", "");
        let (_, query) = callback.split_once('?').unwrap();
        assert!(parameter(&callback, "code").is_some());
        let answer = ann.visit(&format!("{}{path}?{query}", gateway.portal()));
        assert!(matches!(answer.status, 401 | 404), "{path}: {answer:?}");
        assert!(!super::has_session(&ann), "{path}");
    }
    assert_eq!(op.exchanged().len(), 0, "no code was redeemed");
}
