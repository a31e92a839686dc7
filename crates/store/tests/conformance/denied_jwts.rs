//! Claims about foreign JWTs that are taken no longer.

use vestibule_authn::ports::{DeniedBy, DeniedJwt};

use crate::suite::{NOW, Port};

const ISSUER: &str = "https://id.example.org";

fn by_sub(issuer: &str, sub: &str) -> DeniedJwt {
    DeniedJwt { issuer: issuer.to_owned(), by: DeniedBy::Sub(sub.to_owned()) }
}

fn by_jti(issuer: &str, jti: &str) -> DeniedJwt {
    DeniedJwt { issuer: issuer.to_owned(), by: DeniedBy::Jti(jti.to_owned()) }
}

pub(crate) async fn a_denial_holds_for_its_issuer_and_claim_only(store: Port) {
    store.deny_jwt(by_sub(ISSUER, "eve"), NOW).await.unwrap();
    store.deny_jwt(by_jti(ISSUER, "t1"), NOW).await.unwrap();
    store.deny_jwt(by_sub("https://other.example.org", "ann"), NOW).await.unwrap();
    for (issuer, sub, jti, denied) in [
        (ISSUER, "eve", None, true),
        (ISSUER, "eve", Some("t9"), true),
        (ISSUER, "ann", Some("t1"), true),
        (ISSUER, "ann", None, false),
        (ISSUER, "ann", Some("t2"), false),
        // One claim's value is not the other's.
        (ISSUER, "t1", Some("eve"), false),
        (ISSUER, "t1", None, false),
        (ISSUER, "Eve", None, false),
        (ISSUER, "", Some(""), false),
        ("https://id.example.org/", "eve", Some("t1"), false),
        ("https://other.example.org", "eve", Some("t1"), false),
        ("https://other.example.org", "ann", None, true),
    ] {
        let found = store.is_jwt_denied(issuer, sub, jti).await.unwrap();
        assert_eq!(found, denied, "{issuer} {sub} {jti:?}");
    }
}

pub(crate) async fn a_denial_is_taken_back_once(store: Port) {
    for denied in [by_sub(ISSUER, "x"), by_jti(ISSUER, "x")] {
        assert!(!store.allow_jwt(&denied).await.unwrap());
        store.deny_jwt(denied.clone(), NOW).await.unwrap();
        store.deny_jwt(denied.clone(), NOW).await.unwrap();
        assert!(store.is_jwt_denied(ISSUER, "x", Some("x")).await.unwrap());
        assert!(store.allow_jwt(&denied).await.unwrap());
        assert!(!store.allow_jwt(&denied).await.unwrap());
        assert!(!store.is_jwt_denied(ISSUER, "x", Some("x")).await.unwrap());
    }
    store.deny_jwt(by_sub(ISSUER, "x"), NOW).await.unwrap();
    assert!(!store.allow_jwt(&by_jti(ISSUER, "x")).await.unwrap());
    assert!(!store.allow_jwt(&by_sub("https://other.example.org", "x")).await.unwrap());
    assert!(store.is_jwt_denied(ISSUER, "x", None).await.unwrap());
}
