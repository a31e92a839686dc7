//! Bearer tokens of `[[jwt_issuer]]`: who they prove, and everything that proves nobody.

use std::sync::Arc;

use serde_json::{Value, json};
use vestibule_authn::authenticate::{Audience, Outcome};
use vestibule_authn::ports::{DeniedBy, DeniedJwt, Store as _};
use vestibule_core::account::{Role, Status};
use vestibule_core::credential::CredentialKind;
use vestibule_core::secret::Secret;
use vestibule_core::settings::jwt_issuer::{Introspection, JwtClaims, JwtIssuer};
use vestibule_core::time::UnixMillis;
use vestibule_testkit::ForeignIssuer;
use vestibule_testkit::jose::{self, Key};
use vestibule_testkit::provider::OpFault;

use crate::house::*;

fn config(issuer: &ForeignIssuer, name: &str) -> JwtIssuer {
    JwtIssuer {
        name: name.into(),
        issuer: issuer.issuer().to_owned(),
        jwks_url: Some(issuer.jwks_url()),
        audience: vec!["vestibule".to_owned()],
        algorithms: ["RS256", "ES256", "EdDSA"].map(str::to_owned).to_vec(),
        claims: JwtClaims::default(),
        introspection: None,
    }
}

/// One that is asked about everything.
fn asked(issuer: &ForeignIssuer, name: &str) -> JwtIssuer {
    JwtIssuer {
        jwks_url: None,
        introspection: Some(Introspection {
            url: issuer.introspection_url(),
            client_id: ForeignIssuer::CLIENT_ID.to_owned(),
            client_secret: Some(Secret::new(issuer.client_secret())),
        }),
        ..config(issuer, name)
    }
}

async fn house(issuers: Vec<JwtIssuer>) -> House {
    House::with(|settings| settings.jwt_issuers = issuers).await
}

async fn ci() -> (ForeignIssuer, House) {
    let issuer = ForeignIssuer::with(Key::ed("a"));
    let house = house(vec![config(&issuer, "ci")]).await;
    (issuer, house)
}

fn claims(issuer: &ForeignIssuer, sub: &str) -> Value {
    let now = NOW.secs();
    json!({"iss": issuer.issuer(), "sub": sub, "aud": "vestibule", "iat": now, "exp": now + 300})
}

fn with(mut claims: Value, name: &str, value: Option<Value>) -> Value {
    match value {
        Some(value) => claims[name] = value,
        None => drop(claims.as_object_mut().unwrap().remove(name)),
    }
    claims
}

/// A bearer token on a route whose rules name these issuers.
fn on_route(token: &str, issuers: &[&str]) -> Request {
    Request {
        takes_issuers: issuers.iter().map(|name| Arc::from(*name)).collect(),
        ..bearer(token)
    }
}

async fn ask(house: &House, request: &Request, now: UnixMillis) -> Outcome {
    house.ask_as(request, Audience::App(APP), CLIENT, now).await
}

fn texts<'a>(identity: &'a vestibule_core::identity::Identity, name: &str) -> Vec<&'a str> {
    identity.claims.iter().filter(|(own, _)| **own == *name).map(|(_, text)| &**text).collect()
}

#[tokio::test]
async fn a_jwt_of_an_issuer_proves_its_name_and_subject_and_nothing_besides() {
    for key in [Key::rsa(0, "a"), Key::ec("a"), Key::ed("a")] {
        let issuer = ForeignIssuer::with(key);
        let house = house(vec![config(&issuer, "ci")]).await;
        let mut body = claims(&issuer, "repo:a/b:ref:refs/heads/main");
        for (name, value) in [
            ("email", json!("root@example.com")),
            ("email_verified", json!(true)),
            ("groups", json!(["admins"])),
            ("role", json!("admin")),
            ("preferred_username", json!("root")),
        ] {
            body[name] = value;
        }
        let identity = who(&ask(&house, &bearer(&issuer.sign(&body)), NOW).await);
        assert_eq!(&*identity.username, "ci:repo:a/b:ref:refs/heads/main");
        assert_eq!(identity.credential, CredentialKind::Jwt("ci".into()));
        assert_eq!((identity.account, identity.session, identity.key), (None, None, None));
        assert_eq!((identity.role, identity.status), (Role::User, Status::Active));
        assert_eq!((&identity.email, &*identity.name, identity.groups.len()), (&None, "", 0));
        assert!(!identity.mfa && identity.auth_time.is_none());
        assert_eq!(texts(&identity, "groups"), ["admins"]);
        // The leeway holds for the end as well.
        assert!(is_identified(&ask(&house, &bearer(&issuer.sign(&body)), after(359)).await));
        assert!(is_rejected(&ask(&house, &bearer(&issuer.sign(&body)), after(360)).await));
        assert_eq!(issuer.jwks_hits(), 1);
    }
}

#[tokio::test]
async fn g1_g2_a_claim_of_another_type_time_issuer_or_audience_is_refused() {
    let (issuer, house) = ci().await;
    let now = NOW.secs();
    let good = claims(&issuer, "robot");
    let mut bad = Vec::new();
    for value in [
        json!("9999999999"),
        json!(null),
        json!([]),
        json!([now + 60]),
        json!({}),
        json!(true),
        json!(1.5e10),
        json!(-1),
        json!(1e300),
        json!(u64::MAX),
        json!(0),
        json!(now - 60),
    ] {
        bad.push(("exp", Some(value)));
    }
    for value in [json!("0"), json!(null), json!([]), json!(true), json!(1.5), json!(now + 61)] {
        bad.push(("nbf", Some(value.clone())));
        bad.push(("iat", Some(value)));
    }
    for value in [
        json!("other"),
        json!(["other"]),
        json!(["vestibule", 1]),
        json!([]),
        json!(null),
        json!({"vestibule": 1}),
        json!("Vestibule"),
        json!("vestibule "),
        json!(true),
    ] {
        bad.push(("aud", Some(value)));
    }
    for value in [
        json!(""),
        json!(null),
        json!(1),
        json!(["robot"]),
        json!({}),
        json!("a\nb"),
        json!("a\u{0}"),
        json!("a\u{7f}"),
        json!("a\u{85}"),
        json!(" robot"),
        json!("robot "),
    ] {
        bad.push(("sub", Some(value)));
    }
    bad.extend([("jti", Some(json!(1))), ("jti", Some(json!(["x"])))]);
    bad.extend(["exp", "aud", "sub"].map(|name| (name, None)));
    bad.push(("events", Some(json!({"http://schemas.openid.net/event/backchannel-logout": {}}))));
    bad.push(("cnf", Some(json!({"jkt": "x"}))));
    for (name, value) in bad {
        let body = with(good.clone(), name, value);
        let token = issuer.sign(&body);
        assert!(is_rejected(&ask(&house, &bearer(&token), NOW).await), "{body}");
        assert!(is_rejected(&ask(&house, &on_route(&token, &["ci"]), NOW).await), "{body}");
    }
    // Somebody else's token is the app's own, wherever it is shown.
    let other = with(good.clone(), "iss", Some(json!("https://other.example.com")));
    for token in [issuer.sign(&other), issuer.sign(&with(good.clone(), "iss", Some(json!([1]))))] {
        assert!(is_nothing(&house.read(&on_route(&token, &["ci"]))));
        assert!(!house.read(&bearer(&token)).authorization_is_ours);
    }
    for value in [json!(["x", "vestibule"]), json!("vestibule")] {
        let token = issuer.sign(&with(good.clone(), "aud", Some(value)));
        assert!(is_identified(&ask(&house, &bearer(&token), NOW).await));
    }
}

#[tokio::test]
async fn only_typ_absent_jwt_and_at_jwt_are_taken() {
    let (issuer, house) = ci().await;
    let (key, body) = (issuer.key(), claims(&issuer, "robot"));
    for (typ, taken) in [
        (json!("JWT"), true),
        (json!("jwt"), true),
        (json!("at+jwt"), true),
        (json!("application/at+jwt"), true),
        (json!("logout+jwt"), false),
        (json!("vestibule-assertion+jwt"), false),
        (json!("dpop+jwt"), false),
        (json!(""), false),
        (json!(1), false),
        (json!(null), false),
    ] {
        let token = key.jwt_with(&json!({"alg": "EdDSA", "kid": "a", "typ": typ}), &body);
        assert_eq!(is_identified(&ask(&house, &bearer(&token), NOW).await), taken, "{typ}");
    }
}

#[tokio::test]
async fn rfc8725_whatever_a_token_says_about_keys_and_algorithms_vouches_for_nothing() {
    let issuer = ForeignIssuer::with(Key::rsa(0, "a"));
    let house = house(vec![config(&issuer, "ci")]).await;
    let (key, body) = (issuer.key(), claims(&issuer, "robot"));
    let payload = body.to_string();
    let other = Key::rsa(1, "a");
    let mut bad = Vec::new();
    for alg in ["none", "nOnE", "None", "NONE", ""] {
        let unsigned =
            jose::unsigned(&json!({"alg": alg, "kid": "a"}).to_string(), payload.as_bytes());
        bad.push((format!("alg {alg}"), format!("{unsigned}.")));
        bad.push((
            format!("alg {alg}, signed"),
            key.jwt_with(&json!({"alg": alg, "kid": "a"}), &body),
        ));
    }
    for alg in ["HS256", "HS384", "HS512"] {
        let unsigned =
            jose::unsigned(&json!({"alg": alg, "kid": "a"}).to_string(), payload.as_bytes());
        let tag = jose::hs256(key.public_pem().as_bytes(), unsigned.as_bytes());
        bad.push((format!("{alg} by the public key"), format!("{unsigned}.{}", jose::b64(&tag))));
    }
    // Good signatures, of algorithms that the issuer's list leaves out.
    for alg in ["RS384", "RS512", "PS256"] {
        bad.push((alg.to_owned(), key.jwt_with(&json!({"alg": alg, "kid": "a"}), &body)));
    }
    for (what, more) in [
        ("embedded jwk", json!({"jwk": other.jwk()})),
        ("jku", json!({"jku": issuer.trap_url()})),
        ("x5u", json!({"x5u": issuer.trap_url()})),
        ("x5c", json!({"x5c": ["AAAA"]})),
        ("another key's signature", json!({})),
    ] {
        let mut header = json!({"alg": "RS256", "kid": "a"});
        header.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        bad.push((what.to_owned(), other.jwt_with(&header, &body)));
    }
    for kid in ["../../dev/null", "a' OR '1'='1", "", "A", "\u{0}"] {
        bad.push((
            format!("kid {kid:?}"),
            key.jwt_with(&json!({"alg": "RS256", "kid": kid}), &body),
        ));
    }
    for more in [
        json!({"crit": ["exp"]}),
        json!({"crit": []}),
        json!({"zip": "DEF"}),
        json!({"b64": false}),
        json!({"enc": "A128GCM"}),
        json!({"kid": 1}),
        json!({"kid": null}),
        json!({"alg": ["RS256"]}),
    ] {
        let mut header = json!({"alg": "RS256", "kid": "a"});
        header.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        bad.push((header.to_string(), key.jwt_with(&header, &body)));
    }
    let header = r#"{"alg":"RS256","kid":"a"}"#;
    bad.push((
        "alg twice".into(),
        key.jwt_of(r#"{"alg":"none","alg":"RS256","kid":"a"}"#, payload.as_bytes()),
    ));
    let twice = payload.replacen('{', "{\"sub\":\"root\",", 1);
    bad.push(("sub twice".into(), key.jwt_of(header, twice.as_bytes())));
    let deep = payload.replacen('{', "{\"x\":{\"y\":1,\"y\":2},", 1);
    bad.push(("a name twice within".into(), key.jwt_of(header, deep.as_bytes())));
    for (what, token) in bad {
        let outcome = ask(&house, &on_route(&token, &["ci"]), NOW).await;
        assert!(is_rejected(&outcome), "{what}: {outcome:?}");
    }
    assert_eq!(issuer.trap_hits(), 0);
    assert!(is_identified(&ask(&house, &bearer(&issuer.sign(&body)), NOW).await));
}

#[tokio::test]
async fn rfc8725_an_all_zero_signature_and_short_keys_are_none() {
    let ec = ForeignIssuer::with(Key::ec("a"));
    let house_of_ec = house(vec![config(&ec, "ci")]).await;
    let token = ec.sign(&claims(&ec, "robot"));
    let zeros = format!("{}.{}", token.rsplit_once('.').unwrap().0, jose::b64(&[0; 64]));
    assert!(is_rejected(&ask(&house_of_ec, &bearer(&zeros), NOW).await));
    assert!(is_identified(&ask(&house_of_ec, &bearer(&token), NOW).await));
    let short = ForeignIssuer::with(Key::short_rsa("a"));
    let house = house(vec![config(&short, "ci")]).await;
    let token = short.sign(&claims(&short, "robot"));
    assert!(is_rejected(&ask(&house, &bearer(&token), NOW).await));
    // Beside a good key, too.
    short.publish(vec![Key::rsa(0, "good").jwk(), short.key().jwk()]);
    assert!(is_rejected(&ask(&house, &bearer(&token), after(40)).await));
}

#[tokio::test]
async fn two_issuers_in_one_token_are_ours_and_bad() {
    let (issuer, house) = ci().await;
    let body = claims(&issuer, "robot").to_string();
    for first in ["https://other.example.com", PORTAL, issuer.issuer()] {
        let twice = body.replacen('{', &format!("{{\"iss\":\"{first}\","), 1);
        let token = issuer.key().jwt_of(r#"{"alg":"EdDSA","kid":"a"}"#, twice.as_bytes());
        let request = bearer(&token);
        assert!(house.read(&request).authorization_is_ours, "{first}");
        assert!(is_rejected(&ask(&house, &request, NOW).await), "{first}");
    }
}

#[tokio::test]
async fn g3_a_bad_token_beside_a_good_cookie_is_bad() {
    let (issuer, house) = ci().await;
    let ann = house.account("ann@example.com").await;
    let session = house.session(&ann).await;
    let bad = issuer.sign(&with(claims(&issuer, "robot"), "aud", Some(json!("other"))));
    let both = Request { authorization: Some(format!("Bearer {bad}")), ..cookie(&session.token) };
    assert!(is_rejected(&house.ask(&both, NOW).await));
    let unknown = bad.replacen(&bad[..10], "eyAAAAAAAA", 1);
    assert!(!is_nothing(&house.read(&bearer(&unknown))), "ours by its issuer, whatever its header");
}

#[tokio::test]
async fn g12_g13_odd_separators_and_long_tokens_are_refused_before_anything_is_read() {
    let (issuer, house) = ci().await;
    let token = issuer.sign(&claims(&issuer, "robot"));
    for value in [
        format!("Bearer\t{token}"),
        format!("Bearer  {token}"),
        format!("Bearer {token},"),
        format!("Bearer, {token}"),
        format!("Bearer {token} x"),
        format!("Bearer \"{token}\""),
    ] {
        assert!(is_rejected(&ask(&house, &authorization(&value), NOW).await), "{value}");
    }
    for scheme in ["bearer", "BEARER"] {
        let request = authorization(&format!("{scheme} {token}"));
        assert!(is_identified(&ask(&house, &request, NOW).await));
    }
    let long = issuer.sign(&with(claims(&issuer, "robot"), "x", Some(json!("x".repeat(16 << 10)))));
    let hits = issuer.jwks_hits();
    assert!(is_rejected(&ask(&house, &bearer(&long), NOW).await));
    assert_eq!(issuer.jwks_hits(), hits);
    let jwe = format!("{}.a.b", token);
    assert!(is_nothing(&house.read(&bearer(&jwe))), "five parts are nobody's");
}

#[tokio::test]
async fn the_claims_map_says_what_counts_and_an_email_needs_to_be_verified() {
    let issuer = ForeignIssuer::with(Key::ed("a"));
    let mapped = JwtIssuer {
        claims: JwtClaims {
            username: Some("preferred_username".to_owned()),
            email: Some("email".to_owned()),
            groups: Some("realm_access.roles".to_owned()),
            role: Some("role".to_owned()),
        },
        ..config(&issuer, "ci")
    };
    let house = house(vec![mapped]).await;
    let mut body = claims(&issuer, "42");
    for (name, value) in [
        ("preferred_username", json!("Ann Example")),
        ("email", json!("Ann@Example.com")),
        ("email_verified", json!(true)),
        ("realm_access", json!({"roles": ["staff", "a,b", 7, "admins", "staff"]})),
        ("role", json!("admin")),
    ] {
        body[name] = value;
    }
    let identity = who(&ask(&house, &bearer(&issuer.sign(&body)), NOW).await);
    assert_eq!((&*identity.username, &*identity.name), ("ci:42", "Ann Example"));
    assert_eq!(identity.email.as_deref(), Some("ann@example.com"));
    assert_eq!(identity.groups.iter().map(|g| g.as_str()).collect::<Vec<_>>(), ["admins", "staff"]);
    assert_eq!(identity.role, Role::Admin);
    assert_eq!(texts(&identity, "realm_access.roles"), ["staff", "a,b", "admins", "staff"]);
    for (name, value) in [
        ("email_verified", Some(json!(false))),
        ("email_verified", Some(json!("true"))),
        ("email_verified", Some(json!(1))),
        ("email_verified", None),
        ("email", Some(json!("a@evil.com@example.com"))),
        ("email", Some(json!("ann\u{ff20}example.com"))),
        ("email", Some(json!(["ann@example.com"]))),
    ] {
        let token = issuer.sign(&with(body.clone(), name, value.clone()));
        let identity = who(&ask(&house, &bearer(&token), NOW).await);
        assert_eq!(identity.email, None, "{name} {value:?}");
    }
    for role in [json!(["admin"]), json!("Admin"), json!("owner"), json!(true)] {
        let token = issuer.sign(&with(body.clone(), "role", Some(role.clone())));
        assert_eq!(who(&ask(&house, &bearer(&token), NOW).await).role, Role::User, "{role}");
    }
    let one = issuer.sign(&with(body, "realm_access", Some(json!({"roles": "staff"}))));
    assert_eq!(who(&ask(&house, &bearer(&one), NOW).await).groups.len(), 1);
}

#[tokio::test]
async fn scopes_are_read_from_scope_and_where_there_is_none_from_scp() {
    let (issuer, house) = ci().await;
    for (name, value, read) in [
        ("scope", json!("read write"), &["read write"][..]),
        ("scope", json!(["read", "write"]), &["read", "write"]),
        ("scp", json!(["read", "write"]), &["read", "write"]),
        ("scp", json!("read write"), &["read write"]),
    ] {
        let token = issuer.sign(&with(claims(&issuer, "robot"), name, Some(value)));
        let identity = who(&ask(&house, &bearer(&token), NOW).await);
        assert_eq!(texts(&identity, "scope"), read);
        assert!(identity.scopes.is_all());
    }
    let both = with(claims(&issuer, "robot"), "scope", Some(json!("read")));
    let both = issuer.sign(&with(both, "scp", Some(json!(["admin"]))));
    assert_eq!(texts(&who(&ask(&house, &bearer(&both), NOW).await), "scope"), ["read"]);
}

#[tokio::test]
async fn g4_one_token_is_judged_for_each_issuer_by_itself_in_any_order() {
    let issuer = ForeignIssuer::with(Key::ed("a"));
    let entry = |name: &str, audience: &str| JwtIssuer {
        audience: vec![audience.to_owned()],
        ..config(&issuer, name)
    };
    for order in [["one", "two"], ["two", "one"]] {
        let house = house(vec![entry("one", "first"), entry("two", "second")]).await;
        let both = with(claims(&issuer, "robot"), "aud", Some(json!(["first", "second"])));
        let both = issuer.sign(&both);
        let first = issuer.sign(&with(claims(&issuer, "robot"), "aud", Some(json!("first"))));
        for _ in 0..2 {
            for name in order {
                let named = who(&ask(&house, &on_route(&both, &[name]), NOW).await);
                assert_eq!(*named.username, format!("{name}:robot"));
                // A token for one of them is never the other's, whatever the route names.
                let only = who(&ask(&house, &on_route(&first, &[name]), NOW).await);
                assert_eq!(&*only.username, "one:robot");
            }
        }
    }
}

#[tokio::test]
async fn g9_x23_ten_thousand_unknown_keys_cost_one_fetch_and_one_more() {
    let (issuer, house) = ci().await;
    let key = issuer.key();
    let before = house.store.questions();
    for n in 0..10_000 {
        let header = json!({"alg": "EdDSA", "kid": format!("unknown-{n}")});
        let token = key.jwt_with(&header, &claims(&issuer, "robot"));
        assert!(is_rejected(&ask(&house, &bearer(&token), NOW).await), "{n}");
    }
    assert!(issuer.jwks_hits() <= 2, "{}", issuer.jwks_hits());
    let good = issuer.sign(&claims(&issuer, "robot"));
    assert!(is_identified(&ask(&house, &bearer(&good), NOW).await));
    let asked = house.store.questions() - before;
    assert!(asked < 10, "no token that does not hold costs the store anything: {asked}");
}

#[tokio::test]
async fn x21_a_new_key_is_found_at_once_and_a_removed_one_stops_working() {
    let (issuer, house) = ci().await;
    let first = issuer.key();
    assert!(is_identified(&ask(&house, &bearer(&first.jwt(&claims(&issuer, "a"))), NOW).await));
    issuer.rotate(Key::ed("b"), true);
    let new = issuer.sign(&claims(&issuer, "robot"));
    assert!(is_identified(&ask(&house, &bearer(&new), NOW).await));
    assert!(is_rejected(&ask(&house, &bearer(&first.jwt(&claims(&issuer, "b"))), NOW).await));
}

#[tokio::test]
async fn d1_without_keys_nobody_is_let_in_and_nothing_is_remembered() {
    let (issuer, house) = ci().await;
    let token = issuer.sign(&claims(&issuer, "robot"));
    for fault in [OpFault::Down, OpFault::Html, OpFault::Status(500), OpFault::Truncated] {
        issuer.fault(Some(fault.clone()));
        assert!(is_rejected(&ask(&house, &bearer(&token), NOW).await), "{fault:?}");
    }
    issuer.fault(None);
    assert!(is_identified(&ask(&house, &bearer(&token), after(10)).await));
}

#[tokio::test]
async fn an_opaque_token_is_asked_about_where_a_rule_names_its_issuer_and_is_the_apps_elsewhere() {
    let issuer = ForeignIssuer::with(Key::ed("a"));
    let house = house(vec![asked(&issuer, "corp")]).await;
    let token = issuer.opaque(json!({
        "active": true, "sub": "robot", "scope": "read write", "client_id": "x", "aud": "vestibule",
    }));
    let elsewhere = house.read(&bearer(&token));
    assert!(is_nothing(&elsewhere) && !elsewhere.authorization_is_ours);
    let request = on_route(&token, &["corp"]);
    assert!(house.read(&request).authorization_is_ours);
    for _ in 0..20 {
        let identity = who(&ask(&house, &request, NOW).await);
        assert_eq!(&*identity.username, "corp:robot");
        assert_eq!(identity.credential, CredentialKind::Jwt("corp".into()));
        assert_eq!(texts(&identity, "scope"), ["read write"]);
    }
    let questions = issuer.introspected();
    assert_eq!(questions.len(), 1);
    assert_eq!(questions[0].form("token").as_deref(), Some(&*token));
    let wrong = on_route("no-such-token", &["corp"]);
    assert!(is_rejected(&ask(&house, &wrong, NOW).await));
    assert!(is_rejected(&ask(&house, &wrong, NOW).await));
    assert_eq!(issuer.introspected().len(), 2, "a wrong one is remembered for a moment");
    // What is ours by another form is not asked about.
    let key = on_route("vst_nonsense", &["corp"]);
    assert!(is_rejected(&ask(&house, &key, NOW).await));
    let empty = authorization("Bearer");
    let empty = Request { takes_issuers: vec!["corp".into()], ..empty };
    assert!(is_rejected(&ask(&house, &empty, NOW).await));
    assert_eq!(issuer.introspected().len(), 2);
}

#[tokio::test]
async fn a_jwt_of_an_issuer_without_keys_is_asked_about_anywhere() {
    let issuer = ForeignIssuer::with(Key::ed("a"));
    let house = house(vec![asked(&issuer, "corp")]).await;
    let token = issuer.sign(&claims(&issuer, "robot"));
    assert!(is_rejected(&ask(&house, &bearer(&token), NOW).await));
    assert_eq!(issuer.introspected().len(), 1);
}

#[tokio::test]
async fn what_introspection_says_is_held_to_the_same_rules() {
    let issuer = ForeignIssuer::with(Key::ed("a"));
    let house = house(vec![asked(&issuer, "corp")]).await;
    let now = NOW.secs();
    let good = json!({"active": true, "sub": "robot"});
    for (name, value) in [
        ("active", Some(json!("true"))),
        ("active", Some(json!(1))),
        ("active", None),
        ("active", Some(json!(false))),
        ("sub", None),
        ("sub", Some(json!(""))),
        ("sub", Some(json!("a\nb"))),
        ("iss", Some(json!("https://other.example.com"))),
        ("iss", Some(json!(null))),
        ("aud", Some(json!("other"))),
        ("aud", Some(json!(1))),
        ("exp", Some(json!(now - 60))),
        ("exp", Some(json!("9999999999"))),
        ("exp", Some(json!(null))),
        ("nbf", Some(json!(now + 61))),
        ("iat", Some(json!(now + 61))),
        ("token_type", Some(json!("refresh_token"))),
        ("token_use", Some(json!("refresh_token"))),
        ("token_type", Some(json!("DPoP"))),
    ] {
        let token = issuer.opaque(with(good.clone(), name, value.clone()));
        let outcome = ask(&house, &on_route(&token, &["corp"]), NOW).await;
        assert!(is_rejected(&outcome), "{name} {value:?}: {outcome:?}");
    }
    let whole = json!({
        "active": true, "sub": "robot", "iss": issuer.issuer(), "aud": ["vestibule"],
        "exp": now + 20, "iat": now, "nbf": now, "token_type": "Bearer",
    });
    let token = issuer.opaque(whole);
    let request = on_route(&token, &["corp"]);
    let before = issuer.introspected().len();
    assert!(is_identified(&ask(&house, &request, NOW).await));
    assert!(is_identified(&ask(&house, &request, after(19)).await));
    assert_eq!(issuer.introspected().len(), before + 1);
    issuer.end(&token);
    assert!(is_rejected(&ask(&house, &request, after(20)).await), "asked again at its end");
}

#[tokio::test]
async fn x20_an_endpoint_that_is_ill_lets_nobody_in_and_is_asked_again_at_once() {
    let issuer = ForeignIssuer::with(Key::ed("a"));
    let house = house(vec![asked(&issuer, "corp")]).await;
    let token = issuer.opaque(json!({"active": true, "sub": "robot"}));
    let request = on_route(&token, &["corp"]);
    for fault in [
        OpFault::Down,
        OpFault::Html,
        OpFault::Redirect(format!("{}/trap", issuer.issuer())),
        OpFault::Status(500),
        OpFault::Status(503),
        OpFault::TooLarge,
        OpFault::Truncated,
        OpFault::WrongType,
    ] {
        issuer.fault(Some(fault.clone()));
        assert!(is_rejected(&ask(&house, &request, NOW).await), "{fault:?}");
    }
    issuer.fault(None);
    assert!(is_identified(&ask(&house, &request, NOW).await));
    assert_eq!(issuer.trap_hits(), 0);
}

#[tokio::test]
async fn x23_wrong_opaque_tokens_of_one_client_are_limited_and_others_are_not() {
    let issuer = ForeignIssuer::with(Key::ed("a"));
    let house = house(vec![asked(&issuer, "corp")]).await;
    let mut limited = 0;
    for n in 0..200 {
        let request = on_route(&format!("guess-{n}"), &["corp"]);
        match ask(&house, &request, NOW).await {
            Outcome::RateLimited(_) => limited += 1,
            outcome => assert!(is_rejected(&outcome), "{outcome:?}"),
        }
    }
    assert_eq!((limited, issuer.introspected().len()), (100, 100));
    let good = issuer.opaque(json!({"active": true, "sub": "robot"}));
    let request = on_route(&good, &["corp"]);
    let other = house.ask_as(&request, Audience::App(APP), OTHER_CLIENT, NOW).await;
    assert!(is_identified(&other));
}

#[tokio::test]
async fn x27_a_hundred_at_once_ask_one_question() {
    let issuer = ForeignIssuer::with(Key::ed("a"));
    let house = Arc::new(house(vec![asked(&issuer, "corp")]).await);
    let token = issuer.opaque(json!({"active": true, "sub": "robot"}));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (house, request) = (house.clone(), on_route(&token, &["corp"]));
        tasks.spawn(async move { is_identified(&ask(&house, &request, NOW).await) });
    }
    while let Some(good) = tasks.join_next().await {
        assert!(good.unwrap());
    }
    assert_eq!(issuer.introspected().len(), 1);
}

#[tokio::test]
async fn denied_by_subject_or_jti_it_is_bad_at_the_next_request_and_streams_end() {
    let (issuer, house) = ci().await;
    let token =
        |sub: &str, jti: &str| issuer.sign(&with(claims(&issuer, sub), "jti", Some(json!(jti))));
    let (one, two, other) = (token("ann", "1"), token("ann", "2"), token("bob", "3"));
    let mut streams = Vec::new();
    for token in [&one, &two, &other] {
        let identity = who(&ask(&house, &bearer(token), NOW).await);
        streams.push(house.authn.watch(&identity));
    }
    let deny = |by: DeniedBy| DeniedJwt { issuer: issuer.issuer().to_owned(), by };
    house.authn.deny_jwt(deny(DeniedBy::Jti("1".into())), &cli(), NOW).await.unwrap();
    assert!(is_rejected(&ask(&house, &bearer(&one), NOW).await));
    assert!(is_identified(&ask(&house, &bearer(&two), NOW).await));
    streams.remove(0).ended().await;
    // As another process does it.
    house.store.deny_jwt(deny(DeniedBy::Sub("ann".into())), NOW).await.unwrap();
    house.authn.store_changed_outside().await;
    assert!(is_rejected(&ask(&house, &bearer(&two), NOW).await));
    assert!(is_identified(&ask(&house, &bearer(&other), NOW).await));
    streams.remove(0).ended().await;
    let still = tokio::time::timeout(std::time::Duration::ZERO, streams.remove(0).ended()).await;
    assert!(still.is_err(), "another subject's stream goes on");
    assert!(house.authn.allow_jwt(deny(DeniedBy::Sub("ann".into()))).await.unwrap());
    assert!(is_identified(&ask(&house, &bearer(&two), NOW).await));
    assert!(!house.authn.allow_jwt(deny(DeniedBy::Sub("ann".into()))).await.unwrap());
    assert!(house.audited().await.contains(&"session.revoked"));
}

#[tokio::test]
async fn a_stream_that_opens_while_its_token_is_denied_outside_ends() {
    let (issuer, house) = ci().await;
    let token = issuer.sign(&claims(&issuer, "ann"));
    let identity = who(&ask(&house, &bearer(&token), NOW).await);
    let denied =
        DeniedJwt { issuer: issuer.issuer().to_owned(), by: DeniedBy::Sub("ann".to_owned()) };
    house.store.deny_jwt(denied, NOW).await.unwrap();
    house.authn.store_changed_outside().await;
    house.authn.watch(&identity).ended().await;
}

#[tokio::test]
async fn no_store_is_no_yes_and_no_no() {
    let (issuer, house) = ci().await;
    house.store.down.store(true, std::sync::atomic::Ordering::SeqCst);
    let outcome = ask(&house, &bearer(&issuer.sign(&claims(&issuer, "ann"))), NOW).await;
    assert!(matches!(outcome, Outcome::Unavailable), "{outcome:?}");
    // A token that does not hold is bad all the same.
    let bad = issuer.sign(&with(claims(&issuer, "ann"), "aud", Some(json!("other"))));
    assert!(is_rejected(&ask(&house, &bearer(&bad), NOW).await));
}

#[tokio::test]
async fn an_issuer_that_is_taken_out_takes_its_tokens_along() {
    let (issuer, house) = ci().await;
    let token = issuer.sign(&claims(&issuer, "ann"));
    assert!(is_identified(&ask(&house, &bearer(&token), NOW).await));
    let mut other = settings();
    other.jwt_issuers =
        vec![JwtIssuer { audience: vec!["elsewhere".to_owned()], ..config(&issuer, "ci") }];
    house.authn.reload(other.into());
    assert!(is_rejected(&ask(&house, &bearer(&token), NOW).await));
    house.authn.reload(settings().into());
    assert!(is_nothing(&house.read(&bearer(&token))));
}
