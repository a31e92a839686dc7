//! Bearer tokens of others, seen from outside: `[[jwt_issuer]]` by keys and by introspection, at
//! every door (SECURITY.md 1.G, the rows of RFC 6750, 8725 and 9728).

use std::time::Duration;

use serde_json::{Value, json};
use vestibule_testkit::jose::{self, Key};
use vestibule_testkit::provider::OpFault;
use vestibule_testkit::{
    Actor, Door, ForeignIssuer, Gateway, MANAGED, Recorder, Request, Response, Route, ws,
};

use crate::gateway;

const API: &str = "https://api.example.test";
const METADATA: &str = "https://api.example.test/.well-known/oauth-protected-resource";
const TAKES_CI: &str = "{ credentials = [\"jwt:ci\"] }";

fn route(app: &Recorder) -> Route {
    Route::new("api", "api.example.test").upstream(app.url()).access(TAKES_CI)
}

fn open(app: &Recorder) -> Route {
    route(app).rule(&["/public/*"], &[], "public")
}

fn start(issuer: &ForeignIssuer, route: Route) -> Gateway {
    gateway().toml(&issuer.toml("ci")).route(route).user("ann", &[]).start()
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

/// The answers to a bearer token at every door.
fn answers(gateway: &Gateway, token: &str, path: &str) -> Vec<Response> {
    let mut program = gateway.with_bearer(token);
    let ask = |door| program.ask(door, "GET", &format!("{API}{path}"));
    Door::ALL.map(ask).to_vec()
}

fn statuses(gateway: &Gateway, token: &str, path: &str) -> Vec<u16> {
    answers(gateway, token, path).iter().map(|answer| answer.status).collect()
}

/// Refused at a rule that takes such tokens, and at a public one: a bad token is never nobody.
#[track_caller]
fn assert_bad(gateway: &Gateway, token: &str, why: &str) {
    for path in ["/x", "/public/x"] {
        for answer in answers(gateway, token, path) {
            assert_eq!(answer.status, 401, "{why} at {path}: {answer:?}");
            assert_eq!(answer.header("x-vestibule"), Some("INVALID_CREDENTIAL"), "{why}");
            let told = answer.header("www-authenticate").unwrap_or_default();
            assert!(told.contains("error=\"invalid_token\""), "{why}: {told}");
        }
    }
}

#[test]
fn a_foreign_jwt_is_its_issuers_name_and_subject_and_never_reaches_the_app() {
    let (app, issuer) = (Recorder::start(), ForeignIssuer::start());
    let route =
        open(&app).rule(&["/robot"], &[], "{ credentials = [\"jwt:ci\"], users = [\"ci:robot\"] }");
    let gateway = start(&issuer, route.rule(&["/me"], &[], "signed-in"));
    let mut claims = issuer.claims("robot");
    claims["email"] = json!("root@example.test");
    claims["email_verified"] = json!(true);
    claims["groups"] = json!(["admins"]);
    let token = issuer.sign(&claims);
    for path in ["/x", "/robot", "/public/x"] {
        let _ = gateway.with_bearer(&token).get(&format!("{API}{path}")).expect(200);
        let seen = app.last();
        assert_eq!(seen.header("remote-user"), Some("ci:robot"), "{path}");
        for empty in ["remote-email", "remote-groups", "remote-name"] {
            assert_eq!(seen.header(empty).unwrap_or_default(), "", "{empty}");
        }
        assert_eq!(seen.header("authorization"), None);
        assert!(!seen.holds(&token), "the token itself never reaches the app");
        let assertion = jose::claims_of(seen.header("x-vestibule-assertion").unwrap());
        assert_eq!((&assertion["sub"], &assertion["role"]), (&json!("ci:robot"), &json!("user")));
    }
    let hook = gateway.with_bearer(&token).ask(Door::ForwardAuth, "GET", &format!("{API}/x"));
    assert_eq!((hook.status, hook.header("remote-user")), (200, Some("ci:robot")));
    assert_eq!(hook.header("authorization"), None);
    // A good token of another person, and of a kind that the rule does not take.
    assert_eq!(statuses(&gateway, &issuer.token("other"), "/robot"), [403; 3]);
    assert_eq!(statuses(&gateway, &issuer.token("Robot"), "/robot"), [403; 3]);
    assert_eq!(statuses(&gateway, &token, "/me"), [403; 3]);
    let portal = gateway.with_bearer(&token).api("GET", "/me", None);
    assert_eq!(portal.status, 403, "it is for apps, not for the portal");
}

#[test]
fn pass_bearer_lets_exactly_the_token_that_decided_through() {
    let (app, issuer) = (Recorder::start(), ForeignIssuer::start());
    let route = open(&app).set("pass_bearer", "true").rule(&["/me"], &[], "signed-in");
    let gateway = start(&issuer, route);
    let token = issuer.token("robot");
    let bearer = format!("Bearer {token}");
    let _ = gateway.with_bearer(&token).get(&format!("{API}/x")).expect(200);
    assert_eq!(app.last().header("authorization"), Some(&*bearer));
    for door in [Door::ForwardAuth, Door::AuthRequest] {
        let hook = gateway.with_bearer(&token).ask(door, "GET", &format!("{API}/x")).expect(200);
        assert_eq!(hook.header("authorization"), Some(&*bearer));
    }
    let (_, key) = gateway.as_user("ann").create_key(&json!({ "name": "k" }));
    let mut both = gateway.with_key(&key).with_header("Authorization", &bearer);
    let _ = both.get(&format!("{API}/me")).expect(200);
    assert_eq!(app.last().header("remote-user"), Some("ann"));
    assert_eq!(app.last().header("authorization"), None, "nobody has looked at that token");
    let own = gateway.anonymous().tokens("ann@example.test", vestibule_testkit::PASSWORD).0;
    let _ = gateway.with_bearer(&own).get(&format!("{API}/me")).expect(200);
    assert_eq!(app.last().header("authorization"), None, "our own tokens stay here");
}

#[test]
fn g1_g2_g3_f8_a_claim_of_another_type_time_issuer_or_audience_is_refused_everywhere() {
    let (app, issuer) = (Recorder::start(), ForeignIssuer::start());
    let gateway = start(&issuer, open(&app));
    let good = issuer.claims("robot");
    let now = good["iat"].as_i64().unwrap();
    let mut bad = Vec::new();
    for value in [
        json!("9999999999"),
        json!(null),
        json!([]),
        json!(true),
        json!(9_999_999_999.5),
        json!({}),
        json!(-1),
        json!(1e300),
        json!(now - 3600),
    ] {
        bad.push(("exp", value));
    }
    for value in [json!("1"), json!(null), json!([]), json!(true), json!({}), json!(now + 3600)] {
        bad.extend([("nbf", value.clone()), ("iat", value)]);
    }
    for value in [json!("other"), json!(["other"]), json!([]), json!(null), json!(1), json!({})] {
        bad.push(("aud", value));
    }
    for value in [json!(""), json!(null), json!(1), json!([]), json!("a\nb"), json!("a\u{1b}[1m")] {
        bad.push(("sub", value));
    }
    for (name, value) in bad {
        let body = with(good.clone(), name, value);
        assert_bad(&gateway, &issuer.sign(&body), &body.to_string());
    }
    for name in ["exp", "aud", "sub"] {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(name);
        assert_bad(&gateway, &issuer.sign(&body), &format!("without {name}"));
    }
    assert_eq!(app.count(), 0);
    assert_eq!(statuses(&gateway, &issuer.sign(&good), "/x"), [200; 3]);
    // Somebody else's token proves nothing here, and is the app's own where anybody may come.
    let other = issuer.sign(&with(good, "iss", json!("https://other.example.test")));
    assert_eq!(statuses(&gateway, &other, "/x"), [401; 3]);
    assert_eq!(statuses(&gateway, &other, "/public/x"), [200; 3]);
    assert_eq!(app.last().header("authorization"), Some(&*format!("Bearer {other}")));
    // A good cookie does not make a bad token good.
    let mut ann = gateway.as_user("ann");
    ann.enter("https://api.example.test/public/x");
    let bad = issuer.sign(&with(issuer.claims("robot"), "aud", json!("other")));
    let both =
        ann.with_header("Authorization", &format!("Bearer {bad}")).get(&format!("{API}/public/x"));
    assert_eq!((both.status, both.header("x-vestibule")), (401, Some("INVALID_CREDENTIAL")));
}

#[test]
fn rfc_8725_no_token_chooses_its_own_key_or_algorithm() {
    let (app, issuer) = (Recorder::start(), ForeignIssuer::start());
    let gateway = start(&issuer, open(&app));
    let (key, claims) = (issuer.key(), issuer.claims("robot"));
    let payload = claims.to_string();
    let head = |more: Value| {
        let mut head = json!({"alg": "RS256", "kid": key.kid});
        head.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        head
    };
    for alg in ["none", "nOnE", "NONE"] {
        let unsigned = jose::unsigned(&head(json!({"alg": alg})).to_string(), payload.as_bytes());
        assert_bad(&gateway, &format!("{unsigned}."), alg);
        assert_bad(&gateway, &key.jwt_with(&head(json!({"alg": alg})), &claims), alg);
    }
    let unsigned = jose::unsigned(&head(json!({"alg": "HS256"})).to_string(), payload.as_bytes());
    let tag = jose::b64(&jose::hs256(key.public_pem().as_bytes(), unsigned.as_bytes()));
    assert_bad(&gateway, &format!("{unsigned}.{tag}"), "HS256 by the public key");
    let thief = Key::rsa(1, &key.kid);
    for more in [
        json!({"jwk": thief.jwk()}),
        json!({"jku": issuer.trap_url()}),
        json!({"x5u": issuer.trap_url()}),
        json!({"kid": "../../etc/passwd"}),
        json!({"kid": "x' OR 1=1 --"}),
    ] {
        assert_bad(&gateway, &thief.jwt_with(&head(more.clone()), &claims), &more.to_string());
    }
    for more in [
        json!({"crit": ["x"]}),
        json!({"zip": "DEF"}),
        json!({"alg": "PS256"}),
        json!({"typ": "logout+jwt"}),
        json!({"typ": "vestibule-assertion+jwt"}),
    ] {
        assert_bad(&gateway, &key.jwt_with(&head(more.clone()), &claims), &more.to_string());
    }
    let twice = payload.replacen('{', "{\"sub\":\"root\",", 1);
    assert_bad(&gateway, &key.jwt_of(&head(json!({})).to_string(), twice.as_bytes()), "sub twice");
    let long = with(claims.clone(), "x", json!("x".repeat(16 << 10)));
    assert_bad(&gateway, &issuer.sign(&long), "g13: over 16 KiB");
    let good = issuer.sign(&claims);
    let zeros = format!("{}.{}", good.rsplit_once('.').unwrap().0, jose::b64(&[0; 64]));
    assert_bad(&gateway, &zeros, "an all-zero signature");
    issuer.publish(vec![Key::short_rsa("short").jwk(), key.jwk()]);
    assert_bad(&gateway, &Key::short_rsa("short").jwt(&claims), "an RSA key of 1,024 bits");
    assert_eq!((issuer.trap_hits(), app.count()), (0, 0));
    assert_eq!(statuses(&gateway, &good, "/x"), [200; 3]);
}

#[test]
fn g12_only_bearer_one_space_and_a_token_is_read() {
    let (app, issuer) = (Recorder::start(), ForeignIssuer::start());
    let gateway = start(&issuer, open(&app));
    let token = issuer.token("robot");
    let send = |value: String| {
        let request = Request::get(&format!("{API}/x")).header("Authorization", value);
        gateway.client().send(&request).status
    };
    for value in [
        format!("Bearer\t{token}"),
        format!("Bearer  {token}"),
        format!("Bearer {token},x"),
        format!("Bearer, {token}"),
        format!("Bearer {token} {token}"),
    ] {
        assert_eq!(send(value.clone()), 401, "{value}");
    }
    for query in ["access_token", "token"] {
        let request = Request::get(&format!("{API}/x?{query}={token}"));
        assert_eq!(gateway.client().send(&request).status, 401, "never from the query");
    }
    let twice = Request::get(&format!("{API}/x"))
        .header("Authorization", format!("Bearer {token}"))
        .header("Authorization", format!("Bearer {token}"));
    assert_eq!(gateway.client().send(&twice).status, 400);
    assert_eq!(app.count(), 0);
    for scheme in ["Bearer", "bearer", "BEARER"] {
        assert_eq!(send(format!("{scheme} {token}")), 200);
    }
}

#[test]
fn g4_the_same_token_is_judged_by_each_rule_in_any_order_warm_or_cold() {
    let app = Recorder::start();
    let (issuer, other) = (ForeignIssuer::start(), ForeignIssuer::with(Key::ec("other")));
    let gateway = gateway()
        .toml(&issuer.toml("ci"))
        .toml(&other.toml("corp"))
        .route(
            route(&app)
                .rule(&["/ci"], &[], TAKES_CI)
                .rule(&["/corp"], &[], "{ credentials = [\"jwt:corp\"] }")
                .rule(&["/write"], &[], "{ credentials = [\"jwt:ci\"], scopes = [\"write\"] }")
                .rule(&["/read"], &[], "{ credentials = [\"jwt:ci\"], scopes = [\"read\"] }")
                .rule(
                    &["/main"],
                    &[],
                    "{ credentials = [\"jwt:ci\"], claims = { ref = [\"main\"] } }",
                ),
        )
        .start();
    let token = |scope: Value, branch: &str| {
        let claims = with(issuer.claims("robot"), "scope", scope);
        issuer.sign(&with(claims, "ref", json!(branch)))
    };
    let table = [
        (token(json!("read"), "main"), [200, 403, 403, 200, 200]),
        (token(json!("read write"), "x"), [200, 403, 200, 200, 403]),
        (token(json!(["write"]), "main"), [200, 403, 200, 403, 200]),
        (token(json!("rewrite"), ""), [200, 403, 403, 403, 403]),
        (other.token("robot"), [403, 200, 403, 403, 403]),
    ];
    let paths = ["/ci", "/corp", "/write", "/read", "/main"];
    for round in 0..4 {
        for (token, expected) in &table {
            let mut order: Vec<_> = paths.iter().zip(expected).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for (path, status) in order {
                assert_eq!(statuses(&gateway, token, path), [*status; 3], "{path} {round}");
            }
        }
    }
}

#[test]
fn g9_x23_a_flood_of_unknown_keys_costs_two_fetches_and_nobody_else_anything() {
    let (app, issuer) = (Recorder::start(), ForeignIssuer::with(Key::ed("a")));
    let gateway = start(&issuer, route(&app));
    let good = issuer.token("robot");
    assert_eq!(statuses(&gateway, &good, "/x"), [200; 3]);
    let mut conn = gateway.client().connect("api.example.test");
    for n in 0..1000 {
        let header = json!({"alg": "EdDSA", "kid": format!("unknown-{n}")});
        let token = issuer.key().jwt_with(&header, &issuer.claims("robot"));
        let request =
            Request::get(&format!("{API}/x")).header("Authorization", format!("Bearer {token}"));
        assert_eq!(conn.exchange(&request).status, 401);
    }
    assert!(issuer.jwks_hits() <= 2, "{}", issuer.jwks_hits());
    assert_eq!(statuses(&gateway, &good, "/x"), [200; 3]);
    assert_eq!(statuses(&gateway, &issuer.token("other"), "/x"), [200; 3]);
}

#[test]
fn x19_without_the_issuers_keys_nobody_is_let_in_and_others_are_not_held_up() {
    let (app, issuer) = (Recorder::start(), ForeignIssuer::start());
    issuer.fault(Some(OpFault::Down));
    let gateway = start(&issuer, open(&app).rule(&["/me"], &[], "signed-in"));
    assert_bad(&gateway, &issuer.token("robot"), "no keys");
    let (_, key) = gateway.as_user("ann").create_key(&json!({ "name": "k" }));
    let _ = gateway.with_key(&key).get(&format!("{API}/me")).expect(200);
    assert_eq!(app.count(), 1);
}

fn asking(issuer: &ForeignIssuer) -> String {
    format!(
        "{}introspection_url = \"{}\"\nclient_id = \"{}\"\nclient_secret = \"{}\"\n\
         claims = {{ email = \"email\", groups = \"groups\", username = \"name\" }}\n",
        issuer.toml("corp"),
        issuer.introspection_url(),
        ForeignIssuer::CLIENT_ID,
        issuer.client_secret(),
    )
}

#[test]
fn rfc_7662_opaque_tokens_are_asked_about_where_a_rule_names_their_issuer() {
    let (app, issuer) = (Recorder::start(), ForeignIssuer::start());
    let gateway = gateway()
        .toml(&asking(&issuer))
        .route(
            Route::new("api", "api.example.test")
                .upstream(app.url())
                .access("{ credentials = [\"jwt:corp\"] }")
                .rule(&["/public/*"], &[], "public"),
        )
        .route(Route::new("wiki", "wiki.example.test").upstream(app.url()).access("public"))
        .start();
    let answer = json!({
        "active": true, "sub": "42", "email": "ann@example.test", "email_verified": true,
        "groups": ["staff"], "name": "Ann",
    });
    let token = issuer.opaque(answer);
    for _ in 0..3 {
        assert_eq!(statuses(&gateway, &token, "/x"), [200; 3]);
        assert_eq!(statuses(&gateway, &token, "/public/x"), [200; 3]);
    }
    let seen = app.last();
    for (name, value) in [
        ("remote-user", "corp:42"),
        ("remote-email", "ann@example.test"),
        ("remote-groups", "staff"),
        ("remote-name", "Ann"),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    assert_eq!(seen.header("authorization"), None);
    assert_eq!(issuer.introspected().len(), 1, "kept for a while");
    // Elsewhere such a token is the app's own.
    let bearer = format!("Bearer {token}");
    let request = Request::get("https://wiki.example.test/").header("Authorization", &bearer);
    let _ = gateway.client().send(&request).expect(200);
    assert_eq!(app.last().header("authorization"), Some(&*bearer));
    assert_eq!(app.last().header("remote-user"), None);
    let count = app.count();
    assert_bad(&gateway, &issuer.opaque(json!({"active": false, "sub": "42"})), "inactive");
    assert_bad(&gateway, &issuer.opaque(json!({"active": "true", "sub": "42"})), "no boolean");
    assert_bad(&gateway, &issuer.opaque(json!({"active": true})), "no subject");
    assert_bad(&gateway, &issuer.opaque(json!({"active": true, "sub": "42", "aud": "x"})), "aud");
    for fault in [OpFault::Down, OpFault::Html, OpFault::Status(500), OpFault::TooLarge] {
        issuer.fault(Some(fault.clone()));
        let fresh = issuer.opaque(json!({"active": true, "sub": "42"}));
        assert_bad(&gateway, &fresh, &format!("{fault:?}"));
        issuer.fault(None);
        assert_eq!(statuses(&gateway, &fresh, "/x"), [200; 3], "asked again after {fault:?}");
    }
    assert!(gateway.logs().iter().any(|line| line.contains("introspection_unavailable")));
    let secret = issuer.client_secret();
    let told = gateway.logs();
    assert!(!told.iter().any(|line| line.contains(secret) || line.contains(&token)));
    assert_eq!(app.count(), count + 4);
    // JWTs of the same issuer are held against its keys; nobody is asked about them.
    let asked = issuer.introspected().len();
    assert_eq!(statuses(&gateway, &issuer.token("jwt"), "/x"), [200; 3]);
    assert_eq!(issuer.introspected().len(), asked);
}

fn socket(actor: &Actor, gateway: &Gateway) -> ws::Socket {
    let request = actor.dressed(Request::get(&format!("{API}/ws")));
    let mut socket = ws::open(&gateway.client(), &request).expect("an open socket");
    socket.send_text("hello");
    assert_eq!(socket.text(), "hello");
    socket
}

#[test]
fn f3_denied_by_the_command_line_a_token_ends_at_the_next_request_and_its_websocket_with_it() {
    let (app, issuer) = (Recorder::start(), ForeignIssuer::start());
    let gateway = start(&issuer, route(&app));
    let named = |sub: &str, jti: &str| issuer.sign(&with(issuer.claims(sub), "jti", json!(jti)));
    let (one, two, other) = (named("ann", "j1"), named("ann", "j2"), named("bob", "j3"));
    let open = |token: &String| socket(&gateway.with_bearer(token), &gateway);
    let (mut first, mut second, mut third) = (open(&one), open(&two), open(&other));
    let soon = Duration::from_secs(5);

    let said = gateway.cli(&["session", "revoke", "--jwt-issuer", "ci", "--jti", "j1"]).expect(0);
    assert!(said.stdout.contains("j1"), "{}", said.stdout);
    assert_eq!(statuses(&gateway, &one, "/x"), [401; 3]);
    assert!(first.conn.closes_within(soon));
    assert_eq!(statuses(&gateway, &two, "/x"), [200; 3]);

    let _ = gateway.cli(&["session", "revoke", "--jwt-issuer", "ci", "--sub", "ann"]).expect(0);
    assert_eq!(statuses(&gateway, &two, "/x"), [401; 3]);
    assert!(second.conn.closes_within(soon));
    third.send_text("still here");
    assert_eq!(third.text(), "still here");
    assert_eq!(statuses(&gateway, &other, "/x"), [200; 3]);

    let allow = ["session", "revoke", "--jwt-issuer", "ci", "--sub", "ann", "--allow"];
    let _ = gateway.cli(&allow).expect(0);
    assert_eq!(statuses(&gateway, &two, "/x"), [200; 3]);
    assert_eq!(statuses(&gateway, &one, "/x"), [401; 3], "the one by its id stays denied");
    assert!(gateway.cli(&allow).expect(1).stderr.contains("not denied"));

    let unknown = gateway.cli(&["session", "revoke", "--jwt-issuer", "cd", "--sub", "x"]).expect(1);
    assert!(unknown.stderr.contains("`cd`") && unknown.stderr.contains("ci"), "{}", unknown.stderr);
    for wrong in [
        &["session", "revoke"][..],
        &["session", "revoke", "--jwt-issuer", "ci"],
        &["session", "revoke", "--sub", "x"],
        &["session", "revoke", "--jwt-issuer", "ci", "--sub", "x", "--jti", "y"],
    ] {
        let _ = gateway.cli(wrong).expect(2);
    }
}

#[test]
fn a_websocket_ends_with_the_token_that_opened_it() {
    let (app, issuer) = (Recorder::start(), ForeignIssuer::start());
    let gateway = start(&issuer, route(&app));
    let claims = issuer.claims("robot");
    // A minute of leeway holds for the end as well: this one has a few seconds left of it.
    let over = claims["iat"].as_i64().unwrap() - 57;
    let token = issuer.sign(&with(claims, "exp", json!(over)));
    let mut socket = socket(&gateway.with_bearer(&token), &gateway);
    assert!(socket.conn.closes_within(Duration::from_secs(20)));
    assert_eq!(statuses(&gateway, &token, "/x"), [401; 3]);
}

#[test]
fn rfc_9728_a_401_says_where_to_read_whose_token_would_do() {
    let (app, issuer) = (Recorder::start(), ForeignIssuer::start());
    let inspector = "https://inspector.example.org";
    let route = route(&app).set("cors_origins", &format!("[\"{inspector}\"]"));
    let gateway = start(&issuer, route.rule(&["/me"], &[], "signed-in"));
    let link = format!("resource_metadata=\"{METADATA}\"");
    for door in Door::ALL {
        let mut nobody = gateway.anonymous();
        let asked = nobody.ask(door, "GET", &format!("{API}/x"));
        let told = asked.header("www-authenticate").unwrap();
        assert_eq!((asked.status, told.starts_with("Bearer ")), (401, true), "{door:?}");
        assert!(told.contains(&link) && !told.contains("error="), "{door:?}: {told}");
        let bad = gateway.with_bearer(&format!("{}x", issuer.token("robot")));
        let bad = bad.clone().ask(door, "GET", &format!("{API}/x"));
        let told = bad.header("www-authenticate").unwrap();
        assert!(told.contains(&link) && told.contains("error=\"invalid_token\""), "{told}");
        // A rule that takes none says nothing of the kind.
        let plain = nobody.ask(door, "GET", &format!("{API}/me"));
        let told = plain.header("www-authenticate").unwrap();
        assert!(told.starts_with("Bearer ") && !told.contains("resource_metadata"), "{told}");
    }
    let page = Request::get(&format!("{API}/x")).header("Origin", inspector);
    let page = gateway.client().send(&page).expect(401);
    assert_eq!(page.header("access-control-allow-origin"), Some(inspector));
    assert_eq!(page.header("access-control-expose-headers"), Some("WWW-Authenticate"));
}

#[test]
fn rfc_9728_the_document_is_told_to_anybody_before_any_rule() {
    let (app, issuer) = (Recorder::start(), ForeignIssuer::start());
    let gateway = gateway()
        .toml(&issuer.toml("ci"))
        .route(Route::new("api", "api.example.test").upstream(app.url()).access("deny").rule(
            &["/v1/*"],
            &[],
            "{ credentials = [\"jwt:ci\"], scopes = [\"read\"] }",
        ))
        .route(Route::new("wiki", "wiki.example.test").upstream(app.url()).access("public"))
        .start();
    let client = gateway.client();
    let document = client.send(&Request::get(METADATA)).expect(200);
    assert_eq!(document.header("content-type"), Some("application/json"));
    assert_eq!(document.header("access-control-allow-origin"), Some("*"));
    assert!(document.header("cache-control").unwrap().contains("max-age="));
    assert_eq!(
        document.json(),
        json!({
            "resource": API,
            "authorization_servers": [issuer.issuer()],
            "bearer_methods_supported": ["header"],
            "scopes_supported": ["read"],
        })
    );
    let head = client.send(&Request::new("HEAD", METADATA)).expect(200);
    assert!(head.body.is_empty() && head.header("content-length").is_some());
    let preflight = Request::new("OPTIONS", METADATA)
        .header("Origin", "https://inspector.example.org")
        .header("Access-Control-Request-Method", "GET")
        .header("Access-Control-Request-Headers", "mcp-protocol-version");
    let preflight = client.send(&preflight).expect(204);
    assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));
    assert_eq!(preflight.header("access-control-allow-headers"), Some("*"));
    let post = client.send(&Request::new("POST", METADATA)).expect(405);
    assert_eq!(post.header("allow"), Some("GET, HEAD, OPTIONS"));
    assert_eq!(post.header("x-vestibule"), Some("METHOD_NOT_ALLOWED"));
    assert_eq!(app.count(), 0);
    // A bad credential is no reason to hide it.
    let bad = Request::get(METADATA).header("Authorization", "Bearer vst_nonsense");
    let _ = client.send(&bad).expect(200);
    // A neighbour of the path is the rules' affair, and so is the path on another host.
    assert_eq!(client.send(&Request::get(&format!("{METADATA}/x"))).status, 403);
    let other = METADATA.replace("api.", "wiki.");
    let _ = client.send(&Request::get(&other)).expect(200);
    assert_eq!(app.last().target, "/.well-known/oauth-protected-resource");
    // A hook has no document to give: the rules decide there as well.
    let hook = gateway.anonymous().ask(Door::ForwardAuth, "GET", METADATA);
    assert_eq!(hook.status, 403);
}

#[test]
fn b1_b2_a_providers_token_is_told_by_nobody_but_us() {
    let app = Recorder::start();
    let gateway = gateway()
        .route(Route::new("wiki", "wiki.example.test").upstream(app.url()).access("public"))
        .start();
    let names = ["X-Forwarded-Access-Token", "X-Forwarded-Id-Token"];
    for name in names {
        assert!(MANAGED.contains(&name.to_lowercase().as_str()));
        for spelled in [
            name.to_owned(),
            name.to_lowercase(),
            name.to_uppercase(),
            name.replace('-', "_"),
            name.replace('-', "."),
            name.replacen('-', "_", 1),
        ] {
            for source in ["127.0.0.1", vestibule_testkit::TRUSTED] {
                let request = Request::get("https://wiki.example.test/").header(&spelled, "forged");
                let answer = gateway.client().from(source).send(&request);
                assert!(matches!(answer.status, 200 | 400), "{spelled}: {answer:?}");
                if answer.status == 200 {
                    assert!(!app.last().holds("forged"), "{spelled} from {source}");
                }
            }
        }
        for door in [Door::ForwardAuth, Door::AuthRequest] {
            let mut forger = gateway.anonymous().with_header(name, "forged");
            let hook = forger.ask(door, "GET", "https://wiki.example.test/").expect(200);
            assert_eq!(hook.header(name), Some(""), "{door:?} answers every managed name");
        }
    }
}

#[test]
fn explain_answers_for_a_foreign_token() {
    let (app, issuer) = (Recorder::start(), ForeignIssuer::start());
    let rule = "{ credentials = [\"jwt:ci\"], users = [\"ci:robot\"] }";
    let gateway = start(&issuer, route(&app).rule(&["/robot"], &[], rule));
    let explain = |sub: &str, credential: &str| {
        let url = format!("{API}/robot");
        gateway.cli(&["explain", "GET", &url, "--as", sub, "--credential", credential])
    };
    assert!(explain("robot", "jwt:ci").expect(0).stdout.starts_with("allow"));
    assert!(explain("other", "jwt:ci").expect(0).stdout.starts_with("deny"));
    assert!(explain("robot", "jwt:cd").expect(1).stderr.contains("jwt_issuer"));
    let _ = explain("robot", "basic").expect(2);
}
