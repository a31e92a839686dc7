//! The signed assertion that an app can check by itself.

use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

use vestibule_core::account::{Role, Status};

use crate::house::*;

const ORIGIN: &str = "https://wiki.example.com";

/// As an app verifies it: by our key set alone.
fn verified(house: &House, token: &str) -> Value {
    let header = jsonwebtoken::decode_header(token).unwrap();
    assert_eq!(header.alg, Algorithm::EdDSA);
    assert_eq!(header.typ.as_deref(), Some("vestibule-assertion+jwt"));
    let set: Value = serde_json::from_str(&house.authn.jwks(NOW)).unwrap();
    let keys = set["keys"].as_array().unwrap().clone();
    let key = keys.iter().find(|k| k["kid"] == json!(header.kid)).unwrap();
    let mut rules = Validation::new(Algorithm::EdDSA);
    rules.validate_exp = false;
    rules.set_audience(&[ORIGIN]);
    rules.set_issuer(&[PORTAL]);
    let key = DecodingKey::from_ed_components(key["x"].as_str().unwrap()).unwrap();
    jsonwebtoken::decode::<Value>(token, &key, &rules).unwrap().claims
}

#[tokio::test]
async fn b8_an_assertion_says_who_for_one_origin_and_five_minutes() {
    let house = House::new().await;
    let ann = house.account_as("ann@example.com", Role::Admin, Status::Active).await;
    let started = house.session(&ann).await;
    let identity = who(&house.ask(&cookie(&started.token), NOW).await);
    let assertion = house.authn.sign_assertion(&identity, ORIGIN, &["staff"], NOW).unwrap();
    let claims = verified(&house, &assertion.token);
    let at = NOW.secs();
    for (name, value) in [
        ("sub", json!(ann.id.to_string())),
        ("username", json!("ann")),
        ("email", json!("ann@example.com")),
        ("email_verified", json!(true)),
        ("name", json!("Ann")),
        ("groups", json!(["staff"])),
        ("role", json!("admin")),
        ("amr", json!(["pwd"])),
        ("auth_time", json!(at)),
        ("sid", json!(started.session.id.to_string())),
        ("iat", json!(at)),
        ("exp", json!(at + 300)),
    ] {
        assert_eq!(claims[name], value, "{name}");
    }
    assert_eq!(assertion.renew_at, NOW.plus(Duration::from_secs(150)));
    let second = house.authn.sign_assertion(&identity, ORIGIN, &["staff"], NOW).unwrap();
    assert_ne!(verified(&house, &second.token)["jti"], claims["jti"]);
}

#[tokio::test]
async fn an_assertion_is_renewed_at_the_credentials_end_at_the_latest() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let life = Some(Duration::from_secs(100));
    let (_, key) = house.key_with(&ann, |new| new.expires_in = life).await;
    let identity = who(&house.ask(&bearer(&key), NOW).await);
    let assertion = house.authn.sign_assertion(&identity, ORIGIN, &[], NOW).unwrap();
    assert_eq!(assertion.renew_at, after(100));
    let claims = verified(&house, &assertion.token);
    assert!(claims.get("sid").is_none() && claims.get("auth_time").is_none());
}

#[tokio::test]
async fn only_active_accounts_are_asserted_and_an_unverified_email_is_not_told() {
    let house = House::new().await;
    let pending = house.account_as("pam@example.com", Role::User, Status::Pending).await;
    let identity = who(&house.ask(&cookie(&house.session(&pending).await.token), NOW).await);
    assert!(house.authn.sign_assertion(&identity, ORIGIN, &[], NOW).is_none());
    let ann = house.account("ann@example.com").await;
    house.store.set_unverified(ann.id);
    let identity = who(&house.ask(&cookie(&house.session(&ann).await.token), NOW).await);
    let token = house.authn.sign_assertion(&identity, ORIGIN, &[], NOW).unwrap().token;
    let claims = verified(&house, &token);
    assert_eq!((claims.get("email"), &claims["email_verified"]), (None, &json!(false)));
}

#[tokio::test]
async fn assertions_and_access_tokens_have_keys_of_their_own() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let identity = who(&house.ask(&cookie(&house.session(&ann).await.token), NOW).await);
    let assertion = house.authn.sign_assertion(&identity, ORIGIN, &[], NOW).unwrap().token;
    let access = house.tokens(&ann).await.access_token;
    let kid = |token: &str| jsonwebtoken::decode_header(token).unwrap().kid;
    assert_ne!(kid(&assertion), kid(&access));
    let restarted = House::over(house.store.clone(), |_| {}).await;
    let again = restarted.authn.sign_assertion(&identity, ORIGIN, &[], NOW).unwrap().token;
    assert_eq!(kid(&again), kid(&assertion), "a restart keeps the key");
}
