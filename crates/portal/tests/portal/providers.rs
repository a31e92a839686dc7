//! Signing in at providers: the way there, every form of the way back, and what is refused.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;

use vestibule_core::account::{Role, Status};
use vestibule_core::secret::Secret;
use vestibule_core::settings::auth::{Admin, Mode};
use vestibule_core::settings::provider::ProviderOrigin;
use vestibule_core::settings::provider::spec::ProviderSpec;
use vestibule_testkit::provider::{Endpoint, Op, OpFault, Person};

use crate::op::{at_provider, query, resolved, spec, stage};
use crate::stage::{APP, Ask, PASSWORD, PORTAL, Stage, encode};

const HOST: &str = "auth.example.com";
const SESSION: &str = "__Host-vestibule";
const FLOW: &str = "__Host-vestibule-flow-provider";

#[tokio::test]
async fn seed_001_19_seed_000_34_seed_004_36_each_provider_has_its_button_and_stands_in_config() {
    let (plex, authelia) = (Op::start(), Op::start());
    let stage = Stage::with(|s| {
        for (op, id, label) in [(&plex, "plex", "Plex"), (&authelia, "authelia", "Authelia")] {
            let spec = ProviderSpec { label: Some(label.to_owned()), ..spec(op, id) };
            s.providers.push(resolved(s, &spec, ProviderOrigin::Environment));
        }
    })
    .await;
    let page = stage.browser().open("/login?rd=%2Fsettings").await;
    for (id, label) in [("plex", "Plex"), ("authelia", "Authelia")] {
        let link =
            format!("href=\"/api/v1/auth/login/{id}?rd=%2Fsettings\">Sign in with {label}</a>");
        assert_eq!(page.body.matches(&link).count(), 1, "{}", page.body);
    }
    assert!(page.body.contains("type=\"password\""), "seed_001_02: both methods side by side");
    let config = stage.get("/api/v1/auth/config").await.json();
    let listed =
        json!([{ "id": "plex", "label": "Plex" }, { "id": "authelia", "label": "Authelia" }]);
    assert_eq!(config["oauth_providers"], listed, "seed_001_15: in that order");
}

#[tokio::test]
async fn seed_001_14_without_passwords_only_the_buttons_stand_there() {
    let op = Op::start();
    let stage = stage(&op, |s, _| s.auth.password.enabled = false).await;
    let page = stage.browser().open("/login").await;
    assert!(!page.body.contains("<form") && page.body.contains("Sign in with Corp"));
    assert!(!page.body.contains("no other way"), "{}", page.body);
}

#[tokio::test]
async fn seed_000_31_seed_004_37_seed_004_38_seed_004_39_the_button_leads_there_and_back_to_rd() {
    let op = Op::start();
    let stage = stage(&op, |_, _| {}).await;
    let mut browser = stage.browser();
    let rd = "https://app.example.com/a?b=c";
    let start = browser.start_with("corp", rd).await;
    assert_eq!(start.status, StatusCode::FOUND, "{}", start.body);
    assert!(start.location().starts_with(&op.url(Endpoint::Authorize)), "{}", start.location());
    let asked = query(start.location());
    assert_eq!(asked["redirect_uri"], format!("{PORTAL}/api/v1/auth/callback/corp"));
    assert_eq!(asked["code_challenge_method"], "S256");
    assert!(asked["state"].len() > 40 && asked["nonce"].len() > 40);
    assert_eq!(start.header("cache-control"), "no-store");
    assert_eq!(start.header("referrer-policy"), "no-referrer");
    let cookies = start.set_cookies();
    let flow = cookies.iter().find(|c| c.starts_with(FLOW)).expect("the flow cookie");
    for part in ["; Path=/", "; HttpOnly", "; SameSite=Lax", "; Secure", "; Max-Age=600"] {
        assert!(flow.contains(part), "{flow}");
    }
    assert!(browser.cookie(HOST, SESSION).is_none());

    let callback = at_provider(start.location(), "ann");
    let back = browser.open_from_outside(&callback).await;
    assert_eq!(back.status, StatusCode::FOUND, "{}", back.body);
    assert_eq!(back.location(), format!("{APP}/.vestibule/start?rd={}", encode(rd)));
    assert_eq!(back.header("cache-control"), "no-store");
    assert!(browser.cookie(HOST, SESSION).is_some());
    assert!(browser.cookie(HOST, "__Host-vestibule-device").is_some());
    let (visited, _) = browser.follow(back.location()).await;
    assert_eq!(visited.last().unwrap(), rd);
    let me = browser.send(Ask::new(Method::GET, "/api/v1/auth/me")).await.json();
    assert_eq!((&me["email"], &me["email_verified"]), (&json!("ann@example.test"), &json!(true)));
}

#[tokio::test]
async fn seed_001_39_g6_an_answer_is_taken_once_and_in_its_own_browser_only() {
    let op = Op::start();
    let stage = stage(&op, |_, _| {}).await;
    let mut browser = stage.browser();
    let start = browser.start_with("corp", "").await;
    let callback = at_provider(start.location(), "ann");
    let mut thief = stage.browser();
    thief.start_with("corp", "").await;
    let stolen = thief.open_from_outside(&callback).await;
    assert_eq!(stolen.status, StatusCode::UNAUTHORIZED);
    assert!(!thief.is_signed_in().await && op.exchanged().is_empty(), "no token was asked for");
    let stateless = callback.split("state=").next().unwrap().to_owned() + "x=y";
    assert_eq!(browser.open_from_outside(&stateless).await.status, StatusCode::UNAUTHORIZED);

    assert_eq!(browser.open_from_outside(&callback).await.status, StatusCode::FOUND);
    let before = browser.jar.clone();
    browser.jar.get_mut(HOST).unwrap().remove(SESSION);
    let again = browser.open_from_outside(&callback).await;
    assert_eq!(again.status, StatusCode::UNAUTHORIZED);
    assert!(again.body.contains("Failed to authenticate"));
    assert!(browser.cookie(HOST, SESSION).is_none());
    browser.jar = before;
    assert!(browser.is_signed_in().await, "what came of the first time stays");
}

#[tokio::test]
async fn parallel_tabs_each_finish() {
    let op = Op::start();
    let stage = stage(&op, |_, _| {}).await;
    let mut browser = stage.browser();
    let first = browser.start_with("corp", "/settings").await;
    let second = browser.start_with("corp", "/api-keys").await;
    for (start, to) in [(first, "/settings"), (second, "/api-keys")] {
        let back = browser.open_from_outside(&at_provider(start.location(), "ann")).await;
        assert_eq!(back.location(), format!("{PORTAL}{to}"), "{}", back.body);
    }
}

#[tokio::test]
async fn seed_001_20_seed_002_28_seed_002_56_seed_002_57_seed_004_08_every_form_of_callback_is_answered()
 {
    for path in [
        "/api/v1/auth/callback/corp",
        "/v1/auth/callback/corp",
        "/gate/v1/auth/callback/corp",
        "/api/auth/oidc/corp/callback",
        "/api/v1/auth/oauth/corp/callback",
        "/sso/back",
        "/api/v1/auth/callback/another-name",
        "/login",
    ] {
        let op = Op::start();
        let stage = stage(&op, |s, spec| {
            s.server.api_prefix = "/gate".to_owned();
            spec.redirect_uri = Some(format!("{PORTAL}{path}"));
        })
        .await;
        let mut browser = stage.browser();
        let start = browser.start_with("corp", "").await;
        assert_eq!(query(start.location())["redirect_uri"], format!("{PORTAL}{path}"));
        let callback = at_provider(start.location(), "ann");
        assert!(callback.starts_with(&format!("{PORTAL}{path}?")), "{callback}");
        // The same answer at another form first: refused, and this browser stays out.
        let elsewhere = callback.replace(path, "/api/v1/auth/oauth/corp/callback/");
        assert_ne!(browser.open_from_outside(&elsewhere).await.status, StatusCode::FOUND);
        let back = browser.open_from_outside(&callback).await;
        assert_eq!(back.status, StatusCode::FOUND, "{path}: {}", back.body);
        assert!(browser.is_signed_in().await, "{path}");
        assert_eq!(op.exchanged()[0].get("redirect_uri"), Some(&*format!("{PORTAL}{path}")));
    }
}

#[tokio::test]
async fn a_callback_on_another_form_than_the_one_sent_is_refused() {
    let op = Op::start();
    let stage = stage(&op, |_, _| {}).await;
    for path in ["/api/auth/oidc/corp/callback", "/v1/auth/callback/corp"] {
        let mut browser = stage.browser();
        let start = browser.start_with("corp", "").await;
        let callback = at_provider(start.location(), "ann");
        let other = callback.replace("/api/v1/auth/callback/corp", path);
        let refused = browser.open_from_outside(&other).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(refused.header("x-vestibule"), "PROVIDER_SIGNIN_FAILED");
    }
    assert!(op.exchanged().is_empty());
}

#[tokio::test]
async fn a_page_of_ours_that_is_a_redirect_uri_too_stays_a_page() {
    let op = Op::start();
    let stage = stage(&op, |_, spec| spec.redirect_uri = Some(format!("{PORTAL}/login"))).await;
    let page = stage.browser().open("/login").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("<h1>Sign in</h1>"));
}

#[tokio::test]
async fn g9_repeated_parameters_and_forms_are_400_and_use_nothing_up() {
    let op = Op::start();
    let stage = stage(&op, |_, _| {}).await;
    let mut browser = stage.browser();
    let start = browser.start_with("corp", "").await;
    let callback = at_provider(start.location(), "ann");
    for more in ["&code=x", "&state=x", "&iss=x", "&iss=y&iss=z", "&error=x&error=y", "&c%6Fde=x"] {
        let repeated = if more == "&iss=x" {
            format!("{callback}&iss=1&iss=2")
        } else {
            format!("{callback}{more}")
        };
        let refused = browser.open_from_outside(&repeated).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{more}");
        assert_eq!(refused.header("x-vestibule"), "BAD_REQUEST");
        assert!(refused.header("content-type").starts_with("text/html"), "people came here");
    }
    for path in [
        "/api/v1/auth/callback/corp",
        "/v1/auth/callback/corp",
        "/api/auth/oidc/corp/callback",
        "/api/v1/auth/oauth/corp/callback",
    ] {
        let form = Ask::new(Method::POST, path)
            .header("origin", op.base_url())
            .header("sec-fetch-site", "cross-site")
            .form(&[("code", "x"), ("state", "y")]);
        let refused = browser.send(form).await;
        let answer = (refused.status, refused.code());
        assert_eq!(answer, (StatusCode::BAD_REQUEST, "BAD_REQUEST".to_owned()), "{path}");
    }
    let ahead = browser.send(Ask::new(Method::HEAD, &callback)).await;
    assert_eq!(ahead.status, StatusCode::METHOD_NOT_ALLOWED);
    let odd = format!("{callback}&session_state=a&scope=b&access_token=c&id_token=d");
    let back = browser.open_from_outside(&odd).await;
    assert_eq!(back.status, StatusCode::FOUND, "other parameters mean nothing: {}", back.body);
}

#[tokio::test]
async fn asvs_7_6_2_no_frame_and_no_script_begins_a_sign_in() {
    let op = Op::start();
    let stage = stage(&op, |_, _| {}).await;
    for (mode, dest) in
        [("navigate", "iframe"), ("navigate", "frame"), ("cors", "empty"), ("no-cors", "image")]
    {
        let ask = Ask::new(Method::GET, "/api/v1/auth/login/corp")
            .header("sec-fetch-mode", mode)
            .header("sec-fetch-dest", dest);
        let refused = stage.send(ask).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{mode} {dest}");
        assert!(refused.set_cookies().is_empty());
    }
    assert_eq!(stage.get("/api/v1/auth/login/corp").await.status, StatusCode::FOUND);
}

#[tokio::test]
async fn seed_004_45_seed_000_39_an_unknown_or_disabled_provider_is_404_for_people_and_programs() {
    let op = Op::start();
    let stage = stage(&op, |_, spec| spec.enabled = Some(false)).await;
    for path in ["/api/v1/auth/login/corp", "/api/v1/auth/login/nope", "/api/v1/auth/callback/nope"]
    {
        let refused = stage.get(path).await;
        let answer = (refused.status, refused.code());
        assert_eq!(answer, (StatusCode::NOT_FOUND, "PROVIDER_NOT_CONFIGURED".to_owned()), "{path}");
        let page = stage.browser().open(path).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND);
        assert!(page.body.contains("OAuth provider not configured"), "{}", page.body);
        assert_eq!(page.header("x-vestibule"), "PROVIDER_NOT_CONFIGURED");
    }
    assert_eq!(stage.get("/api/v1/auth/config").await.json()["oauth_providers"], json!([]));
    assert!(!stage.browser().open("/login").await.body.contains("Corp"));
}

#[tokio::test]
async fn seed_002_06_modes_admin_and_none_have_no_providers() {
    let op = Op::start();
    for mode in [Mode::Admin, Mode::None] {
        let stage = stage(&op, |s, _| {
            s.auth.mode = mode;
            s.auth.admin = Some(Admin {
                email: "root@example.com".into(),
                password: Secret::new(PASSWORD),
                is_documented_default: false,
            });
        })
        .await;
        for path in ["/api/v1/auth/login/corp", "/api/v1/auth/callback/corp?code=a&state=b"] {
            assert_eq!(stage.get(path).await.code(), "PROVIDER_NOT_CONFIGURED", "{path}");
        }
        let form = Ask::new(Method::POST, "/api/v1/auth/backchannel-logout/corp")
            .form(&[("logout_token", "x")]);
        assert_eq!(stage.send(form).await.status, StatusCode::NOT_FOUND);
        assert_eq!(stage.get("/api/v1/auth/config").await.json()["oauth_providers"], json!([]));
        let page = stage.browser().open("/login").await;
        assert!(!page.body.contains("Sign in with"));
    }
}

#[tokio::test]
async fn seed_004_52_seed_002_58_a_failed_sign_in_is_a_page_that_says_what_to_do() {
    let op = Op::start();
    let stage = stage(&op, |_, spec| spec.client_secret = Some(Secret::new("wrong-secret"))).await;
    let mut browser = stage.browser();
    let page = browser.sign_in_with("corp", "ann", "").await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    assert_eq!(page.header("x-vestibule"), "PROVIDER_SIGNIN_FAILED");
    assert!(page.body.contains("<h1>Failed to authenticate</h1>"), "{}", page.body);
    assert!(page.body.contains(&format!("href=\"{PORTAL}/login\"")), "a link back");
    assert!(page.body.contains(page.header("x-request-id")));
    assert_eq!(page.header("cache-control"), "no-store");
    assert!(browser.cookie(HOST, SESSION).is_none());

    let start = browser.start_with("corp", "").await;
    let callback = at_provider(start.location(), "ann");
    let json = browser.send(Ask::new(Method::GET, &callback)).await;
    assert_eq!(json.status, StatusCode::UNAUTHORIZED);
    assert_eq!(json.json()["title"], "Failed to authenticate");
    assert_eq!(json.json()["code"], "PROVIDER_SIGNIN_FAILED");
    assert_eq!(json.json()["login_url"], format!("{PORTAL}/login"));
}

#[tokio::test]
async fn seed_004_65_whoever_declines_gets_a_page_and_no_session() {
    let op = Op::start();
    let stage = stage(&op, |_, _| {}).await;
    op.answers_error(Some("access_denied"));
    let mut browser = stage.browser();
    let page = browser.sign_in_with("corp", "ann", "").await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert_eq!(page.header("x-vestibule"), "PROVIDER_DENIED");
    assert!(page.body.contains("Sign-in was declined"));
    assert!(browser.cookie(HOST, SESSION).is_none());
}

#[tokio::test]
async fn seed_002_29_an_address_of_another_domain_is_refused_by_name() {
    let op = Op::start();
    let stage = stage(&op, |_, spec| spec.allowed_domains = Some(vec!["corp.test".into()])).await;
    op.person(Person::new("bob").email("bob@corp.test", true));
    let page = stage.browser().sign_in_with("corp", "ann", "").await;
    assert_eq!(
        (page.status, page.header("x-vestibule")),
        (StatusCode::FORBIDDEN, "EMAIL_DOMAIN_NOT_ALLOWED")
    );
    assert!(page.body.contains("This email domain is not allowed"));
    assert_eq!(stage.browser().sign_in_with("corp", "bob", "").await.status, StatusCode::FOUND);
}

#[tokio::test]
async fn where_nobody_new_comes_in_a_stranger_is_told_so() {
    let op = Op::start();
    let stage = stage(&op, |s, _| s.auth.provider_signup = false).await;
    let page = stage.browser().sign_in_with("corp", "ann", "").await;
    assert_eq!(
        (page.status, page.header("x-vestibule")),
        (StatusCode::FORBIDDEN, "SIGNUP_DISABLED")
    );
    assert!(page.body.contains("Sign-up is off") && page.body.contains("Ask your administrator"));
}

#[tokio::test]
async fn a_disabled_account_stays_out() {
    let op = Op::start();
    let stage = stage(&op, |_, _| {}).await;
    stage.person("root@example.com", Role::Admin).await;
    let mut browser = stage.browser();
    browser.sign_in_with("corp", "ann", "").await;
    let me = browser.send(Ask::new(Method::GET, "/api/v1/auth/me")).await.json();
    let id = me["id"].as_str().unwrap().parse().unwrap();
    let (actor, now) = (stage.actor(), stage.now());
    stage.authn.set_status(id, Status::Disabled, &actor, now).await.unwrap();
    let page = stage.browser().sign_in_with("corp", "ann", "").await;
    assert_eq!(
        (page.status, page.header("x-vestibule")),
        (StatusCode::FORBIDDEN, "ACCOUNT_DISABLED")
    );
}

#[tokio::test]
async fn seed_001_49_seed_001_44_a_new_person_waits_for_approval() {
    let op = Op::start();
    let stage = stage(&op, |s, _| s.auth.approval = true).await;
    stage.person("root@example.com", Role::Admin).await;
    let mut browser = stage.browser();
    let back = browser.sign_in_with("corp", "ann", "https://app.example.com/x").await;
    assert_eq!(back.location(), format!("{PORTAL}/pending"));
    assert!(browser.open("/pending").await.body.contains("Awaiting approval"));
}

#[tokio::test]
async fn f1_a_sign_in_replaces_the_session_the_browser_had() {
    let op = Op::start();
    let stage = stage(&op, |_, _| {}).await;
    stage.person("bob@example.com", Role::User).await;
    let mut browser = stage.browser_of("bob@example.com").await;
    let old = browser.jar.clone();
    let back = browser.sign_in_with("corp", "ann", "").await;
    assert_eq!(back.location(), format!("{PORTAL}/"));
    assert_ne!(browser.cookie(HOST, SESSION), old[HOST].get(SESSION).cloned());
    browser.jar = old;
    assert!(!browser.is_signed_in().await, "the old token is dead");
}

#[tokio::test]
async fn e1_a_return_that_is_not_ours_leads_to_the_start() {
    let op = Op::start();
    let stage = stage(&op, |s, _| s.auth.rate_limit = None).await;
    for evil in [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "https:evil.example",
        "javascript:alert(1)",
        "https://app.example.com@evil.example/",
        "https://app.example.com.evil.example/",
        "/x\r\nset-cookie: a=b",
        "https://auth.example.com/logout",
    ] {
        let back = stage.browser().sign_in_with("corp", "ann", evil).await;
        assert_eq!(back.location(), format!("{PORTAL}/"), "{evil}");
    }
}

#[tokio::test]
async fn seed_004_02_a_provider_that_is_down_keeps_its_button_and_says_so() {
    let op = Op::start();
    let stage = stage(&op, |_, _| {}).await;
    op.fault(Endpoint::Discovery, Some(OpFault::Down));
    let page = stage.browser().start_with("corp", "/settings").await;
    assert_eq!(
        (page.status, page.header("x-vestibule")),
        (StatusCode::UNAUTHORIZED, "PROVIDER_SIGNIN_FAILED")
    );
    assert!(page.body.contains("/login?rd=%2Fsettings"), "rd is kept: {}", page.body);
    let login = stage.browser().open("/login").await;
    assert!(login.body.contains("Sign in with Corp</a>"), "{}", login.body);
    assert!(login.body.contains("Corp does not answer at the moment."));
    assert_eq!(stage.get("/api/v1/auth/config").await.json()["oauth_providers"][0]["id"], "corp");
}

#[tokio::test]
async fn seed_000_47_on_a_shared_host_the_callback_is_ours_and_pages_keep_their_prefix() {
    let op = Op::start();
    let stage = stage(&op, |s, _| {
        let access = crate::configuration::signed_in();
        s.routes.push(crate::configuration::route("home", HOST, access));
    })
    .await;
    let mut browser = stage.browser();
    let login = browser.open("/.vestibule/login").await;
    assert!(login.body.contains("href=\"/api/v1/auth/login/corp\""));
    let back = browser.sign_in_with("corp", "ann", &format!("{PORTAL}/app/x")).await;
    assert_eq!(back.location(), format!("{PORTAL}/app/x"), "one cookie serves both");
    assert!(browser.is_signed_in().await);
    op.answers_error(Some("access_denied"));
    let page = stage.browser().sign_in_with("corp", "ann", "").await;
    assert!(page.body.contains(&format!("href=\"{PORTAL}/.vestibule/login\"")), "{}", page.body);
    let back = browser.sign_in_with("corp", "ann", "").await;
    assert_eq!(back.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn every_sign_in_counts_against_the_client() {
    let op = Op::start();
    let stage = stage(&op, |s, _| {
        let window = Duration::from_secs(900);
        s.auth.rate_limit = Some(vestibule_core::api_key::RateLimit { requests: 3, window });
    })
    .await;
    let mut browser = stage.browser();
    assert_eq!(browser.sign_in_with("corp", "ann", "").await.status, StatusCode::FOUND);
    assert_eq!(browser.start_with("corp", "").await.status, StatusCode::FOUND);
    let over = browser.start_with("corp", "").await;
    assert_eq!(over.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(
        over.header("content-type").starts_with("text/html")
            && !over.header("retry-after").is_empty()
    );
}

#[tokio::test]
async fn reauth_by_the_provider_renews_the_session_of_an_account_without_password() {
    let op = Op::start();
    let stage = stage(&op, |_, _| {}).await;
    let mut browser = stage.browser();
    browser.sign_in_with("corp", "ann", "").await;
    let rd = encode("https://app.example.com/x");
    let page = browser.open(&format!("/login?rd={rd}&step=reauth")).await;
    assert!(page.body.contains("Confirm it is you") && !page.body.contains("type=\"password\""));
    let link = format!("href=\"/api/v1/auth/login/corp?rd={rd}&#38;step=reauth\"");
    assert!(page.body.contains(&link), "{}", page.body);
    let old = browser.cookie(HOST, SESSION);
    let start = browser.open(&format!("/api/v1/auth/login/corp?rd={rd}&step=reauth")).await;
    let back = browser.open_from_outside(&at_provider(start.location(), "ann")).await;
    assert_eq!(back.location(), format!("{APP}/.vestibule/start?rd={rd}"), "{}", back.body);
    assert_ne!(browser.cookie(HOST, SESSION), old, "f1");
    assert!(browser.is_signed_in().await);

    let start = browser.open("/api/v1/auth/login/corp?step=reauth").await;
    let other = browser.open_from_outside(&at_provider(start.location(), "bob")).await;
    assert_eq!(other.status, StatusCode::UNAUTHORIZED, "somebody else confirms nothing");
    let me = browser.send(Ask::new(Method::GET, "/api/v1/auth/me")).await.json();
    assert_eq!(me["email"], "ann@example.test");
}

#[tokio::test]
async fn reauth_offers_only_what_the_account_signs_in_with() {
    let op = Op::start();
    let stage = stage(&op, |_, _| {}).await;
    stage.person("bob@example.com", Role::User).await;
    let page = stage.browser_of("bob@example.com").await.open("/login?step=reauth").await;
    assert!(page.body.contains("type=\"password\"") && !page.body.contains("Sign in with Corp"));
}

#[tokio::test]
async fn seed_004_68_a_second_factor_is_asked_for_where_the_provider_tells_of_one() {
    let op = Op::start();
    let stage = stage(&op, |_, spec| spec.mfa_from = Some("amr".to_owned())).await;
    let mut browser = stage.browser();
    browser.sign_in_with("corp", "ann", "").await;
    let page = browser.open("/login?step=mfa&rd=%2Fsettings").await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert!(page.body.contains("A second factor is needed"));
    assert!(
        page.body.contains("/api/v1/auth/login/corp?rd=%2Fsettings&#38;step=mfa"),
        "{}",
        page.body
    );
    op.person(Person::new("ann").claim("amr", json!(["pwd", "otp", "mfa"])));
    let start = browser.open("/api/v1/auth/login/corp?rd=%2Fsettings&step=mfa").await;
    let back = browser.open_from_outside(&at_provider(start.location(), "ann")).await;
    assert_eq!(back.location(), format!("{PORTAL}/settings"), "{}", back.body);
    let done = browser.open("/login?step=mfa&rd=%2Fsettings").await;
    assert_eq!(done.location(), format!("{PORTAL}/settings"), "no loop");
}

#[tokio::test]
async fn a_provider_that_tells_of_no_second_factor_is_not_offered_for_one() {
    let op = Op::start();
    let stage = stage(&op, |_, _| {}).await;
    let mut browser = stage.browser();
    browser.sign_in_with("corp", "ann", "").await;
    let page = browser.open("/login?step=mfa").await;
    assert!(page.status == StatusCode::FORBIDDEN && !page.body.contains("Sign in with Corp"));
}

#[tokio::test]
async fn j8_what_a_provider_says_is_inert() {
    let op = Op::start();
    let evil = "<script>alert(1)</script>\"'><img src=x>";
    let stage = stage(&op, |_, spec| spec.label = Some("Corp <b>&".to_owned())).await;
    op.person(Person::new("ann").claim("name", evil).claim("preferred_username", evil));
    let mut browser = stage.browser();
    let back = browser.sign_in_with("corp", "ann", "").await;
    assert_eq!(back.status, StatusCode::FOUND, "{}", back.body);
    for page in ["/", "/settings"] {
        let page = browser.open(page).await;
        assert!(
            !page.body.contains("<script>alert") && !page.body.contains("<img"),
            "{}",
            page.body
        );
    }
    let url = format!(
        "/api/v1/auth/callback/corp?error={0}&error_description={0}&state={0}",
        encode(evil)
    );
    let page = stage.browser().open_from_outside(&url).await;
    assert!(!page.body.contains("alert(1)"), "{}", page.body);
    assert!(!stage.browser().open("/login").await.body.contains("<b>"));
}
