//! Rows of 004, Pantrie with Authentik: four variables, one button, joining by e-mail.

use serde_json::{Value, json};
use vestibule_testkit::provider::{ClaimsIn, Endpoint, Mutant, Op, Person};
use vestibule_testkit::{
    Actor, Gateway, GatewayBuilder, PASSWORD, Recorder, Request, Route, parameter,
};

use super::{addresses, has_session, let_in, me, reason, refused, turned_away, visitor};
use crate::gateway;
use crate::rows::{HEX_SECRET, Portal, account, admin_api, audit_lines, code, title, wiki};

const WIKI: &str = super::WIKI;
const CALLBACK: &str = "https://auth.example.test/api/v1/auth/oauth/authentik/callback";

/// A provider shaped like Authentik.
fn authentik_at(path: &str) -> Op {
    Op::builder().issuer_path(path).start()
}

fn authentik() -> Op {
    authentik_at("/application/o/pantrie/")
}

/// The document's gateway: profile pantrie and these variables.
fn pantrie(app: &Recorder) -> GatewayBuilder {
    gateway().env("VESTIBULE_PROFILE", "pantrie").route(wiki(app))
}

/// The four variables.
fn four(builder: GatewayBuilder, op: &Op) -> GatewayBuilder {
    builder
        .env("OAUTH_AUTHENTIK_BASE_URL", op.base_url())
        .env("OAUTH_AUTHENTIK_SLUG", "pantrie")
        .env("OAUTH_AUTHENTIK_CLIENT_ID", op.client_id())
        .env("OAUTH_AUTHENTIK_CLIENT_SECRET", op.client_secret())
}

#[test]
fn seed_004_01_seed_004_04_seed_004_05_seed_004_07_seed_004_08_seed_004_10_seed_004_11_seed_004_14_seed_004_16_seed_004_28_seed_004_30_seed_004_32_seed_004_33_seed_004_34_seed_004_35_seed_004_36_seed_004_37_seed_004_38_seed_004_39_seed_004_48_four_variables_give_a_button_that_signs_in()
 {
    let app = Recorder::start();
    let op = authentik();
    let mut gateway = four(pantrie(&app), &op).start();
    let portal = Portal::of(&gateway);
    let due = json!([{ "id": "authentik", "label": "Authentik" }]);
    assert_eq!(portal.config()["oauth_providers"], due, "004-35");
    let page = portal.page("/login").expect(200).text();
    assert!(page.contains(">Sign in with Authentik<"), "004-36: {page}");
    let line = gateway.wait_log(&["provider.ready", "id=authentik"]);
    assert!(line.contains(&format!("redirect_uri={CALLBACK}")), "004-48: {line}");

    let mut ann = visitor(&gateway, "ann");
    let rd = format!("{WIKI}/recipes?q=1");
    let start = ann.start_with("authentik", &rd).expect(302);
    let location = start.location().to_owned();
    assert!(location.starts_with(op.base_url()), "004-38: {location}");
    let get = |name: &str| parameter(&location, name);
    assert_eq!(get("response_type").as_deref(), Some("code"), "004-05");
    assert_eq!(get("client_id").as_deref(), Some(op.client_id()), "004-33");
    assert_eq!(get("redirect_uri").as_deref(), Some(CALLBACK), "004-08");
    assert_eq!(get("code_challenge_method").as_deref(), Some("S256"), "004-37");
    assert!(get("state").is_some() && get("nonce").is_some(), "004-37");
    let scope = get("scope").unwrap();
    for wanted in ["openid", "email", "profile"] {
        assert!(scope.split(' ').any(|one| one == wanted), "004-11: {scope}");
    }
    let back = ann.visit(&location);
    let answer = ann.visit(back.location());
    assert_eq!(answer.status, 302, "004-39: {answer:?}");
    assert!(has_session(&ann), "004-39: cookie set");
    assert_eq!(app.count(), 0, "004-10: the callback never reaches the app");
    let landing = ann.travel(answer.location());
    assert_eq!((landing.response.status, &landing.url), (200, &rd), "004-39: the app");
    let exchanged = &op.exchanged()[0];
    assert_ne!(exchanged.auth, vestibule_testkit::provider::ClientAuth::None, "004-07, 004-34");
    assert_eq!(op.hits(Endpoint::Elsewhere), 0, "004-30: exactly that URL");
    assert_eq!(op.hits(Endpoint::Discovery), 1, "004-30");
}

#[test]
fn seed_004_31_slashes_and_sub_paths_of_the_base_give_one_slash() {
    for (path, base) in [("", "/"), ("/auth", "/auth"), ("/auth", "/auth/"), ("/a/b", "/a/b/")] {
        let app = Recorder::start();
        let op = authentik_at(&format!("{path}/application/o/pantrie/"));
        let base = format!("{}{base}", op.base_url());
        let gateway = four(pantrie(&app), &op).env("OAUTH_AUTHENTIK_BASE_URL", &base).start();
        let _ = let_in(&mut visitor(&gateway, "ann"), "authentik", &format!("{WIKI}/"));
        assert_eq!(op.hits(Endpoint::Elsewhere), 0, "004-31: {base}");
    }
}

#[test]
fn seed_004_09_seed_004_50_seed_004_51_seed_004_62_seed_004_64_one_uri_follows_the_portal_alone() {
    let cases = [
        ("http://localhost:8000", "localhost", "http://localhost:8000"),
        ("https://pantry.example.test", "pantry.example.test", "https://pantry.example.test"),
        ("https://pantry.example.test/", "pantry.example.test", "https://pantry.example.test"),
        (
            "https://pantry.example.test:8443",
            "pantry.example.test",
            "https://pantry.example.test:8443",
        ),
    ];
    for (portal, host, origin) in cases {
        let app = Recorder::start();
        let op = authentik();
        let builder = gateway()
            .portal(portal)
            .listeners(&[("proxy", false)])
            .env("VESTIBULE_PROFILE", "pantrie")
            .route(Route::new("pantrie", host).upstream(app.url()).access("signed-in"));
        let gateway = four(builder, &op).start();
        let url = format!("{origin}/api/v1/auth/login/authentik");
        let uri = format!("{origin}/api/v1/auth/oauth/authentik/callback");
        let asks = [
            Request::get(&url).navigation(),
            Request::get(&url).navigation().header("X-Forwarded-Proto", "ftp"),
            Request::get(&url).navigation().header("X-Forwarded-Host", "evil.test"),
            Request::get(&format!("{url}?redirect_uri=https%3A%2F%2Fevil.test%2F")).navigation(),
        ];
        for ask in asks {
            let start = gateway.client().send(&ask).expect(302);
            let sent = parameter(start.location(), "redirect_uri");
            assert_eq!(sent.as_deref(), Some(uri.as_str()), "004-09, 004-50, 004-51: {portal}");
        }
        let mut ann = Actor::new(gateway.client(), origin, host).known_as("ann");
        let landing = ann.sign_in_with("authentik", "");
        assert_eq!(landing.response.status, 200, "{portal}: {:?}", landing.visited);
    }
}

#[test]
fn seed_004_12_seed_004_13_claims_may_stand_in_the_id_token_or_in_userinfo() {
    let app = Recorder::start();
    for place in [ClaimsIn::IdToken, ClaimsIn::UserInfo, ClaimsIn::Both] {
        let op = authentik();
        op.claims_in(place);
        let sub = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        op.person(Person::new("ann").subject(sub).groups(&["cooks"]));
        op.person(Person::new("bob").subject("opaque").without("preferred_username"));
        let gateway = four(pantrie(&app), &op).start();
        let (mut ann, mut bob) = (visitor(&gateway, "ann"), visitor(&gateway, "bob"));
        let _ = let_in(&mut ann, "authentik", &format!("{WIKI}/"));
        let _ = let_in(&mut bob, "authentik", &format!("{WIKI}/"));
        let shown = me(&mut ann);
        assert_eq!(shown["email"], "ann@example.test", "004-13: {place:?}");
        assert_eq!(shown["groups"], json!(["cooks"]), "004-13: {place:?}");
        assert_eq!(shown["username"], "ann", "004-12: {place:?}");
        assert_eq!(me(&mut bob)["username"], "bob", "004-12: of the address, not the sub");
        for seen in app.requests() {
            assert!(!seen.holds(sub) && !seen.holds("opaque"), "004-12: an app sees no sub");
        }
        // Keyed by (issuer, sub): another name and address is the same account.
        op.person(Person::new("ann").subject(sub).email("new@example.test", true));
        let mut again = visitor(&gateway, "ann");
        let _ = let_in(&mut again, "authentik", "");
        assert_eq!(me(&mut again)["id"], shown["id"], "004-12");
    }
}

#[test]
fn seed_004_40_seed_004_42_seed_004_43_an_account_with_the_same_verified_address_is_joined() {
    let app = Recorder::start();
    let op = authentik();
    op.person(Person::new("ann").email("ANN@Example.Test", true));
    let gateway = four(pantrie(&app), &op).user("ann", &["cooks"]).admin("root").start();
    let id = account(&gateway, "ann@example.test")["id"].clone();
    let mut ann = visitor(&gateway, "ann");
    let landing = let_in(&mut ann, "authentik", &format!("{WIKI}/"));
    assert_eq!(landing.url, format!("{WIKI}/"), "004-40: no question");
    assert_eq!(me(&mut ann)["id"], id, "004-40, 004-42: the same account");
    assert_eq!(addresses(&gateway).len(), 2, "none was made");
    let mut by_password = gateway.as_user("ann");
    assert_eq!(me(&mut by_password)["id"], id, "004-43");
    let _ = Portal::of(&gateway).login("ann@example.test", PASSWORD).expect(200);
    let mut again = visitor(&gateway, "ann");
    let _ = let_in(&mut again, "authentik", "");
    assert_eq!(me(&mut again)["id"], id, "004-43");
    // Under this profile silently on the provider's word, administrators too.
    let mut root = visitor(&gateway, "root");
    let _ = let_in(&mut root, "authentik", "");
    assert_eq!(me(&mut root)["role"], "admin", "link_verified_email = always");
    let linked = audit_lines(&gateway, "provider.linked");
    assert!(linked.len() >= 2, "004-58: {linked:#?}");
}

#[test]
fn seed_004_41_seed_004_44_seed_004_57_seed_004_58_an_address_that_is_not_verified_joins_nothing() {
    let app = Recorder::start();
    let op = authentik();
    let gateway = four(pantrie(&app), &op).user("ann", &[]).start();
    let plain = || Person::new("ann");
    let cases = [
        ("false", plain().claim("email_verified", false)),
        ("absent", plain().without("email_verified")),
        ("\"true\"", plain().claim("email_verified", "true")),
        ("1", plain().claim("email_verified", 1)),
    ];
    for (what, person) in cases {
        op.person(person);
        let mut ann = visitor(&gateway, "ann");
        let landing = ann.sign_in_with("authentik", "");
        turned_away(&gateway, &ann, &landing, 403, "LINK_REFUSED", &format!("004-41: {what}"));
        let page = landing.response.text().to_lowercase();
        assert!(page.contains("password") && page.contains("link"), "004-44: {what}: {page}");
    }
    assert_eq!(addresses(&gateway), ["ann@example.test"], "004-44: nothing created");
    let lines = audit_lines(&gateway, "provider.link_refused");
    assert_eq!(lines.len(), 4, "004-58: {lines:#?}");
    for line in lines {
        assert!(line.to_string().contains("reason=email_unverified"), "004-58: {line}");
    }
    // `trust_email = false`: even the boolean does not count.
    op.person(plain());
    let piece = op.toml("doubted") + "trust_email = false\n";
    let gateway = pantrie(&app).toml(&piece).user("ann", &[]).start();
    let mut ann = visitor(&gateway, "ann");
    let landing = ann.sign_in_with("doubted", "");
    turned_away(&gateway, &ann, &landing, 403, "LINK_REFUSED", "trust_email = false");
}

#[test]
fn seed_004_45_seed_004_46_seed_004_47_each_variable_left_out_switches_it_off_until_it_is_set() {
    for missing in ["BASE_URL", "SLUG", "CLIENT_ID", "CLIENT_SECRET"] {
        let app = Recorder::start();
        let op = authentik();
        let name = format!("OAUTH_AUTHENTIK_{missing}");
        let mut gateway = four(pantrie(&app), &op).env(&name, "").start();
        let _ = gateway.wait_log(&["provider.not_configured", &name]);
        let portal = Portal::of(&gateway);
        let answer = portal.get("/api/v1/auth/login/authentik").expect(404);
        assert_eq!(code(&answer), "PROVIDER_NOT_CONFIGURED", "004-45: {missing}");
        assert_eq!(title(&answer), "OAuth provider not configured", "004-45: {missing}");
        let value = match missing {
            "BASE_URL" => op.base_url().to_owned(),
            "SLUG" => "pantrie".to_owned(),
            "CLIENT_ID" => op.client_id().to_owned(),
            _ => op.client_secret().to_owned(),
        };
        gateway.set_env(&name, Some(&value));
        gateway.restart();
        let _ = let_in(&mut visitor(&gateway, "ann"), "authentik", "");
    }
}

#[test]
fn seed_004_54_seed_004_55_what_the_provider_lacks_or_refuses_is_the_same_page() {
    let app = Recorder::start();
    let mute = Op::mutated(Mutant::EmailMissing);
    let refusing = Op::mutated(Mutant::ErrorUnauthorizedClient);
    let gateway = super::open_to(&app, &[mute.toml("mute"), refusing.toml("refusing")]).start();
    let mut ann = visitor(&gateway, "ann");
    let landing = ann.sign_in_with("mute", "");
    let said = refused(&gateway, &ann, &landing, "004-54");
    assert!(said.starts_with("claim_missing"), "004-54: {said}");
    let line = gateway.logs().into_iter().find(|line| line.contains("claim_missing")).unwrap();
    assert!(line.contains("email"), "004-54: claim_missing email: {line}");
    let mut ann = visitor(&gateway, "ann");
    let landing = ann.sign_in_with("refusing", "");
    let said = refused(&gateway, &ann, &landing, "004-55");
    assert!(said.contains("unauthorized_client"), "004-55: {said}");
}

#[test]
fn seed_004_56_another_address_is_another_account() {
    let app = Recorder::start();
    let op = authentik();
    op.person(Person::new("ann").email("other@example.test", true));
    let gateway = four(pantrie(&app), &op).user("ann", &[]).start();
    let mut ann = visitor(&gateway, "ann");
    let _ = let_in(&mut ann, "authentik", "");
    assert_eq!(addresses(&gateway), ["ann@example.test", "other@example.test"], "004-56");
    assert_ne!(me(&mut ann)["id"], account(&gateway, "ann@example.test")["id"]);
    assert_ne!(me(&mut ann)["username"], "ann", "a number is added on collision");
}

#[test]
fn seed_004_59_seed_004_60_seed_004_61_the_secret_comes_from_a_file_and_can_be_rotated() {
    let app = Recorder::start();
    let op = Op::builder().issuer_path("/application/o/pantrie/").start();
    let secret = tempfile::NamedTempFile::new().unwrap();
    crate::rows::set_mode(secret.path(), 0o600);
    std::fs::write(secret.path(), format!("{}\n", op.client_secret())).unwrap();
    let builder = pantrie(&app)
        .env("OAUTH_AUTHENTIK_BASE_URL", op.base_url())
        .env("OAUTH_AUTHENTIK_SLUG", "pantrie")
        .env("OAUTH_AUTHENTIK_CLIENT_ID", op.client_id())
        .env("OAUTH_AUTHENTIK_CLIENT_SECRET_FILE", secret.path().to_str().unwrap());
    let gateway = builder.start();
    let _ = let_in(&mut visitor(&gateway, "ann"), "authentik", "");

    // At run time, by an administrator: the next sign-in uses it, sessions stay.
    let gateway = pantrie(&app).admin("root").start();
    let mut root = gateway.as_user("root");
    let portal = gateway.portal().to_owned();
    let spec = json!({
        "id": "stored",
        "kind": "authentik",
        "base_url": op.base_url(),
        "slug": "pantrie",
        "client_id": op.client_id(),
        "client_secret": "the-old-secret",
    });
    let made = admin_api(&mut root, &portal, "POST", "/providers", Some(&spec)).expect(201);
    assert!(!made.text().contains("the-old-secret"), "write-only: {}", made.text());
    let mut ann = visitor(&gateway, "ann");
    let landing = ann.sign_in_with("stored", "");
    let id = landing.response.header("x-request-id").unwrap().to_owned();
    assert_eq!(reason(&gateway, &id, "004-61"), "token_endpoint_invalid_client");
    let change = json!({ "client_secret": op.client_secret() });
    let changed = admin_api(&mut root, &portal, "PATCH", "/providers/stored", Some(&change));
    assert_eq!(changed.status, 200, "{changed:?}");
    assert!(!changed.text().contains(op.client_secret()), "write-only: {}", changed.text());
    let _ = let_in(&mut ann, "stored", &format!("{WIKI}/"));
    let change = json!({ "client_secret": "another-again" });
    let _ = admin_api(&mut root, &portal, "PATCH", "/providers/stored", Some(&change)).expect(200);
    assert_eq!(super::wiki_answer(&mut ann).status, 200, "004-61: running sessions stay");
    let found = crate::rows::files_that_hold(&gateway.prepared().data(), op.client_secret());
    assert!(found.is_empty(), "sealed: {found:?}");
}

#[test]
fn seed_004_19_seed_004_63_plain_http_is_refused_in_production() {
    let app = Recorder::start();
    let production = |base: &str| {
        pantrie(&app)
            .toml("[server]\nenvironment = \"production\"")
            .env("OAUTH_AUTHENTIK_BASE_URL", base)
            .env("OAUTH_AUTHENTIK_SLUG", "pantrie")
            .env("OAUTH_AUTHENTIK_CLIENT_ID", "client")
            .env("OAUTH_AUTHENTIK_CLIENT_SECRET", HEX_SECRET)
    };
    let refused = production("http://authentik.example.com").start_refused();
    assert_eq!(refused.code, 1, "004-63: {}", refused.stderr);
    assert!(refused.stderr.contains("https"), "004-63: {}", refused.stderr);
    assert!(!refused.stderr.contains(HEX_SECRET));
    let _: Gateway = production("https://authentik.example.com").start();
    // An administrator cannot do it either.
    let gateway =
        pantrie(&app).toml("[server]\nenvironment = \"production\"").admin("root").start();
    let mut root = gateway.as_user("root");
    let spec = json!({
        "id": "authentik", "kind": "authentik", "base_url": "http://authentik.example.com",
        "slug": "pantrie", "client_id": "client", "client_secret": HEX_SECRET,
    });
    let portal = gateway.portal().to_owned();
    let answer = admin_api(&mut root, &portal, "POST", "/providers", Some(&spec)).expect(400);
    assert!(answer.text().contains("https"), "004-19: {}", answer.text());
}

#[test]
fn seed_004_06_seed_004_65_a_refusal_of_the_provider_is_shown_and_is_no_loop() {
    let app = Recorder::start();
    let op = authentik();
    let gateway = four(pantrie(&app), &op).start();
    op.answers_error(Some("access_denied"));
    let mut ann = visitor(&gateway, "ann");
    let landing = ann.sign_in_with("authentik", &format!("{WIKI}/"));
    turned_away(&gateway, &ann, &landing, 403, "PROVIDER_DENIED", "004-65");
    assert!(landing.response.text().contains("Sign-in was declined"), "004-65");
    assert_eq!(op.asked().len(), 1, "004-65: no loop");
    assert_eq!(op.exchanged().len(), 0);
    op.answers_error(None);
    let _ = let_in(&mut ann, "authentik", &format!("{WIKI}/"));
}

#[test]
fn seed_004_26_seed_004_27_seed_004_29_seed_004_49_an_administrator_adds_one_that_is_in_force_at_once()
 {
    let app = Recorder::start();
    let (op, fixed) = (authentik(), authentik());
    let gateway = four(pantrie(&app), &fixed).admin("root").user("joe", &[]).start();
    let portal = gateway.portal().to_owned();
    let mut root = gateway.as_user("root");
    let spec = json!({
        "id": "second",
        "kind": "authentik",
        "label": "Second kitchen",
        "base_url": op.base_url(),
        "slug": "pantrie",
        "client_id": op.client_id(),
        "client_secret": op.client_secret(),
    });
    let mut joe = gateway.as_user("joe");
    let _ = admin_api(&mut joe, &portal, "POST", "/providers", Some(&spec)).expect(403);
    let made = admin_api(&mut root, &portal, "POST", "/providers", Some(&spec)).expect(201);
    let uri = "https://auth.example.test/api/v1/auth/oauth/second/callback";
    assert!(made.text().contains(uri), "004-49: {}", made.text());
    assert!(!made.text().contains(op.client_secret()), "write-only: {}", made.text());
    let page = Portal::of(&gateway).page("/login").expect(200).text();
    assert!(page.contains("Sign in with Second kitchen"), "004-27: at once: {page}");
    let _ = let_in(&mut visitor(&gateway, "ann"), "second", &format!("{WIKI}/"));

    let list = admin_api(&mut root, &portal, "GET", "/providers", None).expect(200);
    assert!(
        !list.text().contains(op.client_secret()) && !list.text().contains(fixed.client_secret())
    );
    let listed = list.json();
    let all = listed.as_array().or_else(|| listed["providers"].as_array()).unwrap();
    let of = |id: &str| all.iter().find(|one| one["id"] == id).unwrap_or(&Value::Null).to_string();
    assert!(of("authentik").contains("environment"), "004-29: {listed:#}");
    assert!(of("second").contains("stored"), "{listed:#}");
    let change = json!({ "label": "Mine" });
    let answer = admin_api(&mut root, &portal, "PATCH", "/providers/authentik", Some(&change));
    assert_eq!((answer.status, code(&answer)), (409, "PROVIDER_READ_ONLY".to_owned()), "004-29");
    let answer = admin_api(&mut root, &portal, "DELETE", "/providers/authentik", None);
    assert_eq!(answer.status, 409, "004-29");
    let taken = json!({
        "id": "authentik", "issuer": op.issuer(), "client_id": "x", "client_secret": "y",
    });
    let answer = admin_api(&mut root, &portal, "POST", "/providers", Some(&taken));
    assert_eq!(answer.status, 409, "004-29: {answer:?}");
    let tested = gateway.cli(&["provider", "test", "authentik"]);
    assert!((tested.stdout + &tested.stderr).contains(CALLBACK), "004-49");
    let page = root.navigate(&format!("{portal}/admin/providers")).response.expect(200).text();
    assert!(page.contains("OAuth Settings") && page.contains(CALLBACK), "004-26, 004-49: {page}");

    // Taken away it is gone at once.
    let _ = admin_api(&mut root, &portal, "DELETE", "/providers/second", None).expect(204);
    let landing = visitor(&gateway, "bob").sign_in_with("second", "");
    assert_eq!(landing.response.status, 404);
}

#[test]
fn seed_004_15_seed_004_24_seed_004_25_the_start_page_leads_to_the_sign_in_and_settings_to_administration()
 {
    let app = Recorder::start();
    let op = authentik();
    let gateway = four(pantrie(&app), &op).admin("root").start();
    let mut ann = visitor(&gateway, "ann");
    let landing = ann.navigate(&format!("{}/", gateway.portal()));
    assert!(landing.url.contains("/login"), "004-15: {:?}", landing.visited);
    let _ = let_in(&mut ann, "authentik", "");
    let landing = ann.navigate(&format!("{}/", gateway.portal()));
    assert_eq!(landing.response.status, 200, "004-15: the launcher");
    assert!(landing.response.text().contains("wiki"), "004-15: {}", landing.response.text());
    let settings = format!("{}/settings", gateway.portal());
    let page = ann.navigate(&settings).response.text();
    assert!(!page.contains("Administration"), "004-25: not for everybody");
    let mut root = visitor(&gateway, "root");
    let _ = let_in(&mut root, "authentik", "");
    assert_eq!(me(&mut root)["role"], "admin", "004-24");
    let page = root.navigate(&settings).response.text();
    assert!(page.contains("Administration"), "004-25: {page}");
}

#[test]
fn seed_004_17_seed_004_18_seed_004_19_seed_004_20_seed_004_21_seed_004_22_seed_004_23_the_setup_has_a_step_for_it()
 {
    let app = Recorder::start();
    for skips in [false, true] {
        let op = authentik();
        let gateway = pantrie(&app).start();
        let portal = gateway.portal().to_owned();
        let mut admin = gateway.anonymous();
        let send = |actor: &mut Actor, path: &str, fields: &[(&str, &str)]| {
            actor.send(crate::rows::form_request(&portal, path).form(fields))
        };
        let _ = admin.navigate(&format!("{portal}/setup")).response.expect(200);
        let fields = [("email", "root@example.test"), ("password", PASSWORD), ("name", "Root")];
        let made = send(&mut admin, "/setup", &fields);
        assert!(made.location().ends_with("/setup/oauth"), "004-17, 004-18: {made:?}");
        let page = admin.navigate(&format!("{portal}/setup/oauth")).response.expect(200).text();
        for text in [
            "OAuth Configuration",
            "<select",
            ">None<",
            ">Authentik<",
            ">Google<",
            ">GitHub<",
            ">OpenID Connect<",
            ">Authentik Base URL<",
            ">Application Slug<",
            ">Client ID<",
            ">Client Secret<",
            CALLBACK,
        ] {
            assert!(page.contains(text), "004-18 to 004-22: {text} in {page}");
        }
        let secret =
            page.split("name=\"client_secret\"").nth(1).unwrap().split('>').next().unwrap();
        assert!(
            secret.contains("type=\"password\"") && !secret.contains("value="),
            "004-22: {secret}"
        );
        if skips {
            let done = send(&mut admin, "/setup/oauth", &[("kind", ""), ("action", "save")]);
            assert!(done.location().contains("/setup/done"), "004-23: {done:?}");
            assert_eq!(Portal::of(&gateway).config()["oauth_providers"], json!([]), "004-23");
            assert_eq!(addresses(&gateway), ["root@example.test"], "004-23");
            continue;
        }
        let fields = |action: &'static str| {
            [
                ("kind", "authentik".to_owned()),
                ("base_url", op.base_url().to_owned()),
                ("slug", "pantrie".to_owned()),
                ("client_id", op.client_id().to_owned()),
                ("client_secret", op.client_secret().to_owned()),
                ("action", action.to_owned()),
            ]
        };
        for action in ["test", "save"] {
            let fields = fields(action);
            let fields: Vec<(&str, &str)> =
                fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let answer = send(&mut admin, "/setup/oauth", &fields);
            assert!(!answer.text().contains(op.client_secret()), "004-22: never shown again");
            if action == "test" {
                assert_eq!(answer.status, 200, "discovery is tested: {answer:?}");
                assert!(op.hits(Endpoint::Discovery) >= 1);
            } else {
                assert!(answer.location().contains("/setup/done"), "{answer:?}");
            }
        }
        let page = Portal::of(&gateway).page("/login").expect(200).text();
        assert!(page.contains("Sign in with Authentik"), "in force at once: {page}");
        let _ = let_in(&mut visitor(&gateway, "ann"), "authentik", &format!("{WIKI}/"));
    }
}
