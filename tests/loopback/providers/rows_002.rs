//! Rows of 002, Everruns, about providers: Google and GitHub by variables, and callbacks under a
//! base and a prefix.

use serde_json::json;
use vestibule_testkit::github::{Github, GithubUser};
use vestibule_testkit::provider::{ClientAuth, Op, Person};
use vestibule_testkit::{Actor, Gateway, GatewayBuilder, Recorded, Recorder, Route};

use super::{addresses, reason};
use crate::rows::{HEX_SECRET, by_variables_alone, code};

const BASE: &str = "https://your-domain.com";
const HOST: &str = "your-domain.com";

/// Google and GitHub as the document configures them; the file says only where they are.
struct Everruns {
    google: Op,
    github: Github,
    app: Recorder,
}

impl Everruns {
    fn new() -> Self {
        let google = Op::builder().client("google-client", Some("google-secret")).start();
        google.describe(json!({ "end_session_endpoint": null }));
        Self { google, github: Github::start(), app: Recorder::start() }
    }

    fn builder(&self, variables: &[(&str, &str)]) -> GatewayBuilder {
        let mut all = vec![
            ("VESTIBULE_PROFILE", "everruns"),
            ("AUTH_MODE", "full"),
            ("AUTH_JWT_SECRET", HEX_SECRET),
            ("AUTH_GOOGLE_CLIENT_ID", "google-client"),
            ("AUTH_GOOGLE_CLIENT_SECRET", "google-secret"),
            ("AUTH_GITHUB_CLIENT_ID", Github::CLIENT_ID),
            ("AUTH_GITHUB_CLIENT_SECRET", self.github.client_secret()),
        ];
        all.extend_from_slice(variables);
        by_variables_alone(&all)
            .toml(&format!(
                "[[provider]]\nid = \"google\"\nkind = \"google\"\nissuer = \"{}\"\n\
                 [[provider]]\nid = \"github\"\nkind = \"github\"\nbase_url = \"{}\"\n",
                self.google.issuer(),
                self.github.base_url()
            ))
            .route(Route::new("everruns", HOST).upstream(self.app.url()).access("signed-in"))
    }

    fn person(&self, gateway: &Gateway, origin: &str, name: &str) -> Actor {
        Actor::new(gateway.client(), origin, HOST).known_as(name)
    }
}

#[track_caller]
fn enters(actor: &mut Actor, provider: &str) -> serde_json::Value {
    let landing = actor.sign_in_with(provider, "");
    assert_eq!(landing.response.status, 200, "{:?} {:?}", landing.visited, landing.response);
    actor.api("GET", "/me", None).expect(200).json()
}

#[test]
fn seed_002_08_seed_002_25_seed_002_26_seed_002_30_seed_002_31_seed_002_33_seed_002_34_seed_002_56_google_and_github_by_their_variables()
 {
    let stage = Everruns::new();
    let gateway = stage.builder(&[("AUTH_BASE_URL", BASE)]).start();
    stage.github.user(GithubUser::new(7, "hubber"));
    let mut ann = stage.person(&gateway, BASE, "ann");
    let told = ann.api("GET", "/config", None).expect(200).json();
    let due = json!([{ "id": "google", "label": "Google" }, { "id": "github", "label": "GitHub" }]);
    let mut offered = told["oauth_providers"].as_array().unwrap().clone();
    offered.sort_by_key(|one| std::cmp::Reverse(one["id"].as_str().unwrap().to_owned()));
    assert_eq!(json!(offered), due, "002-08");

    assert_eq!(enters(&mut ann, "google")["email"], "ann@example.test");
    let asked = &stage.google.asked()[0];
    assert_eq!(asked.get("client_id"), Some("google-client"), "002-25");
    let uri = "https://your-domain.com/v1/auth/callback/google";
    assert_eq!(asked.get("redirect_uri"), Some(uri), "002-56");
    let exchanged = &stage.google.exchanged()[0];
    assert_ne!(exchanged.auth, ClientAuth::None, "002-26");
    assert_eq!(exchanged.error, None, "002-26");
    assert_eq!(exchanged.get("redirect_uri"), Some(uri));

    let mut hubber = stage.person(&gateway, BASE, "hubber");
    assert_eq!(enters(&mut hubber, "github")["email"], "hubber@example.test");
    let asked = &stage.github.asked()[0];
    assert_eq!(asked.get("client_id"), Some(Github::CLIENT_ID), "002-30");
    let uri = "https://your-domain.com/v1/auth/callback/github";
    assert_eq!(asked.get("redirect_uri"), Some(uri), "002-56");
    assert_eq!(stage.github.exchanged()[0].error, None, "002-31");
    let is_callback = |seen: &Recorded| seen.target.contains("callback");
    assert!(!stage.app.requests().iter().any(is_callback), "002-56: callbacks are the portal's");
}

#[test]
fn seed_002_57_the_prefix_is_part_of_the_callback() {
    for (prefix, base) in [("/api", BASE), ("/api/", "https://your-domain.com/")] {
        let stage = Everruns::new();
        let gateway = stage.builder(&[("AUTH_BASE_URL", base), ("API_PREFIX", prefix)]).start();
        let mut ann = stage.person(&gateway, BASE, "ann");
        enters(&mut ann, "google");
        let asked = &stage.google.asked()[0];
        let uri = "https://your-domain.com/api/v1/auth/callback/google";
        assert_eq!(asked.get("redirect_uri"), Some(uri), "002-57: {prefix} {base}");
    }
}

#[test]
fn seed_002_11_seed_002_12_without_a_base_the_documents_default_holds() {
    let stage = Everruns::new();
    let mut gateway = stage.builder(&[]).start();
    let local = "http://localhost:9300";
    let mut ann = stage.person(&gateway, local, "ann");
    let start = ann.start_with("google", "").expect(302);
    let uri = vestibule_testkit::parameter(start.location(), "redirect_uri");
    assert_eq!(uri.as_deref(), Some("http://localhost:9300/api/v1/auth/callback/google"), "002-12");
    let _ = gateway.wait_log(&["AUTH_BASE_URL"]);
    enters(&mut ann, "google");
}

#[test]
fn seed_002_28_seed_002_32_a_redirect_uri_of_ones_own_is_sent_and_answered() {
    let stage = Everruns::new();
    stage.github.user(GithubUser::new(7, "hubber"));
    let (google, github) =
        ("https://your-domain.com/custom/google-back", "https://your-domain.com/hub");
    let gateway = stage
        .builder(&[
            ("AUTH_BASE_URL", BASE),
            ("AUTH_GOOGLE_REDIRECT_URI", google),
            ("AUTH_GITHUB_REDIRECT_URI", github),
        ])
        .start();
    let mut ann = stage.person(&gateway, BASE, "ann");
    enters(&mut ann, "google");
    assert_eq!(stage.google.asked()[0].get("redirect_uri"), Some(google), "002-28");
    let mut hubber = stage.person(&gateway, BASE, "hubber");
    enters(&mut hubber, "github");
    assert_eq!(stage.github.asked()[0].get("redirect_uri"), Some(github), "002-32");
    // The path is the portal's and nothing below or beside it.
    let _ = ann.get(&format!("{BASE}/custom/google-back-more"));
    assert_eq!(stage.app.last().target, "/custom/google-back-more");
}

#[test]
fn seed_002_29_seed_002_73_domains_of_google_are_a_list() {
    let stage = Everruns::new();
    let gateway = stage
        .builder(&[
            ("AUTH_BASE_URL", BASE),
            ("AUTH_GOOGLE_ALLOWED_DOMAINS", "corp.example, second.example"),
        ])
        .start();
    let corp = |name: &str, domain: &str| {
        Person::new(name).email(&format!("{name}@{domain}"), true).claim("hd", domain)
    };
    stage.google.person(corp("ann", "corp.example"));
    stage.google.person(corp("bob", "second.example"));
    stage.google.person(corp("eve", "elsewhere.example"));
    for name in ["ann", "bob"] {
        let mut actor = stage.person(&gateway, BASE, name);
        assert_eq!(enters(&mut actor, "google")["status"], "active", "002-29: {name}");
    }
    let mut eve = stage.person(&gateway, BASE, "eve");
    let landing = eve.sign_in_with("google", "");
    assert_eq!(landing.response.status, 403, "002-29: {:?}", landing.response);
    assert_eq!(code(&landing.response), "EMAIL_DOMAIN_NOT_ALLOWED");
    assert!(landing.response.text().contains("This email domain is not allowed"), "002-29");
    assert!(eve.session_cookie(HOST).is_none(), "002-29: no session");
    assert_eq!(addresses(&gateway), ["ann@corp.example", "bob@second.example"], "no account");
}

#[test]
fn seed_002_27_half_a_pair_leaves_the_other_provider_alone() {
    let stage = Everruns::new();
    let mut gateway =
        stage.builder(&[("AUTH_BASE_URL", BASE), ("AUTH_GITHUB_CLIENT_SECRET", "")]).start();
    let _ = gateway.wait_log(&["provider.not_configured", "AUTH_GITHUB_CLIENT_SECRET"]);
    let mut ann = stage.person(&gateway, BASE, "ann");
    enters(&mut ann, "google");
    let answer = ann.start_with("github", "").expect(404);
    assert_eq!(code(&answer), "PROVIDER_NOT_CONFIGURED");
}

#[test]
fn seed_002_55_the_command_line_prints_the_exact_uri_to_register() {
    let stage = Everruns::new();
    let gateway = stage.builder(&[("AUTH_BASE_URL", BASE), ("API_PREFIX", "/api")]).start();
    let tested = gateway.cli(&["provider", "test", "google"]);
    let said = tested.stdout + &tested.stderr;
    let uri = "https://your-domain.com/api/v1/auth/callback/google";
    assert!(said.contains(uri), "002-55: {said}");
    assert!(!said.contains("google-secret"), "{said}");
    let listed = gateway.cli(&["provider", "list"]).expect(0).stdout;
    assert!(listed.contains("google") && listed.contains("github"), "{listed}");
}

#[test]
fn seed_002_58_seed_004_52_seed_004_53_a_wrong_secret_is_told_to_the_person_and_named_in_the_log() {
    let stage = Everruns::new();
    let gateway = stage
        .builder(&[("AUTH_BASE_URL", BASE), ("AUTH_GOOGLE_CLIENT_SECRET", "not-the-secret")])
        .start();
    let mut ann = stage.person(&gateway, BASE, "ann");
    let landing = ann.sign_in_with("google", "");
    assert_eq!(landing.response.status, 401);
    assert_eq!(code(&landing.response), "PROVIDER_SIGNIN_FAILED");
    let page = landing.response.text();
    assert!(page.contains("Failed to authenticate"), "002-58, 004-52: {page}");
    assert!(page.contains("/login"), "004-52: a link back: {page}");
    assert!(ann.session_cookie(HOST).is_none(), "002-58: no session");
    let id = landing.response.header("x-request-id").unwrap();
    assert_eq!(reason(&gateway, id, "002-58"), "token_endpoint_invalid_client", "004-53");
    assert!(gateway.logs().iter().all(|line| !line.contains("not-the-secret")));
    assert_eq!(addresses(&gateway), [] as [&str; 0]);
}
