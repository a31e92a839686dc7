//! Providers for administrators: JSON, "OAuth Settings", and the step of `/setup`.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use vestibule_core::account::Role;
use vestibule_core::settings::provider::{IncompleteProvider, ProviderOrigin};
use vestibule_testkit::provider::{Endpoint, Op, OpFault};

use crate::op::{resolved, set_clock, spec, stage};
use crate::stage::{Answer, Ask, PASSWORD, PORTAL, Stage};

const SECRET: &str = "s3cret-of-the-client";

async fn call(stage: &Stage, method: Method, path: &str, token: &str, body: Value) -> Answer {
    let ask = Ask::new(method, &format!("/api/v1/admin/providers{path}")).bearer(token);
    stage.send(if body.is_null() { ask } else { ask.json(body) }).await
}

fn wish(op: &Op) -> Value {
    json!({
        "id": "corp", "issuer": op.issuer(), "client_id": op.client_id(),
        "client_secret": SECRET, "label": "Corp", "groups": { "a": "b" },
    })
}

async fn house() -> (Stage, String) {
    let stage = Stage::new().await;
    stage.person("root@example.com", Role::Admin).await;
    let token = stage.token_of("root@example.com").await;
    (stage, token)
}

#[tokio::test]
async fn seed_004_27_a_provider_is_made_at_run_time_and_in_force_at_once() {
    let op = Op::start();
    let (stage, root) = house().await;
    let made = call(&stage, Method::POST, "", &root, wish(&op)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let made = made.json();
    for (member, value) in [
        ("id", json!("corp")),
        ("kind", json!("oidc")),
        ("label", json!("Corp")),
        ("enabled", json!(true)),
        ("origin", json!("stored")),
        ("read_only", json!(false)),
        ("issuer", json!(op.issuer())),
        ("client_id", json!(op.client_id())),
        ("has_secret", json!(true)),
        ("scopes", json!(["openid", "profile", "email"])),
        ("pkce", json!(true)),
        ("allowed_domains", json!([])),
        ("auto_approve", json!(false)),
        ("trust_email", json!(true)),
        ("mfa_from", json!("none")),
        ("redirect_uri", json!(format!("{PORTAL}/api/v1/auth/callback/corp"))),
        ("backchannel_logout_uri", json!(format!("{PORTAL}/api/v1/auth/backchannel-logout/corp"))),
        ("groups", json!({ "a": "b" })),
        ("roles", json!({})),
    ] {
        assert_eq!(made[member], value, "{member}");
    }
    assert_eq!(made["claims"]["username"], "preferred_username");
    assert!(made["status"]["state"].is_string());
    let list = call(&stage, Method::GET, "", &root, Value::Null).await.json();
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(list[0]["id"], "corp");
    assert!(stage.browser().open("/login").await.body.contains("Sign in with Corp"));
    let config = stage.get("/api/v1/auth/config").await.json();
    assert_eq!(config["oauth_providers"], json!([{ "id": "corp", "label": "Corp" }]));
}

#[tokio::test]
async fn j6_a_secret_goes_in_and_never_comes_out() {
    let op = Op::start();
    let (stage, root) = house().await;
    let mut answers = vec![call(&stage, Method::POST, "", &root, wish(&op)).await];
    answers.push(call(&stage, Method::GET, "", &root, Value::Null).await);
    answers.push(call(&stage, Method::GET, "/corp", &root, Value::Null).await);
    answers.push(call(&stage, Method::PATCH, "/corp", &root, json!({ "label": "New" })).await);
    answers.push(call(&stage, Method::POST, "/corp/test", &root, Value::Null).await);
    answers.push(call(&stage, Method::POST, "/test", &root, wish(&op)).await);
    let mut browser = stage.browser_of("root@example.com").await;
    answers.push(browser.open("/admin/providers").await);
    answers.push(browser.open("/admin/providers/corp").await);
    for answer in answers {
        assert!(answer.status.is_success(), "{}", answer.body);
        assert!(!answer.body.contains(SECRET), "{}", answer.body);
        if answer.header("content-type") == "application/json" {
            assert!(!answer.body.contains("client_secret"), "{}", answer.body);
        }
    }
}

#[tokio::test]
async fn a_change_keeps_what_it_does_not_name() {
    let op = Op::start();
    let (stage, root) = house().await;
    let keys = json!({
        "id": "corp", "issuer": op.issuer(), "client_id": op.client_id(),
        "client_secret": op.client_secret(), "label": "Corp",
    });
    call(&stage, Method::POST, "", &root, keys).await;
    set_clock(&op, &stage);
    let changed =
        json!({ "label": "Renamed", "client_secret": null, "allowed_domains": ["example.test"] });
    let changed = call(&stage, Method::PATCH, "/corp", &root, changed).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.body);
    let changed = changed.json();
    assert_eq!((&changed["label"], &changed["has_secret"]), (&json!("Renamed"), &json!(true)));
    assert_eq!(changed["allowed_domains"], json!(["example.test"]));
    let back = stage.browser().sign_in_with("corp", "ann", "").await;
    assert_eq!(back.status, StatusCode::FOUND, "the old secret still holds: {}", back.body);

    let off = call(&stage, Method::PATCH, "/corp", &root, json!({ "enabled": false })).await;
    assert_eq!(off.json()["enabled"], false);
    assert_eq!(stage.get("/api/v1/auth/login/corp").await.status, StatusCode::NOT_FOUND, "f3");
    let gone = call(&stage, Method::DELETE, "/corp", &root, Value::Null).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    for (method, path) in [(Method::GET, "/corp"), (Method::DELETE, "/corp")] {
        let absent = call(&stage, method, path, &root, Value::Null).await;
        assert_eq!(absent.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn seed_004_61_a_new_secret_is_used_at_the_next_sign_in() {
    let op = Op::start();
    let (stage, root) = house().await;
    call(&stage, Method::POST, "", &root, wish(&op)).await;
    set_clock(&op, &stage);
    let wrong = stage.browser().sign_in_with("corp", "ann", "").await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    let rotated = json!({ "client_secret": op.client_secret() });
    call(&stage, Method::PATCH, "/corp", &root, rotated).await;
    let right = stage.browser().sign_in_with("corp", "ann", "").await;
    assert_eq!(right.status, StatusCode::FOUND, "{}", right.body);
}

#[tokio::test]
async fn j2_bad_keys_are_refused_by_name_and_nothing_is_saved() {
    let op = Op::start();
    let (stage, root) = house().await;
    let bad = json!({ "id": "Bad Id", "issuer": "http://id.example.com" });
    let refused = call(&stage, Method::POST, "", &root, bad).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (StatusCode::BAD_REQUEST, "BAD_PROVIDER")
    );
    let errors = refused.json()["errors"].as_array().unwrap().clone();
    let keys: Vec<_> = errors.iter().map(|e| e["key"].as_str().unwrap()).collect();
    assert!(
        keys.contains(&"id") && keys.contains(&"client_id") && keys.contains(&"issuer"),
        "{keys:?}"
    );
    assert!(
        errors.iter().all(|e| !e["message"].as_str().unwrap().is_empty() && e["help"].is_string())
    );

    let unknown = json!({ "id": "x", "role": "admin" });
    let refused = call(&stage, Method::POST, "", &root, unknown).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (StatusCode::BAD_REQUEST, "INVALID_BODY")
    );
    assert!(refused.json()["detail"].as_str().unwrap().contains("unknown field `role`"));
    assert_eq!(call(&stage, Method::GET, "", &root, Value::Null).await.json(), json!([]));

    call(&stage, Method::POST, "", &root, wish(&op)).await;
    let again = call(&stage, Method::POST, "", &root, wish(&op)).await;
    assert_eq!((again.status, again.code().as_str()), (StatusCode::CONFLICT, "PROVIDER_EXISTS"));
    for bad in [json!({ "nonsense": 1 }), json!({ "nonsense": null }), json!({ "id": "other" })] {
        let refused = call(&stage, Method::PATCH, "/corp", &root, bad.clone()).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{bad}");
    }
    let elsewhere = json!({ "redirect_uri": "https://evil.example/cb" });
    let refused = call(&stage, Method::PATCH, "/corp", &root, elsewhere).await;
    assert_eq!(refused.code(), "BAD_PROVIDER", "seed_004_62");
}

#[tokio::test]
async fn seed_004_29_what_stands_outside_is_read_only_and_says_where() {
    let op = Op::start();
    let stage = stage(&op, |s, _| {
        let other = resolved(s, &spec(&op, "env"), ProviderOrigin::Environment);
        s.providers.push(other);
        s.incomplete_providers.push(IncompleteProvider {
            id: "authentik".into(),
            missing: vec!["OAUTH_AUTHENTIK_SLUG".to_owned()],
        });
    })
    .await;
    stage.person("root@example.com", Role::Admin).await;
    let root = stage.token_of("root@example.com").await;
    let list = call(&stage, Method::GET, "", &root, Value::Null).await.json();
    let mut origins: Vec<_> =
        list.as_array().unwrap().iter().map(|p| p["origin"].as_str().unwrap()).collect();
    origins.sort_unstable();
    assert_eq!(origins, ["environment", "file"]);
    assert!(list.as_array().unwrap().iter().all(|p| p["read_only"] == true));
    for (method, body) in [(Method::PATCH, json!({ "label": "x" })), (Method::DELETE, Value::Null)]
    {
        let refused = call(&stage, method, "/env", &root, body).await;
        let answer = (refused.status, refused.code());
        assert_eq!(answer, (StatusCode::CONFLICT, "PROVIDER_READ_ONLY".to_owned()));
    }
    let taken = call(&stage, Method::POST, "", &root, wish(&op)).await;
    assert_eq!(taken.code(), "PROVIDER_EXISTS");

    let mut browser = stage.browser_of("root@example.com").await;
    let page = browser.open("/admin/providers").await;
    assert_eq!(page.body.matches(">read-only<").count(), 3, "{}", page.body);
    assert!(page.body.contains("The environment lacks OAUTH_AUTHENTIK_SLUG."));
    let one = browser.open("/admin/providers/env").await;
    assert!(one.body.contains("Set up in the environment, and read-only here."));
    assert!(!one.body.contains("name=\"client_secret\"") && !one.body.contains("Delete"));
    for action in ["save", "delete", "disable"] {
        let refused = browser.submit("/admin/providers/env", &[("action", action)]).await;
        assert_eq!(refused.status, StatusCode::CONFLICT, "{action}");
        assert!(refused.body.contains("configuration file or the environment"), "{}", refused.body);
    }
}

#[tokio::test]
async fn seed_002_55_a_test_says_what_to_register_and_what_to_fix() {
    let op = Op::start();
    let (stage, root) = house().await;
    call(&stage, Method::POST, "", &root, wish(&op)).await;
    set_clock(&op, &stage);
    let good = call(&stage, Method::POST, "/corp/test", &root, Value::Null).await.json();
    assert_eq!(good["redirect_uri"], format!("{PORTAL}/api/v1/auth/callback/corp"));
    let names: Vec<_> = good["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap().to_owned())
        .collect();
    assert!(
        names.contains(&"discovery".to_owned()) && names.contains(&"keys".to_owned()),
        "{names:?}"
    );
    let status = call(&stage, Method::GET, "/corp", &root, Value::Null).await.json();
    assert_eq!(status["status"]["state"], "up");
    assert!(status["status"]["at"].as_str().unwrap().starts_with("2027-"));

    op.fault(Endpoint::Discovery, Some(OpFault::Status(500)));
    let bad = call(&stage, Method::POST, "/test", &root, wish(&op)).await;
    assert_eq!(bad.status, StatusCode::OK, "{}", bad.body);
    assert_eq!(bad.json()["ok"], false);
    let unknown = call(&stage, Method::POST, "/nope/test", &root, Value::Null).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    let refused = call(&stage, Method::POST, "/test", &root, json!({ "id": "x" })).await;
    assert_eq!(refused.code(), "BAD_PROVIDER");
}

#[tokio::test]
async fn j1_j2_providers_are_for_administrators() {
    let (stage, _) = house().await;
    stage.person("ann@example.com", Role::User).await;
    let ann = stage.token_of("ann@example.com").await;
    let mut browser = stage.browser_of("ann@example.com").await;
    for (method, path) in [
        (Method::GET, ""),
        (Method::POST, ""),
        (Method::GET, "/corp"),
        (Method::PATCH, "/corp"),
        (Method::DELETE, "/corp"),
        (Method::POST, "/corp/test"),
        (Method::POST, "/test"),
    ] {
        let refused = call(&stage, method.clone(), path, &ann, json!({ "x": 1 })).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{method} {path}");
        let nobody = Ask::new(method, &format!("/api/v1/admin/providers{path}")).json(json!({}));
        assert_eq!(stage.send(nobody).await.status, StatusCode::UNAUTHORIZED);
    }
    for page in ["/admin/providers", "/admin/providers/corp"] {
        assert_eq!(browser.open(page).await.status, StatusCode::FORBIDDEN);
        assert_eq!(browser.submit(page, &[("action", "test")]).await.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(browser.open("/setup/oauth").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn seed_004_25_seed_004_26_the_tab_oauth_settings_leads_from_the_settings_to_the_providers() {
    let (stage, _) = house().await;
    let mut browser = stage.browser_of("root@example.com").await;
    assert!(browser.open("/settings").await.body.contains(">Administration</a>"));
    for page in ["/admin/users", "/admin/providers"] {
        let page = browser.open(page).await;
        assert!(
            page.body.contains("href=\"/admin/providers\"")
                && page.body.contains(">OAuth Settings</a>")
        );
        assert!(page.body.contains("href=\"/admin/users\"") && page.body.contains(">Users</a>"));
    }
}

#[tokio::test]
async fn seed_004_19_seed_004_20_seed_004_21_seed_004_22_seed_004_27_authentik_is_set_up_on_the_page()
 {
    let op = Op::builder().issuer_path("/application/o/pantrie/").start();
    let (stage, _) = house().await;
    set_clock(&op, &stage);
    let mut browser = stage.browser_of("root@example.com").await;
    let page = browser.open("/admin/providers").await;
    for label in [
        "<label for=\"base_url\">Authentik Base URL</label>",
        "<label for=\"slug\">Application Slug</label>",
        "<label for=\"client_id\">Client ID</label>",
        "<label for=\"client_secret\">Client Secret</label>",
        "name=\"client_secret\" type=\"password\"",
    ] {
        assert!(page.body.contains(label), "{label}");
    }
    for kind in ["Authentik", "Google", "GitHub", "OpenID Connect"] {
        assert!(page.body.contains(&format!(">{kind}</option>")), "{kind}");
    }
    let uri = format!("{PORTAL}/api/v1/auth/callback/authentik");
    assert!(page.body.contains(&format!(">{uri}</textarea>")), "seed_004_49");

    let fields = |action: &'static str, slug: &'static str| {
        let mut fields = vec![("action", action), ("kind", "authentik"), ("slug", slug)];
        fields.extend([("client_id", op.client_id()), ("client_secret", op.client_secret())]);
        fields.push(("base_url", op.base_url()));
        fields
    };
    let tested = browser.submit("/admin/providers", &fields("test", "pantrie")).await;
    assert_eq!(tested.status, StatusCode::OK, "{}", tested.body);
    assert!(tested.body.contains("Discovery") && tested.body.contains("value=\"pantrie\""));
    assert!(!tested.body.contains(op.client_secret()), "the secret is typed again");
    let refused = browser.submit("/admin/providers", &fields("create", "")).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.body.contains("<strong>Application Slug</strong>"), "{}", refused.body);
    let made = browser.submit("/admin/providers", &fields("create", "pantrie")).await;
    assert_eq!(
        made.location(),
        format!("{PORTAL}/admin/providers/authentik?done=created"),
        "{}",
        made.body
    );
    let page = browser.open("/admin/providers/authentik?done=created").await;
    assert!(page.body.contains(&uri) && !page.body.contains(op.client_secret()));
    assert!(stage.browser().open("/login").await.body.contains("Sign in with Authentik</a>"));
    let back = stage.browser().sign_in_with("authentik", "ann", "").await;
    assert_eq!(back.status, StatusCode::FOUND, "{}", back.body);
}

#[tokio::test]
async fn a_provider_is_changed_tested_switched_and_deleted_on_its_page() {
    let op = Op::start();
    let (stage, root) = house().await;
    let mut keys = wish(&op);
    keys["client_secret"] = op.client_secret().into();
    call(&stage, Method::POST, "", &root, keys).await;
    set_clock(&op, &stage);
    let mut browser = stage.browser_of("root@example.com").await;
    let path = "/admin/providers/corp";
    let saved = format!("{PORTAL}{path}?done=saved");

    let fields = [
        ("action", "save"),
        ("label", "Corporate"),
        ("issuer", op.issuer()),
        ("client_id", op.client_id()),
        ("client_secret", ""),
        ("allowed_domains", "example.test, corp.test"),
        ("trust_email", "on"),
        ("pkce", "on"),
        ("mfa_from", "amr"),
        ("groups", "staff = editors\nops = operators"),
        ("roles", ""),
    ];
    let done = browser.submit(path, &fields).await;
    assert_eq!(done.location(), saved, "{}", done.body);
    let now = call(&stage, Method::GET, "/corp", &root, Value::Null).await.json();
    assert_eq!((&now["label"], &now["mfa_from"]), (&json!("Corporate"), &json!("amr")));
    assert_eq!(now["groups"], json!({ "staff": "editors", "ops": "operators" }));
    assert_eq!(now["allowed_domains"], json!(["example.test", "corp.test"]));
    assert_eq!(stage.browser().sign_in_with("corp", "ann", "").await.status, StatusCode::FOUND);

    let mut bad = fields;
    bad[9] = ("groups", "no pair here");
    let refused = browser.submit(path, &bad).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.body.contains("no pair here") && refused.body.contains("Groups"));

    let tested = browser.submit(path, &[("action", "test")]).await;
    assert!(tested.body.contains("id=\"report\""), "{}", tested.body);
    assert_eq!(browser.submit(path, &[("action", "disable")]).await.location(), saved);
    assert!(!stage.browser().open("/login").await.body.contains("Corporate"));
    assert_eq!(browser.submit(path, &[("action", "enable")]).await.location(), saved);
    assert!(stage.browser().open("/login").await.body.contains("Sign in with Corporate"));
    let gone = browser.submit(path, &[("action", "delete")]).await;
    assert_eq!(gone.location(), format!("{PORTAL}/admin/providers?deleted"));
    assert_eq!(browser.open(path).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn seed_004_49_j8_the_script_that_copies_is_the_only_one_and_its_policy_names_it_alone() {
    let op = Op::start();
    let (stage, root) = house().await;
    call(&stage, Method::POST, "", &root, wish(&op)).await;
    let mut browser = stage.browser_of("root@example.com").await;
    for path in ["/admin/providers", "/admin/providers/corp", "/setup/oauth"] {
        let page = browser.open(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        let policy = page.header("content-security-policy");
        let at = page.body.find("<script src=\"").expect("the script") + 13;
        let script = page.body[at..].split('"').next().unwrap();
        assert!(policy.contains(&format!("script-src {PORTAL}{script};")), "{policy}");
        assert_eq!(page.body.matches("<script").count(), 1);
        assert!(!page.body.contains("onclick") && page.body.contains(">Copy<"));
        let asset = stage.get(script).await;
        assert_eq!(asset.header("content-type"), "text/javascript; charset=utf-8");
    }
    for path in ["/settings", "/admin/users", "/"] {
        let page = browser.open(path).await;
        assert!(!page.header("content-security-policy").contains("script-src"), "{path}");
        assert!(!page.body.contains("<script"));
    }
}

#[tokio::test]
async fn seed_004_17_seed_004_18_seed_004_23_set_up_offers_a_provider_that_can_be_skipped() {
    let stage = Stage::new().await;
    let form = Ask::new(Method::POST, "/setup")
        .header("sec-fetch-site", "same-origin")
        .form(&[("email", "root@example.com"), ("password", PASSWORD)])
        .on_loopback();
    let mut browser = stage.browser();
    let made = browser.send(form).await;
    assert_eq!(made.location(), format!("{PORTAL}/setup/oauth"), "{}", made.body);
    let step = browser.open("/setup/oauth").await;
    assert!(step.body.contains("<h1>OAuth Configuration</h1>"));
    for part in [
        "<li class=\"done\">Administrator</li><li aria-current=\"step\">OAuth Configuration</li><li>Done</li>",
        ">None</option>",
        ">Authentik</option>",
        ">Google</option>",
        ">GitHub</option>",
        ">OpenID Connect</option>",
        "Authentik Base URL",
        "Application Slug",
        "href=\"/setup/done\">Skip</a>",
        ">https://auth.example.com/api/v1/auth/callback/authentik</textarea>",
    ] {
        assert!(step.body.contains(part), "{part}: {}", step.body);
    }
    let none = browser.submit("/setup/oauth", &[("action", "save"), ("kind", "")]).await;
    assert_eq!(none.location(), format!("{PORTAL}/setup/done"));
    let done = browser.open("/setup/done").await;
    assert!(done.body.contains("<h1>Done</h1>"));
    assert_eq!(stage.get("/api/v1/auth/config").await.json()["oauth_providers"], json!([]));
}

#[tokio::test]
async fn seed_004_18_set_up_tests_and_saves_the_provider_that_was_chosen() {
    let op = Op::start();
    let (stage, _) = house().await;
    set_clock(&op, &stage);
    let mut browser = stage.browser_of("root@example.com").await;
    let fields = |action: &'static str, issuer: &str| {
        [
            ("action", action.to_owned()),
            ("kind", "oidc".to_owned()),
            ("issuer", issuer.to_owned()),
            ("client_id", op.client_id().to_owned()),
            ("client_secret", op.client_secret().to_owned()),
        ]
    };
    let tested = fields("test", op.issuer());
    let tested: Vec<_> = tested.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let page = browser.submit("/setup/oauth", &tested).await;
    assert!(
        page.body.contains("id=\"report\"") && page.body.contains("Discovery"),
        "{}",
        page.body
    );
    assert!(page.body.contains(&format!("value=\"{}\"", op.issuer())), "what was typed stays");
    let bad = fields("save", "ftp://nowhere");
    let bad: Vec<_> = bad.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let page = browser.submit("/setup/oauth", &bad).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(page.body.contains("Issuer URL"));
    let good = fields("save", op.issuer());
    let good: Vec<_> = good.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let saved = browser.submit("/setup/oauth", &good).await;
    assert_eq!(saved.location(), format!("{PORTAL}/setup/done?provider=oidc"), "{}", saved.body);
    let done = browser.open("/setup/done?provider=oidc").await;
    assert!(done.body.contains("is set up"), "{}", done.body);
    assert_eq!(stage.browser().sign_in_with("oidc", "ann", "").await.status, StatusCode::FOUND);
}

#[tokio::test]
async fn on_a_shared_host_set_up_asks_for_a_recent_sign_in_instead_of_being_gone() {
    let stage = Stage::with(|s| {
        let access = crate::configuration::signed_in();
        s.routes.push(crate::configuration::route("home", "auth.example.com", access));
    })
    .await;
    stage.person("root@example.com", Role::Admin).await;
    let mut browser = stage.browser_of("root@example.com").await;
    let step = browser.open("/.vestibule/setup/oauth").await;
    assert_eq!(step.status, StatusCode::OK);
    assert!(step.body.contains("action=\"/.vestibule/setup/oauth\""), "{}", step.body);
    assert!(browser.open("/.vestibule/admin/providers").await.status == StatusCode::OK);
    stage.pass_time(std::time::Duration::from_secs(301));
    for page in ["/.vestibule/setup/oauth", "/.vestibule/admin/providers"] {
        let again = browser.open(page).await;
        assert!(again.location().ends_with("&step=reauth"), "{page}: {}", again.status);
    }
}
