//! The route table of the fourth document, as `config/examples/openinary.toml` states it: every row is decided
//! by the engine, without a server.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests stop at the first surprise")]

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use vestibule_config::Environment;
use vestibule_core::account::{Account, Role, Status};
use vestibule_core::credential::CredentialKind;
use vestibule_core::facts::{Audience, Door, Facts, FetchSite, Scheme};
use vestibule_core::host::Host;
use vestibule_core::identity::Identity;
use vestibule_core::path::NormalPath;
use vestibule_core::policy::decide;
use vestibule_core::route::Route;
use vestibule_core::time::UnixMillis;
use vestibule_core::verdict::Verdict;

fn route() -> Arc<Route> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/examples/openinary.toml");
    let secret = "6f1c0a9be27d4853b8f1e09c7ad25634f08e91ab37dc5260";
    let environment = Environment::from([("AUTH_SECRET".to_owned(), secret.to_owned())]);
    let loaded = vestibule_config::load(Some(&path), &environment).unwrap();
    Arc::clone(loaded.settings.routes.first().unwrap())
}

fn identity(credential: CredentialKind) -> Identity {
    let account = Account {
        id: "0190a6a0-0000-7000-8000-000000000001".parse().unwrap(),
        username: "ann".into(),
        email: Some("ann@example.com".into()),
        email_verified: true,
        name: "Ann".into(),
        role: Role::User,
        status: Status::Active,
        groups: Arc::new([]),
        must_change_password: false,
        created_at: UnixMillis(0),
    };
    Identity::of_account(&account, credential, 1, UnixMillis(i64::MAX))
}

/// What becomes of a request: `allow`, or the status that the verdict asks for.
fn outcome(
    method: &str,
    path: &str,
    credential: Option<CredentialKind>,
    preflight: bool,
) -> &'static str {
    let Ok((normal, needs)) = NormalPath::parse(path) else { return "400" };
    let route = route();
    if needs.within(route.allow_in_path).is_err() {
        return "400";
    }
    let host = Host::parse("img.example.com").unwrap();
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let facts = Facts {
        door: Door::Proxy,
        method,
        scheme: Scheme::Https,
        host: &host,
        port: 443,
        path: &normal,
        client_ip: ip,
        network_ip: ip,
        has_forwarding_header: false,
        audience: Audience::Navigation,
        fetch_site: FetchSite::None,
        origin: None,
        upgrade: false,
        preflight,
        preflight_method: preflight.then_some("GET"),
    };
    let identity = credential.map(identity);
    match decide(&route, &facts, identity.as_ref(), UnixMillis(1), None).verdict {
        Verdict::Allow(_) => "allow",
        Verdict::Challenge { can_sign_in: false, .. } => "401",
        Verdict::Challenge { .. } => "302",
        Verdict::StepUp { .. } => "step-up",
        Verdict::Deny { .. } => "403",
    }
}

fn nobody(method: &str, path: &str) -> &'static str {
    outcome(method, path, None, false)
}

#[test]
fn seed_003_28_seed_003_29_seed_003_31_seed_003_32_seed_003_33_seed_003_34_seed_003_35_public_rows()
{
    for path in [
        "/",
        "/health",
        "/t/w_200/a/b.jpg",
        "/video-status/a/b.mp4",
        "/video-status/a/b.mp4/size",
        "/video-status/stats",
        "/queue/events",
    ] {
        assert_eq!(nobody("GET", path), "allow", "{path}");
    }
    assert_eq!(nobody("GET", "/other"), "401", "`/` is exactly `/`");
}

#[test]
fn seed_003_36_head_and_preflights_of_public_rows_pass() {
    assert_eq!(nobody("HEAD", "/t/x"), "allow");
    assert_eq!(outcome("OPTIONS", "/t/x", None, true), "allow");
}

#[test]
fn seed_003_37_another_method_on_a_public_path_needs_a_key() {
    assert_eq!(nobody("POST", "/t/x"), "401");
}

#[test]
fn seed_003_38_seed_003_39_seed_003_40_seed_003_41_seed_003_48_seed_003_49_seed_003_50_seed_003_51_seed_003_52_seed_003_53_seed_003_55_seed_003_56_protected_rows()
 {
    for (method, path) in [
        ("POST", "/upload"),
        ("GET", "/storage"),
        ("GET", "/storage/a/b.jpg/metadata"),
        ("DELETE", "/storage/a/b.jpg"),
        ("GET", "/queue/stats"),
        ("GET", "/queue/jobs"),
        ("POST", "/queue/jobs/7/retry"),
        ("POST", "/queue/jobs/7/cancel"),
        ("DELETE", "/queue/jobs/7"),
        ("GET", "/queue/worker/stats"),
    ] {
        assert_eq!(
            nobody(method, path),
            "401",
            "{method} {path}: no redirect, no session would do"
        );
        assert_eq!(
            outcome(method, path, Some(CredentialKind::Session), false),
            "403",
            "{method} {path}"
        );
        assert_eq!(
            outcome(method, path, Some(CredentialKind::ApiKey), false),
            "allow",
            "{method} {path}"
        );
    }
}

#[test]
fn seed_003_27_a_key_does_no_harm_on_a_public_row() {
    assert_eq!(outcome("GET", "/t/image.jpg", Some(CredentialKind::ApiKey), false), "allow");
}

#[test]
fn seed_003_60_seed_003_61_no_way_around_the_queue() {
    for path in ["/queue/anything", "/queue/events/x", "/QUEUE/events", "/queue"] {
        assert_eq!(nobody("GET", path), "401", "{path}");
    }
    for path in [
        "/queue//stats",
        "/queue/%2e%2e/t/x",
        "/t/../queue/stats",
        "/t/%2e%2e/upload",
        "/t%2Fx",
        "/t/x;y",
    ] {
        assert_eq!(nobody("GET", path), "400", "{path}");
    }
}

#[test]
fn seed_003_30_seed_003_47_administration_stands_with_the_portal() {
    let route = route();
    let is_portal = |path: &str| {
        let path = NormalPath::parse(path).unwrap().0;
        route.portal.iter().any(|pattern| pattern.matches(&path, false))
    };
    for path in [
        "/setup",
        "/api-keys",
        "/api-keys/create",
        "/api-keys/list",
        "/api-keys/42",
        "/health/database",
    ] {
        assert!(is_portal(path), "{path}");
    }
    assert!(!is_portal("/health") && !is_portal("/upload"));
}
