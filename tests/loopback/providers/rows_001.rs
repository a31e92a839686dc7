//! Rows of 001, narratorr-requests, about providers: a list of ids, public clients, claims under
//! other names, and who becomes administrator.

use serde_json::json;
use vestibule_testkit::provider::{ClientAuth, Endpoint, Mutant, Op, Person};
use vestibule_testkit::{Actor, Gateway, GatewayBuilder, Recorded, Recorder, Request, Route};

use super::{WIKI, addresses, has_session, let_in, me, open_to, refused, visitor, with_query};
use crate::gateway;
use crate::rows::{Portal, accounts, by_variables, code, wiki};

const HOST: &str = "requests.example.test";
const ORIGIN: &str = "https://requests.example.test";

/// The document's gateway: profile, portal and app on one host.
fn narratorr(app: &Recorder) -> GatewayBuilder {
    gateway()
        .portal(ORIGIN)
        .env("VESTIBULE_PROFILE", "narratorr-requests")
        .route(Route::new("requests", HOST).upstream(app.url()).access("signed-in"))
}

/// `OIDC_<ID>_*` for a provider, its redirect URI as the document prints it.
fn oidc(builder: GatewayBuilder, id: &str, op: &Op, more: &[(&str, &str)]) -> GatewayBuilder {
    let upper = id.to_uppercase();
    let set = [
        ("ISSUER", op.issuer().to_owned()),
        ("CLIENT_ID", op.client_id().to_owned()),
        ("CLIENT_SECRET", op.client_secret().to_owned()),
        ("REDIRECT_URI", format!("{ORIGIN}/api/auth/oidc/{id}/callback")),
    ];
    let more = more.iter().map(|&(name, value)| (name, value.to_owned()));
    set.into_iter().chain(more).fold(builder, |builder, (name, value)| {
        builder.env(&format!("OIDC_{upper}_{name}"), &value)
    })
}

fn requests_visitor(gateway: &Gateway, name: &str) -> Actor {
    Actor::new(gateway.client(), ORIGIN, HOST).known_as(name)
}

#[track_caller]
fn enters(actor: &mut Actor, provider: &str) -> serde_json::Value {
    let landing = actor.sign_in_with(provider, "");
    assert_eq!(landing.response.status, 200, "{:?} {:?}", landing.visited, landing.response);
    actor.api("GET", "/me", None).expect(200).json()
}

#[test]
fn seed_001_15_seed_001_16_seed_001_19_seed_001_20_seed_001_22_seed_001_23_seed_001_24_seed_001_25_seed_001_26_seed_001_27_seed_001_28_seed_001_32_seed_001_33_seed_001_34_seed_001_38_the_printed_block_gives_two_buttons_that_sign_in()
 {
    let app = Recorder::start();
    let plex = Op::builder().client("plex-client", None).start();
    let authelia = Op::start();
    let builder = narratorr(&app).env("OIDC_PROVIDERS", "plex,authelia");
    let builder = oidc(builder, "plex", &plex, &[("LABEL", "Plex")]);
    let builder = oidc(builder, "authelia", &authelia, &[("SCOPE", "openid groups")]);
    let gateway = builder.start();
    let portal = Portal::of(&gateway);
    let due = json!([{ "id": "plex", "label": "Plex" }, { "id": "authelia", "label": "authelia" }]);
    let told = portal.config()["oauth_providers"].clone();
    // 001-33: unset, the label is the id; the documents' words for well-known ones come before.
    assert_eq!(told[0], due[0], "001-15, 001-22, 001-27");
    assert_eq!(told[1]["id"], due[1]["id"], "001-15: in that order");
    assert_eq!(told[1]["label"], due[1]["label"], "001-33");
    let page = portal.page("/.vestibule/login").expect(200).text();
    for button in ["Sign in with Plex", "Sign in with authelia"] {
        assert!(page.contains(button), "001-19: {button} in {page}");
    }
    let mut ann = requests_visitor(&gateway, "ann");
    enters(&mut ann, "plex");
    let mut bob = requests_visitor(&gateway, "bob");
    enters(&mut bob, "authelia");
    let is_callback = |seen: &Recorded| seen.target.contains("callback");
    assert!(!app.requests().iter().any(is_callback), "001-20: callbacks are the portal's");

    assert_eq!(plex.hits(Endpoint::Elsewhere), 0, "001-23");
    let asked = &plex.asked()[0];
    assert_eq!(asked.get("client_id"), Some("plex-client"), "001-24");
    let uri = "https://requests.example.test/api/auth/oidc/plex/callback";
    assert_eq!(asked.get("redirect_uri"), Some(uri), "001-20, 001-26");
    assert_eq!(asked.get("scope"), Some("openid profile email"), "001-34");
    assert_eq!(asked.get("code_challenge_method"), Some("S256"), "001-38");
    let exchanged = &plex.exchanged()[0];
    assert_eq!(exchanged.auth, ClientAuth::None, "001-25, 001-32: no client authentication");
    assert_eq!(exchanged.client_id, "plex-client", "001-32");
    assert_eq!(exchanged.get("client_secret"), None, "001-25");
    assert_eq!(exchanged.error, None, "001-38: the verifier matches the challenge");
    assert_eq!(exchanged.get("redirect_uri"), Some(uri));
    assert_eq!(authelia.asked()[0].get("scope"), Some("openid groups"), "001-34");
    assert_eq!(authelia.asked()[0].get("code_challenge_method"), Some("S256"), "001-38");
    assert_ne!(authelia.exchanged()[0].auth, ClientAuth::None, "001-28");
}

#[test]
fn seed_001_17_seed_001_29_seed_001_30_seed_001_31_a_listed_provider_without_its_variables_is_off_and_told()
 {
    let app = Recorder::start();
    let mut gateway = narratorr(&app).env("OIDC_PROVIDERS", "x").start();
    let names = ["OIDC_X_ISSUER", "OIDC_X_CLIENT_ID", "OIDC_X_REDIRECT_URI"];
    for name in names {
        let _ = gateway.wait_log(&["provider.not_configured", "id=x", name]);
    }
    let checked = gateway.cli(&["check"]).expect(1);
    let said = checked.stdout + &checked.stderr;
    for name in names {
        assert!(said.contains(name), "001-17: {name}: {said}");
    }
    let value = "https://requests.example.test/api/auth/oidc/x/callback";
    assert!(said.contains(value), "001-31: the value to put: {said}");
    assert_eq!(Portal::of(&gateway).config()["oauth_providers"], json!([]));
}

#[test]
fn seed_001_26_a_redirect_uri_on_another_host_is_a_load_error() {
    let app = Recorder::start();
    let op = Op::start();
    let elsewhere = "https://elsewhere.example.test/api/auth/oidc/plex/callback";
    let builder = narratorr(&app).env("OIDC_PROVIDERS", "plex");
    let builder = oidc(builder, "plex", &op, &[("REDIRECT_URI", elsewhere)]);
    let refused = builder.start_refused();
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("elsewhere.example.test"), "{}", refused.stderr);
}

#[test]
fn seed_001_35_seed_001_36_seed_001_37_claims_under_other_names() {
    let app = Recorder::start();
    let op = Op::start();
    let builder = narratorr(&app).toml("[auth]\napproval = false").env("OIDC_PROVIDERS", "idp");
    let names = [("SUBJECT_CLAIM", "uid"), ("USERNAME_CLAIM", "nick"), ("EMAIL_CLAIM", "mail")];
    let gateway = oidc(builder, "idp", &op, &names).start();
    let person = |sub: &str| {
        Person::new("ann")
            .subject(sub)
            .claim("uid", "u-1")
            .claim("nick", "annie")
            .claim("mail", "annie@elsewhere.example")
    };
    op.person(person("first"));
    let mut ann = requests_visitor(&gateway, "ann");
    let first = enters(&mut ann, "idp");
    assert_eq!(first["username"], "annie", "001-36");
    assert_eq!(first["email"], "annie@elsewhere.example", "001-37");
    assert_eq!(first["email_verified"], false, "001-37: nothing says that this one is");
    let _ = ann.send(Request::get(&format!("{ORIGIN}/"))).expect(200);
    assert_eq!(app.last().header("remote-user"), Some("annie"), "001-36");
    assert_eq!(app.last().header("remote-email").unwrap_or_default(), "", "001-37");
    op.person(person("second"));
    let mut again = requests_visitor(&gateway, "ann");
    assert_eq!(enters(&mut again, "idp")["id"], first["id"], "001-35: keyed by uid");
    // A person without it is nobody.
    op.person(Person::new("bob").claim("mail", "b@elsewhere.example"));
    let mut bob = requests_visitor(&gateway, "bob");
    let landing = bob.sign_in_with("idp", "");
    assert_eq!(landing.response.status, 401, "001-35: {:?}", landing.response);
    // With a claim of its own for it, a renamed address counts.
    let piece = op.toml("op")
        + "claims = { email = \"contact.mail\", email_verified = \"contact.checked\" }\n";
    let gateway = open_to(&app, &[piece]).start();
    let contact = json!({ "mail": "deep@example.test", "checked": true });
    op.person(Person::new("eve").claim("contact", contact));
    let mut eve = visitor(&gateway, "eve");
    let _ = let_in(&mut eve, "op", &format!("{WIKI}/"));
    let shown = me(&mut eve);
    assert_eq!(
        (&shown["email"], &shown["email_verified"]),
        (&json!("deep@example.test"), &json!(true))
    );
}

#[test]
fn seed_001_39_seed_001_40_state_and_nonce_serve_once() {
    let app = Recorder::start();
    let (op, bad) = (Op::start(), Op::mutated(Mutant::NonceWrong));
    let gateway = open_to(&app, &[op.toml("op"), bad.toml("bad")]).start();
    let mut ann = visitor(&gateway, "ann");
    let callback = ann.callback_of("op", "");
    let before = ann.clone();
    assert_eq!(ann.travel(&callback).response.status, 200);
    for mut again in [before, visitor(&gateway, "ann")] {
        let landing = again.travel(&callback);
        refused(&gateway, &again, &landing, "001-39: replayed");
    }
    assert_eq!(op.exchanged().len(), 1, "001-39: the code is not shown again");
    let mut bob = visitor(&gateway, "bob");
    let landing = bob.sign_in_with("bad", "");
    let reason = refused(&gateway, &bob, &landing, "001-40");
    assert!(reason.contains("nonce"), "001-40: {reason}");
    // Each start has values of its own.
    for _ in 0..20 {
        visitor(&gateway, "eve").callback_of("op", "");
    }
    for name in ["state", "nonce", "code_challenge"] {
        let mut seen: Vec<String> =
            op.asked().iter().map(|asked| asked.get(name).unwrap().to_owned()).collect();
        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), count, "{name} came twice");
        assert!(seen.iter().all(|value| value.len() >= 22), "{name}: 128 bits at least");
    }
    // An honest callback without its state's partner: the code alone is nothing.
    let mut eve = visitor(&gateway, "eve");
    let own = eve.callback_of("op", "");
    let landing = eve.travel(&with_query(&own, "code=x"));
    refused(&gateway, &eve, &landing, "no state");
}

#[test]
fn seed_001_55_seed_001_56_seed_001_57_the_first_to_come_is_administrator_by_whatever_way_and_alone()
 {
    let app = Recorder::start();
    let op = Op::start();
    let builder = narratorr(&app).env("OIDC_PROVIDERS", "idp");
    let builder = oidc(builder, "idp", &op, &[]);
    let gateway = builder.start();
    let mut ann = requests_visitor(&gateway, "ann");
    let first = enters(&mut ann, "idp");
    assert_eq!((&first["role"], &first["status"]), (&json!("admin"), &json!("active")), "001-56");
    let mut bob = requests_visitor(&gateway, "bob");
    let landing = bob.sign_in_with("idp", "");
    assert!(landing.url.contains("/pending"), "001-49: {:?}", landing.visited);
    let second = bob.api("GET", "/me", None).expect(200).json();
    assert_eq!((&second["role"], &second["status"]), (&json!("user"), &json!("pending")));

    let gateway = builder.start();
    let barrier = std::sync::Barrier::new(20);
    std::thread::scope(|scope| {
        for nth in 0..20 {
            let (mut actor, barrier) = (requests_visitor(&gateway, &format!("p{nth}")), &barrier);
            scope.spawn(move || {
                let callback = actor.callback_of("idp", "");
                barrier.wait();
                actor.visit(&callback);
            });
        }
    });
    let all = accounts(&gateway);
    assert_eq!(all.len(), 20, "001-57");
    let admins = all.iter().filter(|account| account["role"] == "admin").count();
    assert_eq!(admins, 1, "001-57: exactly one under a race");
}

#[test]
fn seed_001_58_the_administrator_of_bypass_is_not_the_first() {
    let app = Recorder::start();
    let op = Op::start();
    let builder = narratorr(&app).env("OIDC_PROVIDERS", "idp").env("AUTH_BYPASS", "1");
    let mut gateway = oidc(builder, "idp", &op, &[]).start();
    let _ = gateway.client().send(&Request::get(&format!("{ORIGIN}/"))).expect(200);
    gateway.set_env("AUTH_BYPASS", None);
    gateway.restart();
    let mut ann = requests_visitor(&gateway, "ann");
    assert_eq!(enters(&mut ann, "idp")["role"], "admin", "001-58");
}

#[test]
fn seed_001_59_seed_001_60_seed_001_61_seed_001_62_the_bootstrap_administrator_is_named_by_subject_or_user_name()
 {
    for (named, what) in [("idp:todd", "by user name"), ("idp:sub-of-todd", "by subject")] {
        let app = Recorder::start();
        let (op, other) = (Op::start(), Op::start());
        let builder =
            narratorr(&app).env("OIDC_PROVIDERS", "idp,other").env("BOOTSTRAP_ADMIN", named);
        let gateway = oidc(oidc(builder, "idp", &op, &[]), "other", &other, &[]).start();
        let standing = |actor: &mut Actor| {
            let shown = actor.api("GET", "/me", None).expect(200).json();
            let text = |name: &str| shown[name].as_str().unwrap().to_owned();
            (text("role"), text("status"))
        };
        let waiting = ("user".to_owned(), "pending".to_owned());
        let mut bob = requests_visitor(&gateway, "bob");
        bob.sign_in_with("idp", "");
        assert_eq!(standing(&mut bob), waiting, "001-61, 001-62: {what}");
        // The same name at another provider is another.
        let mut twin = requests_visitor(&gateway, "todd");
        other.person(Person::new("todd").email("twin@example.test", true));
        twin.sign_in_with("other", "");
        assert_eq!(standing(&mut twin), waiting, "001-59: {what}");
        let mut todd = requests_visitor(&gateway, "todd");
        todd.sign_in_with("idp", "");
        let admin = ("admin".to_owned(), "active".to_owned());
        assert_eq!(standing(&mut todd), admin, "001-59, 001-60: {what}");
        // It counts only while there is none.
        op.person(Person::new("thief").subject("stolen").claim("preferred_username", "todd"));
        let mut thief = requests_visitor(&gateway, "thief");
        thief.sign_in_with("idp", "");
        assert_eq!(standing(&mut thief), waiting, "inert afterwards: {what}");
    }
}

#[test]
fn seed_001_63_a_malformed_bootstrap_administrator_is_refused() {
    let app = Recorder::start();
    for (value, is_good) in [("authelia:todd", true), ("plex:myplexuser", true), ("todd", false)] {
        let op = Op::start();
        let builder =
            narratorr(&app).env("OIDC_PROVIDERS", "authelia,plex").env("BOOTSTRAP_ADMIN", value);
        let builder = oidc(oidc(builder, "authelia", &op, &[]), "plex", &op, &[]);
        if is_good {
            let _: Gateway = builder.start();
        } else {
            let refused = builder.start_refused();
            assert_eq!(refused.code, 1, "{}", refused.stderr);
            assert!(refused.stderr.contains("BOOTSTRAP_ADMIN"), "{}", refused.stderr);
        }
    }
}

#[test]
fn seed_001_02_seed_001_14_without_passwords_a_provider_is_the_way_in() {
    let app = Recorder::start();
    let op = Op::start();
    let gateway =
        by_variables(&[("AUTH_SECRET", crate::rows::HEX_SECRET), ("LOCAL_AUTH", "false")])
            .toml("[auth]\napproval = false")
            .toml(&op.toml("op"))
            .route(wiki(&app))
            .start();
    let portal = Portal::of(&gateway);
    let page = portal.page("/login").expect(200).text();
    assert!(!page.contains("type=\"password\"") && page.contains("Sign in with op"), "{page}");
    let answer = portal.login("ann@example.test", "whatever-it-Is-1").expect(401);
    assert_eq!(code(&answer), "PASSWORD_SIGNIN_DISABLED");
    let _ = let_in(&mut visitor(&gateway, "ann"), "op", &format!("{WIKI}/"));
    assert_eq!(addresses(&gateway), ["ann@example.test"]);
    assert!(!has_session(&gateway.anonymous()));
}
