//! Kinds of providers, each as it is in the world: its paths, its claims, its gaps.

use serde_json::{Value, json};
use vestibule_testkit::github::{Github, GithubUser};
use vestibule_testkit::provider::{ClaimsIn, ClientAuth, Op, OpFault, Person};
use vestibule_testkit::{Recorder, parameter};

use super::{
    WIKI, addresses, has_session, let_in, me, open_to, refused, turned_away, visitor, wiki_answer,
};

/// A provider by its issuer's path, what it says of itself, and where its claims stand.
struct Flavour {
    id: &'static str,
    path: &'static str,
    says: Value,
    claims_in: ClaimsIn,
}

fn flavours() -> Vec<Flavour> {
    let flavour = |id, path, claims_in, says| Flavour { id, path, says, claims_in };
    vec![
        flavour(
            "plex",
            "/bridge",
            ClaimsIn::IdToken,
            json!({ "userinfo_endpoint": null, "end_session_endpoint": null,
                "authorization_response_iss_parameter_supported": null,
                "backchannel_logout_supported": null, "backchannel_logout_session_supported": null,
                "introspection_endpoint": null, "code_challenge_methods_supported": null }),
        ),
        flavour(
            "authelia",
            "",
            ClaimsIn::UserInfo,
            json!({ "claims_supported": ["sub", "email", "groups"],
                "response_modes_supported": ["form_post", "query", "fragment", "jwt"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
                "authorization_response_iss_parameter_supported": true,
                "require_pushed_authorization_requests": false, "end_session_endpoint": null }),
        ),
        flavour(
            "authentik",
            "/application/o/requests/",
            ClaimsIn::Both,
            json!({ "response_types_supported": ["code", "id_token", "code id_token", "code token"],
                "authorization_response_iss_parameter_supported": null,
                "backchannel_logout_supported": null,
                "acr_values_supported": ["goauthentik.io/providers/oauth2/default"] }),
        ),
        flavour(
            "keycloak",
            "/realms/home",
            ClaimsIn::Both,
            json!({ "response_types_supported": ["code", "none", "id_token", "code id_token token"],
                "id_token_signing_alg_values_supported": ["PS384", "RS384", "EdDSA", "ES384", "HS256", "ES256", "RS256"],
                "frontchannel_logout_supported": true,
                "mtls_endpoint_aliases": { "token_endpoint": "https://127.0.0.1:1/x" } }),
        ),
        flavour(
            "pocket-id",
            "",
            ClaimsIn::Both,
            json!({ "token_endpoint_auth_methods_supported": null, "introspection_endpoint": null,
                "id_token_signing_alg_values_supported": ["RS256"],
                "authorization_response_iss_parameter_supported": true }),
        ),
        flavour(
            "google",
            "",
            ClaimsIn::Both,
            json!({ "end_session_endpoint": null, "introspection_endpoint": null,
                "authorization_response_iss_parameter_supported": null,
                "backchannel_logout_supported": null, "backchannel_logout_session_supported": null,
                "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
                "code_challenge_methods_supported": ["plain", "S256"],
                "id_token_signing_alg_values_supported": ["RS256"] }),
        ),
    ]
}

#[test]
fn seed_001_21_providers_of_the_world_need_no_special_case() {
    let app = Recorder::start();
    let stands: Vec<(Flavour, Op)> = flavours()
        .into_iter()
        .map(|flavour| {
            let op = Op::builder().issuer_path(flavour.path).start();
            op.describe(flavour.says.clone());
            op.claims_in(flavour.claims_in);
            (flavour, op)
        })
        .collect();
    let pieces: Vec<String> = stands.iter().map(|(flavour, op)| op.toml(flavour.id)).collect();
    let gateway = open_to(&app, &pieces).start();
    for (flavour, _) in &stands {
        let name = format!("ann-at-{}", flavour.id);
        let mut actor = visitor(&gateway, &name);
        let _ = let_in(&mut actor, flavour.id, &format!("{WIKI}/"));
        let shown = me(&mut actor);
        assert_eq!(shown["email"], format!("{name}@example.test"), "{}", flavour.id);
        assert_eq!(shown["username"], name.as_str(), "{}", flavour.id);
        assert_eq!(app.last().header("remote-user"), Some(name.as_str()), "{}", flavour.id);
    }
}

#[test]
fn seed_004_07_a_client_shows_who_it_is_as_the_provider_wants_it() {
    let app = Recorder::start();
    let stands = [
        ("basic", json!(["client_secret_basic"]), ClientAuth::Basic),
        ("post", json!(["client_secret_post"]), ClientAuth::Post),
        ("both", json!(["client_secret_post", "client_secret_basic"]), ClientAuth::Basic),
        // The default of OpenID Connect Discovery.
        ("unsaid", Value::Null, ClientAuth::Basic),
    ]
    .map(|(id, methods, due)| {
        let op = Op::start();
        op.describe(json!({ "token_endpoint_auth_methods_supported": methods }));
        (id, op, due)
    });
    let public = Op::builder().client("public-client", None).start();
    let mut pieces: Vec<String> = stands.iter().map(|(id, op, _)| op.toml(id)).collect();
    pieces.push(public.toml("public"));
    let gateway = open_to(&app, &pieces).start();
    for (id, op, due) in &stands {
        let _ = let_in(&mut visitor(&gateway, &format!("ann-{id}")), id, "");
        let seen = &op.exchanged()[0];
        if *id == "both" {
            assert_ne!(seen.auth, ClientAuth::None, "{id}");
        } else {
            assert_eq!(seen.auth, *due, "{id}");
        }
        assert_eq!(seen.client_id, "vestibule", "{id}");
        // Odd characters of the secret survive Basic's escaping; it is nowhere besides.
        if seen.auth == ClientAuth::Basic {
            assert_eq!(seen.get("client_secret"), None, "{id}: shown twice");
        }
    }
    let _ = let_in(&mut visitor(&gateway, "ann-public"), "public", "");
    let seen = &public.exchanged()[0];
    assert_eq!((seen.auth, seen.client_id.as_str()), (ClientAuth::None, "public-client"));
    assert!(seen.get("code_verifier").is_some_and(|verifier| verifier.len() >= 43));
}

#[test]
fn g7_google_wants_the_domain_from_its_own_claim_and_from_the_address() {
    let app = Recorder::start();
    let op = Op::start();
    op.describe(json!({ "authorization_response_iss_parameter_supported": null }));
    let piece = op.toml("google")
        + "kind = \"google\"\nallowed_domains = [\"corp.example\", \"second.example\"]\n";
    let gateway = open_to(&app, &[piece]).start();
    let corp = |name: &str| Person::new(name).email(&format!("{name}@corp.example"), true);
    op.person(corp("ann").claim("hd", "corp.example"));
    op.person(corp("without-hd"));
    op.person(corp("other-hd").claim("hd", "evil.example"));
    op.person(corp("list-hd").claim("hd", json!(["corp.example"])));
    op.person(Person::new("only-hd").claim("hd", "corp.example"));
    op.person(
        Person::new("unverified")
            .email("unverified@corp.example", false)
            .claim("hd", "corp.example"),
    );
    let mut ann = visitor(&gateway, "ann");
    let _ = let_in(&mut ann, "google", &format!("{WIKI}/"));
    for name in ["without-hd", "other-hd", "list-hd", "only-hd", "unverified"] {
        let mut actor = visitor(&gateway, name);
        let landing = actor.sign_in_with("google", "");
        turned_away(&gateway, &actor, &landing, 403, "EMAIL_DOMAIN_NOT_ALLOWED", name);
    }
    assert_eq!(addresses(&gateway), ["ann@corp.example"]);
}

#[test]
fn seed_000_31_github_is_a_kind_of_its_own() {
    let app = Recorder::start();
    let hub = Github::start();
    let mut user = GithubUser::new(583_231, "Octo-Cat");
    user.public_email = Some("public@elsewhere.example".to_owned());
    user.emails = vec![
        ("old@example.test".to_owned(), false, true),
        ("new@example.test".to_owned(), false, false),
        ("octo@example.test".to_owned(), true, true),
    ];
    user.orgs = ["acme", "beta", "gamma", "delta", "epsilon"].map(str::to_owned).to_vec();
    user.teams =
        [("acme", "core"), ("acme", "ops"), ("beta", "core"), ("gamma", "x"), ("gamma", "y")]
            .map(|(org, team)| (org.to_owned(), team.to_owned()))
            .to_vec();
    hub.user(user.clone());
    let gateway = open_to(&app, &[hub.toml("github")]).start();
    let mut cat = visitor(&gateway, "Octo-Cat");
    let _ = let_in(&mut cat, "github", &format!("{WIKI}/"));
    let shown = me(&mut cat);
    assert_eq!(shown["email"], "octo@example.test", "the primary verified one");
    assert_eq!(shown["email_verified"], true);
    assert_eq!(shown["username"], "octo-cat");
    let groups: Vec<&str> =
        shown["groups"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for team in ["acme/core", "acme/ops", "beta/core", "gamma/x", "gamma/y"] {
        assert!(
            groups.contains(&format!("github:{team}").as_str()),
            "{team}: every page: {groups:?}"
        );
    }
    for group in &groups {
        assert!(group.starts_with("github:"), "nothing that another provider could mean: {group}");
    }
    assert!(!groups.contains(&"github:core"), "{groups:?}");
    let asked = &hub.asked()[0];
    let scopes: Vec<&str> = asked.get("scope").unwrap().split(' ').collect();
    assert!(scopes.contains(&"user:email") && !scopes.contains(&"openid"), "{scopes:?}");
    assert!(asked.get("state").is_some_and(|state| state.len() >= 22));
    assert_eq!(asked.get("nonce"), None, "no OpenID Connect");

    // The login may be given to somebody else; the number may not.
    user.login = "renamed".to_owned();
    hub.user(user);
    let mut squatter = GithubUser::new(999, "Octo-Cat");
    squatter.emails = vec![("squatter@example.test".to_owned(), true, true)];
    hub.user(squatter);
    let (mut renamed, mut squatter) = (visitor(&gateway, "renamed"), visitor(&gateway, "Octo-Cat"));
    let _ = let_in(&mut renamed, "github", "");
    let _ = let_in(&mut squatter, "github", "");
    assert_eq!(me(&mut renamed)["id"], shown["id"], "the same person under another login");
    assert_ne!(me(&mut squatter)["id"], shown["id"], "G8: another person under the old login");
}

#[test]
fn g7_x20_github_without_a_primary_verified_address_or_in_pieces_is_refused() {
    let app = Recorder::start();
    let hub = Github::start();
    let gateway = open_to(&app, &[hub.toml("github")]).start();
    let with = |id: u64, login: &str, emails: Vec<(&str, bool, bool)>| {
        let mut user = GithubUser::new(id, login);
        user.emails = emails.into_iter().map(|(a, p, v)| (a.to_owned(), p, v)).collect();
        user.public_email = Some("public@example.test".to_owned());
        hub.user(user);
    };
    with(1, "none", Vec::new());
    with(2, "unverified", vec![("primary@example.test", true, false)]);
    for login in ["none", "unverified"] {
        let mut actor = visitor(&gateway, login);
        let landing = actor.sign_in_with("github", "");
        assert!(matches!(landing.response.status, 401 | 403), "{login}: {:?}", landing.response);
        assert!(!has_session(&actor), "{login}");
    }
    with(3, "ann", vec![("ann@example.test", true, true)]);
    for (path, fault) in [
        ("/login/oauth/access_token", OpFault::Down),
        ("/login/oauth/access_token", OpFault::Html),
        ("/api/v3/user", OpFault::Status(500)),
        ("/api/v3/user", OpFault::Html),
        ("/api/v3/user/emails", OpFault::Down),
        ("/api/v3/user/emails", OpFault::Status(404)),
        ("/api/v3/user", OpFault::TooLarge),
    ] {
        hub.fault(path, Some(fault.clone()));
        let mut actor = visitor(&gateway, "ann");
        let landing = actor.sign_in_with("github", "");
        refused(&gateway, &actor, &landing, &format!("{path} {fault:?}"));
        hub.fault(path, None);
    }
    // The person said no.
    hub.denies(true);
    let mut actor = visitor(&gateway, "ann");
    let landing = actor.sign_in_with("github", "");
    turned_away(&gateway, &actor, &landing, 403, "PROVIDER_DENIED", "denied");
    hub.denies(false);
    // A code of nobody: GitHub says so with status 200.
    let mut actor = visitor(&gateway, "ann");
    let callback = actor.callback_of("github", "");
    let code = parameter(&callback, "code").unwrap();
    let landing = actor.travel(&callback.replace(&code, "bad-code"));
    refused(&gateway, &actor, &landing, "bad_verification_code");
    assert_eq!(addresses(&gateway), [] as [&str; 0]);
    let mut ann = visitor(&gateway, "ann");
    let _ = let_in(&mut ann, "github", &format!("{WIKI}/"));
    assert_eq!(wiki_answer(&mut ann).status, 200);
}
